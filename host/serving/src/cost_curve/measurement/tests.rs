//! Tests of the sizes that are measured, on graphs that record them.

use super::*;
use std::sync::Mutex;
use wisp_backend::{BackendError, Rows};
use wisp_tensor::{Dimension, ElementType, Signature, TensorSpec};

/// A graph of independent rows that records the shapes it has computed.
#[derive(Debug)]
struct Recording {
    signature: Signature,
    capacity: Option<NonZeroUsize>,
    shapes: Mutex<Vec<Vec<u32>>>,
    /// The number of rows from which on it fails.
    fails_from: u32,
}

impl Recording {
    fn new(shape: &[i64], capacity: usize) -> Recording {
        let spec = TensorSpec {
            name: "x".to_owned(),
            element_type: ElementType::Fp32,
            shape: shape
                .iter()
                .filter_map(|&size| Dimension::from_wire(size))
                .collect(),
            optional: false,
        };
        Recording {
            signature: Signature {
                inputs: vec![spec.clone()],
                outputs: vec![spec],
            },
            capacity: NonZeroUsize::new(capacity),
            shapes: Mutex::default(),
            fails_from: u32::MAX,
        }
    }

    /// Returns the different shapes that were computed, in the order of their first computation.
    fn shapes(&self) -> Vec<Vec<u32>> {
        let mut distinct: Vec<Vec<u32>> = Vec::new();
        for shape in self.shapes.lock().unwrap().iter() {
            if !distinct.contains(shape) {
                distinct.push(shape.clone());
            }
        }
        distinct
    }
}

impl Graph for Recording {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn rows(&self) -> Rows {
        Rows::Independent
    }

    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        let shape = inputs[0].tensor.shape().dimensions().to_vec();
        if shape[0] >= self.fails_from {
            return Err(BackendError::Cancelled);
        }
        self.shapes.lock().unwrap().push(shape);
        Ok(inputs.to_vec())
    }

    fn preparation_capacity(&self) -> Option<NonZeroUsize> {
        self.capacity
    }
}

#[test]
fn only_sizes_whose_preparations_are_kept_are_measured() {
    for (shape, capacity) in [
        (&[-1, 4][..], 3),
        (&[-1, 4], 4),
        (&[-1, 4], 5),
        (&[-1, 4], 64),
        (&[-1, -1], 32),
        (&[-1, -1], 48),
        (&[-1, -1], 64),
    ] {
        let graph = Recording::new(shape, capacity);
        let cost = measure(&graph).unwrap();
        let prepared = graph.shapes();
        assert!(prepared.len() <= capacity, "{prepared:?}");
        assert_eq!(cost.preparation_capacity, NonZeroUsize::new(capacity));
        assert_eq!(cost.has_variable_rows, shape.len() == 2 && shape[1] < 0);
    }
}

#[test]
fn a_backend_that_keeps_too_few_preparations_is_not_measured() {
    for (shape, capacity) in [(&[-1, 4], 2), (&[-1, -1], 31)] {
        let graph = Recording::new(shape, capacity);
        let capacity = NonZeroUsize::new(capacity).unwrap();
        assert_eq!(
            measure(&graph),
            Err(Unmeasured::Preparations { capacity }),
            "{shape:?}"
        );
        assert!(graph.shapes().is_empty());
    }
    // A backend that does not prepare keeps nothing.
    assert!(measure(&Recording::new(&[-1, -1], 0)).is_ok());
}

#[test]
fn rows_of_three_sizes_are_measured_if_requests_choose_them() {
    let cost = measure(&Recording::new(&[-1, -1, 2], 0)).unwrap();
    // The sample has the size 1.
    let elements = cost.curves.iter().map(|curve| curve.row_elements);
    assert_eq!(elements.collect::<Vec<u64>>(), [16, 64, 256]);
    let cost = measure(&Recording::new(&[-1, 3], 0)).unwrap();
    let elements = cost.curves.iter().map(|curve| curve.row_elements);
    assert_eq!(elements.collect::<Vec<u64>>(), [3]);
}

#[test]
fn a_size_that_fails_ends_the_measurement_and_a_row_that_fails_prevents_it() {
    let mut graph = Recording::new(&[-1, 3], 0);
    graph.fails_from = 2;
    let rows = |cost: GraphCost| {
        let points = cost.curves.into_iter().flat_map(|curve| curve.points);
        points.map(|point| point.rows).collect::<Vec<u32>>()
    };
    assert_eq!(measure(&graph).map(rows), Ok(vec![1]));
    graph.fails_from = 1;
    assert_eq!(measure(&graph), Err(Unmeasured::NoInputs));
}

#[test]
fn the_sizes_begin_with_a_single_row_and_fit() {
    for kept in 1..100 {
        let capacity = NonZeroUsize::new(kept).unwrap();
        for (is_variable, most) in [(false, kept.max(2) - 1), (true, (kept / 16).max(1))] {
            let sizes = prepared_sizes(capacity, is_variable);
            assert!(sizes.len() <= most, "{sizes:?} of {kept}");
            assert!(sizes.first() == Some(&1) && sizes.is_sorted());
            assert!(sizes.iter().all(|size| SIZES.contains(size)));
        }
    }
}
