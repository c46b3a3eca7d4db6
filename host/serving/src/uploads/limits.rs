//! The limits of uploads into a repository.

use wisp_protocol::upload::{SIGNATURE_FILE, UploadFileName};
use wisp_sandbox::limits::Limits;

/// The size limit of settings, checksums and signatures in bytes, far above usual ones.
const MAX_SETTINGS_BYTES: u64 = 1 << 20;

/// The limits of uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadLimits {
    /// The largest file in bytes. Handlers and settings have smaller limits of their own.
    pub file_bytes: u64,
    /// The largest handler in bytes, which is that of the server.
    pub component_bytes: u64,
    /// The bytes of all files of the repository, those that the operator has placed there included.
    pub stored_bytes: u64,
    /// The number of models of the repository.
    pub models: usize,
    /// The number of versions of one model.
    pub versions: usize,
    /// The limits among these that a tenant has agreed to, and not the server.
    pub of_tenant: TenantParts,
}

/// The limits that are those of a tenant, since they are below those of the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantParts {
    pub stored_bytes: bool,
    pub models: bool,
}

impl Default for UploadLimits {
    fn default() -> UploadLimits {
        UploadLimits {
            file_bytes: 2 << 30,
            component_bytes: u64::try_from(Limits::default().component_bytes).unwrap_or(u64::MAX),
            stored_bytes: 16 << 30,
            models: 1000,
            versions: 100,
            of_tenant: TenantParts::default(),
        }
    }
}

impl UploadLimits {
    /// Returns the size limit of this file in bytes.
    pub(crate) fn bytes_of(&self, file: &UploadFileName) -> u64 {
        let own = match file.as_str() {
            "handler.wasm" => self.component_bytes,
            "model.toml" | "config.pbtxt" | "SHA256SUMS" | SIGNATURE_FILE => MAX_SETTINGS_BYTES,
            _ => u64::MAX,
        };
        own.min(self.file_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_smaller_of_both_limits() -> anyhow::Result<()> {
        let mut limits = UploadLimits::default();
        for (name, bytes) in [
            ("model.onnx", 2 << 30),
            ("handler.wasm", 20 << 20),
            ("model.toml", 1 << 20),
            ("SHA256SUMS.minisig", 1 << 20),
        ] {
            let file = UploadFileName::parse(name)?;
            assert_eq!(limits.bytes_of(&file), bytes, "{name}");
        }
        limits.component_bytes = 30 << 20;
        let handler = UploadFileName::parse("handler.wasm")?;
        assert_eq!(limits.bytes_of(&handler), 30 << 20);
        limits.file_bytes = 10;
        assert_eq!(limits.bytes_of(&handler), 10);
        Ok(())
    }
}
