//! Exports the adapter as `wasi:http/incoming-handler`, and calls the imported `wisp:handler/model`.
//!
//! Generated types are used here and in the submodules only. Compiled for Wasm only.

mod body;
mod wire;

mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "../wit"],
        world: "wisp:edge/http-adapter",
        with: { "wisp:handler/model@0.1.0": super::model_bindings::wisp::handler::model },
        generate_all,
    });
}

/// The bindings of the model alone, which take tensors from where they are, without a copy in this module.
mod model_bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "../wit"],
        world: "wisp:edge/model-client",
        ownership: Borrowing { duplicate_if_necessary: true },
        generate_all,
    });
}

use self::body::{IncomingBytes, write};
use self::wire::ImportedModel;
use crate::adapter::Adapter;
use crate::request::{Head, effective_headers};
use crate::response::{Response, ResponseBody};
use bindings::exports::wasi::http::incoming_handler::Guest;
use bindings::wasi::cli::stderr::get_stderr;
use bindings::wasi::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use std::sync::OnceLock;
use wisp_edge_preload::Blob;

/// The most bytes of a cause that are logged. A write to the log has at most 4096.
const MAX_CAUSE_BYTES: usize = 4000;

/// The model of the bundle, which is loaded before the snapshot of the module is made.
static ADAPTER: OnceLock<Adapter> = OnceLock::new();

wisp_edge_preload::export_load!(load_model);

fn load_model(manifest: &[u8], _blobs: &[Blob]) -> Result<(), String> {
    let adapter = Adapter::load(manifest)?;
    ADAPTER
        .set(adapter)
        .map_err(|_| "the adapter has been loaded already".to_owned())
}

/// The implementation of the exported interface.
struct Component;

#[expect(unsafe_code, reason = "generated")]
mod export {
    use super::{Component, bindings};

    bindings::export!(Component with_types_in bindings);
}

impl Guest for Component {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        // Without a response, the host answers 500: the module was not loaded.
        let Some(adapter) = ADAPTER.get() else { return };
        let head = head(&request);
        let mut body = IncomingBytes::new(request, &head.headers);
        let response = adapter.respond(&head, &mut body, &mut ImportedModel);
        drop(body);
        if let Some(cause) = &response.cause {
            log(cause);
        }
        send(response, out);
    }
}

fn head(request: &IncomingRequest) -> Head {
    let path = request.path_with_query().unwrap_or_default();
    let headers = effective_headers(request.headers().entries());
    Head::new(method(request), &path, headers)
}

fn method(request: &IncomingRequest) -> http::Method {
    match request.method() {
        Method::Get => http::Method::GET,
        Method::Head => http::Method::HEAD,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Delete => http::Method::DELETE,
        Method::Connect => http::Method::CONNECT,
        Method::Options => http::Method::OPTIONS,
        Method::Trace => http::Method::TRACE,
        Method::Patch => http::Method::PATCH,
        // No route has any of these.
        Method::Other(_) => http::Method::TRACE,
    }
}

/// Sends the response, all of it.
fn send(response: Response, out: ResponseOutparam) {
    let headers = Fields::new();
    for (name, value) in &response.headers {
        // A host may refuse a header, such as one that it sets itself.
        let _ = headers.append(name.as_str(), value.as_bytes());
    }
    let outgoing = OutgoingResponse::new(headers);
    // A host refuses only statuses that are no numbers of three digits.
    let _ = outgoing.set_status_code(response.status.as_u16());
    match response.body {
        // Hosts compare the length in the headers with the bytes of a body, so there is none.
        ResponseBody::None => ResponseOutparam::set(out, Ok(outgoing)),
        ResponseBody::Chunks(chunks) => {
            let body = outgoing.body();
            ResponseOutparam::set(out, Ok(outgoing));
            let Ok(body) = body else { return };
            // A disconnected client does not read the end of its response either.
            if write(&body, &chunks).is_ok() {
                let _ = OutgoingBody::finish(body, None);
            }
        }
    }
}

/// Writes the cause of a failure to the log of the host.
fn log(cause: &str) {
    let cause = &cause[..cause.floor_char_boundary(MAX_CAUSE_BYTES)];
    let line = format!("wisp: {cause}\n");
    // A host without a log loses the line.
    let _ = get_stderr().blocking_write_and_flush(line.as_bytes());
}
