//! The sizes and costs of graphs inside nodes: the branches of `If` and the body of `Loop`.
//!
//! Of two branches, the larger counts. A body whose values keep their sizes counts once for each iteration;
//! others are followed iteration by iteration.

use super::body::{Body, Step};
use super::known::{Known, size_of};
use super::walk::Walk;
use rten_shape_inference::SymExpr;

/// The maximum number of iterations that are followed one by one.
const MAX_ITERATIONS: u64 = 1024;

/// The inputs of a loop.
struct Start {
    trips: Trips,
    /// The condition, if it is known; without one, a loop goes on.
    condition: Option<i32>,
    carried: Vec<Known>,
}

/// The number of iterations of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trips {
    Exactly(u64),
    AtMost(u64),
    Unknown,
}

/// The values that an iteration returns.
struct Iteration {
    condition: Option<i32>,
    carried: Vec<Known>,
    scanned: Vec<Known>,
}

impl Walk<'_> {
    /// Infers the outputs of `If`.
    pub(super) fn branch(&mut self, step: &Step) -> Result<(), String> {
        let inputs = self.inputs(step)?;
        let condition = inputs.first().and_then(|input| input.as_ref()?.single());
        let branches = match (condition, step.bodies.as_slice()) {
            (Some(0), [_, otherwise]) => std::slice::from_ref(otherwise),
            (Some(_), [then, _]) => std::slice::from_ref(then),
            (_, branches) => branches,
        };
        let before = self.multiplications;
        let mut most = before;
        let mut outputs: Option<Vec<Known>> = None;
        let mut failure = None;
        for branch in branches {
            self.multiplications = before;
            self.operator_fails = false;
            let computed = match self.inner(branch) {
                Ok(computed) => computed,
                // The other branch is for these sizes; this one fails if it is taken.
                Err(reason) if self.operator_fails && branches.len() > 1 => {
                    self.release_body(branch);
                    most = most.max(self.multiplications);
                    self.operator_fails = false;
                    failure = Some(reason);
                    continue;
                }
                Err(reason) => return Err(reason),
            };
            most = most.max(self.multiplications);
            outputs = Some(match outputs {
                None => computed,
                Some(outputs) => self.larger(step, &outputs, computed)?,
            });
        }
        self.multiplications = most;
        if let (None, Some(reason)) = (&outputs, failure) {
            return Err(reason);
        }
        self.store(step, outputs.unwrap_or_default());
        Ok(())
    }

    /// Infers the outputs of `Loop`.
    pub(super) fn repeat(&mut self, step: &Step) -> Result<(), String> {
        let [body] = step.bodies.as_slice() else {
            return Err(format!("`{}` (Loop) has no body", step.name));
        };
        let start = self.start(step)?;
        let carried = start.carried.len();
        if body.inputs.len() != carried + 2 || body.outputs.len() < carried + 1 {
            return Err(format!(
                "the body of `{}` (Loop) has {} inputs and {} outputs, which does not match {carried} \
                 carried values",
                step.name,
                body.inputs.len(),
                body.outputs.len()
            ));
        }
        if start.trips == Trips::Exactly(0) || start.condition == Some(0) {
            self.store(step, start.carried);
            return Ok(());
        }
        let before = self.multiplications;
        match self.steady(step, body, &start) {
            Ok(Some(outputs)) => {
                self.store(step, outputs);
                Ok(())
            }
            // A body may need the elements of carried values, which are known one iteration at a time.
            Ok(None) | Err(_) => {
                self.operator_fails = false;
                self.release_body(body);
                self.multiplications = before;
                let outputs = self.iterate(step, start)?;
                self.store(step, outputs);
                Ok(())
            }
        }
    }

    fn start(&self, step: &Step) -> Result<Start, String> {
        let inputs = self.inputs(step)?;
        let input = |position: usize| inputs.get(position).and_then(Option::as_ref);
        let trips = match input(0).and_then(|trips| trips.elements()) {
            Some([SymExpr::Value(i32::MAX)]) => Trips::Unknown,
            Some([SymExpr::Value(trips)]) => Trips::Exactly(u64::try_from(*trips).unwrap_or(0)),
            Some([trips]) => Trips::AtMost(self.symbols.most(trips)),
            _ => Trips::Unknown,
        };
        Ok(Start {
            trips,
            condition: input(1).map_or(Some(1), Known::single),
            carried: inputs.iter().skip(2).flatten().cloned().collect(),
        })
    }

    /// Returns the outputs of a loop whose carried values keep their sizes, or `None` if they do not.
    fn steady(
        &mut self,
        step: &Step,
        body: &Body,
        start: &Start,
    ) -> Result<Option<Vec<Known>>, String> {
        let most = match start.trips {
            Trips::Exactly(trips) | Trips::AtMost(trips) => trips,
            Trips::Unknown => return Ok(None),
        };
        let without_elements = |known: &Known| Known::of_sizes(known.sizes());
        let carried: Vec<Known> = start.carried.iter().map(without_elements).collect();
        let before = self.multiplications;
        let iteration = self.iteration(
            body,
            Iteration {
                condition: start.condition,
                carried: carried.clone(),
                scanned: Vec::new(),
            },
            None,
        )?;
        let after: Vec<Known> = iteration.carried.iter().map(without_elements).collect();
        if after != carried {
            return Ok(None);
        }
        let once = self.multiplications.saturating_sub(before);
        self.multiplications = before.saturating_add(once.saturating_mul(most));
        // The condition that one iteration returns applies to the next.
        let goes_on = start.condition.is_some() && iteration.condition == start.condition;
        let trips = match start.trips {
            Trips::Exactly(trips) if goes_on => {
                size_of(usize::try_from(trips).unwrap_or(usize::MAX))
            }
            _ => Some(self.symbols.at_most(most)),
        };
        let trips = trips.ok_or("a loop has too many iterations")?;
        let mut outputs = after;
        outputs.extend(self.stacked(step, trips, &iteration.scanned)?);
        Ok(Some(outputs))
    }

    /// Follows a loop whose carried values change.
    fn iterate(&mut self, step: &Step, start: Start) -> Result<Vec<Known>, String> {
        let Start {
            trips,
            mut condition,
            mut carried,
        } = start;
        let unknown = || {
            format!(
                "the number of iterations of `{}` follows from values of the request",
                step.name
            )
        };
        let mut outputs = carried.clone();
        let mut scanned = Vec::new();
        let mut done = 0;
        // Set as soon as the loop may have ended.
        let mut is_open = matches!(trips, Trips::AtMost(_));
        loop {
            let is_last = match trips {
                Trips::Exactly(trips) | Trips::AtMost(trips) => done >= trips,
                Trips::Unknown => false,
            };
            if is_last || condition == Some(0) {
                break;
            }
            is_open |= condition.is_none();
            if trips == Trips::Unknown && (is_open || done == MAX_ITERATIONS) {
                return Err(unknown());
            }
            if done == MAX_ITERATIONS {
                return Err(format!(
                    "`{}` (Loop) changes sizes in more than {MAX_ITERATIONS} iterations",
                    step.name
                ));
            }
            let [body] = step.bodies.as_slice() else {
                break;
            };
            let iteration = self.iteration(
                body,
                Iteration {
                    condition,
                    carried,
                    scanned: Vec::new(),
                },
                i32::try_from(done).ok(),
            )?;
            carried = iteration.carried;
            condition = iteration.condition;
            scanned = iteration.scanned;
            outputs = match is_open {
                true => self.larger(step, &outputs, carried.clone())?,
                false => carried.clone(),
            };
            done += 1;
        }
        let trips = match is_open {
            true => self.symbols.at_most(done),
            false => size_of(usize::try_from(done).unwrap_or(usize::MAX)).ok_or_else(unknown)?,
        };
        outputs.extend(self.stacked(step, trips, &scanned)?);
        Ok(outputs)
    }

    /// Computes the body once, with the values of the iteration before.
    fn iteration(
        &mut self,
        body: &Body,
        before: Iteration,
        number: Option<i32>,
    ) -> Result<Iteration, String> {
        let scalar = |number: Option<i32>| match number {
            Some(number) => Known::of_integer(number),
            None => Known::of_sizes(Vec::new()),
        };
        let inputs = [scalar(number), scalar(before.condition)];
        let carried = before.carried.len();
        for (&slot, known) in body
            .inputs
            .iter()
            .zip(inputs.into_iter().chain(before.carried))
        {
            self.set(slot, known);
        }
        let mut outputs = self.inner(body)?.into_iter();
        let condition = outputs.next().and_then(|condition| condition.single());
        Ok(Iteration {
            condition,
            carried: outputs.by_ref().take(carried).collect(),
            scanned: outputs.collect(),
        })
    }

    /// Computes a graph inside a node and returns its outputs.
    fn inner(&mut self, body: &Body) -> Result<Vec<Known>, String> {
        self.run(body)?;
        let outputs = body.outputs.iter().map(|&slot| self.value(slot).cloned());
        let outputs: Result<Vec<Known>, String> = outputs.collect();
        let outputs = outputs.map_err(|reason| format!("the result of an inner graph {reason}"))?;
        self.release_body(body);
        Ok(outputs)
    }

    /// Returns values that are at least as large as each of two results of a node.
    fn larger(&mut self, step: &Step, a: &[Known], b: Vec<Known>) -> Result<Vec<Known>, String> {
        let differ = || {
            let Step { name, operator, .. } = step;
            format!(
                "the rank of a result of `{name}` ({operator}) follows from values of the request"
            )
        };
        if a.len() != b.len() {
            return Err(differ());
        }
        let mut larger = Vec::with_capacity(b.len());
        for (a, b) in a.iter().zip(b) {
            if *a == b {
                larger.push(b);
                continue;
            }
            let (a, b) = (a.sizes(), b.sizes());
            if a.len() != b.len() {
                return Err(differ());
            }
            let mut sizes = Vec::with_capacity(a.len());
            for (a, b) in a.into_iter().zip(b) {
                let most = self.symbols.most(&a).max(self.symbols.most(&b));
                sizes.push(match a == b {
                    true => a,
                    false => self.symbols.at_most(most),
                });
            }
            larger.push(Known::of_sizes(sizes));
        }
        Ok(larger)
    }

    /// Returns the outputs that collect a value of every iteration, and counts the memory of their parts.
    fn stacked(
        &mut self,
        step: &Step,
        trips: SymExpr,
        scanned: &[Known],
    ) -> Result<Vec<Known>, String> {
        let mut stacked = Vec::with_capacity(scanned.len());
        for known in scanned {
            let mut sizes = vec![trips.clone()];
            sizes.extend(known.sizes());
            let sizes = self.symbols.settle_sizes(sizes);
            let sizes = sizes.map_err(|refusal| refusal.describe(step))?;
            self.use_briefly(self.symbols.volume(&sizes));
            stacked.push(Known::of_sizes(sizes));
        }
        Ok(stacked)
    }
}
