//! The quality of the data of a version: the requests and responses that its rules do not accept, and the features whose
//! values have drifted most from the baseline.

use super::page_text::PageText;
use super::plot::{Part, stack};
use super::quantity::{count, decimal};
use wisp_protocol::statistics::{DataQuality, FeatureQuality};

/// The most features in the table. The statistics of the model have all.
const MAX_FEATURES: usize = 20;

/// The PSI from which on drift is moderate by convention.
const MODERATE: f64 = 0.1;

/// The PSI above which drift is a reason to act by convention. Its bar has half of the width.
const LARGE: f64 = 0.25;

/// The drift of a feature in words, which are also the classes of its bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Unknown,
    Small,
    Moderate,
    Large,
}

/// Adds the quality of the data of a version with rules or a baseline.
pub(super) fn add_quality(page: &mut PageText, quality: &DataQuality) {
    page.markup("<p class=\"quality\">");
    page.text(&format!(
        "{} requests with an input outside of its range, {} responses with an output outside of its range",
        count(quality.rejected_inputs),
        count(quality.output_violations)
    ));
    page.markup("</p>");
    let inputs = quality.inputs.iter();
    let mut features: Vec<(&str, &FeatureQuality)> = inputs
        .flat_map(|input| {
            let features = input.features.iter();
            features.map(|feature| (input.input.as_str(), feature))
        })
        .collect();
    if features.is_empty() {
        return;
    }
    let psi = |feature: &FeatureQuality| feature.judged_psi().unwrap_or(-1.0);
    features.sort_by(|(_, one), (_, other)| psi(other).total_cmp(&psi(one)));
    page.markup("<div class=\"wide\"><table class=\"drift\"><caption>");
    page.text(&format!(
        "Drift of the features from the baseline, over at most {} observations of each",
        count(quality.window.unwrap_or(0))
    ));
    page.markup("</caption>");
    page.columns(&[
        "feature",
        "drift",
        "PSI",
        "KS",
        "p-value",
        "missing",
        "in the baseline",
        "observations",
    ]);
    page.markup("<tbody>");
    for (input, feature) in features.iter().take(MAX_FEATURES) {
        add_feature(page, input, feature);
    }
    page.markup("</tbody></table></div>");
    let left = features.len().saturating_sub(MAX_FEATURES);
    if left > 0 {
        page.markup("<p class=\"more\">");
        page.text(&format!(
            "and {left} features with less drift, which the statistics of the model list"
        ));
        page.markup("</p>");
    }
}

fn add_feature(page: &mut PageText, input: &str, feature: &FeatureQuality) {
    let psi = feature.judged_psi();
    let level = Level::of(psi);
    page.markup("<tr");
    page.attribute("data-feature", &feature.feature);
    page.attribute("data-level", level.name());
    page.markup(">");
    page.row_heading(&format!("{input}: {}", feature.feature));
    page.markup("<td class=\"plot\">");
    let part = Part {
        class: level.name(),
        share: psi.unwrap_or(0.0) / (2.0 * LARGE),
        title: level.name().to_owned(),
    };
    stack(page, "drift", &[part]);
    page.markup("</td>");
    page.element("td", &format!("{} {}", decimal(feature.psi), level.name()));
    page.element("td", &decimal(feature.ks));
    page.element("td", &decimal(feature.p_value));
    page.element("td", &share(feature.missing));
    page.element("td", &share(feature.baseline_missing));
    page.element("td", &count(feature.observations));
    page.markup("</tr>");
}

/// Returns a share from 0 to 1 in percent.
fn share(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

impl Level {
    fn of(psi: Option<f64>) -> Level {
        match psi {
            Some(psi) if psi > LARGE => Level::Large,
            Some(psi) if psi >= MODERATE => Level::Moderate,
            Some(_) => Level::Small,
            None => Level::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Level::Unknown => "unknown",
            Level::Small => "small",
            Level::Moderate => "moderate",
            Level::Large => "large",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::statistics::InputQuality;

    fn feature(name: &str, psi: Option<f64>) -> FeatureQuality {
        FeatureQuality {
            feature: name.to_owned(),
            observations: 1500,
            missing: 0.25,
            baseline_missing: 0.0,
            psi,
            ks: psi,
            p_value: None,
        }
    }

    fn html(features: Vec<FeatureQuality>) -> String {
        let mut page = PageText::default();
        let quality = DataQuality {
            window: Some(10_000),
            rejected_inputs: 3,
            output_violations: 0,
            inputs: vec![InputQuality {
                input: "x".to_owned(),
                features,
            }],
        };
        add_quality(&mut page, &quality);
        page.into_html()
    }

    #[test]
    fn the_level_is_that_of_the_convention() {
        let levels = [
            None,
            Some(0.0),
            Some(0.0999),
            Some(0.1),
            Some(0.25),
            Some(0.3),
        ];
        let names = levels.map(|psi| Level::of(psi).name());
        let expected = ["unknown", "small", "small", "moderate", "moderate", "large"];
        assert_eq!(names, expected);
    }

    #[test]
    fn the_feature_with_the_most_drift_comes_first() {
        let html = html(vec![
            feature("calm", Some(0.02)),
            feature("<none>", None),
            feature("moved", Some(0.4)),
        ]);
        let position = |text: &str| html.find(text).unwrap();
        assert!(position("x: moved") < position("x: calm"), "{html}");
        assert!(position("x: calm") < position("x: &lt;none&gt;"), "{html}");
        assert!(html.contains("width=\"160.0\""), "{html}");
        assert!(html.contains("<td>0.400 large</td>"), "{html}");
        assert!(html.contains("<td>25.0 %</td>"), "{html}");
        assert!(html.contains("at most 10,000 observations"), "{html}");
        assert!(html.contains("3 requests with an input"), "{html}");
    }

    #[test]
    fn a_feature_with_few_observations_has_no_level() {
        let few = FeatureQuality {
            observations: 99,
            ..feature("few", Some(8.0))
        };
        let html = html(vec![few, feature("calm", Some(0.02))]);
        let position = |text: &str| html.find(text).unwrap();
        assert!(position("x: calm") < position("x: few"), "{html}");
        assert!(html.contains("<td>8.000 unknown</td>"), "{html}");
        assert!(!html.contains("large"), "{html}");
    }

    #[test]
    fn the_number_of_features_has_a_bound() {
        let features = (0..1000).map(|number| feature(&number.to_string(), Some(0.1)));
        let html = html(features.collect());
        assert_eq!(html.matches("<tr data-feature").count(), MAX_FEATURES);
        assert!(html.contains("and 980 features"), "{html}");
    }

    #[test]
    fn rules_without_a_baseline_have_no_table() {
        let mut page = PageText::default();
        add_quality(&mut page, &DataQuality::default());
        let html = page.into_html();
        assert!(!html.contains("<table"), "{html}");
        assert!(html.contains("0 requests"), "{html}");
    }
}
