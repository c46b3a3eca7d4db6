//! The host functions that guests can import, linked for each way to call a guest.

use crate::configuration;
use crate::grants;
use crate::instance::InstanceState;
use crate::logging::interface as logging;
use crate::nn;
use crate::web::interface as web;
use wasmtime::component::Linker;

/// The linkers, one for each way to run `compute` and one for web components.
///
/// One asynchronous host function makes a store asynchronous permanently, so calls without fibers need
/// their own linker.
pub(crate) struct Linkers {
    /// The linker whose `compute` runs on the calling thread.
    pub(crate) inline: Linker<InstanceState>,
    /// The linker whose `compute` waits without blocking the calling thread.
    pub(crate) queued: Linker<InstanceState>,
    /// The linker for web components, whose `compute` waits as in `queued`.
    pub(crate) web: Linker<InstanceState>,
}

impl Linkers {
    pub(crate) fn new(engine: &wasmtime::Engine) -> wasmtime::Result<Linkers> {
        let mut inline = Linker::new(engine);
        nn::add_to_linker(&mut inline)?;
        logging::add_to_linker(&mut inline)?;
        // It has all of WASI, and so the clocks and random numbers that are granted to handlers in another form.
        let mut web = inline.clone();
        nn::add_queued_compute(&mut web)?;
        web::add_to_linker(&mut web)?;
        configuration::interface::add_to_linker(&mut inline)?;
        grants::interface::add_to_linker(&mut inline)?;
        let mut queued = inline.clone();
        nn::add_inline_compute(&mut inline)?;
        nn::add_queued_compute(&mut queued)?;
        Ok(Linkers {
            inline,
            queued,
            web,
        })
    }
}

impl std::fmt::Debug for Linkers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Linkers").finish_non_exhaustive()
    }
}
