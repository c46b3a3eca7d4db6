//! The interface of wasi:logging as wasmtime links it.

use super::LogLevel;
use crate::instance::InstanceState;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};
use wisp_tensor::sanitize::shorten;

pub(crate) const LOGGING: &str = "wasi:logging/logging@0.1.0-draft";

/// The context of the message with which the SDK reports a panic, at the level `critical`. The panic then
/// traps.
const PANIC_CONTEXT: &str = "panic";

/// The maximum number of bytes of a message that are read; the rest is cut off.
const MAX_MESSAGE_BYTES: usize = 4096;

/// The maximum number of characters of a context.
const MAX_CONTEXT: usize = 100;

/// The maximum number of characters of a panic message, with its place.
const MAX_PANIC: usize = 1000;

/// Links `log`.
pub(crate) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    linker.instance(LOGGING)?.func_wrap(
        "log",
        |mut store: StoreContextMut<'_, InstanceState>,
         (level, context, message): (LogLevel, WasmStr, WasmStr)| {
            // The guest traps after a panic, so only the first such message is a panic.
            if level == LogLevel::Critical && store.data().log.panic.is_none() {
                let is_panic = context.to_str(&store)? == PANIC_CONTEXT;
                if is_panic {
                    let panic = shorten(&message.to_str(&store)?, MAX_PANIC);
                    store.data_mut().log.panic = Some(panic);
                    return Ok(());
                }
            }
            if store.data_mut().log.admits(level) {
                let context = shorten(&context.to_str(&store)?, MAX_CONTEXT);
                let message = beginning(&message.to_str(&store)?);
                store.data_mut().log.add(level, &context, &message);
            }
            Ok(())
        },
    )
}

/// Returns the beginning of a message, with an ellipsis if it is cut off.
fn beginning(message: &str) -> String {
    let cut = message.floor_char_boundary(MAX_MESSAGE_BYTES);
    let (kept, rest) = message.split_at(cut);
    match rest.is_empty() {
        true => kept.to_owned(),
        false => format!("{kept}…"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let text = beginning(&"é".repeat(MAX_MESSAGE_BYTES));
        assert_eq!(text.chars().count(), MAX_MESSAGE_BYTES / 2 + 1);
        assert!(text.ends_with('…'));
        assert_eq!(beginning("short"), "short");
    }
}
