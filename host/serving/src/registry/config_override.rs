//! The settings of a model configuration that a client sends with a load, which replace keys of `model.toml`.
//!
//! The inputs and outputs of a configuration declare what the client expects. They are compared with the signature of
//! the loaded version and change nothing.

use crate::registry::batching::{Batching, BatchingError, policy_of_configuration};
use crate::registry::model_file::{
    BackendChoice, ModelFile, NamedPolicy, VersionPolicy, max_threads,
};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use wisp_backend::Device;
use wisp_protocol::call::{ModelDescription, ModelName};
use wisp_protocol::load::{DeclaredTensor, LoadConfig, VersionSelection};
use wisp_tensor::{Dimension, ElementType, TensorSpec};

/// The reason that a configuration does not fit the model or the server. The message is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigOverrideError {
    #[error("`config` is for model `{name}`")]
    OtherModel { name: String },
    #[error("`config` has {instances} instances, the limit on this machine is {limit}")]
    TooManyInstances {
        instances: NonZeroUsize,
        limit: usize,
    },
    #[error("`config`: dynamic_batching: {0}")]
    Batching(#[from] BatchingError),
    #[error("`config` declares {kind} `{name}`, which the model does not have")]
    UnknownTensor { kind: &'static str, name: String },
    #[error("`config` declares {kind} `{name}` as {declared}, and the model's is {actual}")]
    ElementType {
        kind: &'static str,
        name: String,
        declared: ElementType,
        actual: ElementType,
    },
    #[error(
        "`config` declares {kind} `{name}` with dims {}, and the model's are {}",
        sizes(declared),
        sizes(actual)
    )]
    Dimensions {
        kind: &'static str,
        name: String,
        declared: Vec<Dimension>,
        actual: Vec<Dimension>,
    },
}

fn sizes(dimensions: &[Dimension]) -> String {
    let sizes: Vec<i64> = dimensions.iter().map(|size| size.to_wire()).collect();
    format!("{sizes:?}")
}

/// Returns an error if the configuration names another model.
pub(super) fn check_name(
    config: &LoadConfig,
    model: &ModelName,
) -> Result<(), ConfigOverrideError> {
    match &config.name {
        Some(name) if name != model.as_str() => {
            Err(ConfigOverrideError::OtherModel { name: name.clone() })
        }
        _ => Ok(()),
    }
}

/// Replaces the settings of the model file that the configuration has.
pub(super) fn override_settings(
    config: &LoadConfig,
    model_file: &mut ModelFile,
) -> Result<(), ConfigOverrideError> {
    let LoadConfig {
        // These are compared with the model.
        name: _,
        inputs: _,
        // The main file is one of the files of a version.
        default_model_filename: _,
        backend,
        gpu,
        max_batch_size,
        versions,
        response_cache,
        instances,
        parameters,
        dynamic_batching,
        outputs,
    } = config;
    if let Some(is_enabled) = response_cache {
        model_file.cache.enabled = *is_enabled;
    }
    if let Some(backend) = backend {
        model_file.backend = Some(BackendChoice::from(backend.clone()));
    }
    if let Some(gpu) = gpu {
        model_file.device = Some(Device::Cuda(*gpu));
    }
    if max_batch_size.is_some() {
        model_file.max_batch_size = *max_batch_size;
    }
    if let Some(batching) = dynamic_batching {
        let policy = policy_of_configuration(batching, model_file.max_batch_size)?;
        model_file.batching = Batching::Dynamic(policy);
    }
    if let Some(versions) = versions {
        model_file.versions = policy(versions);
    }
    if let Some(instances) = *instances {
        let limit = max_threads();
        if instances.get() > limit {
            return Err(ConfigOverrideError::TooManyInstances { instances, limit });
        }
        model_file.instances = Some(instances);
    }
    if let Some(parameters) = parameters {
        model_file.parameters.clone_from(parameters);
    }
    for output in outputs {
        if let Some(labels) = &output.labels {
            let section = model_file.outputs.entry(output.name.clone()).or_default();
            section.labels = Some(PathBuf::from(labels));
        }
    }
    Ok(())
}

