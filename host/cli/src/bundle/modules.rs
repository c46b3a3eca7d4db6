//! The prebuilt modules of edge bundles: the HTTP adapter and the engines.
//!
//! They come with Wisp: in the directory `edge` beside its program, or in `lib/wisp/edge` beside the directory of its
//! program where that is installed among others. In a checkout of its sources, `wisp build` writes them to
//! the target directory of the guests.

use super::engine::Prepared;
use crate::build::EDGE_MODULES;
use crate::display;
use crate::failure::bad_configuration;
use crate::options::BundleArgs;
use anyhow::Context;
use std::path::{Path, PathBuf};

/// The directory beside the program, as in the archive of a release.
const BESIDE_PROGRAM: &str = "edge";

/// The directory beside that of the program, as in an image.
const BESIDE_PROGRAMS: &str = "lib/wisp/edge";

/// The workspace of the guests in a checkout of Wisp.
const GUESTS: &str = "guest-models";

/// The sources of the modules, from the root of a checkout.
const SOURCES: &str = "guest-models/edge";

const ADAPTER: &str = "http-adapter.wasm";

/// The files of the modules of one bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Modules {
    pub(super) adapter: PathBuf,
    pub(super) engine: PathBuf,
}

impl Modules {
    /// Finds the modules of a bundle of these graphs.
    pub(super) fn find(args: &BundleArgs, prepared: &Prepared) -> anyhow::Result<Modules> {
        let directories = match &args.modules {
            Some(directory) => vec![directory.clone()],
            None => default_directories(&args.model),
        };
        let engine = prepared.engine.module(prepared.is_small);
        Modules::in_directories(&directories, engine)
    }

    /// Returns the modules in the first directory that has one of them.
    fn in_directories(directories: &[PathBuf], engine: &str) -> anyhow::Result<Modules> {
        let modules = |directory: &PathBuf| Modules {
            adapter: directory.join(ADAPTER),
            engine: directory.join(engine),
        };
        let candidates = directories.iter().map(modules);
        let mut found = candidates.filter(|modules| modules.files().any(|file| file.is_file()));
        let Some(modules) = found.next() else {
            let places = directories.iter().map(|directory| display::path(directory));
            return Err(bad_configuration(format!(
                "the modules of edge bundles are not found in {}: build them with `wisp build {SOURCES}` in a \
                 checkout of Wisp, or name their directory with --modules",
                places.collect::<Vec<_>>().join(" or ")
            )));
        };
        if let Some(missing) = modules.files().find(|file| !file.is_file()) {
            return Err(bad_configuration(format!(
                "the module `{}` does not exist, although others are beside it: build all of them with \
                 `wisp build {SOURCES}`",
                display::path(missing)
            )));
        }
        Ok(modules)
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.adapter, &self.engine]
            .into_iter()
            .map(PathBuf::as_path)
    }
}

/// Returns the directories in which modules are looked for if none is named.
fn default_directories(model: &Path) -> Vec<PathBuf> {
    let program = std::env::current_exe().ok();
    let mut directories = program.map_or_else(Vec::new, |program| installed(&program));
    let built = |root: &Path| root.join(GUESTS).join("target").join(EDGE_MODULES);
    let roots = checkouts(model).into_iter();
    directories.extend(roots.map(|root| built(&root)));
    directories
}

/// Returns the directories that come with the program of this path.
fn installed(program: &Path) -> Vec<PathBuf> {
    let mut parents = program.ancestors().skip(1);
    let beside = parents.next().map(|parent| parent.join(BESIDE_PROGRAM));
    let shared = parents.next().map(|parent| parent.join(BESIDE_PROGRAMS));
    beside.into_iter().chain(shared).collect()
}

/// Returns the directory with the sources of the modules.
pub(super) fn sources(model: &Path) -> anyhow::Result<PathBuf> {
    let root = checkouts(model).into_iter().next();
    let root = root.with_context(|| {
        format!(
            "--build finds no sources of the modules: neither the current directory nor the model's is in a \
             checkout of Wisp, which has {SOURCES}"
        )
    })?;
    Ok(root.join(SOURCES))
}

/// Returns the roots of checkouts of Wisp that contain the current directory or the model.
fn checkouts(model: &Path) -> Vec<PathBuf> {
    let starts = [
        std::env::current_dir().ok(),
        std::path::absolute(model).ok(),
    ];
    let mut roots: Vec<PathBuf> = Vec::new();
    for start in starts.iter().flatten() {
        let root = start.ancestors().find(|path| path.join(GUESTS).is_dir());
        if let Some(root) = root
            && !roots.iter().any(|known| known == root)
        {
            roots.push(root.to_owned());
        }
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modules_of_an_archive_and_of_an_image_are_found_from_the_program() {
        let directories = installed(Path::new("/usr/local/bin/wisp"));
        assert_eq!(
            directories,
            [
                PathBuf::from("/usr/local/bin/edge"),
                PathBuf::from("/usr/local/lib/wisp/edge")
            ]
        );
    }

    #[test]
    fn the_first_directory_with_modules_is_taken() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let directories = ["none", "second", "third"].map(|name| root.path().join(name));
        for directory in &directories[1..] {
            std::fs::create_dir(directory)?;
            for file in [ADAPTER, "nn-rten.wasm"] {
                std::fs::write(directory.join(file), "")?;
            }
        }
        let modules = Modules::in_directories(&directories, "nn-rten.wasm")?;
        assert_eq!(modules.adapter, directories[1].join(ADAPTER));
        assert_eq!(modules.engine, directories[1].join("nn-rten.wasm"));
        Ok(())
    }

    #[test]
    fn missing_modules_are_reported_with_the_command_that_builds_them() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let directories = [root.path().to_owned()];
        let refused = || {
            let modules = Modules::in_directories(&directories, "nn-tract.wasm");
            let error = modules.err().context("found")?.to_string();
            anyhow::ensure!(error.contains("`wisp build guest-models/edge`"), "{error}");
            Ok(error)
        };
        assert!(refused()?.contains("--modules"));
        std::fs::write(root.path().join(ADAPTER), "")?;
        assert!(refused()?.contains("nn-tract.wasm"));
        Ok(())
    }

    #[test]
    fn a_checkout_is_found_above_the_model() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let model = root.path().join("examples/digits");
        std::fs::create_dir_all(&model)?;
        std::fs::create_dir(root.path().join(GUESTS))?;
        assert!(checkouts(&model).contains(&root.path().to_owned()));
        Ok(())
    }
}
