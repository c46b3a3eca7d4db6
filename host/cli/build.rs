//! Embeds the files that `wisp new` writes: the templates, the handler SDK, the WIT contract, and the
//! lock file with which the guests are tested.
//!
//! The generated code is an array of `include_bytes!` in the order of the paths, so that a changed file
//! causes a rebuild, and the same sources result in the same binary.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The path of each part relative to this crate, and its name in the array.
const PARTS: [(&str, &str); 4] = [
    ("templates", "templates"),
    ("../../guest-models/sdk", "sdk"),
    ("../../wit", "wit"),
    ("../../guest-models/Cargo.lock", "Cargo.lock"),
];

/// Files that builds leave in a source directory.
const NOT_SOURCES: [&str; 4] = ["target", "Cargo.lock", "handler.wasm", "__pycache__"];

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut array = String::from("&[\n");
    for (place, name) in PARTS {
        let path = here.join(place).canonicalize()?;
        println!("cargo:rerun-if-changed={}", path.display());
        embed(&path, name, &mut array)?;
    }
    array.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("embedded_files.rs"), array)
}

fn embed(path: &Path, name: &str, array: &mut String) -> io::Result<()> {
    if path.is_file() {
        let path = path.to_string_lossy();
        // Writing to a `String` cannot fail.
        let _ = writeln!(array, "    ({name:?}, include_bytes!({path:?})),");
        return Ok(());
    }
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let file = entry.file_name().to_string_lossy().into_owned();
        if !NOT_SOURCES.contains(&&*file) {
            embed(&entry.path(), &format!("{name}/{file}"), array)?;
        }
    }
    Ok(())
}
