//! Lists the backends, and the reason why a backend is unavailable.

use super::installed;
use crate::display;
use crate::loading::backends;
use crate::options::BackendArgs;
use serde::Serialize;
use std::path::{Path, PathBuf};
use wisp_backend::Backend;

/// The text of a column without a value.
const NOTHING: &str = "-";

/// A backend, as printed with `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    name: &'static str,
    available: bool,
    /// The part that is missing, and the way to install it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The shared library of the backend; built-in backends have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    library: Option<PathBuf>,
}

/// Returns the backends of this build, the default one first.
pub(super) fn entries(args: &BackendArgs, cache: &Path) -> Vec<Entry> {
    let backends = backends(args, Some(cache));
    backends
        .all()
        .map(|backend| entry(&**backend, args, cache))
        .collect()
}

fn entry(backend: &dyn Backend, args: &BackendArgs, cache: &Path) -> Entry {
    let name = backend.name();
    let available = backend.available();
    let mut entry = Entry {
        name,
        available: available.is_ok(),
        version: available.is_ok().then(|| backend.version()),
        reason: available.err().map(|error| error.to_string()),
        library: None,
    };
    if name == "onnxruntime" {
        let named = args.onnxruntime_library();
        entry.library = named.or_else(|| installed::onnxruntime(cache));
    }
    entry
}

/// Formats the backends as a table, followed by the reasons for unavailable backends and the directory
/// of the CUDA libraries, if those are installed.
pub(super) fn table(entries: &[Entry], cuda: Option<&Path>) -> String {
    let head = ["NAME", "AVAILABLE", "VERSION", "LIBRARY"].map(str::to_owned);
    let rows: Vec<[String; 4]> = std::iter::once(head)
        .chain(entries.iter().map(Entry::row))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [name, available, version, library] in &rows {
        let [a, b, c] = widths;
        text += &format!("{name:a$}  {available:b$}  {version:c$}  {library}\n");
    }
    for reason in entries.iter().filter_map(|entry| entry.reason.as_ref()) {
        text += &format!("\n{reason}\n");
    }
    if let Some(cuda) = cuda {
        let cuda = display::path(cuda);
        text += &format!("\nthe libraries of CUDA are installed in `{cuda}`\n");
    }
    text
}

impl Entry {
    fn row(&self) -> [String; 4] {
        let library = match &self.library {
            Some(library) => display::path(library),
            None if self.available => "built in".to_owned(),
            None => NOTHING.to_owned(),
        };
        [
            self.name.to_owned(),
            if self.available { "yes" } else { "no" }.to_owned(),
            self.version.clone().unwrap_or_else(|| NOTHING.to_owned()),
            library,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_there_is_and_what_is_missing() {
        let entries = [
            Entry {
                name: "tract",
                available: true,
                reason: None,
                version: Some("0.23.9".to_owned()),
                library: None,
            },
            Entry {
                name: "rten",
                available: true,
                reason: None,
                version: Some("0.27.0".to_owned()),
                library: None,
            },
            Entry {
                name: "onnxruntime",
                available: false,
                reason: Some("onnxruntime is not available: no library".to_owned()),
                version: None,
                library: None,
            },
        ];
        assert_eq!(
            table(&entries, None),
            "\
NAME         AVAILABLE  VERSION  LIBRARY
tract        yes        0.23.9   built in
rten         yes        0.27.0   built in
onnxruntime  no         -        -

onnxruntime is not available: no library
"
        );
        let text = table(&entries[..1], Some(Path::new("/there")));
        assert!(
            text.ends_with("the libraries of CUDA are installed in `/there`\n"),
            "{text}"
        );
    }
}
