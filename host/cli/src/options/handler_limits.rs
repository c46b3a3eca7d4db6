//! The limits of handlers, for every command that runs them.

use super::{Milliseconds, value};
use clap::Args;
use wisp_sandbox::limits::Limits;

/// The limits of one handler, and of one call of it. A model's `[limits]` lower those of a call.
#[derive(Debug, Args)]
pub(crate) struct HandlerLimitArgs {
    /// Size in bytes of a handler.wasm that is loaded. A larger limit gives its compiler more time and memory in
    /// proportion.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MAX_COMPONENT_BYTES",
        default_value_t = Limits::default().component_bytes,
        value_parser = value::at_least_one
    )]
    pub(crate) max_component_bytes: usize,

    /// Linear memory in bytes that a handler may use for one request. `limits.memory_bytes` in model.toml
    /// lowers it for a model. At most 4294967296.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MAX_HANDLER_MEMORY_BYTES",
        default_value_t = Limits::default().memory_bytes,
        value_parser = value::linear_memory
    )]
    pub(crate) max_handler_memory_bytes: usize,

    /// Bytes of tensors that the host may hold for a handler during one request, which are the inputs and
    /// outputs of its graphs. `limits.tensor_bytes` in model.toml lowers it for a model.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MAX_HANDLER_TENSOR_BYTES",
        default_value_t = Limits::default().tensor_bytes,
        value_parser = value::at_least_one
    )]
    pub(crate) max_handler_tensor_bytes: usize,

    /// Bytes that a handler may pass to the host at once: its response, or one tensor.
    /// `limits.transfer_bytes` in model.toml lowers it for a model.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MAX_HANDLER_TRANSFER_BYTES",
        default_value_t = Limits::default().transfer_bytes,
        value_parser = value::at_least_one
    )]
    pub(crate) max_handler_transfer_bytes: usize,

    /// Processor time of a handler's own code for one request; computing and waiting are not counted.
    /// `limits.guest_time_milliseconds` in model.toml lowers it for a model.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_MAX_HANDLER_TIME_MILLISECONDS",
        default_value_t = Milliseconds(Limits::default().guest_time)
    )]
    pub(crate) max_handler_time_milliseconds: Milliseconds,
}

impl HandlerLimitArgs {
    /// Returns the limits of handlers whose models set none.
    pub(crate) fn limits(&self) -> Limits {
        let HandlerLimitArgs {
            max_component_bytes,
            max_handler_memory_bytes,
            max_handler_tensor_bytes,
            max_handler_transfer_bytes,
            max_handler_time_milliseconds: Milliseconds(guest_time),
        } = *self;
        Limits {
            component_bytes: max_component_bytes,
            memory_bytes: max_handler_memory_bytes,
            tensor_bytes: max_handler_tensor_bytes,
            transfer_bytes: max_handler_transfer_bytes,
            guest_time,
            ..Limits::default()
        }
    }
}
