//! Tests of the Kubernetes manifest. Its schema is checked when it is read.

use super::{checked, longest_end};
use crate::harness::{Repository, TestServer};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

const PROBES: [&str; 3] = ["startupProbe", "livenessProbe", "readinessProbe"];

/// Returns the resource of this kind.
fn resource(kind: &str) -> Result<Value> {
    let resources = checked("kubernetes", "kubernetes.yaml")?;
    let resources = resources.as_array().context("no resources")?;
    let found = resources.iter().find(|resource| resource["kind"] == kind);
    found.cloned().with_context(|| format!("no {kind}"))
}

/// Returns the description of the pods.
fn pods() -> Result<Value> {
    let mut deployment = resource("Deployment")?;
    Ok(deployment["spec"]["template"]["spec"].take())
}

#[test]
fn a_server_answers_every_probe_of_the_manifest() -> Result<()> {
    let pods = pods()?;
    let container = &pods["containers"][0];
    let server = TestServer::start(Repository::of(&["progression"])?)?;
    for probe in PROBES {
        let request = &container[probe]["httpGet"];
        let path = request["path"].as_str().context(probe)?;
        ensure!(server.get(path)?.status == 200, "{probe}: {path}");
        ensure!(request["port"] == "http", "{probe}");
    }
    Ok(())
}

#[test]
fn the_service_and_the_probes_name_ports_of_the_container() -> Result<()> {
    let pods = pods()?;
    let ports = pods["containers"][0]["ports"]
        .as_array()
        .context("no ports")?;
    let names: Vec<_> = ports.iter().map(|port| &port["name"]).collect();
    let service = resource("Service")?;
    let served = service["spec"]["ports"].as_array().context("no ports")?;
    for port in served {
        ensure!(names.contains(&&port["targetPort"]), "{port}");
    }
    let deployment = resource("Deployment")?;
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    ensure!(service["spec"]["selector"] == *labels, "{service}");
    let selector = &deployment["spec"]["selector"]["matchLabels"];
    ensure!(selector == labels, "{deployment}");
    Ok(())
}

#[test]
fn pods_have_no_privileges_and_write_only_to_their_own_volumes() -> Result<()> {
    let pods = pods()?;
    ensure!(pods["automountServiceAccountToken"] == false);
    ensure!(pods["securityContext"]["runAsNonRoot"] == true);
    let container = &pods["containers"][0];
    let expected = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    });
    ensure!(container["securityContext"] == expected);
    let volumes = pods["volumes"].as_array().context("no volumes")?;
    for mount in container["volumeMounts"].as_array().context("no mounts")? {
        let volume = volumes
            .iter()
            .find(|volume| volume["name"] == mount["name"]);
        let volume = volume.with_context(|| mount.to_string())?;
        ensure!(
            mount["readOnly"] == true || volume["emptyDir"].is_object(),
            "{mount}"
        );
    }
    Ok(())
}

#[test]
fn pods_have_time_to_drain_after_the_hook() -> Result<()> {
    let pods = pods()?;
    let period = pods["terminationGracePeriodSeconds"].as_u64();
    let hook = &pods["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"];
    let left = period.context("no period")? - hook.as_u64().context("no hook")?;
    ensure!(Duration::from_secs(left) > longest_end(), "{left} seconds");
    Ok(())
}
