//! The rules of Enact, without any I/O.
//!
//! The crate does not read a clock, a file, a socket or a random number: time is an argument ([`time::Millis`]), and every function
//! returns the same result for the same input. Controllers observe the cluster, call this crate to decide, and apply the decision.

pub mod agents;
pub mod analysis;
pub mod appendix;
pub mod approval;
pub mod assignment;
pub mod attempt;
pub mod clone_cache;
pub mod condition;
pub mod contest;
pub mod decisions;
pub mod deletion;
pub mod delivery;
pub mod digest;
pub mod document_job;
pub mod drafting;
pub mod graph;
pub mod knowledge;
pub mod names;
pub mod plan;
pub mod planning;
pub mod push;
pub mod quota;
pub mod reason;
pub mod record;
pub mod redaction;
pub mod report;
pub mod revisions;
pub mod rules;
pub mod speckit;
pub mod stamps;
pub mod text;
pub mod time;
pub mod usage;
pub mod waiting;
pub mod warm_pool;
