//! Tests of the models, versions and files that are found in directories.

use super::*;
use anyhow::Context;
use tempfile::TempDir;
use wisp_protocol::load::VersionSelection;

/// Creates a directory with these files, all of them empty.
fn directory(files: &[&str]) -> anyhow::Result<TempDir> {
    let directory = tempfile::tempdir()?;
    for file in files {
        let path = directory.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        std::fs::write(&path, "")?;
    }
    Ok(directory)
}

fn names(models: &[FoundModel]) -> Vec<&str> {
    models.iter().map(|model| model.name.as_str()).collect()
}

#[test]
fn a_directory_that_can_be_no_model_fails_alone() -> anyhow::Result<()> {
    let repository = directory(&[
        "good/1/model.onnx",
        "my model/1/model.onnx",
        "notes/a.txt",
        ".hidden/1/model.onnx",
    ])?;
    let models = find_models(repository.path())?;
    assert_eq!(names(&models), ["good", "my model"]);
    assert!(models[0].versions.is_ok());
    assert!(matches!(models[1].versions, Err(LoadError::Name { .. })));
    assert!(find_models(&repository.path().join("none")).is_err());
    Ok(())
}

#[test]
fn any_entry_named_like_a_handler_is_one() -> anyhow::Result<()> {
    let repository = directory(&[
        "link/1/model.onnx",
        "folder/1/handler.wasm/file",
        "bare/1/model.onnx",
    ])?;
    let link = repository.path().join("link/1/handler.wasm");
    std::os::unix::fs::symlink("/nowhere/handler.wasm", &link)?;
    for (model, has_handler) in [("link", true), ("folder", true), ("bare", false)] {
        let files = version_files(&repository.path().join(model))?;
        assert_eq!(files.handler.is_some(), has_handler, "{model}");
    }
    Ok(())
}

#[test]
fn a_number_can_be_a_models_name() -> anyhow::Result<()> {
    let repository = directory(&["7/1/model.onnx", "8/model.toml", "wine/2/handler.wasm"])?;
    let models = find_models(repository.path())?;
    assert_eq!(names(&models), ["7", "8", "wine"]);
    let models = find_models(&repository.path().join("7"))?;
    assert_eq!(names(&models), ["7"]);
    Ok(())
}

#[test]
fn one_model_is_found_whatever_is_wrong_with_the_others() -> anyhow::Result<()> {
    let repository = directory(&["m/2/model.onnx", "bad/1/model.onnx", "notes/a.txt"])?;
    std::fs::write(repository.path().join("bad/model.toml"), "versions = [7]")?;
    for (path, name, expected) in [
        ("", "m", true),
        ("", "notes", false),
        ("", "nope", false),
        ("m", "m", true),
        ("m", "bad", false),
        ("m/2/model.onnx", "model", true),
        ("m/2/model.onnx", "m", false),
    ] {
        let found = model_path(&repository.path().join(path), &ModelName::new(name)?)?;
        assert_eq!(found.is_some(), expected, "{name} below {path}");
        if let Some(found) = found {
            assert_eq!(model_versions(&found, None)?.model.as_str(), name);
        }
    }
    let bad = model_path(repository.path(), &ModelName::new("bad")?)?;
    assert!(model_versions(&bad.context("it is a model")?, None).is_err());
    let paths = model_paths(repository.path())?;
    let names: Vec<_> = paths.keys().map(ModelName::as_str).collect();
    assert_eq!(names, ["bad", "m"]);
    Ok(())
}

#[test]
fn a_version_may_be_empty_or_hold_what_is_not_understood() -> anyhow::Result<()> {
    let repository = directory(&["a/3/saved_model/x.pb"])?;
    std::fs::create_dir_all(repository.path().join("b/4"))?;
    let models = find_models(repository.path())?;
    assert_eq!(names(&models), ["a", "b"]);
    let versions: Vec<_> = models
        .into_iter()
        .map(|model| Ok(model.versions?.files[0].version.to_string()))
        .collect::<Result<_, LoadError>>()?;
    assert_eq!(versions, ["3", "4"]);
    Ok(())
}

