//! The properties that settings of all commands share.

use clap::{Arg, ArgAction, Command};

/// The value name of a setting that is on or off. `--build`, `--build=true` and `--build=false` are all accepted.
const BOOL: &str = "BOOL";

/// Adds the shared properties to the settings of a command and of its subcommands.
pub(super) fn complete(command: Command) -> Command {
    command
        .mut_args(complete_argument)
        .mut_subcommands(complete)
}

/// Adds the shared properties to an argument. Values of environment variables may be secret, and are not shown.
fn complete_argument(argument: Arg) -> Arg {
    let argument = argument.hide_env_values(true);
    match argument.get_value_names() {
        Some([name]) if name == BOOL => argument
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        _ => argument,
    }
}
