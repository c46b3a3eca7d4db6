//! The sandbox for handlers: all code that uses wasmtime. A handler is loaded once, and each call runs on
//! an instance created for that one request.
//!
//! [`component`] refuses components that import more than they are granted. [`aot`] compiles the others
//! in a [`limited_process`], or finds the compiled code in its store; a [`worker_process`] performs short
//! tasks in turn, and a [`serving_child`] answers requests over a socket. `child_attendant` stays with each of these processes until it ends, in this process or in a
//! [`spawner`]; [`oom_score`] makes them go first when memory runs out. [`engine`] holds the state that all instances share, and [`limits`] the resource limits
//! of one instance. [`handler`] initializes a handler and makes the calls, each on an instance of the
//! private module `instance`. [`nn`] implements the wasi:nn imports through [`compute::Compute`],
//! [`configuration`] has the settings and files of the model, and [`grants`] the imports that it can grant;
//! [`logging`] collects the lines that a guest logs. `linker` links them. [`web`] is the same for components that
//! export wasi:http instead of a handler's contract, and [`preload`] makes the parts of an edge bundle.
//! [`backtrace`] formats the functions in which a guest has trapped, and [`guest_run`] contains the counts of a call.
//!
//! Invariants: no data of a request outlives its store; a store is never used after a trap; this crate
//! has no access to the model repository, the protocols or the inference backends.

pub mod aot;
pub mod backtrace;
mod child_attendant;
pub mod component;
pub mod compute;
pub mod configuration;
pub mod engine;
pub mod grants;
pub mod guest_clock;
pub mod guest_run;
pub mod handler;
mod instance;
pub mod limited_process;
pub mod limits;
mod linker;
pub mod logging;
pub mod nn;
pub mod oom_score;
pub mod preload;
pub mod serving_child;
pub mod spawner;
mod text;
pub mod web;
pub mod worker_process;
