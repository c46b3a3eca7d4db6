//! The metrics of the quality of data: rejections by the rules of models, and the drift of their inputs.
//!
//! The names of inputs and features come from the model and its baseline. A version has the drift of a bounded number
//! of features here; its statistics have all.

use super::page::{Kind, Labels, Page};
use wisp_protocol::statistics::{DataQuality, FeatureQuality};
use wisp_serving::Serving;
use wisp_serving::quality::Quality;

/// The maximum number of features of a version.
const MAX_FEATURES: usize = 256;

const REJECTED: &str = "wisp_input_rejections_total";

const VIOLATIONS: &str = "wisp_output_violations_total";

/// A number of a feature, if it has one.
type Number = fn(&FeatureQuality) -> Option<f64>;

const OBSERVATIONS: &str = "wisp_input_observations";

const GAUGES: [(&str, &str, Number); 3] = [
    (
        "wisp_input_psi",
        "Population stability index of a feature against the baseline, from 100 observations on",
        FeatureQuality::judged_psi,
    ),
    (
        "wisp_input_ks",
        "Kolmogorov-Smirnov statistic of a feature against the baseline, from 100 observations on",
        |feature| feature.ks.filter(|_| feature.has_enough_observations()),
    ),
    (
        "wisp_input_missing_ratio",
        "Share of missing values in the last observations of a feature, from 0 to 1",
        |feature| Some(feature.missing),
    ),
];

/// The quality of the data of one version. Lifetime: one request.
#[derive(Debug)]
struct VersionQuality {
    model: String,
    version: String,
    quality: DataQuality,
}

/// Writes the families of the loaded versions with rules or a baseline.
pub(super) fn write(page: &mut Page, serving: &Serving) {
    let mut versions = Vec::new();
    for (model, entry) in serving.entries() {
        for version in entry.ready() {
            if let Some(quality) = version.quality().map(Quality::report) {
                versions.push(VersionQuality {
                    model: model.to_string(),
                    version: version.description().version.to_string(),
                    quality,
                });
            }
        }
    }
    write_versions(page, &versions);
}

fn write_versions(page: &mut Page, versions: &[VersionQuality]) {
    let help = "Requests with an input outside of its range";
    page.family(Kind::Counter, REJECTED, help);
    for version in versions {
        page.sample(REJECTED, &version.labels(), version.quality.rejected_inputs);
    }
    let help = "Responses with an output outside of its range, whether they became errors or not";
    page.family(Kind::Counter, VIOLATIONS, help);
    for version in versions {
        let violations = version.quality.output_violations;
        page.sample(VIOLATIONS, &version.labels(), violations);
    }
    let help = "Last observations of a feature that are compared with the baseline";
    page.family(Kind::Gauge, OBSERVATIONS, help);
    for version in versions {
        version.features(|labels, feature| {
            page.sample(OBSERVATIONS, labels, feature.observations);
        });
    }
    for (name, help, number) in GAUGES {
        page.family(Kind::Gauge, name, help);
        for version in versions {
            version.features(|labels, feature| {
                let value = number(feature).filter(|value| value.is_finite());
                if let Some(value) = value.filter(|_| feature.observations > 0) {
                    page.sample(name, labels, value);
                }
            });
        }
    }
}

impl VersionQuality {
    fn labels(&self) -> [(&str, &str); 2] {
        [
            ("model", self.model.as_str()),
            ("version", self.version.as_str()),
        ]
    }

    /// Calls `write` with the labels of each feature, up to the bound.
    fn features(&self, mut write: impl FnMut(Labels<'_>, &FeatureQuality)) {
        let inputs = self.quality.inputs.iter();
        let features = inputs.flat_map(|input| {
            let features = input.features.iter();
            features.map(|feature| (input.input.as_str(), feature))
        });
        for (input, feature) in features.take(MAX_FEATURES) {
            let own = [("input", input), ("feature", feature.feature.as_str())];
            write(&[&self.labels()[..], &own[..]].concat(), feature);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::statistics::InputQuality;

    fn feature(number: usize, observations: u64) -> FeatureQuality {
        FeatureQuality {
            feature: number.to_string(),
            observations,
            missing: 0.5,
            baseline_missing: 0.0,
            psi: Some(0.125),
            ks: None,
            p_value: None,
        }
    }

    fn samples(features: Vec<FeatureQuality>) -> Vec<String> {
        let version = VersionQuality {
            model: "m".to_owned(),
            version: "1".to_owned(),
            quality: DataQuality {
                rejected_inputs: 3,
                inputs: vec![InputQuality {
                    input: "x".to_owned(),
                    features,
                }],
                ..DataQuality::default()
            },
        };
        let mut page = Page::default();
        write_versions(&mut page, &[version]);
        let text = page.into_text();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.map(str::to_owned).collect()
    }

    #[test]
    fn a_feature_has_the_numbers_that_exist_and_show_more_than_chance() {
        let expected = [
            "wisp_input_rejections_total{model=\"m\",version=\"1\"} 3",
            "wisp_output_violations_total{model=\"m\",version=\"1\"} 0",
            "wisp_input_observations{model=\"m\",version=\"1\",input=\"x\",feature=\"0\"} 0",
            "wisp_input_observations{model=\"m\",version=\"1\",input=\"x\",feature=\"1\"} 198",
            "wisp_input_observations{model=\"m\",version=\"1\",input=\"x\",feature=\"2\"} 200",
            "wisp_input_psi{model=\"m\",version=\"1\",input=\"x\",feature=\"2\"} 0.125",
            "wisp_input_missing_ratio{model=\"m\",version=\"1\",input=\"x\",feature=\"1\"} 0.5",
            "wisp_input_missing_ratio{model=\"m\",version=\"1\",input=\"x\",feature=\"2\"} 0.5",
        ];
        let features = vec![feature(0, 0), feature(1, 198), feature(2, 200)];
        assert_eq!(samples(features), expected);
    }

    #[test]
    fn the_number_of_series_of_a_version_is_bounded() {
        let features = (0..2000).map(|number| feature(number, 200)).collect();
        let samples = samples(features);
        let psi = samples
            .iter()
            .filter(|line| line.starts_with("wisp_input_psi"));
        assert_eq!(psi.count(), MAX_FEATURES);
    }
}
