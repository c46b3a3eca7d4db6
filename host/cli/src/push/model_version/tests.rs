//! Tests of the choice of files.

use super::*;
use tempfile::TempDir;

/// Creates the model `m` with these files.
fn model(files: &[(&str, &str)]) -> anyhow::Result<(TempDir, PathBuf)> {
    let parent = tempfile::tempdir()?;
    let directory = parent.path().canonicalize()?.join("m");
    for (file, content) in files {
        let path = directory.join(file);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        fs::write(path, content)?;
    }
    Ok((parent, directory))
}

fn titles(path: &Path) -> anyhow::Result<Vec<String>> {
    let files = files(&select(path)?)?;
    Ok(files.keys().map(FileTitle::to_string).collect())
}

fn refusal(path: &Path) -> anyhow::Result<String> {
    let error = prepare(path).err().context("accepted")?;
    Ok(format!("{error:#}"))
}

#[test]
fn a_version_comes_with_what_it_needs_of_its_model_and_nothing_else() -> anyhow::Result<()> {
    let (_parent, model) = model(&[
        (
            "model.toml",
            "[outputs.y]\nlabels = \"texts/labels.txt\"\n[handler]\nfiles = [\"vocab.txt\", \"own.txt\"]\n",
        ),
        ("config.pbtxt", ""),
        ("texts/labels.txt", ""),
        ("texts/other.txt", ""),
        ("vocab.txt", ""),
        ("train.py", ""),
        ("samples/7.png", ""),
        ("samples/8.png", ""),
        (
            "cases/one.json",
            r#"{"request": {"inputs": [{"name": "x", "file": "../samples/7.png"}]}, "expect": {}}"#,
        ),
        ("cases/pixels.bin", ""),
        ("1/model.onnx", ""),
        ("2/model.onnx", ""),
        ("2/model.onnx.data", ""),
        ("2/assets/words.txt", ""),
        ("2/own.txt", ""),
        ("2/.handler-x", ""),
    ])?;
    let expected = [
        "2/assets/words.txt",
        "2/model.onnx",
        "2/model.onnx.data",
        "2/own.txt",
        "cases/one.json",
        "cases/pixels.bin",
        "config.pbtxt",
        "model.toml",
        "samples/7.png",
        "texts/labels.txt",
        "vocab.txt",
    ];
    assert_eq!(titles(&model)?, expected);
    assert_eq!(titles(&model.join("2"))?, expected);
    assert!(titles(&model.join("1"))?.contains(&"1/model.onnx".to_owned()));
    Ok(())
}

#[test]
fn the_number_of_a_version_has_no_leading_zeros_in_an_artifact() -> anyhow::Result<()> {
    let (_parent, model) = model(&[("00003/model.onnx", "")])?;
    assert_eq!(titles(&model)?, ["3/model.onnx"]);
    assert_eq!(titles(&model.join("00003"))?, ["3/model.onnx"]);
    Ok(())
}

#[test]
fn links_to_files_are_pushed_as_files() -> anyhow::Result<()> {
    let (parent, model) = model(&[("1/handler.wasm", "")])?;
    fs::write(parent.path().join("weights"), "weights")?;
    std::os::unix::fs::symlink("../../weights", model.join("1/model.onnx"))?;
    let upload = prepare(&model)?;
    let blobs: Vec<&Blob> = upload.files.iter().map(|(_, blob)| blob).collect();
    assert_eq!(blobs, [&Blob::of(b""), &Blob::of(b"weights")]);
    Ok(())
}

#[test]
fn a_version_that_could_not_be_served_is_refused() -> anyhow::Result<()> {
    for (files, expected) in [
        (
            vec![
                ("model.toml", "[handler]\nsource = \"../handler\""),
                ("1/model.onnx", ""),
            ],
            "run `wisp build",
        ),
        (vec![("model.toml", "")], "no version"),
        (
            vec![("model.toml", ""), ("1/notes.txt", "")],
            "neither a model file nor a handler.wasm",
        ),
        (
            vec![
                ("1/model.onnx", ""),
                (
                    "cases/x.json",
                    r#"{"request": {"inputs": [{"file": "../../secret"}]}, "expect": {}}"#,
                ),
            ],
            "not in the directory of the model",
        ),
        (
            vec![
                ("1/model.onnx", ""),
                (
                    "cases/x.json",
                    r#"{"request": {"inputs": [{"file": "7.png"}]}, "expect": {}}"#,
                ),
            ],
            "there is no `cases/7.png`",
        ),
        (vec![("1/a\\b", ""), ("1/model.onnx", "")], "backslash"),
    ] {
        let (_parent, model) = model(&files)?;
        let text = refusal(&model)?;
        assert!(text.contains(expected), "{text}");
    }
    let (parent, model) = model(&[("1/model.onnx", "")])?;
    fs::create_dir(parent.path().join("empty"))?;
    let text = refusal(&parent.path().join("empty"))?;
    assert!(text.contains("neither the directory of a model"), "{text}");
    std::os::unix::fs::symlink(parent.path(), model.join("1/up"))?;
    let text = refusal(&model)?;
    assert!(text.contains("neither a file nor a directory"), "{text}");
    Ok(())
}
