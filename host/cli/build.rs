//! Puts what `wisp new` writes into the binary: the templates, the handler SDK, the WIT contract, and
//! the lock file that the guests are tested with.
//!
//! A list of `include_bytes!` in the order of the paths, so that a changed file is a rebuild and
//! the same sources give the same binary.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The directories and files of the list, relative to this crate, and their names in it.
const PARTS: [(&str, &str); 4] = [
    ("templates", "templates"),
    ("../../guest-models/sdk", "sdk"),
    ("../../wit", "wit"),
    ("../../guest-models/Cargo.lock", "Cargo.lock"),
];

/// Build results in a source directory.
const NOT_SOURCES: [&str; 4] = ["target", "Cargo.lock", "handler.wasm", "__pycache__"];

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut list = String::from("&[\n");
    for (place, name) in PARTS {
        let path = here.join(place).canonicalize()?;
        println!("cargo:rerun-if-changed={}", path.display());
        embed(&path, name, &mut list)?;
    }
    list.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("embedded_files.rs"), list)
}

fn embed(path: &Path, name: &str, list: &mut String) -> io::Result<()> {
    if path.is_file() {
        let path = path.to_string_lossy();
        // Writing to a `String` cannot fail.
        let _ = writeln!(list, "    ({name:?}, include_bytes!({path:?})),");
        return Ok(());
    }
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let file = entry.file_name().to_string_lossy().into_owned();
        if !NOT_SOURCES.contains(&&*file) {
            embed(&entry.path(), &format!("{name}/{file}"), list)?;
        }
    }
    Ok(())
}
