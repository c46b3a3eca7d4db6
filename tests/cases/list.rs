//! The lists of outcomes in `tests/fixtures/<suite>`: `<backend>.txt` with the names of cases, and
//! `<backend>.deviations.txt` with the cases in which a backend is known to compute something else.

use super::suite::{PASS, REFUSED};
use crate::harness::root;
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The cases that the list of each backend contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    /// Those that the backend computes.
    Passed,
    /// Those that the backend refuses.
    Refused,
}

/// The lists of one backend in one suite.
#[derive(Debug)]
pub(super) struct Lists {
    path: PathBuf,
    listing: Listing,
}

impl Lists {
    pub(super) fn of(suite: &str, backend: &str, listing: Listing) -> Lists {
        let directory = root().join("tests/fixtures").join(suite);
        Lists {
            path: directory.join(format!("{backend}.txt")),
            listing,
        }
    }

    /// Returns the names of the cases with a known deviation.
    pub(super) fn deviating(&self) -> Result<BTreeSet<String>> {
        let deviations = lines(&self.path.with_extension("deviations.txt"))?;
        let name = |line: &String| line.split_once(": ").map(|(name, _)| name.to_owned());
        Ok(deviations.iter().filter_map(name).collect())
    }

    /// Returns the names in the list, none if there is no list yet.
    pub(super) fn names(&self) -> Result<BTreeSet<String>> {
        lines(&self.path)
    }

    /// Fails if the list differs from the outcomes, or rewrites it with `WISP_BLESS=1`. Cases that have not
    /// been run stay as they are, unless `all` does not contain them any more.
    pub(super) fn check(
        &self,
        outcomes: &BTreeMap<String, String>,
        all: &BTreeSet<String>,
    ) -> Result<()> {
        let found = outcomes.iter().filter(|(_, outcome)| match self.listing {
            Listing::Passed => *outcome == PASS,
            Listing::Refused => outcome.starts_with(REFUSED),
        });
        let mut found: BTreeSet<String> = found.map(|(case, _)| case.clone()).collect();
        let listed = self.names()?;
        let not_run = |case: &&String| all.contains(*case) && !outcomes.contains_key(*case);
        found.extend(listed.iter().filter(not_run).cloned());
        if std::env::var("WISP_BLESS").as_deref() == Ok("1") {
            let text: String = found.iter().map(|case| format!("{case}\n")).collect();
            let directory = self.path.parent().context("a list lies in a directory")?;
            std::fs::create_dir_all(directory)?;
            return Ok(std::fs::write(&self.path, text)?);
        }
        let outcome = |case: &String| {
            let outcome = outcomes.get(case).map(String::as_str);
            outcome.unwrap_or("there is no such case").to_owned()
        };
        let gone = listed.difference(&found);
        let gone = gone.map(|case| format!("- {case}: {}\n", outcome(case)));
        let new = found.difference(&listed);
        let new = new.map(|case| format!("+ {case}: {}\n", outcome(case)));
        let changes: String = gone.chain(new).collect();
        ensure!(
            changes.is_empty(),
            "{} lists other cases; WISP_BLESS=1 writes it anew:\n{changes}",
            self.path.display(),
        );
        Ok(())
    }

    /// Fails if a backend has computed something wrong that is not a known deviation, or if it no longer
    /// deviates as listed.
    pub(super) fn check_deviations(&self, outcomes: &BTreeMap<String, String>) -> Result<()> {
        let wrong: BTreeSet<String> = outcomes
            .iter()
            .filter(|(_, outcome)| *outcome != PASS && !outcome.starts_with(REFUSED))
            .map(|(case, outcome)| format!("{case}: {outcome}"))
            .collect();
        let path = self.path.with_extension("deviations.txt");
        let mut known = lines(&path)?;
        known.retain(|line| {
            let case = line.split(": ").next().unwrap_or_default();
            outcomes.contains_key(case)
        });
        let unknown: Vec<_> = wrong.difference(&known).cloned().collect();
        ensure!(
            unknown.is_empty(),
            "not listed in {}:\n{}",
            path.display(),
            unknown.join("\n")
        );
        let fixed: Vec<_> = known.difference(&wrong).cloned().collect();
        ensure!(
            fixed.is_empty(),
            "listed in {} and gone:\n{}",
            path.display(),
            fixed.join("\n")
        );
        Ok(())
    }
}

/// Returns the lines of a file, none if there is no file.
fn lines(path: &Path) -> Result<BTreeSet<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}
