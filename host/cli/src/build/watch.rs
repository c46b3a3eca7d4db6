//! Rebuilds handlers whose sources change, for `wisp serve --build --watch`.
//!
//! Each check of the sources compares the files of every handler's crate with those of its last build. A crate is
//! built when two successive checks find the same changed files, so that an editor which is still writing is
//! waited for. A build that failed is repeated only after the next change. The caller decides when to check.

use super::plan::{self, Order, Plan};
use super::{BuiltHandler, Rebuild, build, freshness};
use crate::display;
use crate::failure::bad_configuration;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wisp_serving::file_state::FileState;
use wisp_serving::registry::model_file;

/// The file with the versions of a crate's dependencies.
const LOCK_FILE: &str = "Cargo.lock";

/// The sources of the handlers of a repository, as far as they were seen. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct SourceWatch {
    repository: PathBuf,
    /// The crates, by directory.
    crates: BTreeMap<PathBuf, WatchedCrate>,
    /// The last reason that the crates could not be found.
    problem: Option<String>,
}

/// An outcome of a check of the sources.
#[derive(Debug)]
pub(crate) enum WatchEvent {
    /// The handlers of the models that one crate belongs to.
    Built(Vec<BuiltHandler>),
    /// The crate of these models could not be built. The compiler has printed its message.
    Failed {
        models: Vec<String>,
        error: anyhow::Error,
    },
    /// The crates cannot be found, for a reason that is new.
    NotFound(anyhow::Error),
}

#[derive(Debug)]
struct WatchedCrate {
    /// The files at the last check.
    previous: Sources,
    /// The files at the last build; `None` if the component is older than its sources.
    built: Option<Sources>,
}

/// The states of files that may exist.
type Sources = BTreeMap<PathBuf, Option<FileState>>;

impl SourceWatch {
    /// Returns a watch of the handlers below `repository`, at least one of which has a source.
    pub(crate) fn new(repository: &Path) -> anyhow::Result<SourceWatch> {
        if orders(repository)?.is_empty() {
            return Err(bad_configuration(format!(
                "--watch: no model in `{}` has the path of a handler's source that exists ([handler] source \
                 in {})",
                display::path(repository),
                model_file::FILE_NAME
            )));
        }
        Ok(SourceWatch {
            repository: repository.to_owned(),
            crates: BTreeMap::new(),
            problem: None,
        })
    }

    /// Checks the sources once, and builds the crates that have changed. Blocks while cargo runs.
    pub(crate) fn check(&mut self) -> Vec<WatchEvent> {
        self.check_with(|orders| {
            let plans = orders.into_iter().map(Plan::Build).collect();
            build(plans, Rebuild::All)
        })
    }

    /// Checks the sources once, and passes the orders of each crate that has changed to `build`.
    fn check_with(
        &mut self,
        mut build: impl FnMut(Vec<Order>) -> anyhow::Result<Vec<BuiltHandler>>,
    ) -> Vec<WatchEvent> {
        let found = match orders(&self.repository) {
            Ok(found) => found,
            Err(error) => return self.not_found(error).into_iter().collect(),
        };
        self.problem = None;
        let mut crates: BTreeMap<PathBuf, Vec<Order>> = BTreeMap::new();
        for order in found {
            crates.entry(order.source.clone()).or_default().push(order);
        }
        self.crates.retain(|source, _| crates.contains_key(source));
        let mut events = Vec::new();
        for (source, orders) in crates {
            if !self.is_due(&source, &orders) {
                continue;
            }
            let models = orders.iter().map(|order| order.name.clone()).collect();
            events.push(match build(orders) {
                Ok(built) => {
                    self.add_found_by_build(&source);
                    WatchEvent::Built(built)
                }
                Err(error) => WatchEvent::Failed { models, error },
            });
        }
        events
    }

    /// Returns the event for this error, unless the last check had the same.
    fn not_found(&mut self, error: anyhow::Error) -> Option<WatchEvent> {
        let text = Some(format!("{error:#}"));
        let is_new = self.problem != text;
        self.problem = text;
        is_new.then_some(WatchEvent::NotFound(error))
    }

