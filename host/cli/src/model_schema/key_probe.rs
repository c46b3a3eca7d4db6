//! Reads the keys of a file from the structures that it is deserialized into.
//!
//! A structure passes the names of its fields to its deserializer. [`shape`] deserializes along one path of keys and
//! stops at its end, with an error that contains what is expected there. The schema is made of these shapes, so
//! a new field is part of it without another change.

use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, Visitor};
use std::fmt::{self, Display};

/// The element of a path that stands for any name, in a table whose keys are names.
pub(super) const ANY_NAME: &str = "<name>";

/// The element of a path that stands for a key of a table among the possible values. No table has it.
const NO_KEY: &str = "<no key>";

/// The value at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A table with these keys.
    Table(&'static [&'static str]),
    /// A table whose keys are names.
    Names,
    /// A value of this JSON type; `None` if several are possible.
    Value(Option<&'static str>),
}

/// The end of a path.
#[derive(Debug)]
enum Stop {
    Found(Shape),
    Failed(String),
}

/// A deserializer that follows a path of keys.
#[derive(Debug, Clone, Copy)]
struct KeyProbe<'p> {
    path: &'p [&'p str],
}

/// A table with a single key, and the path from its value on.
#[derive(Debug)]
struct OneKey<'p> {
    key: Option<&'p str>,
    value: KeyProbe<'p>,
}

/// Returns the shape of the value at this path in a file that is deserialized into `T`.
pub(super) fn shape<'de, T: Deserialize<'de>>(path: &[&str]) -> Result<Shape, String> {
    match T::deserialize(KeyProbe { path }) {
        Err(Stop::Found(shape)) => Ok(shape),
        Err(Stop::Failed(reason)) => Err(reason),
        Ok(_) => Err(format!("`{}` is not deserialized", path.join("."))),
    }
}

/// Returns the keys of the table that is one of the possible values at this path, if the shape there is that of a value of
/// several types.
pub(super) fn table_among<'de, T: Deserialize<'de>>(
    path: &[&str],
    shape_there: Shape,
) -> Option<&'static [&'static str]> {
    if shape_there != Shape::Value(None) {
        return None;
    }
    match shape::<T>(&[path, &[NO_KEY]].concat()) {
        Ok(Shape::Table(keys)) => Some(keys),
        _ => None,
    }
}

// === impl Stop ===

impl Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Found(shape) => write!(f, "found {shape:?}"),
            Stop::Failed(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: Display>(reason: T) -> Stop {
        Stop::Failed(reason.to_string())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Stop {
        match field {
            NO_KEY => Stop::Found(Shape::Table(expected)),
            _ => Stop::Failed(format!("there is no `{field}`")),
        }
    }
}

// === impl KeyProbe ===

impl KeyProbe<'_> {
    /// Stops at a value of this shape.
    fn stop<T>(self, shape: Shape) -> Result<T, Stop> {
        Err(match self.path {
            [] => Stop::Found(shape),
            [key, ..] => Stop::Failed(format!("`{key}` is a key of no table")),
        })
    }

    /// Follows the path into a table, or stops at it.
    fn enter<'de, V: Visitor<'de>>(self, shape: Shape, visitor: V) -> Result<V::Value, Stop> {
        match self.path.split_first() {
            None => self.stop(shape),
            Some((&key, path)) => visitor.visit_map(OneKey {
                key: Some(key),
                value: KeyProbe { path },
            }),
        }
    }
}

/// Defines methods that stop at a value of a type.
macro_rules! values {
    ($($method:ident($($argument:ty),*) => $kind:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, $(_: $argument,)* _: V) -> Result<V::Value, Stop> {
            self.stop(Shape::Value($kind))
        })*
    };
}

