//! The baseline of the version that a file belongs to, in a few lines.

use super::class_names::model_directory;
use serde::Serialize;
use std::fmt;
use std::path::Path;
use wisp_serving::quality::baseline::Baseline;
use wisp_serving::quality::distribution::Distribution;
use wisp_serving::registry::baseline_file;
use wisp_serving::registry::repository::HANDLER_FILE;
use wisp_tensor::OneLine;

/// The maximum number of features in text. JSON contains all of them.
const SHOWN: usize = 20;

/// The features of a baseline, or the reason that it cannot be read.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum BaselineSummary {
    Readable {
        window: usize,
        features: Vec<FeatureSummary>,
    },
    Unreadable {
        error: String,
    },
}

#[derive(Debug, Serialize)]
pub(super) struct FeatureSummary {
    input: String,
    feature: String,
    values: u64,
    missing: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    std: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    categories: Option<usize>,
}

impl BaselineSummary {
    /// Returns the baseline of the version that clients call through this file, if there is one: the handler of a
    /// version, or else its graphs.
    pub(super) fn of_file(file: &Path) -> Option<BaselineSummary> {
        let version = file.parent()?;
        model_directory(version)?;
        let handler = version.join(HANDLER_FILE);
        if file != handler && handler.is_file() {
            return None;
        }
        let path = baseline_file::find(version)?;
        Some(match baseline_file::read(&path) {
            Ok(baseline) => BaselineSummary::Readable {
                window: baseline.window,
                features: summaries(&baseline),
            },
            Err(error) => BaselineSummary::Unreadable {
                error: error.to_string(),
            },
        })
    }
}

fn summaries(baseline: &Baseline) -> Vec<FeatureSummary> {
    let mut summaries = Vec::new();
    for input in &baseline.inputs {
        for (position, feature) in input.features.iter().enumerate() {
            let (summary, categories) = match &feature.distribution {
                Distribution::Numeric(numeric) => (Some(numeric.summary), None),
                Distribution::Categorical(texts) => (None, Some(texts.categories.len())),
            };
            summaries.push(FeatureSummary {
                input: input.name.clone(),
                feature: feature.name.clone().unwrap_or_else(|| position.to_string()),
                values: feature.distribution.values(),
                missing: feature.missing,
                mean: summary.map(|summary| summary.mean),
                std: summary.map(|summary| summary.std),
                min: summary.map(|summary| summary.min),
                max: summary.map(|summary| summary.max),
                categories,
            });
        }
    }
    summaries
}

impl fmt::Display for BaselineSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let features = match self {
            BaselineSummary::Readable { features, .. } => features,
            BaselineSummary::Unreadable { error } => {
                return writeln!(f, "  baseline     {}", OneLine(error));
            }
        };
        for feature in features.iter().take(SHOWN) {
            write!(
                f,
                "  baseline     {}  {}: {} values, {} missing",
                OneLine(&feature.input),
                OneLine(&feature.feature),
                feature.values,
                feature.missing
            )?;
            match (feature.min, feature.max, feature.mean, feature.categories) {
                (Some(min), Some(max), Some(mean), _) => {
                    writeln!(f, ", {min:.4} to {max:.4}, mean {mean:.4}")?;
                }
                (.., Some(categories)) => writeln!(f, ", {categories} categories")?,
                _ => writeln!(f)?,
            }
        }
        match features.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "  baseline     and {more} more features"),
        }
    }
}
