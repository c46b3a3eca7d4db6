//! The start of the service of one tenant: its models, and the rights to change them.

use crate::account::Account;
use crate::model_control::{ControlMode, ModelControl};
use crate::registry::Registry;
use crate::registry::grant_policy::GrantPolicy;
use crate::registry::loader::{Loaded, Loader};
use crate::registry::repository_loader::Start;
use crate::residency::ResidencyOptions;
use crate::serving::Serving;
use crate::serving::tenant_view::OwnModels;
use crate::tenants::isolation::Isolation;
use crate::tenants::tenant_set::Tenant;
use crate::uploads::limits::UploadLimits;
use crate::uploads::upload_directory::has_content;
use crate::uploads::{UploadTarget, Uploads};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use wisp_sandbox::limits::Limits;

/// The directory of a tenant's own models, below the tenant's.
const MODELS: &str = "models";

/// The directory for the states of a tenant's releases, below the tenant's.
const RELEASES: &str = "releases";

/// The divisor of the memory limit of the process for the own models of one tenant without a limit of its own. Four such
/// tenants fill the process with models, and one leaves the others most of it.
const MODELS_OF_SHARED_PROCESS: u64 = 4;

/// The same for the only tenant of a process.
const MODELS_OF_OWN_PROCESS: u64 = 2;

/// Everything that opening the models of a tenant takes besides their directory. Lifetime: the process.
#[derive(Debug)]
pub struct NamespaceOpener {
    /// The loader of the server, from which the tenants' loaders are made.
    pub loader: Loader,
    /// The source of changes to the tenants' own models.
    pub mode: ControlMode,
    /// A function that receives each version that was loaded or failed to load.
    pub observer: fn(&str, Loaded<'_>),
    /// The limits of uploads into the models of one tenant, if there are uploads.
    pub uploads: Option<UploadLimits>,
    /// The isolation of tenants that have models of their own or may deploy some, unless their records name one.
    pub owners: Isolation,
}

impl NamespaceOpener {
    /// Opens the models of the only tenant of this process, in its directory.
    pub fn open_only(
        &self,
        local: &Arc<Serving>,
        tenant: &Arc<Tenant>,
        directory: &Path,
    ) -> Serving {
        let account = Account::open(tenant, 1);
        let budget = model_memory(tenant, (local, MODELS_OF_OWN_PROCESS));
        self.open_models(local, (tenant, account, budget), (directory, None))
    }

    /// Returns whether there are files in the directory of a tenant that are, or become, models of its own: also those of a
    /// tenant that may not deploy any more. A directory that cannot be read has some.
    pub(super) fn has_models(directory: &Path) -> bool {
        has_content(&directory.join(MODELS)).unwrap_or(true)
    }

    /// Opens the models of a tenant, unless a process of its own does so. They have been those of the service `before`, if
    /// there is one, which takes no uploads from now on: requests may keep it for as long as their clients like.
    pub(super) fn open(
        &self,
        local: &Arc<Serving>,
        (tenant, account): (&Arc<Tenant>, Account),
        (directory, before): (&Path, Option<&Serving>),
    ) -> Serving {
        let before = before.and_then(Serving::own_control).map(Arc::clone);
        match tenant.isolation {
            Isolation::Shared | Isolation::Cordon => {
                let budget = model_memory(tenant, (local, MODELS_OF_SHARED_PROCESS));
                self.open_models(local, (tenant, account, budget), (directory, before))
            }
            Isolation::Worker => {
                if let Some(before) = &before {
                    before.give_up_uploads();
                }
                let loader = self.loader.for_tenant(&tenant.id);
                let models = directory.join(MODELS);
                let own = OwnModels {
                    registry: Registry::default(),
                    control: ModelControl::new(
                        loader,
                        models,
                        ControlMode::Disabled,
                        self.observer,
                    ),
                    releases: directory.join(RELEASES),
                    before,
                };
                local.for_tenant((Arc::clone(tenant), account), own)
            }
        }
    }

