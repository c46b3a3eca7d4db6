//! The limits of INT64 inputs within which no value leaves 32 bits.
//!
//! rten computes INT64 with 32 bits. [`IntegerLimits`] is determined from the file when it is loaded: the
//! bounds of all values follow from the bounds of the inputs ([`operators`]), and the limits of the inputs on
//! which a value depends are lowered until it has 32 bits. A value without a bound is refused by its name,
//! unless it is only used as an index or a size ([`uses`]), where a great number is an error anyway.

mod bound;
mod operators;
mod uses;

use self::bound::{Bound, InputSet};
use self::operators::{Operation, of_tensor};
use self::uses::Uses;
use crate::onnx::node_parts::{attribute, inner_graphs, is_onnx, opset};
use crate::onnx::values::{Site, Values};
use crate::pb::tensor_proto::DataType;
use crate::pb::{GraphProto, ModelProto, NodeProto, TensorProto};
use std::collections::{HashMap, HashSet};
use std::mem::replace;

/// The numbers of bits that an input may have, from the first one that suffices on. A count of flags needs
/// few.
const BITS: [u32; 9] = [31, 24, 20, 16, 12, 8, 6, 4, 1];

/// The maximum number of iterations of a loop for which its counters are followed.
const MAX_TRIPS: f64 = 65_536.0;

/// The maximum number of inputs and outputs of nodes that are looked at, since nested loops multiply them.
const MAX_WORK: usize = 5_000_000;

/// The work for an empty graph.
const GRAPH_WORK: usize = 32;

/// The limits of the INT64 inputs of a model. Lifetime: a model version.
#[derive(Debug)]
pub(super) struct IntegerLimits {
    /// By position in the signature.
    inputs: Vec<InputLimit>,
}

#[derive(Debug)]
struct InputLimit {
    name: String,
    /// The greatest magnitude of an INT64 input.
    limit: Option<i64>,
}

/// A value that may leave 32 bits, and the inputs on which it depends.
struct Excess {
    reason: String,
    inputs: InputSet,
}

/// The bounds of the values in a graph, and of those in the graphs around it.
struct Scope<'a> {
    outer: Option<&'a Scope<'a>>,
    values: Values<'a>,
    bounds: HashMap<&'a str, Bound>,
}

struct Analysis<'m> {
    opset: i64,
    uses: &'m Uses<'m>,
    /// The bounds of constants, which are determined once.
    constants: HashMap<*const TensorProto, Bound>,
    work: usize,
    /// Set if excesses are recorded, which is not so while the bounds of a loop are sought.
    records: bool,
    excesses: Vec<Excess>,
}

// === impl IntegerLimits ===

impl IntegerLimits {
    /// Determines the limits of `model`. Errors contain the name of a value that may leave 32 bits.
    pub(super) fn of(model: &ModelProto) -> Result<IntegerLimits, String> {
        let graph = (model.graph.as_ref()).ok_or("the file contains no graph")?;
        let uses = Uses::of(graph);
        let mut analysis = Analysis {
            opset: opset(&model.opset_import).unwrap_or_default(),
            uses: &uses,
            constants: HashMap::new(),
            work: 0,
            records: true,
            excesses: Vec::new(),
        };
        let mut limits = IntegerLimits::widest(graph);
        // Each round lowers every input of an excess, so there are as many rounds as steps.
        for bits in BITS.into_iter().skip(1).map(Some).chain([None]) {
            let bounds = limits.bounds(graph);
            analysis.graph(graph, None, &bounds)?;
            let excesses = std::mem::take(&mut analysis.excesses);
            let Some(first) = excesses.first() else {
                break;
            };
            let hopeless = excesses
                .iter()
                .find(|excess| excess.inputs == InputSet::default());
            let (Some(bits), None) = (bits, hopeless) else {
                return Err(hopeless.unwrap_or(first).reason.clone());
            };
            let inputs = excesses.iter().map(|excess| excess.inputs);
            limits.lower(inputs.fold(InputSet::default(), InputSet::union), bits);
        }
        Ok(limits)
    }

    /// Returns the limits of the inputs with these names, in the order of the signature.
    pub(super) fn of_inputs(inputs: Vec<(String, Option<i64>)>) -> IntegerLimits {
        let inputs = inputs.into_iter();
        IntegerLimits {
            inputs: inputs
                .map(|(name, limit)| InputLimit { name, limit })
                .collect(),
        }
    }

    /// Iterates over the inputs with a limit.
    #[cfg(feature = "threads")]
    pub(super) fn by_name(&self) -> impl Iterator<Item = (&str, i64)> {
        let inputs = self.inputs.iter();
        inputs.filter_map(|input| Some((input.name.as_str(), input.limit?)))
    }

    fn widest(graph: &GraphProto) -> IntegerLimits {
        let values = Values::of(graph, None);
        let initialised: HashSet<&str> =
            graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let inputs = graph.input.iter();
        let inputs = inputs.filter(|input| !initialised.contains(input.name.as_str()));
        let inputs = inputs.map(|input| InputLimit {
            name: input.name.clone(),
            limit: match values.data_type(&input.name) {
                Some(DataType::Int64) => Some(limit(BITS[0])),
                _ => None,
            },
        });
        IntegerLimits {
            inputs: inputs.collect(),
        }
    }

