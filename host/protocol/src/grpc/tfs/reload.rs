//! The set of models to serve, from a TensorFlow Serving configuration.
//!
//! The repository determines a model's location and the versions and labels that are served. `base_path`
//! and `model_platform`, which the format requires, are therefore ignored, and a configuration that
//! chooses versions or labels is refused rather than partly applied.

use super::error::DecodeError;
use crate::call::ModelName;
use crate::codec::CodecError;
use crate::grpc::message::tensorflow::serving::model_server_config::Config;
use crate::grpc::message::tensorflow::serving::{
    ReloadConfigRequest, ReloadConfigResponse, StatusProto,
};
use crate::quoted::Quoted;

/// Returns the models to serve, exclusively.
pub fn decode_reload(message: &ReloadConfigRequest) -> Result<Vec<ModelName>, CodecError> {
    let config = message.config.as_ref();
    let list = match config.and_then(|config| config.config.as_ref()) {
        Some(Config::ModelConfigList(list)) => list,
        Some(Config::CustomModelConfig(_)) => return Err(DecodeError::CustomConfig.into()),
        None => return Err(DecodeError::NoConfig.into()),
    };
    let mut models = Vec::new();
    for config in &list.config {
        let name = ModelName::new(&config.name);
        let model = name.map_err(|_| DecodeError::ConfigName(Quoted::new(&config.name)))?;
        let refused = |field| {
            let model = model.clone();
            Err(DecodeError::ConfigField { model, field }.into())
        };
        if config.model_version_policy.is_some() {
            return refused("model_version_policy");
        }
        if !config.version_labels.is_empty() {
            return refused("version_labels");
        }
        models.push(model);
    }
    models.sort_unstable();
    if let Some(pair) = models.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(DecodeError::RepeatedModel(pair[0].clone()).into());
    }
    Ok(models)
}

/// Returns the response once all of them are served.
pub fn reloaded() -> ReloadConfigResponse {
    ReloadConfigResponse {
        status: Some(StatusProto::default()),
        metric: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::grpc::message::tensorflow::serving::{
        ModelConfig, ModelConfigList, ModelServerConfig,
    };

    fn decode(config: Option<Config>) -> Result<Vec<String>, ErrorKind> {
        let message = ReloadConfigRequest {
            config: Some(ModelServerConfig { config }),
            metric_names: Vec::new(),
        };
        let models = decode_reload(&message).map_err(|error| error.kind())?;
        Ok(models.iter().map(ModelName::to_string).collect())
    }

    fn list(configs: impl IntoIterator<Item = ModelConfig>) -> Option<Config> {
        let config = configs.into_iter().collect();
        Some(Config::ModelConfigList(ModelConfigList { config }))
    }

    fn model(name: &str) -> ModelConfig {
        ModelConfig {
            name: name.to_owned(),
            base_path: format!("/models/{name}"),
            model_platform: "tensorflow".to_owned(),
            ..ModelConfig::default()
        }
    }

    #[test]
    fn a_list_names_the_models_and_repository_settings_are_rejected() {
        let names = Ok(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(decode(list([model("b"), model("a")])), names);
        assert_eq!(decode(list([])), Ok(Vec::new()));
        let (mut policy, mut labels) = (model("a"), model("a"));
        policy.model_version_policy = Some(Default::default());
        labels.version_labels.insert("stable".to_owned(), 1);
        for (config, kind) in [
            (None, ErrorKind::InvalidRequest),
            (list([model("../a")]), ErrorKind::InvalidRequest),
            (list([model("a"), model("a")]), ErrorKind::InvalidRequest),
            (list([policy]), ErrorKind::NotImplemented),
            (list([labels]), ErrorKind::NotImplemented),
            (
                Some(Config::CustomModelConfig(Default::default())),
                ErrorKind::NotImplemented,
            ),
        ] {
            assert_eq!(decode(config), Err(kind));
        }
    }
}
