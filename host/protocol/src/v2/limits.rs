//! The limits on the parts of a request, and the reserved parameters, over HTTP and gRPC alike.

use crate::call::Scheduling;
use std::time::Duration;
use wisp_tensor::ParameterValue;

/// The maximum length of the name of an input, output or parameter: more than any model needs, and
/// short enough to pass on.
pub(crate) const MAX_NAME_BYTES: usize = 1024;

/// The maximum length of the id of a request, which its response repeats.
pub(crate) const MAX_ID_BYTES: usize = 1024;

/// The maximum number of inputs or of outputs in one request. Models in use have a few hundred at most.
pub(crate) const MAX_TENSORS: usize = 1024;

/// The maximum number of parameters in one request, which are settings, not content. Reserved ones
/// do not count.
pub(crate) const MAX_PARAMETERS: usize = 256;

/// A parameter that the protocol, as implemented by Triton, defines. It is not passed to handlers, and its value is
/// checked as in Triton, by the kind that it must be of. Only the ones of [`schedule`] have an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReservedParameter {
    Any,
    Bool,
    Natural,
    NaturalOrString,
}

impl ReservedParameter {
    /// Returns the reserved parameter with this name, if there is one.
    pub(crate) fn from_name(name: &str) -> Option<ReservedParameter> {
        match name {
            "sequence_id" => Some(ReservedParameter::NaturalOrString),
            "sequence_start" | "sequence_end" => Some(ReservedParameter::Bool),
            "priority" | "timeout" => Some(ReservedParameter::Natural),
            "headers" => Some(ReservedParameter::Any),
            name => name
                .starts_with("triton_")
                .then_some(ReservedParameter::Any),
        }
    }

    /// Returns whether the parameter may have this value.
    pub(crate) fn takes(self, value: &ParameterValue) -> bool {
        let is_natural = match value {
            ParameterValue::Int64(number) => *number >= 0,
            ParameterValue::Uint64(_) => true,
            _ => false,
        };
        match self {
            ReservedParameter::Any => true,
            ReservedParameter::Bool => matches!(value, ParameterValue::Bool(_)),
            ReservedParameter::Natural => is_natural,
            ReservedParameter::NaturalOrString => {
                is_natural || matches!(value, ParameterValue::String(_))
            }
        }
    }

    /// Returns a description of its values, for error messages.
    pub(crate) fn expected(self) -> &'static str {
        match self {
            ReservedParameter::Any => "any value",
            ReservedParameter::Bool => "true or false",
            ReservedParameter::Natural => "an integer that is not negative",
            ReservedParameter::NaturalOrString => "an integer that is not negative, or a string",
        }
    }
}

/// Applies the reserved parameters `priority` and `timeout`, the latter in microseconds; others change nothing. A
/// timeout of 0 is none. An out-of-range priority means the default one.
pub(crate) fn schedule(scheduling: &mut Scheduling, name: &str, value: &ParameterValue) {
    let number = match value {
        ParameterValue::Int64(number) => u64::try_from(*number).unwrap_or_default(),
        ParameterValue::Uint64(number) => *number,
        _ => return,
    };
    match name {
        "priority" => scheduling.priority = u32::try_from(number).unwrap_or(u32::MAX),
        "timeout" => {
            scheduling.timeout = (number > 0).then(|| Duration::from_micros(number));
        }
        _ => {}
    }
}
