//! The ends of deleted plans.

use enact_domain::assignment::{Reason, Report};
use enact_domain::attempt::class_of;
use enact_domain::record::{ACTOR, Event, Kind, Record, failure_kind};

use crate::error::StoreError;
use crate::session::Session;

/// Marks deleted plans, and ends their attempts that have no recorded end: nothing observes them any more.
///
/// The entries of these ends in the audit log are made here. The attempts are read and ended in one statement, so that none is missed.
pub(crate) async fn end_attempts(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    let is_plan =
        |record: &&&Record| record.subject.kind == Kind::Plan && matches!(record.event, Event::Deleted { .. });
    let (plans, times): (Vec<&str>, Vec<i64>) =
        records.iter().filter(is_plan).map(|record| (record.subject.uid.as_str(), record.at.0)).unzip();
    if plans.is_empty() {
        return Ok(());
    }
    let report = Report::new(Reason::PlanDeleted, "the plan was deleted before the attempt ended");
    let report = serde_json::to_value(&report).map_err(StoreError::unreadable("a report"))?;
    sqlx::query!(
        "with deleted as (
            select plan_uid, to_timestamp(at / 1000.0) as at from unnest($2::text[], $3::bigint[]) as t (plan_uid, at)
        ), plan as (
            update enact.plans p set deleted_at = deleted.at from deleted where p.tenant_id = $1 and p.plan_uid = deleted.plan_uid
        ), ended as (
            update enact.attempts a set failure = $4::text, report = $5::jsonb, finished_at = deleted.at
            from deleted
            where a.tenant_id = $1 and a.plan_uid = deleted.plan_uid and a.finished_at is null
            returning a.subject_uid, a.number, a.plan_uid, a.kind, a.namespace, a.name, deleted.at
        ), entry as (
            insert into enact.audit (tenant_id, at, actor, event, key, kind, namespace, name, subject_uid, plan_uid, details)
            select $1, at, $6, 'AttemptFinished', number::text, kind, namespace, name, subject_uid, plan_uid,
                   jsonb_build_object('attempt', number, 'failure', $4::text, 'reason', $5::jsonb -> 'reason',
                                      'message', $5::jsonb -> 'message')
            from ended
            on conflict (tenant_id, subject_uid, event, key) do nothing
            returning *
        )
        insert into enact.outbox (tenant_id, at, actor, event, kind, namespace, name, subject_uid, plan_uid, payload)
        select tenant_id, at, actor, event, kind, namespace, name, subject_uid, plan_uid, details from entry",
        tenant,
        &plans as &[&str],
        &times,
        failure_kind(class_of(Reason::PlanDeleted)),
        report,
        ACTOR,
    )
    .execute(session.statement())
    .await
    .map_err(StoreError::while_doing("end the attempts of deleted plans"))?;
    Ok(())
}
