//! The content of a version's files, for the identity under which its responses are cached.
//!
//! Everything that a response may depend on counts: all files in the directory of the version, the graphs with their
//! weights and the handler among them, those that `model.toml` names, and the settings. The files are hashed before
//! they are loaded. If they have changed by the end of the load, it is unknown which of both states was loaded, and
//! the version is not cached. Nothing is read of a model that is not cached.

use crate::file_state::FileState;
use crate::registry::load_error::LoadError;
use crate::registry::model_file::{CacheSection, ModelFile};
use crate::registry::repository::VersionFiles;
use crate::registry::version_directory::entries;
use crate::response_cache::policy::CachePolicy;
use crate::version::ModelVersion;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wisp_backend::bounded_file::open_regular;
use wisp_backend::model_outline::ModelOutline;

/// The version of the identity. Another release of the server may compute other responses from the same files.
const FORM: &str = concat!("wisp version content 1, wisp ", env!("CARGO_PKG_VERSION"));

/// The maximum depth of folders in the directory of a version. Links may form circles.
const MAX_DEPTH: usize = 8;

/// The maximum number of files of a version.
const MAX_FILES: usize = 10_000;

/// The files of a version that is loaded, if its responses are cached.
#[derive(Debug)]
pub(super) struct VersionContent {
    cached: Option<CachedContent>,
}

#[derive(Debug)]
struct CachedContent {
    hasher: blake3::Hasher,
    ttl: Duration,
    files: Vec<(PathBuf, FileState)>,
}

impl VersionContent {
    /// Hashes the files and the settings of a version, if its responses are cached.
    pub(super) fn read(
        files: &VersionFiles,
        model_file: &ModelFile,
    ) -> Result<VersionContent, LoadError> {
        if !model_file.cache.enabled {
            return Ok(VersionContent { cached: None });
        }
        if let Some(grant) = model_file.handler.grants.first() {
            let grant = grant.name();
            return Err(LoadError::CachedGrant { grant });
        }
        let mut hasher = blake3::Hasher::new();
        hash_part(&mut hasher, FORM.as_bytes());
        // The time to live changes no response.
        let settings = ModelFile {
            cache: CacheSection::default(),
            ..model_file.clone()
        };
        hash_part(&mut hasher, format!("{settings:?}").as_bytes());
        let mut states = Vec::new();
        for (path, name) in paths(files, model_file)? {
            let read = |source| LoadError::CachedFile {
                file: name.clone(),
                source,
            };
            let state = hash_file(&mut hasher, (&path, &name)).map_err(read)?;
            states.push((path, state));
        }
        Ok(VersionContent {
            cached: Some(CachedContent {
                hasher,
                ttl: Duration::from_secs(u64::from(model_file.cache.ttl_seconds.get())),
                files: states,
            }),
        })
    }

    /// Returns an error if the responses of a web component would be cached.
    pub(super) fn check_web_component(&self) -> Result<(), LoadError> {
        match self.cached {
            None => Ok(()),
            Some(_) => Err(LoadError::CachedWebComponent),
        }
    }

    /// Returns the loaded version with the caching of its responses.
    pub(super) fn cache(self, version: ModelVersion) -> ModelVersion {
        let Some(CachedContent {
            mut hasher,
            ttl,
            files,
        }) = self.cached
        else {
            return version;
        };
        let description = version.description();
        let is_unchanged = |(path, state): &(PathBuf, FileState)| {
            FileState::of(path).is_ok_and(|current| current == *state)
        };
        if !files.iter().all(is_unchanged) {
            let (model, number) = (&description.model, description.version);
            tracing::warn!(
                %model,
                version = %number,
                "the files have changed while they were loaded; responses are not cached until the next load"
            );
            return version;
        }
        hash_part(&mut hasher, description.model.as_str().as_bytes());
        hash_part(&mut hasher, description.version.to_string().as_bytes());
        // Backends differ in the last digits of their results.
        hash_part(&mut hasher, description.platform.as_bytes());
        for (graph, selection) in version.backend_selections() {
            hash_part(&mut hasher, graph.as_bytes());
            hash_part(&mut hasher, selection.backend.as_bytes());
        }
        let identity = *hasher.finalize().as_bytes();
        version.with_cache(Some(CachePolicy { identity, ttl }))
    }
}

/// Returns the files of a version with names that do not depend on the place of its directory.
fn paths(
    files: &VersionFiles,
    model_file: &ModelFile,
) -> Result<BTreeMap<PathBuf, String>, LoadError> {
    let mut paths = BTreeMap::new();
    for (name, path) in &files.graphs {
        paths.insert(path.clone(), format!("graph {name}"));
    }
    if let Some(handler) = &files.handler {
        paths.insert(handler.clone(), "handler".to_owned());
    }
    match &files.directory {
        Some(directory) => add_directory(&mut paths, (directory, "version"), 0)?,
        None => {
            for graph in files.graphs.values() {
                add_external_files(&mut paths, graph);
            }
        }
    }
    if let Some(directory) = &files.model_directory {
        for file in model_file.files() {
            let path = directory.join(file);
            if path.is_file() {
                let name = format!("model/{}", file.display());
                paths.entry(path).or_insert(name);
            }
        }
    }
    Ok(paths)
}

