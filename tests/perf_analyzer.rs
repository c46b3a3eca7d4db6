//! Tests with NVIDIA's perf_analyzer, which sends requests as fast as the server answers them, and reads the metadata,
//! the configuration and the statistics of a model.

mod program;

use crate::clients::triton_server;
use crate::harness::TestServer;
use crate::python;
use anyhow::{Context, Result, ensure};
use std::process::{Command, Output};

/// Settings with which the program's measurement ends after a fraction of a second, however busy the machine is.
const ONE_WINDOW: [&str; 4] = [
    "--measurement-interval",
    "100",
    "--stability-percentage",
    "1000000",
];

/// Requests that every protocol supports, by the arguments that describe them.
const LOADS: [&[&str]; 11] = [
    &["-m", "simple", "--input-data", "zero"],
    &["-m", "simple", "--input-data", "random", "-b", "8"],
    &["-m", "simple", "-x", "1", "--input-data", "random"],
    &["-m", "unbatched", "--input-data", "random"],
    &["-m", "strings", "--input-data", "zero"],
    &["-m", "strings", "--string-length", "300"],
    &["-m", "simple_string", "--string-data", "7"],
    &["-m", "flags", "--input-data", "zero"],
    // Random bytes, of which any but 0 is true.
    &["-m", "flags", "--input-data", "random", "-b", "4"],
    &["-m", "simple", "--async", "--concurrency-range", "4"],
    &[
        "-m", "variable", "--shape", "INPUT0:5", "--shape", "INPUT1:5",
    ],
];

/// Rows with the outputs that they must have, which the program compares.
const VALIDATED: &str = r#"{
    "data": [{"INPUT0": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
              "INPUT1": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]}],
    "validation_data": [{"OUTPUT0": [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17],
                         "OUTPUT1": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]}]
}"#;

/// A server of the models of `clients/triton_models.py`, and the arguments that select it and the protocol.
struct Target {
    server: TestServer,
    arguments: Vec<String>,
}

#[test]
fn perf_analyzer_measures_over_http() -> Result<()> {
    let target = Target::over_http()?;
    target.measures_every_load()?;
    let json = ["--input-tensor-format", "json"];
    let answers = ["--output-tensor-format", "json"];
    for model in ["simple", "strings"] {
        target.counts(&[["-m", model].as_slice(), &json, &answers].concat())?;
    }
    target.measures_rising_loads()
}

#[test]
fn perf_analyzer_measures_over_grpc() -> Result<()> {
    let target = Target::over_grpc()?;
    target.measures_every_load()?;
    for further in [
        ["--streaming", "--async"].as_slice(),
        &["--grpc-compression-algorithm", "gzip"],
        &["--grpc-compression-algorithm", "deflate"],
        &["--request-parameter", "count:1:int"],
    ] {
        target.counts(&[["-m", "simple"].as_slice(), further].concat())?;
    }
    target.measures_rising_loads()
}

#[test]
fn perf_analyzer_shows_the_reason_of_a_failure() -> Result<()> {
    for target in [Target::over_http()?, Target::over_grpc()?] {
        for (load, reason) in [
            (
                ["-m", "nope", "-b", "1"],
                "unknown model: 'nope' is not found",
            ),
            (
                ["-m", "simple", "-x", "7"],
                "'simple' version 7 is not found",
            ),
            (["-m", "simple", "-b", "9"], "expected 1 to 8"),
        ] {
            let printed = target.fails(&load)?;
            ensure!(printed.contains(reason), "{load:?}: {printed}");
        }
    }
    Ok(())
}

// === impl Target ===

impl Target {
    fn over_http() -> Result<Target> {
        let server = triton_server()?;
        let arguments = vec!["-u".to_owned(), server.address().to_string()];
        Ok(Target { server, arguments })
    }

    fn over_grpc() -> Result<Target> {
        let server = triton_server()?;
        let address = server.grpc_address().to_string();
        let arguments = ["-i", "grpc", "-u", &address].map(str::to_owned).into();
        Ok(Target { server, arguments })
    }

    fn command(&self, load: &[&str]) -> Result<Command> {
        let mut command = program::command()?;
        command.args(&self.arguments).args(load);
        Ok(command)
    }

    /// Sends requests of every kind, and checks the values of one kind.
    fn measures_every_load(&self) -> Result<()> {
        for load in LOADS {
            self.counts(load)?;
        }
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("rows.json");
        std::fs::write(&file, VALIDATED)?;
        let file = file.to_str().context("a path that is not Unicode")?;
        self.counts(&["-m", "simple", "--input-data", file])?;
        // That the program compares the values shows with values that are wrong.
        std::fs::write(file, VALIDATED.replace("[0, 1, 2,", "[0, 1, 3,"))?;
        let printed = self.fails(&["-m", "simple", "--input-data", file])?;
        ensure!(
            printed.contains("Output doesn't match expected output"),
            "{printed}"
        );
        Ok(())
    }

    /// Measures ranges of concurrent requests and of rates. The number of requests depends on the machine.
    fn measures_rising_loads(&self) -> Result<()> {
        for (range, steps) in [
            (["--concurrency-range", "1:3"], 3),
            (["--request-rate-range", "50:100:50"], 2),
        ] {
            let load = [["-m", "simple"].as_slice(), &range, &ONE_WINDOW].concat();
            let output = self.succeed(&load)?;
            let printed = String::from_utf8_lossy(&output.stdout);
            let measured = printed.matches("throughput: ").count();
            ensure!(measured == steps, "{load:?}: {printed}");
        }
        self.server.get("/v2/health/ready")?.ok()?;
        Ok(())
    }

    /// Sends ten requests, and checks that the program has counted them. It asks the server for its counts before
    /// and after, but not always before the first request.
    fn counts(&self, load: &[&str]) -> Result<()> {
        let load = [load, &["--request-count", "10"]].concat();
        let output = self.succeed(&load)?;
        let printed = String::from_utf8_lossy(&output.stdout);
        for part in ["    Request count: 10\n", "    Successful request count: "] {
            ensure!(printed.contains(part), "{load:?}: {printed}");
        }
        Ok(())
    }

    /// Runs the program, again if it had to be ended: it does not always end by itself.
    fn succeed(&self, load: &[&str]) -> Result<Output> {
        let mut command = self.command(load)?;
        for _ in 0..2 {
            let output = command.output()?;
            if output.status.code() != Some(program::ENDED) {
                let said = String::from_utf8_lossy(&output.stderr);
                ensure!(output.status.success(), "{command:?}: {said}");
                return Ok(output);
            }
        }
        python::succeed(&mut command)
    }

    /// Returns what the program prints when it fails.
    fn fails(&self, load: &[&str]) -> Result<String> {
        let load = [load, &["--request-count", "10"]].concat();
        let output = self.command(&load)?.output()?;
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        ensure!(!output.status.success(), "{load:?}: {printed}");
        Ok(printed)
    }
}
