//! The check of a web component's imports and exports, before it is compiled.

use super::imports::forbidden_import;
use crate::aot::{AotStore, Origin};
use crate::component::{ComponentError, ComponentSummary};
use crate::engine::{Engine, MAX_WEB_CORE_INSTANCES};
use crate::text::shown;
use std::fmt;
use std::sync::Arc;
use wasmtime::component::Component;

/// A compiled web component with allowed imports. Lifetime: a model version.
pub struct WebComponent {
    pub(crate) component: Arc<Component>,
    /// The origin of its machine code.
    pub origin: Origin,
}

impl WebComponent {
    /// Checks the bytes of a component, and obtains its machine code. The caller limits their number when it reads them.
    pub fn load(
        engine: &Engine,
        store: &AotStore,
        wasm: &[u8],
    ) -> Result<WebComponent, ComponentError> {
        let summary = ComponentSummary::read(wasm)?;
        if !summary.is_web_component() {
            return Err(ComponentError::NoWebComponent);
        }
        if let Some(import) = forbidden_import(&summary.imports) {
            return Err(ComponentError::ForbiddenWebImport {
                import: shown(import),
            });
        }
        summary.check_sizes(MAX_WEB_CORE_INSTANCES)?;
        let (component, origin) = store.load(engine, wasm).map_err(ComponentError::Compile)?;
        Ok(WebComponent { component, origin })
    }
}

impl fmt::Debug for WebComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebComponent")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
