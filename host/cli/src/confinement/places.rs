//! The paths that confined processes need beside the ones of their settings: libraries, facts about the machine, devices,
//! and what names and certificates need.

use super::links::{beside_targets, directory};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The directories of shared libraries, and the file that lists the others. Backends are opened at run time.
const LIBRARIES: [&str; 8] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
];

/// Facts about the machine and about the process itself. Whatever is allowed in `/proc`, Landlock keeps the memory of
/// processes outside of the rules unreadable, and for users other than root their environment too.
const MACHINE: [&str; 7] = [
    "/proc",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
    "/dev/urandom",
    "/dev/random",
    "/dev/zero",
];

/// The files with which the C library resolves the names of hosts.
const NAMES: [&str; 7] = [
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/run/systemd/resolve",
];

/// The directory of files that programs make while the system runs.
const RUN: &str = "/run";

/// The certificates of the authorities that the system trusts, on the distributions of Linux.
const AUTHORITIES: [&str; 7] = [
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/local/share/certs",
    "/var/lib/ca-certificates",
];

/// The variables with other places for certificates.
const AUTHORITY_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The most entries of a repository that are searched for links.
const MAX_ENTRIES: usize = 100_000;

/// The prefix of the folder of a model in the cache of the Hugging Face hub.
const HUB_PREFIX: &str = "models--";

/// Returns the paths that every process may read.
pub(crate) fn system() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = LIBRARIES
        .iter()
        .chain(&MACHINE)
        .map(PathBuf::from)
        .collect();
    if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
        places.extend(std::env::split_paths(&path).filter(|path| path.is_absolute()));
    }
    // On systems with libraries in other places, such as NixOS, the ones of this program show them.
    places.extend(mapped_directories());
    // Its symbols, for the lines about a panic.
    places.extend(std::env::current_exe());
    places
}

/// Returns the devices that every process may write.
pub(crate) fn devices() -> Vec<PathBuf> {
    vec![PathBuf::from("/dev/null")]
}

/// Returns the paths that name lookups and TLS connections need.
pub(crate) fn network() -> Vec<PathBuf> {
    let variables = AUTHORITY_VARIABLES.iter().filter_map(std::env::var_os);
    let places = NAMES.iter().chain(&AUTHORITIES).map(PathBuf::from);
    let replaced = NAMES
        .iter()
        .filter_map(|name| linked_directory(Path::new(name), Path::new(RUN)));
    places
        .chain(replaced)
        .chain(variables.map(PathBuf::from))
        .collect()
}

/// Returns the directory below `run` to which a link leads, such as `/run/NetworkManager` for `/etc/resolv.conf`. The
/// program that keeps the file there replaces it when the network changes.
fn linked_directory(link: &Path, run: &Path) -> Option<PathBuf> {
    let real = link.canonicalize().ok()?;
    let directory = real.parent()?;
    (directory.starts_with(run) && directory != run).then(|| directory.to_owned())
}

/// The places of the driver of NVIDIA's GPUs, on a machine that has one.
#[derive(Debug, Default)]
pub(crate) struct GpuPlaces {
    pub(crate) read: Vec<PathBuf>,
    pub(crate) devices: Vec<PathBuf>,
    /// The directory of the kernels that the driver has compiled.
    pub(crate) write: Vec<PathBuf>,
}

/// Returns the places of a GPU; none if there is none.
pub(crate) fn gpu() -> GpuPlaces {
    let is_device = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(b"nvidia")
    };
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let devices: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(is_device)
        .collect();
    if devices.is_empty() {
        return GpuPlaces::default();
    }
    let cache = std::env::var_os("CUDA_CACHE_PATH").map(PathBuf::from);
    let cache = cache.or_else(|| {
        let home = PathBuf::from(std::env::var_os("HOME")?);
        Some(home.join(".nv/ComputeCache"))
    });
    GpuPlaces {
        read: vec![PathBuf::from("/sys"), PathBuf::from("/usr/share")],
        devices,
        write: cache.into_iter().collect(),
    }
}

/// Returns the directories in which a file that may be replaced is read: those in which one is written, and those to which
/// the links on the way to it may lead once they are switched. A rule for a file itself would not hold for the next one of
/// its name.
pub(crate) fn directories_of(file: &Path) -> Vec<PathBuf> {
    let mut places = directories_of_written(file);
    add(&mut places, switched(file));
    places
}

