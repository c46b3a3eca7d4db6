//! `wisp check`: everything about a model that can be known before traffic.
//!
//! Loading a version already compares imports with the granted set and the handler's signature with
//! the graphs; then the golden cases are run.

use crate::cases;
use crate::display;
use crate::failure::bad_configuration;
use crate::loading::{LoadingOptions, loader};
use crate::options::CheckArgs;
use crate::run::Runner;
use std::path::Path;
use std::process::ExitCode;
use wisp_serving::registry::loader::{Loader, version_files};
use wisp_serving::version::ModelVersion;
use wisp_tensor::TensorSpec;
use wisp_tensor::signature::DimensionList;

/// Check every model, report all of them, and fail if any failed.
pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let loader = loader(&LoadingOptions {
        cache_dir: None,
        threads: None,
        max_instances: 1,
    })?;
    let runner = Runner::new()?;
    let mut failures = 0;
    for model in &args.models {
        if !model.is_dir() {
            let model = display::path(model);
            return Err(bad_configuration(format!(
                "`{model}` is not a model's directory"
            )));
        }
        failures += check(&loader, &runner, model)?;
    }
    Ok(match failures {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Check one model; returns how many points failed.
fn check(loader: &Loader, runner: &Runner, model: &Path) -> anyhow::Result<usize> {
    let model = &model.canonicalize()?;
    println!("{}", display::path(model));
    let loaded = version_files(model).and_then(|files| loader.load_version(&files));
    let version = match loaded {
        Ok(version) => version,
        Err(error) => {
            print_failure("it can be served", &anyhow::Error::new(error));
            return Ok(1);
        }
    };
    println!("  ok    it can be served: imports are granted, handler and graphs agree");
    print_signature(&version);
    let cases = cases::load_all(model)?;
    if cases.is_empty() {
        println!("  none  there are no golden cases in cases/*.json");
    }
    let mut failures = 0;
    for case in &cases {
        let name = case.path.file_name().unwrap_or_default().to_string_lossy();
        match case.run(runner, &version) {
            Ok(()) => println!("  ok    {name}  {}", case.about),
            Err(error) => {
                failures += 1;
                print_failure(&name, &error);
            }
        }
    }
    Ok(failures)
}

fn print_signature(version: &ModelVersion) {
    let model = version.description();
    println!(
        "        version {}, max_batch_size {}",
        model.version, model.max_batch_size
    );
    for (side, specs) in [
        ("input ", &model.signature.inputs),
        ("output", &model.signature.outputs),
    ] {
        for spec in specs {
            println!("        {side}  {}", spec_text(spec));
        }
    }
}

fn spec_text(spec: &TensorSpec) -> String {
    let optional = if spec.optional { ", optional" } else { "" };
    format!(
        "{}: {} {}{optional}",
        spec.name,
        spec.element_type,
        DimensionList(&spec.shape)
    )
}

fn print_failure(subject: &str, error: &anyhow::Error) {
    println!("  FAIL  {subject}");
    for cause in error.chain() {
        println!("        {}", cause.to_string().replace('\n', "\n        "));
    }
}
