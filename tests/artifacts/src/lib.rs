//! Constants with the paths of the built guest components, one for each guest, and with the directories of the modules
//! of edge bundles and of what Cargo built.
//!
//! A guest without a constant is not built, and a constant without a guest does not compile.
#![forbid(unsafe_code)]

include!(concat!(env!("OUT_DIR"), "/guests.rs"));
