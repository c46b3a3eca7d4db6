//! Decision trees: `TreeEnsembleClassifier`, `TreeEnsembleRegressor` and their successor `TreeEnsemble`.
//!
//! [`parse`] reads the attributes of either form into [`parse::Forest`]. [`flat`] lays the nodes out for
//! walking and rejects graphs that are not trees. [`walk`] finds leaves and sums their weights.
//! [`classifier`] and [`regressor`] compute outputs from the sums.

mod classifier;
mod flat;
mod parse;
mod regressor;
mod walk;

pub(super) use self::classifier::build as build_classifier;
pub(super) use self::regressor::{build as build_regressor, build_ensemble};
