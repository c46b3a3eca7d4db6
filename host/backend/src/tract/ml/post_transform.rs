//! Transforms of a row of scores, as given by the attribute `post_transform`.

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::TractResult;

/// The values of the attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum PostTransform {
    None,
    Softmax,
    Logistic,
    SoftmaxZero,
    Probit,
}

impl PostTransform {
    pub(super) fn parse(node: &NodeProto) -> TractResult<PostTransform> {
        match node.get_attr_opt::<&str>("post_transform")? {
            None | Some("NONE") => Ok(PostTransform::None),
            Some("SOFTMAX") => Ok(PostTransform::Softmax),
            Some("LOGISTIC") => Ok(PostTransform::Logistic),
            Some("SOFTMAX_ZERO") => Ok(PostTransform::SoftmaxZero),
            Some("PROBIT") => Ok(PostTransform::Probit),
            Some(other) => node.bail_attr("post_transform", &format!("unknown value `{other}`")),
        }
    }

    /// Parses the number that `TreeEnsemble` has instead of a name.
    pub(super) fn from_number(node: &NodeProto) -> TractResult<PostTransform> {
        match node.get_attr_opt::<i64>("post_transform")?.unwrap_or(0) {
            0 => Ok(PostTransform::None),
            1 => Ok(PostTransform::Softmax),
            2 => Ok(PostTransform::Logistic),
            3 => Ok(PostTransform::SoftmaxZero),
            4 => Ok(PostTransform::Probit),
            other => node.bail_attr("post_transform", &format!("unknown value {other}")),
        }
    }

    /// Transforms a row. Only PROBIT changes a single score, as in onnxruntime.
    pub(super) fn apply(self, scores: &mut [f32]) {
        match self {
            PostTransform::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
            _ if scores.len() < 2 => {}
            PostTransform::None => {}
            PostTransform::Logistic => scores
                .iter_mut()
                .for_each(|score| *score = logistic(*score)),
            PostTransform::Softmax => softmax(scores),
            PostTransform::SoftmaxZero => softmax_zero(scores),
        }
    }
}

/// The way that a classifier of two classes derives two scores from one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pair {
    /// The score is a probability: 1 minus the score, and the score.
    Complement,
    /// The score has a sign: the negated score, and the score.
    Opposite,
}

impl Pair {
    /// Returns the two scores for `score`; with LOGISTIC, the logistic of the negated score and of the
    /// score. PROBIT is refused at load time, since onnxruntime leaves one of the two undefined.
    pub(super) fn scores(self, score: f32, transform: PostTransform) -> [f32; 2] {
        match (self, transform) {
            (_, PostTransform::Logistic) => [logistic(-score), logistic(score)],
            (Pair::Complement, _) => [1.0 - score, score],
            (Pair::Opposite, _) => [-score, score],
        }
    }
}

/// Returns `1 / (1 + exp(-x))` without overflow.
pub(super) fn logistic(value: f32) -> f32 {
    let positive = 1.0 / (1.0 + (-value.abs()).exp());
    match value < 0.0 {
        true => 1.0 - positive,
        false => positive,
    }
}

fn softmax(scores: &mut [f32]) {
    let greatest = scores
        .iter()
        .fold(f32::MIN, |greatest, &score| greatest.max(score));
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - greatest).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// Applies softmax to the scores that are not zero; zeros stay zero.
fn softmax_zero(scores: &mut [f32]) {
    let greatest = scores
        .iter()
        .fold(f32::MIN, |greatest, &score| greatest.max(score));
    let factor = (-greatest).exp();
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        if score.abs() > 1e-7 {
            *score = (*score - greatest).exp();
            sum += *score;
        } else {
            *score *= factor;
        }
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// Returns the inverse of the normal distribution, by Winitzki's approximation with onnxruntime's
/// constants. Computed in f64, since near 0.5 the difference under the root loses precision.
fn probit(value: f32) -> f32 {
    const A: f64 = 0.147;
    #[expect(clippy::approx_constant, reason = "onnxruntime's")]
    const PI: f64 = 3.14159;
    let x = f64::from(2.0 * value - 1.0);
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let half = 2.0 / (PI * A) + 0.5 * log;
    let root = (-half + (half * half - log / A).sqrt()).sqrt();
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    #[expect(clippy::cast_possible_truncation, reason = "scores are floats")]
    let quantile = (std::f64::consts::SQRT_2 * sign * root) as f32;
    quantile
}
