//! `wisp tenant`: changes the tenants in the directory of a server, which need not run.
//!
//! A key is written to standard output once and alone, so that it can be piped into a store of secrets; everything else is
//! written to standard error.

use crate::failure::bad_configuration;
use crate::options::{
    GrantList, NewKeyArgs, SigningKeyCommand, SubjectCommand, TenantAddArgs, TenantCommand,
    TenantCommandArgs, TenantDirectoryArgs, TenantListArgs, TenantRemoveArgs,
    TenantRequireSignatureArgs, TenantRevokeArgs, TenantRotateArgs, TenantSetArgs,
    TenantSigningKeyAddArgs, TenantSigningKeyRemoveArgs, TenantSubjectAddArgs,
    TenantSubjectRemoveArgs,
};
use anyhow::Context;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use wisp_backend::bounded_file::read_regular_text;
use wisp_serving::tenants::api_key::ApiKey;
use wisp_serving::tenants::document::tenants_document;
use wisp_serving::tenants::limits::Limits;
use wisp_serving::tenants::records::{NewKey, NewTenant, TenantRecords};
use wisp_serving::tenants::settings_change::SettingsChange;
use wisp_serving::tenants::signing_key::SigningKey;
use wisp_serving::tenants::tenant_file::TenantFile;
use wisp_serving::tenants::tenant_id::TenantId;

/// The effect of a file whose last tenant has been removed.
const NO_TENANTS: &str = "There are no tenants: every request is refused until one is added.";

/// The effect of a directory without a file.
const NO_FILE: &str = "There are no tenants yet: every request is one of `local`.";
/// The size limit of the file of a public key, which has two lines.
const MAX_SIGNING_KEY_BYTES: u64 = 4 << 10;

/// Runs the selected subcommand of `wisp tenant`.
pub(crate) fn run(args: &TenantCommandArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        TenantCommand::Add(args) => add(&file(&args.directory), args)?,
        TenantCommand::List(args) => list(&file(&args.directory), args)?,
        TenantCommand::Rotate(args) => rotate(&file(&args.directory), args)?,
        TenantCommand::Revoke(args) => revoke(&file(&args.directory), args)?,
        TenantCommand::Set(args) => set(&file(&args.directory), args)?,
        TenantCommand::Subject(SubjectCommand::Add(args)) => {
            add_subject(&file(&args.directory), args)?;
        }
        TenantCommand::Subject(SubjectCommand::Remove(args)) => {
            remove_subject(&file(&args.directory), args)?;
        }
        TenantCommand::SigningKey(SigningKeyCommand::Add(args)) => {
            add_signing_key(&file(&args.directory), args)?;
        }
        TenantCommand::SigningKey(SigningKeyCommand::Remove(args)) => {
            remove_signing_key(&file(&args.directory), args)?;
        }
        TenantCommand::RequireSignature(args) => {
            require_signature(&file(&args.directory), args)?;
        }
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
        limits,
        directory: _,
    } = args;
    let new = NewTenant {
        id: id.clone(),
        weight: *weight,
        anonymous: *anonymous,
        isolation: *isolation,
        limits: Limits::default().with(&limits.changes())?,
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
    match args.keys.key {
        Some(key) => file.change(|records| records.revoke(&args.id, key))?,
        None => {
            let names = file.change(|records| {
                records.revoke_all(&args.id)?;
                let record = records.tenants.get(args.id.as_str());
                Ok(record.map_or(0, |record| record.subjects.len()))
            })?;
            if names > 0 {
                eprintln!(
                    "The certificates of its clients stay valid ({names} names): see `wisp tenant subject remove`."
                );
            }
        }
    }
    eprintln!("Running servers refuse it within a second.");
    Ok(())
}

