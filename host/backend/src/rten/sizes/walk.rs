//! The nodes of a graph in order, with the sizes of their outputs, the buffers that rten allocates for
//! them, and the number of multiplications.

use super::body::{Body, Step};
use super::buffers::Buffers;
use super::cost::Cost;
use super::infer::infer;
use super::known::Known;
use super::operands::Operands;
use super::operator::Kind;
use super::refusal::Refusal;
use super::symbols::Symbols;
use super::work::Work;

/// The maximum number of nodes, counted anew in each iteration of a loop. Each takes some microseconds.
const MAX_STEPS: usize = 300_000;

/// The maximum number of bounds on sizes, which are kept until the end.
const MAX_SYMBOLS: usize = 200_000;

/// rten stores every element in 4 bytes, except 8-bit integers.
const ELEMENT_BYTES: u64 = 4;

/// The state between two nodes.
pub(super) struct Walk<'a> {
    /// The names of values, by slot.
    names: &'a [String],
    /// The values that are known before a request, by slot. They take no memory of the computation.
    constants: &'a [Option<Known>],
    values: Vec<Option<Known>>,
    /// The sizes of the buffers in use, by slot.
    held: Vec<Option<u64>>,
    buffers: Buffers,
    pub(super) symbols: Symbols,
    pub(super) multiplications: u64,
    /// Set if the last error is that an operator would return one, too.
    pub(super) operator_fails: bool,
    steps: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        names: &'a [String],
        constants: &'a [Option<Known>],
        symbols: Symbols,
    ) -> Walk<'a> {
        Walk {
            names,
            constants,
            values: vec![None; names.len()],
            held: vec![None; names.len()],
            buffers: Buffers::default(),
            symbols,
            multiplications: 0,
            operator_fails: false,
            steps: 0,
        }
    }

    /// Returns the cost until now.
    pub(super) fn cost(&self) -> Cost {
        Cost {
            live_bytes: self.buffers.peak_bytes(),
            multiplications: self.multiplications,
        }
    }

    /// Infers the values of a graph whose inputs have been set.
    pub(super) fn run(&mut self, body: &Body) -> Result<(), String> {
        body.steps.iter().try_for_each(|step| self.step(step))
    }

    /// Infers the outputs of a node.
    pub(super) fn step(&mut self, step: &Step) -> Result<(), String> {
        self.steps += 1;
        if self.steps > MAX_STEPS || self.symbols.len() > MAX_SYMBOLS {
            return Err(format!(
                "`{}` is too far into loops for the sizes to be computed",
                step.name
            ));
        }
        match step.kind {
            Kind::If => self.branch(step)?,
            Kind::Loop => self.repeat(step)?,
            _ => self.infer(step)?,
        }
        for &slot in &step.released {
            self.release(slot);
        }
        Ok(())
    }

    fn infer(&mut self, step: &Step) -> Result<(), String> {
        let inputs = self.inputs(step)?;
        let operands = Operands {
            step,
            inputs: &inputs,
        };
        let outputs = infer(operands, &mut self.symbols);
        let outputs = match outputs {
            Ok(outputs) => outputs,
            Err(refusal) => {
                self.operator_fails = matches!(refusal, Refusal::Fails(_));
                return Err(refusal.describe(step));
            }
        };
        let work = Work::of(operands, &outputs, &self.symbols);
        self.multiplications = self.multiplications.saturating_add(work.multiplications);
        self.store(step, outputs);
        self.use_briefly(work.scratch_elements);
        Ok(())
    }

    /// Returns the known facts about the inputs of a node.
    pub(super) fn inputs(&self, step: &Step) -> Result<Vec<Option<Known>>, String> {
        let inputs = step.inputs.iter().map(|slot| {
            let known = slot.map(|slot| self.value(slot)).transpose()?;
            Ok(known.cloned())
        });
        let inputs: Result<Vec<Option<Known>>, String> = inputs.collect();
        inputs.map_err(|reason| format!("`{}` ({}) {reason}", step.name, step.operator))
    }

    /// Returns the value in `slot`. An output that rten does not compute is missing.
    pub(super) fn value(&self, slot: usize) -> Result<&Known, String> {
        let value = self.values.get(slot).and_then(Option::as_ref);
        let constant = || self.constants.get(slot).and_then(Option::as_ref);
        value.or_else(constant).ok_or_else(|| {
            let name = self.names.get(slot).map_or("", String::as_str);
            format!("reads `{name}`, which is not computed before it")
        })
    }

    /// Sets the outputs of a node.
    pub(super) fn store(&mut self, step: &Step, outputs: Vec<Known>) {
        for (slot, known) in step.outputs.iter().zip(outputs) {
            if let Some(slot) = *slot {
                self.set(slot, known);
            }
        }
    }

    /// Sets a value and takes a buffer for it.
    pub(super) fn set(&mut self, slot: usize, known: Known) {
        let elements = self.symbols.volume(&known.sizes());
        self.release(slot);
        let size = self.buffers.take(elements.saturating_mul(ELEMENT_BYTES));
        if let Some(held) = self.held.get_mut(slot) {
            *held = Some(size);
        }
        if let Some(value) = self.values.get_mut(slot) {
            *value = Some(known);
        }
    }

    /// Releases the buffer of a value, whose size remains known.
    fn release(&mut self, slot: usize) {
        if let Some(size) = self.held.get_mut(slot).and_then(Option::take) {
            self.buffers.release(size);
        }
    }

    /// Releases all buffers of a graph and of those inside it.
    pub(super) fn release_body(&mut self, body: &Body) {
        for &slot in &body.owned {
            self.release(slot);
        }
        for inner in body.steps.iter().flat_map(|step| &step.bodies) {
            self.release_body(inner);
        }
    }

    /// Takes a buffer for the duration of a node.
    pub(super) fn use_briefly(&mut self, elements: u64) {
        let size = self.buffers.take(elements.saturating_mul(ELEMENT_BYTES));
        self.buffers.release(size);
    }
}