/// Returns the directories of a file that is written and may be replaced: of its path, and of the file to which
/// a link leads.
pub(crate) fn directories_of_written(file: &Path) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = directory(file).into_iter().collect();
    if let Ok(real) = file.canonicalize() {
        add(&mut places, directory(&real));
    }
    places
}

/// Returns where a repository, or a single model file, is read: itself, the directories to which the links on the way to it
/// may lead next, such as the directory of releases, and the targets of the links in it.
pub(crate) fn of_repository(repository: &Path) -> Vec<PathBuf> {
    let next = switched(repository);
    let mut places = match repository.is_dir() {
        true => vec![repository.to_owned()],
        // External data is in the folder of the model.
        false => directories_of_written(repository),
    };
    if repository.is_symlink() {
        add(&mut places, next.iter().cloned());
    }
    places.extend(targets(&places));
    // Other entries beside the directories around a repository are not searched.
    add(&mut places, next);
    places
}

/// Returns the directories to which the links on the way to a file may lead once they are switched.
fn switched(file: &Path) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    beside_targets(file, home.as_deref())
}

fn add(places: &mut Vec<PathBuf>, more: impl IntoIterator<Item = PathBuf>) {
    for place in more {
        if !places.contains(&place) {
            places.push(place);
        }
    }
}

/// Returns the targets of the links below these directories that are not below one of them. For a link into the cache
/// of the Hugging Face hub, that is the folder of the model, whose parts are links to each other.
fn targets(directories: &[PathBuf]) -> Vec<PathBuf> {
    let roots: Vec<PathBuf> = directories
        .iter()
        .filter_map(|directory| directory.canonicalize().ok())
        .collect();
    let mut found: BTreeSet<PathBuf> = BTreeSet::new();
    let mut open = roots.clone();
    let mut entries: usize = 0;
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            entries = entries.saturating_add(1);
            if entries > MAX_ENTRIES {
                tracing::warn!(
                    "the repository has too many files to search it for links; what links lead to may not be readable"
                );
                return found.into_iter().collect();
            }
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                open.push(entry.path());
                continue;
            }
            if !kind.is_symlink() {
                continue;
            }
            let Ok(target) = entry.path().canonicalize() else {
                continue;
            };
            let is_known = |place: &PathBuf| target.starts_with(place);
            // A directory around the repository is no part of any model.
            let is_around = roots.iter().any(|root| root.starts_with(&target));
            if is_around || roots.iter().any(is_known) || found.iter().any(is_known) {
                continue;
            }
            let place = hub_folder(&target).unwrap_or_else(|| target.clone());
            if place.is_dir() {
                open.push(place.clone());
            }
            found.insert(place);
        }
    }
    found.into_iter().collect()
}

/// Returns the folder of the model in the cache of the Hugging Face hub that contains this file.
fn hub_folder(file: &Path) -> Option<PathBuf> {
    let is_folder = |folder: &&Path| {
        let name = folder.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(HUB_PREFIX.as_bytes())
    };
    let folder = file.ancestors().skip(1).find(is_folder)?;
    (folder.join("blobs").is_dir() && folder.join("snapshots").is_dir()).then(|| folder.to_owned())
}

