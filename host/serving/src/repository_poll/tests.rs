//! Tests of polls on repositories whose models are loaded by a backend that reads a word.

use super::*;
use crate::memory_pressure::MemoryPressure;
use crate::model_control::ControlMode;
use crate::registry::ResolveError;
use crate::registry::word_loader::word_loader;
use crate::version::ModelVersion;
use tempfile::TempDir;
use wisp_protocol::call::{Selection, Target, VersionChoice};

/// A repository in a temporary directory, and a poll of it.
struct Polled {
    repository: TempDir,
    _store: TempDir,
    poll: RepositoryPoll,
    /// Of a process that may use 100 bytes.
    pressure: Arc<MemoryPressure>,
}

impl Polled {
    /// Starts to serve a repository with these files.
    fn start(files: &[(&str, &str)]) -> anyhow::Result<Polled> {
        let repository = tempfile::tempdir()?;
        for (file, content) in files {
            write(&repository, file, content)?;
        }
        let store = tempfile::tempdir()?;
        let loader = word_loader(store.path())?;
        let baseline = Snapshot::take(repository.path())?;
        let registry = loader.load_repository(repository.path(), &|_, _| ())?;
        let path = repository.path().to_owned();
        let pressure = Arc::new(MemoryPressure::new(Some(100)));
        let control = ModelControl::new(loader, path, ControlMode::Poll, |_, _| ())
            .with_pressure(Arc::clone(&pressure));
        let poll = RepositoryPoll::new(Arc::new(control), Arc::new(registry), baseline);
        Ok(Polled {
            repository,
            _store: store,
            poll,
            pressure,
        })
    }

    /// Polls once and returns the changes: each model with its outcome.
    async fn poll_once(&mut self) -> anyhow::Result<Vec<String>> {
        let changes = self.poll.poll_once().await?.into_iter();
        let text = |change: Change| match change.outcome {
            Ok(applied) => format!("{} {applied:?}", change.model),
            Err(error) => format!("{} {error}", change.model),
        };
        Ok(changes.map(text).collect())
    }

    fn served(&self) -> Result<Arc<ModelVersion>, ResolveError> {
        let registry = &self.poll.registry;
        let selection = Selection::OnlyModel(VersionChoice::Default);
        registry.resolve(&registry.target(&selection)?)
    }
}

fn write(repository: &TempDir, file: &str, content: &str) -> anyhow::Result<()> {
    let path = repository.path().join(file);
    std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
    Ok(std::fs::write(path, content)?)
}

const NONE: [&str; 0] = [];

#[tokio::test]
async fn a_model_is_taken_when_two_looks_agree_on_it() -> anyhow::Result<()> {
    let mut polled = Polled::start(&[])?;
    assert_eq!(polled.poll_once().await?, NONE);
    write(&polled.repository, "m/1/model.onnx", "gra")?;
    assert_eq!(polled.poll_once().await?, NONE);
    write(&polled.repository, "m/1/model.onnx", "graph")?;
    assert_eq!(polled.poll_once().await?, NONE, "it is still being copied");
    assert_eq!(polled.poll_once().await?, ["m Loaded"]);
    assert_eq!(polled.poll_once().await?, NONE);
    polled.served()?;
    Ok(())
}

#[tokio::test]
async fn a_reload_that_fails_is_tried_again_when_the_files_change() -> anyhow::Result<()> {
    let mut polled = Polled::start(&[("m/1/model.onnx", "graph")])?;
    let first = polled.served()?;
    write(&polled.repository, "m/2/model.onnx", "no")?;
    assert_eq!(polled.poll_once().await?, NONE);
    let failed = "m failed to load `m`: graph `model` cannot be loaded: words refuses: no graph";
    assert_eq!(polled.poll_once().await?, [failed]);
    assert_eq!(polled.poll_once().await?, NONE);
    assert!(Arc::ptr_eq(&first, &polled.served()?), "it goes on serving");
    write(&polled.repository, "m/2/model.onnx", "graph 2")?;
    polled.poll_once().await?;
    assert_eq!(polled.poll_once().await?, ["m Loaded"]);
    let served = polled.served()?;
    assert_eq!(served.description().version.to_string(), "2");
    Ok(())
}

