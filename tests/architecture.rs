//! Tests of the architecture rules that Cargo cannot check: circles of imports, the places of foreign
//! crates, sizes, names, docs.

mod circles;
mod imports;
mod manifest;
mod named_path;
mod source;
mod tokens;

use self::circles::circles;
use self::imports::Imports;
use self::manifest::{Manifest, users_of_foreign_crates};
use self::source::sources;
use crate::harness::root;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

/// File names that do not describe the contents of a file.
const BANNED_NAMES: [&str; 16] = [
    "util", "utils", "common", "helper", "helpers", "misc", "manager", "impl", "data", "info",
    "wrapper", "base", "core", "mod", "ext", "host",
];

/// The first words of comments that are clauses without a head, such as "What a client sends".
const HEADLESS: [&str; 12] = [
    "What",
    "How",
    "Why",
    "Whether",
    "Where",
    "Who",
    "Whose",
    "When",
    "Which",
    "Whatever",
    "Whoever",
    "Whichever",
];

/// The words among them with which a sentence may begin, if it is not the first one of a doc comment.
const CONJUNCTIONS: [&str; 2] = ["When", "Where"];

/// Verbs of people, with which comments would personify code.
const PERSONAL_VERBS: [&str; 4] = ["knows", "says", "tells", "wants"];

/// The only files that may contain `unsafe`.
const UNSAFE_FILES: [&str; 4] = [
    "host/sandbox/src/aot.rs",
    "host/backend/src/onnxruntime/interface.rs",
    "guest-models/edge/preload/src/memory.rs",
    "guest-models/sdk/src/random/getrandom_backend.rs",
];

/// The crates in the order of their dependencies. A crate may not depend on one that follows it.
const CRATES: [&str; 8] = [
    "tensor", "backend", "sandbox", "protocol", "edge", "serving", "server", "cli",
];

/// Foreign crates without any types that could be said to belong somewhere.
const EVERYWHERE: [&str; 2] = ["bytes", "thiserror"];

/// Foreign crates that are named only to select the version or the features that other crates use.
const FEATURES_ONLY: [&str; 1] = ["idna_adapter"];

/// The foreign crates on which more than one of our crates depends, and those crates. Any other foreign
/// crate belongs to a single one.
const SHARED: [(&str, &[&str]); 24] = [
    ("base64", &["cli", "protocol"]),
    ("blake3", &["sandbox", "serving"]),
    ("flate2", &["backend", "cli", "protocol", "server"]),
    ("futures_util", &["cli", "server", "serving"]),
    ("getrandom", &["sandbox", "serving"]),
    ("half", &["backend", "tensor"]),
    ("http", &["cli", "protocol", "sandbox", "server"]),
    ("http_body", &["sandbox", "server"]),
    ("http_body_util", &["cli", "sandbox"]),
    ("hyper", &["sandbox", "server"]),
    ("prost", &["backend", "cli", "protocol", "server"]),
    ("prost_types", &["protocol", "server"]),
    ("rustix", &["backend", "cli", "sandbox", "serving"]),
    ("serde", &["cli", "edge", "protocol", "serving"]),
    ("serde_json", &["cli", "edge", "protocol", "serving"]),
    ("sha2", &["cli", "serving"]),
    ("tempfile", &["cli", "sandbox", "serving"]),
    ("tokio", &["cli", "sandbox", "server", "serving"]),
    ("tokio_rustls", &["cli", "server"]),
    ("toml", &["cli", "serving"]),
    ("tracing", &["cli", "sandbox", "server", "serving"]),
    ("wasmparser", &["cli", "sandbox"]),
    ("wit_component", &["cli", "sandbox"]),
    ("zip", &["cli", "server"]),
];

