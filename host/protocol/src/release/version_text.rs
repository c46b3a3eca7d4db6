//! The JSON form of a version number: a string, as in V2. A number is accepted too.

use crate::call::Version;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Number(u64),
}

pub(super) fn serialize<S: Serializer>(
    version: &Version,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(version)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
    let text = match Written::deserialize(deserializer)? {
        Written::Text(text) => text,
        Written::Number(number) => number.to_string(),
    };
    Version::from_client(&text).ok_or_else(|| D::Error::custom("expected the number of a version"))
}

/// The same for a version that may be absent.
pub(super) mod optional {
    use crate::call::Version;
    use serde::{Deserializer, Serializer};

    pub(in crate::release) fn serialize<S: Serializer>(
        version: &Option<Version>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match version {
            Some(version) => super::serialize(version, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::release) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Version>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}
