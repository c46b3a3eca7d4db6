//! The sizes of batches: the executions of a graph by their number of rows.

use super::page_text::PageText;
use super::plot::bar;
use super::quantity::{count, mean};
use wisp_protocol::statistics::{Batch, Sum};

/// The most rows of the table. Further sizes share rows, each up to a power of two.
const MAX_ROWS: usize = 12;

/// Executions of a range of sizes. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SizeRange {
    first: u64,
    last: u64,
    computed: Sum,
}

/// Adds the table of the batches of one graph, whose name may be any text. Without an execution there is none.
pub(super) fn add_batches(page: &mut PageText, graph: &str, batches: &[Batch]) {
    let ranges = ranges(batches);
    let Some(most) = ranges.iter().map(|range| range.computed.count).max() else {
        return;
    };
    page.markup("<div class=\"wide\"><table class=\"batches\"");
    page.attribute("data-graph", graph);
    page.markup("><caption>Executions of ");
    page.name(graph);
    page.markup(" by their number of rows</caption>");
    page.columns(&["rows", "share", "executions", "mean computation"]);
    page.markup("<tbody>");
    for range in ranges {
        page.markup("<tr>");
        let sizes = range.name();
        page.row_heading(&sizes);
        page.markup("<td class=\"plot\">");
        bar(page, &sizes, (range.computed.count, most));
        page.markup("</td>");
        page.element("td", &count(range.computed.count));
        page.element("td", &mean(range.computed));
        page.markup("</tr>");
    }
    page.markup("</tbody></table></div>");
}

/// Returns the executions by size, or by ranges of sizes if there are many.
fn ranges(batches: &[Batch]) -> Vec<SizeRange> {
    let is_long = batches.len() > MAX_ROWS;
    let mut ranges: Vec<SizeRange> = Vec::new();
    for batch in batches {
        let computed = batch.phases.compute_infer;
        let same =
            |range: &SizeRange| is_long && power_of_two(range.first) == power_of_two(batch.size);
        match ranges.last_mut().filter(|range| same(range)) {
            Some(range) => {
                range.last = batch.size;
                range.computed.merge(computed);
            }
            None => ranges.push(SizeRange {
                first: batch.size,
                last: batch.size,
                computed,
            }),
        }
    }
    ranges
}

/// Returns the smallest power of two that is at least this size. The largest sizes share one.
fn power_of_two(size: u64) -> u64 {
    size.min(1 << 11).next_power_of_two()
}

impl SizeRange {
    fn name(&self) -> String {
        match self.first == self.last {
            true => count(self.first),
            false => format!("{} to {}", count(self.first), count(self.last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::statistics::Phases;

    fn batch(size: u64) -> Batch {
        let compute_infer = Sum {
            count: size,
            nanoseconds: size.saturating_mul(2000),
        };
        Batch {
            size,
            phases: Phases {
                compute_infer,
                ..Phases::default()
            },
        }
    }

    #[test]
    fn few_sizes_have_a_row_each() {
        let names: Vec<String> = ranges(&[1, 7, 32].map(batch))
            .iter()
            .map(SizeRange::name)
            .collect();
        assert_eq!(names, ["1", "7", "32"]);
    }

    #[test]
    fn many_sizes_share_rows_up_to_powers_of_two() {
        let batches: Vec<Batch> = (1..=1024).chain([5000]).map(batch).collect();
        let ranges = ranges(&batches);
        assert!(ranges.len() <= MAX_ROWS, "{ranges:?}");
        let names: Vec<String> = ranges.iter().map(SizeRange::name).collect();
        assert_eq!(names[..4], ["1", "2", "3 to 4", "5 to 8"]);
        assert_eq!(names.last().map(String::as_str), Some("5,000"));
        let all: u64 = ranges.iter().map(|range| range.computed.count).sum();
        assert_eq!(all, (1..=1024).sum::<u64>() + 5000);
    }

    #[test]
    fn the_table_shows_the_graph_and_its_executions() {
        let mut page = PageText::default();
        add_batches(&mut page, "main", &[]);
        assert_eq!(page.into_html(), "", "nothing has been computed");
        let mut page = PageText::default();
        add_batches(&mut page, "<main>", &[batch(1), batch(4)]);
        let html = page.into_html();
        assert!(html.contains("data-graph=\"&lt;main&gt;\""), "{html}");
        assert_eq!(html.matches("<svg").count(), 2);
        assert!(html.contains("<td>4</td><td>2 µs</td>"), "{html}");
    }
}
