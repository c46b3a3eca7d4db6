//! Tests of hostile handlers: each gets a clean error within its limit, and its neighbors are not
//! affected.

use crate::harness::metric::sample;
use crate::harness::sandbox::{Sandbox, call_inline};
use crate::harness::victim::victim_is_well;
use crate::harness::wat_handler::WatHandler;
use crate::harness::{
    Connection, Gate, Repository, TestOptions, TestServer, component, output, scale, wait_until,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use wisp_sandbox::limits::Limits;
use wisp_serving::ServingOptions;
use wisp_tensor::{ElementType, MemoryBudget, NamedTensor, Shape, Tensor};

/// Creates a repository with a hostile model, and `wine` as its victim.
fn repository() -> Result<Repository> {
    Repository::of(&["wine"])?.with_model(
        "hostile",
        "progression",
        Some(component("hostile_guest")?),
    )
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
        let error = server.infer("hostile", &behave(behaviour))?.error(status);
        let error = error.with_context(|| behaviour.to_owned())?;
        ensure!(error.contains(text), "{behaviour}: {error}");
        victim_is_well(&server)?;
    }
    let honest = server.infer("hostile", &behave("honest"))?.ok()?;
    ensure!(outcome(&honest)? == "honest");
    nothing_is_left(&server)
}

/// Checks that no request, instance or byte is left after all requests have responses. The last of them is released with a
/// connection or with a job of a graph, a little after the response.
fn nothing_is_left(server: &TestServer) -> Result<()> {
    let serving = server.serving();
    let left = || {
        [
            serving.admitted_requests(),
            serving.live_instances(),
            serving.memory().reserved(),
        ]
    };
    wait_until("nothing is left", || left() == [0; 3])
        .with_context(|| format!("{:?} requests, instances and bytes", left()))
}

/// Checks that the guest receives a wasi:nn error and continues to run.
fn guest_is_told(behaviour: &str, code: &str) -> Result<()> {
    let server = server(Limits::default())?;
    let response = server.infer("hostile", &behave(behaviour))?.ok()?;
    ensure!(outcome(&response)? == code, "{behaviour}: {response}");
    victim_is_well(&server)?;
    nothing_is_left(&server)
}

#[test]
fn the_end_of_a_guest_is_counted_once_by_its_cause_and_its_memory_ends_at_the_limit() -> Result<()>
{
    const CALLS: u8 = 3;
    let limits = Limits::default();
    let server = server(limits.clone())?;
    let of_model = |name: &str, more: &str| {
        let series = format!("{name}{{model=\"hostile\",version=\"1\"{more}}}");
        sample(&server, &series)
    };
    for (behaviour, cause) in [
        ("grow", "memory_limit"),
        ("recurse", "stack_overflow"),
        ("trap", "panic"),
        ("handles", "other_limit"),
        ("misfits", "other_limit"),
    ] {
        let ends = || of_model("wisp_sandbox_traps_total", &format!(",cause=\"{cause}\""));
        let before = ends()?;
        for _ in 0..CALLS {
            server.infer("hostile", &behave(behaviour))?.error(502)?;
            victim_is_well(&server)?;
        }
        let counted = ends()? - before;
        ensure!(
            counted == f64::from(CALLS),
            "{behaviour}: {counted} of {cause}"
        );
    }
    let peak = of_model("wisp_sandbox_peak_memory_bytes", "")?;
    let limit = limits.memory_bytes as f64;
    // It grows in steps of 1 MiB.
    ensure!(
        (limit - 1_048_576.0..=limit).contains(&peak),
        "{peak} bytes, the limit is {limit}"
    );
    nothing_is_left(&server)
}

#[test]
fn an_endless_loop_ends_at_its_time_limit() -> Result<()> {
    is_refused_within(short(), "loop", 504, "exceeded its time limit")
}

