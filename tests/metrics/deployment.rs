//! Tests of `deploy/prometheus` and `deploy/grafana`: promtool checks the rules and the expressions, Grafana's schema the
//! dashboard, and every metric that they name is on the page.

use super::page::promtool;
use super::{Page, text, wine};
use crate::harness::{Repository, TestServer, root};
use crate::python::{self, succeed};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The beginnings of the names of metrics.
const PREFIXES: [&str; 5] = ["nv_", "wisp_", "process_", "prediction_", "model_load_"];

fn deploy(path: &str) -> PathBuf {
    root().join("deploy").join(path)
}

/// Returns the dashboard, and the expressions of its panels.
fn dashboard() -> Result<(Value, Vec<String>)> {
    let text = std::fs::read_to_string(deploy("grafana/wisp.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().context("no panels")? {
        let targets = panel["targets"].as_array().context("no targets")?;
        ensure!(!targets.is_empty(), "{panel}");
        for target in targets {
            let expression = target["expr"].as_str().context("no expression")?;
            expressions.push(expression.to_owned());
        }
    }
    Ok((dashboard, expressions))
}

/// Returns the names of metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let is_of_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    text.split(|character: char| !is_of_name(character))
        .filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
        .collect()
}

#[test]
fn promtool_accepts_the_configuration_and_the_tests_of_the_alerts_pass() -> Result<()> {
    for arguments in [
        ["check", "config", "prometheus/prometheus.yml"],
        ["check", "rules", "prometheus/alerts.yml"],
        ["test", "rules", "prometheus/alerts_test.yml"],
    ] {
        let [verb, kind, file] = arguments;
        let mut check = promtool()?;
        succeed(check.args([verb, kind]).arg(deploy(file)))?;
    }
    Ok(())
}

#[test]
fn promtool_accepts_the_expressions_of_the_dashboard() -> Result<()> {
    let (_, expressions) = dashboard()?;
    ensure!(expressions.len() > 50, "{expressions:?}");
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, expression) in expressions.iter().enumerate() {
        let expression = expression.replace("$__rate_interval", "5m");
        // JSON is YAML.
        let expression = serde_json::to_string(&expression)?;
        rules += &format!("      - record: panel:{number}\n        expr: {expression}\n");
    }
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("dashboard.yml");
    std::fs::write(&file, rules)?;
    succeed(promtool()?.args(["check", "rules"]).arg(&file))?;
    Ok(())
}

#[test]
fn the_dashboard_is_valid_by_the_schema_of_grafana() -> Result<()> {
    let path = deploy("grafana/wisp.json");
    let path = path.to_str().context("not UTF-8")?;
    let title = python::run_in(&python::DEPLOY, "grafana_dashboard.py", &[path])?;
    ensure!(title.trim() == "Wisp", "{title}");
    Ok(())
}

#[test]
fn the_panels_of_the_dashboard_have_ids_and_places_of_their_own() -> Result<()> {
    let (dashboard, _) = dashboard()?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    ensure!(ids.len() == panels.len(), "{ids:?}");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let place = |name: &str| panel["gridPos"][name].as_u64().context("no place");
        let (x, y) = (place("x")?, place("y")?);
        ensure!(x + place("w")? <= 24, "{panel}");
        for column in x..x + place("w")? {
            for row in y..y + place("h")? {
                ensure!(taken.insert((column, row)), "{}", panel["title"]);
            }
        }
    }
    Ok(())
}

#[test]
fn every_metric_that_the_dashboard_or_an_alert_names_is_on_the_page() -> Result<()> {
    let server = TestServer::start(Repository::of(&["wine"])?)?;
    server.infer("wine", &wine())?.ok()?;
    let page_text = text(&server)?;
    let page = Page::parse(&page_text)?;
    let mut existing = page.names();
    // A family may have no samples: there is no release, no baseline and no Redis here.
    let families = page_text.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some(name)
    });
    existing.extend(families);
    let (dashboard, expressions) = dashboard()?;
    let alerts = std::fs::read_to_string(deploy("prometheus/alerts.yml"))?;
    let variables = dashboard["templating"].to_string();
    let texts = [expressions.join("\n"), alerts, variables];
    for text in &texts {
        let names = named(text);
        ensure!(!names.is_empty(), "{text}");
        for name in names {
            ensure!(existing.contains(name), "there is no {name}: {existing:?}");
        }
    }
    Ok(())
}
