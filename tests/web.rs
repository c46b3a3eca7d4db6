//! Tests of web components: an application that was written against wasi:http and wasi:nn alone is served under a route
//! of its own, within the limits of handlers, and harms nobody.

use crate::harness::fixture::{TOLERANCE, matches};
use crate::harness::victim::victim_is_well;
use crate::harness::{
    Repository, Response, TIMEOUT, TestOptions, TestServer, component, loader, output, wait_until,
};
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use wisp_sandbox::limits::Limits;
use wisp_serving::ServingOptions;

/// The interface that makes a component a web component, without its function.
const EXPORT: &str =
    r#"(instance $handler) (export "wasi:http/incoming-handler@0.2.0" (instance $handler))"#;

/// Creates a repository with the application `app`, which has a graph, and `wine` as its victim.
fn repository() -> Result<Repository> {
    Repository::of(&["wine"])?.with_model("app", "progression", Some(component("web_guest")?))
}

/// Adds the application without a graph.
fn with_app(repository: Repository, name: &str) -> Result<Repository> {
    let wasm = std::fs::read(component("web_guest")?)?;
    repository.with_file(&format!("{name}/1/handler.wasm"), wasm)
}

/// Returns options with limits that a test can wait for.
fn short() -> TestOptions {
    TestOptions {
        limits: Limits {
            guest_time: Duration::from_millis(100),
            memory_bytes: 16 << 20,
            ..Limits::default()
        },
        serving: ServingOptions {
            request_timeout: Duration::from_secs(2),
            ..TestOptions::default().serving
        },
        ..TestOptions::default()
    }
}

/// Returns options with which nothing ends because of its time.
fn patient() -> TestOptions {
    TestOptions {
        limits: Limits {
            guest_time: TIMEOUT,
            ..Limits::default()
        },
        serving: ServingOptions {
            request_timeout: TIMEOUT,
            ..TestOptions::default().serving
        },
        ..TestOptions::default()
    }
}

/// Sends a request to the application.
fn call(server: &TestServer, action: &str) -> Result<Response> {
    server.get(&format!("/apps/app/{action}"))
}

/// Returns the text of a complete response.
pub(crate) fn text(response: &Response) -> Result<String> {
    let (body, is_complete) = content(response)?;
    ensure!(is_complete, "the response is cut off");
    Ok(String::from_utf8(body)?)
}

/// Returns the body of a response, and whether all of it has arrived.
fn content(response: &Response) -> Result<(Vec<u8>, bool)> {
    if response.header("transfer-encoding") != Some("chunked") {
        let length = response.header("content-length").unwrap_or("0");
        let is_complete = response.body.len() == length.parse::<usize>()?;
        return Ok((response.body.clone(), is_complete));
    }
    let mut rest = response.body.as_slice();
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end])?, 16)?;
        let chunk = &rest[end + 2..];
        if size == 0 {
            return Ok((body, true));
        }
        body.extend_from_slice(&chunk[..size.min(chunk.len())]);
        if chunk.len() < size + 2 {
            break;
        }
        rest = &chunk[size + 2..];
    }
    Ok((body, false))
}

/// Waits until no request and no instance is left.
fn is_idle(server: &TestServer) -> Result<()> {
    let serving = server.serving();
    wait_until("all calls have ended", || {
        serving.live_instances() == 0 && serving.admitted_requests() == 0
    })
}

/// Returns the reason that a model is not served.
fn reason(server: &TestServer, model: &str) -> Result<String> {
    let index = server
        .request("POST /v2/repository/index", &[], b"{}")?
        .ok()?;
    let entries = index.as_array().context("no list")?;
    let entry = entries.iter().find(|entry| entry["name"] == model);
    let reason = entry.and_then(|entry| entry["reason"].as_str());
    Ok(reason.context("no reason")?.to_owned())
}

/// Returns the component of the application with 21 MiB that nothing reads, in a custom section.
fn large_application() -> Result<Vec<u8>> {
    const BYTES: u32 = 21 << 20;
    let mut wasm = std::fs::read(component("web_guest")?)?;
    // The length of the section in LEB128, of four bytes here, and an empty name.
    let groups = [BYTES, BYTES >> 7, BYTES >> 14, BYTES >> 21].map(|group| group & 0x7f);
    let groups: Vec<u8> = groups
        .into_iter()
        .map(u8::try_from)
        .collect::<Result<_, _>>()?;
    wasm.extend([
        0,
        groups[0] | 0x80,
        groups[1] | 0x80,
        groups[2] | 0x80,
        groups[3],
    ]);
    wasm.resize(wasm.len() + usize::try_from(BYTES)?, 0);
    Ok(wasm)
}

