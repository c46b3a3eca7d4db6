//! The components that are in use, so that equal ones share their machine code in memory.
//!
//! A component stays in memory for as long as one of its users does: nothing is kept here but the way to it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use wasmtime::Engine;
use wasmtime::component::Component;

/// The components in use, by the hash of their bytes. Lifetime: the process.
#[derive(Default)]
pub(super) struct SharedComponents {
    components: Mutex<HashMap<blake3::Hash, Weak<Component>>>,
}

impl SharedComponents {
    /// Returns the component with these bytes, if it is in use on this engine.
    pub(super) fn get(&self, engine: &Engine, bytes: &blake3::Hash) -> Option<Arc<Component>> {
        let component = self.lock().get(bytes).and_then(Weak::upgrade)?;
        Engine::same(component.engine(), engine).then_some(component)
    }

    /// Adds a component that has just been loaded.
    pub(super) fn add(&self, bytes: blake3::Hash, component: Component) -> Arc<Component> {
        let component = Arc::new(component);
        let mut components = self.lock();
        components.retain(|_, component| component.strong_count() > 0);
        components.insert(bytes, Arc::downgrade(&component));
        component
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<blake3::Hash, Weak<Component>>> {
        // No code panics while the lock is held, so a poisoned lock still guards a consistent map.
        self.components
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SharedComponents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let components = self.lock().len();
        f.debug_struct("SharedComponents")
            .field("components", &components)
            .finish()
    }
}
