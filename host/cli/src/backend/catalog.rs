//! The catalog of installable packages: the wheels, their files, sizes and digests, for each machine.
//!
//! The versions are those that the backends are tested with. The digest makes a file from any index,
//! mirror or disk equivalent to the file that was examined when the entry was written. A new version
//! needs a new entry, with the size and the SHA-256 from the index's JSON.

mod cuda;
mod onnxruntime;

use super::package::Package;
use crate::failure::bad_configuration;
use std::env::consts::{ARCH, OS};

/// Returns the packages for all machines.
fn packages() -> impl Iterator<Item = &'static Package> {
    std::iter::once(&cuda::CUDA).chain(&onnxruntime::ONNXRUNTIME)
}

/// Returns the package of this name for the machine that runs this program.
pub(super) fn for_this_machine(name: &str) -> anyhow::Result<&'static Package> {
    find(name, (OS, ARCH)).ok_or_else(|| {
        let machines: Vec<String> = packages()
            .filter(|package| package.name == name)
            .map(|package| format!("{} on {}", package.machine.0, package.machine.1))
            .collect();
        bad_configuration(format!(
            "{name} is available for {}, but not for {OS} on {ARCH}; use a library of your own with \
             --onnxruntime-library",
            machines.join(", ")
        ))
    })
}

fn find(name: &str, machine: (&str, &str)) -> Option<&'static Package> {
    packages().find(|package| package.name == name && package.machine == machine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_package_of_the_catalog_can_be_installed() {
        for package in packages() {
            let name = package.directory_name();
            assert!(package.onnxruntime_library().is_some(), "{name}");
            let mut kept = HashSet::new();
            let mut sizes = HashSet::new();
            for wheel in package.wheels {
                let hexadecimal = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
                assert_eq!(wheel.sha256.len(), 64, "{}", wheel.file);
                assert!(wheel.sha256.chars().all(hexadecimal), "{}", wheel.file);
                // Wheels on disk are identified by their sizes.
                assert!(sizes.insert(wheel.bytes), "{}", wheel.file);
                let project = wheel.project.replace('-', "_");
                assert!(wheel.file.starts_with(&format!("{project}-")), "{name}");
            }
            for member in package.members() {
                // Several wheels contribute headers to one folder.
                let is_new = kept.insert(member.to) || member.is_folder();
                assert!(is_new, "{name}: {}", member.to);
                assert_eq!(member.is_folder(), member.to.ends_with('/'), "{name}");
            }
        }
    }

    #[test]
    fn a_machine_without_a_package_has_none() {
        assert!(find("onnxruntime", ("linux", "x86_64")).is_some());
        assert!(find("onnxruntime", ("plan9", "mips")).is_none());
        assert!(find("cuda", ("linux", "x86_64")).is_some());
        assert!(find("cuda", ("linux", "aarch64")).is_none());
    }
}
