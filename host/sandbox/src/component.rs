//! Checks of a component's imports and exports against those that are granted.
//!
//! Only the bytes are inspected: nothing is compiled before the imports are known to be allowed, and
//! nothing runs here at all.

use crate::aot::{AotStore, CompileError, Origin};
use crate::configuration::{CONFIGURATION_INTERFACE, HandlerConfiguration};
use crate::engine::{Engine, MAX_CORE_INSTANCES};
use crate::grants::{self, Grant};
use crate::logging::GuestLog;
use crate::logging::interface::LOGGING;
use crate::text::{bounded, shown};
use crate::web::imports::{OTHER_IMPORTS, WASI_IMPORTS};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use wasmparser::{CustomSectionReader, Encoding, Instance, KnownCustom, Name, Parser, Payload};
use wasmtime::component::Component;

/// The interface that a handler exports.
pub const MODEL_INTERFACE: &str = "wisp:handler/model@0.1.0";

/// The interface that a web component exports, apart from the last number of its version.
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

/// The longest name of a function in bytes. wasmtime copies the names of all functions in a backtrace.
const MAX_FUNCTION_NAME_BYTES: usize = 64 << 10;

/// The maximum number of exports that an error repeats.
const MAX_SHOWN_EXPORTS: usize = 10;

/// A compiled component with allowed imports and the required exports. Only such a component can be
/// instantiated. Lifetime: a model version.
pub struct CheckedComponent {
    pub(crate) component: Arc<Component>,
    /// The origin of its machine code.
    pub origin: Origin,
    /// The settings and files that its instances can read.
    pub(crate) configuration: Option<Arc<HandlerConfiguration>>,
    /// The lines that it logged during its initialization.
    pub(crate) initialization_log: GuestLog,
}

/// The imports and exports of a component, in its own order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComponentSummary {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// The number of core modules inside.
    pub core_modules: usize,
    /// The number of core instances, with inner components counted once.
    pub core_instances: usize,
    /// The length of the longest name of a function, in bytes.
    pub longest_function_name: usize,
}

