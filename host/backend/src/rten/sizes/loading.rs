//! The computations of rten while it loads a model, from constants and from the sizes that inputs declare.
//!
//! rten follows sizes by the rules of the crate `rten-shape-inference`, where a vector of known elements takes
//! some 30 bytes for each, and computes all nodes whose inputs are then known. Inside graphs of nodes, it
//! has only the tensors of the file. All results remain until the model has been loaded.

use super::body::{Body, Step};
use super::known::Known;
use super::symbols::Symbols;
use super::walk::Walk;

/// The maximum size of the constants that rten computes while it loads a model, in bytes. Real models compute shapes and
/// tables, and convert quantized weights.
const MAX_BYTES: u64 = 4 << 30;

/// The maximum number of multiplications while rten loads a model: some seconds.
const MAX_MULTIPLICATIONS: u64 = 50_000_000_000;

/// The bytes of an element that is computed, and of one in a vector, which is followed as well.
const ELEMENT_BYTES: u64 = 4;
const VECTOR_ELEMENT_BYTES: u64 = 32;

/// The state between two nodes.
pub(super) struct Loading<'a> {
    walk: Walk<'a>,
    /// Set for values that are known by now, by slot.
    is_known: Vec<bool>,
    /// The outputs of nodes that depend on nothing but tensors of the file.
    constants: Vec<usize>,
    bytes: u64,
    multiplications: u64,
}

/// The values that are the same for all requests, with their slots.
pub(super) struct Loaded {
    pub(super) constants: Vec<(usize, Known)>,
    pub(super) symbols: Symbols,
}

impl<'a> Loading<'a> {
    /// Begins with the `tensors` of the file, by slot. The inputs of the graph have been set in `walk`.
    pub(super) fn new(walk: Walk<'a>, tensors: &[Option<Known>]) -> Loading<'a> {
        Loading {
            walk,
            is_known: tensors.iter().map(Option::is_some).collect(),
            constants: Vec::new(),
            bytes: 0,
            multiplications: 0,
        }
    }

    /// Infers the constants that rten computes of a graph. The error names a node whose result is too large or not known.
    pub(super) fn load(mut self, body: &Body) -> Result<Loaded, String> {
        for step in &body.steps {
            let is_known = |slot: usize| self.is_known.get(slot).is_some_and(|known| *known);
            let computes = step.reads().all(is_known);
            self.step(step, computes)?;
            if !computes {
                step.bodies.iter().try_for_each(|inner| self.inner(inner))?;
            }
        }
        let mut constants = Vec::with_capacity(self.constants.len());
        for slot in self.constants {
            if let Ok(known) = self.walk.value(slot) {
                constants.push((slot, known.clone()));
            }
        }
        Ok(Loaded {
            constants,
            symbols: self.walk.symbols,
        })
    }

    fn inner(&mut self, body: &Body) -> Result<(), String> {
        for step in &body.steps {
            if step.is_constant {
                self.step(step, true)?;
            } else {
                step.bodies.iter().try_for_each(|inner| self.inner(inner))?;
            }
        }
        Ok(())
    }

    /// Infers the outputs of a node, which rten computes if `computes` is set.
    fn step(&mut self, step: &Step, computes: bool) -> Result<(), String> {
        let before = self.walk.multiplications;
        match self.walk.step(step) {
            Ok(()) => {}
            Err(reason) if computes => return Err(reason),
            // It may need the sizes of a request.
            Err(_) => return Ok(()),
        }
        let multiplications = self.walk.multiplications.saturating_sub(before);
        if computes {
            self.multiplications = self.multiplications.saturating_add(multiplications);
        }
        for &slot in step.outputs.iter().flatten() {
            let Ok(known) = self.walk.value(slot) else {
                continue;
            };
            let elements = self.walk.symbols.volume(&known.sizes());
            let element_bytes = match known.rank() {
                0 | 1 if known.fixed_sizes().is_some() => VECTOR_ELEMENT_BYTES,
                _ if computes => ELEMENT_BYTES,
                _ => 0,
            };
            let bytes = elements.saturating_mul(element_bytes);
            self.bytes = self.bytes.saturating_add(bytes);
            let has_elements = known.numbers().is_some();
            if let Some(is_known) = self.is_known.get_mut(slot) {
                *is_known = computes || has_elements;
            }
            if step.is_constant {
                self.constants.push(slot);
            }
        }
        self.check(step)
    }

    fn check(&self, step: &Step) -> Result<(), String> {
        let Step { name, operator, .. } = step;
        if self.bytes > MAX_BYTES {
            return Err(format!(
                "`{name}` ({operator}) and what else follows from constants would take too much memory: {} bytes",
                self.bytes
            ));
        }
        if self.multiplications > MAX_MULTIPLICATIONS {
            return Err(format!(
                "`{name}` ({operator}) and what else follows from constants would take too long: {} \
                 multiplications",
                self.multiplications
            ));
        }
        Ok(())
    }
}
