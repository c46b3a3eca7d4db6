//! The parameters of a request to load a model, over HTTP or gRPC: `config`, and `file:<version>/<file>`.

use super::load_config::{self, LoadConfigError};
use crate::call::{ModelName, Version};
use crate::error::{ErrorKind, HasErrorKind};
use crate::load::{LoadRequest, UploadedFile};
use crate::quoted::Quoted;
use bytes::Bytes;

/// The parameter that tritonclient adds by itself. It has no effect, since models are independent.
const UNLOAD_DEPENDENTS: &str = "unload_dependents";

/// The parameter with the configuration.
const CONFIG: &str = "config";

/// The beginning of the name of a parameter that is a file.
const FILE: &str = "file:";

/// The maximum number of files in one request.
const MAX_FILES: usize = 256;

/// The maximum number of parameters in one request: its files and the two others.
pub(crate) const MAX_LOAD_PARAMETERS: usize = MAX_FILES + 2;

/// The maximum length of the name of a file in bytes, as in common file systems.
const MAX_FILE_NAME_BYTES: usize = 255;

/// The reason that the parameters of a load cannot be used. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadParameterError {
    #[error("load has no parameter {0}, expected `config` or `file:<version>/<file>`")]
    Unknown(Quoted),
    #[error("parameter {name} is not {expected}")]
    Type {
        name: Quoted,
        expected: &'static str,
    },
    #[error("parameter {0} does not name a file of a version, such as `file:1/model.onnx`")]
    FileName(Quoted),
    #[error("parameter {0} names a file that another parameter names too")]
    RepeatedFile(Quoted),
    #[error("a request to load a model has at most {MAX_FILES} files")]
    TooManyFiles,
    #[error(
        "a request with files needs the parameter `config`, the model's configuration in JSON; `{{}}` \
         is one"
    )]
    FilesWithoutConfig,
    /// The text begins as for any load that fails, which NVIDIA's examples look for.
    #[error("failed to load `{model}`: {error}")]
    Config {
        model: ModelName,
        error: LoadConfigError,
    },
}

impl HasErrorKind for LoadParameterError {
    fn kind(&self) -> ErrorKind {
        match self {
            LoadParameterError::Config { error, .. } => error.kind(),
            LoadParameterError::Unknown(_)
            | LoadParameterError::Type { .. }
            | LoadParameterError::FileName(_)
            | LoadParameterError::RepeatedFile(_)
            | LoadParameterError::TooManyFiles
            | LoadParameterError::FilesWithoutConfig => ErrorKind::InvalidRequest,
        }
    }
}

/// The kind of a parameter, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadParameter<'a> {
    Config,
    File {
        version: Version,
        name: &'a str,
    },
    /// A parameter without an effect.
    Ignored,
}

impl LoadParameter<'_> {
    /// Parses the name of a parameter.
    pub(crate) fn parse(name: &str) -> Result<LoadParameter<'_>, LoadParameterError> {
        let Some(path) = name.strip_prefix(FILE) else {
            return match name {
                CONFIG => Ok(LoadParameter::Config),
                UNLOAD_DEPENDENTS => Ok(LoadParameter::Ignored),
                other => Err(LoadParameterError::Unknown(Quoted::new(other))),
            };
        };
        let invalid = || LoadParameterError::FileName(Quoted::new(name));
        let (version, file) = path.split_once('/').ok_or_else(invalid)?;
        let version = Version::from_decimal(version).ok_or_else(invalid)?;
        match is_file_name(file) {
            true => Ok(LoadParameter::File {
                version,
                name: file,
            }),
            false => Err(invalid()),
        }
    }
}

/// Returns whether `name` is one component of a path and stays in its directory.
fn is_file_name(name: &str) -> bool {
    let is_separator = |character: char| matches!(character, '/' | '\\') || character.is_control();
    !matches!(name, "" | "." | "..")
        && name.len() <= MAX_FILE_NAME_BYTES
        && !name.contains(is_separator)
}