/// Adds the files with the weights of a single graph, which lie beside it.
fn add_external_files(paths: &mut BTreeMap<PathBuf, String>, graph: &Path) {
    let folder = graph.parent().unwrap_or(Path::new(""));
    // A file without an outline is no ONNX file and has no external data.
    let outline = ModelOutline::read(graph).unwrap_or_default();
    for file in outline.external_files {
        paths.insert(folder.join(&file), format!("data {file}"));
    }
}

/// Adds the files in a directory, in folders too.
fn add_directory(
    paths: &mut BTreeMap<PathBuf, String>,
    (directory, name): (&Path, &str),
    depth: usize,
) -> Result<(), LoadError> {
    for path in entries(directory)? {
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{name}/{file_name}");
        if path.is_dir() {
            if depth >= MAX_DEPTH {
                return Err(LoadError::TooManyCachedFiles);
            }
            add_directory(paths, (&path, &name), depth + 1)?;
        } else {
            // A graph and the handler have their own names.
            paths.entry(path).or_insert(name);
        }
        if paths.len() > MAX_FILES {
            return Err(LoadError::TooManyCachedFiles);
        }
    }
    Ok(())
}

/// Hashes a file. Returns its state from before it was read.
fn hash_file(hasher: &mut blake3::Hasher, (path, name): (&Path, &str)) -> io::Result<FileState> {
    let state = FileState::of(path)?;
    let (file, _) = open_regular(path)?;
    let mut content = blake3::Hasher::new();
    content.update_reader(file)?;
    hash_part(hasher, name.as_bytes());
    hash_part(hasher, content.finalize().as_bytes());
    Ok(state)
}

/// Hashes a part after its length, so that parts cannot be taken for each other.
fn hash_part(hasher: &mut blake3::Hasher, part: &[u8]) {
    let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
    hasher.update(&length.to_le_bytes());
    hasher.update(part);
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Result;
    use std::collections::BTreeSet;
    use std::fs;
    use wisp_protocol::call::{ModelName, Version};
    use wisp_sandbox::grants::Grant;

    fn cached() -> ModelFile {
        ModelFile {
            cache: CacheSection {
                enabled: true,
                ..CacheSection::default()
            },
            ..ModelFile::default()
        }
    }

    /// Returns the files of version 1 in the directory of a model, with a graph, its weights and a handler.
    fn files(model: &Path) -> Result<VersionFiles> {
        let directory = model.join("1");
        fs::create_dir_all(directory.join("weights"))?;
        let write = |name: &str| -> Result<PathBuf> {
            let path = directory.join(name);
            if !path.exists() {
                fs::write(&path, name)?;
            }
            Ok(path)
        };
        write("weights/data")?;
        Ok(VersionFiles {
            model: ModelName::new("m")?,
            version: Version::FIRST,
            graphs: BTreeMap::from([("model".to_owned(), write("model.onnx")?)]),
            handler: Some(write("handler.wasm")?),
            directory: Some(directory.clone()),
            model_directory: Some(model.to_owned()),
            config: None,
            baseline: None,
        })
    }

    fn hash(files: &VersionFiles, model_file: &ModelFile) -> Result<blake3::Hash> {
        let content = VersionContent::read(files, model_file)?;
        let cached = content
            .cached
            .ok_or_else(|| anyhow::anyhow!("not cached"))?;
        Ok(cached.hasher.finalize())
    }

    #[test]
    fn every_file_and_setting_counts_and_their_place_does_not() -> Result<()> {
        let (one, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let (files, same) = (files(one.path())?, files(other.path())?);
        let mut seen = vec![hash(&files, &cached())?];
        assert_eq!(hash(&same, &cached())?, seen[0]);
        let mut longer = cached();
        longer.cache.ttl_seconds = std::num::NonZeroU32::MAX;
        assert_eq!(hash(&files, &longer)?, seen[0]);
        for file in ["1/model.onnx", "1/weights/data", "1/handler.wasm", "1/new"] {
            fs::write(one.path().join(file), "changed")?;
            let changed = hash(&files, &cached())?;
            assert!(!seen.contains(&changed), "{file}");
            seen.push(changed);
        }
        let mut other_settings = cached();
        let threshold = wisp_sandbox::configuration::ConfigValue::Bool(true);
        let config = &mut other_settings.handler.config;
        config.insert("threshold".to_owned(), threshold);
        assert!(!seen.contains(&hash(&files, &other_settings)?));
        Ok(())
    }

    #[test]
    fn files_are_read_only_if_the_model_is_cached() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let files = files(directory.path())?;
        fs::remove_file(directory.path().join("1/model.onnx"))?;
        let content = VersionContent::read(&files, &ModelFile::default())?;
        assert!(content.cached.is_none());
        assert!(VersionContent::read(&files, &cached()).is_err());
        Ok(())
    }

    #[test]
    fn a_handler_whose_responses_may_differ_is_not_cached() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let files = files(directory.path())?;
        let mut random = cached();
        random.handler.grants = BTreeSet::from([Grant::Random]);
        let refused = VersionContent::read(&files, &random);
        let reason = refused.map_or_else(|error| error.client_reason(), |_| String::new());
        assert!(reason.contains("`random`"), "{reason}");
        Ok(())
    }
}
