//! The protocol by which the modules of an edge bundle receive models and a manifest before a snapshot of them
//! is made.
//!
//! `wisp bundle` instantiates a prebuilt module, writes blobs into its memory, and at last a manifest, from
//! which the module builds everything that requests share. The module's memory is then written into the
//! module, and every request begins with it:
//!
//! 1. For each blob: `cabi_realloc(0, 0, 64, length)`, the bytes, and the export `wisp-blob(address, length)`.
//!    The blobs are numbered in this order. They stay where they are for the life of the module, aligned to 64
//!    bytes.
//! 2. For the manifest: `cabi_realloc(0, 0, 1, length)`, the bytes, and the export `wisp-load(address, length)`.
//!    It returns 0, or the address of a [`memory::LoadFailure`].
//!
//! A module calls [`export_load!`] with the function that loads it:
//!
//! ```
//! use wisp_edge_preload::Blob;
//!
//! fn load(manifest: &[u8], blobs: &[Blob]) -> Result<(), String> {
//!     // Puts what the manifest and the blobs describe into a `static` of type `OnceLock`.
//!     Ok(())
//! }
//!
//! wisp_edge_preload::export_load!(load);
//! # fn main() {}
//! ```
//!
//! This crate also is the module's global allocator. Until `wisp-load` has returned, freed memory is zeroed,
//! because only what is not zero becomes part of the snapshot. With the feature `getrandom`, it also is the source of
//! randomness, which has none. All unsafe code is in [`memory`].
//!
//! Invariant: nothing is freed that a blob refers to, and no request adds a blob.

pub mod memory;

/// The bytes of a model or of a file, aligned to 64 bytes. Lifetime: the module.
pub type Blob = &'static [u8];
