//! The computed shapes of outputs, where a file declares others or none.
//!
//! Exporters write wrong declarations, such as one label for a batch of any size. The computed shape is the
//! truth. A declaration that it contradicts becomes variable in the signature, and a warning.

#[cfg(any(feature = "onnxruntime", feature = "rten"))]
use wisp_tensor::NamedTensor;
use wisp_tensor::signature::DimensionList;
use wisp_tensor::{Dimension, Signature};

/// The shape of each output as the file declares it, if it does.
pub(crate) type Declared = [Option<Vec<Dimension>>];

/// Makes the sizes of outputs variable that `computed`, the outputs of some computations, contradict. Returns
/// a sentence for each output that the file declares wrongly.
#[cfg(any(feature = "onnxruntime", feature = "rten"))]
pub(crate) fn correct(
    signature: &mut Signature,
    declared: &Declared,
    computed: &[Vec<NamedTensor>],
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (position, spec) in signature.outputs.iter_mut().enumerate() {
        let before = spec.shape.clone();
        let outputs = computed.iter().filter_map(|outputs| outputs.get(position));
        for output in outputs {
            widen(&mut spec.shape, output.tensor.shape().dimensions());
        }
        if let Some(Some(declared)) = declared.get(position)
            && spec.shape != before
        {
            wrong.push(sentence(&spec.name, declared, &spec.shape));
        }
    }
    wrong
}

/// Makes `shape` include a computed shape.
#[cfg(any(feature = "onnxruntime", feature = "rten"))]
fn widen(shape: &mut Vec<Dimension>, computed: &[u32]) {
    if shape.len() != computed.len() {
        *shape = vec![Dimension::Variable; computed.len()];
        return;
    }
    for (declared, &size) in shape.iter_mut().zip(computed) {
        if *declared != Dimension::Fixed(size) {
            *declared = Dimension::Variable;
        }
    }
}

/// Returns a sentence for each output that the file declares otherwise than `signature`, which a backend has
/// inferred.
#[cfg(feature = "tract")]
pub(crate) fn contradictions(declared: &Declared, signature: &Signature) -> Vec<String> {
    let outputs = signature.outputs.iter().zip(declared);
    let wrong = outputs.filter_map(|(spec, declared)| {
        let declared = declared.as_ref()?;
        contradicts(declared, &spec.shape).then(|| sentence(&spec.name, declared, &spec.shape))
    });
    wrong.collect()
}

#[cfg(feature = "tract")]
fn contradicts(declared: &[Dimension], inferred: &[Dimension]) -> bool {
    let mut axes = declared.iter().zip(inferred).enumerate();
    declared.len() != inferred.len()
        || axes.any(|pair| match pair {
            (_, (Dimension::Fixed(declared), Dimension::Fixed(inferred))) => declared != inferred,
            // A size that is not inferred may be as declared, except for the batch size.
            (axis, (Dimension::Fixed(_), Dimension::Variable)) => axis == 0,
            (_, (Dimension::Variable, _)) => false,
        })
}

fn sentence(name: &str, declared: &[Dimension], computed: &[Dimension]) -> String {
    format!(
        "the file declares output `{name}` as {}, but its shape is {}",
        DimensionList(declared),
        DimensionList(computed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use wisp_tensor::{ElementType, Shape, Tensor, TensorSpec};

    fn dimensions(sizes: &[i64]) -> Vec<Dimension> {
        let sizes = sizes.iter().filter_map(|&size| Dimension::from_wire(size));
        sizes.collect()
    }

    fn signature(shape: &[i64]) -> Signature {
        Signature {
            inputs: Vec::new(),
            outputs: vec![TensorSpec {
                name: "y".to_owned(),
                element_type: ElementType::Uint8,
                shape: dimensions(shape),
                optional: false,
            }],
        }
    }

    fn output(sizes: &[u32]) -> anyhow::Result<Vec<NamedTensor>> {
        let shape = Shape::new(sizes.to_vec())?;
        let content = Bytes::from(vec![0; shape.elements()]);
        Ok(vec![NamedTensor {
            name: "y".to_owned(),
            tensor: Tensor::new(ElementType::Uint8, shape, content)?,
        }])
    }

    #[test]
    fn computed_shapes_replace_wrong_declarations_and_are_reported() -> anyhow::Result<()> {
        for (declared, computed, corrected, is_wrong) in [
            (
                [1].as_slice(),
                [[1].as_slice(), &[2]].as_slice(),
                [-1].as_slice(),
                true,
            ),
            (&[-1, 1], &[&[1, 3]], &[-1, -1], true),
            (&[1, 2], &[&[1, 2, 5]], &[-1, -1, -1], true),
            (&[-1, 3], &[&[1, 3], &[2, 3]], &[-1, 3], false),
            (&[], &[&[]], &[], false),
        ] {
            let mut signature = signature(declared);
            let computed = computed.iter().map(|sizes| output(sizes));
            let computed = computed.collect::<anyhow::Result<Vec<_>>>()?;
            let wrong = correct(&mut signature, &[Some(dimensions(declared))], &computed);
            assert_eq!(
                signature.outputs[0].shape,
                dimensions(corrected),
                "{declared:?}"
            );
            assert_eq!(!wrong.is_empty(), is_wrong, "{declared:?}: {wrong:?}");
        }
        Ok(())
    }

    #[test]
    fn a_shape_that_is_not_declared_is_observed_without_a_warning() -> anyhow::Result<()> {
        let mut signature = signature(&[]);
        assert_eq!(
            correct(&mut signature, &[None], &[output(&[2, 3])?]),
            [""; 0]
        );
        assert_eq!(signature.outputs[0].shape, dimensions(&[-1, -1]));
        Ok(())
    }

    #[test]
    fn declarations_that_an_inferred_shape_excludes_are_contradictions() {
        for (declared, inferred, is_wrong) in [
            ([1].as_slice(), [-1].as_slice(), true),
            (&[-1, 1], &[-1, 3], true),
            (&[-1], &[-1, 3], true),
            (&[-1, 300], &[-1, -1], false),
            (&[-1, -1], &[4, 3], false),
        ] {
            let wrong = contradictions(&[Some(dimensions(declared))], &signature(inferred));
            assert_eq!(!wrong.is_empty(), is_wrong, "{declared:?} {inferred:?}");
        }
        assert!(contradictions(&[None], &signature(&[1])).is_empty());
    }
}