/// The paths below `host/` to which foreign crates are limited, where these are less than whole crates.
const ROOMS: [(&str, &[&str]); 36] = [
    (
        "serde",
        &[
            "protocol/src",
            "edge/src",
            "serving/src/registry",
            "serving/src/tenants",
            "cli/src",
        ],
    ),
    (
        "toml",
        &["serving/src/registry", "serving/src/tenants", "cli/src"],
    ),
    (
        "blake3",
        &[
            "sandbox/src/aot",
            "serving/src/registry",
            "serving/src/response_cache",
            "serving/src/tenants",
        ],
    ),
    ("landlock", &["cli/src/confinement"]),
    ("seccompiler", &["cli/src/confinement"]),
    ("libc", &["cli/src/confinement"]),
    ("moka", &["serving/src/response_cache"]),
    ("redis", &["serving/src/response_cache"]),
    (
        "tempfile",
        &[
            "sandbox/src",
            "serving/src/registry",
            "serving/src/release",
            "serving/src/tenants",
            "serving/src/uploads",
            "cli/src",
        ],
    ),
    ("zip", &["server/build.rs", "cli/src/backend"]),
    (
        "flate2",
        &[
            "protocol/src",
            "backend/src/tract",
            "cli/src/bundle",
            "server/build.rs",
        ],
    ),
    ("utoipa_swagger_ui_vendored", &["server/build.rs"]),
    ("tokio_rustls", &["server/src", "cli/src/oci"]),
    (
        "x509_parser",
        &["server/src/peer_certificate", "server/src/tls"],
    ),
    ("wac_graph", &["cli/src/bundle"]),
    (
        "ureq",
        &[
            "cli/src/backend",
            "cli/src/serve/telemetry",
            "cli/src/server_client",
        ],
    ),
    ("opentelemetry", &["cli/src/serve/telemetry"]),
    ("opentelemetry_http", &["cli/src/serve/telemetry"]),
    ("opentelemetry_otlp", &["cli/src/serve/telemetry"]),
    ("opentelemetry_sdk", &["cli/src/serve/telemetry"]),
    (
        "indicatif",
        &["cli/src/backend", "cli/src/oci", "cli/src/progress"],
    ),
    (
        "oci_client",
        &[
            "cli/src/oci",
            "cli/src/options/artifact_reference",
            "cli/src/push",
            "cli/src/pull",
        ],
    ),
    (
        "sha2",
        &[
            "cli/src/backend",
            "cli/src/oci",
            "serving/src/registry",
            "serving/src/uploads",
        ],
    ),
    ("minisign_verify", &["serving/src/registry"]),
    ("csv", &["cli/src/baseline"]),
    ("parquet", &["cli/src/baseline"]),
    ("tract_onnx", &["backend/src/tract", "backend/src/pb"]),
    ("tract_nnef", &["backend/src/tract"]),
    ("tract_cuda", &["backend/src/tract"]),
    (
        "prost",
        &[
            "protocol",
            "server",
            "backend/src/onnx",
            "backend/src/self_contained",
            "cli/src/inspect",
        ],
    ),
    ("ort", &["backend/src/onnxruntime"]),
    ("rten", &["backend/src/rten"]),
    ("rten_gemm", &["backend/src/rten"]),
    ("rten_onnx", &["backend/src/rten"]),
    ("rten_shape_inference", &["backend/src/rten"]),
    ("rten_tensor", &["backend/src/rten"]),
];

/// Names in the documents that stand for any file.
const EXAMPLE_PATHS: [&str; 3] = ["foo.rs", "foo/bar.rs", "mod.rs"];

#[test]
fn no_files_import_from_each_other_in_a_circle() -> Result<()> {
    let sources = sources(&["host"])?;
    let mut found = String::new();
    for krate in CRATES {
        let imports = Imports::of(krate, &sources)?;
        let edges = imports.edges();
        for circle in circles(&edges) {
            found += &format!("{krate}:\n{}", circle.imports(&edges));
        }
    }
    ensure!(found.is_empty(), "circles of imports:\n{found}");
    Ok(())
}

