//! The `wisp` command: parses arguments, runs a subcommand and converts its outcome to an exit code.
//!
//! `options` defines the arguments, and `configuration` merges them with the environment and the
//! configuration file. Each subcommand is one module with one `run` function. Subcommands
//! do not call each other, except that `serve --build` and `bundle --build` build first. Every error is returned to `main`
//! and printed once, by `failure`.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool prints to its terminal"
)]

mod backend;
mod baseline;
mod bench;
mod build;
mod bundle;
mod cases;
mod check;
mod child;
mod config;
mod configuration;
mod confinement;
mod display;
mod failure;
mod handler_lines;
mod health;
mod infer;
mod inspect;
mod loading;
mod local_call;
mod model_schema;
mod new;
mod oci;
mod options;
mod progress;
mod pull;
mod push;
mod release;
mod serve;
mod server_client;
mod spawner;
mod tenant;

use configuration::Configuration;
use options::Command;
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

/// After bursts of requests with hundreds of MiB, glibc's allocator retains about a gigabyte
/// indefinitely. jemalloc, with the build-time configuration in `.cargo/config.toml`, returns large
/// blocks at once and small ones soon.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let configuration = match configuration::parse(std::env::args_os().collect()) {
        Ok(configuration) => configuration,
        Err(error) => return failure::report(&error),
    };
    let Configuration { options, effective } = &configuration;
    let outcome = match &options.command {
        Command::Serve(args) => serve::run(args, effective),
        Command::New(args) => new::run(args),
        Command::Build(args) => build::run(args),
        Command::Check(args) => check::run(args),
        Command::Bundle(args) => bundle::run(args),
        Command::Infer(args) => infer::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Baseline(args) => baseline::run(args),
        Command::Push(args) => push::run(args),
        Command::Pull(args) => pull::run(args),
        Command::Backend(args) => backend::run(args),
        Command::Health(args) => health::run(args),
        Command::Release(args) => release::run(args),
        Command::Tenant(args) => tenant::run(args),
        Command::Config(args) => config::run(args),
        Command::Child(args) => child::run(args),
    };
    outcome.unwrap_or_else(|error| failure::report(&error))
}
