//! Plots of counts and shares, in SVG within the page.
//!
//! A plot has no text: it fills the width of a table cell, and the cells beside it have the numbers. It
//! has the classes that the style sheet colors, and a title for each of its parts.

use super::page_text::PageText;

/// The width of a plot in its own units.
const WIDTH: u32 = 200;

/// The height of a plot in its own units.
const HEIGHT: u64 = 24;

/// The height of a bar in the units of a plot.
const BAR: u64 = 12;

/// One column of a plot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) count: u64,
    pub(super) title: String,
}

/// One part of a bar.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) class: &'static str,
    /// The share of the bar, from 0 to 1.
    pub(super) share: f64,
    pub(super) title: String,
}

/// Adds a plot with one column for each count, of which the largest has the full height. A column without a count has its
/// place, and is not drawn.
pub(super) fn columns(page: &mut PageText, name: &str, columns: &[Column]) {
    let most = columns.iter().map(|column| column.count).max().unwrap_or(0);
    let places = u64::try_from(columns.len()).unwrap_or(u64::MAX);
    let step = u64::from(WIDTH).checked_div(places).unwrap_or(1).max(2);
    open(page, "columns", (name, HEIGHT));
    let mut left: u64 = 0;
    for column in columns {
        // The smallest column is still visible.
        let height = scaled((column.count, most), HEIGHT).max(1);
        if column.count > 0 {
            page.markup("<rect");
            page.attribute("x", &left.to_string());
            page.attribute("y", &HEIGHT.saturating_sub(height).to_string());
            page.attribute("width", &step.saturating_sub(1).to_string());
            page.attribute("height", &height.to_string());
            page.markup(">");
            page.element("title", &column.title);
            page.markup("</rect>");
        }
        left = left.saturating_add(step);
    }
    page.markup("</svg>");
}

/// Adds a bar whose length shows the part of the largest count.
pub(super) fn bar(page: &mut PageText, name: &str, (count, most): (u64, u64)) {
    open(page, "bar", (name, BAR));
    if count > 0 {
        let width = scaled((count, most), u64::from(WIDTH)).max(2);
        page.markup("<rect y=\"0\" x=\"0\"");
        page.attribute("width", &width.to_string());
        page.attribute("height", &BAR.to_string());
        page.markup("></rect>");
    }
    page.markup("</svg>");
}

/// Adds a bar of several parts, one after the other.
pub(super) fn stack(page: &mut PageText, name: &str, parts: &[Part]) {
    open(page, "stack", (name, BAR));
    let mut left = 0.0;
    for part in parts {
        let width = length(part.share);
        page.markup("<rect y=\"0\"");
        page.attribute("class", part.class);
        page.attribute("x", &format!("{left:.1}"));
        page.attribute("width", &format!("{width:.1}"));
        page.attribute("height", &BAR.to_string());
        page.markup(">");
        page.element("title", &part.title);
        page.markup("</rect>");
        left += width;
    }
    page.markup("</svg>");
}

fn open(page: &mut PageText, class: &'static str, (name, height): (&str, u64)) {
    page.markup("<svg role=\"img\" preserveAspectRatio=\"none\"");
    page.attribute("class", class);
    page.attribute("aria-label", name);
    page.attribute("viewBox", &format!("0 0 {WIDTH} {height}"));
    page.markup(">");
}

/// Returns the length of a part of a bar. A share that is not a number has the length 0.
fn length(share: f64) -> f64 {
    match share.is_finite() {
        true => share.clamp(0.0, 1.0) * f64::from(WIDTH),
        false => 0.0,
    }
}

/// Returns the length for a count, if the largest one has the whole length.
fn scaled((count, most): (u64, u64), whole: u64) -> u64 {
    let length = u128::from(count).saturating_mul(u128::from(whole));
    let length = length.checked_div(u128::from(most)).unwrap_or(0);
    u64::try_from(length).unwrap_or(whole).min(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_count_has_the_whole_length() {
        assert_eq!(scaled((7, 7), 200), 200);
        assert_eq!(scaled((7, 14), 200), 100);
        assert_eq!(scaled((0, 0), 200), 0, "nothing has been counted");
        assert_eq!(scaled((u64::MAX, u64::MAX), 200), 200);
        assert_eq!(scaled((9, 3), 200), 200, "never longer");
    }

    #[test]
    fn columns_without_a_count_leave_their_place_free() {
        let mut page = PageText::default();
        let column = |count| Column {
            count,
            title: format!("<{count}>"),
        };
        columns(&mut page, "phase \"x\"", &[0, 5000, 1, 0].map(column));
        let html = page.into_html();
        assert_eq!(html.matches("<rect").count(), 2);
        let full = "<rect x=\"50\" y=\"0\" width=\"49\" height=\"24\"><title>&lt;5000&gt;</title>";
        assert!(html.contains(full), "{html}");
        assert!(html.contains("x=\"100\" y=\"23\""), "{html}");
        assert!(html.contains("phase &quot;x&quot;"), "{html}");
    }

    #[test]
    fn the_parts_of_a_bar_follow_one_another() {
        let mut page = PageText::default();
        let part = |class, share| Part {
            class,
            share,
            title: String::new(),
        };
        let parts = [part("a", 0.75), part("b", 0.25), part("c", f64::NAN)];
        stack(&mut page, "split", &parts);
        let html = page.into_html();
        assert!(
            html.contains("class=\"a\" x=\"0.0\" width=\"150.0\""),
            "{html}"
        );
        assert!(
            html.contains("class=\"b\" x=\"150.0\" width=\"50.0\""),
            "{html}"
        );
        assert!(
            html.contains("class=\"c\" x=\"200.0\" width=\"0.0\""),
            "{html}"
        );
    }

    #[test]
    fn a_bar_is_as_long_as_its_part() {
        let mut page = PageText::default();
        bar(&mut page, "none", (0, 10));
        bar(&mut page, "half", (5, 10));
        let html = page.into_html();
        assert_eq!(html.matches("<rect").count(), 1);
        assert!(html.contains("width=\"100\""), "{html}");
    }
}
