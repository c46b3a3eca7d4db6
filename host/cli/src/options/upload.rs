//! The settings of uploads into the repository, and of signatures.

use super::value;
use crate::failure::{BadConfiguration, bad_configuration};
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;
use wisp_backend::bounded_file::read_regular_text;
use wisp_serving::registry::version_signature::{SignaturePolicy, TrustedKey};
use wisp_serving::uploads::limits::{TenantParts, UploadLimits};

/// The size limit of the file of a public key, which has two lines.
const MAX_KEY_BYTES: u64 = 4 << 10;

/// The settings of uploads and signatures.
#[derive(Debug, Args)]
pub(crate) struct UploadArgs {
    /// Let clients add versions to the repository and delete them. Needs a repository (a directory of models), and a mode
    /// of `--model-control-mode` other than `none`. Without this, files that clients send with a load are served and not
    /// stored.
    #[arg(
        long,
        value_name = "BOOL",
        env = "WISP_ALLOW_UPLOAD",
        default_value_t = false
    )]
    pub(crate) allow_upload: bool,

    /// Reject larger uploaded files, with status 413.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MAX_UPLOAD_BYTES",
        default_value_t = to_size(UploadLimits::default().file_bytes),
        value_parser = value::at_least_one
    )]
    pub(crate) max_upload_bytes: usize,

    /// Reject uploads with status 507 if all files of the repository together would exceed this many bytes.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MAX_STORED_BYTES",
        default_value_t = to_size(UploadLimits::default().stored_bytes),
        value_parser = value::at_least_one
    )]
    pub(crate) max_stored_bytes: usize,

    /// Reject uploads of further models with status 507 when the repository has this many models.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MAX_STORED_MODELS",
        default_value_t = UploadLimits::default().models,
        value_parser = value::at_least_one
    )]
    pub(crate) max_stored_models: usize,

    /// Reject uploads of further versions of a model with status 507 when it has this many versions.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MAX_STORED_VERSIONS",
        default_value_t = UploadLimits::default().versions,
        value_parser = value::at_least_one
    )]
    pub(crate) max_stored_versions: usize,

    /// Trust the signatures of this public key, a file such as minisign.pub that `minisign -G` writes. A signed version is
    /// then loaded only if its signature is valid. May be repeated, or given as a list with commas [default: none].
    #[arg(
        long,
        value_name = "FILE",
        env = "WISP_TRUSTED_KEY",
        value_delimiter = ','
    )]
    pub(crate) trusted_key: Vec<PathBuf>,

    /// Load only versions with a valid signature of a trusted key, whatever the source of their files is. Needs
    /// `--trusted-key`.
    #[arg(
        long,
        value_name = "BOOL",
        env = "WISP_REQUIRE_SIGNATURE",
        default_value_t = false
    )]
    pub(crate) require_signature: bool,
}

/// Returns the largest size that this machine has, if it has not this one.
fn to_size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl UploadArgs {
    /// Returns the limits of uploads, if clients may upload. A handler has at most `component_bytes`.
    pub(crate) fn limits(&self, component_bytes: usize) -> Option<UploadLimits> {
        let limits = UploadLimits {
            file_bytes: u64::try_from(self.max_upload_bytes).unwrap_or(u64::MAX),
            component_bytes: u64::try_from(component_bytes).unwrap_or(u64::MAX),
            stored_bytes: u64::try_from(self.max_stored_bytes).unwrap_or(u64::MAX),
            models: self.max_stored_models,
            versions: self.max_stored_versions,
            of_tenant: TenantParts::default(),
        };
        self.allow_upload.then_some(limits)
    }

    /// Returns the rules for signatures. Reads the files of the keys.
    pub(crate) fn signatures(&self) -> anyhow::Result<SignaturePolicy> {
        if self.require_signature && self.trusted_key.is_empty() {
            return Err(bad_configuration(
                "--require-signature accepts no version without a key: give --trusted-key as well",
            ));
        }
        let mut trusted_keys = Vec::with_capacity(self.trusted_key.len());
        for file in &self.trusted_key {
            let text = read_regular_text(file, MAX_KEY_BYTES).with_context(|| {
                let file = file.display();
                BadConfiguration::new(format!("cannot read `{file}` of --trusted-key"))
            })?;
            let key = TrustedKey::parse(&text).with_context(|| {
                let file = file.display();
                BadConfiguration::new(format!("cannot use `{file}` of --trusted-key"))
            })?;
            trusted_keys.push(key);
        }
        Ok(SignaturePolicy {
            trusted_keys,
            is_required: self.require_signature,
        })
    }
}
