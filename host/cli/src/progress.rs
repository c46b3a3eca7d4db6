//! The progress bars of downloads and uploads.

use indicatif::{ProgressBar, ProgressStyle};

/// Returns a progress bar for a number of bytes, which is visible on a terminal only.
pub(crate) fn bar(bytes: u64) -> ProgressBar {
    const FORM: &str = "  {bar:32} {binary_bytes} of {binary_total_bytes}, {eta} left";
    let bar = ProgressBar::new(bytes);
    match ProgressStyle::with_template(FORM) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
