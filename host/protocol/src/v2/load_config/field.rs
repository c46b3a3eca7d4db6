//! The members of a model configuration in JSON, and the readings of their values that protobuf allows.

use super::error::LoadConfigError;
use crate::quoted::Quoted;
use serde_json::{Map, Value};

/// A member of the configuration, which is not `null`.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a Value,
}

/// Returns the members that are not `null`.
pub(super) fn fields(object: &Map<String, Value>) -> impl Iterator<Item = Field<'_>> {
    let fields = object.iter().map(|(name, value)| Field { name, value });
    fields.filter(|field| !field.value.is_null())
}

impl<'a> Field<'a> {
    /// Returns the name in snake case.
    pub(super) fn snake_case(self) -> String {
        let mut name = String::with_capacity(self.name.len());
        for character in self.name.chars() {
            if character.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(character.to_ascii_lowercase());
        }
        name
    }

    /// Returns the text; `None` if it is empty, which is the default in protobuf.
    pub(super) fn text(self) -> Result<Option<String>, LoadConfigError> {
        let text = self
            .value
            .as_str()
            .ok_or_else(|| self.invalid("a string"))?;
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    pub(super) fn number(self) -> Result<u32, LoadConfigError> {
        let number = integer(self.value).and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| self.invalid("an integer from 0 to 4294967295"))
    }

    pub(super) fn list(self) -> Result<&'a [Value], LoadConfigError> {
        let list = self.value.as_array().map(Vec::as_slice);
        list.ok_or_else(|| self.invalid("an array"))
    }

    pub(super) fn object(self) -> Result<&'a Map<String, Value>, LoadConfigError> {
        let object = self.value.as_object();
        object.ok_or_else(|| self.invalid("an object"))
    }

    /// Returns an error unless the value equals that of an absent member.
    pub(super) fn expect_default(self) -> Result<(), LoadConfigError> {
        match is_default(self.value) {
            true => Ok(()),
            false => Err(self.unsupported()),
        }
    }

    pub(super) fn unsupported(self) -> LoadConfigError {
        LoadConfigError::Unsupported(Quoted::new(self.name))
    }

    pub(super) fn unknown(self) -> LoadConfigError {
        LoadConfigError::Unknown(Quoted::new(self.name))
    }

    pub(super) fn invalid(self, expected: &'static str) -> LoadConfigError {
        LoadConfigError::Value {
            name: Quoted::new(self.name),
            expected,
        }
    }
}

/// Returns an integer, which may be written as a string.
pub(super) fn integer(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    }
}

/// Returns whether a value consists of defaults only.
pub(crate) fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.values().all(is_default),
    }
}
