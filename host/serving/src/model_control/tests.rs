//! Tests of changes to the served models, which are loaded by a backend that reads a word.

use super::*;
use crate::registry::ResolveError;
use crate::registry::repository_loader::Start;
use crate::registry::word_loader::word_loader;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;
use wisp_protocol::call::{Target, VersionChoice};
use wisp_protocol::release::ReleaseChange;

/// A time after which every event without a wait has happened.
const LATER: Duration = Duration::from_secs(60);

/// The control over a repository with the model `m`, which requests load.
struct Controlled {
    /// The repository is `models` in it.
    directory: TempDir,
    _store: TempDir,
    model: ModelName,
    control: Arc<ModelControl>,
    registry: Arc<Registry>,
}

impl Controlled {
    fn start() -> anyhow::Result<Controlled> {
        let (directory, store) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let models = directory.path().join("models");
        std::fs::create_dir_all(models.join("m/1"))?;
        std::fs::write(models.join("m/1/model.onnx"), "graph")?;
        let loader = word_loader(store.path())?;
        let registry = loader.start_repository(&models, Start::Dormant, &|_, _| ())?;
        let control = ModelControl::new(loader, models, ControlMode::Explicit, |_, _| ());
        let control = control.with_residency(ResidencyOptions {
            load_on_demand: true,
            ..ResidencyOptions::default()
        });
        Ok(Controlled {
            directory,
            _store: store,
            model: ModelName::new("m")?,
            control: Arc::new(control),
            registry: Arc::new(registry),
        })
    }

    /// Loads the model for a request.
    async fn load(&self) -> Result<(), ControlError> {
        let (registry, model) = (&self.registry, &self.model);
        self.control
            .load_on_demand(registry, model, Owner::LOCAL)
            .await
    }

    /// Returns the refusal of a request, if there is one.
    fn refusal(&self) -> Option<ResolveError> {
        let target = Target {
            model: self.model.clone(),
            version: VersionChoice::Default,
        };
        self.registry.resolve(&target).err()
    }

    /// Checks that the model has failed, and that a request loads it once the pause after its failure has ended.
    async fn check_retry(&self) -> anyhow::Result<()> {
        let refusal = self.refusal();
        let Some(refusal @ ResolveError::Unavailable { .. }) = refusal else {
            anyhow::bail!("{refusal:?}");
        };
        let later = Instant::now() + LATER;
        let is_tried = self.control.residency.may_retry(&self.model, later);
        assert!(is_tried, "no request would ever load it again");
        // After the first failure, that is a second.
        while !self.control.may_load_after(&refusal) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.load().await?;
        let refusal = self.refusal();
        assert!(refusal.is_none(), "{refusal:?}");
        Ok(())
    }
}

#[test]
fn a_failed_load_leaves_the_server_as_ready_as_it_was() -> anyhow::Result<()> {
    let model = ModelName::new("m")?;
    for blocks_readiness in [true, false] {
        let before = ModelEntry {
            blocks_readiness,
            ..ModelEntry::problem("no graph".to_owned())
        };
        let registry = Registry::new([(model.clone(), before)].into());
        let failed = ModelEntry::problem("its files cannot be read".to_owned());
        enter_failure(&registry, &model, failed);
        let entry = registry.entry(&model)?;
        assert_eq!(entry.blocks_readiness, blocks_readiness);
        assert_eq!(entry.problem.as_deref(), Some("its files cannot be read"));
    }
    Ok(())
}

#[tokio::test]
async fn a_dormant_model_that_could_not_be_read_is_loaded_by_a_later_request() -> anyhow::Result<()>
{
    let controlled = Controlled::start()?;
    let [here, away] = ["models", "away"].map(|name| controlled.directory.path().join(name));
    std::fs::rename(&here, &away)?;
    controlled.load().await?;
    std::fs::rename(&away, &here)?;
    controlled.check_retry().await
}

#[tokio::test]
async fn a_dormant_model_that_was_not_found_again_is_loaded_by_a_later_request()
-> anyhow::Result<()> {
    let controlled = Controlled::start()?;
    let settings = controlled.directory.path().join("models/m/model.toml");
    std::fs::write(&settings, "versions = [7]")?;
    let (control, model) = (&controlled.control, controlled.model.clone());
    let found = control.reload(&controlled.registry, model).await;
    assert!(
        matches!(found, Err(ControlError::Failed { .. })),
        "{found:?}"
    );
    std::fs::remove_file(&settings)?;
    controlled.check_retry().await
}

#[tokio::test(start_paused = true)]
async fn the_close_of_a_release_has_a_place_among_the_loads_and_other_changes_need_none()
-> anyhow::Result<()> {
    let controlled = Controlled::start()?;
    let Controlled {
        control,
        registry,
        model,
        ..
    } = &controlled;
    let mut places = Vec::new();
    loop {
        let other = ModelName::new(&format!("other{}", places.len()))?;
        // The clock moves once nothing else can happen.
        match timeout(LATER, control.locks.load(&other, Owner::LOCAL)).await {
            Ok(place) => places.push(place),
            Err(_) => break,
        }
    }
    let changed = async |change: ReleaseChange| {
        let changed = control.change_release(registry, (model.clone(), change));
        timeout(LATER, changed).await.ok()
    };
    for change in [ReleaseChange::Promote, ReleaseChange::Abort] {
        let refused = changed(change).await;
        assert!(
            matches!(refused, Some(Err(ControlError::NoRelease { .. }))),
            "{refused:?}"
        );
    }
    let waiting = changed(ReleaseChange::Close).await;
    assert!(waiting.is_none(), "{waiting:?}");
    places.pop();
    let refused = changed(ReleaseChange::Close).await;
    assert!(
        matches!(refused, Some(Err(ControlError::NoRelease { .. }))),
        "{refused:?}"
    );
    Ok(())
}
