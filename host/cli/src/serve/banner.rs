//! What `serve` prints when it is up: the models, their state, and a curl line for each that works
//! when pasted.
//!
//! The line comes from the shortest golden case that expects an answer; without cases, from the
//! signature, with zeros in it.

use crate::cases::{self, Case};
use crate::display;
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use wisp_protocol::call::{ModelDescription, ModelName};
use wisp_serving::registry::Registry;
use wisp_tensor::{Dimension, ElementType, TensorSpec};

/// A longer body does not fit a terminal; there is the model's README then.
const MAX_BODY: usize = 1500;

pub(crate) fn text(registry: &Registry, repository: &Path, address: SocketAddr) -> String {
    let mut text = String::new();
    let ready = registry.iter().filter(|(_, entry)| entry.state.is_ok());
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        text,
        "Wisp {} on http://{address}: {} of {} models ready\n",
        env!("CARGO_PKG_VERSION"),
        ready.count(),
        registry.iter().count()
    );
    for (name, entry) in registry.iter() {
        let version = entry
            .version
            .map_or("-".to_owned(), |version| version.to_string());
        let _ = match &entry.state {
            Ok(loaded) => {
                let line = curl(
                    loaded.description(),
                    &model_directory(repository, name),
                    address,
                );
                writeln!(text, "  {name} {version}  READY\n    {line}\n")
            }
            Err(reason) => writeln!(text, "  {name} {version}  UNAVAILABLE\n    {reason}\n"),
        };
    }
    text
}

/// Where the model's cases would be: below the repository, or the path itself for a single model.
fn model_directory(repository: &Path, name: &ModelName) -> std::path::PathBuf {
    let below = repository.join(name.as_str());
    if below.is_dir() {
        below
    } else {
        repository.to_owned()
    }
}

fn curl(model: &ModelDescription, directory: &Path, address: SocketAddr) -> String {
    let url = format!("http://{address}/v2/models/{}/infer", model.model);
    // A case that cannot be read is `check`'s to complain about.
    let cases = cases::load_all(directory).unwrap_or_default();
    let answered = || cases.iter().filter(|case| case.expects_outputs());
    if let Some(file) = answered().find_map(Case::only_file)
        && let Ok(file) = file.canonicalize()
    {
        return format!(
            "curl -s --data-binary @{} -H 'Inference-Header-Content-Length: 0' -H 'Accept: application/json' {url}",
            quoted(&display::path(&file))
        );
    }
    let body = answered()
        .filter(|case| !has_file(&case.request))
        .map(|case| case.request.to_string())
        .min_by_key(String::len)
        .unwrap_or_else(|| sample(model).to_string());
    if body.len() > MAX_BODY {
        return format!("curl -s http://{address}/v2/models/{}", model.model);
    }
    format!("curl -s -d {} {url}", quoted(&body))
}

fn has_file(request: &Value) -> bool {
    let inputs = request["inputs"].as_array();
    inputs.is_some_and(|inputs| inputs.iter().any(|input| input.get("file").is_some()))
}

/// A request with the required inputs, zeros in all of them, one where the size is free.
fn sample(model: &ModelDescription) -> Value {
    let required = model.signature.inputs.iter().filter(|spec| !spec.optional);
    let inputs: Vec<_> = required.map(sample_input).collect();
    json!({ "inputs": inputs })
}

fn sample_input(spec: &TensorSpec) -> Value {
    let shape: Vec<u32> = spec
        .shape
        .iter()
        .map(|dimension| match dimension {
            Dimension::Fixed(size) => *size,
            Dimension::Variable => 1,
        })
        .collect();
    let elements = shape.iter().map(|&size| size as usize).product();
    let element = match spec.element_type {
        ElementType::Bool => json!(false),
        ElementType::Bytes => json!(""),
        _ => json!(0),
    };
    json!({
        "name": spec.name,
        "datatype": spec.element_type.name(),
        "shape": shape,
        "data": vec![element; elements],
    })
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_read_otherwise_is_quoted() {
        assert_eq!(quoted("a/b-c_1.png"), "a/b-c_1.png");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
