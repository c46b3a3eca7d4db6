//! `wisp config`: prints descriptions of the settings of `wisp serve` and of a model.

use crate::configuration::{reference::reference, schema::schema};
use crate::model_schema;
use crate::options::{ConfigCommand, ConfigCommandArgs};
use std::io::Write;
use std::process::ExitCode;

pub(crate) fn run(args: &ConfigCommandArgs) -> anyhow::Result<ExitCode> {
    let text = match args.command {
        ConfigCommand::Schema { model: false } => format!("{:#}\n", schema()),
        ConfigCommand::Schema { model: true } => format!("{:#}\n", model_schema::schema()?),
        ConfigCommand::Reference => reference(),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
