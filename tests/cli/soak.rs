//! A soak test: many kinds of requests at once for a while. Only expected statuses and right answers are returned, and
//! resources do not grow.

use super::footprint::{Footprint, resident_bytes};
use super::serve::{Serve, serve};
use crate::harness::{Repository, Response, TIMEOUT, component, output, scale};
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The duration at scale 1. From scale 300 on, the duration is half an hour.
const SHORT: Duration = Duration::from_secs(6);

/// The maximum growth of memory between the middle and the end, including the allocator's reserves.
const MAX_GROWTH: u64 = 64 << 20;

const WINE: &str = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,13],"data":[12.37,0.94,1.36,10.6,88.0,1.98,0.57,0.28,0.42,1.95,1.05,1.82,520.0]}]}"#;

const PROGRESSION: &str = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,10],"data":[59,2,32.1,101,157,93.2,38,4,4.8598,87]}]}"#;

/// A request and its permitted statuses.
type Case = (&'static str, &'static str, String, &'static [u16]);

fn cases() -> Vec<Vec<Case>> {
    let behave = |behaviour: &str| {
        format!(
            r#"{{"inputs":[{{"name":"behaviour","datatype":"BYTES","shape":[1],"data":["{behaviour}"]}}]}}"#
        )
    };
    let hostile = "/v2/models/hostile/infer";
    let post = "POST";
    // Each array runs on a thread of its own.
    vec![
        vec![
            (post, "/v2/models/wine/infer", WINE.to_owned(), &[200]),
            (
                post,
                "/v2/models/wine/infer",
                WINE.replace("520.0", "\"x\""),
                &[400],
            ),
            (post, "/v2/models/wine/infer", "[".repeat(100_000), &[400]),
        ],
        vec![
            (
                post,
                "/v2/models/progression/infer",
                PROGRESSION.to_owned(),
                &[200, 400, 404, 503],
            ),
            (
                post,
                "/v1/models/progression:predict",
                "{}".to_owned(),
                &[400, 404, 503],
            ),
            ("GET", "/openapi.json", String::new(), &[200]),
            ("GET", "/v2/models/stats", String::new(), &[200, 404]),
            ("GET", "/nothing", String::new(), &[404]),
        ],
        vec![
            (post, hostile, behave("honest"), &[200, 503]),
            (post, hostile, behave("trap"), &[502, 503]),
            (post, hostile, behave("grow"), &[200, 502, 503]),
            (post, hostile, behave("recurse"), &[502, 503]),
            (post, hostile, behave("hoard"), &[200, 502, 503, 504]),
            (post, hostile, behave("long_failure"), &[502, 503]),
        ],
        vec![
            (
                post,
                "/v2/repository/models/progression/load",
                String::new(),
                &[200],
            ),
            (
                post,
                "/v2/repository/models/progression/unload",
                String::new(),
                &[200],
            ),
            (
                post,
                "/v2/repository/models/none/load",
                String::new(),
                &[400, 404],
            ),
        ],
    ]
}

fn ask(address: &str, (method, path, body, expected): &Case) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    let response = Response::parse(&reply)?;
    let shown =
        || String::from_utf8_lossy(&response.body[..response.body.len().min(200)]).into_owned();
    ensure!(
        expected.contains(&response.status),
        "{method} {path}: {} {}",
        response.status,
        shown()
    );
    if body == WINE {
        let answer = response.ok()?;
        let class = &output(&answer, "class")?["data"][0];
        ensure!(*class == "class_1", "{answer}");
    }
    Ok(())
}

#[test]
fn a_mixed_load_leaks_no_memory_threads_or_descriptors() -> Result<()> {
    let repository = Repository::of(&["progression", "wine"])?.with_model(
        "hostile",
        "progression",
        Some(component("hostile_guest")?),
    )?;
    let mut command = serve(repository.path());
    command.stderr(Stdio::null());
    let mut server = Serve::spawn(command)?;
    let process = server.child.id();
    // Everything has been used once.
    for case in cases().iter().flatten() {
        ask(&server.address, case)?;
    }
    let at_rest = Footprint::of(process)?;
    let time = SHORT * u32::try_from(scale())?;
    let asked = AtomicU64::new(0);
    let middle = std::thread::scope(|scope| {
        let end = Instant::now() + time;
        let (address, asked) = (&server.address, &asked);
        let threads: Vec<_> = cases()
            .into_iter()
            .map(|cases| {
                scope.spawn(move || -> Result<()> {
                    while Instant::now() < end {
                        for case in &cases {
                            ask(address, case)?;
                            asked.fetch_add(1, Relaxed);
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        // The first half is for allocations that happen once: threads, plans, buffers.
        let mut middle = 0;
        for thread in threads {
            while !thread.is_finished() {
                if middle == 0 && Instant::now() + time / 2 > end {
                    middle = resident_bytes(process)?;
                }
                std::thread::yield_now();
            }
            thread.join().ok().context("a client panicked")??;
        }
        anyhow::Ok(middle)
    })?;
    let growth = resident_bytes(process)?.saturating_sub(middle);
    ensure!(growth < MAX_GROWTH, "{} MiB more", growth >> 20);
    at_rest.wait_for(process)?;
    ensure!(asked.load(Relaxed) > 50, "only {asked:?} requests");
    server.signal("-TERM")?;
    let ended = server.child.wait()?;
    ensure!(ended.code() == Some(0), "{ended}");
    Ok(())
}