#[test]
fn a_component_above_the_limit_is_served_once_the_limit_is_raised() -> Result<()> {
    let repository = || -> Result<Repository> {
        Repository::empty()?.with_file("app/1/handler.wasm", large_application()?)
    };
    let server = TestServer::start(repository()?)?;
    let refusal = reason(&server, "app")?;
    for part in ["the limit is 20971520", "--max-component-bytes"] {
        ensure!(refusal.contains(part), "{refusal}");
    }
    let options = TestOptions {
        limits: Limits {
            component_bytes: 32 << 20,
            ..Limits::default()
        },
        ..TestOptions::default()
    };
    let server = TestServer::with_options(repository()?, options)?;
    ensure!(text(&call(&server, "hello")?)? == "hello");
    Ok(())
}

#[test]
fn an_application_computes_with_the_graph_of_its_model() -> Result<()> {
    let repository = repository()?.with_model("bare", "progression", None)?;
    let server = TestServer::start(repository)?;
    let features: Vec<f32> = (0..10_u8).map(|number| f32::from(number) / 100.0).collect();
    let request = json!({ "inputs": [{
        "name": "features", "datatype": "FP32", "shape": [1, 10], "data": features,
    }] });
    let native = server.infer("bare", &request)?.ok()?;
    let name = native["outputs"][0]["name"].as_str().context("no output")?;
    let body = serde_json::to_vec(&features)?;
    let response = server.request("POST /apps/app/infer", &[], &body)?;
    ensure!(response.status == 200, "{response:?}");
    let timing = response.header("server-timing").unwrap_or_default();
    ensure!(timing.contains("total;dur="), "{timing}");
    let answer: Value = serde_json::from_str(&text(&response)?)?;
    let (own, native) = (&answer[name][0], &output(&native, name)?["data"][0]);
    let difference = own.as_f64().context("no number")? - native.as_f64().context("no number")?;
    ensure!(difference.abs() < 1e-4, "{own} and {native}");
    let wrong = server.request("POST /apps/app/infer", &[], b"[1, 2]")?;
    ensure!(wrong.status == 500, "{wrong:?}");
    ensure!(text(&wrong)?.contains("InvalidArgument"), "{wrong:?}");
    Ok(())
}

/// Sends a row to the application from each of four threads at once. Returns the outputs in order.
fn compute_at_once(server: &TestServer) -> Result<Vec<Value>> {
    let compute = |number: u32| -> Result<Value> {
        let body = format!("[1,1,1,1,1,1,1,1,1,{number}]");
        let response = server.request("POST /apps/app/infer", &[], body.as_bytes())?;
        ensure!(response.status == 200, "{response:?}");
        Ok(serde_json::from_str(&text(&response)?)?)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|number| scope.spawn(move || compute(number)))
            .collect();
        let outputs = threads.into_iter().map(|thread| {
            let joined = thread.join();
            joined.map_err(|_| anyhow!("a thread panicked"))?
        });
        outputs.collect()
    })
}

#[test]
fn the_computations_of_an_application_are_joined_as_those_of_handlers() -> Result<()> {
    let server = |batching: &str| -> Result<TestServer> {
        let settings = format!("batching = {batching}\n");
        let repository = repository()?.with_file("app/model.toml", settings)?;
        TestServer::with_options(repository, patient())
    };
    let expected = compute_at_once(&server("'off'")?)?;
    // A batch of four rows leaves before the delay of an hour, and no smaller one does.
    let joined =
        server("{ preferred_batch_size = [4], max_queue_delay_microseconds = 3600000000 }")?;
    let found = compute_at_once(&joined)?;
    for (found, expected) in found.iter().zip(&expected) {
        ensure!(matches(expected, found, TOLERANCE), "{expected} {found}");
    }
    let statistics = joined.get("/v2/models/app/stats")?.ok()?;
    let executions = &statistics["model_stats"][0]["execution_count"];
    ensure!(*executions == 1, "{statistics}");
    Ok(())
}

