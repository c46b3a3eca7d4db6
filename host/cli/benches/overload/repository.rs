//! A temporary repository with the models of all parts, and the guests that cargo has built for it.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The models: a name, the example that has the graph, and the guest that is the handler, if any.
const MODELS: [(&str, &str, Option<&str>); 5] = [
    ("wine", "wine", Some("wine")),
    ("progression", "progression", Some("progression")),
    ("digits", "digits", Some("digits")),
    // The hostile handler of the tests.
    ("hostile", "progression", Some("hostile_guest")),
    // A graph with a variable axis, without a handler.
    ("shapes", "digits", None),
];

/// The number of rows that a request of `shapes` may have.
pub(crate) const SHAPES: usize = 256;

/// A directory of models and a cache of compiled handlers. Deleted on drop.
#[derive(Debug)]
pub(crate) struct Repository {
    directory: PathBuf,
}

impl Repository {
    /// Creates a repository of all models.
    pub(crate) fn create() -> Result<Repository> {
        let name = format!("wisp-overload-{}", std::process::id());
        let repository = Repository {
            directory: std::env::temp_dir().join(name),
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
        let examples = root
            .context("the crate lies two levels below the root")?
            .join("examples");
        let guests = guests()?;
        for (model, graph, guest) in MODELS {
            let version = repository.models().join(model).join("1");
            fs::create_dir_all(&version)?;
            let graph = examples.join(graph).join("1/model.onnx");
            copy(&graph, &version.join("model.onnx"))?;
            if let Some(guest) = guest {
                let guest = guests.join(guest).with_extension("wasm");
                copy(&guest, &version.join("handler.wasm"))?;
            }
        }
        let options = repository.models().join("shapes/model.toml");
        fs::write(options, format!("max_batch_size = {SHAPES}\n"))?;
        Ok(repository)
    }

    /// Returns the directory of all models.
    pub(crate) fn models(&self) -> PathBuf {
        self.directory.join("models")
    }

    /// Returns a directory for models of one part only, one for each name.
    pub(crate) fn others(&self, name: &str) -> PathBuf {
        self.directory.join("others").join(name)
    }

    /// Returns a directory for tenants, one for each name.
    pub(crate) fn tenants(&self, name: &str) -> PathBuf {
        self.directory.join("tenants").join(name)
    }

    /// Returns the directory for compiled handlers.
    pub(crate) fn cache(&self) -> PathBuf {
        self.directory.join("cache")
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        // It may not have been created completely.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Returns the directory of the components that the build of `wisp-artifacts` created last.
///
/// The crate's own constants are not used, so that this benchmark builds with anyhow and prost alone.
fn guests() -> Result<PathBuf> {
    let builds = Path::new(env!("CARGO_BIN_EXE_wisp")).with_file_name("build");
    let mut newest = None;
    for build in fs::read_dir(&builds).with_context(|| format!("{}", builds.display()))? {
        let build = build?;
        let name = build.file_name();
        if !name.to_string_lossy().starts_with("wisp-artifacts-") {
            continue;
        }
        let guests = build.path().join("out");
        // Written by the build script after all components.
        if let Ok(written) = fs::metadata(guests.join("guests.rs")).and_then(|file| file.modified())
        {
            newest = newest.max(Some((written, guests)));
        }
    }
    let (_, guests) = newest.context("no guests are built below target/")?;
    Ok(guests)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("failed to copy {}", from.display()))?;
    Ok(())
}