    /// Returns whether a crate, which has these orders, must be built now. If so, the caller builds it.
    fn is_due(&mut self, source: &Path, orders: &[Order]) -> bool {
        // Taken before anything is built, so that a change during the build is one for the next check.
        let now = sources(source);
        let watched = self.crates.entry(source.to_owned());
        let watched = watched.or_insert_with(|| WatchedCrate {
            previous: Sources::new(),
            built: orders.iter().all(is_built).then(|| now.clone()),
        });
        let is_settled = watched.previous == now;
        watched.previous.clone_from(&now);
        if !is_settled || watched.built.as_ref() == Some(&now) {
            return false;
        }
        watched.built = Some(now);
        true
    }

    /// Adds the files that a successful build has recorded or written to those that it was made of.
    fn add_found_by_build(&mut self, source: &Path) {
        let built = self.crates.get_mut(source);
        if let Some(built) = built.and_then(|watched| watched.built.as_mut()) {
            for (file, state) in sources(source) {
                built.entry(file).or_insert(state);
            }
        }
    }
}

/// Returns the orders for the models below `repository` whose source exists.
fn orders(repository: &Path) -> anyhow::Result<Vec<Order>> {
    let plans = plan::plan_models(repository)?.into_iter();
    let orders = plans.filter_map(|plan| match plan {
        Plan::Build(order) => Some(order),
        Plan::Keep { .. } => None,
    });
    Ok(orders.collect())
}

/// Returns whether the component of `order` was built from the sources as they are.
fn is_built(order: &Order) -> bool {
    // A first build writes the lock file after it has begun.
    let newer = freshness::newer_files(order);
    newer.is_some_and(|files| files.iter().all(|file| file.ends_with(LOCK_FILE)))
}

fn sources(crate_directory: &Path) -> Sources {
    let files = freshness::files_of(crate_directory).into_iter();
    let states = files.map(|file| {
        let state = FileState::of(&file).ok();
        (file, state)
    });
    states.collect()
}

#[cfg(test)]
mod tests {
    use super::super::Change;
    use super::*;
    use anyhow::{Context, bail};
    use std::fs;
    use tempfile::TempDir;

    fn put(path: &Path, text: &str) -> anyhow::Result<()> {
        fs::create_dir_all(path.parent().context("a file has a parent")?)?;
        Ok(fs::write(path, text)?)
    }

    /// Creates a repository with these models of one crate, `handler` beside them.
    fn project(models: &[&str]) -> anyhow::Result<TempDir> {
        let directory = tempfile::tempdir()?;
        put(
            &directory.path().join("handler/Cargo.toml"),
            "[package]\nname = \"h\"",
        )?;
        put(&directory.path().join("handler/src/lib.rs"), "")?;
        for model in models {
            let model = directory.path().join("models").join(model);
            put(
                &model.join("model.toml"),
                "[handler]\nsource = '../../handler'",
            )?;
            put(&model.join("1/handler.wasm"), "")?;
        }
        Ok(directory)
    }

    /// Checks once. A build writes every component, and fails if the source contains `!`.
    fn check(watch: &mut SourceWatch) -> Vec<WatchEvent> {
        watch.check_with(|orders| {
            let mut built = Vec::new();
            for order in orders {
                if fs::read_to_string(order.source.join("src/lib.rs"))?.contains('!') {
                    bail!("failed to compile");
                }
                built.push(BuiltHandler {
                    name: order.name,
                    path: PathBuf::new(),
                    bytes: 0,
                    change: Change::Written,
                });
            }
            Ok(built)
        })
    }

    /// Returns the models of the only event, with `false` for a failure. There may be no event.
    fn only(events: Vec<WatchEvent>) -> anyhow::Result<Option<(bool, Vec<String>)>> {
        let mut events = events.into_iter();
        let event = events.next();
        anyhow::ensure!(events.next().is_none(), "there are several events");
        Ok(match event {
            None => None,
            Some(WatchEvent::Built(built)) => Some((
                true,
                built.into_iter().map(|handler| handler.name).collect(),
            )),
            Some(WatchEvent::Failed { models, .. }) => Some((false, models)),
            Some(WatchEvent::NotFound(error)) => return Err(error),
        })
    }