#[tokio::test]
async fn a_change_is_held_back_while_the_server_is_short_of_memory() -> anyhow::Result<()> {
    let mut polled = Polled::start(&[("m/1/model.onnx", "graph"), ("gone/1/model.onnx", "graph")])?;
    let target = Target {
        model: ModelName::new("m")?,
        version: VersionChoice::Default,
    };
    let first = polled.poll.registry.resolve(&target)?;
    write(&polled.repository, "m/2/model.onnx", "graph 2")?;
    std::fs::remove_dir_all(polled.repository.path().join("gone"))?;
    assert_eq!(polled.poll_once().await?, NONE);
    polled.pressure.observe(90);
    // Changes that take no memory are made.
    assert_eq!(polled.poll_once().await?, ["gone Removed"]);
    assert_eq!(polled.poll_once().await?, NONE);
    let served = polled.poll.registry.resolve(&target)?;
    assert!(Arc::ptr_eq(&first, &served), "it goes on serving");
    assert_eq!(polled.poll.held_back.len(), 1);
    let entry = polled.poll.registry.entry(&target.model)?;
    assert!(entry.failure().is_none(), "it has not failed");
    // The files have not changed since.
    polled.pressure.observe(10);
    assert_eq!(polled.poll_once().await?, ["m Loaded"]);
    let served = polled.poll.registry.resolve(&target)?;
    assert_eq!(served.description().version.to_string(), "2");
    assert!(polled.poll.held_back.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_new_model_that_fails_is_told_of_until_it_goes() -> anyhow::Result<()> {
    let mut polled = Polled::start(&[])?;
    write(&polled.repository, "m/model.toml", "versions = [7]")?;
    write(&polled.repository, "m/1/model.onnx", "graph")?;
    polled.poll_once().await?;
    let said = polled.poll_once().await?.concat();
    assert!(said.contains("there is no version 7"), "{said}");
    let refused = polled.served().map(drop);
    assert!(matches!(refused, Err(ResolveError::Unavailable { .. })));
    std::fs::remove_dir_all(polled.repository.path().join("m"))?;
    assert_eq!(polled.poll_once().await?, NONE);
    assert_eq!(polled.poll_once().await?, ["m Removed"]);
    assert!(polled.poll.registry.entries().is_empty());
    Ok(())
}

#[tokio::test]
async fn an_entry_that_looks_like_a_version_is_entered_without_a_load() -> anyhow::Result<()> {
    let mut polled = Polled::start(&[("m/1/model.onnx", "graph"), ("m/v2/model.onnx", "graph")])?;
    let model = ModelName::new("m")?;
    let first = polled.served()?;
    let reasons = |polled: &Polled| -> anyhow::Result<Vec<String>> {
        let entry = polled.poll.registry.entry(&model)?;
        let unserved = entry.unserved.iter();
        Ok(unserved.map(|unserved| unserved.reason.clone()).collect())
    };
    let v2 = "`v2` is not a version: its name is not a decimal number";
    assert_eq!(polled.poll_once().await?, NONE);
    assert_eq!(reasons(&polled)?, [v2]);
    write(&polled.repository, "m/0/model.onnx", "graph")?;
    for _ in 0..2 {
        assert_eq!(polled.poll_once().await?, NONE);
        let zero = "`0` is not a version: versions begin at 1";
        assert_eq!(reasons(&polled)?, [zero, v2]);
    }
    // A load that fails adds its reason, and one that finds no versions keeps what was known.
    write(&polled.repository, "m/model.toml", "versions = [7]")?;
    polled.poll_once().await?;
    assert_eq!(polled.poll_once().await?.len(), 1);
    assert_eq!(reasons(&polled)?.len(), 3);
    std::fs::remove_dir_all(polled.repository.path().join("m/v2"))?;
    assert_eq!(polled.poll_once().await?, NONE);
    assert_eq!(reasons(&polled)?.len(), 2);
    assert!(Arc::ptr_eq(&first, &polled.served()?), "it goes on serving");
    Ok(())
}

#[tokio::test]
async fn a_repository_that_cannot_be_read_changes_nothing() -> anyhow::Result<()> {
    let mut polled = Polled::start(&[("m/1/model.onnx", "graph")])?;
    let [here, away] = ["m", "away"].map(|name| polled.repository.path().join(name));
    std::fs::rename(&here, &away)?;
    // A model whose directory is missing in one poll and present in the next stays unchanged.
    assert_eq!(polled.poll_once().await?, NONE);
    std::fs::rename(&away, &here)?;
    assert_eq!(polled.poll_once().await?, NONE);
    let Polled {
        repository, poll, ..
    } = &mut polled;
    std::fs::remove_dir_all(repository.path())?;
    for _ in 0..2 {
        assert!(poll.poll_once().await.is_err());
    }
    polled.served()?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn looks_come_at_their_interval() -> anyhow::Result<()> {
    let Polled {
        repository, poll, ..
    } = Polled::start(&[])?;
    write(&repository, "m/1/model.onnx", "graph")?;
    let start = Instant::now();
    let (heard, mut changes) = tokio::sync::mpsc::unbounded_channel();
    let polls = poll.run(Duration::from_secs(15), |changes| {
        let _ = heard.send((start.elapsed(), changes.map_or(0, |changes| changes.len())));
    });
    let hear = async {
        let expected = [(15, 0), (30, 1), (45, 0)];
        for (seconds, loaded) in expected {
            let (at, changes) = changes.recv().await.unwrap_or_default();
            assert_eq!((at.as_secs(), changes), (seconds, loaded));
        }
    };
    tokio::select! {
        () = polls => anyhow::bail!("it never ends"),
        () = hear => Ok(()),
    }
}