impl<'de> Deserializer<'de> for KeyProbe<'_> {
    type Error = Stop;

    values! {
        deserialize_ignored_any() => None;
        deserialize_unit() => None;
        deserialize_unit_struct(&'static str) => None;
        deserialize_bool() => Some("boolean");
        deserialize_i8() => Some("integer");
        deserialize_i16() => Some("integer");
        deserialize_i32() => Some("integer");
        deserialize_i64() => Some("integer");
        deserialize_u8() => Some("integer");
        deserialize_u16() => Some("integer");
        deserialize_u32() => Some("integer");
        deserialize_u64() => Some("integer");
        deserialize_f32() => Some("number");
        deserialize_f64() => Some("number");
        deserialize_char() => Some("string");
        deserialize_str() => Some("string");
        deserialize_string() => Some("string");
        deserialize_identifier() => Some("string");
        deserialize_enum(&'static str, &'static [&'static str]) => Some("string");
        deserialize_bytes() => Some("array");
        deserialize_byte_buf() => Some("array");
        deserialize_seq() => Some("array");
        deserialize_tuple(usize) => Some("array");
        deserialize_tuple_struct(&'static str, usize) => Some("array");
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.enter(Shape::Value(None), visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.enter(Shape::Names, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.enter(Shape::Table(keys), visitor)
    }
}

// === impl OneKey ===

impl<'de> MapAccess<'de> for OneKey<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Stop> {
        let key = self.key.take().map(StrDeserializer::<Stop>::new);
        key.map(|key| seed.deserialize(key)).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        seed.deserialize(self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    #[allow(dead_code, reason = "only the names and types of the fields are read")]
    struct File {
        number: Option<u32>,
        either: Either,
        word: WordOrInner,
        tables: BTreeMap<String, Inner>,
        free: BTreeMap<String, toml::Value>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    #[allow(dead_code, reason = "only the names and types of the fields are read")]
    struct Inner {
        list: Vec<i64>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[allow(dead_code, reason = "only the names and types of the fields are read")]
    enum Either {
        Text(String),
        Number(u64),
    }

    /// A word or a table. What it is decides the value, as for `batching`.
    #[derive(Debug, Default)]
    struct WordOrInner;

    impl<'de> Deserialize<'de> for WordOrInner {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WordOrInner, D::Error> {
            deserializer.deserialize_any(WordOrInner)
        }
    }

    impl<'de> Visitor<'de> for WordOrInner {
        type Value = WordOrInner;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a word or a table")
        }

        fn visit_str<E: de::Error>(self, _: &str) -> Result<WordOrInner, E> {
            Ok(self)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WordOrInner, A::Error> {
            Inner::deserialize(de::value::MapAccessDeserializer::new(map))?;
            Ok(self)
        }
    }

    impl Default for Either {
        fn default() -> Either {
            Either::Number(0)
        }
    }

    #[test]
    fn every_path_leads_to_the_shape_of_its_value() {
        let keys = Shape::Table(&["number", "either", "word", "tables", "free"]);
        for (path, expected) in [
            (&[][..], keys),
            (&["number"], Shape::Value(Some("integer"))),
            (&["either"], Shape::Value(None)),
            (&["word"], Shape::Value(None)),
            (&["word", "list"], Shape::Value(Some("array"))),
            (&["tables"], Shape::Names),
            (&["tables", ANY_NAME], Shape::Table(&["list"])),
            (&["tables", ANY_NAME, "list"], Shape::Value(Some("array"))),
            (&["free"], Shape::Names),
            (&["free", ANY_NAME], Shape::Value(None)),
        ] {
            assert_eq!(shape::<File>(path), Ok(expected), "{path:?}");
        }
        for path in [&["other"][..], &["number", "more"], &["word", "more"]] {
            assert!(shape::<File>(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_table_among_other_values_has_keys_too() -> Result<(), String> {
        for (path, expected) in [
            (&["word"][..], Some(&["list"][..])),
            (&["either"], None),
            (&["number"], None),
            (&["free", ANY_NAME], None),
            (&["tables", ANY_NAME], None),
        ] {
            let there = shape::<File>(path)?;
            assert_eq!(table_among::<File>(path, there), expected, "{path:?}");
        }
        Ok(())
    }
}
