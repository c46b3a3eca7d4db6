//! The attributes of tree ensembles, in both forms that ONNX has defined.
//!
//! Up to version 4, nodes refer to each other by tree and number, and leaves are nodes. Since version 5,
//! branches and leaves are arrays that refer to each other by position. The result has one form, which is
//! not yet checked to consist of trees.

use super::super::attribute;
use std::collections::BTreeMap;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::TractResult;

/// The test of a branch on a feature, `feature ? threshold`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Test {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    Unequal,
}

/// The child that a test leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Child {
    /// A position in [`Forest::branches`].
    Branch(usize),
    /// A position in [`Forest::leaves`].
    Leaf(usize),
}

#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) feature: usize,
    pub(super) test: Test,
    pub(super) threshold: f64,
    /// Set if a NaN feature passes the test.
    pub(super) missing_is_yes: bool,
    pub(super) yes: Child,
    pub(super) no: Child,
}

/// The weights of a leaf, with the position of their class or target.
pub(super) type Leaf = Vec<(usize, f64)>;

/// Branches and leaves that refer to each other. All positions are in range.
#[derive(Debug, Default)]
pub(super) struct Forest {
    pub(super) roots: Vec<Child>,
    pub(super) branches: Vec<Branch>,
    pub(super) leaves: Vec<Leaf>,
    /// Set if the file stores its numbers as f64.
    pub(super) is_double: bool,
}

impl Test {
    fn from_name(name: &str) -> Option<Test> {
        Some(match name {
            "BRANCH_LEQ" => Test::AtMost,
            "BRANCH_LT" => Test::Below,
            "BRANCH_GTE" => Test::AtLeast,
            "BRANCH_GT" => Test::Above,
            "BRANCH_EQ" => Test::Equal,
            "BRANCH_NEQ" => Test::Unequal,
            _ => return None,
        })
    }
}

/// Returns the integers of an attribute with one entry for each of the `count` nodes.
fn node_ints(node: &NodeProto, name: &str, count: usize) -> TractResult<Vec<i64>> {
    let values = attribute::ints(node, name)?;
    attribute::expect_length(node, name, values.len(), count)?;
    Ok(values.to_vec())
}

/// Returns an integer for each of the `count` nodes: 1 if a missing value passes the test, 0 by default.
fn missing_value_tracks(node: &NodeProto, count: usize) -> TractResult<Vec<i64>> {
    let name = "nodes_missing_value_tracks_true";
    match attribute::ints(node, name)?.is_empty() {
        true => Ok(vec![0; count]),
        false => node_ints(node, name, count),
    }
}

impl Forest {
    /// Reads the attributes of versions 1 to 4. Those of leaves begin with `prefix`, which is `class` or
    /// `target`; `targets` is the number of classes or targets.
    pub(super) fn parse(
        context: &ParsingContext,
        node: &NodeProto,
        prefix: &str,
        targets: usize,
    ) -> TractResult<Forest> {
        let trees = attribute::ints(node, "nodes_treeids")?;
        let count = trees.len();
        node.expect_attr("nodes_treeids", count > 0, "at least one node")?;
        let of_nodes = |name: &str| node_ints(node, name, count);
        let numbers = of_nodes("nodes_nodeids")?;
        let features = of_nodes("nodes_featureids")?;
        let yes = of_nodes("nodes_truenodeids")?;
        let no = of_nodes("nodes_falsenodeids")?;
        let modes = attribute::strings(node, "nodes_modes")?;
        attribute::expect_length(node, "nodes_modes", modes.len(), count)?;
        let (thresholds, is_double) = attribute::doubles(context, node, "nodes_values")?;
        attribute::expect_length(node, "nodes_values", thresholds.len(), count)?;
        let missing = missing_value_tracks(node, count)?;

        let mut forest = Forest {
            is_double,
            ..Forest::default()
        };
        // Leaves and branches get their positions first, since either can precede the node that refers to it.
        let mut places = BTreeMap::new();
        let mut branches = 0;
        for position in 0..count {
            let place = match modes[position] == "LEAF" {
                true => {
                    forest.leaves.push(Leaf::new());
                    Child::Leaf(forest.leaves.len() - 1)
                }
                false => {
                    branches += 1;
                    Child::Branch(branches - 1)
                }
            };
            let id = (trees[position], numbers[position]);
            node.expect_attr("nodes_nodeids", places.insert(id, place).is_none(), || {
                format!("no second node {} in tree {}", id.1, id.0)
            })?;
            // The first node of a tree is its root, as in onnxruntime.
            if position == 0 || trees[position - 1] != trees[position] {
                forest.roots.push(place);
            }
        }
        for position in 0..count {
            if modes[position] == "LEAF" {
                continue;
            }
            let Some(test) = Test::from_name(&modes[position]) else {
                let reason = format!("unknown value `{}`", modes[position]);
                return node.bail_attr("nodes_modes", &reason);
            };
            let child = |name: &str, number: i64| match places.get(&(trees[position], number)) {
                Some(place) => Ok(*place),
                None => {
                    let reason = format!("tree {} has no node {number}", trees[position]);
                    node.bail_attr(name, &reason)
                }
            };
            forest.branches.push(Branch {
                feature: feature(node, features[position])?,
                test,
                threshold: thresholds[position],
                missing_is_yes: missing[position] == 1,
                yes: child("nodes_truenodeids", yes[position])?,
                no: child("nodes_falsenodeids", no[position])?,
            });
        }

        let attribute_of = |name: &str| format!("{prefix}_{name}");
        let leaf_trees = attribute::ints(node, &attribute_of("treeids"))?;
        let of_leaves = |name: &str| {
            let name = attribute_of(name);
            let values = attribute::ints(node, &name)?;
            attribute::expect_length(node, &name, values.len(), leaf_trees.len())?;
            Ok::<_, tract_onnx::prelude::TractError>(values)
        };
        let leaf_numbers = of_leaves("nodeids")?;
        let leaf_targets = of_leaves("ids")?;
        let name = attribute_of("weights");
        let (weights, weights_are_double) = attribute::doubles(context, node, &name)?;
        attribute::expect_length(node, &name, weights.len(), leaf_trees.len())?;
        forest.is_double |= weights_are_double;
        for position in 0..leaf_trees.len() {
            let target = target(node, &attribute_of("ids"), leaf_targets[position], targets)?;
            let id = (leaf_trees[position], leaf_numbers[position]);
            match places.get(&id) {
                Some(Child::Leaf(leaf)) => forest.leaves[*leaf].push((target, weights[position])),
                // The weights of branches are not used.
                Some(Child::Branch(_)) => {}
                None => {
                    let reason = format!("tree {} has no node {}", id.0, id.1);
                    return node.bail_attr(&attribute_of("nodeids"), &reason);
                }
            }
        }
        Ok(forest)
    }

