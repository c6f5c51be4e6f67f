//! What a plan's runtime keeps of its budgets.

use std::collections::HashMap;

use enact_domain::time::Millis;
use enact_domain::usage::{Balance, Limit, Scope};

/// What is kept of a plan's budgets between reconciles.
#[derive(Clone, Debug, Default)]
pub struct KnownBudgets {
    pub balances: HashMap<Scope, Balance>,
    /// Time at which the balances were read.
    pub read_at: Option<Millis>,
    /// The limits that were last written.
    pub written: HashMap<Scope, Limit>,
}

impl KnownBudgets {
    /// Returns the budgets with these limits as the last ones that were written.
    pub fn with_written(self, limits: Vec<(Scope, Limit)>) -> Self {
        Self { written: limits.into_iter().collect(), ..self }
    }
}
