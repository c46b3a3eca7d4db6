//! The capabilities that a handler has only if its model grants them: random numbers and the time.
//!
//! `[handler] grants` in `model.toml` names them. Their interfaces are always linked; a component that imports one
//! without its grant is refused by [`crate::component`] before it is compiled. An initialization has none of them,
//! since all requests begin with the state that it leaves.
//!
//! The time is that at which the host began the call, in whole milliseconds, and stands still during the call. A
//! handler cannot measure with it how long its own or its neighbours' code takes.

pub(crate) mod interface;

use std::collections::BTreeSet;
use std::str::FromStr;

const RANDOM: &str = "wasi:random/random@0.2.12";
const INSECURE: &str = "wasi:random/insecure@0.2.12";
const INSECURE_SEED: &str = "wasi:random/insecure-seed@0.2.12";
const WALL_CLOCK: &str = "wasi:clocks/wall-clock@0.2.12";

/// A capability that handlers have if their model grants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    /// Random numbers of the machine.
    Random,
    /// The time at which a call began.
    Clock,
}

/// The error for a name that is not a grant.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` is not a grant; expected one of {}", names())]
pub struct UnknownGrant {
    name: String,
}

impl Grant {
    /// All grants, in their order.
    pub const ALL: [Grant; 2] = [Grant::Random, Grant::Clock];

    /// Returns the name in `model.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Grant::Random => "random",
            Grant::Clock => "clock",
        }
    }

    /// Returns the grant that a handler with this import needs.
    pub fn of_import(import: &str) -> Option<Grant> {
        Grant::ALL.into_iter().find(|grant| {
            let mut interfaces = grant.interfaces().iter();
            interfaces.any(|interface| is_compatible(import, interface))
        })
    }

    /// Returns the interfaces that the grant is for, in the versions that are linked.
    fn interfaces(self) -> &'static [&'static str] {
        match self {
            Grant::Random => &[RANDOM, INSECURE, INSECURE_SEED],
            Grant::Clock => &[WALL_CLOCK],
        }
    }
}

impl FromStr for Grant {
    type Err = UnknownGrant;

    fn from_str(name: &str) -> Result<Grant, UnknownGrant> {
        let mut grants = Grant::ALL.into_iter();
        let grant = grants.find(|grant| grant.name() == name);
        grant.ok_or_else(|| UnknownGrant {
            name: name.to_owned(),
        })
    }
}

/// Returns the line of `model.toml` that grants these.
pub fn setting(grants: &BTreeSet<Grant>) -> String {
    let names = grants.iter().map(|grant| format!("\"{}\"", grant.name()));
    format!("grants = [{}]", names.collect::<Vec<_>>().join(", "))
}

fn names() -> String {
    let names = Grant::ALL.map(|grant| format!("`{}`", grant.name()));
    names.join(", ")
}

/// Returns whether an import is this interface, in the linked version or another one that differs in its last number
/// only. wasmtime links those.
fn is_compatible(import: &str, linked: &str) -> bool {
    let (Some((import, patch)), Some((linked, _))) =
        (import.rsplit_once('.'), linked.rsplit_once('.'))
    else {
        return false;
    };
    import == linked && !patch.is_empty() && patch.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests;
