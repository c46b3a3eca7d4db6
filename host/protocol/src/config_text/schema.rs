//! The messages of a model configuration, and the conversion of a text to JSON by their fields.
//!
//! The definitions come from the gRPC messages, so that every field of Triton's is known by name and type. A field
//! that a text does not have is absent from the result, whatever its default is.

use super::reader::{ReadError, TextField, TextValue};
use crate::grpc::message::FILE_DESCRIPTOR_SET;
use crate::quoted::Quoted;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The file with the definitions. It imports no other.
const DEFINITIONS: &str = "model_config.proto";

/// The message of a configuration.
const MODEL_CONFIG: &str = ".inference.ModelConfig";

/// The definitions that were compiled in. Lifetime: the process.
static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::new);

/// The messages and enums, by their full names with a dot before them.
struct Schema {
    messages: HashMap<String, DescriptorProto>,
    enums: HashMap<String, EnumDescriptorProto>,
}

/// Returns the members of a configuration.
pub(super) fn members(fields: &[TextField]) -> Result<Map<String, Value>, ReadError> {
    SCHEMA.members(fields, MODEL_CONFIG)
}

// === impl Schema ===

impl Schema {
    fn new() -> Schema {
        let mut schema = Schema {
            messages: HashMap::new(),
            enums: HashMap::new(),
        };
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
        for file in set.file {
            if file.name() != DEFINITIONS {
                continue;
            }
            let package = format!(".{}", file.package());
            for message in &file.message_type {
                schema.add(&package, message);
            }
            for names in file.enum_type {
                let name = format!("{package}.{}", names.name());
                schema.enums.insert(name, names);
            }
        }
        schema
    }

    /// Adds a message and those within it.
    fn add(&mut self, scope: &str, message: &DescriptorProto) {
        let scope = format!("{scope}.{}", message.name());
        for inner in &message.nested_type {
            self.add(&scope, inner);
        }
        for names in &message.enum_type {
            let name = format!("{scope}.{}", names.name());
            self.enums.insert(name, names.clone());
        }
        self.messages.insert(scope, message.clone());
    }

    fn members(
        &self,
        fields: &[TextField],
        message: &str,
    ) -> Result<Map<String, Value>, ReadError> {
        let mut members = Map::new();
        for field in fields {
            let definition = self.messages.get(message);
            let mut definitions = definition.into_iter().flat_map(|message| &message.field);
            let definition = definitions.find(|definition| definition.name() == field.name);
            let definition = definition.ok_or_else(|| {
                let of = message.rsplit('.').next().unwrap_or_default();
                let name = Quoted::new(&field.name);
                error(field, format!("{of} has no field {name}"))
            })?;
            let is_repeated = definition.label() == Label::Repeated;
            let values = match &field.value {
                TextValue::List(values) if is_repeated => values.as_slice(),
                value => std::slice::from_ref(value),
            };
            if self.is_map(definition) {
                let entries = members.entry(field.name.clone());
                let entries = entries.or_insert_with(|| Value::Object(Map::new()));
                for value in values {
                    let (key, value) = self.entry(field, value, definition)?;
                    if let Value::Object(entries) = entries {
                        entries.insert(key, value);
                    }
                }
            } else if is_repeated {
                let list = members.entry(field.name.clone());
                let list = list.or_insert_with(|| Value::Array(Vec::new()));
                for value in values {
                    let value = self.value(field, value, definition)?;
                    if let Value::Array(list) = list {
                        list.push(value);
                    }
                }
            } else {
                let value = self.value(field, &field.value, definition)?;
                if members.insert(field.name.clone(), value).is_some() {
                    let name = Quoted::new(&field.name);
                    return Err(error(field, format!("{name} is set twice")));
                }
            }
        }
        Ok(members)
    }

    /// Returns whether the elements of a field are pairs of a key and a value.
    fn is_map(&self, definition: &FieldDescriptorProto) -> bool {
        let message = self.messages.get(definition.type_name());
        let options = message.and_then(|message| message.options.as_ref());
        options.is_some_and(|options| options.map_entry())
    }

    /// Returns the key and the value of an element of a map.
    fn entry(
        &self,
        field: &TextField,
        value: &TextValue,
        definition: &FieldDescriptorProto,
    ) -> Result<(String, Value), ReadError> {
        let Value::Object(mut entry) = self.value(field, value, definition)? else {
            return Err(invalid(field, "a message in braces"));
        };
        let key = match entry.remove("key") {
            Some(Value::String(key)) => key,
            Some(key) => key.to_string(),
            None => String::new(),
        };
        let value = entry.remove("value").unwrap_or_else(|| {
            let message = self.messages.get(definition.type_name());
            let mut fields = message.into_iter().flat_map(|message| &message.field);
            let value = fields.find(|field| field.name() == "value");
            match value.map(|value| value.r#type()) {
                Some(Type::Message) => Value::Object(Map::new()),
                _ => Value::String(String::new()),
            }
        });
        Ok((key, value))
    }

