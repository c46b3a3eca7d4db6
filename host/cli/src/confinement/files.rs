//! The rules for files and for connections over TCP, which Landlock enforces.

use landlock::{
    ABI, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The version of Landlock whose rules are used, of Linux 6.12. Later ones restrict what is of no use to this program.
const VERSION: ABI = ABI::V6;

/// The rules of one process. Paths that do not exist when they are applied are left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileRules {
    pub(crate) reading: Reading,
    /// The files, and directories with all below them, in which the process may create, change and remove files.
    pub(crate) write: Vec<PathBuf>,
    /// Set if it moves files from one of these directories to another. The first version of Landlock always refuses that,
    /// so that there are no rules on a kernel with this version.
    pub(crate) moves: bool,
    /// The devices that it may read, write and control.
    pub(crate) devices: Vec<PathBuf>,
    pub(crate) connect: Ports,
    /// Set if the process may listen on ports.
    pub(crate) listens: bool,
    /// Set if it may run programs.
    pub(crate) executes: bool,
    /// Set if it may send messages to abstract Unix sockets of other processes.
    pub(crate) abstract_sockets: bool,
}

/// The files that a process may read.
#[derive(Debug, Clone)]
pub(crate) enum Reading {
    /// Those that its user may read.
    Everything,
    /// These, and those below these directories.
    Only(Vec<PathBuf>),
}

/// The TCP ports to which a process may connect, on any host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ports(pub(crate) BTreeSet<u16>);

impl Default for Reading {
    fn default() -> Reading {
        Reading::Only(Vec::new())
    }
}

/// Applies the rules to the calling thread and to those that it starts. Returns the rules that the kernel enforces.
pub(super) fn restrict(rules: &FileRules) -> Result<LandlockStatus, RulesetError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut handled: BitFlags<AccessFs> = AccessFs::from_write(VERSION);
    let mut readable: &[PathBuf] = &[];
    if let Reading::Only(paths) = &rules.reading {
        handled |= read;
        readable = paths;
    }
    if !rules.executes {
        handled |= AccessFs::Execute;
    }
    let mut ports: BitFlags<AccessNet> = AccessNet::ConnectTcp.into();
    if !rules.listens {
        ports |= AccessNet::BindTcp;
    }
    let mut scopes: BitFlags<Scope> = Scope::Signal.into();
    if !rules.abstract_sockets {
        scopes |= Scope::AbstractUnixSocket;
    }
    let write = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    let control = read | AccessFs::WriteFile | AccessFs::IoctlDev;
    // Without support for this right, all rules are left out if files are moved, and this one otherwise.
    let level = match rules.moves {
        true => CompatLevel::SoftRequirement,
        false => CompatLevel::BestEffort,
    };
    let mut ruleset = Ruleset::default()
        .set_compatibility(level)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(handled)?
        .handle_access(ports)?
        .scope(scopes)?
        .create()?
        .add_rules(path_beneath_rules(
            in_directories(&rules.write),
            write & handled,
        ))?
        .add_rules(path_beneath_rules(
            in_directories(&rules.devices),
            control & handled,
        ))?;
    if !readable.is_empty() {
        ruleset = ruleset.add_rules(path_beneath_rules(in_directories(readable), read))?;
    }
    for port in &rules.connect.0 {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(ruleset.restrict_self()?.landlock)
}

/// Returns the paths of files that are in a directory. A pipe or a socket behind a path such as `/dev/stdout` is in none:
/// no rule can name it, and none is needed to open it.
fn in_directories(paths: &[PathBuf]) -> impl Iterator<Item = &Path> {
    let paths = paths.iter().map(PathBuf::as_path);
    paths.filter(|path| path.canonicalize().is_ok())
}

