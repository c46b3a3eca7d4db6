//! The inference service: selects a model version, admits the call and runs it. Start with [`infer()`], a
//! single function that uses every module of a request in order; [`web::respond`] is the same for web components.
//!
//! [`registry`] resolves names to a [`version::ModelVersion`] and loads versions; [`model_control`] loads
//! them while the server runs, for clients or a [`repository_poll`], in turns ([`load_locks`]), and adds [`uploads`] to the repository; `case_call` computes their
//! golden cases before; [`file_state`] detects changed files. A [`release`] splits the requests between two versions.
//! [`residency`] decides which models are loaded within a budget, which [`memory_ledger`] counts; a [`memory_watch`]
//! relieves [`memory_pressure`] before the kernel would end the process, and counts `descendants` with it. Work has an [`owner`], and `owner_accounts` share
//! threads and `fair_slots` between owners; a [`quota`] limits what one of them may use. A [`response_cache`]
//! remembers responses. The [`namespaces`] of the [`tenants`] have a [`Serving`] each; requests for the process of a tenant
//! are [`forwarded`].
//! [`admission`] decides whether a call may run, once [`readers`] has its body. A
//! version runs a call on a [`batcher`] or with a [`handler_executor`] in the [`fair_pool`]; `call_slots`
//! bounds the handler calls, and `call_durations` chooses their threads; a [`web_executor`] runs the calls of web components.
//! A [`logged_handler`] and a [`guest_log_writer`] write what guests log, with the request that [`current_request`] names. All graphs share the threads of a
//! [`worker_pool`], a [`per_row_graph`] splits batches that are faster row by row, and a [`cost_curve`] shows whether
//! requests are computed together. [`blocking`] moves
//! long codec work off the threads that serve connections, `footprint` reserves memory, [`timings`] measures
//! a request, [`statistics`] sums those of a version, [`version_counters`] those of its loads for metrics, in a
//! [`histogram`] for each phase and by [`failure_reason`], [`metering`] measures what each tenant uses, [`quality`] checks and observes its data, [`payload_log`] copies a
//! share ([`sample_ratio`]) of the inputs and outputs for a writer, through an [`event_queue`], and [`error`] assigns each
//! failure a kind. Invariant:
//! no socket and no wire format in this crate; the server passes a body that is read once.
#![forbid(unsafe_code)]

mod account;
pub mod admission;
pub mod batcher;
pub mod blocking;
mod body;
pub mod cache_outcome;
pub mod call_durations;
mod call_error;
mod call_slots;
mod case_call;
pub mod cost_curve;
pub mod current_request;
mod descendants;
pub mod error;
pub mod event_queue;
mod expected_wait;
pub mod failure_reason;
pub mod fair_pool;
mod fair_slots;
pub mod file_state;
mod footprint;
pub mod forwarded;
pub mod guest_log_writer;
pub mod handler_executor;
pub mod histogram;
pub mod infer;
pub mod load_locks;
pub mod logged_handler;
pub mod memory_ledger;
pub mod memory_pressure;
pub mod memory_watch;
pub mod metering;
pub mod model_control;
mod moving_average;
pub mod namespaces;
pub mod owner;
mod owner_accounts;
pub mod payload_log;
pub mod per_row_graph;
pub mod quality;
pub mod quota;
mod readers;
pub mod registry;
pub mod release;
pub mod repository_poll;
pub mod residency;
pub mod response_cache;
pub mod sample_ratio;
mod serving;
pub mod signature_check;
pub mod statistics;
pub mod tenants;
mod thread_policy;
pub mod timings;
pub mod uploads;
pub mod version;
pub mod version_counters;
pub mod web;
mod web_error_kind;
pub mod web_executor;
pub mod worker_pool;

pub use body::BodyError;
pub use call_error::CallError;
pub use error::InferError;
pub use infer::{Inferred, infer};
pub use readers::ReadingSlot;
pub use serving::{Readiness, Serving, ServingOptions};
