//! The tenants of a server: their identities, rights and limits.
//!
//! A [`tenant_set::Tenant`] is identified by an [`api_key`], or by the name in a verified client certificate (a
//! [`subject`]), either of which has a [`role`] that bounds what a request may do. The operator's [`records`] are in a
//! [`tenant_file`], and a [`tenant_set`] is what they mean once they are checked; a [`settings_change`] changes their
//! settings, and [`trust_changes`] are the changes of names and of the keys that sign. [`document`] is their form in the API for
//! administration. The models that a tenant can name are in its namespace (`crate::namespaces`), loaded by the rules of its
//! [`signing_key`]s; its [`limits`] are enforced where requests are admitted, and a [`tenant_grant`] lets its own models do
//! more. Its [`isolation`] selects the threads, or the process, that work for it.
//!
//! Invariant: a tenant follows from a verified key or a verified certificate, and from nothing else in a request.

pub mod api_key;
pub mod document;
pub mod isolation;
pub mod limits;
pub mod records;
mod replaced_file;
pub mod role;
pub mod settings_change;
pub mod signing_key;
pub mod subject;
pub mod tenant_file;
pub mod tenant_grant;
pub mod tenant_id;
pub mod tenant_set;
pub mod trust_changes;