/// The request that the parameters make. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct LoadParameters<'a> {
    /// The model to load, for errors.
    model: &'a ModelName,
    request: LoadRequest,
}

impl LoadParameters<'_> {
    /// Returns the request to load this model, as it is in the repository.
    pub(crate) fn new(model: &ModelName) -> LoadParameters<'_> {
        LoadParameters {
            model,
            request: LoadRequest::default(),
        }
    }

    /// Sets the configuration.
    pub(crate) fn set_config(&mut self, text: &str) -> Result<(), LoadParameterError> {
        let config = load_config::decode(text).map_err(|error| LoadParameterError::Config {
            model: self.model.clone(),
            error,
        })?;
        self.request.config = Some(config);
        Ok(())
    }

    /// Adds a file with the content of the parameter called `parameter`.
    pub(crate) fn add_file(
        &mut self,
        parameter: &str,
        (version, name): (Version, &str),
        content: Bytes,
    ) -> Result<(), LoadParameterError> {
        let files = &mut self.request.files;
        if files.len() == MAX_FILES {
            return Err(LoadParameterError::TooManyFiles);
        }
        let is_same = |file: &UploadedFile| file.version == version && file.name == name;
        if files.iter().any(is_same) {
            return Err(LoadParameterError::RepeatedFile(Quoted::new(parameter)));
        }
        files.push(UploadedFile {
            version,
            name: name.to_owned(),
            content,
        });
        Ok(())
    }

    /// Returns the request. Files need a configuration, as in Triton.
    pub(crate) fn finish(self) -> Result<LoadRequest, LoadParameterError> {
        let LoadParameters { request, .. } = self;
        match request.config.is_none() && !request.files.is_empty() {
            true => Err(LoadParameterError::FilesWithoutConfig),
            false => Ok(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_in_the_directory_of_a_version() {
        let file = LoadParameter::parse("file:12/my model.onnx_data");
        let version = Version::from_decimal("12").unwrap();
        let name = "my model.onnx_data";
        assert_eq!(file, Ok(LoadParameter::File { version, name }));
        let long = format!("file:1/{}", "x".repeat(256));
        for name in [
            "file:",
            "file:model.onnx",
            "file:1/",
            "file:1/.",
            "file:1/..",
            "file:1/../model.onnx",
            "file:../1/model.onnx",
            "file:/1/model.onnx",
            "file:1/a/model.onnx",
            "file:1/a\\model.onnx",
            "file:1/a\0",
            "file:1/a\nb",
            "file:0/model.onnx",
            "file:x/model.onnx",
            "file:+1/model.onnx",
            &long,
        ] {
            let refused = LoadParameter::parse(name);
            assert!(
                matches!(refused, Err(LoadParameterError::FileName(_))),
                "{name:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn files_need_a_configuration_and_are_given_once() {
        let version = Version::FIRST;
        let model = ModelName::new("m").unwrap();
        let mut parameters = LoadParameters::new(&model);
        let mut add = |name| parameters.add_file("file:1/a", (version, name), Bytes::new());
        assert_eq!((add("a"), add("b")), (Ok(()), Ok(())));
        assert!(matches!(add("a"), Err(LoadParameterError::RepeatedFile(_))));
        let refused = parameters.finish();
        assert_eq!(refused, Err(LoadParameterError::FilesWithoutConfig));
        let mut many = LoadParameters::new(&model);
        many.set_config("{}").unwrap();
        for number in 0..MAX_FILES {
            let added = many.add_file("file", (version, &number.to_string()), Bytes::new());
            assert_eq!(added, Ok(()));
        }
        let refused = many.add_file("file", (version, "x"), Bytes::new());
        assert_eq!(refused, Err(LoadParameterError::TooManyFiles));
        assert_eq!(
            many.finish().map(|request| request.files.len()),
            Ok(MAX_FILES)
        );
    }
}
