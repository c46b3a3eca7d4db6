//! Finds the sizes at which a graph computes, for its variable axes besides the batch.

use crate::sample::{Element, Sample};
use crate::{BackendError, Cancellation};
use wisp_tensor::{Dimension, NamedTensor, Signature};

/// Sizes tried for variable axes other than the batch when a graph is loaded. Graphs over tokens
/// or columns take 1; those that shrink images by strides take 32, or 224 as most were trained
/// with; those over sound need hundreds of samples.
const PROBE_SIZES: [u32; 4] = [1, 32, 224, 1024];

/// Elements beyond which an input is not tried: a 1024 x 1024 image says nothing that 224 did not.
const MAX_PROBE_ELEMENTS: usize = 1 << 20;

/// Why a graph computes at none of the sizes tried.
pub(crate) enum Unprobed {
    /// It did not finish in time.
    TooSlow,
    /// It refused the first of them so.
    Refused(String),
}

/// How long a sample may be computed; a graph that needs longer meets no deadline of a request.
#[cfg(feature = "threads")]
const MAX_TIME: std::time::Duration = std::time::Duration::from_secs(20);

/// The time that a sample may be computed, from now on.
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

    /// Set when the time is over.
    pub(crate) fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }
}

/// The smallest of a few sizes for the variable axes besides the batch at which `compute` succeeds with
/// zeros, or with ones where the graph divides by what it is given; or why it fails at the first of them.
pub(crate) fn probe(
    signature: &Signature,
    compute: impl Fn(&[NamedTensor]) -> Result<(), BackendError>,
) -> Result<Sample, Unprobed> {
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
                first_reason.get_or_insert(format!("an input cannot be made: {error}"));
                break;
            }
        };
        let elements = |input: &NamedTensor| input.tensor.shape().elements();
        if sample.size > 1 && inputs.iter().any(|i| elements(i) > MAX_PROBE_ELEMENTS) {
            break;
        }
        match compute(&inputs) {
            Ok(()) => return Ok(sample),
            Err(BackendError::Cancelled) => return Err(Unprobed::TooSlow),
            Err(error) => first_reason.get_or_insert(error.into_reason()),
        };
    }
    Err(Unprobed::Refused(first_reason.unwrap_or_default()))
}

impl Unprobed {
    pub(crate) fn into_reason(self) -> String {
        match self {
            Unprobed::TooSlow => "it does not finish computing a sample of zeros".to_owned(),
            Unprobed::Refused(reason) => reason,
        }
    }
}
