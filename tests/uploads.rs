//! Tests of uploads: what clients can add to the repository and delete from it, and what they cannot.

use crate::harness::{Repository, Response, TIMEOUT, TestOptions, TestServer, component, root};
use crate::minisign::SigningKey;
use crate::python;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use wisp_serving::model_control::ControlMode;
use wisp_serving::registry::version_signature::{SignaturePolicy, TrustedKey};
use wisp_serving::residency::ResidencyOptions;
use wisp_serving::uploads::limits::UploadLimits;

const MODELS: &str = "/v2/repository/models";

fn options() -> TestOptions {
    TestOptions {
        uploads: Some(UploadLimits::default()),
        ..TestOptions::default()
    }
}

fn server() -> Result<TestServer> {
    TestServer::with_options(Repository::of(&["progression"])?, options())
}

/// Returns the content of a graph without a handler.
fn graph() -> Result<Vec<u8>> {
    let path = root().join("examples/progression/1/model.onnx");
    Ok(std::fs::read(path)?)
}

fn put(server: &TestServer, path: &str, content: &[u8]) -> Result<Response> {
    server.request(&format!("PUT {MODELS}/{path}"), &[], content)
}

fn commit(server: &TestServer, version: &str) -> Result<Response> {
    server.request(&format!("POST {MODELS}/{version}/commit"), &[], b"")
}

fn delete(server: &TestServer, version: &str) -> Result<Response> {
    server.request(&format!("DELETE {MODELS}/{version}"), &[], b"")
}

fn infer(server: &TestServer, model: &str) -> Result<Response> {
    let data = [59.0, 2.0, 32.1, 101.0, 157.0, 93.2, 38.0, 4.0, 4.8598, 87.0];
    let request = json!({ "inputs": [{
        "name": "features", "datatype": "FP32", "shape": [1, 10], "data": data,
    }] });
    server.infer(model, &request)
}

/// Returns the number of files that arrive or are not committed.
fn unfinished(repository: &Path) -> usize {
    let count = |part: &str| {
        let entries = std::fs::read_dir(repository.join(".wisp-uploads").join(part));
        entries.map_or(0, Iterator::count)
    };
    count("incoming") + count("staged") + count("trials") + count("trash")
}

#[test]
fn versions_are_uploaded_with_python_and_served() -> Result<()> {
    let server = server()?;
    let examples = root().join("examples");
    let examples = examples.to_str().context("a path that is not Unicode")?;
    python::run("uploads.py", &[&server.address().to_string(), examples])?;
    ensure!(unfinished(server.repository()) == 0);
    Ok(())
}

#[test]
fn a_version_is_served_once_it_is_committed_and_gone_once_it_is_deleted() -> Result<()> {
    let server = server()?;
    put(&server, "new/versions/3/files/model.onnx", &graph()?)?.ok()?;
    let settings = b"max_batch_size = 7";
    put(&server, "new/versions/3/files/model.toml", settings)?.ok()?;
    infer(&server, "new")?.error(404)?;
    let committed = commit(&server, "new/versions/3")?.ok()?;
    ensure!(committed["loaded"] == true, "{committed}");
    ensure!(infer(&server, "new")?.ok()?["model_version"] == "3");
    let config = server.get("/v2/models/new/config")?.ok()?;
    ensure!(config["max_batch_size"] == 7, "{config}");
    // A version does not change.
    let refused = put(&server, "new/versions/3/files/model.onnx", b"other")?.error(409)?;
    ensure!(refused.contains("has a version 3 already"), "{refused}");
    put(&server, "new/versions/4/files/model.onnx", &graph()?)?.ok()?;
    commit(&server, "new/versions/4")?.ok()?;
    ensure!(infer(&server, "new")?.ok()?["model_version"] == "4");
    delete(&server, "new/versions/4")?.ok()?;
    ensure!(infer(&server, "new")?.ok()?["model_version"] == "3");
    delete(&server, "new/versions/3")?.ok()?;
    infer(&server, "new")?.error(404)?;
    ensure!(!server.repository().join("new").exists());
    delete(&server, "new/versions/3")?.error(404)?;
    ensure!(unfinished(server.repository()) == 0);
    Ok(())
}

