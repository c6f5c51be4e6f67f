//! The division of usage among the requirements of tasks.

use std::collections::{BTreeSet, HashMap};

use enact_domain::names::task_name;
use enact_domain::record::Kind;
use enact_domain::usage::share;

use super::rows::{Group, UsageRow};
use crate::session::Session;

/// The requirement of usage that belongs to no requirement.
const NONE: &str = "(none)";

/// The requirements of tasks by the UID of their plan and the name of the Task object.
pub(super) struct Requirements(HashMap<(String, String), Vec<String>>);

impl Requirements {
    /// Reads the requirements of all tasks of the groups' plans, from the newest recorded content of each plan.
    pub async fn read(session: &mut Session, tenant: &str, groups: &[Group]) -> Result<Self, sqlx::Error> {
        let plans: BTreeSet<&str> = groups.iter().filter_map(|group| group.plan_uid.as_deref()).collect();
        let plans: Vec<String> = plans.into_iter().filter(|uid| !uid.is_empty()).map(ToOwned::to_owned).collect();
        if plans.is_empty() {
            return Ok(Self(HashMap::new()));
        }
        let rows = sqlx::query!(
            r#"with newest as (
                select distinct on (subject_uid) subject_uid, name, digest from enact.revisions
                where tenant_id = $1 and kind = $2 and subject_uid = any($3) order by subject_uid, number desc
            )
            select n.subject_uid as "plan_uid!", n.name as "plan!", t.task ->> 'id' as "id!",
                   array(select jsonb_array_elements_text(t.task -> 'requirements')) as "requirements!"
            from newest n join enact.contents c on c.tenant_id = $1 and c.digest = n.digest
            cross join lateral jsonb_array_elements(convert_from(c.content, 'UTF8')::jsonb -> 'tasks') as t (task)
            where jsonb_typeof(t.task -> 'requirements') = 'array' and t.task ->> 'id' is not null"#,
            tenant,
            Kind::Plan.as_str(),
            &plans,
        )
        .fetch_all(session.statement())
        .await?;
        let key = |plan_uid: String, plan: &str, id: &str| (plan_uid, task_name(plan, id));
        Ok(Self(rows.into_iter().map(|row| (key(row.plan_uid, &row.plan, &row.id), row.requirements)).collect()))
    }

    /// Returns the requirements of a group's task, each once.
    fn of(&self, group: &Group) -> BTreeSet<String> {
        let key = group.plan_uid.clone().zip(group.task.clone());
        let found = key.and_then(|key| self.0.get(&key)).filter(|found| !found.is_empty());
        found.map_or_else(|| BTreeSet::from([NONE.to_owned()]), |found| found.iter().cloned().collect())
    }
}

/// Divides each group equally among the requirements of its task, so that the sums stay the same.
pub(super) fn split(groups: &[Group], requirements: &Requirements) -> Vec<UsageRow> {
    let of_group = |group: &Group| {
        let names = requirements.of(group);
        let parts = parts(&group.row, names.len()).into_iter().zip(names);
        parts.map(|(part, name)| UsageRow { requirement: Some(name), ..part }).collect::<Vec<_>>()
    };
    groups.iter().flat_map(of_group).collect()
}

/// Returns equal parts of the numbers of a row. Requests count for every part: a request is not divisible.
fn parts(row: &UsageRow, count: usize) -> Vec<UsageRow> {
    let whole = u64::try_from(count).unwrap_or(u64::MAX).max(1);
    let (charges, discarded) = (share(&row.charge, count), share(&row.discarded, count));
    (0_u64..)
        .zip(charges.into_iter().zip(discarded))
        .map(|(index, (charge, discarded))| UsageRow {
            charge,
            discarded,
            unpriced_tokens: row.unpriced_tokens / whole + u64::from(index < row.unpriced_tokens % whole),
            ..row.clone()
        })
        .collect()
}
