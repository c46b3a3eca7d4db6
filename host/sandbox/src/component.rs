//! Checks of a component's imports and exports against those that are granted.
//!
//! Only the bytes are inspected: nothing is compiled before the imports are known to be allowed, and
//! nothing runs here at all.

use crate::aot::{AotStore, CompileError, Origin};
use crate::configuration::{CONFIGURATION_INTERFACE, HandlerConfiguration};
use crate::engine::{Engine, MAX_CORE_INSTANCES};
use crate::logging::GuestLog;
use crate::logging::interface::LOGGING;
use crate::text::{bounded, shown};
use std::fmt;
use std::sync::Arc;
use wasmparser::{CustomSectionReader, Encoding, Instance, KnownCustom, Name, Parser, Payload};
use wasmtime::component::Component;

/// The interface that a handler exports.
pub const MODEL_INTERFACE: &str = "wisp:handler/model@0.1.0";

/// The interface of web components, which a later release will serve.
const INCOMING_HANDLER: &str = "wasi:http/incoming-handler@0.2.";

/// The interfaces that every handler may import.
pub const GRANTED_IMPORTS: [&str; 6] = [
    LOGGING,
    "wasi:nn/errors@0.2.0-rc-2024-10-28",
    "wasi:nn/graph@0.2.0-rc-2024-10-28",
    "wasi:nn/inference@0.2.0-rc-2024-10-28",
    "wasi:nn/tensor@0.2.0-rc-2024-10-28",
    CONFIGURATION_INTERFACE,
];

/// The largest component accepted, in bytes.
pub const MAX_COMPONENT_BYTES: usize = 20 << 20;

/// The longest name of a function in bytes. wasmtime copies the names of all functions in a backtrace.
const MAX_FUNCTION_NAME_BYTES: usize = 64 << 10;

/// The maximum number of exports that an error repeats.
const MAX_SHOWN_EXPORTS: usize = 10;

/// A compiled component with allowed imports and the required exports. Only such a component can be
/// instantiated. Lifetime: a model version.
pub struct CheckedComponent {
    pub(crate) component: Component,
    /// The origin of its machine code.
    pub origin: Origin,
    /// The settings and files that its instances can read.
    pub(crate) configuration: Option<Arc<HandlerConfiguration>>,
    /// The lines that the handler logged during its initialization.
    pub(crate) initialization_log: GuestLog,
}

/// The imports and exports of a component, in its own order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComponentSummary {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// The number of core modules inside.
    pub core_modules: usize,
    /// The number of core instances, with those of inner components counted once.
    pub core_instances: usize,
    /// The length of the longest name of a function, in bytes.
    pub longest_function_name: usize,
}

/// The error for a file that is not accepted as a handler.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    #[error("the component has more than {MAX_COMPONENT_BYTES} bytes")]
    TooLarge,
    #[error(
        "this is a core module, not a component; `wisp build` creates a component from a \
         handler's crate"
    )]
    CoreModule,
    #[error("this is not a WebAssembly component: {reason}")]
    NotWasm { reason: String },
    #[error(
        "the component imports `{import}`, which handlers are not granted (granted: {})",
        GRANTED_IMPORTS.join(", ")
    )]
    ForbiddenImport { import: String },
    #[error(
        "the component does not export `{MODEL_INTERFACE}`; its exports are: {}",
        if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
    )]
    NoHandler { exports: Vec<String> },
    #[error("the component exports `{export}`; Wisp does not serve web components yet")]
    WebComponent { export: String },
    #[error(
        "the component has {core_instances} core instances, the limit is {MAX_CORE_INSTANCES}; \
         create it from one core module, as `wisp build` does"
    )]
    CoreInstances { core_instances: usize },
    #[error(
        "the name of a function has {bytes} bytes, the limit is {MAX_FUNCTION_NAME_BYTES}; build the component \
         without names"
    )]
    LongFunctionName { bytes: usize },
    #[error(transparent)]
    Compile(CompileError),
}

