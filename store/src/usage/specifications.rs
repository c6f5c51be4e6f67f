//! The Specifications of plans, to which their usage belongs.

use std::collections::{BTreeSet, HashMap};

use enact_domain::record::Kind;

use super::rows::Group;
use crate::session::Session;

/// The specification of usage that belongs to no plan, or to a plan without one.
const NONE: &str = "(none)";

/// Adds to each group the Specification of its plan, from the newest recorded content of the plan.
pub(super) async fn add(session: &mut Session, tenant: &str, groups: &mut [Group]) -> Result<(), sqlx::Error> {
    let plans: BTreeSet<&str> = groups.iter().filter_map(|group| group.plan_uid.as_deref()).collect();
    let plans: Vec<String> = plans.into_iter().filter(|uid| !uid.is_empty()).map(ToOwned::to_owned).collect();
    let rows = sqlx::query!(
        r#"with newest as (
            select distinct on (subject_uid) subject_uid, digest from enact.revisions
            where tenant_id = $1 and kind = $2 and subject_uid = any($3) order by subject_uid, number desc
        )
        select n.subject_uid as "plan_uid!",
               convert_from(c.content, 'UTF8')::jsonb -> 'specificationRef' ->> 'name' as specification
        from newest n join enact.contents c on c.tenant_id = $1 and c.digest = n.digest"#,
        tenant,
        Kind::Plan.as_str(),
        &plans,
    )
    .fetch_all(session.statement())
    .await?;
    let names: HashMap<String, Option<String>> =
        rows.into_iter().map(|row| (row.plan_uid, row.specification)).collect();
    for group in groups {
        let found = group.plan_uid.as_ref().and_then(|uid| names.get(uid)?.clone());
        group.row.specification = Some(found.unwrap_or_else(|| NONE.to_owned()));
    }
    Ok(())
}
