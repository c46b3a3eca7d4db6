//! Argument values with a syntax of their own: addresses, `NAME=VALUE`, parameters.
//!
//! Each function is a clap value parser. Its error describes the expected syntax; clap adds the name of
//! the argument.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use url::Url;
use wisp_protocol::call::{ModelName, Version};
use wisp_protocol::routing::RoutingSource;
use wisp_sandbox::engine::MAX_LINEAR_MEMORY_BYTES;
use wisp_serving::tenants::api_key::KeyId;
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::settings_change::IsolationChange;
use wisp_serving::tenants::tenant_grant::TenantGrant;
use wisp_tensor::{Dimension, Parameter, ParameterValue};

/// The value of one `--input`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NamedInput {
    pub(crate) name: String,
    pub(crate) source: InputSource,
}

/// The source of an input's elements.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum InputSource {
    /// The bytes of a file.
    File(PathBuf),
    /// A JSON value, interpreted according to the input's datatype.
    Json(serde_json::Value),
}

/// The sizes of an input, parsed and formatted as `x=1x3x640x640`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NamedShape {
    pub(crate) name: String,
    pub(crate) sizes: Vec<u32>,
}

impl fmt::Display for NamedShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.sizes.iter().map(u32::to_string).collect();
        write!(f, "{}={}", self.name, sizes.join("x"))
    }
}

/// The shape that is set for an input of a model, parsed and formatted as `x=1x3x-1x640`. -1 leaves an axis
/// variable.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InputShape {
    pub(crate) name: String,
    pub(crate) shape: Vec<Dimension>,
}

impl InputShape {
    /// Returns the name of the input and the shape.
    pub(crate) fn into_pair(self) -> (String, Vec<Dimension>) {
        (self.name, self.shape)
    }
}

impl fmt::Display for InputShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = self.shape.iter().map(|size| size.to_wire().to_string());
        let sizes: Vec<String> = sizes.collect();
        write!(f, "{}={}", self.name, sizes.join("x"))
    }
}

/// A limit that is set, or removed with `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitValue(pub(crate) Option<u64>);

/// The grants of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantList(pub(crate) BTreeSet<TenantGrant>);

/// A duration that is parsed and formatted as whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Milliseconds(pub(crate) Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_millis().fmt(f)
    }
}

impl FromStr for Milliseconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Milliseconds, String> {
        // A day is far beyond any request, and far below the limit of additions to `Instant`.
        const DAY: u64 = 24 * 60 * 60 * 1000;
        match text.parse() {
            Ok(number) if (1..=DAY).contains(&number) => {
                Ok(Milliseconds(Duration::from_millis(number)))
            }
            _ => Err(format!("expected milliseconds, from 1 to {DAY} (a day)")),
        }
    }
}

/// A duration that is parsed and formatted as whole seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_secs().fmt(f)
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seconds, String> {
        // The same limit as for milliseconds.
        const DAY: u64 = 24 * 60 * 60;
        match text.parse() {
            Ok(number) if (1..=DAY).contains(&number) => Ok(Seconds(Duration::from_secs(number))),
            _ => Err(format!("expected seconds, from 1 to {DAY} (a day)")),
        }
    }
}

/// An additional address, for gRPC or for metrics, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdditionalAddress {
    At(SocketAddr),
    /// There is no additional socket.
    Disabled,
}

impl FromStr for AdditionalAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<AdditionalAddress, String> {
        match text {
            "none" => Ok(AdditionalAddress::Disabled),
            text => match address(text) {
                Ok(address) => Ok(AdditionalAddress::At(address)),
                Err(expected) => Err(format!("{expected}, or `none`")),
            },
        }
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected ADDRESS:PORT, such as 127.0.0.1:8000, 0.0.0.0:80 or [::1]:8000".to_owned()
    })
}

pub(super) fn server_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => Err("expected the URL of a server, such as http://127.0.0.1:8000".to_owned()),
    }
}

/// Parses the name of a header.
pub(super) fn header_name(text: &str) -> Result<String, String> {
    let parsed = RoutingSource::new(Some(text), None);
    parsed
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

/// Parses a part in percent.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("expected a number from 0 to 100".to_owned()),
    }
}

pub(super) fn model_name(text: &str) -> Result<ModelName, String> {
    ModelName::new(text).map_err(|error| error.to_string())
}

/// Parses the id of a tenant's key.
pub(super) fn key_id(text: &str) -> Result<KeyId, String> {
    let expected = |_| "expected the id of a key: 16 hexadecimal digits".to_owned();
    text.parse().map_err(expected)
}

/// Parses a limit of a tenant.
pub(super) fn limit(text: &str) -> Result<LimitValue, String> {
    match (text, text.parse()) {
        ("none", _) => Ok(LimitValue(None)),
        (_, Ok(limit)) => Ok(LimitValue(Some(limit))),
        (_, Err(_)) => Err("expected a number, or `none` for no limit".to_owned()),
    }
}

/// Parses a change of the isolation of a tenant.
pub(super) fn isolation(text: &str) -> Result<IsolationChange, String> {
    match text {
        "none" => Ok(IsolationChange::Usual),
        level => {
            let level: Result<Isolation, _> = level.parse();
            let expected = |error| format!("{error}, or `none` for the default");
            level.map(IsolationChange::To).map_err(expected)
        }
    }
}

