//! The store of compiled components. Each component is compiled once; the machine code is kept in a
//! directory that only this user can write.
//!
//! Compiling untrusted components can take any amount of time and memory, so a child process does it if
//! the store has a program for that ([`AotStore::compiling_with`]).
//!
//! Machine code runs without further checks, so a file is used only if it has a valid MAC over the code,
//! the component it was compiled from, the engine it was compiled for and the tenant whose it is, under a key that only
//! this user can read. The verified bytes themselves are loaded, not a file that could change in between. Any other
//! file (damaged, foreign, stale) is compiled again and replaced, never run.
//!
//! A component that is in use already is not loaded a second time: its users share one copy of the code. Tenants share
//! neither files nor copies, so that none can measure what another has deployed.
//!
//! Invariant: this module contains the program's only call of `deserialize`.

mod shared;

use self::shared::SharedComponents;
use crate::engine::{self, Engine};
use crate::limited_process::{ChildError, ChildProgram, ChildResponse, ProcessLimits};
use crate::text::bounded;
use std::fs::{self, DirBuilder};
use std::hash::Hash;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wasmtime::component::Component;

const MAC_BYTES: usize = blake3::OUT_LEN;

/// The limits on compiling one component.
pub const COMPILATION: ProcessLimits = ProcessLimits {
    processor_time: Duration::from_secs(10),
    wall_time: Duration::from_secs(60),
    memory_bytes: 1 << 30,
    output_bytes: 128 << 20,
};

/// The age from which a temporary file is considered abandoned by its process.
const ABANDONED: Duration = Duration::from_secs(3600);

/// The store of compiled components. Lifetime: the process.
#[derive(Debug, Default)]
pub struct AotStore {
    /// `None` if compiled components are kept in memory only.
    files: Option<Arc<Files>>,
    /// The tenant whose components these are; empty without tenants.
    tenant: String,
    /// The compiling program and its limits; if `None`, this process compiles.
    compiler: Option<(ChildProgram, ProcessLimits)>,
    /// The components that are in use.
    shared: SharedComponents,
}

/// A directory of compiled components that belongs to this user, and the key of their MACs.
#[derive(Debug)]
struct Files {
    directory: PathBuf,
    key: [u8; blake3::KEY_LEN],
    /// Set once a component could not be stored, which is logged once.
    has_failed: AtomicBool,
}

/// The error for a directory that cannot be used as a store.
#[derive(Debug, thiserror::Error)]
pub enum AotStoreError {
    #[error("failed to {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "`{}` contains machine code and must belong to you with mode 0700, not to uid {uid} with mode {mode:04o}; \
         fix it or name another directory with --cache-dir",
        path.display()
    )]
    Permissions { path: PathBuf, uid: u32, mode: u32 },
}

/// The origin of a component's machine code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Stored,
    Compiled,
}

