//! The result of a build: a handler, its component and the effect of the build, and the table that shows them.

use crate::display;
use anyhow::Context;
use std::path::PathBuf;

/// The result for one handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuiltHandler {
    /// The name of the model, or of the crate if it belongs to no model.
    pub(crate) name: String,
    /// The path of the component.
    pub(crate) path: PathBuf,
    /// The size of the component in bytes.
    pub(crate) bytes: u64,
    pub(crate) change: Change,
}

/// The effect of a build on the component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Written,
    /// Built, with a result identical to the existing component.
    Same,
    /// Not built, because no source is newer.
    UpToDate,
    /// Not built, because the source is not on this machine.
    Kept,
}

/// Returns the result for a component that is installed at `path`.
pub(super) fn installed(
    name: String,
    path: PathBuf,
    change: Change,
) -> anyhow::Result<BuiltHandler> {
    let metadata = std::fs::metadata(&path)
        .with_context(|| format!("failed to read `{}`", display::path(&path)))?;
    Ok(BuiltHandler {
        name,
        path,
        bytes: metadata.len(),
        change,
    })
}

/// Formats one line per handler, in columns.
pub(super) fn table(handlers: &[BuiltHandler]) -> String {
    let width = |text: fn(&BuiltHandler) -> String| {
        let widths = handlers.iter().map(|handler| text(handler).chars().count());
        widths.max().unwrap_or(0)
    };
    let name: fn(&BuiltHandler) -> String = |handler| handler.name.clone();
    let size: fn(&BuiltHandler) -> String = |handler| display::size(handler.bytes);
    let (names, sizes) = (width(name), width(size));
    let line = |handler: &BuiltHandler| {
        let (name, size) = (name(handler), size(handler));
        let path = display::path(&handler.path);
        let note = match handler.change {
            Change::Written => "",
            Change::Same => "  (unchanged)",
            Change::UpToDate => "  (up to date)",
            Change::Kept => "  (kept: its source does not exist)",
        };
        format!("{name:names$}  {size:>sizes$}  {path}{note}\n")
    };
    handlers.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_its_columns_up() {
        let handler = |name: &str, bytes, change| BuiltHandler {
            name: name.to_owned(),
            path: PathBuf::from(format!("/models/{name}/1/handler.wasm")),
            bytes,
            change,
        };
        let text = table(&[
            handler("digits", 73_000, Change::Written),
            handler("wine", 900, Change::UpToDate),
        ]);
        assert_eq!(
            text,
            "digits  71.2 KiB  /models/digits/1/handler.wasm\n\
             wine       900 B  /models/wine/1/handler.wasm  (up to date)\n"
        );
        assert_eq!(table(&[]), "");
    }
}
