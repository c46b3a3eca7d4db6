//! Bounds on sizes that follow from values: the number of elements that an operator selects.
//!
//! Such a size is a symbol between two numbers. Expressions of symbols are evaluated as intervals, so all that is
//! computed from a bound is a bound as well, even where sizes are subtracted or divided. The crate
//! `rten-shape-inference` cancels equal symbols.

use super::known::{Known, MAX_ELEMENTS, size_of};
use super::refusal::Refusal;
use rten_shape_inference::{SymExpr, SymTensor, Symbol};
use std::collections::HashMap;
use wisp_tensor::shape::MAX_RANK;

/// The depth of expressions beyond which only their bounds are kept. Simplifying deep ones takes long.
const MAX_DEPTH: u32 = 4;

/// The maximum number of elements among which expressions are kept.
const MAX_EXPRESSIONS: usize = 64;

/// The bounds of symbols by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Symbols {
    bounds: HashMap<String, (i64, i64)>,
}

impl Symbols {
    pub(super) fn len(&self) -> usize {
        self.bounds.len()
    }

    /// Returns a size between zero and `most`.
    pub(super) fn at_most(&mut self, most: u64) -> SymExpr {
        self.between(0, i64::try_from(most).unwrap_or(i64::MAX))
    }

    fn between(&mut self, least: i64, most: i64) -> SymExpr {
        if least == most
            && let Ok(number) = i32::try_from(least)
        {
            return SymExpr::Value(number);
        }
        let name = format!("bounded {}", self.bounds.len());
        self.bounds.insert(name.clone(), (least, most));
        SymExpr::from(Symbol {
            name,
            positive: least >= 0,
            synthetic: true,
        })
    }

    /// Returns the least and the greatest number that an expression can be, or `None` for an unknown symbol.
    pub(super) fn interval(&self, expression: &SymExpr) -> Option<(i64, i64)> {
        Some(match expression {
            SymExpr::Value(number) => (i64::from(*number), i64::from(*number)),
            SymExpr::Var(symbol) => *self.bounds.get(&symbol.name)?,
            SymExpr::Neg(inner) => {
                let (least, most) = self.interval(inner)?;
                (most.saturating_neg(), least.saturating_neg())
            }
            SymExpr::Add(a, b) => {
                let (a, b) = (self.interval(a)?, self.interval(b)?);
                (a.0.saturating_add(b.0), a.1.saturating_add(b.1))
            }
            SymExpr::Sub(a, b) => {
                let (a, b) = (self.interval(a)?, self.interval(b)?);
                (a.0.saturating_sub(b.1), a.1.saturating_sub(b.0))
            }
            SymExpr::Mul(a, b) => {
                let (a, b) = (self.interval(a)?, self.interval(b)?);
                corners(a, b, i64::saturating_mul)
            }
            SymExpr::Div(a, b) => self.quotient(a, b)?,
            SymExpr::DivCeil(a, b) => {
                let (least, most) = self.quotient(a, b)?;
                (least, most.saturating_add(1))
            }
            SymExpr::Max(a, b) => {
                let (a, b) = (self.interval(a)?, self.interval(b)?);
                (a.0.max(b.0), a.1.max(b.1))
            }
            SymExpr::Min(a, b) => {
                let (a, b) = (self.interval(a)?, self.interval(b)?);
                (a.0.min(b.0), a.1.min(b.1))
            }
            // Both sizes are the same, or one of them is 1.
            SymExpr::Broadcast(a, b) => {
                let (a, b) = (self.interval(a)?, self.interval(b)?);
                (a.0.min(b.0), a.1.max(b.1))
            }
        })
    }

    fn quotient(&self, a: &SymExpr, b: &SymExpr) -> Option<(i64, i64)> {
        let (a, b) = (self.interval(a)?, self.interval(b)?);
        // Operators fail for a divisor of zero.
        let divisor = (b.0.max(1), b.1);
        (b.0 >= 0 && b.1 >= 1).then(|| corners(a, divisor, |a, b| a / b))
    }

