//! A handler that builds its state in `init`, from the settings and files of its model, and counts how
//! often: tests see from its responses what each instance begins with.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use wisp_handler::{
    Datatype, Error, Graphs, Handler, Lazy, Request, Response, Result, Signature, Tensor, config,
    files, println,
};

/// The number of elements of the table: more than what would be quick to build in each request.
const TABLE: u64 = 1 << 18;

/// The squares of numbers.
static SQUARES: Lazy<Vec<u64>> =
    Lazy::new(|| Ok((0..TABLE).map(|number| number * number).collect()));

/// The lines of a file of the model, which are added to a setting.
static LABELS: Lazy<Vec<String>> = Lazy::new(|| {
    let greeting: String = config::require("greeting")?;
    let lines = files::read_to_string("labels.txt")?;
    Ok(lines
        .lines()
        .map(|line| format!("{greeting} {line}"))
        .collect())
});

/// The number of calls of `init` that this instance remembers.
static INITIALIZATIONS: AtomicI64 = AtomicI64::new(0);

/// The number of requests that this instance remembers.
static REQUESTS: AtomicI64 = AtomicI64::new(0);

/// The handler. It has no graph.
#[derive(Debug)]
pub struct InitializedGuest;

impl Handler for InitializedGuest {
    fn signature() -> Signature {
        Signature::new()
            .input("number", Datatype::Uint32, &[1])
            .output("square", Datatype::Uint64, &[1])
            .output("label", Datatype::Bytes, &[1])
            .output("counts", Datatype::Int64, &[2])
    }

    fn init() -> Result<()> {
        INITIALIZATIONS.fetch_add(1, Relaxed);
        SQUARES.get()?;
        let labels = LABELS.get()?;
        println!("initialized with {} labels", labels.len());
        Ok(())
    }

    fn infer(request: &Request, _graphs: &mut dyn Graphs) -> Result<Response> {
        let number = request.input("number")?.view::<u32>(&[1])?[0] as usize;
        let too_large = || Error::client("input `number` is too large");
        let square = SQUARES.get()?.get(number).copied().ok_or_else(too_large)?;
        let labels = LABELS.get()?;
        let label = labels.get(number % labels.len().max(1));
        let label = label.ok_or_else(|| Error::handler("there is no label"))?;
        let requests = REQUESTS.fetch_add(1, Relaxed) + 1;
        let counts = [INITIALIZATIONS.load(Relaxed), requests];
        Ok(Response::new()
            .with_output(Tensor::new("square", &[1], &[square])?)
            .with_output(Tensor::bytes("label", &[1], [label])?)
            .with_output(Tensor::new("counts", &[2], &counts)?))
    }
}

wisp_handler::export!(InitializedGuest);
