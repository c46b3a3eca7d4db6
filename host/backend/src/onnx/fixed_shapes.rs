//! Fixes variable axes of a model's inputs to sizes that its settings state.
//!
//! Other axes with the same name get the same size, so that a backend infers all shapes that follow.

use super::axis_symbols::is_symbol;
use crate::pb::tensor_shape_proto::{self, dimension};
use crate::pb::{ModelProto, TensorShapeProto, ValueInfoProto, type_proto};
use std::collections::{BTreeMap, HashMap};
use wisp_tensor::Dimension;
use wisp_tensor::signature::DimensionList;

/// Sets the axes of inputs to the fixed sizes in `shapes`, and returns whether the model has changed. An
/// error contains the input and the contradiction.
pub(crate) fn fix_shapes(
    model: &mut ModelProto,
    shapes: &BTreeMap<String, Vec<Dimension>>,
) -> Result<bool, String> {
    if shapes.is_empty() {
        return Ok(false);
    }
    let graph = (model.graph.as_mut()).ok_or("the file contains no graph")?;
    let mut symbols = HashMap::new();
    for (name, sizes) in shapes {
        let inputs: Vec<&str> = graph
            .input
            .iter()
            .map(|input| input.name.as_str())
            .collect();
        let Some(position) = inputs.iter().position(|input| input == name) else {
            return Err(format!(
                "a shape is set for input `{name}`, which the graph does not have; its inputs are: {}",
                inputs.join(", ")
            ));
        };
        fix_input(&mut graph.input[position], sizes, &mut symbols)?;
    }
    let values = graph.input.iter_mut().chain(&mut graph.output);
    for value in values.chain(&mut graph.value_info) {
        let axes = shape_of(value).into_iter().flat_map(|shape| &mut shape.dim);
        for axis in axes {
            if let Some(dimension::Value::DimParam(symbol)) = &axis.value
                && let Some(&size) = symbols.get(symbol)
            {
                axis.value = Some(dimension::Value::DimValue(size));
            }
        }
    }
    Ok(true)
}

fn shape_of(value: &mut ValueInfoProto) -> Option<&mut TensorShapeProto> {
    let declared = value.r#type.as_mut()?.value.as_mut()?;
    let type_proto::Value::TensorType(tensor) = declared;
    tensor.shape.as_mut()
}

/// Fixes the axes of one input, and adds the names of those axes with their sizes to `symbols`.
fn fix_input(
    input: &mut ValueInfoProto,
    sizes: &[Dimension],
    symbols: &mut HashMap<String, i64>,
) -> Result<(), String> {
    let name = input.name.clone();
    let set = || format!("{} is set for it", DimensionList(sizes));
    if let Some(type_proto::Value::TensorType(tensor)) =
        input.r#type.as_mut().and_then(|found| found.value.as_mut())
    {
        // An input without a declared rank gets the rank of the shape.
        tensor.shape.get_or_insert_with(|| TensorShapeProto {
            dim: vec![tensor_shape_proto::Dimension::default(); sizes.len()],
        });
    }
    let shape = shape_of(input).ok_or_else(|| format!("input `{name}` is not a tensor"))?;
    if shape.dim.len() != sizes.len() {
        let axes = shape.dim.len();
        return Err(format!("input `{name}` has {axes} axes, but {}", set()));
    }
    for (axis, (declared, size)) in shape.dim.iter_mut().zip(sizes).enumerate() {
        let Dimension::Fixed(size) = *size else {
            continue;
        };
        let size = i64::from(size);
        match &declared.value {
            Some(dimension::Value::DimValue(found)) if *found >= 0 && *found != size => {
                return Err(format!(
                    "axis {axis} of input `{name}` has {found} elements, but {}",
                    set()
                ));
            }
            Some(dimension::Value::DimParam(symbol)) if is_symbol(symbol) => {
                let known = *symbols.entry(symbol.clone()).or_insert(size);
                if known != size {
                    return Err(format!(
                        "axis {axis} of input `{name}` is `{symbol}`, which is {known} elsewhere, but {}",
                        set()
                    ));
                }
            }
            _ => {}
        }
        declared.value = Some(dimension::Value::DimValue(size));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{GraphProto, TypeProto};

    /// Returns a value whose axes are sizes, names, or `?` for neither.
    fn value(name: &str, axes: &[&str]) -> ValueInfoProto {
        let axes = axes.iter().map(|axis| tensor_shape_proto::Dimension {
            value: match axis.parse() {
                Ok(size) => Some(dimension::Value::DimValue(size)),
                Err(_) if *axis == "?" => None,
                Err(_) => Some(dimension::Value::DimParam((*axis).to_owned())),
            },
            ..Default::default()
        });
        let tensor = type_proto::Tensor {
            elem_type: 1,
            shape: Some(TensorShapeProto {
                dim: axes.collect(),
            }),
        };
        ValueInfoProto {
            name: name.to_owned(),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(tensor)),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn model() -> ModelProto {
        let graph = GraphProto {
            input: vec![value("x", &["n", "3", "h", "?"]), value("mask", &["h"])],
            output: vec![value("y", &["n", "h"])],
            ..Default::default()
        };
        ModelProto {
            graph: Some(graph),
            ..Default::default()
        }
    }

    fn fixed(shapes: &[(&str, &[i64])]) -> Result<Vec<Vec<Option<i64>>>, String> {
        let mut model = model();
        let shapes = shapes.iter().map(|(name, sizes)| {
            let sizes = sizes.iter().filter_map(|&size| Dimension::from_wire(size));
            ((*name).to_owned(), sizes.collect())
        });
        fix_shapes(&mut model, &shapes.collect())?;
        let graph = model.graph.unwrap_or_default();
        let sizes = |value: &ValueInfoProto| {
            let shape = shape_of(&mut value.clone()).cloned().unwrap_or_default();
            let sizes = shape.dim.iter().map(|axis| match axis.value {
                Some(dimension::Value::DimValue(size)) => Some(size),
                _ => None,
            });
            sizes.collect()
        };
        Ok(graph.input.iter().chain(&graph.output).map(sizes).collect())
    }

    #[test]
    fn axes_of_one_name_are_fixed_together() {
        let expected = vec![
            vec![Some(1), Some(3), Some(64), Some(32)],
            vec![Some(64)],
            vec![Some(1), Some(64)],
        ];
        assert_eq!(fixed(&[("x", &[1, 3, 64, 32])]), Ok(expected));
        let open = vec![
            vec![None, Some(3), Some(64), None],
            vec![Some(64)],
            vec![None, Some(64)],
        ];
        assert_eq!(fixed(&[("x", &[-1, -1, 64, -1])]), Ok(open));
    }

    #[test]
    fn shapes_that_contradict_the_file_are_refused_by_name() {
        for (shapes, reason) in [
            (
                [("z", [1].as_slice())].as_slice(),
                "its inputs are: x, mask",
            ),
            (&[("x", &[1, 3, 64])], "has 4 axes, but [1, 3, 64] is set"),
            (
                &[("x", &[1, 4, 64, 64])],
                "axis 1 of input `x` has 3 elements",
            ),
            (
                &[("mask", &[32]), ("x", &[1, 3, 64, 64])],
                "is `h`, which is 32 elsewhere",
            ),
        ] {
            let error = fixed(shapes).err().unwrap_or_default();
            assert!(error.contains(reason), "{error}");
        }
    }
}
