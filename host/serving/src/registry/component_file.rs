//! Reads the file of a handler or of a web component, whose size the server limits.

use crate::registry::load_error::LoadError;
use std::io::{Error, ErrorKind};
use std::path::Path;
use wisp_backend::bounded_file::read_regular;

/// Returns the content of the file, which has at most this many bytes. The error names the setting for larger ones.
pub(super) fn read_component(path: &Path, max_bytes: usize) -> Result<Vec<u8>, LoadError> {
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    let content = read_regular(path, limit).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => Error::new(
            ErrorKind::FileTooLarge,
            format!("{error} (--max-component-bytes of the server)"),
        ),
        _ => error,
    });
    content.map_err(LoadError::HandlerFile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_file_is_refused_with_the_setting_of_the_limit() -> anyhow::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), [0; 11])?;
        assert_eq!(read_component(file.path(), 11)?.len(), 11);
        let error = read_component(file.path(), 10).expect_err("accepted");
        let reason = error.client_reason();
        for part in ["11 bytes", "limit is 10", "--max-component-bytes"] {
            assert!(reason.contains(part), "{reason}");
        }
        Ok(())
    }
}
