//! The tenants of a server: the checks before the start, and the services of all of them.

use super::banner::Addresses;
use super::control::report_load;
use super::workers;
use crate::failure::{BadConfiguration, bad_configuration};
use crate::options::{ModelControlMode, ServeArgs};
use anyhow::Context;
use std::sync::Arc;
use std::time::Duration;
use wisp_server::ListeningSocket;
use wisp_serving::Serving;
use wisp_serving::model_control::ControlMode;
use wisp_serving::namespaces::{NamespaceOpener, Namespaces};
use wisp_serving::registry::loader::Loader;
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::tenant_file::TenantFile;
use wisp_serving::tenants::tenant_id::TenantId;
use wisp_serving::tenants::tenant_set::TenantSet;

/// The time between two looks at the file of the tenants, which is the longest time until a revoked key is refused.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// Checks the settings and the file of the tenants.
pub(super) fn check(args: &ServeArgs) -> anyhow::Result<()> {
    let Some(directory) = &args.tenancy.tenants else {
        if args.tenancy.admin.is_some() {
            return Err(bad_configuration(
                "--admin changes the tenants: name their directory with --tenants",
            ));
        }
        // Without tenants it would look like a protection, and everyone could call.
        return match args.tls.tls_client_ca {
            Some(_) => Err(bad_configuration(
                "--tls-client-ca identifies tenants: name their directory with --tenants",
            )),
            None => Ok(()),
        };
    };
    if let Some(admin) = args.tenancy.admin
        && !admin.ip().is_loopback()
        && args.tls.tls_cert.is_none()
    {
        return Err(bad_configuration(format!(
            "--admin {admin} would send keys unencrypted through the network: use a loopback address, or --tls-cert"
        )));
    }
    let shown = directory.display();
    if !directory.is_dir() {
        return Err(bad_configuration(format!(
            "`{shown}` (--tenants) is not a directory; `wisp tenant add NAME --tenants {shown}` creates it with its first tenant"
        )));
    }
    let invalid = || BadConfiguration::new("cannot use the tenants of --tenants");
    let records = TenantFile::new(directory).read().with_context(invalid)?;
    TenantSet::new(&records).with_context(invalid)?;
    Ok(())
}

/// Listens on the address for changes of the tenants, if there is one.
pub(super) fn bind_admin(args: &ServeArgs) -> anyhow::Result<Option<ListeningSocket>> {
    let Some(address) = args.tenancy.admin else {
        return Ok(None);
    };
    let listener = ListeningSocket::bind(address).with_context(|| {
        format!("failed to listen on {address} for changes of the tenants; choose another address with --admin")
    })?;
    Ok(Some(listener))
}

/// Returns everything that opening the models of tenants takes, if there can be tenants.
pub(super) fn opener(args: &ServeArgs, loader: &Loader) -> Option<NamespaceOpener> {
    args.tenancy.tenants.as_ref()?;
    Some(NamespaceOpener {
        loader: loader.for_tenant(&TenantId::local()),
        mode: control_mode(args),
        observer: report_load,
        uploads: args.upload.limits(args.handler_limits.max_component_bytes),
        owners: workers::owners(args),
    })
}

/// Returns the source of changes to the own models of tenants. Only the repository of the public models is polled.
pub(super) fn control_mode(args: &ServeArgs) -> ControlMode {
    match args.model_control.model_control_mode {
        ModelControlMode::None => ControlMode::Disabled,
        ModelControlMode::Explicit | ModelControlMode::Poll => ControlMode::Explicit,
    }
}

/// Returns the services of all tenants, of which `serving` has the public models.
pub(super) fn namespaces(
    args: &ServeArgs,
    addresses: &Addresses,
    (serving, opener): (Arc<Serving>, Option<NamespaceOpener>),
) -> anyhow::Result<Namespaces> {
    let (Some(directory), Some(opener)) = (&args.tenancy.tenants, opener) else {
        return Ok(Namespaces::local(serving));
    };
    let local_role = match addresses.are_loopback() {
        true => Role::Deploy,
        false => Role::Infer,
    };
    let file = TenantFile::new(directory);
    Ok(Namespaces::open(serving, local_role, (file, opener))?)
}
