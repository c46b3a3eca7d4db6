//! Tests of hostile handlers: each gets a clean error within its limit, and its neighbors are not
//! affected.

use crate::harness::victim::victim_is_well;
use crate::harness::wat_handler::WatHandler;
use crate::harness::{
    Connection, Gate, Repository, TestOptions, TestServer, component, output, scale,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};
use wisp_sandbox::limits::Limits;
use wisp_serving::ServingOptions;
use wisp_tensor::MemoryBudget;

/// Creates a repository with a hostile model, and `wine` as its victim.
fn repository() -> Result<Repository> {
    Repository::of(&["wine"])?.with_model("evil", "progression", Some(component("evil")?))
}

fn server(limits: Limits) -> Result<TestServer> {
    let options = TestOptions {
        limits,
        ..TestOptions::default()
    };
    TestServer::with_options(repository()?, options)
}

/// Returns limits with a guest time shorter than the default of two seconds: only the end itself is
/// tested.
fn short() -> Limits {
    Limits {
        guest_time: Duration::from_millis(200),
        ..Limits::default()
    }
}

fn behave(behaviour: &str) -> Value {
    json!({ "inputs": [{
        "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": [behaviour],
    }] })
}

fn outcome(response: &Value) -> Result<&str> {
    let outcome = &output(response, "outcome")?["data"][0];
    outcome.as_str().context("the outcome is no string")
}

/// Checks that the behavior ends in this status and a message that contains `text`, and that the victim
/// works.
fn is_refused(behaviour: &str, status: u16, text: &str) -> Result<()> {
    is_refused_within(Limits::default(), behaviour, status, text)
}

/// The same check with explicit limits.
fn is_refused_within(limits: Limits, behaviour: &str, status: u16, text: &str) -> Result<()> {
    let server = server(limits)?;
    // Repeated more often than there are threads, to detect a lost thread.
    for _ in 0..4 {
        let error = server.infer("evil", &behave(behaviour))?.error(status);
        let error = error.with_context(|| behaviour.to_owned())?;
        ensure!(error.contains(text), "{behaviour}: {error}");
        victim_is_well(&server)?;
    }
    let honest = server.infer("evil", &behave("honest"))?.ok()?;
    ensure!(outcome(&honest)? == "honest");
    Ok(())
}

/// Checks that the guest receives a wasi:nn error and continues to run.
fn guest_is_told(behaviour: &str, code: &str) -> Result<()> {
    let server = server(Limits::default())?;
    let response = server.infer("evil", &behave(behaviour))?.ok()?;
    ensure!(outcome(&response)? == code, "{behaviour}: {response}");
    victim_is_well(&server)
}

#[test]
fn an_endless_loop_ends_with_its_time() -> Result<()> {
    is_refused_within(short(), "loop", 504, "ran out of time")
}

#[test]
fn many_endless_loops_at_once_end_one_by_one_while_the_others_are_answered() -> Result<()> {
    const LOOPERS: usize = 64;
    let repository = repository()?.with_file(
        "evil/model.toml",
        "[limits]\nguest_time_milliseconds = 100\n",
    )?;
    let options = TestOptions {
        serving: ServingOptions {
            // Each guest must end by its own limit, on a machine that may be busy.
            request_timeout: Duration::from_secs(60),
            ..TestOptions::default().serving
        },
        ..TestOptions::default()
    };
    let server = TestServer::with_options(repository, options)?;
    let together = Barrier::new(LOOPERS + 1);
    let endless = || {
        together.wait();
        server.infer("evil", &behave("loop"))?.error(504)
    };
    thread::scope(|scope| {
        let loopers: Vec<_> = (0..LOOPERS).map(|_| scope.spawn(endless)).collect();
        together.wait();
        loop {
            victim_is_well(&server)?;
            server.get("/v2/health/live")?.ok()?;
            if loopers.iter().all(|looper| looper.is_finished()) {
                break;
            }
        }
        for looper in loopers {
            let error = looper.join().expect("it does not panic")?;
            ensure!(error.contains("ran out of time"), "{error}");
        }
        let honest = server.infer("evil", &behave("honest"))?.ok()?;
        ensure!(outcome(&honest)? == "honest");
        Ok(())
    })
}

#[test]
fn endless_bulk_memory_operations_end_with_their_time() -> Result<()> {
    is_refused_within(short(), "fill", 504, "ran out of time")
}

#[test]
fn memory_growth_ends_at_the_limit() -> Result<()> {
    is_refused("grow", 502, "handler failed")
}

#[test]
fn a_stack_overflow_is_a_trap_and_not_a_crash() -> Result<()> {
    is_refused("recurse", 502, "handler failed")
}

#[test]
fn a_trapping_handler_answers_502_and_spares_its_neighbours() -> Result<()> {
    is_refused("trap", 502, "handler failed")
}

#[test]
fn an_answer_larger_than_the_limit_is_not_taken() -> Result<()> {
    is_refused("flood", 502, "handler failed")
}

#[test]
fn millions_of_tensor_handles_end_at_the_limit() -> Result<()> {
    is_refused("handles", 502, "handler failed")
}

