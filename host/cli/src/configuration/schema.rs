//! The JSON schema of the configuration file, for editors.

use super::setting::{DefaultValue, Kind, Setting, settings};
use serde_json::{Map, Value, json};

/// Returns the schema. Draft 7 is the newest version that the editors' TOML language servers support.
pub(crate) fn schema() -> Value {
    let settings = settings();
    let properties = settings
        .iter()
        .map(|setting| (setting.key.clone(), property(setting)));
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of `wisp serve`",
        "type": "object",
        "additionalProperties": false,
        "properties": properties.collect::<Map<_, _>>(),
    })
}

fn property(setting: &Setting) -> Value {
    let mut value = match setting.kind {
        Kind::Boolean => json!({ "type": "boolean" }),
        // Each parser of an integer rejects 0.
        Kind::Integer => json!({ "type": "integer", "minimum": 1 }),
        Kind::Ratio => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Kind::String => json!({ "type": "string" }),
        Kind::Path => json!({ "type": "string", "minLength": 1 }),
    };
    if !setting.values.is_empty() {
        let names = setting.values.iter().map(|(name, _)| name.as_str());
        value["enum"] = names.collect();
    }
    if setting.is_list {
        value = json!({ "type": "array", "items": value });
    }
    value["description"] = setting.description.as_str().into();
    if let DefaultValue::Value(default) = &setting.default {
        value["default"] = match setting.kind {
            // Booleans and numbers are written in the same way in JSON.
            Kind::Boolean | Kind::Integer | Kind::Ratio => {
                serde_json::from_str(default).unwrap_or_default()
            }
            Kind::String | Kind::Path => default.as_str().into(),
        };
    }
    value
}
