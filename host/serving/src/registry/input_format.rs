//! The reasons that the format of an input in `model.toml` cannot be used.

use crate::registry::model_file::FILE_NAME;
use wisp_tensor::ImageLayout;

/// The reason that a format in `model.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputFormatError {
    #[error("{FILE_NAME} has a format for input `{input}`, which the model does not have")]
    UnknownInput { input: String },
    #[error(
        "inputs.{input}.format in {FILE_NAME} is for images, which have {} axes besides a batch axis, and the \
         input has shape {shape}: remove it, or correct `max_batch_size`",
        ImageLayout::AXES
    )]
    Axes { input: String, shape: String },
}
