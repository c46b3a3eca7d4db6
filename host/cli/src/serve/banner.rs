//! The banner that `serve` prints when it is ready: the models, their state, and a working curl command
//! for each, unless they are loaded on demand; then the skipped entries with the reasons.
//!
//! The command uses the shortest golden case that expects outputs. Without cases, it uses inputs that the graph
//! computes, or for a handler zeros in the shape of the signature.
//!
//! With a log in JSON, which is often collected together with standard output, a log line replaces
//! the banner.

use crate::cases::{self, Case};
use crate::display;
use serde_json::Value;
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use wisp_protocol::call::{ModelDescription, ModelName};
use wisp_protocol::openapi;
use wisp_protocol::v2::sample_request;
use wisp_server::{ListeningSocket, Sockets};
use wisp_serving::registry::triton_config::TRITON_CONFIG_FILE;
use wisp_serving::registry::{LoadedVersion, Registry};
use wisp_serving::version::ModelVersion;
use wisp_tensor::OneLine;

/// The limit on the length of a body, so that the command fits a terminal. For longer ones the model's
/// README has examples.
const MAX_BODY: usize = 1500;

/// The addresses that the server listens on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    /// The URL scheme: `http` or `https`.
    pub(super) scheme: &'static str,
    pub(super) http: Address,
    pub(super) grpc: Option<Address>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) admin: Option<SocketAddr>,
}

/// An address that the server listens on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address {
    pub(super) address: SocketAddr,
    /// Set if the socket was passed to the program.
    pub(super) is_activated: bool,
}

/// The numbers of models at the start.
struct Counts {
    ready: usize,
    /// Those that are not loaded before their first request, which count as ready.
    dormant: usize,
    models: usize,
    skipped: usize,
}

impl Addresses {
    pub(super) fn of(sockets: &Sockets) -> io::Result<Addresses> {
        let address = |socket: &ListeningSocket| {
            io::Result::Ok(Address {
                address: socket.local_addr()?,
                is_activated: socket.is_shared(),
            })
        };
        Ok(Addresses {
            scheme: match &sockets.tls {
                Some(_) => "https",
                None => "http",
            },
            http: address(&sockets.http)?,
            grpc: sockets.grpc.as_ref().map(address).transpose()?,
            metrics: match &sockets.metrics {
                Some(socket) => Some(socket.local_addr()?),
                None => None,
            },
            admin: match &sockets.admin {
                Some(socket) => Some(socket.local_addr()?),
                None => None,
            },
        })
    }

    /// Returns whether only programs on this machine can connect. Clients of the metrics can change nothing.
    pub(super) fn are_loopback(&self) -> bool {
        let mut addresses = std::iter::once(self.http).chain(self.grpc);
        addresses.all(|address| address.address.ip().is_loopback())
    }

    /// Returns the URL of the server.
    fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.http.address)
    }
}

impl Address {
    /// Returns the remark that follows the address.
    fn remark(self) -> &'static str {
        match self.is_activated {
            true => " (socket activation)",
            false => "",
        }
    }
}

impl Counts {
    fn new(registry: &Registry) -> Counts {
        let entries = registry.entries();
        let ready = entries.iter().filter(|(_, entry)| entry.is_ready());
        let dormant = entries.iter().filter(|(_, entry)| entry.is_dormant());
        let unserved = entries.iter().map(|(_, entry)| entry.unserved.len());
        Counts {
            ready: ready.count(),
            dormant: dormant.count(),
            models: entries.len(),
            skipped: registry.skipped().len() + unserved.sum::<usize>(),
        }
    }
}

/// Logs the addresses and the numbers of models. Other log lines name the models that are not served.
pub(super) fn log(registry: &Registry, addresses: &Addresses) {
    let Counts {
        ready,
        dormant,
        models,
        skipped,
    } = Counts::new(registry);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        http = addresses.url(),
        grpc = addresses
            .grpc
            .map(|grpc| tracing::field::display(grpc.address)),
        metrics = addresses.metrics.map(tracing::field::display),
        admin = addresses.admin.map(tracing::field::display),
        socket_activation = addresses.http.is_activated.then_some(true),
        ready,
        on_demand = (dormant > 0).then_some(dormant),
        models,
        skipped,
        "serving"
    );
}

