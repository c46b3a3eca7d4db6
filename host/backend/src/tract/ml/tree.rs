//! Decision trees: `TreeEnsembleClassifier`, `TreeEnsembleRegressor` and their successor `TreeEnsemble`.
//!
//! [`parse`] reads the attributes of either form into [`parse::Forest`]; [`flat`] lays the nodes out for walking
//! and refuses what is no tree; [`walk`] finds leaves and adds up. [`classifier`] and [`regressor`] make answers
//! of the sums.

mod classifier;
mod flat;
mod parse;
mod regressor;
mod walk;

pub(super) use self::classifier::build as build_classifier;
pub(super) use self::regressor::{build as build_regressor, build_ensemble};
