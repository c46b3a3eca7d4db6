//! A suite: the cases of one manifest, which backends run in child processes.
//!
//! A backend computes a case, refuses it with a reason, or is wrong. The outcome of every case is written to
//! `target/<suite>/<backend>.tsv`.

use super::backend::{EMBEDDED, backend, chain};
use super::case::{self, Case};
use super::list::Lists;
use crate::harness::child::{ChildPool, serve_parent};
use crate::python;
use anyhow::{Context, Result, anyhow, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;
use wisp_backend::{LoadOptions, ModelSource};

pub(crate) use super::list::Listing;

/// The outcome of a case with the expected results.
pub(crate) const PASS: &str = "pass";

/// The prefix of the outcomes of refused cases. All others are failures.
pub(crate) const REFUSED: &str = "refused";

/// The outcome of each case that a backend has run, by its name.
pub(crate) type Outcomes = BTreeMap<String, String>;

/// A suite of cases.
#[derive(Debug)]
pub(crate) struct Suite {
    /// The name of the directories of its lists and its reports.
    name: &'static str,
    listing: Listing,
    children: ChildPool,
    /// Returns the directory of the manifest.
    directory: fn() -> Result<&'static Path>,
    cases: OnceLock<Result<Vec<Case>, String>>,
}

impl Suite {
    pub(crate) const fn new(
        name: &'static str,
        listing: Listing,
        children: ChildPool,
        directory: fn() -> Result<&'static Path>,
    ) -> Suite {
        Suite {
            name,
            listing,
            children,
            directory,
            cases: OnceLock::new(),
        }
    }

    /// Returns every case, sorted by name.
    pub(crate) fn cases(&'static self) -> Result<&'static [Case]> {
        let read = || (self.directory)().and_then(case::read);
        let cases = self
            .cases
            .get_or_init(|| read().map_err(|error| format!("{error:#}")));
        cases.as_deref().map_err(|error| anyhow!("{error}"))
    }

    /// Returns the names in the list of a backend.
    pub(crate) fn listed(&self, backend: &str) -> Result<BTreeSet<String>> {
        self.lists(backend).names()
    }

    /// Returns the names of the cases in which a backend is known to compute something else.
    pub(crate) fn deviating(&self, backend: &str) -> Result<BTreeSet<String>> {
        self.lists(backend).deviating()
    }

    /// Runs `cases` with a backend, and fails if it computes something wrong, or if its list differs.
    pub(crate) fn check(&'static self, backend: &str, cases: &[&'static Case]) -> Result<Outcomes> {
        let outcomes = self.run(backend, cases)?;
        self.report(backend, cases, &outcomes)?;
        let all = self.cases()?.iter().map(|case| case.name.clone()).collect();
        let lists = self.lists(backend);
        // A list is written even if something is wrong.
        let listed = lists.check(&outcomes, &all);
        lists.check_deviations(&outcomes)?;
        listed?;
        Ok(outcomes)
    }

    /// Responds in a child process to the requests of [`Suite::check`].
    pub(crate) fn serve(&'static self) -> Result<()> {
        serve_parent(self.children.test, |request| {
            let outcome = self.run_here(request);
            outcome.unwrap_or_else(|error| format!("not run: {error:#}"))
        })
    }

    fn lists(&self, backend: &str) -> Lists {
        Lists::of(self.name, backend, self.listing)
    }

    /// Returns the outcome of each case that a request can carry.
    fn run(&self, backend: &str, cases: &[&'static Case]) -> Result<Outcomes> {
        let servable = cases.iter().filter(|case| case.content.is_some());
        let outcomes = self.children.run_all(servable, |child, case| {
            let outcome = child.request(&format!("{backend} {}", case.name))?;
            Ok((case.name.clone(), outcome.to_string()))
        })?;
        Ok(outcomes.into_iter().collect())
    }

    /// Runs in a child: returns the outcome of the case for the backend that the request names.
    fn run_here(&'static self, request: &str) -> Result<String> {
        let (name, case) = request.split_once(' ').context("two words")?;
        let backend = backend(name)?;
        let case = self.cases()?.iter().find(|known| known.name == case);
        let case = case.context("no such case")?;
        let content = case.content.as_ref().context("it is not servable")?;
        let path = case.model();
        let graph = match backend.load(ModelSource::Path(&path), &LoadOptions::default()) {
            Ok(graph) => graph,
            Err(error) => return Ok(format!("{REFUSED} when loaded: {}", chain(&error))),
        };
        let tensors = case.tensors()?;
        let outputs = match graph.compute(&content.input_tensors(&tensors)?) {
            Ok(outputs) => outputs,
            Err(error) => return Ok(format!("{REFUSED} when computed: {}", chain(&error))),
        };
        Ok(match content.fault(&outputs, &tensors)? {
            Some(fault) => format!("WRONG: {fault}"),
            None => PASS.to_owned(),
        })
    }

    /// Writes the outcome of every case to a file, for the analysis of a failed test.
    fn report(&self, backend: &str, cases: &[&'static Case], outcomes: &Outcomes) -> Result<()> {
        let directory = python::target_directory()?.join(self.name);
        std::fs::create_dir_all(&directory)?;
        let mut text = String::new();
        for Case {
            name, not_servable, ..
        } in cases
        {
            let outcome = match not_servable {
                Some(reason) => format!("not servable: {reason}"),
                None => outcomes.get(name).cloned().unwrap_or_default(),
            };
            text += &format!("{name}\t{outcome}\n");
        }
        std::fs::write(directory.join(format!("{backend}.tsv")), text)?;
        Ok(())
    }
}

/// Fails if there is a case that one of the embedded backends must compute and none does.
pub(crate) fn check_served(
    cases: &[&'static Case],
    outcomes: &BTreeMap<&'static str, Outcomes>,
) -> Result<()> {
    let outcome = |backend: &str, case: &Case| {
        let outcomes = outcomes.get(backend)?;
        outcomes.get(&case.name).cloned()
    };
    let mut refused = Vec::new();
    for case in cases.iter().filter(|case| case.is_served()) {
        let embedded = EMBEDDED.map(|backend| outcome(backend, case).unwrap_or_default());
        if !embedded.iter().any(|outcome| outcome == PASS) {
            refused.push(format!("{}: {}", case.name, embedded.join("; ")));
        }
    }
    ensure!(
        refused.is_empty(),
        "no embedded backend computes:\n{}",
        refused.join("\n")
    );
    Ok(())
}
