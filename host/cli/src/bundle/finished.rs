//! A finished bundle, as its target writes it.

use wisp_protocol::call::ModelDescription;

/// A finished bundle, which has been tried. Lifetime: the end of the command.
#[derive(Debug)]
pub(crate) struct Bundle<'a> {
    /// The component, which exports wasi:http/incoming-handler.
    pub(crate) bytes: &'a [u8],
    /// The size of the component compressed with gzip.
    pub(crate) gzipped_bytes: u64,
    /// The model and the version inside.
    pub(crate) model: &'a ModelDescription,
    /// The name of the engine inside: `rten` or `tract`.
    pub(crate) engine: &'static str,
    /// The interfaces that the component imports, with their versions.
    pub(crate) imports: &'a [String],
    /// Set if an instance may serve several requests.
    pub(crate) keeps_instance: bool,
}
