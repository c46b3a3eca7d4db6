//! The interfaces that a web component may import.
//!
//! These are what the world `wasi:http/proxy` and the standard libraries of languages bring with them. They lead to
//! nothing but the request, the response, the clocks, random numbers, the log and the allowed hosts: there are no
//! directories to open, and no variables to read. Sockets are not among them.

use crate::logging::interface::LOGGING;

/// The interfaces that a web component may import in any version 0.2.x.
pub(crate) const WASI_IMPORTS: [&str; 22] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// The interfaces that a web component may import in this version.
pub(crate) const OTHER_IMPORTS: [&str; 5] = [
    LOGGING,
    "wasi:nn/errors@0.2.0-rc-2024-10-28",
    "wasi:nn/graph@0.2.0-rc-2024-10-28",
    "wasi:nn/inference@0.2.0-rc-2024-10-28",
    "wasi:nn/tensor@0.2.0-rc-2024-10-28",
];

/// Returns the first import that no web component is granted.
pub fn forbidden_import(imports: &[String]) -> Option<&str> {
    let mut imports = imports.iter().map(String::as_str);
    imports.find(|import| !OTHER_IMPORTS.contains(import) && !is_wasi_import(import))
}

/// Returns whether an import is one of [`WASI_IMPORTS`] in a version 0.2.x.
fn is_wasi_import(import: &str) -> bool {
    let Some((interface, version)) = import.split_once('@') else {
        return false;
    };
    let is_release = version.strip_prefix("0.2.").is_some_and(|patch| {
        !patch.is_empty() && patch.bytes().all(|digit| digit.is_ascii_digit())
    });
    is_release && WASI_IMPORTS.contains(&interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn importing(import: &str) -> [String; 2] {
        ["wasi:io/poll@0.2.0".to_owned(), import.to_owned()]
    }

    #[test]
    fn the_interfaces_of_the_proxy_world_and_of_standard_libraries_are_granted() {
        for import in [
            "wasi:http/types@0.2.0",
            "wasi:http/outgoing-handler@0.2.12",
            "wasi:cli/environment@0.2.6",
            "wasi:filesystem/preopens@0.2.3",
            "wasi:nn/graph@0.2.0-rc-2024-10-28",
            "wasi:logging/logging@0.1.0-draft",
        ] {
            assert_eq!(forbidden_import(&importing(import)), None, "{import}");
        }
    }

    #[test]
    fn any_other_import_is_refused() {
        for import in [
            "wasi:sockets/tcp@0.2.0",
            "wasi:http/types@0.3.0",
            "wasi:http/types@0.2.0-rc-2023-11-10",
            "wasi:http/types@0.2.",
            "wasi:http/types",
            "wasi:nn/graph@0.2.0-rc-2024-08-19",
            "wisp:handler/configuration@0.1.0",
        ] {
            let imports = importing(import);
            assert_eq!(forbidden_import(&imports), Some(import));
        }
    }
}
