//! Checks of uploaded files before anything is compiled or loaded: the parts of a version, the imports of a handler, the
//! data of graphs in other files, and the settings of which only the operator may decide.
//!
//! A load checks the files again, and more of them. These checks concern what strangers may not upload although an
//! operator may have it in the repository.

use crate::registry::model_file::{FILE_NAME, HttpSection, ModelFile};
use crate::registry::repository::{HANDLER_FILE, graphs};
use crate::uploads::upload_error::UploadError;
use std::path::{Component, Path};
use wisp_backend::Format;
use wisp_backend::bounded_file::read_regular;
use wisp_backend::model_outline::ModelOutline;
use wisp_sandbox::component::{ComponentError, ComponentSummary};

/// Checks the files in the directory of a version.
pub(crate) fn check_version(directory: &Path) -> Result<(), UploadError> {
    let found = graphs(directory);
    let found = found.map_err(|error| UploadError::Refused(error.client_reason()))?;
    let handler = directory.join(HANDLER_FILE);
    if found.is_empty() && !handler.is_file() {
        return Err(UploadError::Refused(format!(
            "the version has neither a .onnx file nor a {HANDLER_FILE}"
        )));
    }
    check_graphs(directory)?;
    match handler.is_file() {
        true => check_handler(&handler),
        false => Ok(()),
    }
}

/// Checks the graphs in the directory of a version.
pub(crate) fn check_graphs(directory: &Path) -> Result<(), UploadError> {
    let found = graphs(directory);
    let found = found.map_err(|error| UploadError::Refused(error.client_reason()))?;
    for (graph, path) in &found {
        check_graph(graph, path)?;
    }
    Ok(())
}

/// Refuses archives, and graphs whose data is in other files.
fn check_graph(graph: &str, path: &Path) -> Result<(), UploadError> {
    if !matches!(Format::of(path), Some((Format::Onnx, _))) {
        return Err(UploadError::Refused(format!(
            "graph `{graph}` is an archive, which cannot be uploaded: convert it to ONNX"
        )));
    }
    // A file without an outline is reported by the load. Whatever data it names, only uploaded files are beside it.
    let outline = ModelOutline::read(path).unwrap_or_default();
    match outline.external_files.is_empty() {
        true => Ok(()),
        false => Err(UploadError::Refused(format!(
            "graph `{graph}` has its data in other files, which cannot be uploaded: save it as a single file"
        ))),
    }
}

/// Refuses a component with imports that no model can grant.
fn check_handler(path: &Path) -> Result<(), UploadError> {
    let refused = |reason: String| UploadError::Refused(format!("{HANDLER_FILE}: {reason}"));
    // Its size was limited when it arrived.
    let wasm = read_regular(path, u64::MAX).map_err(|error| refused(error.to_string()))?;
    let summary = ComponentSummary::read(&wasm).map_err(|error| refused(error.to_string()))?;
    match summary.forbidden_import() {
        // Other imports are granted to web components, which are checked when they are loaded.
        Some(import) if !summary.is_web_component() => {
            let error = ComponentError::ForbiddenImport {
                import: import.to_owned(),
            };
            Err(refused(error.to_string()))
        }
        _ => Ok(()),
    }
}

/// Checks the uploaded settings in the directory of a model: only the operator decides about commands, sources, grants
/// and the network, and the files that they name are in the directories of the version and the model.
pub(crate) fn check_settings(model_directory: &Path) -> Result<(), UploadError> {
    // A file that cannot be read is reported by the load.
    let Ok(model_file) = ModelFile::load(model_directory) else {
        return Ok(());
    };
    let refused = |key: &str| {
        let reason =
            format!("`{key}` in {FILE_NAME} is for the operator of the server, and not uploaded");
        UploadError::Refused(reason)
    };
    if model_file.export.is_some() {
        return Err(refused("export"));
    }
    if model_file.handler.source.is_some() {
        return Err(refused("handler.source"));
    }
    if !model_file.handler.grants.is_empty() {
        return Err(refused("handler.grants"));
    }
    if model_file.http.allowed_hosts != HttpSection::default().allowed_hosts {
        return Err(refused("http.allowed_hosts"));
    }
    for file in model_file.files() {
        let mut parts = file.components();
        let is_name = matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none();
        if !is_name {
            return Err(UploadError::Refused(format!(
                "{FILE_NAME} names a file in another directory: uploaded settings name files of the version"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Result;
    use std::fs;

    fn refusal(outcome: Result<(), UploadError>) -> String {
        outcome.expect_err("accepted").to_string()
    }

    #[test]
    fn settings_of_the_operator_are_not_uploaded() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let check = |text: &str| -> Result<Result<(), UploadError>> {
            fs::write(directory.path().join(FILE_NAME), text)?;
            Ok(check_settings(directory.path()))
        };
        check("max_batch_size = 4\n[outputs.y]\nlabels = 'labels.txt'")??;
        check("[handler]\nfiles = ['vocab.txt']")??;
        for (text, expected) in [
            ("export = 'rm -r /'", "`export`"),
            ("[handler]\nsource = '../../secret'", "`handler.source`"),
            ("[handler]\ngrants = ['random']", "`handler.grants`"),
            (
                "[http]\nallowed_hosts = ['a.example']",
                "`http.allowed_hosts`",
            ),
            ("[outputs.y]\nlabels = '../secret'", "another directory"),
            ("[outputs.y]\nlabels = '/etc/passwd'", "another directory"),
            ("[handler]\nfiles = ['a/b']", "another directory"),
            ("[handler]\nfiles = ['..']", "another directory"),
        ] {
            let reason = refusal(check(text)?);
            assert!(reason.contains(expected), "{text}: {reason}");
        }
        Ok(())
    }

    #[test]
    fn a_version_has_a_graph_or_a_handler_and_no_archive() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let reason = refusal(check_version(directory.path()));
        assert!(reason.contains("neither"), "{reason}");
        fs::write(directory.path().join(HANDLER_FILE), "not Wasm")?;
        let reason = refusal(check_version(directory.path()));
        assert!(reason.starts_with("handler.wasm: "), "{reason}");
        fs::remove_file(directory.path().join(HANDLER_FILE))?;
        fs::write(directory.path().join("model.nnef.tgz"), "")?;
        let reason = refusal(check_version(directory.path()));
        assert!(reason.contains("archive"), "{reason}");
        fs::remove_file(directory.path().join("model.nnef.tgz"))?;
        // That this is no graph is found by the load.
        fs::write(directory.path().join("model.onnx"), "not a model")?;
        check_version(directory.path())?;
        Ok(())
    }

    #[test]
    fn a_graph_with_data_in_other_files_is_refused() -> Result<()> {
        let directory = tempfile::tempdir()?;
        // ModelProto.graph (7) > initializer (5) > external_data (13) > key "location" (1), value "w" (2).
        let entry = [&[0x0a, 8][..], b"location", &[0x12, 1], b"w"].concat();
        let data = [&[0x6a, 13][..], &entry].concat();
        let tensor = [&[0x2a, 15][..], &data].concat();
        let model = [&[0x3a, 17][..], &tensor].concat();
        fs::write(directory.path().join("model.onnx"), model)?;
        let reason = refusal(check_version(directory.path()));
        assert!(reason.contains("in other files"), "{reason}");
        Ok(())
    }
}