pub(super) fn policy(versions: &VersionSelection) -> VersionPolicy {
    match versions {
        VersionSelection::Latest(latest) => VersionPolicy::Newest { latest: *latest },
        VersionSelection::All => VersionPolicy::Named(NamedPolicy::All),
        VersionSelection::Specific(numbers) => VersionPolicy::Specific(numbers.clone()),
    }
}

/// Compares the declared inputs and outputs with the model's.
pub(super) fn check_declarations(
    config: &LoadConfig,
    model: &ModelDescription,
) -> Result<(), ConfigOverrideError> {
    let signature = &model.signature;
    let batch_axes = usize::from(model.max_batch_size > 0);
    for (kind, declared, specs) in [
        ("input", &config.inputs, &signature.inputs),
        ("output", &config.outputs, &signature.outputs),
    ] {
        for tensor in declared {
            let spec = specs.iter().find(|spec| spec.name == tensor.name);
            let spec = spec.ok_or_else(|| ConfigOverrideError::UnknownTensor {
                kind,
                name: tensor.name.clone(),
            })?;
            check_tensor((kind, tensor), spec, batch_axes)?;
        }
    }
    Ok(())
}

fn check_tensor(
    (kind, declared): (&'static str, &DeclaredTensor),
    spec: &TensorSpec,
    batch_axes: usize,
) -> Result<(), ConfigOverrideError> {
    let name = || declared.name.clone();
    if let Some(element_type) = declared.element_type
        && element_type != spec.element_type
    {
        return Err(ConfigOverrideError::ElementType {
            kind,
            name: name(),
            declared: element_type,
            actual: spec.element_type,
        });
    }
    let Some(sizes) = &declared.dimensions else {
        return Ok(());
    };
    let actual = spec.shape.get(batch_axes..).unwrap_or_default();
    let fits = |(one, other): (&Dimension, &Dimension)| match (one, other) {
        (Dimension::Fixed(one), Dimension::Fixed(other)) => one == other,
        (Dimension::Variable, _) | (_, Dimension::Variable) => true,
    };
    match sizes.len() == actual.len() && sizes.iter().zip(actual).all(fits) {
        true => Ok(()),
        false => Err(ConfigOverrideError::Dimensions {
            kind,
            name: name(),
            declared: sizes.clone(),
            actual: actual.to_vec(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batcher::policy::BatchPolicy;
    use std::collections::BTreeMap;
    use std::time::Duration;
    use wisp_protocol::call::Version;
    use wisp_protocol::dynamic_batching::DynamicBatching;
    use wisp_tensor::Signature;

    #[test]
    fn the_settings_of_a_configuration_replace_those_of_the_model_file() -> anyhow::Result<()> {
        let mut model_file = ModelFile {
            max_batch_size: Some(1),
            parameters: BTreeMap::from([("stride".to_owned(), "16".to_owned())]),
            threads: NonZeroUsize::new(2),
            ..ModelFile::default()
        };
        override_settings(&LoadConfig::default(), &mut model_file)?;
        assert_eq!(model_file.max_batch_size, Some(1));
        assert_eq!(model_file.parameters["stride"], "16");
        let config = LoadConfig {
            backend: Some("rten".to_owned()),
            gpu: Some(1),
            max_batch_size: Some(0),
            versions: Some(VersionSelection::Specific(vec![2])),
            response_cache: Some(true),
            dynamic_batching: Some(DynamicBatching {
                max_queue_delay_microseconds: 10_000,
                ..DynamicBatching::default()
            }),
            instances: NonZeroUsize::new(3),
            parameters: Some(BTreeMap::from([("names".to_owned(), "{}".to_owned())])),
            outputs: vec![DeclaredTensor {
                name: "y".to_owned(),
                element_type: None,
                dimensions: None,
                labels: Some("1/labels.txt".to_owned()),
            }],
            ..LoadConfig::default()
        };
        override_settings(&config, &mut model_file)?;
        let backend = BackendChoice::Named("rten".to_owned());
        assert_eq!(model_file.backend, Some(backend));
        assert_eq!(model_file.device, Some(Device::Cuda(1)));
        assert_eq!(model_file.max_batch_size, Some(0));
        assert_eq!(model_file.versions, VersionPolicy::Specific(vec![2]));
        assert_eq!(model_file.instances, NonZeroUsize::new(3));
        assert!(model_file.cache.enabled);
        let batching = BatchPolicy {
            max_queue_delay: Duration::from_millis(10),
            ..BatchPolicy::default()
        };
        assert_eq!(model_file.batching, Batching::Dynamic(batching));
        let names = [("names".to_owned(), "{}".to_owned())];
        assert_eq!(model_file.parameters, BTreeMap::from(names));
        assert_eq!(
            model_file.threads,
            NonZeroUsize::new(2),
            "it is not a setting of Triton"
        );
        let labels = model_file.outputs["y"].labels.as_deref();
        assert_eq!(labels, Some(std::path::Path::new("1/labels.txt")));
        let many = LoadConfig {
            instances: NonZeroUsize::new(1_000_000),
            ..LoadConfig::default()
        };
        let refused = override_settings(&many, &mut model_file);
        assert!(matches!(
            refused,
            Err(ConfigOverrideError::TooManyInstances { .. })
        ));
        let preferred = LoadConfig {
            max_batch_size: Some(8),
            dynamic_batching: Some(DynamicBatching {
                preferred_batch_size: vec![16],
                ..DynamicBatching::default()
            }),
            ..LoadConfig::default()
        };
        let refused = override_settings(&preferred, &mut model_file);
        assert_eq!(
            refused.map_err(|error| error.to_string()),
            Err(
                "`config`: dynamic_batching: `preferred_batch_size` has 16, expected 1 to 8, the `max_batch_size`"
                    .to_owned()
            )
        );
        Ok(())
    }

    #[test]
    fn declarations_must_agree_with_the_model() -> anyhow::Result<()> {
        let model = ModelDescription {
            model: ModelName::new("m")?,
            version: Version::FIRST,
            platform: "tract_onnx".to_owned(),
            max_batch_size: 8,
            max_rows: None,
            class_labels: BTreeMap::new(),
            properties: BTreeMap::new(),
            configuration: Default::default(),
            signature: Signature {
                inputs: vec![TensorSpec {
                    name: "x".to_owned(),
                    element_type: ElementType::Fp32,
                    shape: vec![Dimension::Variable, Dimension::Fixed(2)],
                    optional: false,
                }],
                outputs: Vec::new(),
            },
        };
        let check = |name: &str, element_type, sizes: &[i64]| {
            let sizes = sizes.iter().filter_map(|size| Dimension::from_wire(*size));
            let config = LoadConfig {
                inputs: vec![DeclaredTensor {
                    name: name.to_owned(),
                    element_type: Some(element_type),
                    dimensions: Some(sizes.collect()),
                    labels: None,
                }],
                ..LoadConfig::default()
            };
            check_declarations(&config, &model).map_err(|error| error.to_string())
        };
        assert_eq!(check("x", ElementType::Fp32, &[2]), Ok(()));
        assert_eq!(check("x", ElementType::Fp32, &[-1]), Ok(()));
        for (refused, text) in [
            (
                check("z", ElementType::Fp32, &[2]),
                "`config` declares input `z`, which the model does not have",
            ),
            (
                check("x", ElementType::Int8, &[2]),
                "`config` declares input `x` as INT8, and the model's is FP32",
            ),
            (
                check("x", ElementType::Fp32, &[3]),
                "`config` declares input `x` with dims [3], and the model's are [2]",
            ),
            (
                check("x", ElementType::Fp32, &[-1, 2]),
                "`config` declares input `x` with dims [-1, 2], and the model's are [2]",
            ),
        ] {
            assert_eq!(refused, Err(text.to_owned()));
        }
        let other = LoadConfig {
            name: Some("other".to_owned()),
            ..LoadConfig::default()
        };
        let refused = check_name(&other, &model.model).map_err(|error| error.to_string());
        assert_eq!(refused, Err("`config` is for model `other`".to_owned()));
        Ok(())
    }
}