#[test]
fn a_guest_that_goes_on_making_invalid_tensors_is_ended() -> Result<()> {
    is_refused("misfits", 502, "handler failed")
}

#[test]
fn tensors_of_a_million_axes_take_no_memory_of_the_host() -> Result<()> {
    guest_is_told("wide_misfits", "cut")
}

#[test]
fn a_handlers_own_words_are_one_line_of_a_thousand_characters() -> Result<()> {
    let server = server(Limits::default())?;
    for (behaviour, status) in [("long_failure", 502), ("long_refusal", 400)] {
        let error = server.infer("evil", &behave(behaviour))?.error(status)?;
        ensure!(error.starts_with("a line a line"), "{behaviour}: {error}");
        let length = error.chars().count();
        ensure!(length == 1000, "{behaviour}: {length} characters");
        ensure!(!error.contains(char::is_control), "{behaviour}: {error}");
    }
    victim_is_well(&server)
}

#[test]
fn an_output_with_a_name_of_megabytes_is_not_taken() -> Result<()> {
    is_refused("long_name", 502, "handler failed")
}

#[test]
fn a_tensor_whose_bytes_do_not_fit_its_shape_is_an_invalid_argument() -> Result<()> {
    guest_is_told("misfit", "invalid-argument")
}

#[test]
fn a_shape_whose_product_overflows_is_an_invalid_argument() -> Result<()> {
    guest_is_told("overflow", "invalid-argument")
}

#[test]
fn a_rank_beyond_reason_is_an_invalid_argument() -> Result<()> {
    guest_is_told("rank", "invalid-argument")
}

#[test]
fn a_tensor_of_another_type_than_the_graphs_is_an_invalid_argument() -> Result<()> {
    guest_is_told("wrong_type", "invalid-argument")
}

#[test]
fn a_graph_of_another_model_is_not_found() -> Result<()> {
    guest_is_told("foreign_graph", "not-found")
}

#[test]
fn a_graph_from_bytes_is_not_supported() -> Result<()> {
    guest_is_told("load_bytes", "unsupported-operation")
}

#[test]
fn tensors_beyond_the_hosts_budget_are_too_large() -> Result<()> {
    guest_is_told("hoard", "too-large")
}

/// Starts a server with a budget for all requests, whose computations wait at the gate.
fn gated_server(gate: &Gate, memory: &Arc<MemoryBudget>) -> Result<TestServer> {
    // As large as the limits allow, already before it runs.
    let large = WatHandler {
        pages: 1024,
        imports: "",
        fields: "",
        infer: "",
    };
    let repository = repository()?.with_file("large/1/handler.wasm", large.component()?)?;
    let options = TestOptions {
        serving: ServingOptions {
            memory: Arc::clone(memory),
            ..TestOptions::default().serving
        },
        gate: Some(gate.clone()),
        ..TestOptions::default()
    };
    TestServer::with_options(repository, options)
}

/// Checks that nothing stays reserved after all requests have responses. The last reservation is
/// released with a connection or with a job of a graph, a little after the response.
fn all_is_given_back(memory: &MemoryBudget) -> Result<()> {
    let patience = Instant::now() + Duration::from_secs(30);
    while memory.reserved() > 0 {
        let left = memory.reserved();
        ensure!(Instant::now() < patience, "{left} bytes stay reserved");
        thread::yield_now();
    }
    Ok(())
}

#[test]
fn instances_within_their_limits_are_bounded_together_and_their_neighbours_answered() -> Result<()>
{
    let (gate, memory) = (Gate::default(), Arc::new(MemoryBudget::new(256 << 20)));
    let server = gated_server(&gate, &memory)?;
    let hold = || server.infer("evil", &behave("hold"));
    thread::scope(|scope| {
        let mut holders = Vec::new();
        for number in 1..=3 {
            holders.push(scope.spawn(hold));
            // The graph has two threads, so the third holder cannot be observed at the gate, only in the
            // budget.
            match number {
                3 => {
                    while memory.reserved() < 3 * (64 << 20) {
                        ensure!(holders.iter().all(|holder| !holder.is_finished()));
                        thread::yield_now();
                    }
                }
                _ => gate.wait_for(number),
            }
        }
        for _ in 0..3 {
            let refusal = hold()?;
            let error = refusal.error(503)?;
            ensure!(error.contains("memory"), "{error}");
            ensure!(refusal.header("retry-after").is_some(), "{refusal:?}");
            let x = json!({ "inputs": [
                { "name": "x", "datatype": "UINT32", "shape": [1], "data": [0] },
            ] });
            server.infer("large", &x)?.error(503)?;
        }
        let honest = server.infer("evil", &behave("honest"))?.ok()?;
        ensure!(outcome(&honest)? == "honest");
        gate.open();
        victim_is_well(&server)?;
        for holder in holders {
            let held = holder.join().expect("it does not panic")?.ok()?;
            ensure!(outcome(&held)? == "survived", "{held}");
        }
        anyhow::Ok(())
    })?;
    all_is_given_back(&memory)
}

