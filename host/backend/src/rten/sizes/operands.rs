//! The inputs and attributes of a node.

use super::body::{Attribute, Step};
use super::constant::narrow;
use super::known::Known;
use super::refusal::Refusal;
use rten_shape_inference::{InferShapes, InferShapesContext, SymTensor, SymbolGen};

/// A node with the known facts about its inputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) step: &'a Step,
    pub(super) inputs: &'a [Option<Known>],
}

impl<'a> Operands<'a> {
    pub(super) fn input(&self, position: usize) -> Result<&'a Known, Refusal> {
        self.optional(position)
            .ok_or_else(|| Refusal::invalid(format!("input {position} is missing")))
    }

    pub(super) fn optional(&self, position: usize) -> Option<&'a Known> {
        self.inputs.get(position)?.as_ref()
    }

    fn attribute(&self, name: &str) -> Option<&'a Attribute> {
        let mut attributes = self.step.attributes.iter();
        attributes.find(|attribute| attribute.name == name)
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        Some(self.attribute(name)?.integer != 0)
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i32>, Refusal> {
        let attribute = self.attribute(name);
        attribute
            .map(|attribute| {
                i32::try_from(attribute.integer)
                    .map_err(|_| Refusal::invalid(format!("attribute `{name}` is too large")))
            })
            .transpose()
    }

    /// Returns an attribute that is a number of things.
    pub(super) fn count(&self, name: &str) -> Result<Option<u32>, Refusal> {
        let number = self.integer(name)?.map(u32::try_from).transpose();
        number.map_err(|_| Refusal::invalid(format!("attribute `{name}` is negative")))
    }

    /// Returns an attribute that lists numbers of things.
    pub(super) fn counts(&self, name: &str) -> Result<Option<Vec<usize>>, Refusal> {
        let Some(attribute) = self.attribute(name) else {
            return Ok(None);
        };
        // Larger ones would be truncated to the 32 bits of sizes.
        let counts = attribute.integers.iter().map(|&integer| {
            let count = i32::try_from(integer).ok()?;
            usize::try_from(count).ok()
        });
        let counts: Option<Vec<usize>> = counts.collect();
        match counts {
            Some(counts) => Ok(Some(counts)),
            None => Err(Refusal::invalid(format!(
                "attribute `{name}` contains a number that is negative or too large"
            ))),
        }
    }

    pub(super) fn integers(&self, name: &str) -> Option<Vec<i32>> {
        let integers = self.attribute(name)?.integers.iter();
        Some(integers.copied().map(narrow).collect())
    }

    pub(super) fn text(&self, name: &str) -> &'a str {
        self.attribute(name)
            .map(|attribute| attribute.text.as_str())
            .unwrap_or_default()
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&'a Known> {
        self.attribute(name)?.tensor.as_ref()
    }

    /// Applies a rule of the crate to all inputs.
    pub(super) fn apply(&self, rule: &dyn InferShapes) -> Result<Vec<SymTensor>, Refusal> {
        let inputs = self.inputs.iter();
        let inputs = inputs.map(|input| input.as_ref().map(|known| known.tensor().clone()));
        let inputs: Vec<Option<SymTensor>> = inputs.collect();
        apply(rule, inputs)
    }
}

/// Applies a rule of the crate. Unknown sizes in the result are symbols without bounds.
pub(super) fn apply(
    rule: &dyn InferShapes,
    inputs: Vec<Option<SymTensor>>,
) -> Result<Vec<SymTensor>, Refusal> {
    let context = InferShapesContext::from(inputs);
    Ok(rule.infer_shapes(context, &mut SymbolGen::new())?)
}
