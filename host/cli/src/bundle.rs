//! `wisp bundle`: makes one component of a model, a backend and an HTTP adapter, for hosts of wasi:http.
//!
//! The modules in the order of the command: `source` loads the version natively, as `wisp check` does,
//! `engine` chooses the backend and prepares the graphs for it, `modules` finds the prebuilt modules,
//! `contents` collects what they are given, `composition` composes them with the handler, `imports` checks what is
//! left to import, `trial` runs the golden cases in the result and natively, and `target` writes it. No compiler of
//! Rust runs, except with `--build`.
//!
//! Invariant: nothing is written before the bundle has answered as the native backend does.

mod composition;
mod contents;
mod engine;
pub(crate) mod finished;
mod imports;
mod modules;
mod response;
mod rest_request;
mod sample;
mod size_limit;
mod source;
pub(crate) mod target;
mod trial;

use crate::build::{self, Rebuild};
use crate::display;
use crate::failure::bad_configuration;
use crate::handler_lines;
use crate::loading::{edge_module_store, expect_model};
use crate::options::{BundleArgs, TargetChoice};
use anyhow::Context;
use contents::Contents;
use finished::{Bundle, BundleParts};
use flate2::Compression;
use flate2::write::GzEncoder;
use modules::Modules;
use source::Source;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use trial::{Trial, Verdict};
use wisp_sandbox::engine::Engine;
use wisp_sandbox::preload::Preload;

/// Makes, tries and writes the bundle.
pub(crate) fn run(args: &BundleArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    expect_model(&args.model)?;
    if args.keep_instance && args.target != TargetChoice::Cloudflare {
        return Err(bad_configuration(
            "--keep-instance is for --target cloudflare: other hosts share the memory of a new instance",
        ));
    }
    if args.split && args.target != TargetChoice::Spin {
        return Err(bad_configuration(
            "--split is for --target spin: no other target composes components when it starts",
        ));
    }
    handler_lines::show();
    if args.build {
        build::build_repository(&args.model, Rebuild::Changed)?;
    }
    let shown = display::path(&args.model);
    let source = Source::load(args).with_context(|| format!("`{shown}` cannot be bundled"))?;
    let prepared = engine::prepare(args.bundled_backend, &source)?;
    // Modules in a directory of their own come from elsewhere.
    if args.build && args.modules.is_none() {
        build::build_edge_modules(&modules::sources(&args.model)?)?;
    }
    let modules = Modules::find(args, &prepared)?;
    let contents = Contents::new(args, &source, prepared)?;
    let parts = make_parts(args, &source, (&modules, &contents))?;
    let split = args.split.then(|| split_parts(&parts)).transpose()?;
    let bytes = composition::compose(parts)?;
    let imports = imports::check(&bytes)?;
    let verdict = Trial::start(&bytes)?.run(&source)?;
    let arguments = args.repeated();
    let bundle = Bundle {
        gzipped_bytes: gzipped_bytes(&bytes)?,
        bytes: &bytes,
        model: source.version.description(),
        engine: contents.engine.name(),
        imports: &imports,
        keeps_instance: args.keep_instance,
        max_body_bytes: args.max_body_bytes,
        source: &args.model,
        arguments: &arguments,
        parts: split.as_ref(),
    };
    let output = args.output.clone();
    let output = output.unwrap_or_else(|| target::default_output(args.target, &bundle));
    target::write(args.target, &bundle, &output)?;
    let report = report(&bundle, &output, (&verdict, started.elapsed()));
    io::stdout().write_all(report.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the components of the bundle as its host would compose them.
fn split_parts(parts: &composition::Parts) -> anyhow::Result<BundleParts> {
    Ok(BundleParts {
        adapter: parts.adapter.clone(),
        model: composition::compose_model(parts)?,
    })
}

/// Returns the components that become one.
fn make_parts(
    args: &BundleArgs,
    source: &Source,
    (modules, contents): (&Modules, &Contents),
) -> anyhow::Result<composition::Parts> {
    let store = edge_module_store(args.cache.cache_dir.as_deref())?;
    let engine = Engine::without_pool()?;
    let component = |path: &Path, blobs: &[&[u8]], manifest: &[u8]| {
        let module = std::fs::read(path)
            .with_context(|| format!("failed to read `{}`", display::path(path)))?;
        let preload = Preload {
            module: &module,
            blobs,
            manifest,
        };
        let component = preload.component(&engine, &store);
        component.with_context(|| {
            let path = display::path(path);
            format!("the module `{path}` cannot be given the model")
        })
    };
    let blobs: Vec<&[u8]> = contents.blobs.iter().map(|blob| &**blob).collect();
    let provider = component(&modules.engine, &blobs, &contents.provider)?;
    let adapter = component(&modules.adapter, &[], &contents.adapter)?;
    Ok(composition::Parts {
        adapter,
        provider,
        handler: source
            .handler
            .as_ref()
            .map(|handler| handler.component.clone()),
    })
}

/// Returns the size of the bundle as it is stored and sent.
fn gzipped_bytes(bytes: &[u8]) -> io::Result<u64> {
    let mut encoder = GzEncoder::new(ByteCount(0), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.0)
}

/// Counts the bytes that are written to it.
struct ByteCount(u64);

impl Write for ByteCount {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the text that the command ends with.
fn report(bundle: &Bundle<'_>, output: &Path, (verdict, took): (&Verdict, Duration)) -> String {
    let imports = match bundle.imports {
        [] => "nothing".to_owned(),
        imports => imports.join(", "),
    };
    format!(
        "{}  {} ({} gzipped)\n  backend  {}\n  imports  {imports}\n  cases    {verdict}\n  time     {:.1} s\n",
        display::path(&absolute(output)),
        display::size(u64::try_from(bundle.bytes.len()).unwrap_or(u64::MAX)),
        display::size(bundle.gzipped_bytes),
        bundle.engine,
        took.as_secs_f64(),
    )
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests;