/// Parses the grants of a tenant.
pub(super) fn grants(text: &str) -> Result<GrantList, String> {
    if text == "none" {
        return Ok(GrantList(BTreeSet::new()));
    }
    let grants = text.split(',').map(|name| name.parse::<TenantGrant>());
    let grants: Result<BTreeSet<TenantGrant>, _> = grants.collect();
    grants
        .map(GrantList)
        .map_err(|error| format!("{error}, separated by commas, or `none`"))
}

/// Parses the lifetime of a key in seconds.
pub(super) fn lifetime(text: &str) -> Result<u64, String> {
    /// A hundred years, far below the end of the numbers of seconds.
    const MOST: u64 = 100 * 365 * 24 * 60 * 60;
    match text.parse() {
        Ok(number) if (1..=MOST).contains(&number) => Ok(number),
        _ => Err(format!("expected seconds, from 1 to {MOST} (100 years)")),
    }
}

pub(super) fn version(text: &str) -> Result<Version, String> {
    let version = Version::from_decimal(text);
    version.ok_or_else(|| "expected the number of a version, such as 2".to_owned())
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("expected a number from 1 to {}", usize::MAX)),
        Ok(number) => Ok(number),
    }
}

/// Parses a size of linear memory.
pub(super) fn linear_memory(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=MAX_LINEAR_MEMORY_BYTES).contains(&number) => Ok(number),
        _ => Err(format!(
            "expected a number from 1 to {MAX_LINEAR_MEMORY_BYTES} (4 GiB)"
        )),
    }
}

pub(super) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    let expected = |_| "expected a number of threads, from 1".to_owned();
    text.parse().map_err(expected)
}

/// Parses a number of concurrent requests or connections. A million is far more than a machine has
/// memory for, and far below the limit of the semaphore that counts them.
pub(super) fn concurrency(text: &str) -> Result<usize, String> {
    const MOST: usize = 1_000_000;
    match text.parse() {
        Ok(number) if (1..=MOST).contains(&number) => Ok(number),
        _ => Err(format!("expected a number from 1 to {MOST}")),
    }
}

pub(super) fn named_input(text: &str) -> Result<NamedInput, String> {
    let (name, value) = split(text, "image=@seven.png or features=[[1.0, 2.0]]")?;
    let source = match value.strip_prefix('@') {
        Some("") => return Err("expected a file name after `@`".to_owned()),
        Some(file) => InputSource::File(PathBuf::from(file)),
        None => InputSource::Json(serde_json::from_str(value).map_err(|error| {
            format!(
                "`{value}` is not JSON ({error}); text is written as '{name}=\"text\"', \
                 a file as {name}=@FILE"
            )
        })?),
    };
    Ok(NamedInput {
        name: name.to_owned(),
        source,
    })
}

/// Parses the shape of an input, whose name may contain `=`.
pub(super) fn input_shape(text: &str) -> Result<InputShape, String> {
    let expected = || format!("expected NAME=SIZES, such as image=1x3x640x640, got `{text}`");
    let (name, sizes) = text.rsplit_once('=').ok_or_else(expected)?;
    if name.is_empty() {
        return Err(expected());
    }
    let sizes = sizes.split('x').filter(|_| !sizes.is_empty());
    let shape = sizes.map(|size| Dimension::from_wire(size.parse().ok()?));
    Ok(InputShape {
        name: name.to_owned(),
        shape: shape
            .collect::<Option<Vec<Dimension>>>()
            .ok_or_else(expected)?,
    })
}

/// Parses the sizes of a given input: a shape with at least one axis and without variable axes.
pub(super) fn named_shape(text: &str) -> Result<NamedShape, String> {
    /// More elements than any input has, and few enough for the memory.
    const MAX_ELEMENTS: u64 = 1 << 30;
    let InputShape { name, shape } = input_shape(text)?;
    let fixed = |size: &Dimension| match *size {
        Dimension::Fixed(size) => Some(size),
        Dimension::Variable => None,
    };
    let sizes: Option<Vec<u32>> = shape.iter().map(fixed).collect();
    let sizes = sizes.filter(|sizes| !sizes.is_empty());
    let sizes = sizes.ok_or_else(|| {
        format!("expected a size for each axis, such as image=1x3x640x640, got `{text}`")
    })?;
    let elements = (sizes.iter()).try_fold(1u64, |product, &size| product.checked_mul(size.into()));
    match elements {
        Some(elements) if elements <= MAX_ELEMENTS => Ok(NamedShape { name, sizes }),
        _ => Err(format!("expected at most {MAX_ELEMENTS} elements")),
    }
}

/// Parses a parameter: a JSON scalar is used as it is, everything else is a string. Examples: `top_k=3`,
/// `fast=true`, `mode=exact`.
pub(super) fn parameter(text: &str) -> Result<Parameter, String> {
    let (name, value) = split(text, "top_k=3 or mode=exact")?;
    let text = || ParameterValue::String(value.to_owned());
    let value = match serde_json::from_str::<serde_json::Value>(value) {
        Ok(serde_json::Value::Bool(value)) => ParameterValue::Bool(value),
        Ok(serde_json::Value::String(value)) => ParameterValue::String(value),
        Ok(serde_json::Value::Number(number)) => number
            .as_i64()
            .map(ParameterValue::Int64)
            .or_else(|| number.as_u64().map(ParameterValue::Uint64))
            .or_else(|| number.as_f64().map(ParameterValue::Double))
            .unwrap_or_else(text),
        _ => text(),
    };
    Ok(Parameter {
        name: name.to_owned(),
        value,
    })
}

fn split<'a>(text: &'a str, example: &str) -> Result<(&'a str, &'a str), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        _ => Err(format!("expected NAME=VALUE, such as {example}")),
    }
}
