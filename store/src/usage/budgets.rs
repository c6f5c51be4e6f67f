//! Limits and balances.

use std::collections::{BTreeMap, HashMap};

use enact_domain::usage::{Balance, Charge, Limit, Scope, Tokens};
use serde::Serialize;

use super::model::{signed, unsigned};
use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// Most budgets in one answer, of each kind.
const PAGE: i64 = 200;

/// The columns of `enact.budgets`.
pub(super) struct BalanceRow {
    pub scope: String,
    pub limit_tokens: Option<i64>,
    pub limit_cost_micro_usd: Option<i64>,
    pub spent_input: i64,
    pub spent_cached_input: i64,
    pub spent_cache_write: i64,
    pub spent_output: i64,
    pub spent_reasoning: i64,
    pub spent_cost_micro_usd: i64,
    pub unpriced_tokens: i64,
    pub reserved_input: i64,
    pub reserved_cached_input: i64,
    pub reserved_cache_write: i64,
    pub reserved_output: i64,
    pub reserved_cost_micro_usd: i64,
}

/// Returns the columns of `enact.budgets` in a row that has more columns.
macro_rules! balance_row {
    ($row:expr) => {
        $crate::usage::budgets::BalanceRow {
            scope: $row.scope,
            limit_tokens: $row.limit_tokens,
            limit_cost_micro_usd: $row.limit_cost_micro_usd,
            spent_input: $row.spent_input,
            spent_cached_input: $row.spent_cached_input,
            spent_cache_write: $row.spent_cache_write,
            spent_output: $row.spent_output,
            spent_reasoning: $row.spent_reasoning,
            spent_cost_micro_usd: $row.spent_cost_micro_usd,
            unpriced_tokens: $row.unpriced_tokens,
            reserved_input: $row.reserved_input,
            reserved_cached_input: $row.reserved_cached_input,
            reserved_cache_write: $row.reserved_cache_write,
            reserved_output: $row.reserved_output,
            reserved_cost_micro_usd: $row.reserved_cost_micro_usd,
        }
    };
}
pub(super) use balance_row;

impl BalanceRow {
    pub fn balance(&self) -> Balance {
        Balance {
            limit: Limit {
                tokens: self.limit_tokens.map(unsigned),
                cost_micro_usd: self.limit_cost_micro_usd.map(unsigned),
            },
            spent: Charge {
                tokens: Tokens {
                    input: unsigned(self.spent_input),
                    cached_input: unsigned(self.spent_cached_input),
                    cache_write: unsigned(self.spent_cache_write),
                    // Of a budget, only the cost is known.
                    cache_write_hour: 0,
                    output: unsigned(self.spent_output),
                    reasoning: unsigned(self.spent_reasoning),
                },
                cost_micro_usd: Some(unsigned(self.spent_cost_micro_usd)),
            },
            reserved: Charge {
                tokens: Tokens {
                    input: unsigned(self.reserved_input),
                    cached_input: unsigned(self.reserved_cached_input),
                    cache_write: unsigned(self.reserved_cache_write),
                    // Of a budget, only the cost is known.
                    cache_write_hour: 0,
                    output: unsigned(self.reserved_output),
                    reasoning: 0,
                },
                cost_micro_usd: Some(unsigned(self.reserved_cost_micro_usd)),
            },
            unpriced_tokens: unsigned(self.unpriced_tokens),
        }
    }
}

/// A budget with the name of its object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetRow {
    pub scope: Scope,
    /// Name of the tenant, Agent, Plan or Task.
    pub name: String,
    pub balance: Balance,
}

impl Store {
    /// Sets the limits of budgets. What is spent and reserved stays. A limit can be below it: then further requests are refused.
    pub async fn set_budgets(&self, tenant: &str, budgets: &[(Scope, Limit)]) -> Result<(), StoreError> {
        if budgets.is_empty() {
            return Ok(());
        }
        // The last limit of a scope counts: a statement cannot update a row twice.
        let budgets: BTreeMap<String, Limit> = budgets.iter().map(|(scope, limit)| (scope.key(), *limit)).collect();
        let tokens: Vec<Option<i64>> = budgets.values().map(|limit| limit.tokens.map(signed)).collect();
        let cost: Vec<Option<i64>> = budgets.values().map(|limit| limit.cost_micro_usd.map(signed)).collect();
        self.transaction("set the limits of budgets", tenant, async |session: &mut Session| {
            sqlx::query!(
                r#"insert into enact.budgets as old (tenant_id, scope, limit_tokens, limit_cost_micro_usd)
                select $1, scope, tokens, cost
                from unnest($2::text[], $3::bigint[], $4::bigint[]) as t (scope, tokens, cost)
                order by scope collate "C"
                on conflict (tenant_id, scope) do update
                set limit_tokens = excluded.limit_tokens, limit_cost_micro_usd = excluded.limit_cost_micro_usd,
                    updated_at = clock_timestamp()
                where (old.limit_tokens, old.limit_cost_micro_usd)
                    is distinct from (excluded.limit_tokens, excluded.limit_cost_micro_usd)"#,
                tenant,
                &keys(&budgets),
                &tokens as &[Option<i64>],
                &cost as &[Option<i64>],
            )
            .execute(session.statement())
            .await
        })
        .await?;
        Ok(())
    }

