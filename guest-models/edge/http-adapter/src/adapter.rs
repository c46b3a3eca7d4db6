//! The model that a bundle serves, and the names that select it.

use crate::failure::Failure;
use wisp_edge::adapter::AdapterManifest;
use wisp_protocol::call::{
    IndexEntry, ModelDescription, ModelName, Selection, Target, VersionChoice, VersionLabel,
    VersionState,
};
use wisp_protocol::call_check::ModelKind;
use wisp_protocol::error::ErrorKind;
use wisp_protocol::statistics::{Sums, VersionStatistics};
use wisp_protocol::target::UnknownTarget;

/// The model of a bundle and the limits of its requests. Lifetime: a bundle.
#[derive(Debug)]
pub struct Adapter {
    pub(crate) description: ModelDescription,
    pub(crate) kind: ModelKind,
    pub(crate) max_body_bytes: usize,
    pub(crate) server_version: String,
    labels: Vec<VersionLabel>,
}

impl Adapter {
    /// Reads the manifest. An error describes the problem.
    pub fn load(manifest: &[u8]) -> Result<Adapter, String> {
        let manifest = AdapterManifest::from_json(manifest).map_err(|error| error.to_string())?;
        let AdapterManifest {
            model,
            labels,
            kind,
            max_body_bytes,
            server_version,
        } = manifest;
        let labels = labels.iter().map(|label| {
            VersionLabel::new(label).ok_or_else(|| format!("`{label}` is not a label"))
        });
        Ok(Adapter {
            labels: labels.collect::<Result<_, _>>()?,
            description: ModelDescription::try_from(model).map_err(|error| error.to_string())?,
            kind: kind.into(),
            max_body_bytes: usize::try_from(max_body_bytes).unwrap_or(usize::MAX),
            server_version,
        })
    }

    /// Returns the name of the model.
    pub(crate) fn model(&self) -> &ModelName {
        &self.description.model
    }

    /// Checks that an inference selects this model and its version.
    pub(crate) fn select(&self, selection: &Selection) -> Result<(), Failure> {
        match selection {
            Selection::Named(target) => self.resolve(target),
            Selection::OnlyModel(version) => self.resolve_version(version),
        }
    }

    /// Checks that a target is this model, and its version if it names one.
    pub(crate) fn resolve(&self, target: &Target) -> Result<(), Failure> {
        match target.model == *self.model() {
            true => self.resolve_version(&target.version),
            false => Err(UnknownTarget::model(&target.model).into()),
        }
    }

    fn resolve_version(&self, version: &VersionChoice) -> Result<(), Failure> {
        match version {
            VersionChoice::Default => Ok(()),
            VersionChoice::Number(number) if *number == self.description.version => Ok(()),
            VersionChoice::Number(number) => {
                Err(UnknownTarget::version(self.model(), *number).into())
            }
            VersionChoice::Label(label) if self.labels.contains(label) => Ok(()),
            VersionChoice::Label(label) => {
                let model = self.model();
                let text = format!("unknown version label: `{model}` has no label `{label}`");
                Err(Failure::new(ErrorKind::NotFound, text))
            }
        }
    }

    /// Returns the entry of the version in the index of the repository.
    pub(crate) fn state(&self) -> IndexEntry {
        IndexEntry {
            name: self.model().to_string(),
            version: Some(self.description.version),
            state: VersionState::Ready,
        }
    }

    /// Returns the statistics of the version: none, since no instance lives longer than its request.
    pub(crate) fn statistics(&self) -> VersionStatistics {
        VersionStatistics {
            model: self.model().clone(),
            version: self.description.version,
            sums: Sums::default(),
            data_quality: None,
            batching: Vec::new(),
        }
    }
}
