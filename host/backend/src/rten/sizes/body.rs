//! A graph without the contents of its tensors: its nodes in the order of the file, and for each the values
//! that no later node reads.
//!
//! Values of a graph and of all graphs inside it are numbered together; the number of a value is its slot.
//! Nodes whose outputs are unused are left out, because rten does not compute them.

use super::constant::{list, narrow, narrowed, of_constant_node, of_tensor};
use super::known::{Known, Numbers};
use super::operator::{Kind, operator_name};
use crate::pb::{AttributeProto, GraphProto, NodeProto};
use std::collections::{HashMap, HashSet};

/// A graph, or a graph inside a node.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// The slots of inputs without an initializer.
    pub(super) inputs: Vec<usize>,
    pub(super) steps: Vec<Step>,
    pub(super) outputs: Vec<usize>,
    /// The slots of inputs and of outputs of nodes.
    pub(super) owned: Vec<usize>,
    /// The slots of outer values that are read inside.
    pub(super) captures: Vec<usize>,
}

/// A node.
#[derive(Debug)]
pub(super) struct Step {
    /// The name of the node, or of its first output.
    pub(super) name: String,
    pub(super) operator: String,
    pub(super) kind: Kind,
    pub(super) attributes: Vec<Attribute>,
    pub(super) inputs: Vec<Option<usize>>,
    pub(super) outputs: Vec<Option<usize>>,
    /// The branches of `If`, then first, or the body of `Loop`.
    pub(super) bodies: Vec<Body>,
    /// The slots that this node is the last to read.
    pub(super) released: Vec<usize>,
    /// Set if the node depends on nothing but tensors of the file, so that rten computes it while loading.
    pub(super) is_constant: bool,
}

/// An attribute with its values of all types, since rten reads the one it needs whatever the declared type.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) integer: i64,
    pub(super) text: String,
    pub(super) integers: Vec<i64>,
    pub(super) tensor: Option<Known>,
}

/// A graph with the names of its values and the constants among them, both by slot.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) body: Body,
    pub(super) names: Vec<String>,
    pub(super) constants: Vec<Option<Known>>,
}

/// Attributes of old operator sets that rten turns into inputs, with the position of the input.
const INPUTS_FROM_ATTRIBUTES: [(&str, &str, usize); 13] = [
    ("Clip", "min", 1),
    ("Clip", "max", 2),
    ("Pad", "pads", 1),
    ("Pad", "value", 2),
    ("Reshape", "shape", 1),
    ("Slice", "starts", 1),
    ("Slice", "ends", 2),
    ("Slice", "axes", 3),
    ("Split", "split", 1),
    ("Squeeze", "axes", 1),
    ("TopK", "k", 1),
    ("Unsqueeze", "axes", 1),
    ("Upsample", "scales", 1),
];

#[derive(Default)]
struct Builder {
    names: Vec<String>,
    constants: Vec<Option<Known>>,
    /// Set for the outputs of constant nodes, by slot.
    computed: Vec<bool>,
    /// The graph that is being read, and those around it.
    scopes: Vec<Scope>,
}

#[derive(Default)]
struct Scope {
    slots: HashMap<String, usize>,
    owned: HashSet<usize>,
    read: HashSet<usize>,
}

/// Reads `graph`. The error names the node or value that rten would not compute.
pub(super) fn build(graph: &GraphProto) -> Result<Built, String> {
    let mut builder = Builder::default();
    let body = builder.body(graph)?;
    let Builder {
        names, constants, ..
    } = builder;
    Ok(Built {
        body,
        names,
        constants,
    })
}

// === impl Body ===

impl Body {
    /// Removes the nodes that rten has computed while loading.
    pub(super) fn remove_constant_steps(&mut self) {
        self.steps.retain(|step| !step.is_constant);
        let inner = self.steps.iter_mut().flat_map(|step| &mut step.bodies);
        inner.for_each(Body::remove_constant_steps);
    }
}

// === impl Step ===

impl Step {
    /// Returns the slots of the values that the node and the graphs inside it read.
    pub(super) fn reads(&self) -> impl Iterator<Item = usize> {
        let captures = self.bodies.iter().flat_map(|body| &body.captures);
        self.inputs.iter().flatten().chain(captures).copied()
    }
}

// === impl Builder ===

