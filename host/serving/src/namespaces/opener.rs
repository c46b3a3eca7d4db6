//! The start of the service of one tenant: its models, and what may change them.

use crate::account::Account;
use crate::model_control::{ControlMode, ModelControl};
use crate::registry::Registry;
use crate::registry::loader::{Loaded, Loader};
use crate::registry::repository_loader::Start;
use crate::residency::ResidencyOptions;
use crate::serving::Serving;
use crate::serving::tenant_view::OwnModels;
use crate::tenants::isolation::Isolation;
use crate::tenants::tenant_set::Tenant;
use crate::uploads::limits::UploadLimits;
use crate::uploads::{UploadTarget, Uploads};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

/// The directory of a tenant's own models, below the tenant's.
const MODELS: &str = "models";

/// The directory for the states of a tenant's releases, below the tenant's.
const RELEASES: &str = "releases";

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
    /// The isolation of tenants with a key that may deploy, unless their records name one.
    pub deployers: Isolation,
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
        self.open_models(local, (tenant, account), (directory, None))
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
                self.open_models(local, (tenant, account), (directory, before))
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

    /// Opens the models of a tenant. A directory that cannot be read is logged, and has no models.
    fn open_models(
        &self,
        local: &Arc<Serving>,
        (tenant, account): (&Arc<Tenant>, Account),
        (directory, before): (&Path, Option<Arc<ModelControl>>),
    ) -> Serving {
        let models = directory.join(MODELS);
        let loader = self.loader_for(tenant);
        let id = &tenant.id;
        if let Err(error) = create_private(&models) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(tenant = %id, error, "no directory for the models of the tenant");
        }
        // Completes commits that were interrupted, and ends those by other rules, so the models are found afterwards.
        let handed_over = before
            .as_ref()
            .and_then(|before| before.hand_over_uploads());
        let uploads = handed_over.or_else(|| self.open_uploads(tenant, &models));
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
            max_model_memory_bytes: tenant.limits.model_memory_bytes,
        });
        let control = control.with_uploads(uploads);
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

    /// Returns the loader for the models of a tenant, with its rules for signatures. Threads of its own that cannot be
    /// started are logged, and it uses the server's until the next start.
    fn loader_for(&self, tenant: &Tenant) -> Loader {
        let shared = || self.loader.for_tenant(&tenant.id);
        let loader = match tenant.isolation {
            Isolation::Cordon => self.loader.cordoned(&tenant.id).unwrap_or_else(|error| {
                let error = &error as &dyn std::error::Error;
                tracing::error!(tenant = %tenant.id, error, "no threads for the tenant, which shares the server's");
                shared()
            }),
            Isolation::Shared | Isolation::Worker => shared(),
        };
        Loader {
            signatures: tenant.signatures.policy(&self.loader.signatures),
            ..loader
        }
    }

    /// Opens the models of a tenant for uploads, if there are uploads. A failure is logged.
    fn open_uploads(&self, tenant: &Tenant, models: &Path) -> Option<Uploads> {
        let limits = tenant.limits.uploads(self.uploads.as_ref()?);
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

/// Creates a directory and those above it for the user of this process alone.
pub fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)
}
