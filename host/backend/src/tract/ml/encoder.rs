//! `LabelEncoder`: replaces each element by its value in a table.

use super::attribute::{self, ml_version};
use super::operator::{Built, Fact, Kernel, built, elements};
use std::collections::BTreeMap;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{NodeProto, TensorProto};
use tract_onnx::prelude::{Datum, DatumType, TValue, TVec, Tensor, TractResult, tensor1, tvec};
use tract_onnx::tract_core::internal::{bail, ensure};

struct LabelEncoder {
    /// The position of each key among the values; the first one of a repeated key.
    keys: Keys,
    /// The values in the order of the keys, followed by the one for elements without a key.
    values: Tensor,
}

enum Keys {
    Ints(BTreeMap<i64, usize>),
    /// The keys by [`float_key`].
    Floats(BTreeMap<u64, usize>, DatumType),
    Strings(BTreeMap<String, usize>),
}

pub(super) fn build(context: &ParsingContext, node: &NodeProto) -> Built {
    let classes = attribute::strings(node, "classes_strings")?;
    let encoder = match classes.is_empty() {
        true => LabelEncoder {
            keys: Keys::parse(context, node)?,
            values: parse_values(context, node)?,
        },
        false => with_positions(node, classes)?,
    };
    let keys = match &encoder.keys {
        Keys::Ints(keys) => keys.len(),
        Keys::Floats(keys, _) => keys.len(),
        Keys::Strings(keys) => keys.len(),
    };
    node.expect(keys < encoder.values.len(), "as many values as keys")?;
    built(node, encoder)
}

/// Parses the first version of the operator, which mapped only between strings and their positions. The
/// direction depends on the graph; exporters of that time sent strings.
fn with_positions(node: &NodeProto, classes: Vec<String>) -> TractResult<LabelEncoder> {
    let default: i64 = node.get_attr_opt("default_int64")?.unwrap_or(-1);
    let positions = (0..).take(classes.len()).chain([default]);
    let values = tensor1(&positions.collect::<Vec<i64>>());
    let keys = Keys::Strings(first_positions(classes));
    Ok(LabelEncoder { keys, values })
}

fn first_positions<K: Ord>(keys: impl IntoIterator<Item = K>) -> BTreeMap<K, usize> {
    let mut positions = BTreeMap::new();
    for (position, key) in keys.into_iter().enumerate() {
        positions.entry(key).or_insert(position);
    }
    positions
}

/// Returns a float as a key: both zeros are equal, and all NaNs are equal.
fn float_key(value: f64) -> u64 {
    match value {
        value if value.is_nan() => f64::NAN.to_bits(),
        0.0 => 0,
        value => value.to_bits(),
    }
}

impl Keys {
    fn parse(context: &ParsingContext, node: &NodeProto) -> TractResult<Keys> {
        let ints = attribute::ints(node, "keys_int64s")?;
        let floats = attribute::floats(node, "keys_floats")?;
        let strings = attribute::strings(node, "keys_strings")?;
        let tensor = match node.get_attr_opt::<&TensorProto>("keys_tensor")? {
            Some(tensor) => Some(context.load_tensor(tensor)?),
            None => None,
        };
        // Before version 4, NaN matched no key.
        let floats_found = |floats: Vec<f64>, datum_type| {
            let keys = floats.into_iter().map(float_key);
            let mut keys = first_positions(keys);
            if ml_version(context) < 4 {
                keys.remove(&float_key(f64::NAN));
            }
            Keys::Floats(keys, datum_type)
        };
        match (ints.len(), floats.len(), strings.len(), tensor) {
            (1.., 0, 0, None) => Ok(Keys::Ints(first_positions(ints))),
            (0, 1.., 0, None) => {
                let floats = floats.into_iter().map(f64::from).collect();
                Ok(floats_found(floats, DatumType::F32))
            }
            (0, 0, 1.., None) => Ok(Keys::Strings(first_positions(strings))),
            (0, 0, 0, Some(tensor)) => match tensor.datum_type() {
                DatumType::I64 => {
                    let ints = elements::<i64>(&tensor)?.iter().copied();
                    Ok(Keys::Ints(first_positions(ints)))
                }
                datum_type @ (DatumType::F32 | DatumType::F64) => {
                    let floats = tensor.cast_to::<f64>()?;
                    let floats = elements::<f64>(&floats)?.to_vec();
                    Ok(floats_found(floats, datum_type))
                }
                DatumType::String => {
                    let strings = elements::<String>(&tensor)?.iter().cloned();
                    Ok(Keys::Strings(first_positions(strings)))
                }
                other => node.bail_attr("keys_tensor", &format!("cannot be {other:?}")),
            },
            _ => node.bail("expected keys in exactly one of keys_int64s, keys_floats, keys_strings, keys_tensor"),
        }
    }

