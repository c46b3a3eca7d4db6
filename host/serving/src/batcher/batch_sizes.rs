//! The rules on the sizes of batches that the automatic choice of batching adds to Triton's.
//!
//! A backend that prepares for each number of rows computes numbers for which it is prepared, as far as the requests
//! allow, and long rows are joined to fewer than short ones. Policies that are set have no such rules.

use wisp_tensor::NamedTensor;

/// The sizes that batches may have within the maximum of their policy. The default allows all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchSizes {
    /// The numbers of rows that several requests may have together, in ascending order; empty if they may have any.
    pub allowed: Vec<u32>,
    /// Set if requests of which the first ones have no allowed number are joined to as many rows as fit: the backend keeps
    /// a preparation for every number. If not, the first one is computed alone.
    pub keeps_others: bool,
    /// The measured limits, in ascending order of the sizes of rows; empty if all rows have one size.
    pub limits: Vec<RowLimit>,
}

/// The maximum number of rows of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowLimit {
    /// The number of elements of a row, in all inputs together.
    pub row_elements: u64,
    pub max_rows: u32,
}

impl BatchSizes {
    /// Returns whether several requests may have this number of rows together.
    pub(crate) fn allows(&self, rows: u64) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|size| u64::from(*size) == rows)
    }

    /// Returns the maximum number of rows with this number of elements; `None` if it is not limited here.
    ///
    /// Rows between two measured sizes have no more elements together than the batch of the larger size. Rows beyond
    /// the largest size have no more together than its batch.
    pub(crate) fn max_rows(&self, row_elements: u64) -> Option<u64> {
        let is_smaller = |limit: &RowLimit| limit.row_elements < row_elements;
        let position = self.limits.partition_point(is_smaller);
        let above = self.limits.get(position).or(self.limits.last())?;
        let below = position.checked_sub(1);
        let below = below.and_then(|position| self.limits.get(position));
        let by_elements = above.batch_elements() / row_elements.max(1);
        let measured = below.map_or(0, |below| below.max_rows).max(above.max_rows);
        Some(by_elements.min(u64::from(measured)).max(1))
    }
}

impl RowLimit {
    /// Returns the number of elements of the largest batch.
    fn batch_elements(&self) -> u64 {
        self.row_elements.saturating_mul(u64::from(self.max_rows))
    }
}

/// Returns the number of elements of each row, in all inputs together. The first axis of each counts the rows.
pub(crate) fn row_elements(inputs: &[NamedTensor]) -> u64 {
    let elements = inputs.iter().map(|input| {
        let sizes = input.tensor.shape().dimensions().iter().skip(1);
        sizes.copied().map(u64::from).fold(1, u64::saturating_mul)
    });
    elements.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use wisp_tensor::{ElementType, Shape, Tensor};

    fn limits(measured: &[(u64, u32)]) -> BatchSizes {
        let limits = measured.iter().map(|&(row_elements, max_rows)| RowLimit {
            row_elements,
            max_rows,
        });
        BatchSizes {
            limits: limits.collect(),
            ..BatchSizes::default()
        }
    }

    #[test]
    fn short_rows_have_the_measured_limit_and_longer_ones_as_many_elements_at_most() {
        let sizes = limits(&[(8, 32), (32, 16), (128, 2)]);
        for (row_elements, expected) in [
            (0, 32),
            (1, 32),
            (8, 32),
            // As many elements as 16 rows of 32.
            (16, 32),
            (20, 25),
            (32, 16),
            // As many elements as 2 rows of 128.
            (33, 7),
            (64, 4),
            (128, 2),
            (200, 1),
            (u64::MAX, 1),
        ] {
            assert_eq!(
                sizes.max_rows(row_elements),
                Some(expected),
                "{row_elements}"
            );
        }
        assert_eq!(BatchSizes::default().max_rows(7), None);
    }

    #[test]
    fn only_listed_sizes_are_allowed_if_there_are_any() {
        let sizes = BatchSizes {
            allowed: vec![1, 2, 4],
            ..BatchSizes::default()
        };
        let allowed: Vec<u64> = (0..9).filter(|rows| sizes.allows(*rows)).collect();
        assert_eq!(allowed, [1, 2, 4]);
        assert!((0..9).all(|rows| BatchSizes::default().allows(rows)));
    }

    #[test]
    fn the_elements_of_a_row_are_those_of_all_inputs() {
        let input = |name: &str, sizes: &[u32]| {
            let shape = Shape::new(sizes.to_vec()).unwrap();
            let content = Bytes::from(vec![0; shape.elements()]);
            NamedTensor {
                name: name.to_owned(),
                tensor: Tensor::new(ElementType::Uint8, shape, content).unwrap(),
            }
        };
        let inputs = [
            input("ids", &[4, 7]),
            input("image", &[4, 3, 5]),
            input("x", &[4]),
        ];
        assert_eq!(row_elements(&inputs), 7 + 15 + 1);
        assert_eq!(row_elements(&[]), 0);
    }

    proptest! {
        #[test]
        fn no_batch_has_more_elements_than_the_larger_neighbour_unless_it_has_one_row(
            measured in prop::collection::btree_map(1..300u64, 1..33u32, 1..4),
            row_elements in 0..1000u64,
        ) {
            let measured: Vec<(u64, u32)> = measured.into_iter().collect();
            let rows = limits(&measured).max_rows(row_elements).unwrap();
            let above = measured.iter().find(|(size, _)| *size >= row_elements);
            let (size, most) = *above.or(measured.last()).unwrap();
            prop_assert!(rows == 1 || rows * row_elements <= size * u64::from(most));
            prop_assert!(measured.iter().any(|(_, most)| rows <= u64::from(*most)));
        }
    }
}
