//! The handler of a version in its state after its initialization, for a bundle that contains it.
//!
//! Wisp itself never needs these bytes: it initializes the handler whenever it loads a version.

use crate::registry::load_error::LoadError;
use crate::registry::loader::{Loader, configuration};
use crate::registry::repository::VersionFiles;
use std::sync::Arc;
use wisp_sandbox::configuration::HandlerConfiguration;
use wisp_sandbox::handler::Initializer;

/// A handler that has been initialized with the configuration of its model.
#[derive(Debug)]
pub struct InitializedHandler {
    /// The component. If the handler keeps the state of its initialization, every instance begins with it.
    pub component: Vec<u8>,
    /// The settings and files that it reads in requests.
    pub configuration: Arc<HandlerConfiguration>,
}

impl Loader {
    /// Returns the handler of a version, initialized, or `None` for a version without a handler.
    pub fn initialized_handler(
        &self,
        files: &VersionFiles,
    ) -> Result<Option<InitializedHandler>, LoadError> {
        let Some(path) = &files.handler else {
            return Ok(None);
        };
        let (model_file, limits) = self.settings(files).map_err(LoadError::ModelFile)?;
        let configuration = configuration(files, path, &model_file)?;
        let (component, wasm) = self.checked_handler(path, &model_file.handler.grants)?;
        let initializer = Initializer {
            engine: &self.engine,
            store: &self.aot,
            configuration: Arc::clone(&configuration),
            limits: &limits,
        };
        let component = initializer.initialized(component, wasm);
        Ok(Some(InitializedHandler {
            component: component.map_err(LoadError::Initialization)?,
            configuration,
        }))
    }
}
