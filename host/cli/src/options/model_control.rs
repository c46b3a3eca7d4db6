//! The settings of `wisp serve` that decide which models are loaded, and when.

use super::value::{self, Seconds};
use clap::Args;
use std::time::Duration;
use wisp_serving::residency::ResidencyOptions;

/// Triton's default.
const DEFAULT_POLL: Duration = Duration::from_secs(15);

/// The loads and unloads of models while the server runs.
#[derive(Debug, Args)]
pub(crate) struct ModelControlArgs {
    /// The way in which models are loaded and unloaded while the server runs. Clients may do so only if
    /// the server listens on loopback addresses alone, or with a key of the role `deploy`.
    #[arg(
        long,
        value_name = "MODE",
        env = "WISP_MODEL_CONTROL_MODE",
        value_enum,
        default_value_t = ModelControlMode::Explicit
    )]
    pub(crate) model_control_mode: ModelControlMode,

    /// Seconds between two checks of the repository, for `--model-control-mode poll`. A change is loaded
    /// once two consecutive checks see the same state.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_REPOSITORY_POLL_SECS",
        default_value_t = Seconds(DEFAULT_POLL)
    )]
    pub(crate) repository_poll_secs: Seconds,

    /// Load each model with its first request, which waits for the load, and load nothing at the start. A model that cannot
    /// be loaded then does not end the server; its requests fail with the reason.
    #[arg(
        long,
        value_name = "BOOL",
        env = "WISP_LOAD_ON_DEMAND",
        default_value_t = false
    )]
    pub(crate) load_on_demand: bool,

    /// Memory in bytes for all loaded models together. A load that would exceed it first unloads the models that
    /// have not been used for longest; they are loaded again by their next request. Models with requests in flight
    /// stay. At the start, models are loaded as long as they fit [default: no limit].
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MAX_MODEL_MEMORY_BYTES",
        value_parser = value::at_least_one
    )]
    pub(crate) max_model_memory_bytes: Option<usize>,

    /// Compute the golden cases of a model, `cases/*.json`, with each version that is loaded while the server runs, before it
    /// is served. A version that fails a case is not served, and the previous one stays in service. Not done with `--watch`.
    #[arg(
        long,
        value_name = "BOOL",
        env = "WISP_GOLDEN_CASES",
        default_value_t = true
    )]
    pub(crate) golden_cases: bool,
}

impl ModelControlArgs {
    /// Returns the settings for loading models.
    pub(crate) fn residency(&self) -> ResidencyOptions {
        let budget = self.max_model_memory_bytes;
        ResidencyOptions {
            load_on_demand: self.load_on_demand,
            max_model_memory_bytes: budget.map(|bytes| u64::try_from(bytes).unwrap_or(u64::MAX)),
        }
    }
}

/// The model control modes of Triton.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ModelControlMode {
    /// Load everything at startup, without later changes.
    None,
    /// Load everything at startup; clients load and unload models afterwards.
    Explicit,
    /// Follow the repository: load and unload models and versions as files appear, change and disappear.
    Poll,
}