/// Returns the rules that the kernel does not enforce, if there are any, for a process that moves files or not.
pub(super) fn gap(enforced: LandlockStatus, moves: bool) -> Option<String> {
    let version = match enforced {
        LandlockStatus::NotImplemented => {
            return Some(
                "there are no rules for files: this kernel has no Landlock (Linux 5.13), or the service manager or the container refuses its calls"
                    .to_owned(),
            );
        }
        LandlockStatus::NotEnabled => {
            return Some(
                "there are no rules for files, since Landlock is not enabled (`lsm=landlock,...` on the command line \
                 of the kernel)"
                    .to_owned(),
            );
        }
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
    };
    if moves && version < ABI::V2 {
        return Some(
            "there are no rules for files: with the rules of this kernel, uploads could not be moved to their place \
             (Linux 5.19)"
                .to_owned(),
        );
    }
    let missing = [
        (ABI::V3, "truncating files (Linux 6.2)"),
        (ABI::V4, "the ports of connections (Linux 6.7)"),
        (ABI::V5, "the control of devices (Linux 6.10)"),
        (ABI::V6, "signals and abstract sockets (Linux 6.12)"),
    ];
    let missing: Vec<&str> = missing
        .into_iter()
        .filter(|(since, _)| version < *since)
        .map(|(_, rule)| rule)
        .collect();
    (!missing.is_empty()).then(|| format!("this kernel has no rules for {}", missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn available(version: ABI) -> LandlockStatus {
        LandlockStatus::Available {
            effective_abi: version,
            kernel_abi: None,
        }
    }

    #[test]
    fn a_rule_that_the_kernel_cannot_enforce_is_named_with_the_first_kernel_that_can() {
        assert_eq!(gap(available(ABI::V6), true), None);
        assert_eq!(gap(available(ABI::V10), false), None);
        let gap_of = |status| gap(status, false).unwrap_or_default();
        let old = gap_of(available(ABI::V3));
        assert!(old.contains("ports") && old.contains("6.7"), "{old}");
        assert!(!old.contains("truncating"), "{old}");
        let moves = gap(available(ABI::V1), true).unwrap_or_default();
        assert!(moves.contains("no rules for files") && moves.contains("5.19"));
        assert!(!gap_of(available(ABI::V1)).contains("5.19"));
        assert!(gap_of(LandlockStatus::NotImplemented).contains("5.13"));
        assert!(gap_of(LandlockStatus::NotEnabled).contains("lsm="));
    }

    #[test]
    fn a_thread_reads_and_writes_where_its_rules_allow_it_and_nowhere_else() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let place = |name: &str| directory.path().join(name);
        for name in ["read", "write", "other"] {
            std::fs::create_dir(place(name))?;
            std::fs::write(place(name).join("file"), name)?;
        }
        let rules = FileRules {
            reading: Reading::Only(vec![place("read"), place("missing")]),
            write: vec![place("write")],
            ..FileRules::default()
        };
        // The rules hold for this thread alone, and end with it.
        std::thread::scope(|scope| {
            let confined = scope.spawn(|| -> anyhow::Result<()> {
                if gap(restrict(&rules)?, false).is_some() {
                    // Nothing is promised on this kernel.
                    return Ok(());
                }
                let read = |name: &str| std::fs::read_to_string(place(name).join("file"));
                assert_eq!(read("read")?, "read");
                assert_eq!(read("write")?, "write");
                assert!(read("other").is_err());
                let write = |name: &str| std::fs::write(place(name).join("new"), name);
                write("write")?;
                std::fs::rename(place("write").join("new"), place("write").join("file"))?;
                assert!(write("read").is_err());
                assert!(write("other").is_err());
                assert!(
                    std::net::TcpStream::connect("127.0.0.1:9").is_err_and(|error| {
                        error.kind() == std::io::ErrorKind::PermissionDenied
                    })
                );
                Ok(())
            });
            confined.join().map_err(|_| anyhow::anyhow!("a panic"))?
        })
    }

    #[test]
    fn a_pipe_needs_no_rule_and_is_no_error() -> anyhow::Result<()> {
        let (reader, writer) = std::io::pipe()?;
        let pipe = PathBuf::from(format!("/proc/self/fd/{}", writer.as_raw_fd()));
        let rules = FileRules {
            devices: vec![pipe.clone(), PathBuf::from("/dev/null")],
            ..FileRules::default()
        };
        std::thread::scope(|scope| {
            let confined = scope.spawn(|| -> anyhow::Result<()> {
                restrict(&rules)?;
                std::fs::write(&pipe, "line")?;
                Ok(())
            });
            confined.join().map_err(|_| anyhow::anyhow!("a panic"))?
        })?;
        drop(writer);
        assert_eq!(std::io::read_to_string(reader)?, "line");
        Ok(())
    }
}
