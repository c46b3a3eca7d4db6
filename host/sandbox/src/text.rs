//! Text from a guest, limited in length and to one line, for clients, logs and errors.
//!
//! A guest's texts and names can be as large as its memory and contain any character. They must not fill
//! or break a log line or a response.

use wisp_tensor::sanitize::shorten;

/// The maximum number of characters of a guest's text that are shown.
pub(crate) const MAX_TEXT: usize = 1000;

/// The maximum number of characters of a guest's name that an error repeats.
const MAX_SHOWN_NAME: usize = 100;

/// The maximum length of the names of tensors, parameters and graphs, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 1024;

/// Returns a guest's text, limited to [`MAX_TEXT`] characters.
pub(crate) fn bounded(text: &str) -> String {
    shorten(text, MAX_TEXT)
}

/// Returns a guest's name as errors repeat it.
pub(crate) fn shown(name: &str) -> String {
    shorten(name, MAX_SHOWN_NAME)
}