/// Returns the directories of the libraries that this process has loaded.
fn mapped_directories() -> BTreeSet<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let libraries = maps.lines().filter_map(|line| {
        let path = line.get(line.find('/')?..)?;
        path.contains(".so").then(|| Path::new(path).parent())?
    });
    libraries.map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Result, ensure};
    use std::os::unix::fs::symlink;

    #[test]
    fn links_out_of_a_repository_are_followed_once_it_is_known_where_they_lead() -> Result<()> {
        let files = tempfile::tempdir()?;
        let root = files.path().canonicalize()?;
        let version = root.join("repository/m/1");
        for directory in ["repository/m/1", "store/weights", "elsewhere"] {
            fs::create_dir_all(root.join(directory))?;
        }
        for file in [
            "store/weights/a.bin",
            "elsewhere/model.onnx",
            "elsewhere/secret",
        ] {
            fs::write(root.join(file), file)?;
        }
        symlink(
            root.join("elsewhere/model.onnx"),
            version.join("model.onnx"),
        )?;
        symlink(root.join("store"), version.join("store"))?;
        symlink("model.onnx", version.join("inside.onnx"))?;
        symlink("/no/such/file", version.join("nothing"))?;
        symlink("/", version.join("everything"))?;
        symlink("../../..", version.join("around"))?;
        // A link in a directory to which another one leads.
        symlink(
            root.join("elsewhere/secret"),
            root.join("store/weights/link"),
        )?;
        let places = of_repository(&root.join("repository"));
        ensure!(
            places
                == [
                    root.join("repository"),
                    root.join("elsewhere/model.onnx"),
                    root.join("elsewhere/secret"),
                    root.join("store"),
                ],
            "{places:?}"
        );
        Ok(())
    }

    #[test]
    fn a_model_in_the_cache_of_the_hub_is_readable_as_a_whole() -> Result<()> {
        let files = tempfile::tempdir()?;
        let root = files.path().canonicalize()?;
        let model = root.join("hub/models--a--b");
        fs::create_dir_all(model.join("blobs"))?;
        fs::create_dir_all(model.join("snapshots/1"))?;
        fs::write(model.join("blobs/f00"), "")?;
        symlink("../../blobs/f00", model.join("snapshots/1/model.onnx"))?;
        fs::create_dir_all(root.join("repository/m/1"))?;
        let link = root.join("repository/m/1/model.onnx");
        symlink(model.join("snapshots/1/model.onnx"), link)?;
        let places = of_repository(&root.join("repository"));
        ensure!(places == [root.join("repository"), model], "{places:?}");
        Ok(())
    }

    #[test]
    fn a_repository_that_is_a_link_may_be_replaced_by_the_next_one_beside_it() -> Result<()> {
        let files = tempfile::tempdir()?;
        let root = files.path().canonicalize()?;
        fs::create_dir_all(root.join("releases/1"))?;
        symlink("releases/1", root.join("current"))?;
        let places = of_repository(&root.join("current"));
        ensure!(
            places == [root.join("current"), root.join("releases")],
            "{places:?}"
        );
        Ok(())
    }

    #[test]
    fn a_file_that_may_be_replaced_is_read_in_its_directories() -> Result<()> {
        let files = tempfile::tempdir()?;
        let root = files.path().canonicalize()?;
        fs::create_dir_all(root.join("archive"))?;
        fs::create_dir_all(root.join("live"))?;
        fs::write(root.join("archive/cert1.pem"), "")?;
        symlink("../archive/cert1.pem", root.join("live/cert.pem"))?;
        let places = directories_of(&root.join("live/cert.pem"));
        ensure!(
            places == [root.join("live"), root.join("archive")],
            "{places:?}"
        );
        ensure!(directories_of(Path::new("no.pem")) == [PathBuf::from(".")]);
        Ok(())
    }

    #[test]
    fn a_file_behind_a_link_is_read_where_the_link_may_lead_next_and_written_where_it_is()
    -> Result<()> {
        let files = tempfile::tempdir()?;
        let root = files.path().canonicalize()?;
        fs::create_dir_all(root.join("releases/1/models"))?;
        symlink("releases/1", root.join("current"))?;
        let file = root.join("current/ca.pem");
        fs::write(&file, "")?;
        let written = [root.join("current"), root.join("releases/1")];
        ensure!(directories_of_written(&file) == written);
        let read = [&written[..], &[root.join("releases")]].concat();
        ensure!(directories_of(&file) == read);
        let models = root.join("current/models");
        let places = of_repository(&models);
        ensure!(places == [models, root.join("releases")], "{places:?}");
        Ok(())
    }

    #[test]
    fn a_file_of_the_network_is_read_where_its_program_replaces_it() -> Result<()> {
        let files = tempfile::tempdir()?;
        let root = files.path().canonicalize()?;
        let run = root.join("run");
        for directory in ["etc", "run/network"] {
            fs::create_dir_all(root.join(directory))?;
        }
        for file in ["etc/own", "run/direct", "run/network/resolv.conf"] {
            fs::write(root.join(file), "")?;
        }
        let linked = |name: &str, target: &str| -> Result<Option<PathBuf>> {
            let link = root.join("etc").join(name);
            symlink(root.join(target), &link)?;
            Ok(linked_directory(&link, &run))
        };
        let found = linked("resolv.conf", "run/network/resolv.conf")?;
        ensure!(found == Some(run.join("network")), "{found:?}");
        ensure!(linked("other", "etc/own")?.is_none());
        ensure!(linked("direct", "run/direct")?.is_none(), "not all of it");
        ensure!(linked("nothing", "run/missing")?.is_none());
        ensure!(linked_directory(&root.join("etc/own"), &run).is_none());
        Ok(())
    }

    #[test]
    fn the_libraries_of_this_program_are_readable() {
        let directories = mapped_directories();
        assert!(!directories.is_empty());
        assert!(directories.iter().all(|directory| directory.is_dir()));
    }
}