    #[test]
    fn a_changed_source_is_built_once_it_has_settled() -> anyhow::Result<()> {
        let directory = project(&["m"])?;
        let mut watch = SourceWatch::new(&directory.path().join("models"))?;
        let built = Some((true, vec!["m".to_owned()]));
        // No build has recorded its sources yet.
        assert_eq!(only(check(&mut watch))?, None);
        assert_eq!(only(check(&mut watch))?, built);
        let handler = directory.path().join("handler");
        // One after the other: another text, a setting, a file that no build has recorded, and its removal.
        put(&handler.join("src/lib.rs"), "//")?;
        for change in ["Cargo.lock", "build.rs", "src/new/part.rs", ""] {
            assert_eq!(only(check(&mut watch))?, None, "before {change}");
            assert_eq!(only(check(&mut watch))?, built, "before {change}");
            assert_eq!(only(check(&mut watch))?, None, "before {change}");
            match change {
                "" => fs::remove_file(handler.join("src/new/part.rs"))?,
                file => put(&handler.join(file), "")?,
            }
        }
        assert_eq!(only(check(&mut watch))?, None);
        put(&handler.join("src/lib.rs"), "// still being written")?;
        assert_eq!(only(check(&mut watch))?, None);
        assert_eq!(only(check(&mut watch))?, built);
        // Components, and other files beside the sources, are none.
        put(&directory.path().join("models/m/1/handler.wasm"), "new")?;
        put(&handler.join("README.md"), "new")?;
        assert_eq!(only(check(&mut watch))?, None);
        assert_eq!(only(check(&mut watch))?, None);
        Ok(())
    }

    #[test]
    fn files_that_a_build_writes_are_no_change() -> anyhow::Result<()> {
        let directory = project(&["m"])?;
        let mut watch = SourceWatch::new(&directory.path().join("models"))?;
        let lock = directory.path().join("handler/Cargo.lock");
        let mut builds = 0;
        for _ in 0..6 {
            watch.check_with(|_| {
                builds += 1;
                put(&lock, "")?;
                Ok(Vec::new())
            });
        }
        assert_eq!(builds, 1);
        Ok(())
    }

    #[test]
    fn a_failed_build_is_repeated_only_after_a_change() -> anyhow::Result<()> {
        let directory = project(&["m", "n"])?;
        let mut watch = SourceWatch::new(&directory.path().join("models"))?;
        let models = vec!["m".to_owned(), "n".to_owned()];
        let source = directory.path().join("handler/src/lib.rs");
        put(&source, "!")?;
        let outcomes = [None, Some((false, models.clone())), None, None];
        for outcome in outcomes {
            assert_eq!(only(check(&mut watch))?, outcome);
        }
        put(&source, "corrected")?;
        for outcome in [None, Some((true, models)), None] {
            assert_eq!(only(check(&mut watch))?, outcome);
        }
        Ok(())
    }

    #[test]
    fn a_model_file_that_cannot_be_read_is_reported_once() -> anyhow::Result<()> {
        let directory = project(&["m"])?;
        let models = directory.path().join("models");
        let mut watch = SourceWatch::new(&models)?;
        for text in ["[handler", "[handlers]"] {
            put(&models.join("m/model.toml"), text)?;
            let first = check(&mut watch);
            assert!(
                matches!(first.as_slice(), [WatchEvent::NotFound(_)]),
                "{first:?}"
            );
            assert!(check(&mut watch).is_empty());
        }
        put(
            &models.join("m/model.toml"),
            "[handler]\nsource = '../../handler'",
        )?;
        assert!(check(&mut watch).is_empty());
        Ok(())
    }

    #[test]
    fn a_repository_without_sources_cannot_be_watched() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        put(&directory.path().join("m/1/handler.wasm"), "")?;
        let error = SourceWatch::new(directory.path()).expect_err("there is no source");
        assert!(error.to_string().contains("[handler] source"), "{error}");
        Ok(())
    }
}
