//! Computes the number of connections that the limit on file descriptors allows.
//!
//! Each connection uses one descriptor. The soft limit, 1,024 on most systems, is raised to the hard
//! limit, which is safe for a server that does not use `select`.

use crate::failure::bad_configuration;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The number of descriptors for everything except connections: listeners, the runtime, files that are
/// loaded, libraries.
const RESERVED: u64 = 48;

/// The minimum number of descriptors for a useful number of connections.
const LEAST: u64 = 64;

/// The number of descriptors for connections above the limit that are being rejected.
const REFUSED: u64 = 64;

/// Raises the soft limit. Returns the resulting limit on descriptors, or `None` if there is none. Fails
/// if the limit is below [`LEAST`].
pub(super) fn raise() -> anyhow::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "failed to raise the limit on file descriptors");
            limit.current
        }
    };
    match descriptors {
        Some(descriptors) if descriptors < LEAST => Err(bad_configuration(format!(
            "the limit of this process is {descriptors} file descriptors (RLIMIT_NOFILE, `ulimit -n`), and a \
             server needs at least {LEAST}"
        ))),
        descriptors => Ok(descriptors),
    }
}

/// Returns the maximum number of open connections: `asked` if given, otherwise `default` or as many as
/// fit.
pub(super) fn max_connections(
    descriptors: Option<u64>,
    asked: Option<usize>,
    default: usize,
) -> anyhow::Result<usize> {
    let Some(descriptors) = descriptors else {
        return Ok(asked.unwrap_or(default));
    };
    let free = descriptors.saturating_sub(RESERVED);
    let room = free - REFUSED.min(free / 5);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    match asked {
        Some(asked) if asked > room => Err(bad_configuration(format!(
            "--max-connections {asked} is too large: {descriptors} file descriptors are enough for {room} \
             connections; raise the hard limit (RLIMIT_NOFILE, `ulimit -Hn`)"
        ))),
        Some(asked) => Ok(asked),
        None => Ok(room.min(default)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_follow_from_the_descriptors_there_are() -> anyhow::Result<()> {
        for (descriptors, asked, expected) in [
            (None, None, 10_000),
            (None, Some(500_000), 500_000),
            (Some(1_000_000), None, 10_000),
            (Some(1_000_000), Some(20_000), 20_000),
            (Some(1024), None, 912),
            (Some(1024), Some(5), 5),
            (Some(64), None, 13),
        ] {
            let most = max_connections(descriptors, asked, 10_000)?;
            assert_eq!(most, expected, "{descriptors:?} {asked:?}");
        }
        let refused = max_connections(Some(1024), Some(1000), 10_000).err();
        assert!(refused.is_some_and(|error| error.to_string().contains("RLIMIT_NOFILE")));
        Ok(())
    }
}
