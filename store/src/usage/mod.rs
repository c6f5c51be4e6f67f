//! Usage records of model requests, and the budgets that they count for.
//!
//! A request is opened before it is sent to the model, which reserves its estimate in all its budgets, and settled when it has ended, which
//! replaces the estimate by what was used. Both are idempotent by the ID of the request.
//!
//! So that transactions do not deadlock, each locks existing rows of `model_requests` before those of `budgets`, and both in the order of
//! their keys. Requests are inserted after the budgets are locked, which waits only for a transaction that has locked the same budgets.

mod budgets;
mod logs;
mod model;
mod open;
mod plans;
mod query;
mod refusals;
mod requirements;
mod rows;
mod settle;
mod specifications;

pub use budgets::BudgetRow;
pub use logs::{LoggedRequest, RequestLog, RequestLogFilter};
pub(crate) use model::unsigned;
pub use model::{ModelRequest, Opened, Outcome, Settlement};
pub(crate) use plans::continued_reasons;
pub use plans::{Discarded, FinishedTask};
pub use query::{UsageFilter, UsageQuery};
pub use refusals::Refusal;
pub use rows::{Dimension, UsageRow};