#[test]
fn many_concurrent_endless_loops_end_while_other_models_respond() -> Result<()> {
    const LOOPERS: usize = 64;
    let repository = repository()?.with_file(
        "hostile/model.toml",
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
        server.infer("hostile", &behave("loop"))?.error(504)
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
            ensure!(error.contains("exceeded its time limit"), "{error}");
        }
        let honest = server.infer("hostile", &behave("honest"))?.ok()?;
        ensure!(outcome(&honest)? == "honest");
        anyhow::Ok(())
    })?;
    let series = r#"wisp_sandbox_traps_total{model="hostile",version="1",cause="time_limit"}"#;
    let ended = sample(&server, series)?;
    ensure!(ended >= LOOPERS as f64, "{ended} of {LOOPERS} were ended");
    nothing_is_left(&server)
}

#[test]
fn endless_bulk_memory_operations_end_at_their_time_limit() -> Result<()> {
    is_refused_within(short(), "fill", 504, "exceeded its time limit")
}

#[test]
fn memory_growth_ends_at_the_limit() -> Result<()> {
    is_refused("grow", 502, "handler failed")
}

#[test]
fn a_reached_limit_is_logged_with_the_key_and_the_setting_that_raise_it() -> Result<()> {
    let sandbox = Sandbox::start()?;
    let wasm = std::fs::read(component("hostile_guest")?)?;
    // The response of 100 MiB is copied before the host receives it.
    let ample = Limits {
        memory_bytes: 512 << 20,
        guest_time: Duration::from_secs(60),
        ..Limits::default()
    };
    for (behaviour, limits, key, setting) in [
        ("grow", &ample, "memory_bytes", "memory-bytes"),
        ("flood", &ample, "transfer_bytes", "transfer-bytes"),
        (
            "loop",
            &short(),
            "guest_time_milliseconds",
            "time-milliseconds",
        ),
    ] {
        let handler = sandbox.load(&wasm, limits.clone())??;
        let error = call_inline(&handler, &[byte_string("behaviour", behaviour)?]);
        let error = error.err().context(behaviour)?.to_string();
        let expected =
            format!("(`limits.{key}` in model.toml, up to the server's `--max-handler-{setting}`)");
        ensure!(error.ends_with(&expected), "{behaviour}: {error}");
    }
    Ok(())
}

#[test]
fn a_handler_has_the_memory_that_the_operator_allows() -> Result<()> {
    let sandbox = Sandbox::start()?;
    let wasm = WatHandler {
        pages: 3200,
        ..WatHandler::BARE
    };
    let wasm = wasm.component()?;
    let refusal = sandbox.load(&wasm, Limits::default())?.err();
    let refusal = format!("{:#}", anyhow::Error::new(refusal.context("it is loaded")?));
    ensure!(
        refusal.contains("to 209715200 bytes, the limit is 134217728 (`limits.memory_bytes`"),
        "{refusal}"
    );
    let raised = Limits {
        memory_bytes: 256 << 20,
        ..Limits::default()
    };
    sandbox.load(&wasm, raised)??;
    Ok(())
}

#[test]
fn a_stack_overflow_is_a_trap_and_not_a_crash() -> Result<()> {
    is_refused("recurse", 502, "handler failed")
}

#[test]
fn a_trapping_handler_gets_502_and_does_not_affect_other_models() -> Result<()> {
    is_refused("trap", 502, "handler failed")
}

#[test]
fn the_client_of_a_panicking_handler_receives_nothing_of_the_panic() -> Result<()> {
    let server = server(Limits::default())?;
    for behaviour in ["panic", "index", "recurse", "trap"] {
        let error = server.infer("hostile", &behave(behaviour))?.error(502)?;
        ensure!(
            error == "the model's handler failed",
            "{behaviour}: {error}"
        );
    }
    victim_is_well(&server)
}

#[test]
fn an_input_that_only_the_handler_misspells_is_the_handlers_fault() -> Result<()> {
    is_refused("typo", 502, "the handler reads an input `behavior`")
}