#[test]
fn many_hoarders_at_once_are_answered_or_refused_and_leave_nothing_behind() -> Result<()> {
    const HOARDERS: usize = 24;
    let (gate, memory) = (Gate::default(), Arc::new(MemoryBudget::new(256 << 20)));
    gate.open();
    let server = gated_server(&gate, &memory)?;
    let together = Barrier::new(HOARDERS);
    let hoard = || {
        together.wait();
        server.infer("evil", &behave("hoard"))
    };
    let answers = thread::scope(|scope| {
        let hoarders: Vec<_> = (0..HOARDERS).map(|_| scope.spawn(hoard)).collect();
        let answers = hoarders.into_iter();
        let answers = answers.map(|hoarder| hoarder.join().expect("it does not panic"));
        answers.collect::<Result<Vec<_>>>()
    })?;
    for answer in answers {
        match answer.status {
            200 => ensure!(outcome(&answer.json()?)? == "too-large"),
            // The request may time out on a busy machine.
            504 => {}
            _ => drop(answer.error(503)?),
        }
    }
    all_is_given_back(&memory)?;
    let response = server.infer("evil", &behave("hoard"))?.ok()?;
    ensure!(outcome(&response)? == "too-large", "{response}");
    victim_is_well(&server)
}

#[test]
fn a_component_that_asks_for_more_than_it_is_granted_is_not_served() -> Result<()> {
    let wasm =
        wat::parse_str(r#"(component (import "wasi:filesystem/preopens@0.2.0" (instance)))"#)?;
    let repository = Repository::of(&["wine"])?
        .with_model("thief", "progression", None)?
        .with_file("thief/1/handler.wasm", wasm)?;
    let server = TestServer::start(repository)?;
    let error = server.infer("thief", &behave("honest"))?.error(503)?;
    ensure!(error.contains("wasi:filesystem/preopens@0.2.0"), "{error}");
    let index = server
        .request("POST /v2/repository/index", &[], b"")?
        .ok()?;
    let thief = index
        .as_array()
        .and_then(|index| index.iter().find(|m| m["name"] == "thief"));
    ensure!(
        thief.is_some_and(|thief| thief["state"] == "UNAVAILABLE"),
        "{index}"
    );
    victim_is_well(&server)
}

/// Checks that a secret planted by one request is found by no later request on the same connection,
/// although a single request finds its own secret.
fn no_secret_is_found(server: &TestServer) -> Result<()> {
    let secret = |behaviour: &str| {
        // The secret is sent inverted, so that the request that searches for it does not contain it.
        json!({ "inputs": [
            { "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": [behaviour] },
            { "name": "secret", "datatype": "BYTES", "shape": [1], "data": ["nobody may read this"] },
        ] })
    };
    let mut connection = Connection::open(server.address())?;
    let own = connection.infer("evil", &secret("plant_and_scan"))?.ok()?;
    ensure!(
        outcome(&own)?.parse::<u32>()? > 0,
        "a scan that finds nothing proves nothing: {own}"
    );
    // Half of the requests plant, half of them scan.
    let requests = (50 * scale()).max(1000);
    for round in 0..requests / 2 {
        let planted = connection.infer("evil", &secret("plant"))?.ok()?;
        ensure!(outcome(&planted)? != "0");
        let found = connection.infer("evil", &secret("scan"))?.ok()?;
        ensure!(outcome(&found)? == "0", "round {round}: {found}");
    }
    Ok(())
}

#[test]
fn a_secret_planted_in_memory_is_never_seen_again() -> Result<()> {
    no_secret_is_found(&server(Limits::default())?)
}

#[test]
fn a_secret_planted_in_memory_is_never_seen_again_on_a_fiber() -> Result<()> {
    // A version with a slow graph is called on a fiber, whether or not it uses that graph.
    let repository = repository()?.with_file("evil/1/slow.onnx", slow_graph())?;
    no_secret_is_found(&TestServer::start(repository)?)
}

/// Returns an ONNX file in which `y` is the matrix product of `x` with itself, [-1, 512, 512]. Its 134
/// million multiplications are slow on every machine.
fn slow_graph() -> Vec<u8> {
    /// Returns a field of a message, of fewer than 128 bytes.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("all are short");
        [&[number << 3 | 2, length], content].concat()
    }
    let rows = field(1, &field(2, b"rows"));
    // 512 in groups of seven bits, lowest first.
    let side = field(1, &[1 << 3, 0x80, 4]);
    let shape = field(2, &[rows, side.clone(), side].concat());
    // The elements are FP32.
    let tensor = field(1, &[&[1 << 3, 1], shape.as_slice()].concat());
    let value = |name: &[u8]| [field(1, name), field(2, &tensor)].concat();
    let product = [
        field(1, b"x"),
        field(1, b"x"),
        field(2, b"y"),
        field(4, b"MatMul"),
    ]
    .concat();
    let graph = [
        field(1, &product),
        field(2, b"slow"),
        field(11, &value(b"x")),
        field(12, &value(b"y")),
    ]
    .concat();
    // Version 8 of the format, version 17 of the operators.
    let operators = field(8, &[2 << 3, 17]);
    [&[1 << 3, 8], field(7, &graph).as_slice(), &operators].concat()
}
