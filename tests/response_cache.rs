//! Tests of cached responses: in the memory of one server, and in a Redis that several servers share.

use crate::harness::{Certificate, Repository, TestOptions, TestServer, scale, wait_until};
use crate::redis::Redis;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};
use wisp_serving::ServingOptions;
use wisp_serving::response_cache::ResponseCacheOptions;
use wisp_serving::response_cache::redis_server::{RedisServer, RedisSettings};

const CACHED: &str = "[cache]\nenabled = true\nttl_seconds = 3600\n";

/// Far more than any operation takes, so that no test depends on the speed of the machine, and less than the time limit of
/// a request, without which nothing is written.
const PATIENT: Duration = Duration::from_secs(5);

/// Creates a repository with the model `m`, whose responses are cached.
fn repository() -> Result<Repository> {
    Repository::empty()?
        .with_model("m", "progression", None)?
        .with_file("m/model.toml", CACHED)
}

/// Starts a server of this repository that uses a Redis server.
fn sharing(
    repository: Repository,
    redis: RedisSettings<'_>,
    redis_timeout: Duration,
) -> Result<TestServer> {
    let default = TestOptions::default();
    let options = TestOptions {
        serving: ServingOptions {
            cache: ResponseCacheOptions {
                redis: Some(RedisServer::new(redis)?),
                redis_timeout,
                ..ResponseCacheOptions::default()
            },
            ..default.serving
        },
        ..default
    };
    TestServer::with_options(repository, options)
}

/// Returns the settings of a Redis server without a password and without TLS.
fn plain(url: &str) -> RedisSettings<'_> {
    RedisSettings {
        url,
        ..RedisSettings::default()
    }
}

/// Returns a request with ten measurements of a patient, one of them this number.
fn request(number: usize) -> Value {
    let mut data = vec![json!(1.0); 10];
    data[9] = json!(number);
    json!({ "inputs": [{ "name": "features", "datatype": "FP32", "shape": [1, 10], "data": data }] })
}

fn infer(server: &TestServer, number: usize) -> Result<Value> {
    server.infer("m", &request(number))?.ok()
}

/// Returns the counts of hits, misses and executions.
fn counts(server: &TestServer) -> Result<[u64; 3]> {
    let statistics = server.get("/v2/models/m/stats")?.ok()?;
    let model = &statistics["model_stats"][0];
    let requests = &model["inference_stats"];
    let counts = [
        &requests["cache_hit"]["count"],
        &requests["cache_miss"]["count"],
        &model["execution_count"],
    ];
    let counts = counts.map(|count| count.as_u64().context("no count"));
    let [hits, misses, executions] = counts;
    Ok([hits?, misses?, executions?])
}

#[test]
fn a_response_from_the_cache_is_the_computed_one() -> Result<()> {
    let server = TestServer::start(repository()?)?;
    let first = infer(&server, 1)?;
    ensure!(infer(&server, 1)? == first);
    ensure!(infer(&server, 2)? != first);
    ensure!(counts(&server)? == [1, 2, 2], "{:?}", counts(&server)?);
    let statistics = server.get("/v2/models/m/stats")?.ok()?;
    let model = &statistics["model_stats"][0];
    ensure!(model["inference_stats"]["success"]["count"] == 3);
    ensure!(model["inference_count"] == 2, "{statistics}");
    Ok(())
}

#[test]
fn other_protocols_share_the_response_and_another_representation_is_made_of_it() -> Result<()> {
    let server = TestServer::start(repository()?)?;
    let mut binary = request(1);
    let json = server.infer("m", &binary)?.ok()?;
    binary["parameters"] = json!({ "binary_data_output": true });
    let response = server.infer("m", &binary)?;
    ensure!(response.header("inference-header-content-length").is_some());
    let predict = json!({ "inputs": { "features": [[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]] } });
    let tfs = server.request(
        "POST /v1/models/m:predict",
        &[],
        &serde_json::to_vec(&predict)?,
    )?;
    tfs.ok().with_context(|| format!("{json}"))?;
    ensure!(counts(&server)? == [2, 1, 1], "{:?}", counts(&server)?);
    Ok(())
}