pub(super) fn text(registry: &Registry, repository: &Path, addresses: &Addresses) -> String {
    let server = addresses.url();
    let grpc = addresses.grpc;
    let grpc = grpc.map_or_else(String::new, |grpc| {
        format!(", gRPC on {}{}", grpc.address, grpc.remark())
    });
    let metrics = addresses.metrics;
    let metrics = metrics.map_or_else(String::new, |metrics| format!(", metrics on {metrics}"));
    let admin = addresses.admin;
    let admin = admin.map_or_else(String::new, |admin| format!(", tenants on {admin}"));
    let remark = addresses.http.remark();
    let mut text = String::new();
    let entries = registry.entries();
    let skipped_entries = registry.skipped();
    let Counts {
        ready,
        dormant,
        models,
        skipped,
    } = Counts::new(registry);
    let on_demand = match dormant {
        0 => String::new(),
        count => format!(" ({count} on demand)"),
    };
    let skipped = match skipped {
        0 => String::new(),
        count => format!(", {count} skipped"),
    };
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        text,
        "Wisp {} on {server}{remark}: {ready} of {models} models ready{on_demand}{skipped}{grpc}{metrics}{admin}\n",
        env!("CARGO_PKG_VERSION"),
    );
    for (name, entry) in &entries {
        if let Some(problem) = &entry.problem {
            let problem = OneLine(problem);
            let _ = writeln!(text, "  {name} -  UNAVAILABLE\n    {problem}\n");
        }
        for (number, version) in &entry.versions {
            let _ = match version {
                LoadedVersion::Ready(loaded) => {
                    let directory = model_directory(repository, name);
                    let line = match loaded.web_route() {
                        Some(route) => format!("curl {server}{route}"),
                        None => curl((loaded.description(), sample(loaded)), &directory, &server),
                    };
                    let line = OneLine(line);
                    let backends = display::backend_selections(loaded);
                    let backends = backends.map(|line| format!("  {line}")).unwrap_or_default();
                    let backends = OneLine(backends);
                    writeln!(text, "  {name} {number}  READY{backends}\n    {line}\n")
                }
                LoadedVersion::Failed(reason) => {
                    let reason = OneLine(reason);
                    writeln!(text, "  {name} {number}  UNAVAILABLE\n    {reason}\n")
                }
                LoadedVersion::Unloaded => writeln!(text, "  {name} {number}  UNLOADED\n"),
                // Only counted: there may be thousands.
                LoadedVersion::Dormant(_) => Ok(()),
            };
        }
        for unserved in &entry.unserved {
            let reason = OneLine(&unserved.reason);
            let _ = writeln!(text, "  {name} -  SKIPPED\n    {reason}\n");
        }
        if !entry.ignored_settings.is_empty() {
            let fields = entry.ignored_settings.join(", ");
            let fields = OneLine(&fields);
            let _ = writeln!(
                text,
                "  {name} -  {TRITON_CONFIG_FILE} has fields that are ignored\n    {fields}\n"
            );
        }
    }
    for entry in &skipped_entries {
        let (name, reason) = (OneLine(&entry.name), OneLine(&entry.reason));
        let _ = writeln!(text, "  {name} -  SKIPPED\n    {reason}\n");
    }
    text
}

/// Returns the directory that may contain the model's cases: below the repository, or the path itself
/// for a single model.
fn model_directory(repository: &Path, name: &ModelName) -> std::path::PathBuf {
    let below = repository.join(name.as_str());
    if below.is_dir() {
        below
    } else {
        repository.to_owned()
    }
}

/// Returns the body of a request without golden cases, if there is one that can be shown.
fn sample(version: &ModelVersion) -> Option<String> {
    let model = version.description();
    let Some(example) = version.example() else {
        // A graph that computes no short inputs would refuse these.
        let is_handler = !version.is_graph_only();
        return is_handler.then(|| zeros(model)).flatten();
    };
    let body = openapi::example_request(model, Some(example))?;
    let body: Value = serde_json::from_str(&body).ok()?;
    Some(body.to_string())
}

/// Returns the body of a request with zeros in the shape of the signature.
fn zeros(model: &ModelDescription) -> Option<String> {
    Some(sample_request(model, MAX_BODY)?.to_string())
}

/// Returns the command for a model of the server at this URL, with the body `sample` if there are no golden cases.
fn curl(
    (model, sample): (&ModelDescription, Option<String>),
    directory: &Path,
    server: &str,
) -> String {
    let url = format!("{server}/v2/models/{}/infer", model.model);
    // `wisp check` reports cases that cannot be read.
    let cases = cases::load_all(directory).unwrap_or_default();
    let answered = || cases.iter().filter(|case| case.expects_outputs());
    if let Some(file) = answered().find_map(Case::only_file)
        && let Ok(file) = file.canonicalize()
    {
        return format!(
            "curl -s --data-binary @{} -H 'Inference-Header-Content-Length: 0' -H 'Accept: application/json' {url}",
            display::shell_word(&display::path(&file))
        );
    }
    let body = answered()
        .filter(|case| !has_file(&case.request))
        .map(|case| case.request.to_string())
        .min_by_key(String::len)
        .or(sample);
    match body {
        Some(body) if body.len() <= MAX_BODY => {
            format!("curl -s -d {} {url}", display::shell_word(&body))
        }
        _ => format!("curl -s {server}/v2/models/{}", model.model),
    }
}