impl Builder {
    /// Reads a graph. The depth of the recursion is bounded by the decoder's limit on nested messages.
    fn body(&mut self, graph: &GraphProto) -> Result<Body, String> {
        self.scopes.push(Scope::default());
        if let Some(sparse) = graph.sparse_initializer.first() {
            let name = sparse.values.as_ref().map(|values| values.name.as_str());
            return Err(format!(
                "tensor `{}` is sparse, which rten does not read",
                name.unwrap_or_default()
            ));
        }
        for tensor in &graph.initializer {
            self.define(&tensor.name, Some(of_tensor(tensor)?))?;
        }
        let is_constant = |node: &&NodeProto| operator_name(node) == "Constant";
        for node in graph.node.iter().filter(is_constant) {
            let value = of_constant_node(node)?;
            let ([output], Some(value)) = (node.output.as_slice(), value) else {
                return Err(format!(
                    "`{}` (Constant) has no value that rten reads",
                    node.name
                ));
            };
            self.define(output, Some(value))?;
        }
        let mut inputs = Vec::new();
        for input in &graph.input {
            if self.local(&input.name).is_none() {
                inputs.push(self.define(&input.name, None)?);
            }
        }
        let mut steps = Vec::new();
        for node in graph.node.iter().filter(|node| !is_constant(node)) {
            steps.push(self.step(node)?);
        }
        let mut outputs = Vec::new();
        for output in &graph.output {
            let slot = self.resolve(&output.name);
            outputs.push(slot.ok_or_else(|| format!("no node computes output `{}`", output.name))?);
        }
        let scope = self.scopes.pop().unwrap_or_default();
        let local: HashSet<usize> = scope.slots.values().copied().collect();
        let mut captures: Vec<usize> = scope.read.difference(&local).copied().collect();
        captures.sort_unstable();
        Ok(Body {
            inputs,
            steps: with_releases(steps, &outputs, &scope.owned),
            outputs,
            owned: scope.owned.into_iter().collect(),
            captures,
        })
    }

    fn step(&mut self, node: &NodeProto) -> Result<Step, String> {
        let operator = operator_name(node);
        let kind =
            Kind::of(&operator).ok_or_else(|| format!("operator `{operator}` is not supported"))?;
        let name = match node.name.as_str() {
            "" => node.output.first().cloned().unwrap_or_default(),
            name => name.to_owned(),
        };
        let mut inputs = Vec::with_capacity(node.input.len());
        for input in &node.input {
            inputs.push(match input.as_str() {
                "" => None,
                input => Some(self.resolve(input).ok_or_else(|| {
                    format!(
                        "`{name}` ({operator}) reads `{input}`, which no node before it computes"
                    )
                })?),
            });
        }
        for (of, attribute, position) in INPUTS_FROM_ATTRIBUTES {
            let Some(attribute) = node.attribute.iter().find(|found| found.name == attribute)
            else {
                continue;
            };
            if of == operator
                && let Some(value) = input_of(attribute)
            {
                let slot = self.constant(value);
                place(&mut inputs, position, slot)
                    .map_err(|reason| format!("`{name}` ({operator}): {reason}"))?;
            }
        }
        let bodies = self.bodies(node, kind)?;
        let captures = bodies.iter().flat_map(|body| &body.captures);
        let read = inputs.iter().flatten().chain(captures);
        let is_constant = read.clone().all(|&slot| self.is_constant(slot));
        if let Some(scope) = self.scopes.last_mut() {
            scope.read.extend(read);
        }
        let mut outputs = Vec::with_capacity(node.output.len());
        for output in &node.output {
            outputs.push(match output.as_str() {
                "" => None,
                output => Some(self.define(output, None)?),
            });
        }
        for &slot in outputs.iter().flatten() {
            if let Some(computed) = self.computed.get_mut(slot) {
                *computed = is_constant;
            }
        }
        Ok(Step {
            name,
            operator,
            kind,
            attributes: attributes(node)?,
            inputs,
            outputs,
            bodies,
            released: Vec::new(),
            is_constant,
        })
    }

    /// Reads the graphs inside a node.
    fn bodies(&mut self, node: &NodeProto, kind: Kind) -> Result<Vec<Body>, String> {
        let names: &[&str] = match kind {
            Kind::If => &["then_branch", "else_branch"],
            Kind::Loop => &["body"],
            _ => &[],
        };
        let mut bodies = Vec::with_capacity(names.len());
        for name in names {
            let attribute = node.attribute.iter().find(|found| found.name == *name);
            let Some(graph) = attribute.and_then(|attribute| attribute.g.as_ref()) else {
                return Err(format!(
                    "`{}` ({}) has no graph `{name}`",
                    node.name, node.op_type
                ));
            };
            bodies.push(self.body(graph)?);
        }
        Ok(bodies)
    }

