//! The capabilities that the own models of a tenant may have.
//!
//! A model asks for them in its `model.toml`. Its deployer writes that file, and so the operator decides for each
//! tenant which of them a model may have. The public models have the grants that their `model.toml` requests.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use wisp_sandbox::grants::Grant;

/// A capability beyond those that every model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantGrant {
    /// Random numbers in handlers: `[handler] grants = ["random"]`.
    Random,
    /// The time in handlers: `[handler] grants = ["clock"]`.
    Clock,
    /// Requests of web components to other hosts: `[http] allowed_hosts`.
    Network,
}

/// The error for a text that is not a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a grant: `random`, `clock` or `network`")]
pub struct TenantGrantError;

impl TenantGrant {
    /// All capabilities, in their order.
    pub const ALL: [TenantGrant; 3] = [
        TenantGrant::Random,
        TenantGrant::Clock,
        TenantGrant::Network,
    ];

    /// Returns the name in files and requests.
    pub fn name(self) -> &'static str {
        match self {
            TenantGrant::Random => "random",
            TenantGrant::Clock => "clock",
            TenantGrant::Network => "network",
        }
    }
}

impl From<Grant> for TenantGrant {
    fn from(grant: Grant) -> TenantGrant {
        match grant {
            Grant::Random => TenantGrant::Random,
            Grant::Clock => TenantGrant::Clock,
        }
    }
}

impl fmt::Display for TenantGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TenantGrant {
    type Err = TenantGrantError;

    fn from_str(text: &str) -> Result<TenantGrant, TenantGrantError> {
        let mut grants = TenantGrant::ALL.into_iter();
        grants
            .find(|grant| grant.name() == text)
            .ok_or(TenantGrantError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_read_as_it_is_written_and_those_of_handlers_have_their_names() {
        for grant in TenantGrant::ALL {
            assert_eq!(grant.to_string().parse(), Ok(grant));
        }
        for grant in Grant::ALL {
            assert_eq!(TenantGrant::from(grant).name(), grant.name());
        }
        assert_eq!("files".parse::<TenantGrant>(), Err(TenantGrantError));
    }
}
