//! The provider of an edge bundle, which takes the place of Wisp's host: it computes graphs in Wasm, and has the
//! settings, files and log of a handler.
//!
//! `wisp bundle` gives the module a manifest and blobs before a snapshot of it is made, from which
//! [`provider`] loads all graphs. Every request begins with that memory, so nothing is loaded then. `component`
//! exports wasi:nn, wisp:handler/configuration, wasi:logging, and wisp:handler/model for a version without a
//! handler, whose requests [`model`] computes. [`inference`] computes a graph, and [`failure`] contains the
//! errors, which are those of the host. [`configuration`] and [`log_line`] serve the handler.
//!
//! The crates `nn-rten`, `nn-rten-small` and `nn-tract` choose a backend with [`export!`].
//!
//! Invariant: only Wasm has a `component`; everything else is tested natively.

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component;
pub mod configuration;
pub mod failure;
pub mod inference;
pub mod log_line;
pub mod model;
pub mod provider;

pub use provider::GraphSource;
#[doc(hidden)]
pub use wisp_edge_preload::{Blob, export_load};

/// Exports the provider from the calling crate, with a function that loads a graph:
/// `fn(&GraphSource) -> Result<Arc<dyn Graph>, BackendError>`. Has no effect natively.
#[macro_export]
macro_rules! export {
    ($load:path) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::component::Component;

            $crate::component::export_component!(Component with_types_in $crate::component::bindings);

            fn load_all(manifest: &[u8], blobs: &[$crate::Blob]) -> Result<(), String> {
                $crate::provider::load(manifest, blobs, $load)
            }

            $crate::export_load!(load_all);
        };
    };
}
