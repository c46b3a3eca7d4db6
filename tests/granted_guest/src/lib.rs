//! A handler that returns random numbers and the time, which its model has to grant.

use wisp_handler::{
    Datatype, Error, Graphs, Handler, Request, Response, Result, Signature, Tensor, clock, random,
};

/// The maximum number of bytes of a response.
const MAX_BYTES: usize = 1 << 20;

/// The handler. It has no graph.
#[derive(Debug)]
pub struct GrantedGuest;

impl Handler for GrantedGuest {
    fn signature() -> Signature {
        Signature::new()
            .input("length", Datatype::Uint32, &[1])
            .output("bytes", Datatype::Uint8, &[-1])
            .output("numbers", Datatype::Uint64, &[2])
            .output("milliseconds", Datatype::Uint64, &[2])
    }

    fn infer(request: &Request, _graphs: &mut dyn Graphs) -> Result<Response> {
        let length = request.input("length")?.view::<u32>(&[1])?[0] as usize;
        if length > MAX_BYTES {
            return Err(Error::client("input `length` is too large"));
        }
        let before = milliseconds()?;
        let mut bytes = vec![0; length];
        random::fill(&mut bytes);
        let numbers = [random::u64(), random::u64()];
        let times = [before, milliseconds()?];
        Ok(Response::new()
            .with_output(Tensor::new("bytes", &[length], &bytes)?)
            .with_output(Tensor::new("numbers", &[2], &numbers)?)
            .with_output(Tensor::new("milliseconds", &[2], &times)?))
    }
}

/// Returns the time since the Unix epoch.
fn milliseconds() -> Result<u64> {
    Ok(u64::try_from(clock::now().as_millis())?)
}

wisp_handler::export!(GrantedGuest);
