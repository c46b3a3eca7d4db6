//! The cost of a graph's rows in batches of several sizes, and the choice of batching that follows from it.
//!
//! A batch pays only if a row costs less in it than alone. On CPUs that is so for small networks and short texts, whose
//! time is mostly overhead, and not for large convolutions, which tract computes several times slower in batches. Where
//! a batch does not pay, requests are computed one by one on several threads.
//!
//! [`measurement`] computes batches of rows of a few [`row_sizes`], [`curve`] has their times, and [`choice`] derives
//! the rules. The times are stored, so that a later load only computes what a backend must [`prepare`].

mod choice;
mod curve;
mod measurement;
mod row_sizes;

pub use self::choice::{BatchingDecision, choose};
pub use self::curve::{CostCurve, CostPoint, GraphCost};
pub use self::measurement::{Unmeasured, measure};
pub(crate) use self::measurement::{forget_unused, prepare};
