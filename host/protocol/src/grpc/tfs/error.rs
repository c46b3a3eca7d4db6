//! Errors in the messages of this protocol.

use crate::call::ModelName;
use crate::error::{ErrorKind, HasErrorKind};
use crate::grpc::row_shape::RowShapeError;
use crate::quoted::Quoted;
use crate::tfs::classes::RoleError;
use wisp_tensor::{ElementType, Shape, TensorError};

/// The error for a message that is not a valid request. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("signature {0} is not found, this server has only `serving_default`")]
    Signature(Quoted),
    #[error("the model has {expected} inputs, the request gives {actual}")]
    TooManyInputs { expected: usize, actual: usize },
    #[error("the model has {expected} outputs, the request names {actual}")]
    TooManyOutputs { expected: usize, actual: usize },
    #[error("output {0} is requested twice")]
    RepeatedOutput(Quoted),
    #[error("the name of an input or output is longer than {limit} bytes")]
    LongName { limit: usize },
    #[error("input {name}: {error}")]
    Input { name: Quoted, error: InputError },
    #[error("the request has no examples")]
    NoExamples,
    #[error("example {example} has no feature {name}")]
    NoFeature { example: usize, name: Quoted },
    #[error("example {example}, feature {name}: {error}")]
    Feature {
        example: usize,
        name: Quoted,
        error: InputError,
    },
    #[error("axis 0 of this model is not a batch axis, so it has no rows: use Predict")]
    NoBatchAxis,
    #[error(transparent)]
    Role(#[from] RoleError),
    #[error(
        "method {0} is not one of `tensorflow/serving/classify` and `tensorflow/serving/regress`"
    )]
    Method(Quoted),
    #[error("the request has more than {limit} tasks")]
    TooManyTasks { limit: usize },
    #[error("metadata field {0} is not supported by this server, ask for `signature_def`")]
    MetadataField(Quoted),
    #[error("the request names no metadata field, ask for `signature_def`")]
    NoMetadataField,
    #[error("the request has no `model_config_list`")]
    NoConfig,
    #[error("`custom_model_config` is not supported by this server: send a `model_config_list`")]
    CustomConfig,
    #[error("the configuration has a model without a valid name: {0}")]
    ConfigName(Quoted),
    #[error("model `{0}` is in the configuration twice")]
    RepeatedModel(ModelName),
    #[error(
        "`{field}` of model `{model}` is not supported by this server: set it in the model's \
         model.toml"
    )]
    ConfigField {
        model: ModelName,
        field: &'static str,
    },
}

/// An error in one input, or in one feature for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InputError {
    #[error("datatype {0} of TensorFlow is not supported by this server")]
    Datatype(i32),
    #[error("its rank is unknown")]
    UnknownRank,
    #[error("dimension {0} of its shape is not a number from 0 to 4294967295")]
    Dimension(i64),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("it has both `tensor_content` and `{list}`")]
    TwoContents { list: &'static str },
    #[error("strings belong in `string_val`, not in `tensor_content`")]
    StringContent,
    #[error("the elements of {element_type} belong in `{expected}`, not in `{actual}`")]
    OtherList {
        element_type: ElementType,
        expected: &'static str,
        actual: &'static str,
    },
    #[error("shape {shape} takes {} elements, `{list}` contains {actual}", shape.elements())]
    Count {
        shape: Shape,
        list: &'static str,
        actual: usize,
    },
    #[error("element {position} does not fit in {element_type}")]
    Element {
        position: usize,
        element_type: ElementType,
    },
    #[error(
        "the request's tensors take more than the limit of {limit} bytes, which --max-body-bytes sets"
    )]
    TooLarge { limit: usize },
    #[error("the input has no axis to count examples")]
    NoAxis,
    #[error("{0} has no form in an example: use Predict")]
    NoExampleForm(ElementType),
    #[error("{element_type} belongs in a `{expected}`")]
    FeatureKind {
        element_type: ElementType,
        expected: &'static str,
    },
    #[error("it has {actual} elements, in the first example it has {expected}")]
    Ragged { expected: usize, actual: usize },
    #[error(transparent)]
    Row(#[from] RowShapeError),
}

impl HasErrorKind for DecodeError {
    fn kind(&self) -> ErrorKind {
        match self {
            DecodeError::Input {
                error: InputError::TooLarge { .. },
                ..
            }
            | DecodeError::Feature {
                error: InputError::TooLarge { .. },
                ..
            } => ErrorKind::TooLarge,
            DecodeError::CustomConfig | DecodeError::ConfigField { .. } => {
                ErrorKind::NotImplemented
            }
            _ => ErrorKind::InvalidRequest,
        }
    }
}
