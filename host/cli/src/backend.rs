//! `wisp backend`: the engines of this machine, and the shared libraries some of them need.

pub(crate) mod installed;