/// The error for a component that cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The component is invalid.
    #[error("the component is invalid: {reason}")]
    Invalid { reason: String },
    /// The component cannot be compiled within the limits.
    #[error("the component cannot be compiled: {0}")]
    Child(ChildError),
    /// The component was compiled, but the machine code could not be loaded.
    #[error("failed to load compiled code")]
    Load(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AotStore {
    /// Opens a store in `directory`. Creates the directory and its key if they are missing. If neither exists
    /// and no files can be created, compiled components are kept in memory only, which is logged.
    pub fn open(directory: &Path) -> Result<AotStore, AotStoreError> {
        let making = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        let key = match making {
            Ok(()) => {
                check_permissions(directory)?;
                remove_abandoned(directory);
                let path = directory.join("key");
                usable(directory, read_or_make_key(directory, &path)).map_err(io("read", &path))?
            }
            Err(error) => usable(directory, Err(error)).map_err(io("create", directory))?,
        };
        Ok(AotStore {
            files: key.map(|key| {
                Arc::new(Files {
                    directory: directory.to_owned(),
                    key,
                    has_failed: AtomicBool::new(false),
                })
            }),
            tenant: String::new(),
            compiler: None,
            shared: SharedComponents::default(),
        })
    }

    /// Returns a store that keeps nothing in files.
    pub fn in_memory() -> AotStore {
        AotStore::default()
    }

    /// Returns the same store, set to compile components in a child process: `program` must call
    /// [`compile`] with its input.
    pub fn compiling_with(self, program: ChildProgram, limits: ProcessLimits) -> AotStore {
        AotStore {
            compiler: Some((program, limits)),
            ..self
        }
    }

    /// Returns a store of the components of a tenant, in the same directory and with the same compiler.
    pub fn of_tenant(&self, tenant: &str) -> AotStore {
        AotStore {
            files: self.files.clone(),
            tenant: tenant.to_owned(),
            compiler: self.compiler.clone(),
            shared: SharedComponents::default(),
        }
    }

    /// Returns the machine code of a valid component: the copy that is in use, the one of the store, or newly compiled and
    /// stored code.
    ///
    /// If the store cannot be written, the only consequence is another compilation at the next start.
    pub fn load(
        &self,
        engine: &Engine,
        wasm: &[u8],
    ) -> Result<(Arc<Component>, Origin), CompileError> {
        let subject = Subject::new(engine, wasm, &self.tenant);
        if let Some(component) = self.shared.get(&engine.wasmtime, &subject.component) {
            return Ok((component, Origin::Stored));
        }
        if let Some(code) = self.files.as_ref().and_then(|f| f.read_verified(&subject))
            && let Ok(component) = deserialize(engine, &code[MAC_BYTES..])
        {
            let component = self.shared.add(subject.component, component);
            return Ok((component, Origin::Stored));
        }
        let code = self.compile(engine, wasm)?;
        if let Some(files) = &self.files {
            files.store(&subject, &code);
        }
        let component =
            deserialize(engine, &code).map_err(|error| CompileError::Load(error.into()))?;
        let component = self.shared.add(subject.component, component);
        Ok((component, Origin::Compiled))
    }

    fn compile(&self, engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
        let Some((program, limits)) = &self.compiler else {
            return precompile(&engine.wasmtime, wasm);
        };
        match program.run(&[], wasm, limits) {
            Ok(ChildResponse::Result(code)) => Ok(code),
            Ok(ChildResponse::Refusal(reason)) => Err(CompileError::Invalid { reason }),
            Err(error) => Err(CompileError::Child(error)),
        }
    }
}

impl Files {
    /// Returns the whole file of this subject if its MAC is valid.
    fn read_verified(&self, subject: &Subject) -> Option<Vec<u8>> {
        let file = fs::read(self.directory.join(subject.file_name())).ok()?;
        let (mac, code) = file.split_first_chunk::<MAC_BYTES>()?;
        // `blake3::Hash` compares in constant time.
        let genuine = self.mac(subject, code) == *mac;
        if !genuine {
            tracing::warn!(
                "a stored component is damaged or not from this host; compiling it again"
            );
        }
        genuine.then_some(file)
    }

    /// Stores the code of this subject. The first failure is logged.
    fn store(&self, subject: &Subject, code: &[u8]) {
        let Err(error) = self.write(subject, code) else {
            return;
        };
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %error,
                directory = %self.directory.display(),
                "failed to store compiled code; the next start compiles it again"
            );
        }
    }

    fn write(&self, subject: &Subject, code: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(self.mac(subject, code).as_bytes())?;
        file.write_all(code)?;
        file.as_file().sync_all()?;
        file.persist(self.directory.join(subject.file_name()))?;
        fs::File::open(&self.directory)?.sync_all()
    }

    fn mac(&self, subject: &Subject, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(subject.component.as_bytes());
        hasher.update(subject.engine.as_bytes());
        hasher.update(subject.tenant.as_bytes());
        hasher.update(code);
        hasher.finalize()
    }
}

/// Compiles a component in a child process, for the engine of a parent process of the same program.
pub fn compile(wasm: &[u8]) -> ChildResponse {
    let compiled = engine::compiling_engine()
        .map_err(|error| CompileError::Load(error.into()))
        .and_then(|engine| precompile(&engine, wasm));
    match compiled {
        Ok(code) => ChildResponse::Result(code),
        Err(CompileError::Invalid { reason }) => ChildResponse::Refusal(reason),
        Err(error) => ChildResponse::Refusal(error.to_string()),
    }
}

