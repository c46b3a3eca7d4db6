//! The activation functions of recurrent operators, which are operators of their own.

use crate::onnx::node_builder::with_float;
use crate::onnx::node_parts::attribute;
use crate::onnx::values::Site;
use crate::pb::NodeProto;

/// A function and its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Activation {
    pub(super) operator: &'static str,
    alpha: Option<f32>,
    beta: Option<f32>,
}

/// The functions for which ONNX Runtime has the same definition as the operators. ThresholdedRelu has another default,
/// and Affine and ScaledTanh are no operators.
const ACTIVATIONS: &[Activation] = &[
    plain("Sigmoid"),
    plain("Tanh"),
    plain("Relu"),
    plain("Softsign"),
    plain("Softplus"),
    Activation {
        operator: "HardSigmoid",
        alpha: Some(0.2),
        beta: Some(0.5),
    },
    Activation {
        operator: "LeakyRelu",
        alpha: Some(0.01),
        beta: None,
    },
    Activation {
        operator: "Elu",
        alpha: Some(1.0),
        beta: None,
    },
];

const fn plain(operator: &'static str) -> Activation {
    Activation {
        operator,
        alpha: None,
        beta: None,
    }
}

impl Activation {
    fn of(name: &[u8]) -> Option<Activation> {
        let mut known = ACTIVATIONS.iter();
        known
            .find(|activation| activation.operator.as_bytes() == name)
            .copied()
    }

    /// Returns the node with the parameters.
    pub(super) fn with_parameters(&self, mut node: NodeProto) -> NodeProto {
        for (name, parameter) in [("alpha", self.alpha), ("beta", self.beta)] {
            if let Some(parameter) = parameter {
                node = with_float(node, name, parameter);
            }
        }
        node
    }
}

/// Returns the activations of a node for all its directions, each of which has those of `usual` by default.
///
/// Parameters are given for each function that has one, or for none.
pub(super) fn parse(
    site: &Site<'_>,
    usual: &[&'static str],
    directions: usize,
) -> Option<Vec<Activation>> {
    let names =
        attribute(site.node, "activations").map_or([].as_slice(), |names| names.strings.as_slice());
    let mut activations: Vec<Activation> = match names.is_empty() {
        true => {
            let each = usual.iter().map(|name| Activation::of(name.as_bytes()));
            each.collect::<Option<Vec<Activation>>>()?
                .repeat(directions)
        }
        false => {
            let each = names.iter().map(|name| Activation::of(name));
            each.collect::<Option<Vec<Activation>>>()?
        }
    };
    if activations.len() != usual.len().checked_mul(directions)? {
        return None;
    }
    let alphas = activations
        .iter_mut()
        .filter_map(|found| found.alpha.as_mut());
    set(site, "activation_alpha", alphas.collect())?;
    let betas = activations
        .iter_mut()
        .filter_map(|found| found.beta.as_mut());
    set(site, "activation_beta", betas.collect())?;
    Some(activations)
}

/// Sets parameters to those of the attribute, if it has as many or none.
fn set(site: &Site<'_>, name: &str, parameters: Vec<&mut f32>) -> Option<()> {
    let given = attribute(site.node, name).map_or([].as_slice(), |given| given.floats.as_slice());
    if given.is_empty() {
        return Some(());
    }
    if given.len() != parameters.len() {
        return None;
    }
    for (parameter, given) in parameters.into_iter().zip(given) {
        *parameter = *given;
    }
    Some(())
}
