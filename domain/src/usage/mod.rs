//! Model usage: tokens, prices, and the budgets that limit them.
//!
//! Money is in micro-USD: millionths of a US dollar. All arithmetic saturates, since tokens are reported by model servers, which are not
//! trusted.

mod admission;
mod balance;
mod estimate;
mod price;
mod scope;
mod share;
mod tokens;

pub use admission::{Demand, admit};
pub use balance::{Balance, Limit};
pub use estimate::{Basis, Estimate, MIN_SAMPLES, Range, Sample, Work, Worker, deviation_percent, estimate};
pub use price::{Price, Tier, of_tiers, price};
pub use scope::{Scope, day, minute, month};
pub use share::share;
pub use tokens::{Charge, Tokens};