    /// Reads the attributes of version 5.
    pub(super) fn parse_lists(
        context: &ParsingContext,
        node: &NodeProto,
        targets: usize,
    ) -> TractResult<Forest> {
        let features = attribute::ints(node, "nodes_featureids")?;
        let count = features.len();
        node.expect_attr("nodes_featureids", count > 0, "at least one node")?;
        let of_nodes = |name: &str| node_ints(node, name, count);
        let yes = of_nodes("nodes_truenodeids")?;
        let yes_is_leaf = of_nodes("nodes_trueleafs")?;
        let no = of_nodes("nodes_falsenodeids")?;
        let no_is_leaf = of_nodes("nodes_falseleafs")?;
        let missing = missing_value_tracks(node, count)?;
        let numbers = |name: &str| match attribute::tensor(context, node, name)? {
            Some(numbers) => Ok(numbers),
            None => node.bail_attr(name, "is missing"),
        };
        let (splits, is_double) = numbers("nodes_splits")?;
        attribute::expect_length(node, "nodes_splits", splits.len(), count)?;
        let (modes, _) = numbers("nodes_modes")?;
        attribute::expect_length(node, "nodes_modes", modes.len(), count)?;
        let (weights, _) = numbers("leaf_weights")?;
        let leaf_targets = attribute::ints(node, "leaf_targetids")?;
        attribute::expect_length(node, "leaf_targetids", leaf_targets.len(), weights.len())?;

        let mut forest = Forest {
            is_double,
            ..Forest::default()
        };
        for (id, weight) in leaf_targets.into_iter().zip(&weights) {
            let target = target(node, "leaf_targetids", id, targets)?;
            forest.leaves.push(vec![(target, *weight)]);
        }
        let child = |name: &str, position: i64, is_leaf: i64| {
            let end = if is_leaf == 0 { count } else { weights.len() };
            match usize::try_from(position) {
                Ok(position) if position < end && is_leaf == 0 => Ok(Child::Branch(position)),
                Ok(position) if position < end => Ok(Child::Leaf(position)),
                _ => node.bail_attr(name, &format!("there is no {position}")),
            }
        };
        for position in 0..count {
            let test = match modes[position] {
                0.0 => Test::AtMost,
                1.0 => Test::Below,
                2.0 => Test::AtLeast,
                3.0 => Test::Above,
                4.0 => Test::Equal,
                5.0 => Test::Unequal,
                6.0 => return node.bail_attr("nodes_modes", "BRANCH_MEMBER is not implemented"),
                other => return node.bail_attr("nodes_modes", &format!("unknown value {other}")),
            };
            forest.branches.push(Branch {
                feature: feature(node, features[position])?,
                test,
                threshold: splits[position],
                missing_is_yes: missing[position] == 1,
                yes: child("nodes_truenodeids", yes[position], yes_is_leaf[position])?,
                no: child("nodes_falsenodeids", no[position], no_is_leaf[position])?,
            });
        }
        for root in attribute::ints(node, "tree_roots")? {
            forest.roots.push(child("tree_roots", root, 0)?);
        }
        node.expect_attr("tree_roots", !forest.roots.is_empty(), "at least one tree")?;
        Ok(forest)
    }

    /// Returns whether each row gets a weight for `target`, since all leaves of some tree have one. The forest is
    /// known to consist of trees.
    pub(super) fn always_weighs(&self, target: usize) -> bool {
        self.roots.iter().any(|root| {
            let mut open = vec![*root];
            while let Some(child) = open.pop() {
                match child {
                    Child::Branch(branch) => {
                        let branch = &self.branches[branch];
                        open.extend([branch.yes, branch.no]);
                    }
                    Child::Leaf(leaf) => {
                        let has_weight = self.leaves[leaf].iter().any(|(own, _)| *own == target);
                        if !has_weight {
                            return false;
                        }
                    }
                }
            }
            true
        })
    }
}

fn feature(node: &NodeProto, feature: i64) -> TractResult<usize> {
    match usize::try_from(feature) {
        Ok(feature) => Ok(feature),
        Err(_) => node.bail_attr("nodes_featureids", &format!("there is no {feature}")),
    }
}

fn target(node: &NodeProto, name: &str, target: i64, targets: usize) -> TractResult<usize> {
    match usize::try_from(target)
        .ok()
        .filter(|&target| target < targets)
    {
        Some(target) => Ok(target),
        None => node.bail_attr(name, &format!("{target} is not below {targets}")),
    }
}
