//! The settings, files and grants of a model, for native tests of handlers that use them.

use crate::config::ConfigValue;
use crate::deployment::{self, Deployment};
use crate::random::Sequence;
use std::time::Duration;

/// A model with settings and files, as `model.toml` names them.
///
/// ```
/// use wisp_handler::{Result, config, files, testing::Model};
///
/// # fn main() -> Result<()> {
/// let model = Model::new()
///     .with_config("threshold", 0.5)
///     .with_file("labels.txt", "cat\ndog\n");
/// model.run(|| {
///     assert_eq!(config::require::<f64>("threshold")?, 0.5);
///     assert_eq!(files::read_to_string("labels.txt")?.lines().count(), 2);
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Model {
    deployment: Deployment,
}

impl Model {
    /// Creates a model without settings and files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a setting: a key of `[handler.config]`.
    #[must_use]
    pub fn with_config(mut self, key: impl Into<String>, value: impl Into<ConfigValue>) -> Self {
        self.deployment.settings.insert(key.into(), value.into());
        self
    }

    /// Adds a file: an element of `[handler] files`.
    #[must_use]
    pub fn with_file(mut self, name: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        self.deployment.files.insert(name.into(), content.into());
        self
    }

    /// Sets the seed of [`random`](crate::random), which is 0 otherwise.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.deployment.random = Sequence::of(seed);
        self
    }

    /// Sets the time of [`clock`](crate::clock) since the Unix epoch, which is that of the machine otherwise.
    #[must_use]
    pub fn with_time(mut self, time: Duration) -> Self {
        self.deployment.time = Some(time);
        self
    }

    /// Calls `test` with the handler deployed with this model, on this thread only.
    pub fn run<T>(self, test: impl FnOnce() -> T) -> T {
        let _entered = deployment::enter(self.deployment);
        test()
    }
}