    /// Returns the balance of each scope, in the order of `scopes`. A scope without usage and limit has an empty balance.
    pub async fn balances(&self, tenant: &str, scopes: &[Scope]) -> Result<Vec<(Scope, Balance)>, StoreError> {
        let keys: Vec<String> = scopes.iter().map(Scope::key).collect();
        let rows = self
            .transaction("read budgets", tenant, async |session: &mut Session| {
                sqlx::query_as!(
                    BalanceRow,
                    "select scope, limit_tokens, limit_cost_micro_usd, spent_input, spent_cached_input, spent_cache_write, spent_output,
                            spent_reasoning, spent_cost_micro_usd, unpriced_tokens, reserved_input, reserved_cached_input,
                            reserved_cache_write, reserved_output, reserved_cost_micro_usd
                    from enact.budgets where tenant_id = $1 and scope = any($2)",
                    tenant,
                    &keys,
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        let found: HashMap<String, Balance> = rows.into_iter().map(|row| (row.scope.clone(), row.balance())).collect();
        let balance = |scope: &Scope| found.get(&scope.key()).copied().unwrap_or_default();
        Ok(scopes.iter().map(|scope| (scope.clone(), balance(scope))).collect())
    }

    /// Returns the budgets that concern a namespace: of the tenant and of the namespace's Agents in `month`, and of its Plans. With the name
    /// of a plan, those of its tasks instead of the other plans. Budgets without usage and limits are left out.
    pub async fn budgets(
        &self,
        tenant: &str,
        namespace: &str,
        plan: Option<&str>,
        month: &str,
    ) -> Result<Vec<BudgetRow>, StoreError> {
        let of_tenant = Scope::Tenant { month: month.to_owned() }.key();
        let rows = self
            .transaction("read the budgets of a namespace", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"with named as (
                        select 0 as rank, $3::text as scope, $1::text as name
                        union all (
                            select 1, scope, split_part(scope, '/', 3) from enact.budgets
                            where tenant_id = $1 and scope > 'agent/' || $2 || '/' and scope < 'agent/' || $2 || '0'
                                and split_part(scope, '/', 4) = $4
                            order by scope limit $6
                        ) union all (
                            select 2, 'plan/' || plan_uid, name from enact.plans
                            where tenant_id = $1 and namespace = $2 and ($5::text is null or name = $5)
                            order by state_at desc limit $6
                        ) union all (
                            select distinct 3, 'task/' || r.task_uid, r.task
                            from enact.plans p join enact.model_requests r on r.tenant_id = p.tenant_id and r.plan_uid = p.plan_uid
                            where p.tenant_id = $1 and p.namespace = $2 and p.name = $5 and r.task_uid <> ''
                            order by 3 limit $6
                        )
                    )
                    select n.name as "name!", b.scope as "scope!", b.limit_tokens, b.limit_cost_micro_usd, b.spent_input,
                           b.spent_cached_input, b.spent_cache_write, b.spent_output, b.spent_reasoning, b.spent_cost_micro_usd,
                           b.unpriced_tokens, b.reserved_input, b.reserved_cached_input, b.reserved_cache_write, b.reserved_output,
                           b.reserved_cost_micro_usd
                    from named n join enact.budgets b on b.tenant_id = $1 and b.scope = n.scope
                    order by n.rank, n.name, n.scope"#,
                    tenant,
                    namespace,
                    of_tenant,
                    month,
                    plan,
                    PAGE,
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        let budget = |name: String, row: BalanceRow| {
            Some(BudgetRow { scope: row.scope.parse().ok()?, name, balance: row.balance() })
        };
        Ok(rows.into_iter().filter_map(|row| budget(row.name, balance_row!(row))).collect())
    }
}

/// Returns the keys of a map in their order.
pub(super) fn keys<T>(scopes: &BTreeMap<String, T>) -> Vec<String> {
    scopes.keys().cloned().collect()
}

/// Returns for each scope of a month what the keys of its other months begin with; none for other scopes.
pub(super) fn previous_months(scopes: &BTreeMap<String, Scope>) -> Vec<Option<String>> {
    let prefix = |(key, scope): (&String, &Scope)| match scope {
        Scope::Tenant { month } | Scope::Agent { month, .. } => key.strip_suffix(month).map(ToOwned::to_owned),
        _ => None,
    };
    scopes.iter().map(prefix).collect()
}
