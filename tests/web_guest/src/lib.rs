//! A web component that is written against the interfaces alone: wasi:http for requests and wasi:nn for graphs.
//!
//! The last segment of the path selects what it does. `infer` computes the graph `model` with the numbers in the body;
//! the other ones are what a host must expect of a component.

mod body;
mod outgoing;

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
            "../../wit/deps/nn",
            "wit",
        ],
        world: "test:web/app",
        generate_all,
    });
}

use bindings::exports::wasi::http::incoming_handler::Guest;
use bindings::wasi::cli::stderr::get_stderr;
use bindings::wasi::clocks::monotonic_clock;
use bindings::wasi::http::types::{
    ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use bindings::wasi::io::streams::{OutputStream, StreamError};
use bindings::wasi::nn::errors::Error as NnError;
use bindings::wasi::nn::graph::load_by_name;
use bindings::wasi::nn::tensor::{Tensor, TensorType};

/// The component.
#[derive(Debug)]
pub struct WebGuest;

/// The response to a request, unless it takes no usual course.
struct Response {
    status: u16,
    text: String,
}

impl Response {
    fn ok(text: impl Into<String>) -> Response {
        let text = text.into();
        Response { status: 200, text }
    }
}

impl Guest for WebGuest {
    fn handle(request: IncomingRequest, response: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let action = path.rsplit('/').next().unwrap_or_default();
        let answer = match action {
            "infer" => infer(&body::read(request)),
            "echo" => {
                let (path, method) = (path.to_owned(), request.method());
                let headers = request.headers();
                let given = headers.get("x-given").concat();
                let host = request.authority().unwrap_or_default();
                // A child of the request.
                drop(headers);
                let body = String::from_utf8_lossy(&body::read(request)).into_owned();
                let given = String::from_utf8_lossy(&given).into_owned();
                Response::ok(format!("{method:?} {path} {query} {host} {given} {body}"))
            }
            "key" => {
                let headers = request.headers();
                let keys = headers.get("authorization").len();
                // A child of the request.
                drop(headers);
                Response::ok(keys.to_string())
            }
            "clock" => Response::ok(monotonic_clock::now().to_string()),
            "print" => {
                let stderr = get_stderr();
                let printed = stderr.blocking_write_and_flush(b"printed by the guest\nsecond\n");
                Response::ok(format!("{printed:?}"))
            }
            "print-forever" => loop {
                let _ = get_stderr().blocking_write_and_flush(&[b'x'; 4096]);
            },
            "fetch" => match outgoing::get(query) {
                Ok((status, text)) => Response { status, text },
                Err(error) => Response::ok(format!("{error:?}")),
            },
            "loop" => loop {
                std::hint::black_box(());
            },
            "trap" => std::process::abort(),
            "allocate" => allocate(),
            "handles" => hold_handles(),
            "sleep" => {
                monotonic_clock::subscribe_duration(u64::MAX / 2).block();
                Response::ok("awake")
            }
            "status" => Response {
                status: query.parse().unwrap_or(500),
                text: String::new(),
            },
            "silent" => return,
            "error" => {
                ResponseOutparam::set(response, Err(ErrorCode::LoopDetected));
                return;
            }
            "flood" => return flood(response),
            "stream" => return stream(response),
            "trap-in-body" => return trap_in_body(response),
            "loop-in-body" => return loop_in_body(response),
            "length" => return declare_length(response, query),
            _ => Response::ok("hello"),
        };
        send(response, &answer);
    }
}

/// Computes the graph of the version with one row of numbers in JSON.
fn infer(body: &[u8]) -> Response {
    let text = String::from_utf8_lossy(body);
    let list = text
        .trim()
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let numbers = list
        .unwrap_or_default()
        .split(',')
        .map(|number| number.trim().parse::<f32>());
    let Ok(numbers) = numbers.collect::<Result<Vec<f32>, _>>() else {
        let text = r#"{"error":"the body is no array of numbers"}"#.to_owned();
        return Response { status: 400, text };
    };
    match compute(&numbers) {
        Ok(outputs) => Response::ok(outputs),
        Err(error) => Response {
            status: 500,
            text: format!(r#"{{"error":"{:?}: {}"}}"#, error.code(), error.data()),
        },
    }
}

/// Returns the outputs of the graph as a JSON object.
fn compute(numbers: &[f32]) -> Result<String, NnError> {
    let graph = load_by_name("model")?;
    let context = graph.init_execution_context()?;
    let bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let columns = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    let features = Tensor::new(&[1, columns], TensorType::Fp32, &bytes);
    let outputs = context.compute(vec![("features".to_owned(), features)])?;
    let members = outputs.into_iter().map(|(name, tensor)| {
        let data = tensor.data();
        let (numbers, _) = data.as_chunks::<4>();
        let numbers = numbers
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes).to_string());
        format!(r#""{name}":[{}]"#, numbers.collect::<Vec<_>>().join(","))
    });
    Ok(format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
}

/// Takes memory without end.
fn allocate() -> Response {
    let mut blocks = Vec::new();
    loop {
        blocks.push(vec![1u8; 1 << 20]);
        std::hint::black_box(&blocks);
    }
}

/// Holds more and more resources.
fn hold_handles() -> Response {
    let mut handles = Vec::new();
    loop {
        handles.push(Fields::new());
        std::hint::black_box(&handles);
    }
}

/// A response whose head has been sent. The stream is dropped first, since it belongs to the body.
struct Begun {
    stream: OutputStream,
    body: OutgoingBody,
}

impl Begun {
    /// Sends the head of a response.
    fn send(response: ResponseOutparam, status: u16, headers: Fields) -> Option<Begun> {
        let message = OutgoingResponse::new(headers);
        message.set_status_code(status).ok()?;
        let body = message.body().ok()?;
        let stream = body.write().ok()?;
        ResponseOutparam::set(response, Ok(message));
        Some(Begun { stream, body })
    }

    /// Writes a piece of the body. The client may have gone.
    fn write(&self, piece: &[u8]) -> Result<(), StreamError> {
        body::write(&self.stream, piece)
    }

    fn finish(self) {
        let Begun { stream, body } = self;
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

/// Sends a response with a text.
fn send(response: ResponseOutparam, answer: &Response) {
    if let Some(begun) = Begun::send(response, answer.status, Fields::new()) {
        let _ = begun.write(answer.text.as_bytes());
        begun.finish();
    }
}

/// Sends a response without end, as fast as the client takes it.
fn flood(response: ResponseOutparam) {
    if let Some(begun) = Begun::send(response, 200, Fields::new()) {
        while begun.write(&[b'x'; 1 << 16]).is_ok() {}
    }
}

/// Sends a response piece by piece, one of them empty.
fn stream(response: ResponseOutparam) {
    let Some(begun) = Begun::send(response, 200, Fields::new()) else {
        return;
    };
    for piece in [&b"one"[..], b"", b"two", b"three"] {
        if begun.write(piece).is_err() {
            return;
        }
        monotonic_clock::subscribe_duration(10_000_000).block();
    }
    begun.finish();
}

fn trap_in_body(response: ResponseOutparam) {
    let begun = Begun::send(response, 200, Fields::new());
    let _ = begun.as_ref().map(|begun| begun.write(b"the beginning"));
    std::process::abort();
}

fn loop_in_body(response: ResponseOutparam) {
    let begun = Begun::send(response, 200, Fields::new());
    let _ = begun.as_ref().map(|begun| begun.write(b"the beginning"));
    loop {
        std::hint::black_box(&begun);
    }
}

/// Sends five bytes and declares the length in the query.
fn declare_length(response: ResponseOutparam, length: &str) {
    let headers = Fields::new();
    let _ = headers.set("content-length", &[length.as_bytes().to_vec()]);
    if let Some(begun) = Begun::send(response, 200, headers) {
        let _ = begun.write(b"hello");
        begun.finish();
    }
}

/// The exported functions, which only a macro can define.
#[expect(unsafe_code, reason = "the exports are generated")]
mod exports {
    use crate::{WebGuest, bindings};

    bindings::export!(WebGuest with_types_in bindings);
}
