//! A scripted model server: it speaks the wire formats of model providers, and answers what a scenario says.
//!
//! It stands for a model in tests of agents, of the gateway and of everything between. [docs/guide/model-server.md](
//! ../docs/guide/model-server.md) describes scenarios and the ledger.

mod app;
mod conversation;
mod ledger;
mod playback;
mod reply;
mod respond;
mod route;
mod scenario;
mod select;
mod server;
mod tools;
mod usage;
mod wire;

pub use app::{Canary, Config};
pub use conversation::Format;
pub use ledger::{Outcome, Received, RunTotals, Served, Summary, Totals};
pub use scenario::{Scenario, ScenarioError};
pub use server::Server;
pub use usage::Usage;
