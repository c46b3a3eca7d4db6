//! The durations of the phases of successful requests: a histogram of each on one logarithmic axis, with its quantiles.
//!
//! A quantile is the upper bound of the bucket in which it lies: the histogram shows no more.

use super::page_text::PageText;
use super::plot::{Column, columns};
use super::quantity::{NONE, count, duration};
use wisp_serving::histogram::DurationHistogram;
use wisp_serving::version_counters::PhaseHistograms;

/// The description of the plots.
const CAPTION: &str = "Time of each phase, from at most 10 µs at the left over 10 ms in the middle to more than 10 s at \
                       the right, for successful requests";

/// Adds the table of the phases. Without a request there is none.
pub(super) fn add_phases(page: &mut PageText, durations: &PhaseHistograms) {
    if durations.request.count() == 0 {
        return;
    }
    page.markup("<div class=\"wide\"><table class=\"phases\">");
    page.element("caption", CAPTION);
    page.columns(&["phase", "distribution", "mean", "p50 up to", "p99 up to"]);
    page.markup("<tbody>");
    for (phase, histogram) in durations.phases() {
        page.markup("<tr");
        page.attribute("data-phase", phase);
        page.markup(">");
        page.row_heading(phase);
        page.markup("<td class=\"plot\">");
        columns(page, phase, &columns_of(histogram));
        page.markup("</td>");
        let mean = histogram.nanoseconds().checked_div(histogram.count());
        page.element("td", &mean.map_or(NONE.to_owned(), duration));
        page.element("td", &quantile(histogram, 500));
        page.element("td", &quantile(histogram, 990));
        page.markup("</tr>");
    }
    page.markup("</tbody></table></div>");
}

/// Returns a column for each bucket, the one without a bound last.
fn columns_of(histogram: &DurationHistogram) -> Vec<Column> {
    let (mut columns, mut before, mut lower) = (Vec::new(), 0_u64, String::new());
    for (bound, up_to) in histogram.cumulative() {
        let upper = bound_text(bound);
        let number = up_to.saturating_sub(before);
        let range = match lower.is_empty() {
            true => format!("up to {upper}"),
            false => format!("{lower} to {upper}"),
        };
        columns.push(column(number, &range));
        (before, lower) = (up_to, upper);
    }
    let number = histogram.count().saturating_sub(before);
    columns.push(column(number, &format!("more than {lower}")));
    columns
}

fn column(number: u64, range: &str) -> Column {
    Column {
        count: number,
        title: format!("{range}: {}", count(number)),
    }
}

/// Returns the upper bound of the bucket with this quantile, given in thousandths.
fn quantile(histogram: &DurationHistogram, permille: u64) -> String {
    let all = histogram.count();
    if all == 0 {
        return NONE.to_owned();
    }
    // The position of the quantile among all durations, from 1.
    let position = u128::from(all)
        .saturating_mul(u128::from(permille))
        .div_ceil(1000);
    let mut buckets = histogram.cumulative();
    match buckets.find(|(_, up_to)| u128::from(*up_to) >= position) {
        Some((bound, _)) => bound_text(bound),
        None => "over 10 s".to_owned(),
    }
}

/// Returns a bound, which is a round number.
fn bound_text(microseconds: u64) -> String {
    match microseconds {
        0..1000 => format!("{microseconds} µs"),
        2500 => "2.5 ms".to_owned(),
        1000..1_000_000 => format!("{} ms", microseconds / 1000),
        2_500_000 => "2.5 s".to_owned(),
        _ => format!("{} s", microseconds / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn histogram(milliseconds: &[u64]) -> DurationHistogram {
        let mut histogram = DurationHistogram::default();
        for duration in milliseconds {
            histogram.add(Duration::from_millis(*duration));
        }
        histogram
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        assert_eq!(quantile(&histogram(&[]), 500), NONE);
        let one_in_ten = histogram(&[2, 2, 2, 2, 2, 2, 2, 2, 2, 70]);
        assert_eq!(quantile(&one_in_ten, 500), "2.5 ms");
        assert_eq!(quantile(&one_in_ten, 900), "2.5 ms");
        assert_eq!(quantile(&one_in_ten, 990), "100 ms");
        assert_eq!(quantile(&histogram(&[11_000]), 500), "over 10 s");
    }

    #[test]
    fn each_bucket_has_a_column() {
        let columns = columns_of(&histogram(&[2, 2, 11_000]));
        assert_eq!(columns.len(), 20);
        assert_eq!(columns[0].title, "up to 10 µs: 0");
        assert_eq!(columns[7].title, "1 ms to 2.5 ms: 2");
        assert_eq!(columns[19].title, "more than 10 s: 1");
        let all: u64 = columns.iter().map(|column| column.count).sum();
        assert_eq!(all, 3);
    }

    #[test]
    fn the_table_has_a_row_and_a_plot_for_each_phase() {
        let mut page = PageText::default();
        add_phases(&mut page, &PhaseHistograms::default());
        assert_eq!(page.into_html(), "", "nothing has been measured");
        let mut page = PageText::default();
        let durations = PhaseHistograms {
            request: histogram(&[3]),
            ..PhaseHistograms::default()
        };
        add_phases(&mut page, &durations);
        let html = page.into_html();
        assert_eq!(html.matches("<svg").count(), 5);
        assert_eq!(html.matches("<rect").count(), 1);
        let row = "</td><td>3000 µs</td><td>5 ms</td><td>5 ms</td></tr>";
        assert!(html.contains(row), "{html}");
    }
}
