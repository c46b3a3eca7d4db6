//! The levels at which the work for a tenant is kept apart from that for others.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The level of isolation of a tenant. A later one includes the earlier ones.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// The threads of the server, of which each tenant gets its share.
    #[default]
    Shared,
    /// Threads and instances of its own for the handlers and graphs of its own models, in the process of the server.
    Cordon,
    /// A process of its own, which answers all its requests.
    Worker,
}

/// The error for a text that is not a level of isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a level of isolation: `shared`, `cordon` or `worker`")]
pub struct IsolationError;

impl Isolation {
    /// All levels, the weakest first.
    pub const ALL: [Isolation; 3] = [Isolation::Shared, Isolation::Cordon, Isolation::Worker];

    /// Returns the name of the level in files and requests.
    pub fn name(self) -> &'static str {
        match self {
            Isolation::Shared => "shared",
            Isolation::Cordon => "cordon",
            Isolation::Worker => "worker",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isolation {
    type Err = IsolationError;

    fn from_str(text: &str) -> Result<Isolation, IsolationError> {
        let mut levels = Isolation::ALL.into_iter();
        levels
            .find(|level| level.name() == text)
            .ok_or(IsolationError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_read_as_it_is_written_and_later_ones_are_stronger() {
        assert!(Isolation::Shared < Isolation::Cordon && Isolation::Cordon < Isolation::Worker);
        for level in Isolation::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert_eq!("process".parse::<Isolation>(), Err(IsolationError));
        assert_eq!(Isolation::default(), Isolation::Shared);
    }
}
