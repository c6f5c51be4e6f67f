use std::collections::HashMap;
use std::hash::BuildHasher;

use super::balance::Balance;
use super::scope::Scope;
use super::tokens::Charge;

/// A model request that asks for its share of the budgets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The scopes that the request counts for. The first one that does not allow the request is the reason of a refusal.
    pub scopes: Vec<Scope>,
    pub estimate: Charge,
}

/// Decides about requests in their order: accepts each one that all its budgets allow, and reserves its estimate in `balances`. Returns
/// for each request none, or the scope that refuses it with the balance at this time.
///
/// A scope without a balance has no limit.
pub fn admit<S: BuildHasher>(
    balances: &mut HashMap<Scope, Balance, S>,
    demands: &[Demand],
) -> Vec<Option<(Scope, Balance)>> {
    demands
        .iter()
        .map(|demand| {
            let refusing = demand.scopes.iter().find_map(|scope| {
                let balance = balances.get(scope)?;
                (!balance.allows(&demand.estimate)).then(|| (scope.clone(), *balance))
            });
            if refusing.is_none() {
                for scope in &demand.scopes {
                    balances.entry(scope.clone()).or_default().reserve(&demand.estimate);
                }
            }
            refusing
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::{Limit, Tokens};

    #[test]
    fn requests_of_one_batch_share_the_budget() {
        let plan = Scope::Plan { uid: "p".into() };
        let task = |uid: &str| Scope::Task { uid: uid.into() };
        let limited =
            |tokens| Balance { limit: Limit { tokens: Some(tokens), cost_micro_usd: None }, ..Balance::default() };
        let mut balances = HashMap::from([(plan.clone(), limited(25)), (task("a"), limited(10))]);
        let demand = |uid: &str| Demand {
            scopes: vec![task(uid), plan.clone()],
            estimate: Charge { tokens: Tokens { output: 10, ..Tokens::default() }, cost_micro_usd: None },
        };
        let outcomes = admit(&mut balances, &[demand("a"), demand("a"), demand("b"), demand("c")]);
        let refusing: Vec<_> = outcomes.into_iter().map(|outcome| outcome.map(|(scope, _)| scope)).collect();
        assert_eq!(refusing, [None, Some(task("a")), None, Some(plan.clone())]);
        assert_eq!(balances[&plan].used_tokens(), 20, "a refused request reserves nothing");
    }
}
