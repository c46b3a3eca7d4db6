//! A handler that misbehaves on request: the input `behaviour` selects the misbehavior.
//!
//! Every behavior that the host should stop results in the response `survived` if it is not stopped, so
//! that a test can distinguish a working limit from an accident.

#[cfg(target_arch = "wasm32")]
mod behaviour;

use wisp_handler::{
    Datatype, Error, GraphSpec, Graphs, Handler, Request, Response, Result, Signature, Tensor,
};

/// The handler. Its graph is that of `progression`.
#[derive(Debug)]
pub struct HostileGuest;

impl Handler for HostileGuest {
    fn signature() -> Signature {
        Signature::new()
            .input("behaviour", Datatype::Bytes, &[-1])
            .optional_input("secret", Datatype::Bytes, &[-1])
            .output("outcome", Datatype::Bytes, &[-1])
            .graph(
                GraphSpec::new("model")
                    .input("features", Datatype::Fp32, &[-1, 10])
                    .output("progression", Datatype::Fp32, &[-1, 1]),
            )
    }

    fn infer(request: &Request, _graphs: &mut dyn Graphs) -> Result<Response> {
        let behaviour = request.input("behaviour")?.strings(&[-1])?;
        let name = behaviour
            .first()
            .ok_or_else(|| Error::client("no behaviour"))?;
        let output = match *name {
            "long_name" => "a line\n".repeat(1 << 20),
            _ => "outcome".to_owned(),
        };
        let outcome = outcome(name, request)?;
        Ok(Response::new().with_output(Tensor::bytes(output, &[1], [outcome])?))
    }
}

#[cfg(target_arch = "wasm32")]
fn outcome(name: &str, request: &Request) -> Result<String> {
    behaviour::run(name, request)
}

#[cfg(not(target_arch = "wasm32"))]
fn outcome(name: &str, _request: &Request) -> Result<String> {
    Err(Error::handler(format_args!("`{name}` needs a sandbox")))
}

wisp_handler::export!(HostileGuest);