#[test]
fn an_application_gets_the_request_as_it_was_sent() -> Result<()> {
    let server = TestServer::start(repository()?)?;
    let headers = [("x-given", "7"), ("content-encoding", "gzip")];
    let response = server.request("PUT /apps/app/a%20b/echo?x=1&y", &headers, b"a body")?;
    let expected = "Method::Put /apps/app/a%20b/echo x=1&y test 7 a body";
    assert_eq!(text(&response)?, expected);
    assert_eq!(text(&call(&server, "")?)?, "hello");
    assert_eq!(text(&server.get("/apps/app")?)?, "hello");
    let clock: u64 = text(&call(&server, "clock")?)?.parse()?;
    ensure!(clock > 0);
    let printed = text(&call(&server, "print")?)?;
    assert_eq!(printed, "Ok(())");
    let missing = server.get("/apps/other")?.error(404)?;
    ensure!(missing.contains("no such route"), "{missing}");
    Ok(())
}

#[test]
fn the_smallest_component_is_served() -> Result<()> {
    let wasm = std::fs::read(component("hello_guest")?)?;
    let repository = Repository::empty()?.with_file("hello/1/handler.wasm", wasm)?;
    let server = TestServer::start(repository)?;
    assert_eq!(text(&server.get("/apps/hello")?)?, "hello\n");
    Ok(())
}

#[test]
fn an_application_without_a_graph_is_served_from_a_single_file() -> Result<()> {
    let files = tempfile::tempdir()?;
    let file = files.path().join("greeter.wasm");
    std::fs::copy(component("web_guest")?, &file)?;
    let registry = loader(&TestOptions::default())?.load_repository(&file, &|_, _| ())?;
    let model = registry.web_model("/apps/greeter/x");
    assert_eq!(model.context("no route")?.as_str(), "greeter");
    let server = TestServer::start(with_app(Repository::empty()?, "greeter")?)?;
    assert_eq!(text(&server.get("/apps/greeter/hello")?)?, "hello");
    let failed = server.request("POST /apps/greeter/infer", &[], b"[1]")?;
    ensure!(text(&failed)?.contains("NotFound"), "{failed:?}");
    Ok(())
}

#[test]
fn a_model_chooses_its_route() -> Result<()> {
    let repository = with_app(Repository::of(&["wine"])?, "app")?
        .with_file("app/model.toml", "[http]\nroute = '/hello'")?;
    let repository = with_app(repository, "inner")?
        .with_file("inner/model.toml", "[http]\nroute = '/hello/in'")?;
    let server = TestServer::start(repository)?;
    for path in [
        "/hello",
        "/hello/echo",
        "/hello/in/echo",
        "/hello/inner/echo",
    ] {
        let response = server.get(path)?;
        let expected = match path {
            "/hello" => "hello".to_owned(),
            path => format!("Method::Get {path}  test  "),
        };
        assert_eq!(text(&response)?, expected);
    }
    server.get("/apps/app")?.error(404)?;
    server.get("/hello2")?.error(404)?;
    // The longer route is that of the other model.
    let counts = |model: &str| -> Result<Value> {
        let stats = server.get(&format!("/v2/models/{model}/stats"))?.ok()?;
        Ok(stats["model_stats"][0]["inference_stats"]["success"]["count"].clone())
    };
    is_idle(&server)?;
    assert_eq!((counts("app")?, counts("inner")?), (json!(3), json!(1)));
    Ok(())
}

#[test]
fn a_route_of_the_protocols_or_of_another_model_is_refused() -> Result<()> {
    let mut repository = Repository::of(&["wine"])?.with_file(
        "wine/model.toml",
        "optional = true\n[http]\nroute = '/wine'",
    )?;
    for (model, route) in [
        ("a", "/same"),
        ("b", "/same"),
        ("c", "/v2/c"),
        ("d", "hello"),
    ] {
        repository = with_app(repository, model)?.with_file(
            &format!("{model}/model.toml"),
            format!("optional = true\n[http]\nroute = '{route}'"),
        )?;
    }
    let server = TestServer::start(repository)?;
    assert_eq!(text(&server.get("/same")?)?, "hello");
    for (model, expected) in [
        ("b", "model `a` has the route `/same` already"),
        ("c", "the route `/v2/c` collides with `/v2`"),
        ("d", "`hello` is not a route"),
        ("wine", "the model is not a web component"),
    ] {
        let reason = reason(&server, model)?;
        ensure!(reason.contains(expected), "{model}: {reason}");
    }
    // A load that fails because of its route keeps the old version.
    let model_file = server.repository().join("a/model.toml");
    std::fs::write(model_file, "[http]\nroute = '/predict'")?;
    let load = server.request("POST /v2/repository/models/a/load", &[], b"")?;
    ensure!(load.error(400)?.contains("collides with `/predict`"));
    assert_eq!(text(&server.get("/same")?)?, "hello");
    Ok(())
}

