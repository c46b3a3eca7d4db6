//! Finds the sizes at which a graph computes, for its variable axes besides the batch.

use crate::cancellation::Cancellation;
use crate::error::BackendError;
use crate::sample::{Element, Sample};
use wisp_tensor::{Dimension, NamedTensor, Signature};

/// The sizes tried for variable axes other than the batch when a graph is loaded. Graphs over tokens or
/// columns accept 1. Graphs that shrink images by strides accept 32, or 224, the usual training size.
/// Graphs over sound need hundreds of samples.
const PROBE_SIZES: [u32; 4] = [1, 32, 224, 1024];

/// The number of elements above which an input is not tried: a 1024 x 1024 image reveals nothing that 224 did not.
const MAX_PROBE_ELEMENTS: usize = 1 << 20;

/// The reason that a graph computes at none of the sizes tried.
pub(crate) enum ProbeError {
    /// The graph did not finish in time.
    TooSlow,
    /// The reason that the graph refused the first size.
    Refused(String),
}

/// The time limit for computing a sample. A graph that needs longer meets no deadline of a request.
#[cfg(feature = "threads")]
const MAX_TIME: std::time::Duration = std::time::Duration::from_secs(20);

/// The remaining time for computing a sample.
pub(crate) struct TimeLimit {
    cancellation: Cancellation,
    #[cfg(feature = "threads")]
    _watched: crate::deadline::Watched,
}

impl TimeLimit {
    pub(crate) fn start() -> TimeLimit {
        let cancellation = Cancellation::new();
        TimeLimit {
            #[cfg(feature = "threads")]
            _watched: crate::deadline::cancel_at(
                &cancellation,
                std::time::Instant::now() + MAX_TIME,
            ),
            cancellation,
        }
    }

    /// Returns the flag that is set at the end of the time limit.
    pub(crate) fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }
}

/// Returns the smallest of a few sizes for the variable axes besides the batch at which `compute`
/// succeeds. The elements are zeros, or ones if the graph divides by its inputs. On failure, returns
/// the reason at the first size.
pub(crate) fn probe(
    signature: &Signature,
    compute: impl Fn(&[NamedTensor]) -> Result<(), BackendError>,
) -> Result<Sample, ProbeError> {
    let only_batch = signature
        .inputs
        .iter()
        .all(|spec| !spec.shape.iter().skip(1).any(|d| *d == Dimension::Variable));
    let sizes = match only_batch {
        true => &PROBE_SIZES[..1],
        false => &PROBE_SIZES[..],
    };
    let mut first_reason = None;
    let samples = sizes.iter().flat_map(|&size| {
        let elements = [Element::Zero, Element::One];
        elements.map(|element| Sample { size, element })
    });
    for sample in samples {
        let inputs = match sample.inputs(signature) {
            Ok(inputs) => inputs,
            Err(error) => {
                first_reason.get_or_insert(format!("an input cannot be created: {error}"));
                break;
            }
        };
        let elements = |input: &NamedTensor| input.tensor.shape().elements();
        if sample.size > 1 && inputs.iter().any(|i| elements(i) > MAX_PROBE_ELEMENTS) {
            break;
        }
        match compute(&inputs) {
            Ok(()) => return Ok(sample),
            Err(BackendError::Cancelled) => return Err(ProbeError::TooSlow),
            Err(error) => first_reason.get_or_insert(error.into_reason()),
        };
    }
    Err(ProbeError::Refused(first_reason.unwrap_or_default()))
}

impl ProbeError {
    pub(crate) fn into_reason(self) -> String {
        match self {
            ProbeError::TooSlow => "it does not finish computing a sample of zeros".to_owned(),
            ProbeError::Refused(reason) => reason,
        }
    }
}
