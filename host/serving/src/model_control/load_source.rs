//! The files and the settings of a load, and who asked for it.
//!
//! A load for a client waits a moment for room, since whoever reads the entry of an idle model keeps it from leaving for as
//! long. A load for a request waits in `on_demand`.

use crate::registry::snapshot::ModelFiles;
use crate::residency::{NoRoom, ReservedRoom};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use wisp_protocol::load::LoadConfig;

/// The time until the next attempt to find room. No event marks the end of a use, since anything may hold a version.
pub(super) const ROOM_POLL: Duration = Duration::from_millis(10);

/// The time that a load for a client waits for room.
const CLIENT_PATIENCE: Duration = Duration::from_secs(1);

/// The files of a load and the settings that replace keys of the model file.
pub(super) struct LoadSource<'a> {
    /// The directory of the model, or its only graph.
    pub(super) path: &'a Path,
    pub(super) config: Option<&'a Arc<LoadConfig>>,
    /// The state of the files, if they and all settings are in the repository.
    pub(super) files: Option<ModelFiles>,
    pub(super) asked: Asked,
}

/// The time at which a model was asked for, and the time that its load waits for room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    at: Instant,
    patience: Duration,
}

impl Asked {
    /// Returns the time of a request or a start, whose load does not wait here.
    pub(super) fn at(at: Instant) -> Asked {
        Asked {
            at,
            patience: Duration::ZERO,
        }
    }

    /// Returns the time of a command of a client, which is now.
    pub(super) fn by_client() -> Asked {
        Asked {
            at: Instant::now(),
            patience: CLIENT_PATIENCE,
        }
    }

    /// Returns the time since the model was asked for.
    pub(super) fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }

    /// Returns the room that `reserve` finds. The calling thread must be one that may block, of a runtime.
    pub(super) fn wait_for_room(
        &self,
        reserve: impl Fn() -> Result<ReservedRoom, NoRoom>,
    ) -> Result<ReservedRoom, NoRoom> {
        let started = Instant::now();
        loop {
            match reserve() {
                Err(NoRoom::InUse { .. }) if started.elapsed() < self.patience => {
                    // Made within the runtime, whose clock it needs.
                    Handle::current().block_on(async { tokio::time::sleep(ROOM_POLL).await });
                }
                found => return found,
            }
        }
    }
}