impl ComponentSummary {
    /// Reads the outermost imports and exports of a component.
    pub fn read(wasm: &[u8]) -> Result<ComponentSummary, ComponentError> {
        let not_wasm = |error: wasmparser::BinaryReaderError| ComponentError::NotWasm {
            // The rest of the message shows bytes of the file, which must not be disclosed.
            reason: bounded(
                error
                    .message()
                    .split(" - expected=")
                    .next()
                    .unwrap_or_default(),
            ),
        };
        let mut summary = ComponentSummary::default();
        let mut depth = 0usize;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(not_wasm)? {
                Payload::Version {
                    encoding: Encoding::Module,
                    ..
                } if depth == 0 => return Err(ComponentError::CoreModule),
                Payload::ModuleSection { .. } => {
                    summary.core_modules += 1;
                    depth += 1;
                }
                Payload::InstanceSection(section) => {
                    for instance in section {
                        let instance = instance.map_err(not_wasm)?;
                        let is_made = matches!(instance, Instance::Instantiate { .. });
                        summary.core_instances += usize::from(is_made);
                    }
                }
                Payload::CustomSection(section) => {
                    let longest = longest_function_name(&section);
                    summary.longest_function_name = summary.longest_function_name.max(longest);
                }
                Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        let import = import.map_err(not_wasm)?;
                        summary.imports.push(import.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        let export = export.map_err(not_wasm)?;
                        summary.exports.push(export.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(summary)
    }

    /// Returns the first import that handlers are not granted.
    pub fn forbidden_import(&self) -> Option<&str> {
        self.imports
            .iter()
            .map(String::as_str)
            .find(|import| !GRANTED_IMPORTS.contains(import))
    }
}

/// Returns the length of the longest name of a function in a section with names, and 0 for other sections. What
/// follows a malformed name has no effect.
fn longest_function_name(section: &CustomSectionReader<'_>) -> usize {
    let KnownCustom::Name(names) = section.as_known() else {
        return 0;
    };
    let functions = names.map_while(Result::ok).filter_map(|names| match names {
        Name::Function(functions) => Some(functions),
        _ => None,
    });
    let names = functions.flat_map(|functions| functions.into_iter().map_while(Result::ok));
    names.map(|naming| naming.name.len()).max().unwrap_or(0)
}

impl CheckedComponent {
    /// Checks the bytes of a component and obtains its machine code.
    pub fn load(
        engine: &Engine,
        store: &AotStore,
        wasm: &[u8],
    ) -> Result<CheckedComponent, ComponentError> {
        if wasm.len() > MAX_COMPONENT_BYTES {
            return Err(ComponentError::TooLarge);
        }
        let summary = ComponentSummary::read(wasm)?;
        if let Some(export) = summary
            .exports
            .iter()
            .find(|export| export.starts_with(INCOMING_HANDLER))
        {
            return Err(ComponentError::WebComponent {
                export: shown(export),
            });
        }
        if let Some(import) = summary.forbidden_import() {
            return Err(ComponentError::ForbiddenImport {
                import: shown(import),
            });
        }
        if !summary
            .exports
            .iter()
            .any(|export| export == MODEL_INTERFACE)
        {
            let exports = summary.exports.iter().take(MAX_SHOWN_EXPORTS);
            return Err(ComponentError::NoHandler {
                exports: exports.map(|export| shown(export)).collect(),
            });
        }
        if summary.longest_function_name > MAX_FUNCTION_NAME_BYTES {
            return Err(ComponentError::LongFunctionName {
                bytes: summary.longest_function_name,
            });
        }
        // The pool would refuse it as well (and also an inner component used twice), but with an error
        // about the pool.
        if summary.core_instances > MAX_CORE_INSTANCES as usize {
            return Err(ComponentError::CoreInstances {
                core_instances: summary.core_instances,
            });
        }
        let (component, origin) = store.load(engine, wasm).map_err(ComponentError::Compile)?;
        Ok(CheckedComponent {
            component,
            origin,
            configuration: None,
            initialization_log: GuestLog::default(),
        })
    }
}

impl fmt::Debug for CheckedComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedComponent")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineOptions;
    use anyhow::Context;

    fn refusal(wat: &str) -> anyhow::Result<String> {
        let directory = tempfile::tempdir()?;
        let engine = Engine::start(&EngineOptions {
            instances: 1,
            ..EngineOptions::default()
        })?;
        let store = AotStore::open(&directory.path().join("aot"))?;
        let error = CheckedComponent::load(&engine, &store, &wat::parse_bytes(wat.as_bytes())?)
            .err()
            .context("accepted")?;
        Ok(error.to_string())
    }

    #[test]
    fn the_first_import_beyond_the_granted_set_is_named() -> anyhow::Result<()> {
        let text = refusal(
            r#"(component
                (import "wasi:nn/errors@0.2.0-rc-2024-10-28" (instance))
                (import "wasi:filesystem/preopens@0.2.0" (instance))
                (import "wasi:sockets/tcp@0.2.0" (instance)))"#,
        )?;
        assert!(text.contains("`wasi:filesystem/preopens@0.2.0`"), "{text}");
        Ok(())
    }

    #[test]
    fn another_version_of_a_granted_interface_is_refused() -> anyhow::Result<()> {
        let text =
            refusal(r#"(component (import "wasi:nn/graph@0.2.0-rc-2024-08-19" (instance)))"#)?;
        assert!(text.contains("2024-08-19"), "{text}");
        Ok(())
    }

    #[test]
    fn imports_of_inner_components_are_not_checked() -> anyhow::Result<()> {
        let text = refusal(r#"(component (component (import "x:y/z" (instance))))"#)?;
        assert!(text.contains("does not export"), "{text}");
        Ok(())
    }

    #[test]
    fn a_component_of_more_core_instances_than_the_pool_has_for_each_is_refused()
    -> anyhow::Result<()> {
        let component = |inner: &str| {
            format!(
                r#"(component
                    (core module $m)
                    {inner}
                    (instance $model)
                    (export "{MODEL_INTERFACE}" (instance $model)))"#
            )
        };
        let text = refusal(&component(&"(core instance (instantiate $m))".repeat(5)))?;
        assert!(text.contains("5 core instances, the limit is 4"), "{text}");
        // The pool itself refuses this one: it counts the instances of inner components.
        let inner = r#"(component $c
            (core module $m)
            (core instance (instantiate $m))
            (core instance (instantiate $m)))
            (instance (instantiate $c))
            (instance (instantiate $c))
            (instance (instantiate $c))"#;
        let text = refusal(&component(inner))?;
        assert!(text.contains("failed to load"), "{text}");
        Ok(())
    }

    #[test]
    fn a_function_with_a_name_of_megabytes_is_refused() -> anyhow::Result<()> {
        let name = "x".repeat(1 << 20);
        let text = refusal(&format!(
            r#"(component
                (core module (func ${name}))
                (instance $model)
                (export "{MODEL_INTERFACE}" (instance $model)))"#
        ))?;
        assert!(
            text.contains("has 1048576 bytes, the limit is 65536"),
            "{text}"
        );
        Ok(())
    }

    #[test]
    fn files_that_are_not_components_are_distinguished() -> anyhow::Result<()> {
        assert!(refusal("(module)")?.contains("wisp build"));
        let error = ComponentSummary::read(b"\x7fELF")
            .err()
            .context("accepted")?;
        assert!(error.to_string().contains("not a WebAssembly"), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        Ok(())
    }
}