#[test]
fn endless_logging_ends_at_its_time_limit() -> Result<()> {
    is_refused_within(short(), "log_for_ever", 504, "exceeded its time limit")
}

#[test]
fn a_response_larger_than_the_limit_is_refused() -> Result<()> {
    is_refused("flood", 502, "handler failed")
}

#[test]
fn millions_of_tensor_handles_end_at_the_limit() -> Result<()> {
    is_refused("handles", 502, "handler failed")
}

#[test]
fn a_guest_that_keeps_creating_invalid_tensors_is_ended() -> Result<()> {
    is_refused("misfits", 502, "handler failed")
}

#[test]
fn tensors_of_a_million_axes_use_no_memory_of_the_host() -> Result<()> {
    guest_is_told("wide_misfits", "cut")
}

#[test]
fn a_handlers_message_is_cut_to_one_line_of_a_thousand_characters() -> Result<()> {
    let server = server(Limits::default())?;
    for (behaviour, status) in [("long_failure", 502), ("long_refusal", 400)] {
        let error = server.infer("hostile", &behave(behaviour))?.error(status)?;
        ensure!(error.starts_with("a line a line"), "{behaviour}: {error}");
        let length = error.chars().count();
        ensure!(length == 1000, "{behaviour}: {length} characters");
        ensure!(!error.contains(char::is_control), "{behaviour}: {error}");
    }
    victim_is_well(&server)
}

