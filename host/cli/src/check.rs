//! `wisp check`: checks everything about a model that can be checked without traffic.
//!
//! Loading a version already compares its imports with the granted set, and the handler's signature with
//! the graphs, and computes each graph once. Then the golden cases run. Each result is printed as soon as it
//! is available, and a summary after several models, such as those of a repository. What a server would skip in
//! a repository is listed with the reason, and does not fail. Nor does a model of a repository that is optional and whose
//! graph has not been created.

use crate::cases;
use crate::display;
use crate::handler_lines;
use crate::loading::{LoadingOptions, loader, models_in};
use crate::local_call::LocalCaller;
use crate::options::CheckArgs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use wisp_serving::quality::Quality;
use wisp_serving::registry::load_error::LoadError;
use wisp_serving::registry::loader::Loader;
use wisp_serving::registry::model_file::ModelFile;
use wisp_serving::registry::repository::{find_models, model_files};
use wisp_serving::registry::skipped_entry::skipped_entries;
use wisp_serving::version::ModelVersion;
use wisp_tensor::OneLine;

/// Checks every model, reports all of them, and fails if any check failed.
pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut models = Vec::new();
    let mut skipped = Vec::new();
    for path in &args.models {
        models.extend(models_in(path)?);
        for entry in skipped_entries(path)? {
            skipped.push((path.join(entry.name), entry.reason));
        }
    }
    // A directory with a name that no model can have is checked, and fails.
    skipped.retain(|(path, _)| !models.contains(path));
    handler_lines::show();
    let loader = loader(&LoadingOptions::of_one_call(
        &args.cache,
        &args.backend,
        &args.handler_limits,
    ))?;
    let mut check = Check {
        loader,
        caller: LocalCaller::new()?,
        out: io::stdout().lock(),
    };
    let mut failed = Vec::new();
    let mut absent = 0;
    for model in &models {
        let may_be_absent = !args.models.contains(model) && is_optional(model);
        match check.model(model, may_be_absent)? {
            Outcome::Passed => {}
            Outcome::Failed => failed.push(model),
            Outcome::Absent => absent += 1,
        }
    }
    for (path, reason) in &skipped {
        let path = display::path(&std::path::absolute(path)?);
        writeln!(check.out, "{path}\n  skip  {}", OneLine(reason))?;
    }
    if models.len() + skipped.len() > 1 {
        let summary = summary(models.len() - absent, skipped.len() + absent, &failed);
        writeln!(check.out, "{summary}")?;
    }
    Ok(match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Returns whether a server starts without this model. An error of the model file is that of the load.
fn is_optional(model: &Path) -> bool {
    ModelFile::load(model).is_ok_and(|file| file.optional)
}

/// Returns the last line of a check of several models.
fn summary(models: usize, skipped: usize, failed: &[&PathBuf]) -> String {
    let passed = models - failed.len();
    let skipped = match skipped {
        0 => String::new(),
        count => format!(", {count} skipped"),
    };
    let text = format!("{passed} of {models} models passed{skipped}");
    match failed.is_empty() {
        true => text,
        false => {
            let failed: Vec<String> = failed.iter().map(|model| display::path(model)).collect();
            format!("{text}; failed: {}", failed.join(", "))
        }
    }
}

/// The outcome of the checks of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    /// Its graph has not been created, and does not have to be.
    Absent,
}

/// The loader, the caller and the output of a check.
struct Check<W> {
    loader: Loader,
    caller: LocalCaller,
    out: W,
}

impl<W: Write> Check<W> {
    /// Checks one model, which may be one whose graph has not been created.
    fn model(&mut self, model: &Path, may_be_absent: bool) -> anyhow::Result<Outcome> {
        writeln!(self.out, "{}", display::path(&std::path::absolute(model)?))?;
        let (version, handler) = match self.load(model) {
            Ok(loaded) => loaded,
            Err(error) if may_be_absent && error.waits_for_export() => {
                let reason = error.to_string();
                writeln!(self.out, "  skip  it is optional: {}", OneLine(&reason))?;
                return Ok(Outcome::Absent);
            }
            Err(error) => {
                self.print_failure("it can be served", &anyhow::Error::new(error))?;
                return Ok(Outcome::Failed);
            }
        };
        let checked = match handler {
            Some(_) => "imports are granted, handler and graphs agree",
            None => "its graph loads and computes",
        };
        writeln!(self.out, "  ok    it can be served: {checked}")?;
        self.print_signature(&version)?;
        let cases = match cases::load_all(model) {
            Ok(cases) => cases,
            Err(error) => {
                self.print_failure("its golden cases can be read", &error)?;
                return Ok(Outcome::Failed);
            }
        };
        if model.is_file() {
            writeln!(self.out, "  none  a single file has no golden cases")?;
        } else if cases.is_empty() {
            writeln!(self.out, "  none  no golden cases in cases/*.json")?;
        }
        let mut outcome = Outcome::Passed;
        for case in &cases {
            let name = case.path.file_name().unwrap_or_default().to_string_lossy();
            match case.run(&self.caller, &version) {
                Ok(()) => writeln!(self.out, "  ok    {name}  {}", case.about)?,
                Err(error) => {
                    outcome = Outcome::Failed;
                    self.print_failure(&name, &error)?;
                }
            }
        }
        Ok(outcome)
    }

    /// Loads the highest version of a model, and returns it with its handler.
    fn load(&self, model: &Path) -> Result<(Arc<ModelVersion>, Option<PathBuf>), LoadError> {
        // Also finds errors in the versions and labels that the model file selects.
        for found in find_models(model)? {
            found.versions?;
        }
        let files = model_files(model)?;
        let version = self.loader.load_version(&files)?;
        Ok((version, files.handler))
    }

    fn print_signature(&mut self, version: &ModelVersion) -> io::Result<()> {
        let model = version.description();
        writeln!(
            self.out,
            "        version {}, max_batch_size {}",
            model.version, model.max_batch_size
        )?;
        if let Some(baseline) = version.quality().and_then(Quality::baseline) {
            let (features, window) = (baseline.features(), baseline.window);
            writeln!(
                self.out,
                "        baseline of {features} features, window {window}"
            )?;
        }
        if let Some(backends) = display::backend_selections(version) {
            writeln!(self.out, "        backend {backends}")?;
        }
        if let Some(batching) = display::batching(version) {
            writeln!(self.out, "        batching {}", OneLine(batching))?;
        }
        for (side, specs) in [
            ("input ", &model.signature.inputs),
            ("output", &model.signature.outputs),
        ] {
            for spec in specs {
                writeln!(self.out, "        {side}  {}", display::tensor(spec))?;
            }
        }
        Ok(())
    }

    fn print_failure(&mut self, subject: &str, error: &anyhow::Error) -> io::Result<()> {
        writeln!(self.out, "  FAIL  {subject}")?;
        for cause in error.chain() {
            for line in cause.to_string().lines() {
                writeln!(self.out, "        {}", OneLine(line))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_the_models_that_failed() {
        assert_eq!(summary(2, 0, &[]), "2 of 2 models passed");
        assert_eq!(summary(1, 3, &[]), "1 of 1 models passed, 3 skipped");
        let failed = [PathBuf::from("models/a"), PathBuf::from("models/b")];
        assert_eq!(
            summary(3, 0, &failed.iter().collect::<Vec<_>>()),
            "1 of 3 models passed; failed: models/a, models/b"
        );
    }
}
