//! A pulled component: one file, which has its name when it is complete.

use crate::oci::artifact::ComponentArtifact;
use crate::oci::session::RegistrySession;
use crate::options::PullArgs;
use crate::{display, progress};
use anyhow::{Context, bail, ensure};
use std::fs;
use std::io::{ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};

/// The first bytes of every WebAssembly file.
const MAGIC: &[u8; 4] = b"\0asm";

/// Downloads the component, and returns the path of its file.
pub(super) fn save(
    component: &ComponentArtifact,
    args: &PullArgs,
    session: &RegistrySession<'_>,
) -> anyhow::Result<PathBuf> {
    let path = destination(component, args);
    let shown = display::path(&path);
    if path.symlink_metadata().is_ok() && !args.force {
        bail!("`{shown}` exists; --force replaces it");
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let writing = || format!("failed to write `{shown}`");
    fs::create_dir_all(parent).with_context(writing)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".wisp-pull-");
    // Readable for a server that runs as another user. The umask applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(parent).with_context(writing)?;
    let progress = progress::bar(component.blob.size);
    session.fetch(
        "the component",
        &component.blob,
        (file.as_file(), &progress),
    )?;
    progress.finish_and_clear();
    let mut magic = [0; MAGIC.len()];
    file.rewind().with_context(writing)?;
    let is_wasm = file.read_exact(&mut magic).is_ok() && magic == *MAGIC;
    ensure!(is_wasm, "the artifact contains no WebAssembly");
    let persisted = match args.force {
        true => file.persist(&path),
        false => file.persist_noclobber(&path),
    };
    match persisted {
        Ok(_) => Ok(path),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
            bail!("`{shown}` exists; --force replaces it")
        }
        Err(error) => Err(error.error).with_context(writing),
    }
}

/// Returns the path of the file to write.
fn destination(component: &ComponentArtifact, args: &PullArgs) -> PathBuf {
    // Only the name, without the artifact's directories.
    let title = component.title.as_ref().map(|title| title.split_first());
    let name = match title {
        Some((name, None)) => name.to_owned(),
        _ => format!("{}.wasm", args.reference.last_name()),
    };
    match &args.output {
        Some(output) if output.is_dir() => output.join(name),
        Some(output) => output.clone(),
        None => PathBuf::from(name),
    }
}
