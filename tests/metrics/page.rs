//! A page of metrics, as the parser of Prometheus' client for Python reads it.

use crate::{debian, python};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// A sample: its name and its labels.
pub(super) type Series = (String, BTreeMap<String, String>);

/// A page of metrics.
#[derive(Debug)]
pub(super) struct Page {
    samples: BTreeMap<Series, f64>,
}

impl Page {
    /// Checks the text of a page and reads it.
    pub(super) fn parse(text: &str) -> Result<Page> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("page");
        std::fs::write(&file, text)?;
        let file = file.to_str().context("not UTF-8")?;
        let printed = python::run("metrics_page.py", &[file]).with_context(|| text.to_owned())?;
        let listed: Vec<Value> = serde_json::from_str(&printed)?;
        let mut samples = BTreeMap::new();
        for sample in &listed {
            let name = sample[0].as_str().context("no name")?.to_owned();
            let labels = serde_json::from_value(sample[1].clone())?;
            let value = sample[2].as_f64().context("no number")?;
            samples.insert((name, labels), value);
        }
        ensure!(!samples.is_empty(), "{text}");
        Ok(Page { samples })
    }

    /// Returns the value of the series with exactly these labels.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let labels = labels.iter();
        let labels = labels.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let series = (name.to_owned(), labels.collect());
        let value = self.samples.get(&series).copied();
        value.with_context(|| format!("there is no {series:?}"))
    }

    /// Returns all series.
    pub(super) fn series(&self) -> BTreeSet<Series> {
        self.samples.keys().cloned().collect()
    }

    /// Returns the names of all samples.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.samples.keys().map(|(name, _)| name.as_str()).collect()
    }
}

/// Returns the command of promtool, from Debian's package of Prometheus.
pub(super) fn promtool() -> Result<Command> {
    const PACKAGE: &str = "prometheus";
    let directory = debian::unpacked(PACKAGE, |downloads, directory| {
        debian::download(&[PACKAGE], downloads)?;
        debian::extract(downloads, directory)
    })?;
    Ok(Command::new(directory.join("usr/bin/promtool")))
}