    fn lower(&mut self, inputs: InputSet, bits: u32) {
        for (position, input) in self.inputs.iter_mut().enumerate() {
            if inputs.contains(position) && input.limit.is_some() {
                input.limit = Some(limit(bits));
            }
        }
    }

    /// Returns the bounds of all inputs of the graph within the limits.
    fn bounds(&self, graph: &GraphProto) -> Vec<Bound> {
        let values = Values::of(graph, None);
        let positions = self.inputs.iter().enumerate();
        let positions: HashMap<&str, usize> = positions
            .map(|(position, input)| (input.name.as_str(), position))
            .collect();
        let bounds = graph.input.iter().map(|input| {
            let position = positions.get(input.name.as_str()).copied();
            let limited =
                position.and_then(|position| Some((position, self.inputs.get(position)?)));
            match limited {
                Some((
                    position,
                    InputLimit {
                        limit: Some(limit), ..
                    },
                )) => {
                    let limit = *limit as f64;
                    Bound {
                        inputs: InputSet::of(position),
                        ..Bound::between(-limit, limit)
                    }
                }
                _ => Bound::of_type(values.data_type(&input.name)),
            }
        });
        bounds.collect()
    }

    /// Refuses a number of the input at this position of the signature that is beyond its limit.
    pub(super) fn check(
        &self,
        input: usize,
        values: impl Iterator<Item = i64>,
    ) -> Result<(), String> {
        let Some(InputLimit {
            name,
            limit: Some(limit),
        }) = self.inputs.get(input)
        else {
            return Ok(());
        };
        let mut beyond = values.filter(|number| number.unsigned_abs() > limit.unsigned_abs());
        match beyond.next() {
            Some(number) => Err(format!(
                "`{name}`: rten computes INT64 with 32 bits; {number} is beyond {limit}"
            )),
            None => Ok(()),
        }
    }
}

/// Returns the greatest number with so many bits.
fn limit(bits: u32) -> i64 {
    (1 << bits) - 1
}

// === impl Scope ===

impl Scope<'_> {
    fn find(&self, name: &str) -> Bound {
        match (self.bounds.get(name), self.outer) {
            (Some(bound), _) => *bound,
            (None, Some(outer)) => outer.find(name),
            (None, None) => Bound::UNKNOWN,
        }
    }
}

// === impl Analysis ===

