//! The sizes of all values of a graph for given input sizes, and from them the peak memory and the number of
//! multiplications, before anything is computed.
//!
//! rten has no limits on memory or time, and a failed allocation ends the process. An [`Outline`] is the
//! graph without its tensors ([`body`]). For each set of input sizes, [`walk`] visits its nodes: [`infer`]
//! determines the sizes of their outputs, [`buffers`] the memory that rten allocates for them, and
//! [`work`] their multiplications. [`control_flow`] does so for graphs inside nodes, and [`loading`] for
//! what rten computes before the first request.
//!
//! Sizes that follow from the contents of tensors are known only if these are small and follow from the
//! sizes of inputs ([`known`], [`evaluate`]), or have a bound ([`symbols`]). Others are an error, so a graph
//! whose sizes a client can choose by values is not computed. Memory and multiplications are then upper
//! bounds. The nodes are visited in the order of the file, rten may choose another.
//!
//! Invariant: no allocation here grows with a size. The crate `rten-shape-inference` panics if a size exceeds 32
//! bits, and the caller has to catch that.

mod body;
mod buffers;
mod constant;
mod control_flow;
mod cost;
mod evaluate;
mod infer;
mod known;
mod loading;
mod operands;
mod operator;
mod refusal;
mod symbols;
mod walk;
mod work;

pub(super) use self::cost::Cost;

use self::body::{Body, Built, build};
use self::known::Known;
use self::loading::Loading;
use self::symbols::Symbols;
use self::walk::Walk;
use crate::pb::tensor_shape_proto::dimension;
use crate::pb::{ModelProto, ValueInfoProto, type_proto};
use rten_shape_inference::SymExpr;
use wisp_tensor::shape::MAX_RANK;

/// A graph without the contents of its tensors. Lifetime: a model version.
#[derive(Debug)]
pub(super) struct Outline {
    body: Body,
    /// The names of all values, by slot.
    names: Vec<String>,
    /// The values that are known before a request, by slot.
    constants: Vec<Option<Known>>,
    symbols: Symbols,
}

impl Outline {
    /// Reads the graph of `model`, and infers the sizes of all that rten computes while it loads the model. The
    /// error names the operator that is not supported, or the node or value at fault.
    pub(super) fn new(model: &ModelProto) -> Result<Outline, String> {
        let graph = model.graph.as_ref().ok_or("the file contains no graph")?;
        let Built {
            mut body,
            names,
            mut constants,
        } = build(graph)?;
        let mut walk = Walk::new(&names, &constants, Symbols::default());
        for &slot in &body.inputs {
            let name = names.get(slot).map_or("", String::as_str);
            let declared = graph.input.iter().find(|input| input.name == name);
            if let Some(known) = declared.and_then(|input| declared_input(input, &mut walk.symbols))
            {
                walk.set(slot, known);
            }
        }
        let loaded = Loading::new(walk, &constants).load(&body)?;
        for (slot, known) in loaded.constants {
            if let Some(constant) = constants.get_mut(slot) {
                *constant = Some(known);
            }
        }
        body.remove_constant_steps();
        Ok(Outline {
            body,
            names,
            constants,
            symbols: loaded.symbols,
        })
    }

    /// Returns the cost of a computation with inputs of these names and sizes. The error names the node whose
    /// sizes are not known before it is computed.
    pub(super) fn cost(&self, inputs: &[(&str, &[u32])]) -> Result<Cost, String> {
        let mut walk = Walk::new(&self.names, &self.constants, self.symbols.clone());
        for &slot in &self.body.inputs {
            let name = self.names.get(slot).map_or("", String::as_str);
            let given = inputs.iter().find(|(given, _)| *given == name);
            let (_, sizes) = given.ok_or_else(|| format!("input `{name}` is missing"))?;
            walk.set(slot, input(name, sizes)?);
        }
        walk.run(&self.body)?;
        Ok(walk.cost())
    }
}

/// Returns an input with its declared sizes, or `None` if not even the number of axes is declared.
fn declared_input(input: &ValueInfoProto, symbols: &mut Symbols) -> Option<Known> {
    let Some(type_proto::Value::TensorType(tensor)) = &input.r#type.as_ref()?.value else {
        return None;
    };
    let dimensions = tensor.shape.as_ref()?.dim.iter();
    let sizes = dimensions.map(|dimension| match dimension.value {
        Some(dimension::Value::DimValue(size)) if size >= 0 => {
            i32::try_from(size).ok().map(SymExpr::Value)
        }
        _ => Some(symbols.at_most(i32::MAX.unsigned_abs().into())),
    });
    let sizes: Option<Vec<SymExpr>> = sizes.collect();
    sizes
        .filter(|sizes| sizes.len() <= MAX_RANK)
        .map(Known::of_sizes)
}

/// Returns an input with these sizes and unknown contents.
fn input(name: &str, sizes: &[u32]) -> Result<Known, String> {
    let refused = || format!("input `{name}` is too large: {sizes:?}");
    if sizes.len() > MAX_RANK {
        return Err(refused());
    }
    let sizes = sizes
        .iter()
        .map(|&size| i32::try_from(size).map(SymExpr::Value));
    let sizes: Result<Vec<SymExpr>, _> = sizes.collect();
    Ok(Known::of_sizes(sizes.map_err(|_| refused())?))
}

#[cfg(test)]
mod tests;
