//! Floats as the shortest texts that are read as the same floats.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One float.
pub(super) mod one {
    use super::{Deserialize, Deserializer, Serializer, parsed};

    pub(in super::super) fn serialize<S: Serializer>(
        float: &f64,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(float)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<f64, D::Error> {
        parsed(&String::deserialize(deserializer)?)
    }
}

/// An array of floats.
pub(super) mod many {
    use super::{Deserialize, Deserializer, Serialize, Serializer, parsed};

    pub(in super::super) fn serialize<S: Serializer>(
        floats: &[f64],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let texts: Vec<String> = floats.iter().map(f64::to_string).collect();
        texts.serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<f64>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| parsed(text)).collect()
    }
}

fn parsed<E: Error>(text: &str) -> Result<f64, E> {
    text.parse()
        .map_err(|_| E::custom(format_args!("`{text}` is not a float")))
}
