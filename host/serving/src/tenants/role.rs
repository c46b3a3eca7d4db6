//! The roles of keys, each of which includes those before it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The right of a key. A later role includes the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Inference, and everything that only reads: metadata, readiness, statistics.
    Infer,
    /// Changes of the tenant's own models: load, unload, upload, releases.
    Deploy,
    /// Changes of the tenants, on the listener for administration.
    Admin,
}

/// The error for a text that is not a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a role: `infer`, `deploy` or `admin`")]
pub struct RoleError;

impl Role {
    /// All roles, the weakest first.
    pub const ALL: [Role; 3] = [Role::Infer, Role::Deploy, Role::Admin];

    /// Returns the name of the role in files and requests.
    pub fn name(self) -> &'static str {
        match self {
            Role::Infer => "infer",
            Role::Deploy => "deploy",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Role, RoleError> {
        let mut roles = Role::ALL.into_iter();
        roles.find(|role| role.name() == text).ok_or(RoleError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_includes_those_before_it() {
        assert!(Role::Infer < Role::Deploy && Role::Deploy < Role::Admin);
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert_eq!("Admin".parse::<Role>(), Err(RoleError));
    }
}
