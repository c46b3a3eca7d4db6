//! Cases that Python scripts write, and suites of them that backends run: models with inputs and the outputs
//! that are right.
//!
//! A [`suite::Suite`] runs its cases in child processes and compares the outcomes with lists in
//! `tests/fixtures/<suite>`. [`http`] sends a case to a server.

pub(crate) mod backend;
pub(crate) mod case;
mod compare;
pub(crate) mod http;
mod list;
pub(crate) mod suite;
