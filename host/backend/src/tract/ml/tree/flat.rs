//! The nodes of all trees in one array, laid out for walking.
//!
//! The two children of a branch are adjacent, so that a step is a comparison and an addition, without a
//! branch for the processor to predict. Roots come first and are children of no branch, so 0 marks leaves.
//!
//! Invariant: every node is reached once. Walks therefore end, and their number of steps is the length of a path.

use super::parse::{Branch, Child, Forest, Test};
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::TractResult;

/// A number type of thresholds and weights.
pub(super) trait Number: Copy + PartialOrd + Send + Sync + 'static {
    const ZERO: Self;
    fn from_f64(value: f64) -> Self;
    fn to_f32(self) -> f32;
    fn is_nan(self) -> bool;
    fn add(self, other: Self) -> Self;
    fn divide(self, count: usize) -> Self;
}

/// A branch or a leaf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<T> {
    /// The threshold of a branch, or the weight of a leaf with a single weight.
    pub(super) threshold: T,
    /// The feature of a branch, or the position of a leaf in [`Flat::leaf_starts`].
    pub(super) feature: u32,
    /// The child for a true test, which is followed by the child for a false one. 0 for a leaf.
    pub(super) yes: u32,
    pub(super) test: Test,
    pub(super) missing_is_yes: bool,
}

/// Trees ready for walking. Lifetime: a model version.
#[derive(Debug)]
pub(super) struct Flat<T> {
    /// The roots, then pairs of children.
    pub(super) nodes: Vec<Node<T>>,
    pub(super) roots: usize,
    /// The start of each leaf's weights, and the end of the last one's.
    pub(super) leaf_starts: Vec<u32>,
    /// Pairs of target and weight.
    pub(super) weights: Vec<(u32, T)>,
    /// The target of every leaf, if each leaf has one weight and all have the same target.
    pub(super) single_target: Option<usize>,
    /// One more than the greatest feature that is tested.
    pub(super) features: usize,
    pub(super) questions: Questions,
}

/// The tests of the branches, which select the walk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Questions {
    /// All tests are `feature <= threshold`, and NaN fails.
    AtMost,
    /// All tests are `feature <= threshold`, and NaN passes some branches.
    AtMostOrMissing,
    /// All tests are `feature < threshold`; NaN may pass or fail.
    Below,
    Mixed,
}

impl<T: Number> Flat<T> {
    /// Lays out a forest. Returns an error if it does not consist of trees.
    pub(super) fn new(node: &NodeProto, forest: &Forest) -> TractResult<Flat<T>> {
        let mut flat = Flat {
            nodes: vec![placeholder(); forest.roots.len()],
            roots: forest.roots.len(),
            leaf_starts: vec![0],
            weights: vec![],
            single_target: None,
            features: 0,
            questions: questions(&forest.branches),
        };
        let mut reached = vec![false; forest.branches.len()];
        for (place, root) in forest.roots.iter().enumerate() {
            let mut open = vec![(place, *root)];
            while let Some((place, child)) = open.pop() {
                match child {
                    Child::Leaf(leaf) => {
                        let leaf = &forest.leaves[leaf];
                        let Ok(position) = u32::try_from(flat.leaf_starts.len() - 1) else {
                            return node.bail("has too many nodes");
                        };
                        let weights = leaf.iter();
                        flat.weights.extend(weights.map(|&(target, weight)| {
                            // Targets are below the number of classes, whose labels are in memory.
                            (
                                u32::try_from(target).unwrap_or(u32::MAX),
                                T::from_f64(weight),
                            )
                        }));
                        let Ok(end) = u32::try_from(flat.weights.len()) else {
                            return node.bail("has too many nodes");
                        };
                        flat.leaf_starts.push(end);
                        flat.nodes[place] = Node {
                            threshold: T::from_f64(leaf.first().map_or(0.0, |(_, weight)| *weight)),
                            feature: position,
                            ..placeholder()
                        };
                    }
                    Child::Branch(branch) => {
                        if std::mem::replace(&mut reached[branch], true) {
                            return node.bail("its trees have loops, or branches in common");
                        }
                        let branch = &forest.branches[branch];
                        let yes = flat.nodes.len();
                        let (Ok(feature), Ok(yes_place)) =
                            (u32::try_from(branch.feature), u32::try_from(yes))
                        else {
                            return node.bail("has too many nodes");
                        };
                        flat.features = flat.features.max(branch.feature + 1);
                        flat.nodes.extend([placeholder(), placeholder()]);
                        flat.nodes[place] = Node {
                            threshold: T::from_f64(branch.threshold),
                            feature,
                            yes: yes_place,
                            test: branch.test,
                            missing_is_yes: branch.missing_is_yes,
                        };
                        open.push((yes + 1, branch.no));
                        open.push((yes, branch.yes));
                    }
                }
            }
        }
        flat.single_target = flat.find_single_target();
        Ok(flat)
    }

