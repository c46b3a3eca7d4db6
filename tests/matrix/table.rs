//! The table of the matrix, `clients/matrix.toml`, and its Markdown form.

use crate::harness::root;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) cells: Vec<String>,
    #[serde(rename = "client")]
    pub(super) clients: Vec<Client>,
}

/// A row of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub(super) name: String,
    /// Name and version.
    pub(super) package: String,
    pub(super) passes: Vec<String>,
    /// Checks of this client that have no column.
    #[serde(default)]
    pub(super) besides: Vec<String>,
    #[serde(default)]
    pub(super) impossible: BTreeMap<String, SourceCitation>,
    /// Explanations of cells that pass in an unusual way.
    #[serde(default)]
    pub(super) note: BTreeMap<String, SourceCitation>,
}

/// The line of a client's source that explains a cell.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceCitation {
    /// The file below the package directory, a colon, and the number of the line.
    at: String,
    line: String,
    why: String,
}

impl Table {
    pub(super) fn read() -> Result<Table> {
        let path = root().join("tests/clients/matrix.toml");
        Ok(toml::from_str(&std::fs::read_to_string(path)?)?)
    }

    pub(super) fn client(&self, name: &str) -> Result<&Client> {
        let client = self.clients.iter().find(|client| client.name == name);
        client.with_context(|| format!("the table has no client `{name}`"))
    }

    /// Formats a row for each client, with footnotes below.
    pub(super) fn markdown(&self) -> Result<String> {
        let mut notes: Vec<(&str, &SourceCitation)> = Vec::new();
        let mut text = format!("| | {} |\n|---|", self.cells.join(" | "));
        text += &"---|".repeat(self.cells.len());
        text.push('\n');
        for client in &self.clients {
            write!(text, "| {} |", client.name)?;
            for cell in &self.cells {
                let (mark, citation) = match client.impossible.get(cell) {
                    Some(citation) => ("–", Some(citation)),
                    None => ("✓", client.note.get(cell)),
                };
                match citation {
                    None => write!(text, " {mark} |")?,
                    Some(citation) => {
                        let note = (client.package.as_str(), citation);
                        let found = notes.iter().position(|other| *other == note);
                        let number = found.unwrap_or(notes.len()) + 1;
                        if found.is_none() {
                            notes.push(note);
                        }
                        write!(text, " {mark} {number} |")?;
                    }
                }
            }
            text.push('\n');
        }
        text.push('\n');
        for (number, (package, SourceCitation { at, line, why })) in (1..).zip(notes) {
            writeln!(text, "{number}. {package}, {at}, `{line}`: {why}.")?;
        }
        Ok(text)
    }
}

impl Client {
    pub(super) fn is_nodes(&self) -> bool {
        self.package.starts_with('@')
    }
}

impl SourceCitation {
    /// Checks that the line is at the stated place in the installed packages.
    pub(super) fn check(&self, packages: &Path) -> Result<()> {
        let (file, number) = self.at.rsplit_once(':').context("no line number")?;
        let source = std::fs::read_to_string(packages.join(file)).context(file.to_owned())?;
        let number: usize = number.parse()?;
        let line = number
            .checked_sub(1)
            .and_then(|skip| source.lines().nth(skip));
        let line = line.map(str::trim);
        ensure!(line == Some(self.line.as_str()), "{}: {line:?}", self.at);
        Ok(())
    }
}