/// The error for a file that is not accepted as a handler.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
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
        "the component imports `{import}`, which its model does not grant: write `{}` under [handler] in \
         model.toml",
        grants::setting(needed)
    )]
    UngrantedImport {
        import: String,
        /// The grants of the model, and those that the component needs.
        needed: BTreeSet<Grant>,
    },
    #[error(
        "the component does not export `{MODEL_INTERFACE}`; its exports are: {}",
        if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
    )]
    NoHandler { exports: Vec<String> },
    #[error(
        "the component exports `{export}`: it is a web component, which is served under its own route, and no handler"
    )]
    WebComponent { export: String },
    #[error(
        "the component does not export `{INCOMING_HANDLER}x`, or it exports `{MODEL_INTERFACE}` as well"
    )]
    NoWebComponent,
    #[error(
        "the component imports `{import}`, which web components are not granted (granted: {}; in version 0.2: {})",
        OTHER_IMPORTS.join(", "),
        WASI_IMPORTS.join(", ")
    )]
    ForbiddenWebImport { import: String },
    #[error(
        "the component has {core_instances} core instances, the limit is {limit}; create it from one core module, as \
         `wisp build` does"
    )]
    CoreInstances { core_instances: usize, limit: u32 },
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

    /// Returns the first import that no handler is granted.
    pub fn forbidden_import(&self) -> Option<&str> {
        self.imports
            .iter()
            .map(String::as_str)
            .find(|import| !GRANTED_IMPORTS.contains(import) && Grant::of_import(import).is_none())
    }

    /// Returns the first import that needs a grant other than these.
    fn ungranted_import(&self, grants: &BTreeSet<Grant>) -> Option<&str> {
        let mut imports = self.imports.iter().map(String::as_str);
        imports
            .find(|import| Grant::of_import(import).is_some_and(|grant| !grants.contains(&grant)))
    }

    /// Returns whether this is a web component: it exports an incoming handler, and no model.
    pub fn is_web_component(&self) -> bool {
        let mut exports = self.exports.iter();
        self.incoming_handler().is_some() && !exports.any(|export| export == MODEL_INTERFACE)
    }

    /// Returns the export of an incoming handler.
    fn incoming_handler(&self) -> Option<&str> {
        let mut exports = self.exports.iter().map(String::as_str);
        exports.find(|export| export.starts_with(INCOMING_HANDLER))
    }

    /// Checks the length of names and the number of core instances.
    pub(crate) fn check_sizes(&self, max_core_instances: u32) -> Result<(), ComponentError> {
        if self.longest_function_name > MAX_FUNCTION_NAME_BYTES {
            return Err(ComponentError::LongFunctionName {
                bytes: self.longest_function_name,
            });
        }
        // The pool refuses as well what it has no room for, an inner component used many times for example, but with
        // an error about the pool.
        if self.core_instances > max_core_instances as usize {
            return Err(ComponentError::CoreInstances {
                core_instances: self.core_instances,
                limit: max_core_instances,
            });
        }
        Ok(())
    }

    /// Returns the grants that the component needs.
    pub fn needed_grants(&self) -> BTreeSet<Grant> {
        let imports = self.imports.iter();
        imports
            .filter_map(|import| Grant::of_import(import))
            .collect()
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
    /// Checks the bytes of a component, whose model grants it these capabilities, and obtains its machine code. The caller
    /// limits their number when it reads them.
    pub fn load(
        engine: &Engine,
        store: &AotStore,
        wasm: &[u8],
        grants: &BTreeSet<Grant>,
    ) -> Result<CheckedComponent, ComponentError> {
        let summary = ComponentSummary::read(wasm)?;
        if let Some(export) = summary.incoming_handler() {
            return Err(ComponentError::WebComponent {
                export: shown(export),
            });
        }
        if let Some(import) = summary.forbidden_import() {
            return Err(ComponentError::ForbiddenImport {
                import: shown(import),
            });
        }
        if let Some(import) = summary.ungranted_import(grants) {
            return Err(ComponentError::UngrantedImport {
                import: shown(import),
                needed: grants | &summary.needed_grants(),
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
        summary.check_sizes(MAX_CORE_INSTANCES)?;
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
        let refusal = load(wat, &Grant::ALL)?.err().context("accepted")?;
        Ok(refusal.to_string())
    }

    fn load(
        wat: &str,
        grants: &[Grant],
    ) -> anyhow::Result<Result<CheckedComponent, ComponentError>> {
        let directory = tempfile::tempdir()?;
        let engine = Engine::start(&EngineOptions {
            instances: 1,
            ..EngineOptions::default()
        })?;
        let store = AotStore::open(&directory.path().join("aot"))?;
        let wasm = wat::parse_bytes(wat.as_bytes())?;
        let grants = grants.iter().copied().collect();
        Ok(CheckedComponent::load(&engine, &store, &wasm, &grants))
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
    fn an_import_without_its_grant_is_refused_with_the_line_that_grants_it() -> anyhow::Result<()> {
        let component = format!(
            r#"(component
                (import "wasi:random/random@0.2.3" (instance))
                (import "wasi:clocks/wall-clock@0.2.0" (instance))
                (instance $model)
                (export "{MODEL_INTERFACE}" (instance $model)))"#
        );
        for (grants, import) in [
            (&[][..], "wasi:random/random@0.2.3"),
            (&[Grant::Random], "wasi:clocks/wall-clock@0.2.0"),
            (&[Grant::Clock], "wasi:random/random@0.2.3"),
        ] {
            let refusal = load(&component, grants)?.err().context("accepted")?;
            assert_eq!(
                refusal.to_string(),
                format!(
                    "the component imports `{import}`, which its model does not grant: write \
                     `grants = [\"random\", \"clock\"]` under [handler] in model.toml"
                )
            );
        }
        load(&component, &Grant::ALL)??;
        Ok(())
    }

    #[test]
    fn no_grant_is_for_clocks_that_wait() -> anyhow::Result<()> {
        let text =
            refusal(r#"(component (import "wasi:clocks/monotonic-clock@0.2.3" (instance)))"#)?;
        assert!(text.contains("handlers are not granted"), "{text}");
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
            (core instance (instantiate $m)))"#;
        let inner = inner.to_owned() + &"(instance (instantiate $c))".repeat(17);
        let text = refusal(&component(&inner))?;
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
