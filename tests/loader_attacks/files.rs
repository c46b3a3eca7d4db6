//! Tests of paths that are not files, files that are not models, and weights in other places.

use super::{CHILDREN, LOADED, REFUSED, load, load_with};
use crate::harness::child::Outcome;
use crate::harness::onnx::{FLOAT, Graph, Tensor};
use anyhow::{Context, Result, ensure};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn paths_without_a_regular_file_of_allowed_size_are_refused_at_once() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("empty"), b"")?;
    std::fs::write(path("text"), b"not a model")?;
    std::fs::create_dir(path("directory"))?;
    symlink("loop", path("loop"))?;
    symlink("/dev/zero", path("zeros"))?;
    symlink("/dev/stdin", path("input"))?;
    symlink("/proc/self/mem", path("memory"))?;
    let _socket = UnixListener::bind(path("socket"))?;
    // A pipe without a writer: opening it for reading would block.
    let made = Command::new("mkfifo").arg(path("fifo")).status()?;
    ensure!(made.success(), "mkfifo ended with {made}");
    // Beyond the maximum size of a message of the format; the file is sparse.
    std::fs::File::create(path("sparse"))?.set_len(3 << 30)?;
    std::fs::File::create(path("terabyte"))?.set_len(1 << 40)?;
    let mut child = CHILDREN.child();
    let expected = [
        ("missing", "failed to read"),
        ("empty", "an empty file"),
        ("text", ""),
        ("directory", "failed to read"),
        ("loop", "failed to read"),
        ("zeros", "not a regular file"),
        ("input", "not a regular file"),
        ("memory", ""),
        ("socket", "failed to read"),
        ("fifo", "not a regular file"),
        ("sparse", "external data"),
        ("terabyte", "external data"),
    ];
    for (name, text) in expected {
        let outcome = load(&mut child, &path(name))?;
        refused(&outcome, text).with_context(|| name.to_owned())?;
    }
    Ok(())
}

/// A tensor's entries about the location of its external data.
type Entries<'a> = Vec<(&'a str, &'a str)>;

/// Returns a graph that adds three weights, which are stored according to `entries`.
fn with_weights(entries: &[(&str, &str)]) -> Vec<u8> {
    Graph::from_x_to_y(&[None, Some(3)])
        .initializer(Tensor::of("w", FLOAT, &[3]).external(entries))
        .node("Add", &["x", "w"], &["y"])
        .bytes()
}

#[test]
fn weights_are_read_only_from_the_models_folder_and_as_declared() -> Result<()> {
    let outer = tempfile::tempdir()?;
    let folder = outer.path().join("model");
    std::fs::create_dir(&folder)?;
    let weights = [0; 12];
    std::fs::write(outer.path().join("secret"), weights)?;
    std::fs::write(folder.join("weights"), weights)?;
    std::fs::write(folder.join("short"), &weights[..8])?;
    symlink("../secret", folder.join("link"))?;
    symlink("..", folder.join("folder_link"))?;
    symlink("weights", folder.join("inner_link"))?;
    symlink("/dev/zero", folder.join("zeros"))?;
    std::fs::create_dir(folder.join("directory"))?;
    let made = Command::new("mkfifo").arg(folder.join("fifo")).status()?;
    ensure!(made.success(), "mkfifo ended with {made}");
    std::fs::File::create(folder.join("terabyte"))?.set_len(1 << 40)?;
    let absolute = outer.path().join("secret");
    let absolute = absolute.to_str().context("not UTF-8")?;
    let mut child = CHILDREN.child();
    let at = |location| vec![("location", location)];
    let outside = "outside the model's folder";
    let cases: Vec<(Entries<'_>, Option<&str>)> = vec![
        (at("weights"), None),
        (at("./weights"), None),
        (at("inner_link"), None),
        (at("missing"), Some("`missing`, which cannot be read")),
        (at(absolute), Some(outside)),
        (at("/etc/passwd"), Some(outside)),
        (at("../secret"), Some(outside)),
        (at("directory/../../secret"), Some(outside)),
        (at("link"), Some(outside)),
        (at("folder_link/secret"), Some(outside)),
        (at("zeros"), Some(outside)),
        (at("directory"), Some("`directory`")),
        (at("fifo"), Some("`fifo`")),
        (at("short"), Some("`w`")),
        (at(""), Some("``")),
        (vec![], Some("``")),
        (at("terabyte"), Some("`w`")),
        (
            vec![("location", "weights"), ("length", "12"), ("offset", "0")],
            None,
        ),
        (
            vec![
                ("location", "terabyte"),
                ("length", "12"),
                ("offset", "4096"),
            ],
            None,
        ),
        (vec![("location", "weights"), ("offset", "4")], Some("`w`")),
        (
            vec![("location", "weights"), ("offset", "4000")],
            Some("`w`"),
        ),
        (
            vec![
                ("location", "weights"),
                ("offset", "18446744073709551615"),
                ("length", "12"),
            ],
            Some("`w`"),
        ),
        (vec![("location", "weights"), ("offset", "-4")], Some("`w`")),
        (
            vec![("location", "weights"), ("length", "99999999999999")],
            Some("`w`"),
        ),
        (
            vec![("location", "weights"), ("length", "some")],
            Some("`w`"),
        ),
    ];
    let model = folder.join("model.onnx");
    for (entries, text) in cases {
        std::fs::write(&model, with_weights(&entries))?;
        let outcome = load(&mut child, &model)?;
        match text {
            Some(text) => refused(&outcome, text),
            None => loaded(&outcome),
        }
        .with_context(|| format!("{entries:?}"))?;
        names_no_path(&outcome, outer.path(), absolute)?;
    }
    Ok(())
}

