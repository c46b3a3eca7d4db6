//! `wisp:handler/configuration`: the settings and files that the manifest contained.

use super::Component;
use super::bindings::exports::wisp::handler::configuration::{Guest, Value};
use crate::configuration::Configuration;
use crate::provider::{Provider, provider};
use wisp_edge::provider::ConfigValue;

impl Guest for Component {
    fn get(key: String) -> Option<Value> {
        Some(match configuration()?.value(&key)?.clone() {
            ConfigValue::Bool(value) => Value::Bool(value),
            ConfigValue::Integer(value) => Value::Integer(value),
            ConfigValue::Float(value) => Value::Float(value),
            ConfigValue::String(value) => Value::String(value),
            ConfigValue::Bools(values) => Value::Bools(values),
            ConfigValue::Integers(values) => Value::Integers(values),
            ConfigValue::Floats(values) => Value::Floats(values),
            ConfigValue::Strings(values) => Value::Strings(values),
        })
    }

    fn keys() -> Vec<String> {
        configuration().map(Configuration::keys).unwrap_or_default()
    }

    fn file_size(name: String) -> Option<u64> {
        configuration()?.file_size(&name)
    }

    fn read_file(name: String, offset: u64, length: u32) -> Option<Vec<u8>> {
        Some(configuration()?.read(&name, offset, length)?.to_vec())
    }
}

fn configuration() -> Option<&'static Configuration> {
    provider().map(Provider::configuration)
}