    /// Returns the greatest number that a size can be.
    pub(super) fn most(&self, size: &SymExpr) -> u64 {
        match self.interval(size) {
            Some((_, most)) => u64::try_from(most).unwrap_or(0),
            None => u64::MAX,
        }
    }

    /// Returns the greatest number of elements that a tensor with these sizes can have.
    pub(super) fn volume(&self, sizes: &[SymExpr]) -> u64 {
        let sizes = sizes.iter().map(|size| self.most(size));
        sizes.fold(1, u64::saturating_mul)
    }

    /// Returns the inferences of a rule of the crate as numbers and bounded symbols.
    pub(super) fn settle(&mut self, tensor: SymTensor) -> Result<Known, Refusal> {
        let Some(sizes) = tensor.shape() else {
            return Err(Refusal::Values);
        };
        let sizes: Vec<SymExpr> = sizes.collect();
        let sizes = self.settle_sizes(sizes)?;
        let elements = match tensor.values() {
            Some(elements) if elements.len() <= MAX_ELEMENTS => self.settle_elements(elements),
            _ => None,
        };
        Ok(match elements {
            Some(elements) => Known::of_elements(sizes, elements),
            None => Known::of_sizes(sizes),
        })
    }

    /// Returns the sizes as numbers and bounded symbols. Refuses too many and negative ones.
    pub(super) fn settle_sizes(&mut self, sizes: Vec<SymExpr>) -> Result<Vec<SymExpr>, Refusal> {
        if sizes.len() > MAX_RANK {
            return Err(Refusal::invalid(format!(
                "its result would have {} axes, the limit is {MAX_RANK}",
                sizes.len()
            )));
        }
        let sizes = sizes.into_iter().map(|size| self.settle_size(&size));
        sizes.collect()
    }

    fn settle_size(&mut self, size: &SymExpr) -> Result<SymExpr, Refusal> {
        let size = size.simplify();
        let (least, most) = self.interval(&size).ok_or(Refusal::Values)?;
        if most < 0 {
            return Err(Refusal::invalid("its result would have a negative size"));
        }
        Ok(match size {
            // A bound has no elements to be negative.
            size if least >= 0 && least != most && !size.exceeds_depth(MAX_DEPTH) => size,
            _ => self.between(least.max(0), most),
        })
    }

    /// Returns the elements as numbers and bounded symbols, if all have bounds.
    fn settle_elements(&mut self, elements: &[SymExpr]) -> Option<Vec<SymExpr>> {
        let keeps_expressions = elements.len() <= MAX_EXPRESSIONS;
        let mut settled = Vec::with_capacity(elements.len());
        for element in elements {
            let element = element.simplify();
            let (least, most) = self.interval(&element)?;
            settled.push(match element {
                SymExpr::Value(_) | SymExpr::Var(_) => element,
                _ if !keeps_expressions => return None,
                _ if least == most || element.exceeds_depth(MAX_DEPTH) => self.between(least, most),
                _ => element,
            });
        }
        Some(settled)
    }

    /// Returns the sum of sizes along an axis.
    pub(super) fn sum<'a>(
        &mut self,
        sizes: impl Iterator<Item = &'a SymExpr>,
    ) -> Result<SymExpr, Refusal> {
        let mut numbers = 0usize;
        let mut sum = SymExpr::Value(0);
        for size in sizes {
            match size {
                SymExpr::Value(number) => {
                    numbers = numbers.saturating_add(usize::try_from(*number).unwrap_or(0));
                }
                // Settled at once, so that expressions do not grow with the number of inputs.
                size => sum = self.settle_size(&(sum + size.clone()))?,
            }
        }
        let numbers = size_of(numbers).ok_or_else(Refusal::too_large)?;
        self.settle_size(&(numbers + sum))
    }
}

/// Returns the interval of a function that is monotone in each of its arguments.
fn corners(a: (i64, i64), b: (i64, i64), f: impl Fn(i64, i64) -> i64) -> (i64, i64) {
    let corners = [f(a.0, b.0), f(a.0, b.1), f(a.1, b.0), f(a.1, b.1)];
    let least = corners.iter().copied().fold(i64::MAX, i64::min);
    let most = corners.iter().copied().fold(i64::MIN, i64::max);
    (least, most)
}
