//! The metrics of open releases: the requests of both versions and the comparisons of copies; and the number of
//! rollbacks, which outlives a release.

use super::page::{Kind, Labels, Page};
use wisp_protocol::call::{ModelName, Version};
use wisp_protocol::release::{OutputCounts, Phase, ReleaseStatus, VersionCounts};

const ROLLBACKS: &str = "wisp_release_rollbacks_total";

const SHARE: &str = "wisp_release_candidate_ratio";

const REQUESTS: &str = "wisp_release_requests_total";

const FAILURES: &str = "wisp_release_failures_total";

const REJECTIONS: &str = "wisp_release_rejections_total";

const DROPPED: &str = "wisp_release_shadow_dropped_total";

const COMPARED: &str = "wisp_release_compared_total";

const DISAGREEMENTS: &str = "wisp_release_disagreements_total";

/// A count of the copies of a release.
type Number = fn(&ReleaseStatus) -> u64;

const SHADOW_COUNTERS: [(&str, &str, Number); 3] = [
    (
        DROPPED,
        "Copies for the candidate that were not made for lack of capacity",
        |release| release.shadow.dropped,
    ),
    (
        COMPARED,
        "Responses of the candidate that were compared with responses of the stable version",
        |release| release.shadow.compared,
    ),
    (
        DISAGREEMENTS,
        "Compared responses with an output that disagrees",
        |release| release.shadow.disagreed,
    ),
];

const MAX_ABSOLUTE_DIFFERENCE: &str = "wisp_release_max_absolute_difference";

const MAX_RELATIVE_DIFFERENCE: &str = "wisp_release_max_relative_difference";

/// A difference of the compared values of an output.
type Difference = fn(&OutputCounts) -> f64;

const DIFFERENCES: [(&str, &str, Difference); 2] = [
    (
        MAX_ABSOLUTE_DIFFERENCE,
        "Largest difference of a number of an output, +Inf if only one of both is a number",
        |output| output.max_absolute_difference,
    ),
    (
        MAX_RELATIVE_DIFFERENCE,
        "Largest difference of a number of an output, relative to the larger of both numbers",
        |output| output.max_relative_difference,
    ),
];

/// A count of an output.
type OutputNumber = fn(&OutputCounts) -> u64;

const OUTPUT_COUNTERS: [(&str, &str, OutputNumber); 3] = [
    (
        "wisp_release_labels_total",
        "Compared rows of an output that have a label",
        |output| output.labels,
    ),
    (
        "wisp_release_labels_agreed_total",
        "Compared rows of an output that have the same label",
        |output| output.labels_agreed,
    ),
    (
        "wisp_release_mismatches_total",
        "Compared outputs of another element type or shape, and those that are missing",
        |output| output.mismatched,
    ),
];

/// Writes the families of all open releases.
pub(super) fn write(page: &mut Page, releases: &[ReleaseStatus]) {
    let help = "Share of the requests without a version that the candidate gets, from 0 to 1";
    page.family(Kind::Gauge, SHARE, help);
    for release in releases {
        let share = match release.phase {
            Phase::Running => release.settings.weight_percent / 100.0,
            Phase::Promoted => 1.0,
            Phase::Aborted | Phase::RolledBack => 0.0,
        };
        of_candidate(release, |labels| page.sample(SHARE, labels, share));
    }
    let help = "Requests of a release by arm, of which shadow is the copies for the candidate";
    page.family(Kind::Counter, REQUESTS, help);
    of_arms(releases, |labels, counts| {
        page.sample(REQUESTS, labels, counts.requests);
    });
    let help = "Requests of a release that failed through their version, by arm";
    page.family(Kind::Counter, FAILURES, help);
    of_arms(releases, |labels, counts| {
        page.sample(FAILURES, labels, counts.failures);
    });
    let help = "Requests of a release that were invalid for their version, by arm";
    page.family(Kind::Counter, REJECTIONS, help);
    of_arms(releases, |labels, counts| {
        page.sample(REJECTIONS, labels, counts.rejected);
    });
    for (name, help, number) in SHADOW_COUNTERS {
        page.family(Kind::Counter, name, help);
        for release in releases {
            let number = number(release);
            of_candidate(release, |labels| page.sample(name, labels, number));
        }
    }
    write_outputs(page, releases);
}

/// Writes the number of rollbacks of each model that has had a release.
pub(super) fn write_rollbacks(page: &mut Page, rollbacks: &[(ModelName, u64)]) {
    let help = "Releases of a model that the server has rolled back since its start";
    page.family(Kind::Counter, ROLLBACKS, help);
    for (model, count) in rollbacks {
        page.sample(ROLLBACKS, &[("model", model.as_str())], count);
    }
}

/// Writes the comparisons of each output, of which a release has a bounded number.
fn write_outputs(page: &mut Page, releases: &[ReleaseStatus]) {
    for (name, help, difference) in DIFFERENCES {
        page.family(Kind::Gauge, name, help);
        of_outputs(releases, |labels, output| {
            page.sample(name, labels, difference_text(difference(output)));
        });
    }
    for (name, help, number) in OUTPUT_COUNTERS {
        page.family(Kind::Counter, name, help);
        of_outputs(releases, |labels, output| {
            page.sample(name, labels, number(output));
        });
    }
}

/// Returns a difference as a metric value. The largest number represents an infinite difference.
fn difference_text(difference: f64) -> String {
    match difference < f64::MAX {
        true => difference.to_string(),
        false => "+Inf".to_owned(),
    }
}