#[test]
fn a_request_can_decline_the_cache() -> Result<()> {
    let server = TestServer::start(repository()?)?;
    let mut declining = request(1);
    declining["parameters"] = json!({ "response_cache": false });
    for _ in 0..2 {
        server.infer("m", &declining)?.ok()?;
    }
    ensure!(counts(&server)? == [0, 0, 2], "{:?}", counts(&server)?);
    Ok(())
}

#[test]
fn only_models_that_say_so_are_cached_and_a_client_may_say_so_with_a_load() -> Result<()> {
    let repository = Repository::empty()?.with_model("m", "progression", None)?;
    let server = TestServer::start(repository)?;
    let shown = || -> Result<Value> {
        let config = server.get("/v2/models/m/config")?.ok()?;
        Ok(config["response_cache"].clone())
    };
    infer(&server, 1)?;
    infer(&server, 1)?;
    ensure!(counts(&server)? == [0, 0, 2], "{:?}", counts(&server)?);
    ensure!(shown()?.is_null(), "{}", shown()?);
    let config = json!({ "response_cache": { "enable": true } }).to_string();
    let load = json!({ "parameters": { "config": config } });
    let path = "POST /v2/repository/models/m/load";
    server
        .request(path, &[], &serde_json::to_vec(&load)?)?
        .ok()?;
    infer(&server, 1)?;
    infer(&server, 1)?;
    ensure!(counts(&server)? == [1, 1, 1], "{:?}", counts(&server)?);
    ensure!(shown()? == json!({ "enable": true }), "{}", shown()?);
    Ok(())
}

#[test]
fn a_reload_with_other_files_computes_anew() -> Result<()> {
    let server = TestServer::start(repository()?)?;
    infer(&server, 1)?;
    let reload = || -> Result<Value> {
        let path = "POST /v2/repository/models/m/load";
        server.request(path, &[], b"")?.ok()
    };
    std::fs::write(server.repository().join("m/1/notes.txt"), "another file")?;
    reload()?;
    infer(&server, 1)?;
    ensure!(counts(&server)? == [0, 1, 1], "{:?}", counts(&server)?);
    Ok(())
}

#[test]
fn handlers_with_grants_are_not_cached() -> Result<()> {
    let guest = std::fs::read(crate::harness::component("granted_guest")?)?;
    let settings = format!("[handler]\ngrants = ['random', 'clock']\n{CACHED}");
    let repository = Repository::empty()?
        .with_file("m/1/handler.wasm", guest)?
        .with_file("m/model.toml", settings)?;
    let server = TestServer::start(repository)?;
    let index = server
        .request("POST /v2/repository/index", &[], b"")?
        .ok()?;
    let reason = index[0]["reason"].as_str().context("it is served")?;
    ensure!(reason.contains("grant `random`"), "{reason}");
    Ok(())
}

#[test]
fn servers_share_responses_in_redis() -> Result<()> {
    let redis = Redis::start("--port", &[])?;
    let url = format!("redis://127.0.0.1:{}", redis.port());
    let one = sharing(repository()?, plain(&url), PATIENT)?;
    let other = sharing(repository()?, plain(&url), PATIENT)?;
    let computed = infer(&one, 1)?;
    ensure!(redis.names()?.len() == 1, "{:?}", redis.names()?);
    ensure!(infer(&other, 1)? == computed);
    ensure!(counts(&other)? == [1, 0, 0], "{:?}", counts(&other)?);
    // The second is answered from memory.
    redis.command(&["FLUSHALL"])?;
    ensure!(infer(&other, 1)? == computed);
    ensure!(counts(&other)? == [2, 0, 0], "{:?}", counts(&other)?);
    let milliseconds = {
        infer(&one, 2)?;
        let names = redis.names()?;
        redis.command(&["PTTL", names.first().context("nothing is stored")?])?
    };
    let milliseconds: u64 = milliseconds.parse()?;
    ensure!((1..=3_600_000).contains(&milliseconds), "{milliseconds}");
    Ok(())
}