#[test]
fn the_inference_protocols_name_the_route() -> Result<()> {
    let server = TestServer::start(repository()?)?;
    for path in [
        "/v2/models/app/infer",
        "/v1/models/app:predict",
        "/predict/app",
    ] {
        let refused = server.request(&format!("POST {path}"), &[], b"{}")?;
        let text = refused.error(400)?;
        ensure!(text.contains("its route `/apps/app`"), "{path}: {text}");
    }
    let metadata = server.get("/v2/models/app")?.ok()?;
    assert_eq!(
        (&metadata["inputs"], &metadata["outputs"]),
        (&json!([]), &json!([]))
    );
    ensure!(server.get("/v2/models/app/ready")?.status == 200);
    let index = server
        .request("POST /v2/repository/index", &[], b"{}")?
        .ok()?;
    assert_eq!(
        index[0],
        json!({ "name": "app", "version": "1", "state": "READY" })
    );
    let document = server.get("/openapi.json")?;
    ensure!(!String::from_utf8_lossy(&document.body).contains("models/app"));
    victim_is_well(&server)
}

#[test]
fn a_component_that_misbehaves_is_blamed_and_harms_nobody() -> Result<()> {
    let server = TestServer::with_options(repository()?, short())?;
    for (action, status, expected) in [
        ("loop", 504, "exceeded its time limit"),
        ("print-forever", 504, "exceeded its time limit"),
        ("trap", 502, "the model's web component failed"),
        ("allocate", 502, "`limits.memory_bytes`"),
        ("handles", 502, "the model's web component"),
        ("silent", 502, "without a response"),
        ("error", 502, "LoopDetected"),
        ("status?101", 502, "web component failed"),
        ("sleep", 504, "the deadline passed"),
    ] {
        // More often than there are threads, to detect a lost one.
        for _ in 0..3 {
            let error = call(&server, action)?.error(status);
            let error = error.with_context(|| action.to_owned())?;
            ensure!(error.contains(expected), "{action}: {error}");
        }
        victim_is_well(&server)?;
        assert_eq!(text(&call(&server, "hello")?)?, "hello", "{action}");
    }
    is_idle(&server)
}

#[test]
fn a_component_that_fails_within_its_body_ends_the_connection() -> Result<()> {
    let server = TestServer::with_options(repository()?, short())?;
    for action in ["trap-in-body", "loop-in-body"] {
        let response = call(&server, action)?;
        assert_eq!(response.status, 200);
        let (body, is_complete) = content(&response)?;
        assert_eq!(body, b"the beginning", "{action}");
        ensure!(!is_complete, "{action} looks complete");
    }
    victim_is_well(&server)?;
    is_idle(&server)
}

#[test]
fn a_response_is_sent_while_it_is_produced() -> Result<()> {
    let server = TestServer::with_options(repository()?, patient())?;
    let response = call(&server, "stream")?;
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    assert_eq!(text(&response)?, "onetwothree");
    let response = call(&server, "length?5")?;
    assert_eq!(response.header("content-length"), Some("5"));
    assert_eq!(text(&response)?, "hello");
    let response = server.request("HEAD /apps/app/stream", &[], b"")?;
    assert_eq!((response.status, response.body.len()), (200, 0));
    let response = call(&server, "status?204")?;
    assert_eq!((response.status, response.body.len()), (204, 0));
    assert_eq!(call(&server, "status?418")?.status, 418);
    is_idle(&server)
}

#[test]
fn an_endless_response_ends_with_its_deadline() -> Result<()> {
    let options = TestOptions {
        serving: short().serving,
        ..patient()
    };
    let server = TestServer::with_options(repository()?, options)?;
    let (body, is_complete) = content(&call(&server, "flood")?)?;
    ensure!(!is_complete && body.len() > 1 << 16, "{} bytes", body.len());
    victim_is_well(&server)?;
    is_idle(&server)
}

