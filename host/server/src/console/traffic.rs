//! The traffic of a model: the versions that requests without a version get, and the release that splits them.

use super::page_text::PageText;
use super::plot::{Part, stack};
use super::quantity::{count, decimal, milliseconds, percent, time};
use wisp_protocol::release::{Phase, ReleaseEventKind, ReleaseStatus, ShadowCounts, VersionCounts};

/// Adds the split of an open release, and its counts, comparisons and events.
pub(super) fn add_release(page: &mut PageText, release: &ReleaseStatus) {
    let percent = candidate_percent(release);
    page.markup("<section class=\"release\"");
    page.attribute("data-candidate-percent", &percent.to_string());
    page.markup("><h3>Release of version ");
    page.text(&release.candidate.to_string());
    page.markup(" <span class=\"phase\">");
    page.markup(phase(release.phase));
    page.markup("</span></h3>");
    add_split(page, release, percent);
    add_arms(page, release);
    add_comparisons(page, &release.shadow);
    page.markup("<ol class=\"events\">");
    for event in &release.events {
        page.markup("<li>");
        page.element("time", &time(event.unix_milliseconds));
        page.markup(" ");
        page.markup(kind(event.event));
        if !event.reason.is_empty() {
            page.markup(": ");
            page.name(&event.reason);
        }
        page.markup("</li>");
    }
    page.markup("</ol></section>");
}

fn add_split(page: &mut PageText, release: &ReleaseStatus, percent: f64) {
    // Subtracting a decimal fraction leaves further digits.
    let title = |version: String, percent: f64| {
        let rounded = (percent * 100.0).round() / 100.0;
        format!("version {version}: {rounded} %")
    };
    let stable = title(release.stable.to_string(), 100.0 - percent);
    let candidate = title(release.candidate.to_string(), percent);
    page.markup("<p class=\"split\">");
    let parts = [
        Part {
            class: "stable",
            share: 1.0 - percent / 100.0,
            title: stable.clone(),
        },
        Part {
            class: "candidate",
            share: percent / 100.0,
            title: candidate.clone(),
        },
    ];
    stack(page, "split of the requests without a version", &parts);
    page.markup("<span class=\"stable\">");
    page.text(&stable);
    page.markup("</span> <span class=\"candidate\">");
    page.text(&candidate);
    page.markup("</span></p>");
}

fn add_arms(page: &mut PageText, release: &ReleaseStatus) {
    page.markup("<div class=\"wide\"><table class=\"arms\">");
    page.columns(&["requests", "number", "failed", "invalid", "mean", "p99"]);
    page.markup("<tbody>");
    let arms: [(String, &VersionCounts); 3] = [
        (
            format!("to version {}", release.stable),
            &release.stable_requests,
        ),
        (
            format!("to version {}", release.candidate),
            &release.candidate_requests,
        ),
        ("copied".to_owned(), &release.shadow.calls),
    ];
    for (arm, counts) in arms {
        let failed = match counts.failures {
            0 => count(0),
            failures => format!(
                "{} ({})",
                count(failures),
                percent(failures, counts.requests)
            ),
        };
        page.row(
            &arm,
            &[
                &count(counts.requests),
                &failed,
                &count(counts.rejected),
                &milliseconds(counts.mean_milliseconds),
                &milliseconds(counts.p99_milliseconds),
            ],
        );
    }
    page.markup("</tbody></table></div>");
}

/// Adds the comparisons of responses of both versions. A release without copies has none.
fn add_comparisons(page: &mut PageText, shadow: &ShadowCounts) {
    if shadow.compared == 0 && shadow.dropped == 0 {
        return;
    }
    page.markup("<p class=\"shadow\">");
    page.text(&format!(
        "{} compared, {} disagreed ({}), {} copies not made for lack of capacity",
        count(shadow.compared),
        count(shadow.disagreed),
        percent(shadow.disagreed, shadow.compared),
        count(shadow.dropped)
    ));
    page.markup("</p>");
    if shadow.outputs.is_empty() {
        return;
    }
    page.markup("<div class=\"wide\"><table class=\"outputs\">");
    page.columns(&[
        "output",
        "same label",
        "largest difference",
        "relative",
        "other shape or type",
    ]);
    page.markup("<tbody>");
    for (output, counts) in &shadow.outputs {
        page.row(
            output,
            &[
                &percent(counts.labels_agreed, counts.labels),
                &decimal(Some(counts.max_absolute_difference)),
                &decimal(Some(counts.max_relative_difference)),
                &count(counts.mismatched),
            ],
        );
    }
    page.markup("</tbody></table></div>");
}

