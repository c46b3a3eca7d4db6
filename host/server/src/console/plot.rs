//! Durations as horizontal bars, in SVG within the page.

use super::page_text::PageText;
use wisp_protocol::statistics::Sum;

/// The length of the longest bar, in the units of the figure.
const LONGEST: u64 = 300;

/// The height of a bar with the space to the next one.
const LINE: u64 = 22;

/// The mean duration of one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bar {
    name: &'static str,
    nanoseconds: u64,
}

impl Bar {
    /// Returns the bar of the mean duration of a phase.
    pub(super) fn new(name: &'static str, sum: Sum) -> Bar {
        Bar {
            name,
            nanoseconds: sum.nanoseconds.checked_div(sum.count).unwrap_or(0),
        }
    }

    /// Returns the length of the bar, if that of `most` nanoseconds is the longest.
    fn length(self, most: u64) -> u64 {
        let length = u128::from(self.nanoseconds) * u128::from(LONGEST);
        let length = length.checked_div(u128::from(most)).unwrap_or(0);
        u64::try_from(length).unwrap_or(LONGEST)
    }
}

/// Adds a figure with these bars.
pub(super) fn bars(page: &mut PageText, bars: &[Bar]) {
    let most = bars.iter().map(|bar| bar.nanoseconds).max().unwrap_or(0);
    let lines = u64::try_from(bars.len()).unwrap_or(0);
    page.markup("<figure><figcaption>Mean time of each phase of an execution</figcaption>");
    page.markup("<svg role=\"img\" aria-label=\"phases\" width=\"560\" height=\"");
    page.text(&lines.saturating_mul(LINE).to_string());
    page.markup("\">");
    let mut top: u64 = 0;
    for bar in bars {
        let middle = top.saturating_add(15);
        let length = bar.length(most);
        page.markup("<text x=\"0\" y=\"");
        page.text(&middle.to_string());
        page.markup("\">");
        page.text(bar.name);
        page.markup("</text><rect x=\"130\" height=\"16\" y=\"");
        page.text(&top.saturating_add(2).to_string());
        page.markup("\" width=\"");
        page.text(&length.to_string());
        page.markup("\" data-phase=\"");
        page.text(bar.name);
        page.markup("\"></rect><text x=\"");
        page.text(&length.saturating_add(138).to_string());
        page.markup("\" y=\"");
        page.text(&middle.to_string());
        page.markup("\">");
        page.text(&duration(bar.nanoseconds));
        page.markup("</text>");
        top = top.saturating_add(LINE);
    }
    page.markup("</svg></figure>");
}

/// Returns a duration as text, in microseconds or milliseconds.
pub(super) fn duration(nanoseconds: u64) -> String {
    let microseconds = nanoseconds / 1000;
    match microseconds {
        0..10_000 => format!("{microseconds} µs"),
        _ => format!("{}.{} ms", microseconds / 1000, microseconds % 1000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(nanoseconds: u64) -> Bar {
        let sum = Sum {
            count: 1,
            nanoseconds,
        };
        Bar::new("queue", sum)
    }

    #[test]
    fn the_longest_bar_has_the_full_length() {
        assert_eq!(bar(7).length(7), LONGEST);
        assert_eq!(bar(7).length(14), LONGEST / 2);
        assert_eq!(bar(0).length(0), 0, "nothing has been measured");
        assert_eq!(bar(u64::MAX).length(u64::MAX), LONGEST);
    }

    #[test]
    fn each_phase_has_a_bar() {
        let mut page = PageText::default();
        bars(&mut page, &[bar(1000), bar(2000)]);
        let html = page.into_html();
        assert_eq!(html.matches("<rect").count(), 2);
        assert!(html.contains("width=\"150\""), "{html}");
        assert!(html.contains("2 µs"), "{html}");
    }

    #[test]
    fn long_durations_are_milliseconds() {
        assert_eq!(duration(9_999_999), "9999 µs");
        assert_eq!(duration(10_000_000), "10.0 ms");
        assert_eq!(duration(1_234_567_890), "1234.5 ms");
    }
}