#[test]
fn the_model_file_selects_versions_and_labels_them() -> anyhow::Result<()> {
    let files = directory(&[
        "m/1/model.onnx",
        "m/2/model.onnx",
        "m/10/model.onnx",
        "m/v3/x",
    ])?;
    let model = files.path().join("m");
    let select = |text: &str| -> anyhow::Result<Result<SelectedVersions, LoadError>> {
        std::fs::write(model.join(model_file::FILE_NAME), text)?;
        Ok(selected_versions(&model, None))
    };
    for (text, expected) in [
        ("", "10"),
        ("versions = 'all'", "1 2 10"),
        ("versions = { latest = 2 }", "2 10"),
        ("versions = { latest = 9 }", "1 2 10"),
        ("versions = [10, 1, 1]", "1 10"),
    ] {
        let selected = select(text)??.files;
        let versions: Vec<_> = selected.iter().map(|of| of.version.to_string()).collect();
        assert_eq!(versions.join(" "), expected, "{text}");
    }
    let labelled = select("versions = 'all'\nlabels = { stable = 2 }")??.labels;
    let stable = labelled
        .iter()
        .map(|(label, version)| format!("{label} {version}"));
    assert_eq!(stable.collect::<Vec<_>>(), ["stable 2"]);
    for (text, expected) in [
        (
            "versions = [3]",
            "there is no version 3, which model.toml or `config` selects",
        ),
        (
            "versions = []",
            "there is no version to load: the list of versions in model.toml or `config` is empty",
        ),
        (
            "labels = { 'next one' = 10 }",
            "`next one` in `labels` of model.toml is not a valid label",
        ),
        (
            "labels = { stable = 2 }",
            "label `stable` is for version 2, which is not loaded",
        ),
    ] {
        let error = select(text)?.expect_err(text).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    Ok(())
}

#[test]
fn a_configuration_selects_the_versions_and_the_main_file() -> anyhow::Result<()> {
    let files = directory(&["m/1/model.onnx", "m/1/other.onnx", "m/00002/other.onnx"])?;
    let model = files.path().join("m");
    std::fs::write(model.join(model_file::FILE_NAME), "versions = [2]")?;
    let select = |config: LoadConfig| model_versions(&model, Some(&Arc::new(config)));
    let other = LoadConfig {
        versions: Some(VersionSelection::All),
        default_model_filename: Some("other.onnx".to_owned()),
        ..LoadConfig::default()
    };
    let selected = select(other.clone())?;
    let main = selected.files.iter().map(|files| &files.graphs[MAIN_GRAPH]);
    let expected = ["1/other.onnx", "00002/other.onnx"].map(|file| model.join(file));
    assert!(main.eq(&expected));
    let default = LoadConfig {
        default_model_filename: Some("model.onnx".to_owned()),
        ..other.clone()
    };
    let error = select(default)
        .expect_err("version 2 has another")
        .to_string();
    assert_eq!(
        error,
        "version 2 has no model file `model.onnx`, which `default_model_filename` names"
    );
    let named = LoadConfig {
        name: Some("n".to_owned()),
        ..other
    };
    let error = select(named).expect_err("the model is m").to_string();
    assert_eq!(error, "`config` is for model `n`");
    Ok(())
}

#[test]
fn a_configuration_of_triton_selects_them_too_unless_a_client_or_the_model_file_does()
-> anyhow::Result<()> {
    let files = directory(&["m/1/model.onnx", "m/1/other.onnx", "m/2/other.onnx"])?;
    let model = files.path().join("m");
    let write = |text: &str| std::fs::write(model.join(TRITON_CONFIG_FILE), text);
    write(
        "version_policy { all { } } default_model_filename: \"other.onnx\"\n\
         metric_tags { key: \"a\" value: \"b\" }",
    )?;
    let selected = model_versions(&model, None)?;
    let main = selected.files.iter().map(|files| &files.graphs[MAIN_GRAPH]);
    let expected = ["1/other.onnx", "2/other.onnx"].map(|file| model.join(file));
    assert!(main.eq(&expected));
    assert_eq!(selected.ignored_settings, ["metric_tags"]);
    let highest = version_files(&model)?;
    assert_eq!(highest.graphs[MAIN_GRAPH], model.join("2/other.onnx"));
    let config = LoadConfig {
        versions: Some(VersionSelection::Specific(vec![1])),
        default_model_filename: Some("model.onnx".to_owned()),
        ..LoadConfig::default()
    };
    let selected = model_versions(&model, Some(&Arc::new(config)))?;
    let main = &selected.files[0].graphs[MAIN_GRAPH];
    assert_eq!(*main, model.join("1/model.onnx"));
    std::fs::write(model.join(model_file::FILE_NAME), "versions = [2]")?;
    assert_eq!(model_versions(&model, None)?.files.len(), 1);
    write("name: \"n\"")?;
    let error = model_versions(&model, None).expect_err("the model is m");
    assert_eq!(error.to_string(), "`config.pbtxt` is for model `n`");
    Ok(())
}

#[test]
fn a_directory_with_a_configuration_of_triton_is_a_model() -> anyhow::Result<()> {
    let files = directory(&["one/config.pbtxt", "all/1/notes.txt"])?;
    std::fs::write(
        files.path().join("all").join(TRITON_CONFIG_FILE),
        "platform: \"ensemble\"",
    )?;
    assert!(is_model_directory(&files.path().join("one"))?);
    let error = version_files(&files.path().join("one")).expect_err("there is no version");
    assert!(matches!(error, LoadError::NoVersion { .. }), "{error}");
    std::fs::remove_dir_all(files.path().join("all/1"))?;
    let error = version_files(&files.path().join("all")).expect_err("it is an ensemble");
    let reason = error.client_reason();
    let expected = "its config.pbtxt is not valid: line 1: platform `ensemble` is not supported: ";
    assert!(reason.starts_with(expected), "{reason}");
    Ok(())
}

#[test]
fn a_link_has_its_own_name_and_not_that_of_what_it_leads_to() -> anyhow::Result<()> {
    let files = directory(&["blobs/1a2b", "store/v/1/model.onnx"])?;
    let link = files.path().join("latest.onnx");
    std::os::unix::fs::symlink(files.path().join("blobs/1a2b"), &link)?;
    assert_eq!(names(&find_models(&link)?), ["latest"]);
    let link = files.path().join("wine");
    std::os::unix::fs::symlink(files.path().join("store/v"), &link)?;
    assert_eq!(names(&find_models(&link)?), ["wine"]);
    assert_eq!(names(&find_models(&link.join("1/.."))?), ["v"]);
    Ok(())
}

#[test]
fn a_single_file_with_an_odd_name_is_a_model_with_a_valid_one() -> anyhow::Result<()> {
    let long = "x".repeat(200);
    let files = tempfile::tempdir()?;
    for (file, name) in [
        ("my model (1).onnx", "my_model_1"),
        ("yolo v8: größe.640.onnx", "yolo_v8_gr_e.640"),
        ("  -x.onnx", "x"),
        ("模型.onnx", "model"),
        ("a__b_.onnx", "a__b_"),
        ("50%.nnef.tgz", "50"),
        (&format!("{long}.onnx"), &long[..128]),
    ] {
        let path = files.path().join(file);
        std::fs::write(&path, "")?;
        assert_eq!(model_files(&path)?.model.as_str(), name, "{file}");
        assert!(model_path(&path, &ModelName::new(name)?)?.is_some());
        assert_eq!(names(&find_models(&path)?), [name]);
        assert!(model_paths(&path)?.contains_key(&ModelName::new(name)?));
    }
    Ok(())
}

#[test]
fn a_single_component_has_no_graph() -> anyhow::Result<()> {
    let files = directory(&["hello.wasm"])?;
    let path = files.path().join("hello.wasm");
    let found = model_files(&path)?;
    assert_eq!((found.model.as_str(), found.graphs.len()), ("hello", 0));
    assert_eq!(found.handler, Some(path));
    Ok(())
}

#[test]
fn a_single_file_has_no_model_file() -> anyhow::Result<()> {
    let files = directory(&["wine.onnx", "model.toml"])?;
    let models = find_models(&files.path().join("wine.onnx"))?;
    let directories: Vec<_> = models
        .into_iter()
        .map(|model| Ok(model.versions?.files[0].model_directory.clone()))
        .collect::<Result<_, LoadError>>()?;
    assert_eq!(directories, [None]);
    Ok(())
}

#[test]
fn a_model_without_a_version_names_the_command_that_makes_one() -> anyhow::Result<()> {
    let files = directory(&[])?;
    let model = files.path().join("embed");
    std::fs::create_dir(&model)?;
    std::fs::write(model.join(model_file::FILE_NAME), "export = 'make it'")?;
    match version_files(&model) {
        Err(error @ LoadError::NoVersion { .. }) => assert_eq!(
            error.to_string(),
            "there is no version: no directory with a decimal name; create model.onnx with \
             `make it`, then try again"
        ),
        other => anyhow::bail!("{other:?}"),
    }
    Ok(())
}