    fn datum_type(&self) -> DatumType {
        match self {
            Keys::Ints(_) => DatumType::I64,
            Keys::Floats(_, datum_type) => *datum_type,
            Keys::Strings(_) => DatumType::String,
        }
    }
}

/// Returns the values, followed by the default.
fn parse_values(context: &ParsingContext, node: &NodeProto) -> TractResult<Tensor> {
    let ints = attribute::ints(node, "values_int64s")?;
    let floats = attribute::floats(node, "values_floats")?;
    let strings = attribute::strings(node, "values_strings")?;
    let load = |name| -> TractResult<Option<Tensor>> {
        let tensor = node.get_attr_opt::<&TensorProto>(name)?;
        tensor.map(|tensor| context.load_tensor(tensor)).transpose()
    };
    let default = load("default_tensor")?;
    let default_int = || Ok(node.get_attr_opt("default_int64")?.unwrap_or(-1));
    let default_float = || Ok(node.get_attr_opt("default_float")?.unwrap_or(-0.0));
    let default_string = || {
        let text = node.get_attr_opt::<String>("default_string")?;
        Ok(text.unwrap_or_else(|| "_Unused".to_owned()))
    };
    match (ints.len(), floats.len(), strings.len(), load("values_tensor")?) {
        (1.., 0, 0, None) => with_default(ints, default, default_int),
        (0, 1.., 0, None) => with_default(floats, default, default_float),
        (0, 0, 1.., None) => with_default(strings, default, default_string),
        (0, 0, 0, Some(values)) => match values.datum_type() {
            DatumType::I64 => with_default(elements::<i64>(&values)?.to_vec(), default, default_int),
            DatumType::F32 => with_default(elements::<f32>(&values)?.to_vec(), default, default_float),
            DatumType::F64 => {
                with_default(elements::<f64>(&values)?.to_vec(), default, || Ok(-0.0))
            }
            DatumType::I16 => with_default(elements::<i16>(&values)?.to_vec(), default, || Ok(-1)),
            DatumType::String => {
                with_default(elements::<String>(&values)?.to_vec(), default, default_string)
            }
            other => node.bail_attr("values_tensor", &format!("cannot be {other:?}")),
        },
        _ => node.bail("expected values in exactly one of values_int64s, values_floats, values_strings, values_tensor"),
    }
}

fn with_default<D: Datum>(
    mut values: Vec<D>,
    default: Option<Tensor>,
    otherwise: impl FnOnce() -> TractResult<D>,
) -> TractResult<Tensor> {
    values.push(match default {
        Some(tensor) => match elements::<D>(&tensor)? {
            [value] => value.clone(),
            _ => bail!("LabelEncoder needs one value in default_tensor"),
        },
        None => otherwise()?,
    });
    Ok(tensor1(&values))
}

impl Kernel for LabelEncoder {
    fn name(&self) -> &'static str {
        "LabelEncoder"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(datum_type, shape)] = inputs else {
            bail!("LabelEncoder takes one input");
        };
        let expected = self.keys.datum_type();
        // Symbolic sizes become integers once they have values.
        let is_int = *datum_type == DatumType::TDim && expected == DatumType::I64;
        ensure!(
            *datum_type == expected || is_int,
            "LabelEncoder has keys of type {expected:?}, its input is {datum_type:?}"
        );
        Ok(tvec![(self.values.datum_type(), shape.clone())])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let input = &inputs[0];
        let default = self.values.len() - 1;
        let positions: Vec<usize> = match &self.keys {
            Keys::Ints(keys) => elements::<i64>(&*input.cast_to::<i64>()?)?
                .iter()
                .map(|key| keys.get(key).copied().unwrap_or(default))
                .collect(),
            Keys::Floats(keys, _) => elements::<f64>(&*input.cast_to::<f64>()?)?
                .iter()
                .map(|key| keys.get(&float_key(*key)).copied().unwrap_or(default))
                .collect(),
            Keys::Strings(keys) => elements::<String>(input)?
                .iter()
                .map(|key| keys.get(key).copied().unwrap_or(default))
                .collect(),
        };
        let encoded = match self.values.datum_type() {
            DatumType::I64 => gather::<i64>(&self.values, &positions),
            DatumType::I16 => gather::<i16>(&self.values, &positions),
            DatumType::F32 => gather::<f32>(&self.values, &positions),
            DatumType::F64 => gather::<f64>(&self.values, &positions),
            _ => gather::<String>(&self.values, &positions),
        };
        Ok(tvec![encoded?.into_shape(input.shape())?])
    }
}

fn gather<D: Datum>(values: &Tensor, positions: &[usize]) -> TractResult<Tensor> {
    let values = elements::<D>(values)?;
    let gathered: Vec<D> = positions.iter().map(|&at| values[at].clone()).collect();
    Ok(tensor1(&gathered))
}
