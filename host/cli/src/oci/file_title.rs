//! The paths that an artifact names: relative, in one notation, and never out of their directory.
//!
//! The author of an artifact need not be the one who pulls it. A title is therefore a value that only
//! the check here makes, when an artifact is pushed too, so that whatever is pushed can be pulled.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use wisp_tensor::OneLine;

/// The maximum number of bytes of a name, which file systems limit too.
const MAX_NAME_BYTES: usize = 255;

/// The maximum number of names in a path, more than any version of a model has.
const MAX_DEPTH: usize = 16;

/// The path of a file within an artifact, with `/` between its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileTitle(String);

/// The reason that a title is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TitleError {
    #[error("the file name `{}` is refused: {reason}", OneLine(title))]
    Path { title: String, reason: &'static str },
    #[error("the artifact has two files `{}`", OneLine(title))]
    Duplicate { title: String },
    #[error("the artifact has `{}` as a file and as a directory", OneLine(title))]
    FileAndDirectory { title: String },
}

impl FileTitle {
    pub(crate) fn new(title: &str) -> Result<FileTitle, TitleError> {
        let refused = |reason| TitleError::Path {
            // Long enough to recognise it.
            title: title.chars().take(200).collect(),
            reason,
        };
        if title.starts_with('/') {
            return Err(refused("it is an absolute path"));
        }
        if title.contains('\\') {
            return Err(refused("it has a backslash"));
        }
        if title.chars().any(char::is_control) {
            return Err(refused("it has a control character"));
        }
        if title.split('/').count() > MAX_DEPTH {
            return Err(refused("it has more than 16 names"));
        }
        for name in title.split('/') {
            match name {
                "" => return Err(refused("it has an empty name")),
                ".." => return Err(refused("it leads out of the directory")),
                name if name.starts_with('.') => {
                    return Err(refused("hidden files are no part of an artifact"));
                }
                name if name.len() > MAX_NAME_BYTES => {
                    return Err(refused("it has a name of more than 255 bytes"));
                }
                _ => {}
            }
        }
        Ok(FileTitle(title.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first name, and the rest if there is one.
    pub(crate) fn split_first(&self) -> (&str, Option<&str>) {
        match self.0.split_once('/') {
            Some((first, rest)) => (first, Some(rest)),
            None => (&self.0, None),
        }
    }

    /// Returns the path of the file in `directory`.
    pub(crate) fn within(&self, directory: &Path) -> PathBuf {
        let mut path = directory.to_owned();
        path.extend(self.0.split('/'));
        path
    }

    /// Returns the titles of the directories that contain the file, outermost first.
    pub(crate) fn directories(&self) -> impl Iterator<Item = &str> {
        let ends = self.0.match_indices('/').map(|(end, _)| end);
        ends.filter_map(|end| self.0.get(..end))
    }
}

impl fmt::Display for FileTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        OneLine(&self.0).fmt(f)
    }
}

/// Checks that the titles of an artifact can all be files of one directory.
pub(crate) fn check_distinct<'a>(
    titles: impl Iterator<Item = &'a FileTitle>,
) -> Result<(), TitleError> {
    let mut files = BTreeSet::new();
    for title in titles {
        if !files.insert(title.as_str()) {
            let title = title.as_str().to_owned();
            return Err(TitleError::Duplicate { title });
        }
    }
    for file in &files {
        let title = FileTitle((*file).to_owned());
        if let Some(directory) = title.directories().find(|name| files.contains(name)) {
            let title = directory.to_owned();
            return Err(TitleError::FileAndDirectory { title });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_a_path_within_a_directory() -> anyhow::Result<()> {
        for title in [
            "model.toml",
            "1/model.onnx",
            "cases/a b.json",
            "1/saved_model/größe",
        ] {
            let checked = FileTitle::new(title)?;
            assert_eq!(
                checked.within(Path::new("/models/m")),
                Path::new("/models/m").join(title)
            );
        }
        let title = FileTitle::new("1/assets/vocab.txt")?;
        assert_eq!(title.split_first(), ("1", Some("assets/vocab.txt")));
        let directories: Vec<&str> = title.directories().collect();
        assert_eq!(directories, ["1", "1/assets"]);
        Ok(())
    }

    #[test]
    fn titles_that_lead_elsewhere_or_hide_are_refused() {
        let deep = ["a"; 17].join("/");
        let long = "a".repeat(256);
        for (title, reason) in [
            ("", "empty"),
            ("/etc/passwd", "absolute"),
            ("..", "out of"),
            ("../model.onnx", "out of"),
            ("1/../../model.onnx", "out of"),
            ("1//model.onnx", "empty"),
            ("1/", "empty"),
            ("./model.onnx", "hidden"),
            (".ssh/authorized_keys", "hidden"),
            ("..\\model.onnx", "backslash"),
            ("C:\\model.onnx", "backslash"),
            ("a\0b", "control"),
            ("a\nb", "control"),
            (&deep, "more than 16"),
            (&long, "255"),
        ] {
            match FileTitle::new(title) {
                Ok(title) => panic!("accepted: {title}"),
                Err(error) => assert!(error.to_string().contains(reason), "{error}"),
            }
        }
    }

    #[test]
    fn files_that_exclude_each_other_are_refused() -> anyhow::Result<()> {
        let check = |titles: &[&str]| -> anyhow::Result<()> {
            let titles: Result<Vec<FileTitle>, TitleError> =
                titles.iter().map(|title| FileTitle::new(title)).collect();
            Ok(check_distinct(titles?.iter())?)
        };
        check(&["1/a", "1/b", "1/ab", "model.toml"])?;
        for (titles, reason) in [
            (["1/a", "1/a"], "two files `1/a`"),
            (["1/a/b", "1/a"], "`1/a` as a file and as a directory"),
        ] {
            let text = format!("{:?}", check(&titles).map_err(|error| error.to_string()));
            assert!(text.contains(reason), "{text}");
        }
        Ok(())
    }
}
