//! The arguments of `wisp backend`.

use super::CacheArgs;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;
use url::Url;

const PYPI: &str = "https://pypi.org/simple";

/// Show the backends, and install the libraries that some of them need.
///
/// tract and rten are built in. ONNX Runtime is a shared library that is opened when a model needs it. It is
/// extracted from the Python package of its publisher, verified against a built-in digest, and stored in
/// the cache directory.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:

  wisp backend list
  wisp backend install onnxruntime
  wisp serve --backend onnxruntime models"
)]
pub(crate) struct BackendCommandArgs {
    #[command(subcommand)]
    pub(crate) command: BackendCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackendCommand {
    List(BackendListArgs),
    Install(BackendInstallArgs),
    Uninstall(BackendUninstallArgs),
}

/// Show the backends, their versions, and the reason why a backend is unavailable.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp backend list
  wisp backend list --json | jq -r '.[] | select(.available) | .name'")]
pub(crate) struct BackendListArgs {
    /// Print an array with one object for each backend.
    #[arg(long)]
    pub(crate) json: bool,

    /// ONNX Runtime's shared library [default: the value of ORT_DYLIB_PATH, or the installed one].
    #[arg(long, value_name = "FILE", env = "WISP_ONNXRUNTIME_LIBRARY")]
    pub(crate) onnxruntime_library: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

/// Download a backend's shared library from a package index, and store it in the cache directory.
///
/// Does nothing, and sends no request, if it is already installed. The file is rejected unless its
/// digest matches the built-in one, wherever it comes from. Proxies are taken from HTTPS_PROXY,
/// HTTP_PROXY and NO_PROXY; the certificates that the system trusts are used.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp backend install onnxruntime
  wisp backend install onnxruntime --index-url https://mirror.example.com/simple
  wisp backend install cuda

Without network access, download the file on another machine:

  pip download onnxruntime==1.31.1 --no-deps --only-binary=:all: \\
    --python-version 3.12 --platform manylinux_2_28_x86_64
  wisp backend install onnxruntime --wheel onnxruntime-1.31.1-cp312-cp312-manylinux_2_28_x86_64.whl")]
pub(crate) struct BackendInstallArgs {
    /// The package to install.
    #[arg(value_name = "NAME", value_enum)]
    pub(crate) package: InstallablePackage,

    /// The package index to download from: PyPI or a mirror of it.
    #[arg(long, value_name = "URL", env = "PIP_INDEX_URL", default_value = PYPI)]
    pub(crate) index_url: IndexUrl,

    /// Install from this file instead of an index. Repeat it for a package with several files.
    #[arg(long, value_name = "FILE")]
    pub(crate) wheel: Vec<PathBuf>,

    /// Install the package again if it is already installed.
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

/// Remove all versions of a backend's shared library from the cache directory.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp backend uninstall onnxruntime")]
pub(crate) struct BackendUninstallArgs {
    /// The package to remove.
    #[arg(value_name = "NAME", value_enum)]
    pub(crate) package: InstallablePackage,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

/// The packages that `wisp backend install` supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InstallablePackage {
    /// ONNX Runtime.
    Onnxruntime,
    /// The libraries that backends need to compute on NVIDIA GPUs, with a matching ONNX Runtime: CUDA
    /// 13.0 and cuDNN 9, 1.4 GiB to download. Linux on x86_64 only. The driver (580 or newer) is not
    /// included.
    Cuda,
}

impl InstallablePackage {
    /// Returns the name as typed on the command line, which is also the prefix of its directory.
    pub(crate) fn name(self) -> &'static str {
        match self {
            InstallablePackage::Onnxruntime => "onnxruntime",
            InstallablePackage::Cuda => "cuda",
        }
    }
}

/// The address of a simple index of Python packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexUrl(Url);

impl IndexUrl {
    /// Returns the address of a project's page.
    pub(crate) fn project(&self, name: &str) -> Url {
        let mut url = self.0.clone();
        // Fails only for URLs without a host, which are rejected.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend([name, ""]);
        }
        url
    }
}

impl FromStr for IndexUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<IndexUrl, &'static str> {
        let text = match text.trim() {
            "" => PYPI,
            text => text,
        };
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(IndexUrl(url)),
            _ => Err("expected the address of a package index, such as https://pypi.org/simple"),
        }
    }
}