impl Analysis<'_> {
    /// Determines the bounds of the values in a graph and returns the bounds of its outputs.
    ///
    /// The recursion depth is bounded by the decoder's limit on nested messages.
    fn graph<'a>(
        &mut self,
        graph: &'a GraphProto,
        outer: Option<&'a Scope<'a>>,
        inputs: &[Bound],
    ) -> Result<Vec<Bound>, String> {
        self.spend(GRAPH_WORK.saturating_add(graph.node.len()))?;
        let mut scope = Scope {
            outer,
            values: Values::of(graph, outer.map(|outer| &outer.values)),
            bounds: HashMap::new(),
        };
        for (value, bound) in graph.input.iter().zip(inputs) {
            let bound = self.narrowed(&scope, &value.name, *bound);
            scope.bounds.insert(&value.name, bound);
        }
        for tensor in &graph.initializer {
            let bound = self.constant(&tensor.name, tensor)?;
            scope.bounds.insert(&tensor.name, bound);
        }
        for node in &graph.node {
            let bounds = self.node(node, &scope)?;
            let outputs = node.output.iter().zip(bounds);
            for (name, bound) in outputs.filter(|(name, _)| !name.is_empty()) {
                let bound = self.narrowed(&scope, name, bound);
                scope.bounds.insert(name, bound);
            }
        }
        let outputs = graph.output.iter();
        Ok(outputs.map(|output| scope.find(&output.name)).collect())
    }

    fn spend(&mut self, work: usize) -> Result<(), String> {
        self.work = self.work.saturating_add(work);
        match self.work > MAX_WORK {
            true => Err("the graph has too many nested loops to follow its integers".to_owned()),
            false => Ok(()),
        }
    }

    /// Returns the bounds of the outputs of a node.
    fn node<'a>(
        &mut self,
        node: &'a NodeProto,
        scope: &'a Scope<'a>,
    ) -> Result<Vec<Bound>, String> {
        self.spend(node.input.len().saturating_mul(node.output.len()))?;
        let inputs: Vec<Bound> = node.input.iter().map(|name| scope.find(name)).collect();
        if is_onnx(node, &["If"]) {
            return self.branches(node, scope);
        }
        if is_onnx(node, &["Loop"]) {
            return self.repeated(node, scope, &inputs);
        }
        if is_onnx(node, &["Constant"])
            && let Some(tensor) = attribute(node, "value").and_then(|found| found.t.as_ref())
        {
            let name = node.output.first().map_or("", String::as_str);
            return Ok(vec![self.constant(name, tensor)?]);
        }
        let operation = Operation {
            site: Site {
                node,
                values: &scope.values,
                opset: self.opset,
            },
            inputs: &inputs,
        };
        Ok((0..node.output.len())
            .map(|position| operation.output(position))
            .collect())
    }

    /// Returns the bounds of the results of one branch or the other.
    fn branches<'a>(
        &mut self,
        node: &'a NodeProto,
        scope: &'a Scope<'a>,
    ) -> Result<Vec<Bound>, String> {
        let mut joined: Option<Vec<Bound>> = None;
        for branch in inner_graphs(node) {
            let bounds = self.graph(branch, Some(scope), &[])?;
            joined = Some(match joined {
                None => bounds,
                Some(others) => either(&others, &bounds),
            });
        }
        Ok(joined.unwrap_or_default())
    }

    /// Returns the bounds of the results of a loop with inputs of these bounds.
    fn repeated<'a>(
        &mut self,
        node: &'a NodeProto,
        scope: &'a Scope<'a>,
        inputs: &[Bound],
    ) -> Result<Vec<Bound>, String> {
        let Some(body) = attribute(node, "body").and_then(|found| found.g.as_ref()) else {
            return Ok(Vec::new());
        };
        let start = inputs.get(2..).unwrap_or_default().to_vec();
        let records = replace(&mut self.records, false);
        let once = self.iteration(body, scope, &start)?;
        let once = either(&start, &once);
        let twice = self.iteration(body, scope, &once)?;
        let twice = either(&once, &twice);
        self.records = records;
        let all = start.iter().zip(once.iter().zip(&twice));
        let carried: Vec<Bound> = all
            .map(|(start, (once, twice))| extrapolated(start, once, twice))
            .collect();
        let last = self.iteration(body, scope, &carried)?;
        // The carried values come first, and the collected ones after them.
        let mut results = either(&carried, &last);
        results.extend(last.into_iter().skip(carried.len()));
        Ok(results)
    }

    /// Returns the bounds of the outputs of an iteration after its condition.
    fn iteration<'a>(
        &mut self,
        body: &'a GraphProto,
        scope: &'a Scope<'a>,
        carried: &[Bound],
    ) -> Result<Vec<Bound>, String> {
        let mut inputs = vec![Bound::between(0.0, MAX_TRIPS), Bound::UNIT];
        inputs.extend(carried);
        let mut outputs = self.graph(body, Some(scope), &inputs)?;
        outputs.drain(..outputs.len().min(1));
        Ok(outputs)
    }

    /// Returns the bound of a constant, or an error if it must not be narrowed to 32 bits.
    fn constant(&mut self, name: &str, tensor: &TensorProto) -> Result<Bound, String> {
        let known = self.constants.entry(std::ptr::from_ref(tensor));
        let bound = *known.or_insert_with(|| of_tensor(tensor));
        let is_wide = tensor.data_type == DataType::Int64 as i32 && !bound.fits();
        match is_wide {
            true if self.uses.may_be_narrowed(name) => {
                Ok(bound.clamped(Bound::of_type(Some(DataType::Int64))))
            }
            true => Err(format!(
                "constant `{name}` contains a number beyond 32 bits, with which rten computes INT64"
            )),
            false => Ok(bound),
        }
    }

    /// Returns the bound of a value within its type, and records a value of INT64 that may leave 32 bits.
    fn narrowed(&mut self, scope: &Scope<'_>, name: &str, bound: Bound) -> Bound {
        let data_type = scope.values.data_type(name);
        let own = Bound::of_type(data_type);
        let is_within = own.low <= bound.low && bound.high <= own.high;
        match data_type {
            Some(DataType::Int64) if !bound.fits() => {
                if self.records && !self.uses.is_index(name) {
                    let what = match scope.values.producer(name) {
                        Some(node) => format!("operator {} of `{name}`", node.op_type),
                        None => format!("value `{name}`"),
                    };
                    self.excesses.push(Excess {
                        reason: format!(
                            "{what}: rten computes INT64 with 32 bits, and the numbers may have more"
                        ),
                        inputs: bound.inputs,
                    });
                }
                bound.clamped(own)
            }
            // Smaller integers wrap around, as in ONNX Runtime.
            Some(_) if !is_within => bound.with(own.low, own.high),
            _ => bound,
        }
    }
}

/// Returns the bounds of values that are one or the other.
fn either(some: &[Bound], others: &[Bound]) -> Vec<Bound> {
    let both = some.iter().zip(others);
    both.map(|(one, other)| one.or(*other)).collect()
}

/// Returns the bound of a carried value after all iterations of a loop, from those after none, one and two.
fn extrapolated(start: &Bound, once: &Bound, twice: &Bound) -> Bound {
    // A value that grows by a constant is a counter; one that grows faster has no bound.
    let end = |start: f64, once: f64, twice: f64| {
        let (first, second) = (once - start, twice - once);
        if once == twice {
            twice
        } else if second.abs() <= first.abs() {
            start + first * MAX_TRIPS
        } else {
            second.signum() * f64::INFINITY
        }
    };
    twice.with(
        end(start.low, once.low, twice.low),
        end(start.high, once.high, twice.high),
    )
}

#[cfg(test)]
mod tests;
