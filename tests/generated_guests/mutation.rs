//! Mutations of the code in components, those that still are valid.

use crate::harness::numbers::Numbers;
use anyhow::Result;
use std::ops::Range;
use wasmparser::{Parser, Payload, Validator};

/// The maximum number of mutations that are tried for one that is valid. About one of five is: another constant,
/// offset, local or branch.
const TRIES: usize = 50;

/// A component with the places of its functions.
#[derive(Debug)]
pub(super) struct Original {
    wasm: Vec<u8>,
    bodies: Vec<Range<usize>>,
}

impl Original {
    pub(super) fn new(wasm: Vec<u8>) -> Result<Original> {
        let mut bodies = Vec::new();
        // Modules within the component included.
        for payload in Parser::new(0).parse_all(&wasm) {
            if let Payload::CodeSectionEntry(body) = payload? {
                bodies.push(body.range());
            }
        }
        Ok(Original { wasm, bodies })
    }

    /// Returns a valid component with one to three other bytes in its functions, or `None` if none is found.
    pub(super) fn mutated(&self, numbers: &mut Numbers) -> Option<Vec<u8>> {
        (0..TRIES).find_map(|_| {
            let mut mutant = self.wasm.clone();
            for _ in 0..=numbers.below(3) {
                let body = self.bodies.get(numbers.below(self.bodies.len().max(1)))?;
                let byte = mutant.get_mut(body.start + numbers.below(body.len().max(1)))?;
                *byte = match numbers.next() % 4 {
                    0 => byte.wrapping_add(1),
                    1 => byte.wrapping_sub(1),
                    2 => *byte ^ (1 << numbers.below(8)),
                    _ => numbers.next().to_le_bytes()[0],
                };
            }
            let is_valid = Validator::new().validate_all(&mutant).is_ok();
            (is_valid && mutant != self.wasm).then_some(mutant)
        })
    }
}
