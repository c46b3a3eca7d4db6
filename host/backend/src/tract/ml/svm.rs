//! `SVMClassifier` and `SVMRegressor`: sums over support vectors, as libsvm computes them.
//!
//! [`support_vectors`] compares rows with the vectors. [`classifier`] turns the sums of pairs of classes
//! into votes or probabilities; [`regressor`] has a single sum.

mod classifier;
mod regressor;
mod support_vectors;

pub(super) use self::classifier::build as build_classifier;
pub(super) use self::regressor::build as build_regressor;