/// Writes a repository as clients of the Hugging Face hub keep it, and returns the link to its model.
fn hub_repository(cache: &Path, name: &str, model: &[u8]) -> Result<PathBuf> {
    let repository = cache.join(name);
    let snapshot = repository.join("snapshots/3f1c/onnx");
    std::fs::create_dir_all(&snapshot)?;
    std::fs::create_dir(repository.join("blobs"))?;
    for (blob, name, content) in [
        ("0a", "model.onnx", model),
        ("0b", "weights", [0; 12].as_slice()),
    ] {
        std::fs::write(repository.join("blobs").join(blob), content)?;
        symlink(Path::new("../../../blobs").join(blob), snapshot.join(name))?;
    }
    Ok(snapshot.join("model.onnx"))
}

#[test]
fn links_lead_to_weights_in_the_models_own_hub_repository_only() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let (own, version) = (cache.path().join("own"), cache.path().join("version"));
    std::fs::create_dir(&own)?;
    std::fs::create_dir(&version)?;
    std::fs::write(cache.path().join("secret"), [0; 12])?;
    let at = |location| with_weights(&[("location", location)]);
    let mut child = CHILDREN.child();
    let linked = hub_repository(cache.path(), "models--org--linked", &at("weights"))?;
    let stranger = hub_repository(cache.path(), "models--org--stranger", &at("theirs"))?;
    let unnamed = hub_repository(cache.path(), "org--unnamed", &at("weights"))?;
    let escaping = hub_repository(cache.path(), "models--org--escaping", &at("secret"))?;
    // A model's author cannot make a repository of a folder above, or of another's blobs.
    symlink(
        linked.with_file_name("weights"),
        stranger.with_file_name("theirs"),
    )?;
    symlink(
        cache.path().join("secret"),
        escaping.with_file_name("secret"),
    )?;
    let hollow = cache.path().join("models--org--hollow");
    std::fs::create_dir_all(hollow.join("snapshots/1"))?;
    symlink(cache.path(), hollow.join("blobs"))?;
    symlink("../../blobs/secret", hollow.join("snapshots/1/weights"))?;
    std::fs::write(hollow.join("snapshots/1/model.onnx"), at("weights"))?;
    // A model repository that links to the cache.
    for name in ["model.onnx", "weights"] {
        symlink(linked.with_file_name(name), version.join(name))?;
    }
    std::fs::write(own.join("model.onnx"), at("weights"))?;
    symlink(linked.with_file_name("weights"), own.join("weights"))?;
    let outside = "outside the model's folder";
    for backend in ["tract", "onnxruntime"] {
        for (model, text) in [
            (linked.clone(), None),
            (version.join("model.onnx"), None),
            (own.join("model.onnx"), Some(outside)),
            (stranger.clone(), Some(outside)),
            (unnamed.clone(), Some(outside)),
            (escaping.clone(), Some(outside)),
            (hollow.join("snapshots/1/model.onnx"), Some(outside)),
        ] {
            let outcome = load_with(backend, &mut child, &model)?;
            match text {
                Some(text) => refused(&outcome, text),
                None => loaded(&outcome),
            }
            .with_context(|| format!("{backend}: {}", model.display()))?;
        }
    }
    Ok(())
}

fn refused(outcome: &Outcome, text: &str) -> Result<()> {
    let is_right = matches!(outcome, Outcome::Response(response) if response.starts_with(REFUSED) && response.contains(text));
    ensure!(is_right, "{outcome}, expected a refusal with `{text}`");
    Ok(())
}

fn loaded(outcome: &Outcome) -> Result<()> {
    ensure!(
        *outcome == Outcome::Response(LOADED.to_owned()),
        "{outcome}"
    );
    Ok(())
}

/// Checks that a refusal contains no path of this machine except `named`, which the model itself names.
fn names_no_path(outcome: &Outcome, outer: &Path, named: &str) -> Result<()> {
    let text = outcome.to_string().replace(named, "");
    let outer = outer.to_str().context("not UTF-8")?;
    ensure!(!text.contains(outer), "{text}");
    Ok(())
}
