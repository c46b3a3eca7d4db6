//! Access to OCI registries, shared by `wisp push` and `wisp pull`.
//!
//! `artifact` defines what the manifests of components and of model versions contain, `file_title` which
//! paths they may name, and `digest` what identifies a file. `session` makes the requests: it finds
//! `credentials`, which `docker_config` reads, and turns errors of the client into `registry_error`.
//! `bounded_file` receives a download. This module never decides where a file of an artifact goes.

pub(crate) mod artifact;
mod bounded_file;
mod credentials;
pub(crate) mod digest;
mod docker_config;
pub(crate) mod file_title;
mod registry_error;
pub(crate) mod session;
