//! The text format of Prometheus: families of samples, each with a help text and a type.
//!
//! The caller writes all samples of a family directly after its heading, as the format requires.

use super::histogram_samples::HistogramSamples;
use std::fmt::{Display, Write};

/// The labels of a sample, in order. Names are constants; values are escaped.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page of metrics. Lifetime: one request.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Page {
    /// Writes the heading of a family.
    pub(super) fn family(&mut self, kind: Kind, name: &str, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes a sample of the current family.
    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.text.push_str(name);
        self.labels(labels);
        let _ = writeln!(self.text, " {value}");
    }

    /// Writes a family with a single sample, which has no labels.
    pub(super) fn single(&mut self, kind: Kind, (name, help): (&str, &str), value: impl Display) {
        self.family(kind, name, help);
        self.sample(name, &[], value);
    }

    /// Writes a histogram of the current family.
    pub(super) fn histogram(&mut self, name: &str, labels: Labels<'_>, samples: &HistogramSamples) {
        let infinite = ("+Inf".to_owned(), samples.count);
        for (bound, count) in samples.buckets.iter().chain([&infinite]) {
            let _ = write!(self.text, "{name}_bucket");
            let with_bound = [labels, &[("le", bound.as_str())]].concat();
            self.labels(&with_bound);
            let _ = writeln!(self.text, " {count}");
        }
        for (part, value) in [("sum", &samples.sum), ("count", &samples.count.to_string())] {
            let _ = write!(self.text, "{name}_{part}");
            self.labels(labels);
            let _ = writeln!(self.text, " {value}");
        }
    }

    /// Returns the text.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn labels(&mut self, labels: Labels<'_>) {
        let mut before = '{';
        for (name, value) in labels {
            self.text.push(before);
            self.text.push_str(name);
            self.text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    character => self.text.push(character),
                }
            }
            self.text.push('"');
            before = ',';
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_its_heading_and_its_samples() {
        let mut page = Page::default();
        page.family(Kind::Counter, "requests", "All requests");
        page.sample("requests", &[("model", "a\"b\\c\nd"), ("version", "1")], 7);
        page.single(Kind::Gauge, ("seconds", "Time"), 0.25);
        let expected = "# HELP requests All requests\n# TYPE requests counter\n\
             requests{model=\"a\\\"b\\\\c\\nd\",version=\"1\"} 7\n\
             # HELP seconds Time\n# TYPE seconds gauge\nseconds 0.25\n";
        assert_eq!(page.into_text(), expected);
    }

    #[test]
    fn a_histogram_ends_with_its_infinite_bucket_sum_and_count() {
        let mut page = Page::default();
        let samples = HistogramSamples {
            buckets: vec![("1".to_owned(), 2), ("2.5".to_owned(), 2)],
            sum: "3.5".to_owned(),
            count: 3,
        };
        page.histogram("h", &[("model", "m")], &samples);
        let expected = "h_bucket{model=\"m\",le=\"1\"} 2\nh_bucket{model=\"m\",le=\"2.5\"} 2\n\
             h_bucket{model=\"m\",le=\"+Inf\"} 3\nh_sum{model=\"m\"} 3.5\nh_count{model=\"m\"} 3\n";
        assert_eq!(page.into_text(), expected);
    }
}
