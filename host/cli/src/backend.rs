//! `wisp backend`: the backends of this machine, and the shared libraries that some of them need.
//!
//! `catalog` is the table of installable packages, and `package` defines its rows. `install` installs and removes
//! packages: `index` finds a file, `fetch` downloads it, and `wheel` unpacks it; `link` resolves the URLs of both and
//! hides their passwords. `installed` locates installed packages for the rest of the program, and `list` reports the
//! backends. Of these commands, only `install` uses the network.

mod catalog;
mod fetch;
mod index;
mod install;
pub(crate) mod installed;
mod link;
mod list;
mod package;
mod wheel;

use crate::display;
use crate::loading::{backends, cache_directory};
use crate::options::{
    BackendArgs, BackendCommand, BackendCommandArgs, BackendInstallArgs, BackendListArgs,
    BackendUninstallArgs,
};
use anyhow::Context;
use install::{Installation, Outcome, Source};
use package::Package;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Runs the selected subcommand of `wisp backend`.
pub(crate) fn run(args: &BackendCommandArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        BackendCommand::List(args) => show_list(args),
        BackendCommand::Install(args) => install_package(args),
        BackendCommand::Uninstall(args) => uninstall_package(args),
    }
}

fn install_package(args: &BackendInstallArgs) -> anyhow::Result<ExitCode> {
    let cache = cache_directory(args.cache.cache_dir.as_deref())?;
    let package = catalog::for_this_machine(args.package.name())?;
    let installation = Installation {
        package,
        cache: &cache,
        source: if args.wheel.is_empty() {
            Source::Index(&args.index_url)
        } else {
            Source::Files(&args.wheel)
        },
        force: args.force,
    };
    let outcome = installation.run()?;
    // Opening the library now reports a problem before a model needs it.
    try_onnxruntime(&cache)?;
    let Package { name, version, .. } = package;
    let text = match outcome {
        Outcome::Installed(place) => {
            format!(
                "installed {name} {version} in `{}`\n",
                display::path(&place)
            )
        }
        Outcome::WasThere(place) => {
            let place = display::path(&place);
            format!("{name} {version} is already installed in `{place}`\n")
        }
    };
    print(&text)
}

fn try_onnxruntime(cache: &Path) -> anyhow::Result<()> {
    let args = BackendArgs {
        onnxruntime_library: installed::onnxruntime(cache),
        ..BackendArgs::default()
    };
    let backends = backends(&args, Some(cache));
    let opened = backends.find("onnxruntime")?.available();
    opened.context("the library is installed, but this system cannot open it")
}

fn uninstall_package(args: &BackendUninstallArgs) -> anyhow::Result<ExitCode> {
    let cache = cache_directory(args.cache.cache_dir.as_deref())?;
    let name = args.package.name();
    let mut text = String::new();
    for place in install::uninstall(&cache, name)? {
        text += &format!("removed `{}`\n", display::path(&place));
    }
    if text.is_empty() {
        text = format!("{name} is not installed\n");
    }
    print(&text)
}

fn show_list(args: &BackendListArgs) -> anyhow::Result<ExitCode> {
    let cache = cache_directory(args.cache.cache_dir.as_deref())?;
    let backend = BackendArgs {
        onnxruntime_library: args.onnxruntime_library.clone(),
        ..BackendArgs::default()
    };
    let entries = list::entries(&backend, &cache);
    print(&if args.json {
        serde_json::to_string_pretty(&entries)? + "\n"
    } else {
        list::table(&entries, installed::cuda(&cache).as_deref())
    })
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
