//! The imported interface `wisp:handler/configuration`: names and signatures, as wasmtime links them.
//!
//! A handler without a configuration finds neither keys nor files.

use super::CONFIGURATION_INTERFACE;
use crate::instance::InstanceState;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

type Store<'a> = StoreContextMut<'a, InstanceState>;

/// Links the interface.
pub(crate) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(CONFIGURATION_INTERFACE)?;
    instance.func_wrap("get", |store: Store<'_>, (key,): (String,)| {
        let configuration = store.data().configuration.as_ref();
        Ok((configuration.and_then(|configuration| configuration.value(&key)),))
    })?;
    instance.func_wrap("keys", |store: Store<'_>, (): ()| {
        let configuration = store.data().configuration.as_ref();
        let keys = configuration.map(|configuration| configuration.keys());
        Ok((keys.unwrap_or_default(),))
    })?;
    instance.func_wrap("file-size", |store: Store<'_>, (name,): (String,)| {
        let configuration = store.data().configuration.as_ref();
        Ok((configuration.and_then(|configuration| configuration.file_size(&name)),))
    })?;
    instance.func_wrap(
        "read-file",
        |store: Store<'_>, (name, offset, length): (String, u64, u32)| {
            let configuration = store.data().configuration.as_ref();
            let range =
                configuration.and_then(|configuration| configuration.read(&name, offset, length));
            // The only copy is that into the guest's memory.
            Ok((range,))
        },
    )
}
