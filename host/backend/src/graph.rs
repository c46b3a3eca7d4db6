//! The trait of graphs that backends have loaded.

use crate::cancellation::Cancellation;
use crate::error::BackendError;
use crate::rows::Rows;
use crate::sample::sample_inputs;
use std::num::NonZeroUsize;
use wisp_tensor::{NamedTensor, Signature, TensorError};

/// A loaded model. Lifetime: a model version.
pub trait Graph: Send + Sync + std::fmt::Debug {
    /// Returns names, element types and shapes, with the variable axes that the file declares.
    fn signature(&self) -> &Signature;

    /// Returns the relation between the rows of a batch, as far as the file shows it.
    fn rows(&self) -> Rows {
        Rows::Dependent {
            reason: "nothing is known of the graph's operators".to_owned(),
        }
    }

    /// Computes every output for `inputs` on this thread.
    ///
    /// The caller has checked the inputs against [`Graph::signature`]; the outputs are
    /// in the order of the signature.
    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError>;

    /// Computes as [`Graph::compute`] does, or returns `None` if inputs of these sizes need a
    /// preparation, which takes milliseconds up to seconds.
    fn compute_prepared(
        &self,
        inputs: &[NamedTensor],
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        Some(self.compute(inputs))
    }

    /// Computes as [`Graph::compute`] does until `cancellation` is set. It then soon returns
    /// [`BackendError::Cancelled`], between two operators of the graph.
    fn compute_cancellable(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Result<Vec<NamedTensor>, BackendError> {
        match cancellation.is_cancelled() {
            true => Err(BackendError::Cancelled),
            false => self.compute(inputs),
        }
    }

    /// Computes as [`Graph::compute_prepared`] does until `cancellation` is set.
    fn compute_prepared_cancellable(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        match cancellation.is_cancelled() {
            true => Some(Err(BackendError::Cancelled)),
            false => self.compute_prepared(inputs),
        }
    }

    /// Returns inputs that this graph computes, for warming it and for measuring its compute time.
    ///
    /// They are all zeros with a batch of one, if the graph accepts that, and without optional inputs. Other
    /// variable axes have the first of the usual sizes that the graph accepted.
    fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
        sample_inputs(self.signature())
    }

    /// Returns the number of sets of input sizes for which the graph keeps a preparation. A further set makes it drop
    /// the one that was used the longest time ago, and to prepare takes far longer than to compute. Returns `None` if
    /// the graph does not prepare for sizes.
    fn preparation_capacity(&self) -> Option<NonZeroUsize> {
        None
    }

    /// Drops the preparation for inputs of these shapes, if there is one.
    fn forget_preparation(&self, inputs: &[NamedTensor]) {
        let _ = inputs;
    }

    /// Returns the declarations of the file that computing has shown to be wrong, as sentences for a warning.
    /// The signature contains the computed shapes instead.
    fn wrong_declarations(&self) -> &[String] {
        &[]
    }
}
