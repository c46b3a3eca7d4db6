//! Text from a guest, limited in length and to one line, for clients, logs and errors.
//!
//! A guest's texts and names can be as large as its memory and contain any character. They must not fill
//! or break a log line or a response.

use wisp_tensor::sanitize::shorten;

pub(crate) use wisp_tensor::response_names::{MAX_NAME_BYTES, shown};

/// The maximum number of characters of a guest's text that are shown.
pub(crate) const MAX_TEXT: usize = 1000;

/// Returns a guest's text, limited to [`MAX_TEXT`] characters.
pub(crate) fn bounded(text: &str) -> String {
    shorten(text, MAX_TEXT)
}
