//! The smallest web component: it answers every request with a line of text, and imports nothing but requests and
//! responses. Hosts of wasi:http are compared by it.

#[allow(
    clippy::allow_attributes_without_reason,
    clippy::too_many_arguments,
    reason = "the bindings are generated"
)]
mod bindings {
    wit_bindgen::generate!({
        path: [
            "../../guest-models/edge/wit/deps/io",
            "../../guest-models/edge/wit/deps/clocks",
            "../../guest-models/edge/wit/deps/cli",
            "../../guest-models/edge/wit/deps/http",
            "wit",
        ],
        world: "test:hello/app",
        generate_all,
    });
}

use bindings::exports::wasi::http::incoming_handler::Guest;
use bindings::wasi::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

/// The text of every response.
const TEXT: &[u8] = b"hello\n";

/// The component.
#[derive(Debug)]
pub struct HelloGuest;

impl Guest for HelloGuest {
    fn handle(_: IncomingRequest, response: ResponseOutparam) {
        let headers = Fields::new();
        let _ = headers.set("content-length", &[TEXT.len().to_string().into_bytes()]);
        let message = OutgoingResponse::new(headers);
        // A new response has a body, and its stream takes so few bytes at once.
        let Ok(body) = message.body() else { return };
        ResponseOutparam::set(response, Ok(message));
        if let Ok(stream) = body.write() {
            let _ = stream.blocking_write_and_flush(TEXT);
        }
        let _ = OutgoingBody::finish(body, None);
    }
}

/// The exported functions, which only a macro can define.
#[expect(unsafe_code, reason = "the exports are generated")]
mod exports {
    use crate::{HelloGuest, bindings};

    bindings::export!(HelloGuest with_types_in bindings);
}