    fn find_single_target(&self) -> Option<usize> {
        let (first, _) = *self.weights.first()?;
        let one_each = self
            .leaf_starts
            .iter()
            .zip(0..)
            .all(|(&start, position)| start == position);
        let same = self.weights.iter().all(|(target, _)| *target == first);
        (one_each && same).then_some(first as usize)
    }

    /// Returns the weights of a leaf.
    pub(super) fn leaf(&self, node: &Node<T>) -> &[(u32, T)] {
        let position = node.feature as usize;
        let (start, end) = (self.leaf_starts[position], self.leaf_starts[position + 1]);
        &self.weights[start as usize..end as usize]
    }

    /// Returns the same trees with numbers of another type.
    pub(super) fn widened<U: Number>(&self, widen: impl Fn(T) -> U) -> Flat<U> {
        let nodes = self.nodes.iter().map(|node| Node {
            threshold: widen(node.threshold),
            feature: node.feature,
            yes: node.yes,
            test: node.test,
            missing_is_yes: node.missing_is_yes,
        });
        let weights = self.weights.iter();
        Flat {
            nodes: nodes.collect(),
            roots: self.roots,
            leaf_starts: self.leaf_starts.clone(),
            weights: weights
                .map(|&(target, weight)| (target, widen(weight)))
                .collect(),
            single_target: self.single_target,
            features: self.features,
            questions: self.questions,
        }
    }
}

fn placeholder<T: Number>() -> Node<T> {
    Node {
        threshold: T::ZERO,
        feature: 0,
        yes: 0,
        test: Test::AtMost,
        missing_is_yes: false,
    }
}

fn questions(branches: &[Branch]) -> Questions {
    let all = |test| branches.iter().all(|branch| branch.test == test);
    let missing = branches.iter().any(|branch| branch.missing_is_yes);
    match missing {
        false if all(Test::AtMost) => Questions::AtMost,
        true if all(Test::AtMost) => Questions::AtMostOrMissing,
        _ if all(Test::Below) => Questions::Below,
        _ => Questions::Mixed,
    }
}

impl Number for f32 {
    const ZERO: f32 = 0.0;

    fn from_f64(value: f64) -> f32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it was a float in the file"
        )]
        let value = value as f32;
        value
    }

    fn to_f32(self) -> f32 {
        self
    }

    fn is_nan(self) -> bool {
        self.is_nan()
    }

    fn add(self, other: f32) -> f32 {
        self + other
    }

    fn divide(self, count: usize) -> f32 {
        self / count as f32
    }
}

impl Number for f64 {
    const ZERO: f64 = 0.0;

    fn from_f64(value: f64) -> f64 {
        value
    }

    fn to_f32(self) -> f32 {
        #[expect(clippy::cast_possible_truncation, reason = "outputs are floats")]
        let value = self as f32;
        value
    }

    fn is_nan(self) -> bool {
        self.is_nan()
    }

    fn add(self, other: f64) -> f64 {
        self + other
    }

    fn divide(self, count: usize) -> f64 {
        self / count as f64
    }
}