/// Returns the part of the requests without a version that the candidate gets.
fn candidate_percent(release: &ReleaseStatus) -> f64 {
    match release.phase {
        Phase::Running => release.settings.weight_percent,
        Phase::Promoted => 100.0,
        Phase::Aborted | Phase::RolledBack => 0.0,
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Running => "running",
        Phase::Promoted => "promoted",
        Phase::Aborted => "aborted",
        Phase::RolledBack => "rolled back",
    }
}

fn kind(kind: ReleaseEventKind) -> &'static str {
    match kind {
        ReleaseEventKind::Started => "started",
        ReleaseEventKind::Changed => "changed",
        ReleaseEventKind::Promoted => "promoted",
        ReleaseEventKind::Aborted => "aborted",
        ReleaseEventKind::RolledBack => "rolled back",
        ReleaseEventKind::Restored => "continued after a restart",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wisp_protocol::call::{ModelName, Version};
    use wisp_protocol::release::{OutputCounts, ReleaseSettings, ReleaseStart};
    use wisp_serving::release::counts::{Arm, Outcome};
    use wisp_serving::release::rollout::Rollout;

    fn rollout() -> anyhow::Result<Rollout> {
        let candidate = Version::from_decimal("2").unwrap();
        let start = ReleaseStart {
            stable: None,
            candidate,
            settings: ReleaseSettings {
                weight_percent: 12.5,
                ..ReleaseSettings::default()
            },
        };
        Ok(Rollout::start(&ModelName::new("m")?, Version::FIRST, start))
    }

    fn html(release: &ReleaseStatus) -> String {
        let mut page = PageText::default();
        add_release(&mut page, release);
        page.into_html()
    }

    #[test]
    fn the_split_of_a_running_release_is_its_weight() -> anyhow::Result<()> {
        let rollout = rollout()?;
        rollout.count(Arm::Stable, Outcome::Succeeded(Duration::from_millis(2)));
        rollout.count(Arm::Candidate, Outcome::Failed);
        let html = html(&rollout.status());
        for part in [
            "data-candidate-percent=\"12.5\"",
            "class=\"stable\" x=\"0.0\" width=\"175.0\"",
            "class=\"candidate\" x=\"175.0\" width=\"25.0\"",
            "version 1: 87.5 %",
            "version 2: 12.5 %",
            "<td>1 (100.0 %)</td>",
            "started: <bdi>version 2 in place of version 1</bdi></li>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(
            !html.contains("compared"),
            "nothing has been copied: {html}"
        );
        Ok(())
    }

    #[test]
    fn a_rollback_is_shown_with_its_reason_as_text() -> anyhow::Result<()> {
        let rollout = rollout()?;
        assert!(rollout.roll_back("output <b>y</b> disagrees"));
        let mut release = rollout.status();
        release.shadow.compared = 4;
        release.shadow.disagreed = 1;
        let counts = OutputCounts {
            labels: 4,
            labels_agreed: 3,
            max_absolute_difference: 0.5,
            ..OutputCounts::default()
        };
        release.shadow.outputs.insert("<y>".to_owned(), counts);
        let html = html(&release);
        for part in [
            "data-candidate-percent=\"0\"",
            "rolled back: <bdi>output &lt;b&gt;y&lt;/b&gt; disagrees</bdi>",
            "4 compared, 1 disagreed (25.0 %)",
            "<bdi>&lt;y&gt;</bdi></th><td>75.0 %</td><td>0.500</td>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        Ok(())
    }
}
