//! The limits on the parts of a request, and the reserved parameters, over HTTP and gRPC alike.

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

/// Returns whether the protocol, as implemented by Triton, defines this parameter. Reserved
/// parameters are not passed to handlers; those listed here are accepted and have no effect.
pub(crate) fn is_reserved(name: &str) -> bool {
    let known = [
        "sequence_id",
        "sequence_start",
        "sequence_end",
        "priority",
        "timeout",
        "headers",
    ];
    known.contains(&name) || name.starts_with("triton_")
}