#[test]
fn servers_with_other_files_share_nothing() -> Result<()> {
    let redis = Redis::start("--port", &[])?;
    let url = format!("redis://127.0.0.1:{}", redis.port());
    let one = sharing(repository()?, plain(&url), PATIENT)?;
    infer(&one, 1)?;
    let changed = repository()?.with_file("m/1/notes.txt", "another file")?;
    let settings = format!("max_batch_size = 8\n{CACHED}");
    let configured = repository()?.with_file("m/model.toml", settings)?;
    for other in [changed, configured] {
        let other = sharing(other, plain(&url), PATIENT)?;
        infer(&other, 1)?;
        ensure!(counts(&other)? == [0, 1, 1], "{:?}", counts(&other)?);
    }
    Ok(())
}

#[test]
fn values_that_are_no_responses_are_misses() -> Result<()> {
    let redis = Redis::start("--port", &[])?;
    let url = format!("redis://127.0.0.1:{}", redis.port());
    let one = sharing(repository()?, plain(&url), PATIENT)?;
    let computed = infer(&one, 1)?;
    let names = redis.names()?;
    let name = names.first().context("nothing is stored")?;
    let huge = "x".repeat(3 << 20);
    let poisons: [&[&str]; 4] = [
        &["SET", name, "wisp response 1\n"],
        &["SETRANGE", name, "0", "another form"],
        &["SETRANGE", name, "60", "\u{1}\u{2}"],
        &[
            "EVAL",
            "redis.call('DEL', KEYS[1]); return redis.call('LPUSH', KEYS[1], 'a list')",
            "1",
            name,
        ],
    ];
    for poison in poisons {
        redis.command(poison)?;
        let other = sharing(repository()?, plain(&url), PATIENT)?;
        ensure!(infer(&other, 1)? == computed, "{poison:?}");
        ensure!(counts(&other)? == [0, 1, 1], "{poison:?}");
        // A computed response replaces the value, also one of another type.
        let again = sharing(repository()?, plain(&url), PATIENT)?;
        ensure!(infer(&again, 1)? == computed, "{poison:?}");
        ensure!(counts(&again)? == [1, 0, 0], "{poison:?}");
    }
    // An argument of a process is shorter than a value that is too large.
    for part in huge.as_bytes().chunks(100_000) {
        redis.command(&["APPEND", name, std::str::from_utf8(part)?])?;
    }
    let other = sharing(repository()?, plain(&url), PATIENT)?;
    ensure!(infer(&other, 1)? == computed);
    ensure!(counts(&other)? == [0, 1, 1], "{:?}", counts(&other)?);
    Ok(())
}

#[test]
fn no_request_fails_while_redis_is_killed_and_restarted() -> Result<()> {
    let mut redis = Redis::start("--port", &[])?;
    let url = format!("redis://127.0.0.1:{}", redis.port());
    let timeout = ResponseCacheOptions::default().redis_timeout;
    let one = sharing(repository()?, plain(&url), timeout)?;
    let other = sharing(repository()?, plain(&url), timeout)?;
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let answered = AtomicUsize::new(0);
    let load = |server: &TestServer| -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            // Each request is sent twice, and is new to both servers.
            let number = next.fetch_add(1, Ordering::Relaxed) / 2;
            infer(server, number)?;
            answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let more = |requests: usize| {
        let before = answered.load(Ordering::Relaxed);
        let what = format!("{requests} more responses");
        wait_until(&what, || {
            answered.load(Ordering::Relaxed) >= before + requests
        })
    };
    scope(|scope| -> Result<()> {
        let clients: Vec<_> = [&one, &other, &one, &other]
            .into_iter()
            .map(|server| scope.spawn(move || load(server)))
            .collect();
        let mut outages = || -> Result<()> {
            for _ in 0..2 * scale() {
                more(50)?;
                redis.kill()?;
                more(50)?;
                redis.restart()?;
            }
            more(50)
        };
        let outages = outages();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            let ended = client.join();
            ended.map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        outages
    })?;
    // The servers find the new Redis by themselves.
    let mut number = 1_000_000;
    wait_until("the servers share responses again", || {
        number += 1;
        let hits = || counts(&other).map_or(0, |[hits, _, _]| hits);
        let before = hits();
        let both = infer(&one, number).and_then(|_| infer(&other, number));
        both.is_ok() && hits() > before
    })
}