/// Calls `write` with the labels and the comparisons of each output of each release.
fn of_outputs(releases: &[ReleaseStatus], mut write: impl FnMut(Labels<'_>, &OutputCounts)) {
    for release in releases {
        let version = release.candidate.to_string();
        for (output, counts) in &release.shadow.outputs {
            let labels = [
                ("model", release.model.as_str()),
                ("version", version.as_str()),
                ("output", output.as_str()),
            ];
            write(&labels, counts);
        }
    }
}

/// Calls `write` with the labels of the candidate.
fn of_candidate(release: &ReleaseStatus, write: impl FnOnce(Labels<'_>)) {
    let version = release.candidate.to_string();
    let labels = [
        ("model", release.model.as_str()),
        ("version", version.as_str()),
    ];
    write(&labels);
}

/// Calls `write` with the labels and the counts of each arm of each release.
fn of_arms(releases: &[ReleaseStatus], mut write: impl FnMut(Labels<'_>, &VersionCounts)) {
    for release in releases {
        let arms: [(&str, Version, &VersionCounts); 3] = [
            ("stable", release.stable, &release.stable_requests),
            ("candidate", release.candidate, &release.candidate_requests),
            ("shadow", release.candidate, &release.shadow.calls),
        ];
        for (arm, version, counts) in arms {
            let version = version.to_string();
            let labels = [
                ("model", release.model.as_str()),
                ("version", version.as_str()),
                ("arm", arm),
            ];
            write(&labels, counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::release::{ReleaseSettings, ReleaseStart};
    use wisp_serving::release::counts::{Arm, Outcome};
    use wisp_serving::release::rollout::Rollout;

    #[test]
    fn the_arms_of_a_release_are_told_apart() -> anyhow::Result<()> {
        let candidate = Version::from_decimal("2").unwrap();
        let start = ReleaseStart {
            stable: None,
            candidate,
            settings: ReleaseSettings {
                weight_percent: 25.0,
                ..ReleaseSettings::default()
            },
        };
        let rollout = Rollout::start(&ModelName::new("m")?, Version::FIRST, start);
        rollout.count(Arm::Stable, Outcome::Remembered);
        rollout.count(Arm::Candidate, Outcome::Failed);
        rollout.count(Arm::Candidate, Outcome::Rejected);
        rollout.count_dropped();
        let mut page = Page::default();
        write(&mut page, &[rollout.status()]);
        let text = page.into_text();
        for sample in [
            "wisp_release_candidate_ratio{model=\"m\",version=\"2\"} 0.25",
            "wisp_release_requests_total{model=\"m\",version=\"1\",arm=\"stable\"} 1",
            "wisp_release_failures_total{model=\"m\",version=\"1\",arm=\"stable\"} 0",
            "wisp_release_failures_total{model=\"m\",version=\"2\",arm=\"candidate\"} 1",
            "wisp_release_rejections_total{model=\"m\",version=\"2\",arm=\"candidate\"} 1",
            "wisp_release_requests_total{model=\"m\",version=\"2\",arm=\"shadow\"} 0",
            "wisp_release_shadow_dropped_total{model=\"m\",version=\"2\"} 1",
            "wisp_release_disagreements_total{model=\"m\",version=\"2\"} 0",
        ] {
            assert!(text.lines().any(|line| line == sample), "{sample}\n{text}");
        }
        Ok(())
    }

    #[test]
    fn each_output_has_its_comparisons() -> anyhow::Result<()> {
        let start = ReleaseStart {
            stable: None,
            candidate: Version::from_decimal("2").unwrap(),
            settings: ReleaseSettings::default(),
        };
        let rollout = Rollout::start(&ModelName::new("m")?, Version::FIRST, start);
        let mut release = rollout.status();
        let outputs = [
            (
                "y",
                OutputCounts {
                    compared: 4,
                    labels: 8,
                    labels_agreed: 7,
                    max_absolute_difference: 0.5,
                    max_relative_difference: 0.125,
                    ..OutputCounts::default()
                },
            ),
            (
                "z",
                OutputCounts {
                    compared: 4,
                    mismatched: 1,
                    max_absolute_difference: f64::MAX,
                    ..OutputCounts::default()
                },
            ),
        ];
        for (output, counts) in outputs {
            release.shadow.outputs.insert(output.to_owned(), counts);
        }
        let mut page = Page::default();
        write_outputs(&mut page, &[release]);
        let text = page.into_text();
        for sample in [
            "wisp_release_max_absolute_difference{model=\"m\",version=\"2\",output=\"y\"} 0.5",
            "wisp_release_max_absolute_difference{model=\"m\",version=\"2\",output=\"z\"} +Inf",
            "wisp_release_max_relative_difference{model=\"m\",version=\"2\",output=\"y\"} 0.125",
            "wisp_release_labels_total{model=\"m\",version=\"2\",output=\"y\"} 8",
            "wisp_release_labels_agreed_total{model=\"m\",version=\"2\",output=\"y\"} 7",
            "wisp_release_mismatches_total{model=\"m\",version=\"2\",output=\"y\"} 0",
            "wisp_release_mismatches_total{model=\"m\",version=\"2\",output=\"z\"} 1",
        ] {
            assert!(text.lines().any(|line| line == sample), "{sample}\n{text}");
        }
        Ok(())
    }
}
