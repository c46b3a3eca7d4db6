//! The use of the server by each tenant and model, for metrics and for invoices.
//!
//! A [`call_meter`] measures one request wherever its work is done, and adds what it has used to a [`usage_cell`] when
//! the last part of that work has ended, whatever came of the request. A cell has the totals of one tenant and one model
//! version. Metrics read the cells of loaded versions; the [`usage_book`] has all of them, and returns what each has
//! used since it was last read, for the log of the usage. [`processor_time`] measures the time of guests, and [`job_meter`]
//! that of short jobs without a system call for each.

pub mod call_meter;
pub(crate) mod job_meter;
pub(crate) mod processor_time;
pub mod usage_book;
pub mod usage_cell;
pub mod usage_counters;
