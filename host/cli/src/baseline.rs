//! `wisp baseline`: creates the baseline of a model from the data it was trained with.
//!
//! `table` reads the data, `column_mapping` finds the columns of the features, and `column` turns their values into
//! distributions. Data with more values than fit into memory is thinned out evenly while it is read.

mod column;
mod column_mapping;
mod table;

use crate::display;
use crate::failure::bad_configuration;
use crate::loading::{LoadingOptions, expect_model, loader};
use crate::options::BaselineArgs;
use anyhow::anyhow;
use column::Column;
use column_mapping::{ColumnMapping, InputFeatures, map_columns};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use table::{Cell, Table};
use wisp_serving::quality::baseline::{Baseline, FeatureBaseline, InputBaseline, feature_count};
use wisp_serving::quality::distribution::MAX_POINTS;
use wisp_serving::registry::baseline_file;
use wisp_serving::registry::model_file::ModelFile;
use wisp_serving::registry::repository::model_files;
use wisp_tensor::{OneLine, TensorSpec};

/// The maximum number of values in memory, 128 MiB of numbers.
const MAX_VALUES: usize = 16 << 20;

/// The number of points of all features, which bounds the file to some megabytes.
const MAX_ALL_POINTS: usize = 64 << 10;

/// Runs the subcommand and prints a summary of the baseline.
pub(crate) fn run(args: &BaselineArgs) -> anyhow::Result<ExitCode> {
    expect_model(&args.model)?;
    let mut files = model_files(&args.model)?;
    let output = output(args, files.model_directory.as_deref())?;
    // A baseline that cannot be used must not prevent its replacement.
    files.baseline = None;
    let loader = loader(&LoadingOptions::of_one_call(
        &args.cache,
        &args.backend,
        &args.handler_limits,
    ))?;
    let version = loader.load_version(&files)?;
    let specs = &version.description().signature.inputs;
    let model_file = match &files.model_directory {
        Some(directory) => ModelFile::load(directory)?,
        None => ModelFile::default(),
    };
    let inputs: Vec<InputFeatures> = specs
        .iter()
        .map(|spec| features(spec, &model_file))
        .collect();

    let table = Table::open(&args.from)?;
    let columns = table.columns().to_vec();
    let mapping = map_columns(&columns, &inputs, &args.skip);
    let mapping = mapping
        .map_err(|reason| bad_configuration(format!("{}: {reason}", display::path(&args.from))))?;
    let read = read_columns(table, &mapping, specs)?;
    let (rows, used) = (read.rows, read.used);
    let baseline = Baseline {
        window: usize::try_from(args.window)?,
        inputs: distributed(
            read,
            &mapping,
            (specs.as_slice(), inputs.as_slice(), columns.as_slice()),
        )?,
    };
    if let Some(problem) = baseline.problem() {
        return Err(bad_configuration(format!(
            "no baseline is possible: {problem}"
        )));
    }
    baseline_file::save(&output, &baseline)
        .map_err(|error| anyhow!("failed to write `{}`: {error}", display::path(&output)))?;

    let mut text = format!(
        "{}: {} features, {} rows",
        display::path(&output),
        baseline.features(),
        display::count(rows)
    );
    if used < rows {
        text += &format!(", of which {} are used", display::count(used));
    }
    text.push('\n');
    for (subject, names) in [
        ("columns that are no features", &mapping.unused),
        ("inputs without columns", &mapping.without),
    ] {
        if !names.is_empty() {
            text += &format!("  {subject}: {}\n", OneLine(names.join(", ")));
        }
    }
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the file to write.
fn output(args: &BaselineArgs, model_directory: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(output) = &args.output {
        return Ok(output.clone());
    }
    let directory = model_directory.ok_or_else(|| {
        bad_configuration(
            "a single file has no baseline: put it into a model's directory, as MODEL/1/model.onnx",
        )
    })?;
    Ok(directory.join(baseline_file::FILE_NAME))
}

fn features(spec: &TensorSpec, model_file: &ModelFile) -> InputFeatures {
    let section = model_file.inputs.get(&spec.name);
    InputFeatures {
        name: spec.name.clone(),
        features: feature_count(spec),
        names: section
            .map(|section| section.feature_names.clone())
            .unwrap_or_default(),
    }
}

/// The values of the columns of all features, in the order of the mapping.
struct ReadColumns {
    columns: Vec<Column>,
    /// The number of rows of the data, and of those that are used.
    rows: u64,
    used: u64,
}

fn read_columns(
    table: Table,
    mapping: &ColumnMapping,
    specs: &[TensorSpec],
) -> anyhow::Result<ReadColumns> {
    let names = table.columns().to_vec();
    let mut places: Vec<usize> = Vec::new();
    let mut columns: Vec<Column> = Vec::new();
    for input in &mapping.inputs {
        let spec = specs.get(input.input);
        let spec = spec.ok_or_else(|| anyhow!("there is no input {}", input.input))?;
        for &place in &input.columns {
            places.push(place);
            columns.push(Column::new(spec.element_type));
        }
    }
    let max_rows = u64::try_from((MAX_VALUES / columns.len().max(1)).max(2))?;
    let (mut rows, mut used, mut step) = (0u64, 0u64, 1u64);
    table.for_each_row(&mut |cells: &[Cell<'_>]| {
        let is_used = rows.is_multiple_of(step);
        rows += 1;
        if !is_used {
            return Ok(());
        }
        for (column, &place) in columns.iter_mut().zip(&places) {
            let pushed = match cells.get(place) {
                Some(cell) => column.push(cell),
                None => column.push(&Cell::Missing),
            };
            let name = names.get(place).map(String::as_str).unwrap_or_default();
            pushed.map_err(|reason| anyhow!("column `{}`: {reason}", OneLine(name)))?;
        }
        used += 1;
        if used == max_rows {
            for column in &mut columns {
                column.halve();
            }
            used = used.div_ceil(2);
            step = step.saturating_mul(2);
        }
        Ok(())
    })?;
    Ok(ReadColumns {
        columns,
        rows,
        used,
    })
}

/// Returns the baselines of the inputs that have columns.
fn distributed(
    read: ReadColumns,
    mapping: &ColumnMapping,
    (specs, inputs, names): (&[TensorSpec], &[InputFeatures], &[String]),
) -> anyhow::Result<Vec<InputBaseline>> {
    let max_points = MAX_ALL_POINTS / read.columns.len().max(1);
    let max_points = max_points.min(MAX_POINTS);
    let mut columns = read.columns.into_iter();
    let mut baselines = Vec::new();
    for found in &mapping.inputs {
        let (Some(spec), Some(input)) = (specs.get(found.input), inputs.get(found.input)) else {
            continue;
        };
        let mut features = Vec::new();
        for (&place, column) in found.columns.iter().zip(columns.by_ref()) {
            let name = names.get(place).map(String::as_str).unwrap_or_default();
            let distributed = column.distributed(max_points).ok_or_else(|| {
                let name = OneLine(name);
                bad_configuration(format!("column `{name}` has no values, or too large ones"))
            })?;
            features.push(FeatureBaseline {
                name: (input.features > 1).then(|| name.to_owned()),
                missing: distributed.missing,
                distribution: distributed.distribution,
            });
        }
        baselines.push(InputBaseline {
            name: spec.name.clone(),
            element_type: spec.element_type,
            features,
        });
    }
    Ok(baselines)
}
