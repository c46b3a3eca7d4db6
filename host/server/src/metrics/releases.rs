//! The metrics of open releases: the requests of both versions, and what the copies to the candidate have shown.

use super::page::{Kind, Labels, Page};
use wisp_protocol::call::Version;
use wisp_protocol::release::{Phase, ReleaseStatus, VersionCounts};

const SHARE: &str = "wisp_release_candidate_ratio";

const REQUESTS: &str = "wisp_release_requests_total";

const FAILURES: &str = "wisp_release_failures_total";

const DROPPED: &str = "wisp_release_shadow_dropped_total";

const COMPARED: &str = "wisp_release_compared_total";

const DISAGREEMENTS: &str = "wisp_release_disagreements_total";

/// A number of the copies of a release.
type Number = fn(&ReleaseStatus) -> u64;

const SHADOW_COUNTERS: [(&str, &str, Number); 3] = [
    (
        DROPPED,
        "Copies for the candidate that were not made for lack of capacity",
        |release| release.shadow.dropped,
    ),
    (
        COMPARED,
        "Responses of the candidate that were compared with those of the stable version",
        |release| release.shadow.compared,
    ),
    (
        DISAGREEMENTS,
        "Compared responses with an output that disagrees",
        |release| release.shadow.disagreed,
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
    for (name, help, number) in SHADOW_COUNTERS {
        page.family(Kind::Counter, name, help);
        for release in releases {
            let number = number(release);
            of_candidate(release, |labels| page.sample(name, labels, number));
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
    use wisp_protocol::call::ModelName;
    use wisp_protocol::release::{ReleaseSettings, ReleaseStart};
    use wisp_serving::release::rollout::{Arm, Outcome, Rollout};

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
        rollout.count_dropped();
        let mut page = Page::default();
        write(&mut page, &[rollout.status()]);
        let text = page.into_text();
        for sample in [
            "wisp_release_candidate_ratio{model=\"m\",version=\"2\"} 0.25",
            "wisp_release_requests_total{model=\"m\",version=\"1\",arm=\"stable\"} 1",
            "wisp_release_failures_total{model=\"m\",version=\"1\",arm=\"stable\"} 0",
            "wisp_release_failures_total{model=\"m\",version=\"2\",arm=\"candidate\"} 1",
            "wisp_release_requests_total{model=\"m\",version=\"2\",arm=\"shadow\"} 0",
            "wisp_release_shadow_dropped_total{model=\"m\",version=\"2\"} 1",
            "wisp_release_disagreements_total{model=\"m\",version=\"2\"} 0",
        ] {
            assert!(text.lines().any(|line| line == sample), "{sample}\n{text}");
        }
        Ok(())
    }
}