#[test]
fn a_server_whose_redis_is_missing_answers() -> Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let url = format!("redis://{}", listener.local_addr()?);
    // It accepts connections and never answers.
    let timeout = Duration::from_millis(500);
    let server = sharing(repository()?, plain(&url), timeout)?;
    let started = Instant::now();
    for number in 0..20 {
        infer(&server, number)?;
    }
    let took = started.elapsed();
    // Twenty reads and writes that wait would take twenty seconds. The stated budget is three requests whose two
    // operations wait; the rest is for the requests themselves.
    let budget = timeout * (3 * 2) + Duration::from_secs(5);
    ensure!(took < budget, "{took:?} of {budget:?}");
    let redis = server.serving().cache().redis_counts();
    let redis = redis.context("the cache uses Redis")?;
    // Besides the first operation, one a second tries whether Redis answers.
    ensure!(
        redis.answered == 0 && redis.failed <= 1 + took.as_secs(),
        "{redis:?}"
    );
    ensure!(redis.skipped >= 30, "{redis:?}");
    infer(&server, 1)?;
    ensure!(counts(&server)? == [1, 20, 20], "{:?}", counts(&server)?);
    Ok(())
}

#[test]
fn redis_may_have_a_password() -> Result<()> {
    let redis = Redis::start("--port", &["--requirepass", "an open secret"])?;
    let port = redis.port();
    let within = format!("redis://:an%20open%20secret@127.0.0.1:{port}");
    let url = format!("redis://127.0.0.1:{port}");
    let beside = RedisSettings {
        url: &url,
        password: Some("an open secret"),
        authority: None,
    };
    let one = sharing(repository()?, plain(&within), PATIENT)?;
    let other = sharing(repository()?, beside, PATIENT)?;
    infer(&one, 1)?;
    infer(&other, 1)?;
    ensure!(counts(&other)? == [1, 0, 0], "{:?}", counts(&other)?);
    let without = sharing(repository()?, plain(&url), PATIENT)?;
    infer(&without, 1)?;
    ensure!(counts(&without)? == [0, 1, 1], "{:?}", counts(&without)?);
    Ok(())
}

#[test]
fn redis_may_use_tls_with_a_certificate_of_an_own_authority() -> Result<()> {
    let certificate = Certificate::new()?;
    let files = certificate.files();
    let path = |path: &std::path::Path| path.to_str().map(str::to_owned).context("not Unicode");
    let arguments = [
        "--port".to_owned(),
        "0".to_owned(),
        "--tls-auth-clients".to_owned(),
        "no".to_owned(),
        "--tls-cert-file".to_owned(),
        path(&files.certificate)?,
        "--tls-key-file".to_owned(),
        path(&files.key)?,
        "--tls-ca-cert-file".to_owned(),
        path(&certificate.authority())?,
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let redis = Redis::start("--tls-port", &arguments)?;
    let url = format!("rediss://localhost:{}", redis.port());
    let trusting = || -> Result<TestServer> {
        let settings = RedisSettings {
            url: &url,
            password: None,
            authority: Some(std::fs::read(certificate.authority())?),
        };
        sharing(repository()?, settings, PATIENT)
    };
    infer(&trusting()?, 1)?;
    let other = trusting()?;
    infer(&other, 1)?;
    ensure!(counts(&other)? == [1, 0, 0], "{:?}", counts(&other)?);
    // A server that does not trust the authority computes.
    let wary = sharing(repository()?, plain(&url), PATIENT)?;
    infer(&wary, 1)?;
    ensure!(counts(&wary)? == [0, 1, 1], "{:?}", counts(&wary)?);
    Ok(())
}
