//! The arguments of `wisp serve` for traces, for the lines about requests, and for the log of payloads.

use super::value;
use clap::Args;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use url::Url;
use wisp_server::RequestLines;
use wisp_serving::sample_ratio::SampleRatio;

/// The most bytes of tensors in one event: a colour picture of 512 pixels as floats has three times as many.
const DEFAULT_PAYLOAD_BYTES: usize = 1 << 20;

/// The bytes after which a new file begins.
const DEFAULT_FILE_BYTES: usize = 100 << 20;

/// The reports about requests.
#[derive(Debug, Args)]
pub(crate) struct TelemetryArgs {
    /// Send a span of each traced request, and one of each of its phases, to this collector of OpenTelemetry:
    /// OTLP over HTTP with protobuf, usually on port 4318. `/v1/traces` is added to the URL unless it ends with that
    /// [default: the value of OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT, or none].
    ///
    /// Spans are sent in the background. If the collector is slow or cannot be reached, they are dropped and counted.
    #[arg(long, value_name = "URL", env = "WISP_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<CollectorUrl>,

    /// The share of the requests that are traced, from 0 to 1. A request whose client takes part in a trace (the
    /// header `traceparent`) is traced if the client records it, whatever the share is.
    #[arg(
        long,
        value_name = "RATIO",
        env = "WISP_TRACE_SAMPLE_RATIO",
        default_value_t = SampleRatio::ALL
    )]
    pub(crate) trace_sample_ratio: SampleRatio,

    /// Write a line to the log for each of these requests, with its route, model, status, sizes and the durations of
    /// its phases. The target of the lines is `wisp_server::requests`, their level is `info`.
    #[arg(
        long,
        value_name = "REQUESTS",
        env = "WISP_REQUEST_LOG",
        value_enum,
        default_value_t = RequestLogChoice::None
    )]
    pub(crate) request_log: RequestLogChoice,

    /// Write the inputs and outputs of calls as CloudEvents, with the types of KServe: to a file, as `file:PATH`, with
    /// one event per line, or with POST requests to an `http://` or `https://` URL. A model whose model.toml contains
    /// `payload_log = false` is left out [default: none].
    ///
    /// Events are written in the background. If the file or the server is slow or fails, they are dropped and counted.
    #[arg(long, value_name = "DESTINATION", env = "WISP_PAYLOAD_LOG")]
    pub(crate) payload_log: Option<PayloadDestination>,

    /// The share of the calls whose payloads are logged, from 0 to 1.
    #[arg(
        long,
        value_name = "RATIO",
        env = "WISP_PAYLOAD_LOG_SAMPLE_RATIO",
        default_value_t = SampleRatio::ALL
    )]
    pub(crate) payload_log_sample_ratio: SampleRatio,

    /// Log only the names, datatypes and shapes of inputs, or of outputs, that have more bytes together.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_PAYLOAD_LOG_MAX_BYTES",
        default_value_t = DEFAULT_PAYLOAD_BYTES,
        value_parser = value::at_least_one
    )]
    pub(crate) payload_log_max_bytes: usize,

    /// Begin a new file when the payload log has reached this many bytes. Four older files are kept, with
    /// `.1` (the newest) to `.4` added to the name.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_PAYLOAD_LOG_FILE_BYTES",
        default_value_t = DEFAULT_FILE_BYTES,
        value_parser = value::at_least_one
    )]
    pub(crate) payload_log_file_bytes: usize,
}

/// The requests that have a line of their own in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RequestLogChoice {
    /// No request. Failures of handlers, of capacity and of the server are logged in any case, up to one per second
    /// and kind.
    None,
    /// Every request that fails, also by a mistake of its client.
    Failures,
    /// Every request.
    All,
}

impl RequestLogChoice {
    /// Returns the choice as the server takes it.
    pub(crate) fn lines(self) -> RequestLines {
        match self {
            RequestLogChoice::None => RequestLines::None,
            RequestLogChoice::Failures => RequestLines::Failures,
            RequestLogChoice::All => RequestLines::All,
        }
    }
}

/// The URL of a collector, with the path for traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CollectorUrl(pub(crate) Url);

impl FromStr for CollectorUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<CollectorUrl, String> {
        let expected = "expected the URL of a collector, such as http://127.0.0.1:4318";
        let mut url = value::server_url(text).map_err(|_| expected.to_owned())?;
        let path = url.path().trim_end_matches('/').to_owned();
        if !path.ends_with("/v1/traces") {
            url.set_path(&format!("{path}/v1/traces"));
        }
        Ok(CollectorUrl(url))
    }
}

impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of the payload log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PayloadDestination {
    File(PathBuf),
    Server(Url),
}

impl FromStr for PayloadDestination {
    type Err = String;

    fn from_str(text: &str) -> Result<PayloadDestination, String> {
        match text.strip_prefix("file:") {
            Some(path) if !path.is_empty() => Ok(PayloadDestination::File(path.into())),
            Some(_) => Err("expected a path after `file:`".to_owned()),
            None => value::server_url(text)
                .map(PayloadDestination::Server)
                .map_err(|_| "expected file:PATH, http://HOST or https://HOST".to_owned()),
        }
    }
}

impl fmt::Display for PayloadDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PayloadDestination::File(path) => write!(f, "file:{}", path.display()),
            PayloadDestination::Server(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_for_traces_is_added_to_the_url_of_a_collector() -> Result<(), String> {
        for (text, expected) in [
            ("http://a:4318", "http://a:4318/v1/traces"),
            ("http://a:4318/", "http://a:4318/v1/traces"),
            ("https://a/otlp/", "https://a/otlp/v1/traces"),
            ("http://a/v1/traces", "http://a/v1/traces"),
        ] {
            assert_eq!(text.parse::<CollectorUrl>()?.to_string(), expected);
        }
        for text in ["", "a:4318", "grpc://a:4317"] {
            assert!(text.parse::<CollectorUrl>().is_err(), "{text}");
        }
        Ok(())
    }

    #[test]
    fn payloads_go_to_a_file_or_to_a_server() -> Result<(), String> {
        for text in ["file:payloads.ndjson", "file:/var/log/p", "http://a/"] {
            assert_eq!(text.parse::<PayloadDestination>()?.to_string(), text);
        }
        for text in ["", "file:", "payloads.ndjson", "kafka://a"] {
            assert!(text.parse::<PayloadDestination>().is_err(), "{text}");
        }
        Ok(())
    }
}
