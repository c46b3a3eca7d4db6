//! The tables of `model.toml`: inputs, outputs, the cache of responses, the handler and the web component.

use crate::registry::config_value;
use crate::registry::value_section::{AllowedValue, FeatureSection, NullPolicy, OnViolation};
use crate::registry::web_route::WebRoute;
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use wisp_sandbox::configuration::ConfigValue;
use wisp_sandbox::grants::Grant;
use wisp_sandbox::web::AllowedHosts;
use wisp_tensor::Dimension;

/// The settings of one input.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputSection {
    /// The sizes of its axes, which fix those that the file leaves variable; -1 leaves an axis as it is.
    #[serde(deserialize_with = "shape")]
    pub shape: Option<Vec<Dimension>>,
    /// The order of its axes, if it is an image; by default the one that the graph shows.
    pub format: Option<InputFormat>,
    /// The smallest value of each feature.
    pub min: Option<f64>,
    /// The largest value of each feature.
    pub max: Option<f64>,
    /// The policy for missing values; by default they are rejected if other values are limited.
    pub nulls: Option<NullPolicy>,
    /// The only values that are accepted.
    pub allowed: Option<Vec<AllowedValue>>,
    /// The names of its features, in their order.
    pub feature_names: Vec<String>,
    /// The rules for single features, by name or position.
    pub features: BTreeMap<String, FeatureSection>,
}

/// The order of the axes of an input, besides a batch axis, by the names of Triton's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum InputFormat {
    #[serde(rename = "NCHW")]
    Nchw,
    #[serde(rename = "NHWC")]
    Nhwc,
    /// The input is not an image, even if the graph suggests one.
    #[serde(rename = "none")]
    NoImage,
}

fn shape<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Dimension>>, D::Error> {
    let sizes = Vec::<i64>::deserialize(deserializer)?;
    let sizes = sizes.into_iter().map(|size| {
        let dimension = Dimension::from_wire(size);
        dimension.ok_or_else(|| format!("{size} is not a size: expected -1 to {}", u32::MAX))
    });
    let sizes: Result<Vec<Dimension>, String> = sizes.collect();
    sizes.map(Some).map_err(serde::de::Error::custom)
}

/// The settings of one output.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputSection {
    /// The file with the names of its classes, relative to the directory of the version, or else of the model, with one
    /// label per line.
    pub labels: Option<PathBuf>,
    /// The smallest value.
    pub min: Option<f64>,
    /// The largest value.
    pub max: Option<f64>,
    /// The policy for missing values; by default they are rejected if other values are limited.
    pub nulls: Option<NullPolicy>,
    /// The handling of a response with a value outside of these.
    pub on_violation: OnViolation,
}

/// The caching of the model's responses.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheSection {
    /// Set if a response is kept for later requests with the same inputs.
    pub enabled: bool,
    /// The time for which a response is kept.
    pub ttl_seconds: NonZeroU32,
}

impl Default for CacheSection {
    fn default() -> CacheSection {
        CacheSection {
            enabled: false,
            // Responses depend on nothing but the files and the request, so their age does not matter much.
            ttl_seconds: NonZeroU32::new(60 * 60).unwrap_or(NonZeroU32::MAX),
        }
    }
}

/// The source of the handler, and the model's settings and files that it reads.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HandlerSection {
    /// The crate of the handler, relative to the directory of the model. Only `wisp build` reads it.
    pub source: Option<PathBuf>,
    /// The files that the handler reads, relative to the directory of the version, or else of the model.
    pub files: Vec<String>,
    /// The settings that the handler reads: strings, numbers, booleans and arrays of them.
    #[serde(deserialize_with = "config_value::values")]
    pub config: BTreeMap<String, ConfigValue>,
    /// The capabilities that the handler has beyond any other handler.
    #[serde(deserialize_with = "grants")]
    pub grants: BTreeSet<Grant>,
}

fn grants<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Grant>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let grants = names.iter().map(|name| name.parse::<Grant>());
    let grants: Result<BTreeSet<Grant>, _> = grants.collect();
    grants.map_err(serde::de::Error::custom)
}

/// The settings of a web component.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSection {
    /// The route of the component; by default `/apps/` and the name of the model.
    #[serde(deserialize_with = "route")]
    pub route: Option<WebRoute>,
    /// The hosts to which it may send requests, with their ports; by default none.
    #[serde(deserialize_with = "allowed_hosts")]
    pub allowed_hosts: AllowedHosts,
}

fn route<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WebRoute>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let route = WebRoute::new(&text);
    route.map(Some).map_err(serde::de::Error::custom)
}

fn allowed_hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AllowedHosts, D::Error> {
    let hosts = Vec::<String>::deserialize(deserializer)?;
    AllowedHosts::parse(&hosts).map_err(serde::de::Error::custom)
}
