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
            .output("getrandom", Datatype::Uint64, &[2])
            .output("getrandom_seeded", Datatype::Uint64, &[2])
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
        let getrandom = getrandom_numbers()?;
        let getrandom_seeded = random::with_seed(1, getrandom_numbers)?;
        let times = [before, milliseconds()?];
        Ok(Response::new()
            .with_output(Tensor::new("bytes", &[length], &bytes)?)
            .with_output(Tensor::new("numbers", &[2], &numbers)?)
            .with_output(Tensor::new("getrandom", &[2], &getrandom)?)
            .with_output(Tensor::new("getrandom_seeded", &[2], &getrandom_seeded)?)
            .with_output(Tensor::new("milliseconds", &[2], &times)?))
    }
}

/// Returns a number of each version of the crate `getrandom`.
fn getrandom_numbers() -> Result<[u64; 2]> {
    let old = getrandom_03::u64().map_err(Error::handler)?;
    Ok([old, getrandom::u64().map_err(Error::handler)?])
}

/// Returns the time since the Unix epoch.
fn milliseconds() -> Result<u64> {
    Ok(u64::try_from(clock::now().as_millis())?)
}

wisp_handler::export!(GrantedGuest);