fn precompile(engine: &wasmtime::Engine, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    engine
        .precompile_component(wasm)
        .map_err(|error| CompileError::Invalid {
            // The error repeats names of the component.
            reason: bounded(&format!("{error:#}")),
        })
}

/// The component, the engine and the tenant that stored code was compiled from and for.
struct Subject {
    component: blake3::Hash,
    engine: blake3::Hash,
    /// The hash of the tenant's name, whose length is therefore no part of the MAC.
    tenant: blake3::Hash,
}

impl Subject {
    fn new(engine: &Engine, wasm: &[u8], tenant: &str) -> Subject {
        let mut compatibility = CompatibilityHasher(blake3::Hasher::new());
        engine
            .wasmtime
            .precompile_compatibility_hash()
            .hash(&mut compatibility);
        Subject {
            component: blake3::hash(wasm),
            engine: compatibility.0.finalize(),
            tenant: blake3::hash(tenant.as_bytes()),
        }
    }

    fn file_name(&self) -> String {
        let (engine, tenant) = (self.engine.to_hex(), self.tenant.to_hex());
        let component = self.component.to_hex();
        format!("{component}-{}-{}.cwasm", &engine[..16], &tenant[..16])
    }
}

/// Collects wasmtime's version, target and settings, which it exposes only to a `Hasher`.
struct CompatibilityHasher(blake3::Hasher);

impl std::hash::Hasher for CompatibilityHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.finalize();
        let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// Returns a function that wraps an error in [`AotStoreError::Io`], with the action and the path.
fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AotStoreError {
    let path = path.to_owned();
    move |source| AotStoreError::Io {
        action,
        path,
        source,
    }
}

/// Maps an error to `None` and logs it: a directory that cannot be used costs compilations only. A damaged key
/// stays an error, since the operator has to delete it.
fn usable<T>(directory: &Path, outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(error),
        Err(error) => {
            tracing::warn!(
                %error,
                directory = %directory.display(),
                "compiled code is not stored, so every start compiles it again: the cache directory cannot be \
                 used; choose another one with --cache-dir"
            );
            Ok(None)
        }
    }
}

fn check_permissions(directory: &Path) -> Result<(), AotStoreError> {
    let metadata = fs::metadata(directory).map_err(io("read", directory))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(AotStoreError::Permissions {
            path: directory.to_owned(),
            uid: metadata.uid(),
            mode,
        });
    }
    Ok(())
}

/// Removes incomplete files of processes that were killed. Files that cannot be removed do no harm.
fn remove_abandoned(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_temporary = entry.file_name().as_encoded_bytes().starts_with(b".tmp");
        let is_old = || {
            let age = entry.metadata().ok()?.modified().ok()?.elapsed().ok()?;
            Some(age > ABANDONED)
        };
        if is_temporary && is_old() == Some(true) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn random_key() -> io::Result<[u8; blake3::KEY_LEN]> {
    let mut key = [0; blake3::KEY_LEN];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    Ok(key)
}

fn read_or_make_key(directory: &Path, path: &Path) -> io::Result<[u8; blake3::KEY_LEN]> {
    if !path.exists() {
        let key = random_key()?;
        // Temporary files have mode 0600. If two processes start at once, only one of them creates the
        // key.
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&key)?;
        file.as_file().sync_all()?;
        if let Err(error) = file.persist_noclobber(path)
            && error.error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error.error);
        }
    }
    fs::read(path)?
        .try_into()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the key is damaged; delete it"))
}

