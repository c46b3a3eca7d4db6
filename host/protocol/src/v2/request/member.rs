//! The serde types for the members of a request's JSON.
//!
//! Visitors are written by hand where a derived one would expose a Rust type name to the client,
//! accept an array in place of an object, or let an array grow without a limit.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use wisp_tensor::shape::MAX_RANK;
use wisp_tensor::{Parameter, ParameterValue};

use crate::call::Scheduling;
use crate::quoted::Quoted;
use crate::v2::limits::{MAX_NAME_BYTES, MAX_PARAMETERS, MAX_TENSORS, ReservedParameter, schedule};

#[derive(Deserialize)]
pub(super) struct Request<'a> {
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) parameters: Option<Parameters>,
    #[serde(borrow)]
    pub(super) inputs: Objects<Input<'a>>,
    #[serde(default)]
    pub(super) outputs: Option<Objects<Output>>,
}

#[derive(Deserialize)]
pub(super) struct Input<'a> {
    pub(super) name: String,
    pub(super) shape: Sizes,
    #[serde(borrow)]
    pub(super) datatype: Cow<'a, str>,
    #[serde(default)]
    pub(super) parameters: Option<TensorParameters<InputParameters>>,
    /// The JSON text of the elements, decoded once the datatype and the shape are known.
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
pub(super) struct InputParameters {
    #[serde(default)]
    pub(super) binary_data_size: Option<ByteCount>,
    #[serde(default)]
    pub(super) shared_memory_region: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct Output {
    pub(super) name: String,
    #[serde(default)]
    pub(super) parameters: Option<TensorParameters<OutputParameters>>,
}

#[derive(Deserialize, Default)]
pub(super) struct OutputParameters {
    #[serde(default)]
    pub(super) binary_data: Option<bool>,
    #[serde(default)]
    pub(super) classification: Option<ClassCount>,
    #[serde(default)]
    pub(super) shared_memory_region: Option<IgnoredAny>,
}

/// A `T` that must be written as a JSON object.
pub(crate) struct Object<T>(pub(crate) T);

/// The parameters of an input or output: a `T` that is written as a JSON object.
///
/// An array means no parameters, as in Triton: PHP writes an empty map as `[]`.
pub(super) struct TensorParameters<T>(pub(super) T);

/// A JSON array of at most [`MAX_TENSORS`] objects.
pub(super) struct Objects<T>(pub(super) Vec<T>);

/// The size of each axis of a tensor, at most [`MAX_RANK`] of them.
pub(super) struct Sizes(pub(super) Vec<u32>);

/// A number of bytes, declared by the client.
pub(super) struct ByteCount(pub(super) u64);

/// A number of classes, requested by the client.
pub(super) struct ClassCount(pub(super) u64);

/// The parameters of a request. Of the reserved ones, it has those that have an effect.
#[derive(Default)]
pub(super) struct Parameters {
    pub(super) binary_data_output: Option<bool>,
    pub(super) scheduling: Scheduling,
    pub(super) own: Vec<Parameter>,
}

// === impl Object ===

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

// === impl TensorParameters ===

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for TensorParameters<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ParametersOrArray<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for ParametersOrArray<T> {
            type Value = TensorParameters<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TensorParameters<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(TensorParameters)
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> Result<TensorParameters<T>, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(TensorParameters(T::default()))
            }
        }

        deserializer.deserialize_any(ParametersOrArray(PhantomData))
    }
}

// === impl Objects ===

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Objects<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = ListVisitor::<Object<T>> {
            expecting: "an array of objects",
            limit: MAX_TENSORS,
            element: PhantomData,
        };
        let list = deserializer.deserialize_seq(visitor)?;
        Ok(Objects(
            list.into_iter().map(|Object(element)| element).collect(),
        ))
    }
}