#[test]
fn a_client_that_leaves_ends_the_call() -> Result<()> {
    let server = TestServer::with_options(repository()?, patient())?;
    for action in ["sleep", "flood", "loop"] {
        let mut stream = TcpStream::connect(server.address())?;
        let head = format!("GET /apps/app/{action} HTTP/1.1\r\nhost: test\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        wait_until("the call has begun", || {
            server.serving().live_instances() == 1
        })?;
        if action == "flood" {
            stream.read_exact(&mut [0; 1000])?;
        }
        drop(stream);
        is_idle(&server).context(action)?;
    }
    victim_is_well(&server)
}

#[test]
fn requests_are_counted_by_their_outcome() -> Result<()> {
    let server = TestServer::start(repository()?)?;
    for action in [
        "hello",
        "stream",
        "length?5",
        "trap",
        "trap-in-body",
        "status?500",
    ] {
        call(&server, action)?;
    }
    is_idle(&server)?;
    let stats = server.get("/v2/models/app/stats")?.ok()?;
    let stats = &stats["model_stats"][0]["inference_stats"];
    let counts = ["success", "fail"].map(|kind| stats[kind]["count"].as_u64());
    assert_eq!(counts, [Some(4), Some(2)]);
    Ok(())
}

#[test]
fn requests_go_to_allowed_hosts_only() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let host = listener.local_addr()?;
    let settings = format!("[http]\nallowed_hosts = ['{host}']");
    let repository = repository()?.with_file("app/model.toml", settings)?;
    let repository = with_app(repository, "confined")?;
    let server = TestServer::start(repository)?;
    let other = std::thread::spawn(move || -> Result<String> {
        let (mut stream, _) = listener.accept()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.extend_from_slice(&byte);
        }
        stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 4\r\n\r\nfine")?;
        Ok(String::from_utf8(head)?)
    });
    let response = call(&server, &format!("fetch?{host}/path"))?;
    assert_eq!((response.status, text(&response)?.as_str()), (201, "fine"));
    let head = other
        .join()
        .ok()
        .context("the other server has panicked")??;
    ensure!(head.starts_with("GET /path HTTP/1.1\r\n"), "{head}");
    ensure!(head.contains(&format!("host: {host}\r\n")), "{head}");
    for (path, expected) in [
        (
            format!("/apps/app/fetch?{}", server.address()),
            "HttpRequestDenied",
        ),
        (format!("/apps/confined/fetch?{host}"), "HttpRequestDenied"),
        (
            format!("/apps/app/fetch?https://{host}"),
            "HttpProtocolError",
        ),
    ] {
        let refused = text(&server.get(&path)?)?;
        ensure!(refused.contains(expected), "{path}: {refused}");
    }
    Ok(())
}

#[test]
fn a_component_that_imports_more_than_it_is_granted_is_refused_by_name() -> Result<()> {
    let mut repository = Repository::of(&["wine"])?;
    for (model, import) in [
        ("a", "wasi:sockets/tcp@0.2.0"),
        ("b", "wisp:handler/configuration@0.1.0"),
    ] {
        let wat = format!(r#"(component (import "{import}" (instance)) {EXPORT})"#);
        repository = repository
            .with_file(&format!("{model}/1/handler.wasm"), wat::parse_str(wat)?)?
            .with_file(&format!("{model}/model.toml"), "optional = true")?;
    }
    let server = TestServer::start(repository)?;
    for (model, import) in [
        ("a", "wasi:sockets/tcp"),
        ("b", "wisp:handler/configuration"),
    ] {
        let reason = reason(&server, model)?;
        ensure!(reason.contains(&format!("imports `{import}")), "{reason}");
        // Its route exists, and the model behind it does not work.
        let unavailable = server.get(&format!("/apps/{model}/x"))?.error(503)?;
        ensure!(unavailable.contains("unavailable"), "{unavailable}");
    }
    victim_is_well(&server)
}

#[test]
fn an_application_is_unloaded_and_loaded_like_any_model() -> Result<()> {
    let server = TestServer::start(repository()?)?;
    let control = |action: &str| {
        let path = format!("POST /v2/repository/models/app/{action}");
        server.request(&path, &[], b"")
    };
    assert_eq!(control("unload")?.status, 200);
    call(&server, "hello")?.error(404)?;
    assert_eq!(control("load")?.status, 200);
    assert_eq!(text(&call(&server, "hello")?)?, "hello");
    Ok(())
}
