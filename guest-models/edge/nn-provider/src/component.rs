//! The exports of the module: the bindings of the world `wisp:edge/nn-provider`, and the conversion between its
//! types and those of this crate. Generated types are used in this module only. Compiled for Wasm only.

pub mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "../wit"],
        world: "wisp:edge/nn-provider",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "wisp_nn_provider::component::bindings",
        generate_all,
    });
}

mod settings;
mod wasi_nn;
mod wire;

pub use bindings::export_component;

use crate::log_line::{Level, line};
use crate::model::{ModelFailure, infer};
use crate::provider::provider;
use bindings::exports::wasi::logging::logging;
use bindings::exports::wisp::handler::model;
use bindings::wasi::cli::stderr::get_stderr;

/// The implementation of all exported interfaces.
#[derive(Debug)]
pub struct Component;

/// The largest number of bytes that one call of a stream takes.
const MAX_WRITE: usize = 4096;

/// The context of lines that are not the handler's.
const OWN_CONTEXT: &str = "nn";

/// Writes a line to the standard error output. A host that does not take it loses it.
fn write(level: Level, context: &str, message: &str) {
    if !level.is_written() {
        return;
    }
    let stream = get_stderr();
    for part in line(level, context, message).as_bytes().chunks(MAX_WRITE) {
        if stream.blocking_write_and_flush(part).is_err() {
            return;
        }
    }
}

impl logging::Guest for Component {
    fn log(level: logging::Level, context: String, message: String) {
        let level = match level {
            logging::Level::Trace => Level::Trace,
            logging::Level::Debug => Level::Debug,
            logging::Level::Info => Level::Info,
            logging::Level::Warn => Level::Warn,
            logging::Level::Error => Level::Error,
            logging::Level::Critical => Level::Critical,
        };
        write(level, &context, &message);
    }
}

impl model::Guest for Component {
    fn signature() -> model::ModelSignature {
        let graph = provider().and_then(|provider| provider.model());
        let signature = graph.map(|graph| graph.signature().clone());
        wire::to_signature(signature.unwrap_or_default())
    }

    fn infer(request: model::Request) -> Result<model::Response, model::Failure> {
        let Some(graph) = provider().and_then(|provider| provider.model()) else {
            let text = "this bundle has a handler, which is the model";
            return Err(model::Failure::Handler(text.to_owned()));
        };
        let inputs = request.inputs.into_iter().map(wire::from_tensor);
        let inputs = inputs.collect::<Result<Vec<_>, String>>();
        let inputs = inputs.map_err(model::Failure::Client)?;
        match infer(&**graph, &inputs, &request.outputs) {
            Ok(outputs) => Ok(model::Response {
                outputs: outputs.into_iter().map(wire::to_tensor).collect(),
                parameters: Vec::new(),
            }),
            Err(ModelFailure::Client(text)) => Err(model::Failure::Client(text)),
            Err(ModelFailure::Model { text, cause }) => {
                write(Level::Error, OWN_CONTEXT, &cause);
                Err(model::Failure::Handler(text))
            }
        }
    }
}