#[test]
fn an_output_with_a_name_of_megabytes_is_refused() -> Result<()> {
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
fn a_rank_above_the_limit_is_an_invalid_argument() -> Result<()> {
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
fn tensors_above_the_hosts_budget_are_too_large() -> Result<()> {
    guest_is_told("hoard", "too-large")
}

/// Starts a server with a budget for all requests, whose computations wait at the gate.
fn gated_server(gate: &Gate, memory: &Arc<MemoryBudget>) -> Result<TestServer> {
    // As large as the limits allow, already before it runs.
    let large = WatHandler {
        pages: 1024,
        ..WatHandler::BARE
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
    wait_until("nothing is reserved", || memory.reserved() == 0)
}

#[test]
fn the_memory_of_all_instances_is_bounded_while_other_models_respond() -> Result<()> {
    let (gate, memory) = (Gate::default(), Arc::new(MemoryBudget::new(256 << 20)));
    let server = gated_server(&gate, &memory)?;
    let hold = || server.infer("hostile", &behave("hold"));
    thread::scope(|scope| {
        let mut holders = Vec::new();
        for number in 1..=3 {
            holders.push(scope.spawn(hold));
            // The graph has two threads, so the third holder cannot be observed at the gate, only in the
            // budget.
            match number {
                3 => {
                    wait_until("the third holder has its memory", || {
                        memory.reserved() >= 3 * (64 << 20)
                    })?;
                }
                _ => gate.wait_for(number)?,
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
        let honest = server.infer("hostile", &behave("honest"))?.ok()?;
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
fn many_concurrent_hoarders_release_their_memory() -> Result<()> {
    const HOARDERS: usize = 24;
    let (gate, memory) = (Gate::default(), Arc::new(MemoryBudget::new(256 << 20)));
    gate.open();
    let server = gated_server(&gate, &memory)?;
    let together = Barrier::new(HOARDERS);
    let hoard = || {
        together.wait();
        server.infer("hostile", &behave("hoard"))
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
    let response = server.infer("hostile", &behave("hoard"))?.ok()?;
    ensure!(outcome(&response)? == "too-large", "{response}");
    victim_is_well(&server)
}

#[test]
fn a_component_with_an_import_that_is_not_granted_is_not_served() -> Result<()> {
    let mut repository = Repository::of(&["wine"])?;
    let imports = [
        "wasi:filesystem/preopens@0.2.0",
        "wasi:sockets/tcp@0.2.0",
        "wasi:cli/environment@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:keyvalue/store@0.2.0-draft",
        "wasi:nn/graph@0.2.0-rc-2024-08-19",
        "evil:library/door@1.0.0",
    ];
    for (number, import) in imports.iter().enumerate() {
        let wasm = wat::parse_str(format!(r#"(component (import "{import}" (instance)))"#))?;
        let name = format!("thief{number}");
        repository = repository
            .with_model(&name, "progression", None)?
            .with_file(&format!("{name}/1/handler.wasm"), wasm)?;
    }
    let server = TestServer::start(repository)?;
    let index = server
        .request("POST /v2/repository/index", &[], b"")?
        .ok()?;
    for (number, import) in imports.iter().enumerate() {
        let name = format!("thief{number}");
        let error = server.infer(&name, &behave("honest"))?.error(503)?;
        ensure!(error.contains(import), "{import}: {error}");
        let thief = index
            .as_array()
            .and_then(|index| index.iter().find(|model| model["name"] == *name));
        ensure!(
            thief.is_some_and(|thief| thief["state"] == "UNAVAILABLE"),
            "{import}: {index}"
        );
        victim_is_well(&server)?;
    }
    Ok(())
}

/// Checks that a secret planted by one call is found by no later call, although a call finds its own
/// secret. `call` runs a behavior with the secret and returns the outcome.
fn no_secret_is_found(mut call: impl FnMut(&str) -> Result<String>) -> Result<()> {
    let own = call("plant_and_scan")?;
    ensure!(
        own.parse::<u32>()? > 0,
        "a scan that finds nothing proves nothing: {own}"
    );
    // Half of the calls plant, half of them scan.
    let calls = (50 * scale()).max(1000);
    for round in 0..calls / 2 {
        ensure!(call("plant")? != "0");
        let found = call("scan")?;
        ensure!(found == "0", "round {round}: {found}");
    }
    Ok(())
}

/// The secret. It is sent inverted, so that the request that searches for it does not contain it.
const SECRET: &str = "nobody may read this";

#[test]
fn a_secret_in_memory_is_not_found_by_later_inline_calls() -> Result<()> {
    let sandbox = Sandbox::start()?;
    let wasm = std::fs::read(component("hostile_guest")?)?;
    let handler = sandbox.load(&wasm, Limits::default())??;
    no_secret_is_found(|behaviour| {
        let inputs = [
            byte_string("behaviour", behaviour)?,
            byte_string("secret", SECRET)?,
        ];
        let answer = call_inline(&handler, &inputs)?;
        let outcome = answer.outputs.first().context("no outcome")?;
        // The length precedes the string.
        let text = outcome.tensor.content().get(4..).unwrap_or_default();
        Ok(String::from_utf8(text.to_vec())?)
    })
}

#[test]
fn a_secret_in_memory_is_not_found_by_later_queued_calls() -> Result<()> {
    // A model whose computations run on threads of their own is called on a fiber.
    let repository = repository()?.with_file("hostile/model.toml", "instances = 2\n")?;
    let server = TestServer::start(repository)?;
    let mut connection = Connection::open(server.address())?;
    no_secret_is_found(|behaviour| {
        let request = json!({ "inputs": [
            { "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": [behaviour] },
            { "name": "secret", "datatype": "BYTES", "shape": [1], "data": [SECRET] },
        ] });
        let response = connection.infer("hostile", &request)?.ok()?;
        Ok(outcome(&response)?.to_owned())
    })
}

/// Returns an input of one string.
fn byte_string(name: &str, text: &str) -> Result<NamedTensor> {
    let length = u32::try_from(text.len())?.to_le_bytes();
    let content = [&length, text.as_bytes()].concat();
    Ok(NamedTensor {
        name: name.to_owned(),
        tensor: Tensor::new(ElementType::Bytes, Shape::new(vec![1])?, content.into())?,
    })
}