    /// Opens the models of a tenant within this budget. A directory that cannot be read is logged, and has no models.
    fn open_models(
        &self,
        local: &Arc<Serving>,
        (tenant, account, model_memory): (&Arc<Tenant>, Account, Option<u64>),
        (directory, before): (&Path, Option<Arc<ModelControl>>),
    ) -> Serving {
        let models = directory.join(MODELS);
        let loader = self.loader_for(tenant, local.options.max_instances);
        let id = &tenant.id;
        if let Err(error) = create_private(&models) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(tenant = %id, error, "no directory for the models of the tenant");
        }
        // Completes commits that were interrupted, and ends those by other rules, so the models are found afterwards.
        let handed_over = before
            .as_ref()
            .and_then(|before| before.hand_over_uploads());
        let uploads = match handed_over {
            // They were opened with the limits of before. Changes of the tenants come one after another.
            Some(uploads) => {
                if let Some(limits) = self.upload_limits(tenant) {
                    uploads.set_limits(&limits);
                }
                Some(uploads)
            }
            None => self.open_uploads(tenant, &models),
        };
        let registry = match loader.start_repository(&models, Start::Dormant, &self.observer) {
            Ok(registry) => registry,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(tenant = %id, error, "the models of the tenant cannot be read");
                Registry::default()
            }
        };
        let control = ModelControl::new(loader, models, self.mode, self.observer);
        let control = control.with_residency(ResidencyOptions {
            load_on_demand: true,
            max_model_memory_bytes: model_memory,
        });
        let control = control.with_uploads(uploads).of_tenant();
        let own = OwnModels {
            registry,
            control,
            releases: directory.join(RELEASES),
            before,
        };
        let serving = local.for_tenant((Arc::clone(tenant), account), own);
        serving.restore_releases();
        serving
    }

    /// Returns the loader for the models of a tenant, with its rules for signatures, its grants, and its limit on the memory
    /// of an instance. If it is cordoned off, it has this number of instances of its own. Threads and instances of its own
    /// that cannot be made are logged, and it uses those of the server until the next start.
    fn loader_for(&self, tenant: &Tenant, instances: usize) -> Loader {
        let shared = || self.loader.for_tenant(&tenant.id);
        let loader = match tenant.isolation {
            Isolation::Cordon => {
                self.loader
                    .cordoned(&tenant.id, instances)
                    .unwrap_or_else(|error| {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(
                            tenant = %tenant.id,
                            error,
                            "failed to create threads and instances for the tenant, which uses those of the server"
                        );
                        shared()
                    })
            }
            Isolation::Shared | Isolation::Worker => shared(),
        };
        let own = tenant.limits.instance_bytes;
        let own = own.and_then(|bytes| usize::try_from(bytes).ok());
        let of_server = &self.loader.limits;
        let memory_bytes = own.map_or(of_server.memory_bytes, |own| {
            own.min(of_server.memory_bytes)
        });
        Loader {
            signatures: tenant.signatures.policy(&self.loader.signatures),
            grants: GrantPolicy::of_tenant(&tenant.grants),
            limits: Limits {
                memory_bytes,
                ..of_server.clone()
            },
            ..loader
        }
    }

    /// Returns the limits of the uploads of a tenant, if there are uploads.
    pub(super) fn upload_limits(&self, tenant: &Tenant) -> Option<UploadLimits> {
        Some(tenant.limits.uploads(self.uploads.as_ref()?))
    }

    /// Opens the models of a tenant for uploads, if there are uploads. A failure is logged.
    fn open_uploads(&self, tenant: &Tenant, models: &Path) -> Option<Uploads> {
        let limits = self.upload_limits(tenant)?;
        let opened = Uploads::open_when_free(UploadTarget {
            repository: models.to_owned(),
            limits,
        });
        opened
            .inspect_err(|error| {
                let error = error as &dyn std::error::Error;
                tracing::error!(tenant = %tenant.id, error, "the tenant cannot upload");
            })
            .ok()
    }
}

/// Returns the budget of bytes for the own models of a tenant: its limit, or this part of the memory limit of the process.
/// `None` if there is neither.
fn model_memory(tenant: &Tenant, (local, part): (&Serving, u64)) -> Option<u64> {
    let default = local.memory_pressure().limit().map(|limit| limit / part);
    tenant.limits.model_memory_bytes.or(default)
}

/// Creates a directory and those above it for the user of this process alone.
pub fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServingOptions;

    #[test]
    fn the_models_of_a_tenant_have_a_part_of_the_memory_unless_a_limit_is_set() {
        let process = |limit: Option<u64>| {
            let options = ServingOptions {
                memory_limit_bytes: limit,
                ..ServingOptions::default()
            };
            Serving::new(Registry::default(), None, options)
        };
        let (limited, unlimited) = (process(Some(1000)), process(None));
        let mut tenant = Tenant::local();
        let budget = |tenant: &Tenant, part: u64| model_memory(tenant, (&limited, part));
        assert_eq!(budget(&tenant, MODELS_OF_SHARED_PROCESS), Some(250));
        assert_eq!(budget(&tenant, MODELS_OF_OWN_PROCESS), Some(500));
        assert_eq!(model_memory(&tenant, (&unlimited, 4)), None);
        tenant.limits.model_memory_bytes = Some(900);
        assert_eq!(budget(&tenant, MODELS_OF_SHARED_PROCESS), Some(900));
        assert_eq!(model_memory(&tenant, (&unlimited, 4)), Some(900));
    }
}
