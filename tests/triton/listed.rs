//! The list of deviations, in paragraphs that begin with their reason.
//!
//! The lines of the reason start with `# `, and every other line of a paragraph is a deviation.

use std::collections::BTreeSet;

/// The list, as it is in `tests/fixtures/triton/deviations.txt`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    paragraphs: Vec<Paragraph>,
}

#[derive(Debug, PartialEq, Eq)]
struct Paragraph {
    reason: String,
    deviations: Vec<String>,
}

impl Listed {
    pub(super) fn parse(text: &str) -> Listed {
        let paragraphs = text.split("\n\n").map(|paragraph| {
            let lines = paragraph.lines().filter(|line| !line.is_empty());
            let (reason, deviations): (Vec<&str>, Vec<&str>) =
                lines.partition(|line| line.starts_with('#'));
            Paragraph {
                reason: reason.join("\n"),
                deviations: deviations.into_iter().map(str::to_owned).collect(),
            }
        });
        Listed {
            paragraphs: paragraphs.collect(),
        }
    }

    pub(super) fn deviations(&self) -> BTreeSet<String> {
        let paragraphs = self.paragraphs.iter();
        paragraphs
            .flat_map(|paragraph| paragraph.deviations.iter().cloned())
            .collect()
    }

    /// Returns the deviations without a reason.
    pub(super) fn without_reason(&self) -> Vec<&str> {
        let paragraphs = self.paragraphs.iter();
        let unexplained = paragraphs.filter(|paragraph| paragraph.reason.is_empty());
        unexplained
            .flat_map(|paragraph| paragraph.deviations.iter().map(String::as_str))
            .collect()
    }

    /// Returns the text of the list with exactly these deviations: new ones come last, without a reason.
    pub(super) fn updated(&self, found: &BTreeSet<String>) -> String {
        let mut paragraphs = Vec::new();
        for Paragraph { reason, deviations } in &self.paragraphs {
            let kept = deviations.iter().filter(|line| found.contains(*line));
            let kept: Vec<&str> = kept.map(String::as_str).collect();
            if !kept.is_empty() {
                let lines = [reason.as_str()].into_iter().chain(kept);
                let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
                paragraphs.push(lines.join("\n"));
            }
        }
        let listed = self.deviations();
        let new: Vec<&str> = found.difference(&listed).map(String::as_str).collect();
        if !new.is_empty() {
            paragraphs.push(new.join("\n"));
        }
        paragraphs.join("\n\n") + "\n"
    }
}

#[test]
fn an_updated_list_keeps_its_reasons() {
    let text = "# One.\n# Two.\na/x: status 200\na/y: status 200\n\n# Three.\nb/z: status 400\n";
    let listed = Listed::parse(text);
    assert_eq!(listed.without_reason(), [""; 0]);
    assert_eq!(listed.updated(&listed.deviations()), text);
    let found = ["a/y: status 200", "c/w: status 503"].map(str::to_owned);
    let updated = listed.updated(&BTreeSet::from(found));
    assert_eq!(
        updated,
        "# One.\n# Two.\na/y: status 200\n\nc/w: status 503\n"
    );
    assert_eq!(
        Listed::parse(&updated).without_reason(),
        ["c/w: status 503"]
    );
}
