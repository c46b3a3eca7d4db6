//! The support vectors of a machine, and the kernel that compares rows with them.

use super::super::attribute;
use super::super::linear::{dot, sum_of};
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::TractResult;

/// The similarity of two rows.
#[derive(Debug, Clone, Copy)]
enum Similarity {
    Linear,
    Polynomial,
    Radial,
    Sigmoid,
}

/// The kernel of the machine with its parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct SvmKernel {
    similarity: Similarity,
    gamma: f32,
    coefficient: f32,
    degree: f32,
}

/// Rows of the training set, and the kernel for comparing with them.
pub(super) struct SupportVectors {
    pub(super) vectors: Vec<f32>,
    pub(super) columns: usize,
    kernel: SvmKernel,
}

impl SvmKernel {
    pub(super) fn parse(node: &NodeProto) -> TractResult<SvmKernel> {
        let similarity = match node.get_attr_opt::<&str>("kernel_type")? {
            None | Some("LINEAR") => Similarity::Linear,
            Some("POLY") => Similarity::Polynomial,
            Some("RBF") => Similarity::Radial,
            Some("SIGMOID") => Similarity::Sigmoid,
            Some(other) => {
                return node.bail_attr("kernel_type", &format!("unknown value `{other}`"));
            }
        };
        let (gamma, coefficient, degree) = match *attribute::floats(node, "kernel_params")? {
            [] => (0.0, 0.0, 0.0),
            [gamma, coefficient, degree] => (gamma, coefficient, degree),
            _ => return node.bail_attr("kernel_params", "expected gamma, coef0 and degree"),
        };
        Ok(SvmKernel {
            similarity,
            gamma,
            coefficient,
            degree,
        })
    }

    pub(super) fn compare(&self, left: &[f32], right: &[f32]) -> f32 {
        let scaled = || self.gamma * dot(left, right) + self.coefficient;
        match self.similarity {
            Similarity::Linear => dot(left, right),
            Similarity::Polynomial => scaled().powf(self.degree),
            Similarity::Sigmoid => scaled().tanh(),
            Similarity::Radial => {
                let distance = sum_of(left, right, |left, right| (left - right) * (left - right));
                (-self.gamma * distance).exp()
            }
        }
    }
}

impl SupportVectors {
    /// Reads the `count` vectors of a node, at least one.
    pub(super) fn parse(node: &NodeProto, count: usize) -> TractResult<SupportVectors> {
        let vectors = attribute::floats(node, "support_vectors")?;
        let whole = !vectors.is_empty() && vectors.len() % count == 0;
        node.expect_attr("support_vectors", whole, || {
            format!(
                "{count} vectors of one length, got {} numbers",
                vectors.len()
            )
        })?;
        let columns = vectors.len() / count;
        let kernel = SvmKernel::parse(node)?;
        Ok(SupportVectors {
            vectors,
            columns,
            kernel,
        })
    }

    /// Compares `row` with every vector.
    pub(super) fn compare(&self, row: &[f32], similarities: &mut [f32]) {
        for (similarity, vector) in similarities
            .iter_mut()
            .zip(self.vectors.chunks(self.columns))
        {
            *similarity = self.kernel.compare(row, vector);
        }
    }
}
