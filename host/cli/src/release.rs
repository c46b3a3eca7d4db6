//! `wisp release`: controls the releases of a running server over HTTP.
//!
//! The server decides; this module sends requests and prints the state of the release.

use crate::options::{
    LatencyChoice, ReleaseCommand, ReleaseCommandArgs, ReleaseModelArgs, ReleaseServerArgs,
    ReleaseStartArgs,
};
use crate::server_client::{ServerResponse, agent, get, post, reachable};
use anyhow::{Context, bail};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use wisp_protocol::call::ModelName;
use wisp_protocol::release::{Latency, ReleaseSettings, ReleaseStart, start_document};
use wisp_tensor::OneLine;

/// Runs the selected subcommand of `wisp release`.
pub(crate) fn run(args: &ReleaseCommandArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        ReleaseCommand::Start(args) => start(args),
        ReleaseCommand::Status(args) => {
            let url = url(&args.server, &args.model, "");
            let agent = agent(args.server.timeout_secs.0, args.server.insecure);
            print(&get(&agent, &url)?, &args.server)
        }
        ReleaseCommand::Promote(args) => change(args, "/promote"),
        ReleaseCommand::Abort(args) => change(args, "/abort"),
        ReleaseCommand::Close(args) => change(args, "/close"),
    }
}

fn start(args: &ReleaseStartArgs) -> anyhow::Result<ExitCode> {
    let document = start_document(&ReleaseStart {
        candidate: args.candidate,
        stable: args.stable,
        settings: ReleaseSettings {
            weight_percent: args.weight,
            shadow_percent: args.shadow,
            tolerance: args.tolerance,
            min_requests: args.min_requests,
            max_error_percent: Some(args.max_errors),
            max_latency_ratio: args.max_latency_ratio,
            latency: match args.latency {
                LatencyChoice::P99 => Latency::P99,
                LatencyChoice::Mean => Latency::Mean,
            },
            max_disagreement_percent: args.max_disagreement,
        },
    });
    let url = url(&args.server, &args.model, "/start");
    let agent = agent(args.server.timeout_secs.0, args.server.insecure);
    print(&post(&agent, &url, &document)?, &args.server)
}

fn change(args: &ReleaseModelArgs, verb: &str) -> anyhow::Result<ExitCode> {
    let url = url(&args.server, &args.model, verb);
    let agent = agent(args.server.timeout_secs.0, args.server.insecure);
    print(&post(&agent, &url, b"")?, &args.server)
}

/// Returns the URL of the release of a model.
fn url(server: &ReleaseServerArgs, model: &ModelName, verb: &str) -> String {
    let origin = match &server.url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => format!("http://{}", reachable(server.http)),
    };
    format!("{origin}/v2/repository/models/{model}/release{verb}")
}

/// Prints the state of the release, or fails with the message of the server.
fn print(response: &ServerResponse, server: &ReleaseServerArgs) -> anyhow::Result<ExitCode> {
    let ServerResponse { status, body } = response;
    let document: Option<Value> = serde_json::from_str(body).ok();
    if *status != 200 {
        let message = document
            .as_ref()
            .and_then(|document| document["error"].as_str());
        match message {
            Some(message) => bail!("{}", OneLine(message)),
            None => bail!("the server responded with status {status}"),
        }
    }
    let document = document.context("the response of the server is not JSON")?;
    let mut out = std::io::stdout();
    match server.json {
        true => writeln!(out, "{document}")?,
        false => out.write_all(summary(&document)?.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the state of a release as text.
fn summary(status: &Value) -> anyhow::Result<String> {
    let text = |key: &str| status[key].as_str().unwrap_or("-").to_owned();
    let settings = &status["settings"];
    let mut out = String::new();
    writeln!(
        out,
        "{}: {}, {} % to version {}",
        text("model"),
        text("phase").replace('_', " "),
        match status["phase"].as_str() {
            Some("running") => settings["weight_percent"].clone(),
            Some("promoted") => Value::from(100),
            _ => Value::from(0),
        },
        text("candidate"),
    )?;
    for (name, version, counts) in [
        ("stable", text("stable"), &status["stable_requests"]),
        (
            "candidate",
            text("candidate"),
            &status["candidate_requests"],
        ),
    ] {
        writeln!(
            out,
            "  {name:9}  version {version}: {}",
            counts_text(counts)
        )?;
    }
    let shadow = &status["shadow"];
    if settings["shadow_percent"] != 0.0 || shadow["requests"] != 0 {
        writeln!(
            out,
            "  shadow     {}, {} dropped, {} of {} responses disagree",
            counts_text(shadow),
            shadow["dropped"],
            shadow["disagreed"],
            shadow["compared"],
        )?;
        for (name, output) in shadow["outputs"].as_object().into_iter().flatten() {
            writeln!(
                out,
                "    {}: {} of {} labels agree, largest difference {} ({} relative), {} of another type or shape",
                OneLine(name),
                output["labels_agreed"],
                output["labels"],
                output["max_absolute_difference"],
                output["max_relative_difference"],
                output["mismatched"],
            )?;
        }
    }
    for event in status["events"].as_array().into_iter().flatten() {
        let kind = event["event"].as_str().unwrap_or("-").replace('_', " ");
        match event["reason"].as_str() {
            Some(reason) => writeln!(out, "  {kind}: {}", OneLine(reason))?,
            None => writeln!(out, "  {kind}")?,
        }
    }
    Ok(out)
}

fn counts_text(counts: &Value) -> String {
    let mut text = format!(
        "{} requests, {} failed",
        counts["requests"], counts["failures"]
    );
    if let Some(rejected) = counts["rejected"].as_u64().filter(|rejected| *rejected > 0) {
        text += &format!(", {rejected} more were invalid");
    }
    if let (Some(mean), Some(p99)) = (
        counts["mean_milliseconds"].as_f64(),
        counts["p99_milliseconds"].as_f64(),
    ) {
        text += &format!(", mean {mean:.2} ms, p99 {p99:.2} ms");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_summary_shows_the_phase_the_counts_and_the_events() -> anyhow::Result<()> {
        let status = json!({
            "model": "m", "stable": "1", "candidate": "2", "phase": "rolled_back",
            "settings": { "weight_percent": 10.0, "shadow_percent": 0.0 },
            "stable_requests": {
                "requests": 9, "failures": 0, "mean_milliseconds": 1.0, "p99_milliseconds": 2.5,
            },
            "candidate_requests": { "requests": 1, "failures": 1, "rejected": 3 },
            "shadow": {
                "requests": 0, "failures": 0, "dropped": 0, "compared": 0, "disagreed": 0,
                "outputs": {},
            },
            "events": [
                { "event": "started" },
                { "event": "rolled_back", "reason": "1 of 1 requests of the candidate failed" },
            ],
        });
        assert_eq!(
            summary(&status)?,
            "m: rolled back, 0 % to version 2\n  \
               stable     version 1: 9 requests, 0 failed, mean 1.00 ms, p99 2.50 ms\n  \
               candidate  version 2: 1 requests, 1 failed, 3 more were invalid\n  \
               started\n  \
               rolled back: 1 of 1 requests of the candidate failed\n"
        );
        Ok(())
    }
}
