//! Checks of the page that lists the security tests: its rows are numbered, and the tests that it names exist.

use crate::harness::root;
use anyhow::{Context, Result, ensure};

const PAGE: &str = "docs/src/security-tests.md";

/// The number of attacks and faults.
const ROWS: usize = 61;

#[test]
fn every_attack_has_a_row_with_existing_tests_or_a_reason() -> Result<()> {
    let page = std::fs::read_to_string(root().join(PAGE))?;
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| T-"))
        .collect();
    ensure!(rows.len() == ROWS, "{} rows", rows.len());
    for (number, row) in (1..).zip(rows) {
        ensure!(row.starts_with(&format!("| T-{number:02} | ")), "{row}");
        let last = row.trim_end_matches(" |").rsplit(" | ").next();
        for cell in last.context("a row has columns")?.split("<br>") {
            let Some((path, names)) = cell.split_once(".rs: ") else {
                // A reason, which is a sentence.
                ensure!(cell.ends_with('.'), "T-{number:02}: {cell}");
                continue;
            };
            let path = format!("{path}.rs");
            let source = std::fs::read_to_string(root().join(&path))
                .with_context(|| format!("T-{number:02}: {path}"))?;
            for name in names.split(", ").map(|name| name.trim_matches('`')) {
                ensure!(
                    source.contains(&format!("fn {name}(")),
                    "T-{number:02}: {path} has no test `{name}`"
                );
            }
        }
    }
    Ok(())
}