#[expect(
    unsafe_code,
    reason = "wasmtime cannot check machine code, so loading it is unsafe"
)]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` must be the unmodified output of `precompile_component`. Both callers ensure it:
    // `load` has just produced it, or has received it from a child process of this program through a pipe
    // that no other process holds (a spawner has held it only to give it to the child); or `read_verified` has checked these very bytes against a MAC whose
    // key only this user can read. The bytes are in this process's memory, out of reach of other
    // processes.
    unsafe { Component::deserialize(&engine.wasmtime, code) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineOptions;
    use anyhow::Context;

    const EMPTY: &[u8] = b"(component)";

    fn engine() -> anyhow::Result<Engine> {
        Ok(Engine::start(&EngineOptions {
            instances: 1,
            ..EngineOptions::default()
        })?)
    }

    #[test]
    fn the_compiling_engine_makes_code_that_the_running_engine_accepts() -> anyhow::Result<()> {
        let engine = engine()?;
        let wasm = wat::parse_bytes(EMPTY)?;
        let ChildResponse::Result(code) = compile(&wasm) else {
            anyhow::bail!("it is not compiled");
        };
        deserialize(&engine, &code).map_err(anyhow::Error::msg)?;
        assert_eq!(code, precompile(&engine.wasmtime, &wasm)?);
        assert!(matches!(compile(b"junk"), ChildResponse::Refusal(_)));
        Ok(())
    }

    fn stored_file(directory: &Path) -> anyhow::Result<PathBuf> {
        fs::read_dir(directory)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|e| e == "cwasm"))
            .context("nothing was stored")
    }

    #[test]
    fn compiled_code_is_stored_once_and_found_again() -> anyhow::Result<()> {
        let (engine, directory) = (engine()?, tempfile::tempdir()?);
        let wasm = wat::parse_bytes(EMPTY)?;
        let store = AotStore::open(&directory.path().join("aot"))?;
        assert_eq!(store.load(&engine, &wasm)?.1, Origin::Compiled);
        assert_eq!(store.load(&engine, &wasm)?.1, Origin::Stored);
        let reopened = AotStore::open(&directory.path().join("aot"))?;
        assert_eq!(reopened.load(&engine, &wasm)?.1, Origin::Stored);
        Ok(())
    }

    #[test]
    fn equal_components_share_their_code_while_one_of_them_is_used() -> anyhow::Result<()> {
        let (engine, other) = (engine()?, engine()?);
        let wasm = wat::parse_bytes(EMPTY)?;
        let store = AotStore::in_memory();
        let (first, origin) = store.load(&engine, &wasm)?;
        assert_eq!(origin, Origin::Compiled);
        let (second, _) = store.load(&engine, &wasm)?;
        assert!(Arc::ptr_eq(&first, &second));
        // Code belongs to the engine that has loaded it.
        assert!(!Arc::ptr_eq(&first, &store.load(&other, &wasm)?.0));
        drop((first, second));
        let (_, origin) = store.load(&engine, &wasm)?;
        assert_eq!(origin, Origin::Compiled);
        Ok(())
    }

    #[test]
    fn every_damaged_byte_is_detected_and_the_file_replaced() -> anyhow::Result<()> {
        let (engine, directory) = (engine()?, tempfile::tempdir()?);
        let wasm = wat::parse_bytes(EMPTY)?;
        let path = directory.path().join("aot");
        let store = AotStore::open(&path)?;
        store.load(&engine, &wasm)?;
        let file = stored_file(&path)?;
        let genuine = fs::read(&file)?;
        let step = genuine.len() / 200 + 1;
        for position in (0..genuine.len()).step_by(step) {
            let mut damaged = genuine.clone();
            damaged[position] ^= 0x40;
            fs::write(&file, damaged)?;
            assert_eq!(
                store.load(&engine, &wasm)?.1,
                Origin::Compiled,
                "byte {position}"
            );
        }
        for length in [0, 1, MAC_BYTES, genuine.len() - 1] {
            fs::write(&file, &genuine[..length])?;
            assert_eq!(
                store.load(&engine, &wasm)?.1,
                Origin::Compiled,
                "length {length}"
            );
        }
        assert_eq!(store.load(&engine, &wasm)?.1, Origin::Stored);
        Ok(())
    }

    #[test]
    fn code_from_another_host_or_component_is_not_run() -> anyhow::Result<()> {
        let (engine, directory) = (engine()?, tempfile::tempdir()?);
        let wasm = wat::parse_bytes(EMPTY)?;
        let other = wat::parse_bytes(b"(component (core module))")?;
        let (here, there) = (
            directory.path().join("here"),
            directory.path().join("there"),
        );
        let store = AotStore::open(&here)?;
        AotStore::open(&there)?.load(&engine, &wasm)?;
        let foreign = stored_file(&there)?;
        let name = foreign.file_name().context("no name")?;
        fs::copy(&foreign, here.join(name))?;
        assert_eq!(store.load(&engine, &wasm)?.1, Origin::Compiled);
        let genuine = stored_file(&here)?;
        let swapped = here.join(Subject::new(&engine, &other, "").file_name());
        fs::copy(genuine, swapped)?;
        assert_eq!(store.load(&engine, &other)?.1, Origin::Compiled);
        Ok(())
    }

    #[test]
    fn a_tenant_uses_no_code_of_another() -> anyhow::Result<()> {
        let (engine, directory) = (engine()?, tempfile::tempdir()?);
        let wasm = wat::parse_bytes(EMPTY)?;
        let path = directory.path().join("aot");
        let store = AotStore::open(&path)?;
        let (_kept, origin) = store.load(&engine, &wasm)?;
        assert_eq!(origin, Origin::Compiled);
        let tenant = store.of_tenant("acme");
        assert_eq!(tenant.load(&engine, &wasm)?.1, Origin::Compiled);
        assert_eq!(tenant.load(&engine, &wasm)?.1, Origin::Stored);
        // Under the name of the other tenant's file, the code is still not its own.
        let own = path.join(Subject::new(&engine, &wasm, "").file_name());
        let other = path.join(Subject::new(&engine, &wasm, "acme").file_name());
        fs::copy(own, other)?;
        assert_eq!(tenant.load(&engine, &wasm)?.1, Origin::Compiled);
        Ok(())
    }

    #[test]
    fn a_link_to_other_code_is_not_followed_to_run_it() -> anyhow::Result<()> {
        let (engine, directory) = (engine()?, tempfile::tempdir()?);
        let wasm = wat::parse_bytes(EMPTY)?;
        let path = directory.path().join("aot");
        let store = AotStore::open(&path)?;
        let elsewhere = directory.path().join("elsewhere");
        // A forged file: a MAC of zeros before genuine code.
        let code = precompile(&engine.wasmtime, &wasm)?;
        fs::write(&elsewhere, [&[0; MAC_BYTES][..], &code].concat())?;
        let file = path.join(Subject::new(&engine, &wasm, "").file_name());
        std::os::unix::fs::symlink(&elsewhere, &file)?;
        assert_eq!(store.load(&engine, &wasm)?.1, Origin::Compiled);
        // The link was replaced, and its target left alone.
        assert!(!file.is_symlink());
        assert_eq!(fs::read(&elsewhere)?.len(), code.len() + MAC_BYTES);
        assert_eq!(store.load(&engine, &wasm)?.1, Origin::Stored);
        Ok(())
    }

    #[test]
    fn without_a_directory_that_can_be_used_components_are_compiled_each_time() -> anyhow::Result<()>
    {
        let (engine, file) = (engine()?, tempfile::NamedTempFile::new()?);
        let wasm = wat::parse_bytes(EMPTY)?;
        let below_a_file = AotStore::open(&file.path().join("aot"))?;
        let below_nothing = AotStore::open(Path::new("/proc/none/aot"))?;
        for store in [below_a_file, below_nothing, AotStore::in_memory()] {
            for _ in 0..2 {
                assert_eq!(store.load(&engine, &wasm)?.1, Origin::Compiled);
            }
        }
        Ok(())
    }

    #[test]
    fn code_that_cannot_be_stored_any_more_is_compiled_each_time() -> anyhow::Result<()> {
        let (engine, directory) = (engine()?, tempfile::tempdir()?);
        let wasm = wat::parse_bytes(EMPTY)?;
        let path = directory.path().join("aot");
        let store = AotStore::open(&path)?;
        fs::remove_dir_all(&path)?;
        for _ in 0..2 {
            assert_eq!(store.load(&engine, &wasm)?.1, Origin::Compiled);
        }
        Ok(())
    }

    #[test]
    fn a_damaged_key_is_an_error() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("aot");
        AotStore::open(&path)?;
        fs::write(path.join("key"), "short")?;
        let error = AotStore::open(&path).err().context("accepted")?;
        assert!(error.to_string().contains("key"), "{error}");
        Ok(())
    }

    #[test]
    fn a_directory_that_others_can_reach_is_refused() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let error = AotStore::open(directory.path()).err().context("accepted")?;
        assert!(error.to_string().contains("0755"), "{error}");
        Ok(())
    }
}