/// Reads an array of at most `limit` elements, without reserving memory in advance.
struct ListVisitor<T> {
    expecting: &'static str,
    limit: usize,
    element: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            if elements.len() == self.limit {
                let limit = self.limit;
                return Err(Error::custom(format_args!(
                    "more than {limit} elements in {}",
                    self.expecting
                )));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

// === impl Sizes ===

impl<'de> Deserialize<'de> for Sizes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = ListVisitor::<Size> {
            expecting: "an array of dimensions",
            limit: MAX_RANK,
            element: PhantomData,
        };
        let list = deserializer.deserialize_seq(visitor)?;
        Ok(Sizes(list.into_iter().map(|Size(size)| size).collect()))
    }
}

struct Size(u32);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a dimension from 0 to 4294967295";
        let size = deserializer.deserialize_u64(NaturalVisitor(EXPECTED))?;
        let size = u32::try_from(size)
            .map_err(|_| Error::invalid_value(Unexpected::Unsigned(size), &EXPECTED))?;
        Ok(Size(size))
    }
}

// === impl ByteCount ===

impl<'de> Deserialize<'de> for ByteCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_u64(NaturalVisitor("a number of bytes"))
            .map(ByteCount)
    }
}

// === impl ClassCount ===

impl<'de> Deserialize<'de> for ClassCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_u64(NaturalVisitor("a number of classes"))
            .map(ClassCount)
    }
}

/// Reads an integer that is not negative. The field describes it in error messages.
struct NaturalVisitor(&'static str);

impl Visitor<'_> for NaturalVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }
}

// === impl Parameters ===

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ParametersVisitor)
    }
}

struct ParametersVisitor;

impl<'de> Visitor<'de> for ParametersVisitor {
    type Value = Parameters;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
        let mut parameters = Parameters::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == "binary_data_output" {
                if parameters.binary_data_output.is_some() {
                    return Err(repeated(&name));
                }
                parameters.binary_data_output = Some(map.next_value()?);
            } else if let Some(reserved) = ReservedParameter::from_name(&name) {
                if reserved == ReservedParameter::Any {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                let value = map.next_value_seed(ValueSeed { name: &name })?;
                if !reserved.takes(&value) {
                    let (name, expected) = (Quoted::new(&name), reserved.expected());
                    return Err(Error::custom(format_args!(
                        "parameter {name} must be {expected}"
                    )));
                }
                schedule(&mut parameters.scheduling, &name, &value);
            } else if name.len() > MAX_NAME_BYTES {
                return Err(Error::custom(format_args!(
                    "the name of a parameter is longer than {MAX_NAME_BYTES} bytes"
                )));
            } else {
                if parameters
                    .own
                    .iter()
                    .any(|parameter| parameter.name == name)
                {
                    return Err(repeated(&name));
                }
                if parameters.own.len() == MAX_PARAMETERS {
                    return Err(Error::custom(format_args!(
                        "more than {MAX_PARAMETERS} parameters"
                    )));
                }
                let value = map.next_value_seed(ValueSeed { name: &name })?;
                parameters.own.push(Parameter { name, value });
            }
        }
        Ok(parameters)
    }
}

fn repeated<E: Error>(name: &str) -> E {
    E::custom(format_args!(
        "parameter {} is given twice",
        Quoted::new(name)
    ))
}

/// Reads the value of the parameter with this name, which error messages contain.
struct ValueSeed<'a> {
    name: &'a str,
}

impl<'de> serde::de::DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ParameterValue;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<ParameterValue, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for ValueSeed<'_> {
    type Value = ParameterValue;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = Quoted::new(self.name);
        write!(
            f,
            "parameter {name} to be true, false, a number or a string"
        )
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<ParameterValue, E> {
        Ok(ParameterValue::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<ParameterValue, E> {
        Ok(ParameterValue::Int64(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<ParameterValue, E> {
        Ok(match i64::try_from(value) {
            Ok(value) => ParameterValue::Int64(value),
            Err(_) => ParameterValue::Uint64(value),
        })
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<ParameterValue, E> {
        Ok(ParameterValue::Double(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<ParameterValue, E> {
        Ok(ParameterValue::String(value.to_owned()))
    }
}