    /// Converts a value of a field, or one of its values.
    fn value(
        &self,
        field: &TextField,
        value: &TextValue,
        definition: &FieldDescriptorProto,
    ) -> Result<Value, ReadError> {
        let ranged = |least: i128, most: i128| match value {
            TextValue::Word(word) => {
                let number = integer(word).filter(|number| (least..=most).contains(number));
                let number = number.and_then(json_integer);
                number.ok_or_else(|| invalid(field, &format!("an integer from {least} to {most}")))
            }
            _ => Err(invalid(field, "an integer")),
        };
        match definition.r#type() {
            Type::Message | Type::Group => match value {
                TextValue::Message(fields) => {
                    let members = self.members(fields, definition.type_name());
                    members.map(Value::Object)
                }
                _ => Err(invalid(field, "a message in braces")),
            },
            Type::String | Type::Bytes => match value {
                TextValue::Text(text) => Ok(Value::String(text.clone())),
                _ => Err(invalid(field, "a text in quotation marks")),
            },
            Type::Bool => match value {
                TextValue::Word(word) => match word.as_str() {
                    "true" | "True" | "t" | "1" => Ok(Value::Bool(true)),
                    "false" | "False" | "f" | "0" => Ok(Value::Bool(false)),
                    _ => Err(invalid(field, "`true` or `false`")),
                },
                _ => Err(invalid(field, "`true` or `false`")),
            },
            Type::Enum => self.enum_value(field, value, definition),
            Type::Float | Type::Double => match value {
                TextValue::Word(word) => {
                    let number = word.trim_end_matches(['f', 'F']).parse::<f64>().ok();
                    let number = number.and_then(Number::from_f64);
                    number
                        .map(Value::Number)
                        .ok_or_else(|| invalid(field, "a finite number"))
                }
                _ => Err(invalid(field, "a number")),
            },
            Type::Int32 | Type::Sint32 | Type::Sfixed32 => {
                ranged(i128::from(i32::MIN), i128::from(i32::MAX))
            }
            Type::Int64 | Type::Sint64 | Type::Sfixed64 => {
                ranged(i128::from(i64::MIN), i128::from(i64::MAX))
            }
            Type::Uint32 | Type::Fixed32 => ranged(0, i128::from(u32::MAX)),
            Type::Uint64 | Type::Fixed64 => ranged(0, i128::from(u64::MAX)),
        }
    }

    /// Returns the name of an enum's value, which may be written as its number.
    fn enum_value(
        &self,
        field: &TextField,
        value: &TextValue,
        definition: &FieldDescriptorProto,
    ) -> Result<Value, ReadError> {
        let names = self.enums.get(definition.type_name());
        let mut names = names.into_iter().flat_map(|names| &names.value);
        let example = names.clone().next_back();
        let example = example.map_or("", |example| example.name()).to_owned();
        let named = match value {
            TextValue::Word(word) => {
                let number = integer(word);
                names.find(|named| {
                    named.name() == word || number == Some(i128::from(named.number()))
                })
            }
            _ => None,
        };
        let named = named.map(|named| Value::String(named.name().to_owned()));
        named.ok_or_else(|| {
            let word = match value {
                TextValue::Word(word) => Quoted::new(word).to_string(),
                _ => "its value".to_owned(),
            };
            let name = Quoted::new(&field.name);
            error(
                field,
                format!("{name}: {word} is not one of its names, such as `{example}`"),
            )
        })
    }
}

/// Returns an integer in one of the notations of the format: decimal, `0x` or octal.
fn integer(word: &str) -> Option<i128> {
    let (digits, is_negative) = match word.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (word, false),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let number = match (hexadecimal, digits.strip_prefix('0')) {
        (Some(digits), _) => i128::from_str_radix(digits, 16),
        (None, Some(digits)) if !digits.is_empty() => i128::from_str_radix(digits, 8),
        _ => digits.parse(),
    };
    let number = number.ok().filter(|number| *number >= 0)?;
    match is_negative {
        true => number.checked_neg(),
        false => Some(number),
    }
}

fn json_integer(number: i128) -> Option<Value> {
    match u64::try_from(number) {
        Ok(number) => Some(Value::from(number)),
        Err(_) => i64::try_from(number).ok().map(Value::from),
    }
}

fn invalid(field: &TextField, expected: &str) -> ReadError {
    let name = Quoted::new(&field.name);
    error(field, format!("{name} is not {expected}"))
}

fn error(field: &TextField, reason: String) -> ReadError {
    ReadError {
        line: field.line,
        reason,
    }
}