fn set(file: &TenantFile, args: &TenantSetArgs) -> anyhow::Result<()> {
    let TenantSetArgs {
        id,
        weight,
        anonymous,
        isolation,
        grants,
        limits,
        directory: _,
    } = args;
    let change = SettingsChange {
        weight: *weight,
        anonymous: *anonymous,
        isolation: *isolation,
        limits: limits.changes(),
        grants: grants.as_ref().map(|GrantList(grants)| grants.clone()),
        ..SettingsChange::default()
    };
    if change.is_empty() {
        return Err(bad_configuration(
            "no setting is given: `wisp tenant set --help` lists them",
        ));
    }
    file.change(|records| records.set(id, &change))?;
    eprintln!("Running servers follow it within a second.");
    Ok(())
}

fn add_subject(file: &TenantFile, args: &TenantSubjectAddArgs) -> anyhow::Result<()> {
    file.change(|records| records.add_subject(&args.id, &args.subject, args.role))?;
    let TenantSubjectAddArgs {
        id, subject, role, ..
    } = args;
    eprintln!(
        "Clients whose certificates have the name `{subject}` are tenant `{id}`, with the role {role}."
    );
    Ok(())
}

fn remove_subject(file: &TenantFile, args: &TenantSubjectRemoveArgs) -> anyhow::Result<()> {
    file.change(|records| records.remove_subject(&args.id, &args.subject))?;
    eprintln!("Running servers refuse it within a second.");
    Ok(())
}

fn add_signing_key(file: &TenantFile, args: &TenantSigningKeyAddArgs) -> anyhow::Result<()> {
    let shown = args.file.display();
    let text = read_regular_text(&args.file, MAX_SIGNING_KEY_BYTES);
    let text = text.with_context(|| format!("cannot read `{shown}`"))?;
    let key = SigningKey::parse(&text).with_context(|| format!("cannot use `{shown}`"))?;
    file.change(|records| records.add_signing_key(&args.id, &key))?;
    let (id, key) = (&args.id, key.as_str());
    eprintln!("Signatures of the key {key} are valid for versions of tenant `{id}`.");
    Ok(())
}

fn remove_signing_key(file: &TenantFile, args: &TenantSigningKeyRemoveArgs) -> anyhow::Result<()> {
    file.change(|records| records.remove_signing_key(&args.id, &args.key))?;
    eprintln!("Running servers load nothing more that it has signed.");
    Ok(())
}

fn require_signature(file: &TenantFile, args: &TenantRequireSignatureArgs) -> anyhow::Result<()> {
    file.change(|records| records.require_signature(&args.id, args.is_required))?;
    let id = &args.id;
    match args.is_required {
        true => eprintln!("Versions of tenant `{id}` are loaded with a valid signature only."),
        false => eprintln!("Versions of tenant `{id}` need a signature if the server requires it."),
    }
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
        for subject in &record.subjects {
            let _ = writeln!(text, "  subject {}  {}", subject.name, subject.role);
        }
        for key in &record.signing_keys {
            let _ = writeln!(text, "  signing key {key}");
        }
        if record.require_signature {
            let _ = writeln!(text, "  require_signature true");
        }
        if !record.grants.is_empty() {
            let grants: Vec<&str> = record.grants.iter().map(|grant| grant.name()).collect();
            let _ = writeln!(text, "  grants {}", grants.join(", "));
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
    use wisp_serving::tenants::tenant_grant::TenantGrant;

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
        let signing_key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        records.add_subject(&new.id, &"dns:acme.example".parse()?, Role::Infer)?;
        records.add_signing_key(&new.id, &SigningKey::parse(signing_key)?)?;
        records.require_signature(&new.id, true)?;
        let change = SettingsChange {
            grants: Some(TenantGrant::ALL.into()),
            ..SettingsChange::default()
        };
        records.set(&new.id, &change)?;
        let expected = [
            "acme  weight 2, isolation cordon, also for requests without a key".to_owned(),
            format!("  key {}  deploy", key.id()),
            "  subject dns:acme.example  infer".to_owned(),
            format!("  signing key {signing_key}"),
            "  require_signature true".to_owned(),
            "  grants random, clock, network".to_owned(),
            "  models 3\n".to_owned(),
        ];
        assert_eq!(text(&records), expected.join("\n"));
        Ok(())
    }
}
