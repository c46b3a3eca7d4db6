//! Walks trees from rows to sums of leaves.
//!
//! Rows are processed in blocks, and each tree is walked for a whole block. Its nodes are then in the
//! cache, and walks of different rows are independent and overlap in the processor.

use super::super::operator::elements;
use super::flat::{Flat, Node, Number, Questions};
use super::parse::{Forest, Test};
use std::sync::OnceLock;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{DatumType, Tensor, TractResult};
use tract_onnx::tract_core::internal::ensure;

/// The number of rows whose sums are kept while all trees are walked.
const BLOCK: usize = 64;

/// The function that combines the weights of a target into one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// The targets and the function that combines the leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    pub(super) targets: usize,
    pub(super) aggregate: Aggregate,
}

/// The combined weights for one target, if any leaf had a weight for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Score<T> {
    pub(super) value: T,
    pub(super) present: bool,
}

/// Trees with the number type of the file, or that of the input if the input is f64.
#[derive(Debug)]
pub(super) enum Trees {
    Single {
        flat: Flat<f32>,
        /// Created for the first f64 input, since features must not be rounded before they are compared.
        widened: OnceLock<Flat<f64>>,
    },
    Double(Flat<f64>),
}

/// A function that is called with the position of each row and the scores of its targets.
pub(super) trait Finish {
    fn finish<T: Number>(&mut self, row: usize, scores: &mut [Score<T>]);
}

impl Trees {
    pub(super) fn new(node: &NodeProto, forest: &Forest) -> TractResult<Trees> {
        Ok(match forest.is_double {
            true => Trees::Double(Flat::new(node, forest)?),
            false => Trees::Single {
                flat: Flat::new(node, forest)?,
                widened: OnceLock::new(),
            },
        })
    }

    /// Returns the number of columns that rows need.
    pub(super) fn features(&self) -> usize {
        match self {
            Trees::Single { flat, .. } => flat.features,
            Trees::Double(flat) => flat.features,
        }
    }

    /// Returns the number of trees.
    pub(super) fn len(&self) -> usize {
        match self {
            Trees::Single { flat, .. } => flat.roots,
            Trees::Double(flat) => flat.roots,
        }
    }

    /// Walks all trees for each row of `input`.
    pub(super) fn evaluate(
        &self,
        input: &Tensor,
        goal: Goal,
        finish: &mut impl Finish,
    ) -> TractResult<()> {
        let (_, columns) = super::super::operator::size(input)?;
        ensure!(
            columns >= self.features(),
            "the input has {columns} columns, the trees need {}",
            self.features()
        );
        let columns = columns.max(1);
        match (self, input.datum_type()) {
            (Trees::Single { flat, widened }, DatumType::F64) => {
                let flat = widened.get_or_init(|| flat.widened(f64::from));
                flat.evaluate((elements(input)?, columns), goal, finish);
            }
            (Trees::Single { flat, .. }, _) => {
                let input = input.cast_to::<f32>()?;
                flat.evaluate((elements(&input)?, columns), goal, finish);
            }
            (Trees::Double(flat), _) => {
                let input = input.cast_to::<f64>()?;
                flat.evaluate((elements(&input)?, columns), goal, finish);
            }
        }
        Ok(())
    }
}

/// Rows and their scores so far.
struct Block<'a, T> {
    cells: &'a [T],
    columns: usize,
    goal: Goal,
    scores: &'a mut [Score<T>],
}

impl<T: Number> Flat<T> {
    fn evaluate(&self, (cells, columns): (&[T], usize), goal: Goal, finish: &mut impl Finish) {
        let empty = Score {
            value: T::ZERO,
            present: false,
        };
        let rows = BLOCK.min(cells.len() / columns);
        let mut scores = vec![empty; rows * goal.targets];
        for (position, cells) in cells.chunks(columns * BLOCK).enumerate() {
            scores.fill(empty);
            self.walk(&mut Block {
                cells,
                columns,
                goal,
                scores: &mut scores,
            });
            let rows = cells.len() / columns;
            for (row, scores) in scores.chunks_mut(goal.targets).take(rows).enumerate() {
                finish.finish(position * BLOCK + row, scores);
            }
        }
    }

    /// Walks all trees for a block with the code for their tests.
    fn walk(&self, block: &mut Block<'_, T>) {
        match self.questions {
            Questions::AtMost => self.collect(block, |node, x| x <= node.threshold),
            Questions::AtMostOrMissing => self.collect(block, |node, x| {
                (x <= node.threshold) | (node.missing_is_yes & x.is_nan())
            }),
            Questions::Below => self.collect(block, |node, x| {
                (x < node.threshold) | (node.missing_is_yes & x.is_nan())
            }),
            Questions::Mixed => self.collect(block, |node, x| {
                let is_yes = match node.test {
                    Test::AtMost => x <= node.threshold,
                    Test::Below => x < node.threshold,
                    Test::AtLeast => x >= node.threshold,
                    Test::Above => x > node.threshold,
                    Test::Equal => x == node.threshold,
                    Test::Unequal => x != node.threshold,
                };
                is_yes | (node.missing_is_yes & x.is_nan())
            }),
        }
    }

    fn collect(&self, block: &mut Block<'_, T>, is_yes: impl Fn(&Node<T>, T) -> bool + Copy) {
        let Goal { targets, aggregate } = block.goal;
        let sums = matches!(aggregate, Aggregate::Sum | Aggregate::Average);
        for root in 0..self.roots {
            let rows = block.cells.chunks_exact(block.columns);
            for (row, scores) in rows.zip(block.scores.chunks_exact_mut(targets)) {
                let leaf = self.leaf_of(root, row, is_yes);
                match self.single_target {
                    Some(target) if sums => {
                        let score = &mut scores[target];
                        score.value = score.value.add(leaf.threshold);
                        score.present = true;
                    }
                    _ => {
                        for &(target, weight) in self.leaf(leaf) {
                            scores[target as usize].add(weight, aggregate);
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn leaf_of(&self, root: usize, row: &[T], is_yes: impl Fn(&Node<T>, T) -> bool) -> &Node<T> {
        let mut node = &self.nodes[root];
        while node.yes != 0 {
            let no = !is_yes(node, row[node.feature as usize]);
            node = &self.nodes[node.yes as usize + usize::from(no)];
        }
        node
    }
}

impl<T: Number> Score<T> {
    fn add(&mut self, weight: T, aggregate: Aggregate) {
        let replaces = match aggregate {
            Aggregate::Sum | Aggregate::Average => {
                self.value = self.value.add(weight);
                false
            }
            Aggregate::Min => !self.present || weight < self.value,
            Aggregate::Max => !self.present || weight > self.value,
        };
        if replaces {
            self.value = weight;
        }
        self.present = true;
    }

    /// Returns the value, or zero if no leaf had one.
    pub(super) fn or_zero(self) -> f32 {
        match self.present {
            true => self.value.to_f32(),
            false => 0.0,
        }
    }
}