    /// Adds a value to the innermost graph and returns its slot.
    fn define(&mut self, name: &str, constant: Option<Known>) -> Result<usize, String> {
        let is_owned = constant.is_none();
        let slot = self.names.len();
        self.names.push(name.to_owned());
        self.constants.push(constant);
        self.computed.push(false);
        let Some(scope) = self.scopes.last_mut() else {
            return Ok(slot);
        };
        if is_owned {
            scope.owned.insert(slot);
        }
        match scope.slots.insert(name.to_owned(), slot) {
            None => Ok(slot),
            Some(_) => Err(format!("more than one value is called `{name}`")),
        }
    }

    /// Adds a constant without a name.
    fn constant(&mut self, value: Known) -> usize {
        let slot = self.names.len();
        self.names.push(String::new());
        self.constants.push(Some(value));
        self.computed.push(false);
        slot
    }

    fn local(&self, name: &str) -> Option<usize> {
        self.scopes.last()?.slots.get(name).copied()
    }

    /// Returns the slot of a value of the innermost graph or one around it, which is read.
    fn resolve(&mut self, name: &str) -> Option<usize> {
        let mut scopes = self.scopes.iter().rev();
        let slot = scopes.find_map(|scope| scope.slots.get(name).copied())?;
        if let Some(scope) = self.scopes.last_mut() {
            scope.read.insert(slot);
        }
        Some(slot)
    }

    /// Returns whether the value is available to rten while it loads the innermost graph. Of the graphs around it,
    /// rten has only the tensors at that time.
    fn is_constant(&self, slot: usize) -> bool {
        let is_tensor = self.constants.get(slot).is_some_and(Option::is_some);
        let is_local = |scope: &Scope| scope.owned.contains(&slot);
        let is_computed = self.computed.get(slot).is_some_and(|computed| *computed);
        is_tensor || (is_computed && self.scopes.last().is_some_and(is_local))
    }
}

/// Returns the steps that contribute to `outputs`, each with the `owned` values that it is the last to read.
/// rten keeps an unused output until the end.
fn with_releases(steps: Vec<Step>, outputs: &[usize], owned: &HashSet<usize>) -> Vec<Step> {
    let mut read: HashSet<usize> = outputs.iter().copied().collect();
    let mut kept = Vec::with_capacity(steps.len());
    for mut step in steps.into_iter().rev() {
        if !step
            .outputs
            .iter()
            .flatten()
            .any(|slot| read.contains(slot))
        {
            continue;
        }
        let mut released = Vec::new();
        for slot in step.reads() {
            if read.insert(slot) && owned.contains(&slot) {
                released.push(slot);
            }
        }
        step.released = released;
        kept.push(step);
    }
    kept.reverse();
    kept
}

/// Makes the constant in `slot` an input.
fn place(inputs: &mut Vec<Option<usize>>, position: usize, slot: usize) -> Result<(), String> {
    if inputs.len() <= position {
        inputs.resize(position + 1, None);
    }
    match inputs.get_mut(position) {
        Some(input @ None) => {
            *input = Some(slot);
            Ok(())
        }
        _ => Err(format!("input {position} is an attribute as well")),
    }
}

/// Returns the input that an attribute becomes.
fn input_of(attribute: &AttributeProto) -> Option<Known> {
    match attribute.name.as_str() {
        "k" => Some(Known::of_integer(narrow(attribute.i))),
        "min" | "max" | "value" => Some(Known::of_numbers(
            Vec::new(),
            Numbers::Floats(vec![attribute.f]),
        )),
        "scales" => list(Numbers::Floats(attribute.floats.clone())),
        _ => list(narrowed(&attribute.ints)),
    }
}

fn attributes(node: &NodeProto) -> Result<Vec<Attribute>, String> {
    let attributes = node.attribute.iter().map(|attribute| {
        let tensor = attribute.t.as_ref().map(of_tensor).transpose()?;
        Ok(Attribute {
            name: attribute.name.clone(),
            integer: attribute.i,
            text: String::from_utf8_lossy(&attribute.s).into_owned(),
            integers: attribute.ints.clone(),
            tensor,
        })
    });
    attributes.collect()
}
