//! TensorFlow Serving over gRPC: tensors or examples in, tensors, classes or numbers out.
//!
//! [`target()`] resolves the model of a request. [`TfsPredictDecoder`] and [`TfsPredictEncoder`] convert
//! tensors (`tensor`); [`ClassifyDecoder`], [`RegressDecoder`] and [`MultiInferenceDecoder`] build the inputs
//! from examples (`example`), and their encoders read classes or numbers from the outputs (`classify`,
//! `multi`). `metadata` describes models and their states; `reload` parses the set of models to serve.
//!
//! The only signature is `serving_default`, the model's own. Version 0 means the latest: clients send it
//! if they were not given a version. As in V2, the caller checks that names, datatypes and shapes match
//! the model.
//!
//! Invariant: the `limit` of a decoder bounds, in bytes, the memory that all repeated fields of one request
//! are widened, repeated or copied to, before it is allocated.

mod budget;
mod classify;
mod error;
mod example;
mod metadata;
mod model_spec;
mod multi;
mod predict;
mod reload;
mod tensor;

pub use classify::{ClassifyDecoder, ClassifyEncoder, RegressDecoder, RegressEncoder};
pub use metadata::{check_metadata_fields, model_metadata, model_status};
pub use model_spec::target;
pub use multi::{MultiInferenceDecoder, MultiInferenceEncoder, multi_target};
pub use predict::{TfsPredictDecoder, TfsPredictEncoder};
pub use reload::{decode_reload, reloaded};
