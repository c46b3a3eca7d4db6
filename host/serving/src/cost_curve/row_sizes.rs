//! The rows on which a graph is measured.
//!
//! A graph whose axes besides the batch are fixed has one. Others have rows of a few sizes: a short one, a usual one
//! and a long one, by the longest variable axis. All variable axes grow by the same factor, so that sizes which are sums
//! of others stay so.

use crate::per_row_graph::batch_size;
use std::collections::BTreeMap;
use wisp_backend::Graph;
use wisp_backend::measure::shaped_inputs;
use wisp_tensor::{Dimension, NamedTensor, Signature};

/// The sizes of the longest variable axis: tokens of a short, a usual and a long text. Graphs over images and sound, whose
/// samples are longer, are measured with the sample and twice its size.
const LENGTHS: [u32; 3] = [8, 32, 128];

/// The maximum number of elements of a row in all inputs together, besides the sample's.
const MAX_ROW_ELEMENTS: u64 = 1 << 22;

/// Returns whether the sizes of a request besides its rows are unknown.
pub(super) fn has_variable_inner_axes(signature: &Signature) -> bool {
    let inputs = signature.inputs.iter();
    let mut inner_axes = inputs.flat_map(|spec| spec.shape.iter().skip(1));
    inner_axes.any(|dimension| *dimension == Dimension::Variable)
}

/// Returns rows of the sizes on which the graph is measured, in ascending order; none if no row is known.
pub(super) fn measured_rows(graph: &dyn Graph) -> Vec<Vec<NamedTensor>> {
    let sample = match graph.sample_inputs() {
        Ok(sample) if batch_size(&sample) == Some(1) => sample,
        _ => return Vec::new(),
    };
    let Some(longest) = longest_variable_axis(&sample, graph.signature()) else {
        return vec![sample];
    };
    let rows = growths(longest).into_iter().filter_map(|growth| {
        let shapes = grown(&sample, graph.signature(), growth)?;
        shaped_inputs(graph, Some(1), &shapes).ok()
    });
    rows.collect()
}

/// Returns the largest size of a variable axis besides the batch, if there is such an axis.
fn longest_variable_axis(sample: &[NamedTensor], signature: &Signature) -> Option<u32> {
    let sizes = sample.iter().flat_map(|input| {
        let sizes = input.tensor.shape().dimensions().iter().copied();
        let spec = signature.inputs.iter().find(|spec| spec.name == input.name);
        let declared = spec.map(|spec| spec.shape.clone()).unwrap_or_default();
        let inner = sizes.zip(declared).skip(1);
        let variable = inner.filter(|(_, declared)| *declared == Dimension::Variable);
        variable.map(|(size, _)| size).collect::<Vec<u32>>()
    });
    sizes.max()
}

/// Returns the factors by which variable axes grow, of which the longest has this size in the sample.
fn growths(longest: u32) -> Vec<u32> {
    let longest = longest.max(1);
    let mut growths: Vec<u32> = LENGTHS
        .iter()
        .map(|length| length / longest)
        .filter(|growth| *growth > 0)
        .collect();
    growths.dedup();
    match growths.len() {
        0 | 1 => vec![1, 2],
        _ => growths,
    }
}

/// Returns the shape of each input of one row, with its variable axes this many times as large; `None` if the row would
/// have too many elements.
fn grown(
    sample: &[NamedTensor],
    signature: &Signature,
    growth: u32,
) -> Option<BTreeMap<String, Vec<u32>>> {
    let mut shapes = BTreeMap::new();
    let mut elements = 0_u64;
    for input in sample {
        let spec = signature
            .inputs
            .iter()
            .find(|spec| spec.name == input.name)?;
        let mut sizes = input.tensor.shape().dimensions().to_vec();
        for (size, declared) in sizes.iter_mut().zip(&spec.shape).skip(1) {
            if *declared == Dimension::Variable {
                *size = size.checked_mul(growth)?;
            }
        }
        let count = sizes.iter().copied().map(u64::from);
        elements = elements.checked_add(count.fold(1, u64::saturating_mul))?;
        shapes.insert(input.name.clone(), sizes);
    }
    (growth == 1 || elements <= MAX_ROW_ELEMENTS).then_some(shapes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_backend::BackendError;
    use wisp_tensor::{ElementType, TensorError, TensorSpec};

    /// A graph with inputs of these shapes, whose variable axes have the size `length` in the sample.
    #[derive(Debug)]
    struct Shaped {
        signature: Signature,
        length: u32,
    }

    impl Graph for Shaped {
        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
            Ok(inputs.to_vec())
        }

        fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
            let mut fixed = self.signature.clone();
            for spec in &mut fixed.inputs {
                for dimension in spec.shape.iter_mut().skip(1) {
                    if *dimension == Dimension::Variable {
                        *dimension = Dimension::Fixed(self.length);
                    }
                }
            }
            wisp_backend::sample_inputs(&fixed)
        }
    }

    /// Returns the sizes of the rows on which such a graph is measured, row by row and input by input.
    fn sizes(inputs: &[&[i64]], length: u32) -> Vec<Vec<Vec<u32>>> {
        let spec = |(number, shape): (usize, &&[i64])| TensorSpec {
            name: format!("input{number}"),
            element_type: ElementType::Fp32,
            shape: shape
                .iter()
                .filter_map(|&size| Dimension::from_wire(size))
                .collect(),
            optional: false,
        };
        let graph = Shaped {
            signature: Signature {
                inputs: inputs.iter().enumerate().map(spec).collect(),
                outputs: Vec::new(),
            },
            length,
        };
        let rows = measured_rows(&graph);
        let shape = |input: &NamedTensor| input.tensor.shape().dimensions().to_vec();
        let shapes = |row: &Vec<NamedTensor>| row.iter().map(shape).collect::<Vec<Vec<u32>>>();
        rows.iter().map(shapes).collect()
    }

    #[test]
    fn a_graph_of_fixed_sizes_has_one_row() {
        assert_eq!(sizes(&[&[-1, 4], &[-1]], 1), [[vec![1, 4], vec![1]]]);
        // Without a batch of one row, there is none.
        assert!(sizes(&[&[2, 4]], 1).is_empty());
    }

    #[test]
    fn texts_have_three_lengths_and_all_variable_axes_grow_together() {
        assert_eq!(
            sizes(&[&[-1, -1], &[-1, -1, 3]], 1),
            [
                [vec![1, 8], vec![1, 8, 3]],
                [vec![1, 32], vec![1, 32, 3]],
                [vec![1, 128], vec![1, 128, 3]],
            ]
        );
        assert_eq!(sizes(&[&[-1, -1]], 32), [[vec![1, 32]], [vec![1, 128]]]);
    }

    #[test]
    fn images_have_the_size_of_the_sample_and_twice_of_it_unless_that_is_too_large() {
        let image: &[i64] = &[-1, 3, -1, -1];
        assert_eq!(
            sizes(&[image], 224),
            [[vec![1, 3, 224, 224]], [vec![1, 3, 448, 448]]]
        );
        assert_eq!(sizes(&[image], 640), [[vec![1, 3, 640, 640]]]);
    }

    #[test]
    fn a_sample_of_any_length_has_growths_in_ascending_order() {
        for longest in 0..2000 {
            let growths = growths(longest);
            assert!(growths.len() >= 2 && growths.is_sorted(), "{longest}");
            assert!(growths.first().is_some_and(|growth| *growth >= 1));
        }
        assert_eq!(growths(1), [8, 32, 128]);
        assert_eq!(growths(3), [2, 10, 42]);
        assert_eq!(growths(100), [1, 2]);
    }
}
