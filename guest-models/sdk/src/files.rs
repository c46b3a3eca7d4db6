//! The files of the model that `[handler] files` in its `model.toml` lists.
//!
//! A vocabulary or a list of labels that is a file, not a part of the component, can differ between
//! models and versions. The host holds the files, and a handler copies the parts that it reads. A file that every
//! request needs is best read by [`Handler::init`](crate::Handler::init):
//!
//! ```
//! use wisp_handler::{Lazy, Result, files, testing::Model};
//!
//! /// The names of the classes, one in each line.
//! static LABELS: Lazy<Vec<String>> = Lazy::new(|| {
//!     let text = files::read_to_string("labels.txt")?;
//!     Ok(text.lines().map(str::to_owned).collect())
//! });
//!
//! # fn main() -> Result<()> {
//! Model::new().with_file("labels.txt", "cat\ndog\n").run(|| {
//!     assert_eq!(*LABELS.get()?, ["cat", "dog"]);
//!     Ok(())
//! })
//! # }
//! ```

use crate::{Error, Result, deployment};

/// Returns the size of a file in bytes.
///
/// # Errors
/// Fails if the model does not have the file. The error names it.
pub fn size(name: &str) -> Result<u64> {
    deployment::file_size(name).ok_or_else(|| missing(name))
}

/// Returns the content of a file.
///
/// # Errors
/// Fails if the model does not have the file. The error names it.
pub fn read(name: &str) -> Result<Vec<u8>> {
    // The whole of it, since no file of a model is larger than this.
    read_range(name, 0, u32::MAX)
}

/// Returns the content of a file as a string.
///
/// # Errors
/// Fails if the model does not have the file, or it is not UTF-8. The error names it.
pub fn read_to_string(name: &str) -> Result<String> {
    let content = read(name)?;
    String::from_utf8(content)
        .map_err(|_| Error::handler(format_args!("the model's file `{name}` is not UTF-8")))
}

/// Returns up to `length` bytes of a file from `offset` on: fewer at its end, none after it.
///
/// # Errors
/// Fails if the model does not have the file. The error names it.
pub fn read_range(name: &str, offset: u64, length: u32) -> Result<Vec<u8>> {
    deployment::read_file(name, offset, length).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Error {
    Error::handler(format_args!(
        "the model has no file `{name}`: list it in `files` of [handler] in model.toml"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Model;

    #[test]
    fn files_are_read_whole_and_by_range() -> Result<()> {
        let large: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
        let model = Model::new()
            .with_file("large", large.clone())
            .with_file("empty", "")
            .with_file("latin", [0xe9_u8]);
        model.run(|| {
            assert!(read("large")? == large);
            assert_eq!(size("large")?, 3 << 20);
            assert!(read("empty")?.is_empty());
            assert_eq!(read_range("large", 254, 3)?, [254, 255, 0]);
            assert!(read_range("large", u64::MAX, 3)?.is_empty());
            let latin = read_to_string("latin").unwrap_err();
            assert_eq!(latin.message(), "the model's file `latin` is not UTF-8");
            let missing = read("labels.txt").unwrap_err();
            assert_eq!(
                missing.message(),
                "the model has no file `labels.txt`: list it in `files` of [handler] in model.toml"
            );
            Ok(())
        })
    }
}