#[test]
fn every_file_has_a_module_doc() -> Result<()> {
    for source in sources(&["host", "guest-models", "tests"])? {
        ensure!(
            source.text.starts_with("//!"),
            "{} has no module doc",
            source.path
        );
    }
    Ok(())
}

#[test]
fn no_doc_comment_begins_with_a_headless_clause() -> Result<()> {
    let mut found = Vec::new();
    for source in sources(&["host", "guest-models", "tests"])? {
        for (line, text) in source.doc_comments() {
            let first = text.split(|c: char| !c.is_alphabetic()).next();
            if first.is_some_and(|first| HEADLESS.contains(&first)) {
                found.push(format!("{}:{line}: {text}", source.path));
            }
        }
    }
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

#[test]
fn no_paragraph_of_a_comment_begins_with_a_headless_clause() -> Result<()> {
    let mut found = Vec::new();
    for source in sources(&["host", "guest-models", "tests"])? {
        for (line, text) in source.paragraphs() {
            let first = text.split(|c: char| !c.is_alphabetic()).next();
            let headless = first.filter(|first| HEADLESS.contains(first));
            if headless.is_some_and(|first| !CONJUNCTIONS.contains(&first)) {
                found.push(format!("{}:{line}: {text}", source.path));
            }
        }
    }
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

#[test]
fn no_function_name_begins_with_a_headless_clause() -> Result<()> {
    let mut found = Vec::new();
    for source in sources(&["host", "guest-models", "tests"])? {
        for (line, name) in source.functions() {
            let first = name.split('_').next().unwrap_or_default();
            if HEADLESS.iter().any(|word| word.to_lowercase() == first) {
                found.push(format!("{}:{line}: {name}", source.path));
            }
        }
    }
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

#[test]
fn no_comment_personifies_code() -> Result<()> {
    let mut found = Vec::new();
    for source in sources(&["host"])? {
        for (line, text) in source.comments() {
            let mut words = text.split(|c: char| !c.is_alphabetic());
            if words.any(|word| PERSONAL_VERBS.contains(&word)) {
                found.push(format!("{}:{line}: {text}", source.path));
            }
        }
    }
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

#[test]
fn no_file_is_longer_than_600_lines() -> Result<()> {
    for source in sources(&["host", "guest-models"])? {
        let lines = source.code().count();
        ensure!(
            lines <= 600 || source.is_test(),
            "{} has {lines} lines",
            source.path
        );
    }
    Ok(())
}

#[test]
fn no_file_has_a_meaningless_name() -> Result<()> {
    for source in sources(&["host", "guest-models", "tests"])? {
        let stem = source.stem();
        let parts: Vec<_> = stem.split('_').collect();
        let banned = parts.iter().find(|part| BANNED_NAMES.contains(part));
        ensure!(banned.is_none(), "{}: `{banned:?}` is banned", source.path);
    }
    Ok(())
}

#[test]
fn unsafe_code_is_in_the_named_files_only() -> Result<()> {
    for source in sources(&["host", "guest-models"])? {
        let unsafe_code = source.text.lines().any(|line| {
            let line = line.trim_start();
            let starts = [
                "unsafe {",
                "unsafe fn",
                "unsafe impl",
                "unsafe extern",
                "unsafe trait",
            ];
            !line.starts_with("//") && starts.iter().any(|start| line.contains(start))
        });
        ensure!(
            !unsafe_code || UNSAFE_FILES.contains(&source.path.as_str()),
            "{} has unsafe code",
            source.path
        );
    }
    Ok(())
}

#[test]
fn machine_code_is_loaded_in_one_place() -> Result<()> {
    let mut calls = Vec::new();
    for source in sources(&["host"])? {
        let count = source.text.matches("Component::deserialize").count()
            + source.text.matches("Module::deserialize").count();
        calls.extend(std::iter::repeat_n(source.path, count));
    }
    ensure!(calls == ["host/sandbox/src/aot.rs"], "{calls:?}");
    Ok(())
}

#[test]
fn a_foreign_crate_belongs_to_one_crate_or_is_listed_as_shared() -> Result<()> {
    let shared = SHARED.map(|(name, krates)| (name.to_owned(), krates.iter().copied().collect()));
    let mut found = users_of_foreign_crates(&CRATES)?;
    found.retain(|name, users| users.len() > 1 && !EVERYWHERE.contains(&name.as_str()));
    let listed = BTreeMap::from(shared);
    ensure!(
        found == listed,
        "the manifests share {found:?}\nthe list {listed:?}"
    );
    Ok(())
}

#[test]
fn every_dependency_is_used() -> Result<()> {
    let sources = sources(&["host"])?;
    for krate in CRATES {
        let Manifest {
            dependencies,
            build_dependencies,
        } = Manifest::of(krate)?;
        let code = [
            (dependencies, format!("host/{krate}/src/")),
            (build_dependencies, format!("host/{krate}/build.rs")),
        ];
        for (dependencies, place) in code {
            for dependency in dependencies {
                if FEATURES_ONLY.contains(&dependency.as_str()) {
                    continue;
                }
                let mut files = sources.iter().filter(|file| file.path.starts_with(&place));
                ensure!(
                    files.any(|file| file.uses(&dependency)),
                    "{place} does not use {dependency}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn foreign_crates_stay_in_their_rooms() -> Result<()> {
    let sources = sources(&["host"])?;
    for (krate, rooms) in ROOMS {
        let rooms: Vec<_> = rooms.iter().map(|room| format!("host/{room}")).collect();
        let users = sources
            .iter()
            .filter(|source| !source.is_test() && source.uses(krate));
        let users: Vec<_> = users.collect();
        for user in &users {
            ensure!(
                rooms.iter().any(|room| user.path.starts_with(room)),
                "{} uses {krate}, which belongs to {rooms:?}",
                user.path
            );
        }
        for room in &rooms {
            ensure!(
                users.iter().any(|user| user.path.starts_with(room)),
                "{room} does not use {krate}"
            );
        }
    }
    Ok(())
}

#[test]
fn dependencies_point_one_way() -> Result<()> {
    for (position, krate) in CRATES.iter().enumerate() {
        let manifest = Manifest::of(krate)?;
        for later in &CRATES[position + 1..] {
            ensure!(
                !manifest.dependencies.contains(&format!("wisp_{later}")),
                "{krate} depends on {later}"
            );
        }
    }
    let protocol = Manifest::of("protocol")?.dependencies;
    for stranger in ["wisp_backend", "wisp_sandbox"] {
        ensure!(
            !protocol.contains(stranger),
            "protocol depends on {stranger}"
        );
    }
    // The sandbox computes through a trait of its own, which backends do not implement.
    let sandbox = Manifest::of("sandbox")?.dependencies;
    ensure!(
        !sandbox.contains("wisp_backend"),
        "sandbox depends on backend"
    );
    Ok(())
}

#[test]
fn every_source_that_a_model_names_exists() -> Result<()> {
    for entry in std::fs::read_dir(root().join("examples"))? {
        let file = entry?.path().join("model.toml");
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        let source = text
            .lines()
            .find_map(|line| line.strip_prefix("source = \""));
        let source = source.and_then(|rest| rest.strip_suffix('"'));
        let source = source.with_context(|| format!("{} names no source", file.display()))?;
        let manifest = file.with_file_name("").join(source).join("Cargo.toml");
        ensure!(manifest.is_file(), "{} does not exist", manifest.display());
    }
    Ok(())
}

#[test]
fn every_path_in_the_documents_for_contributors_exists() -> Result<()> {
    let paths = named_path::all_paths()?;
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(root().join(document))?;
        let named = named_path::named_paths(&text);
        ensure!(named.len() > 10, "{document} names only {named:?}");
        for path in named {
            ensure!(
                EXAMPLE_PATHS.contains(&path.as_str()) || named_path::exists(&path, &paths),
                "{document} names {path}, which does not exist"
            );
        }
    }
    Ok(())
}