fn has_file(request: &Value) -> bool {
    let inputs = request["inputs"].as_array();
    inputs.is_some_and(|inputs| inputs.iter().any(|input| input.get("file").is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use wisp_protocol::call::Version;
    use wisp_serving::registry::skipped_entry::SkippedEntry;
    use wisp_serving::registry::{ModelEntry, UnservedVersion};
    use wisp_tensor::{Dimension, ElementType, Signature, TensorSpec};

    fn line(element_type: ElementType, shape: &[Dimension]) -> anyhow::Result<String> {
        let input = TensorSpec {
            name: "x".to_owned(),
            element_type,
            shape: shape.to_vec(),
            optional: false,
        };
        let model = ModelDescription {
            model: ModelName::new("m")?,
            version: Version::FIRST,
            platform: "tract_onnx".to_owned(),
            max_batch_size: 0,
            max_rows: None,
            class_labels: Default::default(),
            properties: Default::default(),
            configuration: Default::default(),
            signature: Signature {
                inputs: vec![input],
                outputs: Vec::new(),
            },
        };
        let server = "http://127.0.0.1:8000";
        let sample = zeros(&model);
        Ok(curl((&model, sample), Path::new("/no/such/model"), server))
    }

    #[test]
    fn a_model_whose_input_fits_no_terminal_or_json_is_asked_for_its_metadata() -> anyhow::Result<()>
    {
        const METADATA: &str = "curl -s http://127.0.0.1:8000/v2/models/m";
        const INFER: &str = "http://127.0.0.1:8000/v2/models/m/infer";
        let fixed = Dimension::Fixed;
        let small = line(ElementType::Fp32, &[Dimension::Variable, fixed(2)])?;
        assert_eq!(
            small,
            format!(
                "curl -s -d '{}' {INFER}",
                r#"{"inputs":[{"data":[0.0,0.0],"datatype":"FP32","name":"x","shape":[1,2]}]}"#
            )
        );
        let picture = [fixed(1), fixed(3), fixed(4096), fixed(4096)];
        assert_eq!(line(ElementType::Fp32, &picture)?, METADATA);
        assert_eq!(line(ElementType::Int8, &[fixed(u32::MAX); 3])?, METADATA);
        assert_eq!(line(ElementType::Fp16, &[fixed(2)])?, METADATA);
        assert_eq!(line(ElementType::Bf16, &[fixed(2)])?, METADATA);
        Ok(())
    }

    #[test]
    fn skipped_entries_are_counted_and_listed() -> anyhow::Result<()> {
        let entry = ModelEntry {
            problem: Some("no version".to_owned()),
            unserved: vec![UnservedVersion::skipped("`v2` is not a version".to_owned())],
            ignored_settings: vec!["model_warmup".to_owned(), "optimization".to_owned()],
            ..ModelEntry::default()
        };
        let registry = Registry::new(BTreeMap::from([(ModelName::new("m")?, entry)]));
        registry.set_skipped(vec![SkippedEntry {
            name: "a\nb".to_owned(),
            reason: "not a name".to_owned(),
        }]);
        let mut addresses = Addresses {
            scheme: "http",
            http: Address {
                address: "127.0.0.1:8000".parse()?,
                is_activated: false,
            },
            grpc: None,
            metrics: None,
            admin: None,
        };
        let text =
            |addresses: &Addresses| text(&registry, Path::new("/no/such/repository"), addresses);
        let printed = text(&addresses);
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "Wisp {version} on http://127.0.0.1:8000: 0 of 1 models ready, 2 skipped\n\n  \
             m -  UNAVAILABLE\n    no version\n\n  \
             m -  SKIPPED\n    `v2` is not a version\n\n  \
             m -  config.pbtxt has fields that are ignored\n    model_warmup, optimization\n\n  \
             a\\nb -  SKIPPED\n    not a name\n\n"
        );
        assert_eq!(printed, expected);
        addresses.http.is_activated = true;
        addresses.metrics = Some("127.0.0.1:8002".parse()?);
        let printed = text(&addresses);
        let first = printed.lines().next();
        let expected = format!(
            "Wisp {version} on http://127.0.0.1:8000 (socket activation): 0 of 1 models ready, 2 skipped, metrics on 127.0.0.1:8002"
        );
        assert_eq!(first, Some(expected.as_str()));
        Ok(())
    }
}
