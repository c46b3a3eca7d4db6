//! `wisp tenant`: changes the tenants in the directory of a server, which need not run.
//!
//! A key is written to standard output once and alone, so that it can be piped into a store of secrets; everything else is
//! written to standard error.

use crate::options::{
    NewKeyArgs, TenantAddArgs, TenantCommand, TenantCommandArgs, TenantDirectoryArgs,
    TenantListArgs, TenantRemoveArgs, TenantRevokeArgs, TenantRotateArgs,
};
use anyhow::Context;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use wisp_serving::tenants::api_key::ApiKey;
use wisp_serving::tenants::document::tenants_document;
use wisp_serving::tenants::limits::Limits;
use wisp_serving::tenants::records::{NewKey, NewTenant, TenantRecords};
use wisp_serving::tenants::tenant_file::TenantFile;
use wisp_serving::tenants::tenant_id::TenantId;

/// The effect of a file whose last tenant has been removed.
const NO_TENANTS: &str = "There are no tenants: every request is refused until one is added.";

/// The effect of a directory without a file.
const NO_FILE: &str = "There are no tenants yet: every request is one of `local`.";

/// Runs the selected subcommand of `wisp tenant`.
pub(crate) fn run(args: &TenantCommandArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        TenantCommand::Add(args) => add(&file(&args.directory), args)?,
        TenantCommand::List(args) => list(&file(&args.directory), args)?,
        TenantCommand::Rotate(args) => rotate(&file(&args.directory), args)?,
        TenantCommand::Revoke(args) => revoke(&file(&args.directory), args)?,
        TenantCommand::Remove(args) => remove(&file(&args.directory), args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn file(directory: &TenantDirectoryArgs) -> TenantFile {
    TenantFile::new(&directory.tenants)
}

fn remove(file: &TenantFile, args: &TenantRemoveArgs) -> anyhow::Result<()> {
    let is_last = file.change(|records| {
        records.remove(&args.id)?;
        Ok(records.tenants.is_empty())
    })?;
    let files = file.tenants().join(args.id.as_str());
    eprintln!("Removed tenant `{}`.", args.id);
    if files.exists() {
        eprintln!("Its files stay in `{}`.", files.display());
    }
    if is_last {
        eprintln!("{NO_TENANTS}");
    }
    Ok(())
}

fn add(file: &TenantFile, args: &TenantAddArgs) -> anyhow::Result<()> {
    let TenantAddArgs {
        id,
        key,
        weight,
        anonymous,
        isolation,
        requests_per_second,
        concurrency,
        body_bytes,
        tensor_bytes,
        guest_milliseconds_per_second,
        backend_milliseconds_per_second,
        model_memory_bytes,
        models,
        stored_bytes,
        directory: _,
    } = args;
    let new = NewTenant {
        id: id.clone(),
        weight: *weight,
        anonymous: *anonymous,
        isolation: *isolation,
        limits: Limits {
            requests_per_second: *requests_per_second,
            concurrency: *concurrency,
            body_bytes: *body_bytes,
            tensor_bytes: *tensor_bytes,
            guest_milliseconds_per_second: *guest_milliseconds_per_second,
            backend_milliseconds_per_second: *backend_milliseconds_per_second,
            model_memory_bytes: *model_memory_bytes,
            models: *models,
            stored_bytes: *stored_bytes,
        },
        key: new_key(key),
    };
    let made = file.change(|records| records.add(&new, SystemTime::now()))?;
    print_key(&new.id, &made)
}

fn rotate(file: &TenantFile, args: &TenantRotateArgs) -> anyhow::Result<()> {
    let grace = Duration::from_secs(args.grace_secs);
    let new = (new_key(&args.key), grace);
    let made = file.change(|records| records.rotate(&args.id, new, SystemTime::now()))?;
    print_key(&args.id, &made)
}

fn revoke(file: &TenantFile, args: &TenantRevokeArgs) -> anyhow::Result<()> {
    match args.key {
        Some(key) => file.change(|records| records.revoke(&args.id, key))?,
        None => file.change(|records| records.revoke_all(&args.id))?,
    }
    eprintln!("Running servers refuse it within a second.");
    Ok(())
}

fn new_key(args: &NewKeyArgs) -> NewKey {
    NewKey {
        role: args.role,
        lifetime: args.expires_secs.map(Duration::from_secs),
    }
}

fn print_key(id: &TenantId, key: &ApiKey) -> anyhow::Result<()> {
    eprintln!("The new key of tenant `{id}`. It is not stored and cannot be shown again:");
    let mut out = std::io::stdout();
    writeln!(out, "{}", key.reveal()).context("the key cannot be written; rotate it")?;
    Ok(())
}

fn list(file: &TenantFile, args: &TenantListArgs) -> anyhow::Result<()> {
    let records = file.read()?;
    let mut out = std::io::stdout();
    match args.json {
        true => {
            out.write_all(&tenants_document(&records))?;
            writeln!(out)?;
        }
        false if records.tenants.is_empty() => match file.state()? {
            Some(_) => writeln!(out, "{NO_TENANTS}")?,
            None => writeln!(out, "{NO_FILE}")?,
        },
        false => out.write_all(text(&records).as_bytes())?,
    }
    Ok(())
}

/// Returns the tenants as text.
fn text(records: &TenantRecords) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    for (id, record) in &records.tenants {
        let anonymous = match record.anonymous {
            true => ", also for requests without a key",
            false => "",
        };
        let isolation = match record.isolation {
            Some(isolation) => format!(", isolation {isolation}"),
            None => String::new(),
        };
        let _ = writeln!(text, "{id}  weight {}{isolation}{anonymous}", record.weight);
        for key in &record.keys {
            let end = match key.expires {
                Some(end) => format!(", expires {end} s after 1970"),
                None => String::new(),
            };
            let _ = writeln!(text, "  key {}  {}{end}", key.id, key.role);
        }
        let limits = serde_json::to_value(record.limits).unwrap_or_default();
        for (name, limit) in limits.as_object().into_iter().flatten() {
            let _ = writeln!(text, "  {name} {limit}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_serving::tenants::isolation::Isolation;
    use wisp_serving::tenants::role::Role;

    #[test]
    fn the_list_has_keys_by_id_and_the_limits_that_are_set() -> anyhow::Result<()> {
        let mut records = TenantRecords::default();
        let new = NewTenant {
            id: "acme".parse()?,
            weight: 2,
            anonymous: true,
            isolation: Some(Isolation::Cordon),
            limits: Limits {
                models: Some(3),
                ..Limits::default()
            },
            key: NewKey {
                role: Role::Deploy,
                lifetime: None,
            },
        };
        let key = records.add(&new, SystemTime::now())?;
        assert_eq!(
            text(&records),
            format!(
                "acme  weight 2, isolation cordon, also for requests without a key\n  key {}  deploy\n  models 3\n",
                key.id()
            )
        );
        Ok(())
    }
}