#[test]
fn a_version_that_cannot_be_served_changes_nothing() -> Result<()> {
    let server = server()?;
    let version = "progression/versions/2";
    let before = infer(&server, "progression")?.ok()?;
    let nothing = commit(&server, version)?.error(404)?;
    ensure!(nothing.contains("no file of version 2"), "{nothing}");
    put(
        &server,
        &format!("{version}/files/model.onnx"),
        b"not a model",
    )?
    .ok()?;
    let refused = commit(&server, version)?.error(400)?;
    ensure!(refused.contains("it is a text file"), "{refused}");
    // A handler whose imports are not granted is refused by their name, and nothing is compiled.
    let wasm =
        wat::parse_str(r#"(component (import "wasi:filesystem/preopens@0.2.0" (instance)))"#)?;
    put(&server, &format!("{version}/files/model.onnx"), &graph()?)?.ok()?;
    put(&server, &format!("{version}/files/handler.wasm"), &wasm)?.ok()?;
    let refused = commit(&server, version)?.error(400)?;
    ensure!(
        refused.contains("imports `wasi:filesystem/preopens@0.2.0`"),
        "{refused}"
    );
    for (settings, expected) in [
        ("export = 'x'", "`export` in model.toml"),
        ("[handler]\ngrants = ['clock']", "`handler.grants`"),
        ("[outputs.y]\nlabels = '../../secret'", "another directory"),
        ("unknown = 1", "unknown"),
    ] {
        let handler = std::fs::read(component("progression")?)?;
        put(&server, &format!("{version}/files/handler.wasm"), &handler)?.ok()?;
        put(
            &server,
            &format!("{version}/files/model.toml"),
            settings.as_bytes(),
        )?
        .ok()?;
        let refused = commit(&server, version)?.error(400)?;
        ensure!(refused.contains(expected), "{settings}: {refused}");
    }
    ensure!(infer(&server, "progression")?.ok()? == before);
    ensure!(!server.repository().join("progression/2").exists());
    // The upload is discarded.
    delete(&server, version)?.ok()?;
    ensure!(unfinished(server.repository()) == 0);
    Ok(())
}

#[test]
fn names_lead_nowhere_else() -> Result<()> {
    let server = server()?;
    for path in [
        "m/versions/1/files/..%2f..%2fhostile.onnx",
        "m/versions/1/files/%2e%2e/hostile.onnx",
        "m/versions/1/files/../hostile.onnx",
        "m/versions/1/files/hostile.onnx%00",
        "m/versions/1/files/cases/../../hostile.json",
        "m/versions/1/files/hostile.tar",
        "m/versions/1/files/model.nnef.tgz",
        "m/versions/1/files/model.onnx_data",
        "m/versions/1/files/.hostile.onnx",
        "m/versions/..%2f1/files/model.onnx",
        "m/versions/01/files/model.onnx",
        "m/versions/0/files/model.onnx",
        "..%2fm/versions/1/files/model.onnx",
        ".wisp-uploads/versions/1/files/model.onnx",
        "1/versions/1/files/model.onnx",
    ] {
        let response = put(&server, path, b"hostile")?;
        response.error(400).with_context(|| path.to_owned())?;
    }
    ensure!(unfinished(server.repository()) == 0);
    let names = std::fs::read_dir(server.repository())?.count();
    ensure!(names == 2, "the model and the directory of uploads");
    Ok(())
}

#[test]
fn incomplete_and_oversized_files_leave_nothing() -> Result<()> {
    let repository = Repository::empty()?.with_model("progression", "progression", None)?;
    let limits = UploadLimits {
        file_bytes: 100_000,
        stored_bytes: u64::try_from(graph()?.len())? + 950_000,
        models: 2,
        ..UploadLimits::default()
    };
    let options = TestOptions {
        uploads: Some(limits),
        ..options()
    };
    let server = TestServer::with_options(repository, options)?;
    let head = format!("PUT {MODELS}/m/versions/1/files/model.onnx HTTP/1.1\r\nhost: t\r\n");
    // The body ends before its declared length.
    let mut stream = TcpStream::connect(server.address())?;
    write!(stream, "{head}content-length: 5000\r\n\r\nonly this")?;
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Response::parse(&reply)?.error(400)?;
    ensure!(unfinished(server.repository()) == 0);
    // Refused before it is sent.
    let declared = server.raw(format!("{head}content-length: 100001\r\n\r\n").as_bytes())?;
    declared.error(413)?;
    // Refused on its way.
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    server.raw(chunked.as_bytes())?.error(413)?;
    for number in 1..=9 {
        put(
            &server,
            &format!("m/versions/{number}/files/a.txt"),
            &[b'x'; 100_000],
        )?
        .ok()?;
    }
    let full = put(&server, "m/versions/10/files/a.txt", &[b'x'; 100_000])?;
    let full = full.error(507)?;
    ensure!(full.contains("--max-stored-bytes"), "{full}");
    let models = put(&server, "other/versions/1/files/a.txt", b"x")?.error(507)?;
    ensure!(models.contains("--max-stored-models"), "{models}");
    delete(&server, "m/versions/9")?.ok()?;
    put(&server, "m/versions/10/files/a.txt", &[b'x'; 100_000])?.ok()?;
    Ok(())
}

#[test]
fn a_version_that_no_load_has_room_for_is_not_committed() -> Result<()> {
    let options = TestOptions {
        residency: ResidencyOptions {
            max_model_memory_bytes: Some(100),
            ..ResidencyOptions::default()
        },
        ..options()
    };
    let server = TestServer::with_options(Repository::empty()?, options)?;
    put(&server, "large/versions/1/files/model.onnx", &graph()?)?.ok()?;
    let refused = commit(&server, "large/versions/1")?.error(400)?;
    ensure!(
        refused.contains("more than the 100 for all models"),
        "{refused}"
    );
    ensure!(!server.repository().join("large").exists());
    Ok(())
}

#[test]
fn uploads_are_refused_unless_they_are_allowed() -> Result<()> {
    let path = "m/versions/1/files/model.onnx";
    let without = TestServer::start(Repository::of(&["progression"])?)?;
    let refused = put(&without, path, b"x")?.error(403)?;
    ensure!(refused.contains("--allow-upload"), "{refused}");
    commit(&without, "m/versions/1")?.error(403)?;
    delete(&without, "progression/versions/1")?.error(403)?;
    let elsewhere = TestOptions {
        control: ControlMode::Forbidden,
        ..options()
    };
    let server = TestServer::with_options(Repository::of(&["progression"])?, elsewhere)?;
    put(&server, path, b"x")?.error(403)?;
    let page = [("origin", "http://hostile.example")];
    let server = self::server()?;
    server
        .request(
            &format!("DELETE {MODELS}/progression/versions/1"),
            &page,
            b"",
        )?
        .error(403)?;
    infer(&server, "progression")?.ok()?;
    Ok(())
}

#[test]
fn files_of_a_load_are_checked_like_uploads() -> Result<()> {
    let server = TestServer::start(Repository::of(&["progression"])?)?;
    let load = |file: &str| -> Result<String> {
        let body = json!({ "parameters": { "config": "{}", file: "AA==" } }).to_string();
        let path = format!("POST {MODELS}/m/load");
        server.request(&path, &[], body.as_bytes())?.error(400)
    };
    for file in [
        "file:1/model.nnef.tgz",
        "file:1/model.onnx_data",
        "file:1/model.so",
    ] {
        let refused = load(file)?;
        ensure!(
            refused.contains("not a file that can be uploaded"),
            "{refused}"
        );
    }
    let refused = load("file:1/model.toml")?;
    ensure!(refused.contains("the parameter `config`"), "{refused}");
    Ok(())
}

#[test]
fn only_versions_that_minisign_has_signed_are_loaded_whatever_way_they_come() -> Result<()> {
    let (key, other) = (SigningKey::generate()?, SigningKey::generate()?);
    let repository = Repository::empty()?
        .with_model("signed", "progression", None)?
        .with_model("foreign", "progression", None)?
        .with_model("unsigned", "progression", None)?
        .with_model("changed", "progression", None)?;
    let path = repository.path().to_owned();
    for (model, key) in [("signed", &key), ("foreign", &other), ("changed", &key)] {
        let file = format!("{model}/1/model.onnx");
        key.sign(&path, &format!("{model}/1"), &[&file])?;
    }
    std::fs::write(path.join("changed/1/handler.wasm"), "added later")?;
    let options = TestOptions {
        signatures: SignaturePolicy {
            trusted_keys: vec![TrustedKey::parse(&std::fs::read_to_string(key.public())?)?],
            is_required: true,
        },
        ..options()
    };
    let server = TestServer::with_options(repository, options)?;
    infer(&server, "signed")?.ok()?;
    for (model, expected) in [
        ("foreign", "a key that is not trusted"),
        ("unsigned", "is not signed"),
        ("changed", "`changed/1/handler.wasm` is not in the signed"),
    ] {
        let refused = infer(&server, model)?.error(503)?;
        ensure!(refused.contains(expected), "{refused}");
    }
    let version = "new/versions/1";
    put(&server, &format!("{version}/files/model.onnx"), &graph()?)?.ok()?;
    let refused = commit(&server, version)?.error(400)?;
    ensure!(refused.contains("is not signed"), "{refused}");
    let author = Repository::empty()?.with_model("new", "progression", None)?;
    key.sign(author.path(), "new/1", &["new/1/model.onnx"])?;
    for file in ["SHA256SUMS", "SHA256SUMS.minisig"] {
        let content = std::fs::read(author.path().join("new/1").join(file))?;
        put(&server, &format!("{version}/files/{file}"), &content)?.ok()?;
    }
    let committed: Value = commit(&server, version)?.ok()?;
    ensure!(committed["loaded"] == true, "{committed}");
    infer(&server, "new")?.ok()?;
    // The same files are not those of another version.
    for file in ["model.onnx", "SHA256SUMS", "SHA256SUMS.minisig"] {
        let content = std::fs::read(author.path().join("new/1").join(file))?;
        put(&server, &format!("new/versions/2/files/{file}"), &content)?.ok()?;
    }
    let refused = commit(&server, "new/versions/2")?.error(400)?;
    ensure!(
        refused.contains("`new/2/model.onnx` is not in the signed"),
        "{refused}"
    );
    Ok(())
}
