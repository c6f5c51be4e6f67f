//! Results that pods deliver to the server.

use enact_domain::assignment::AttemptResult;
use enact_domain::digest::Digest;
use serde_json::Value;

use crate::deliveries::{CHANNEL, DeliveryNotice};
use crate::error::StoreError;
use crate::sanitise::sanitise_result;
use crate::session::Session;
use crate::store::Store;

/// Result with the identity of its pod. The server has checked that the pod works on this attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Tenant of the pod's namespace.
    pub tenant: String,
    /// Namespace of the pod, the plan and the task.
    pub namespace: String,
    pub pod_uid: String,
    pub plan_uid: String,
    /// Digest of the runner's key that came with the result.
    pub runner_key: Option<Digest>,
    pub result: AttemptResult,
}

/// The outcome of a [`Delivery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// It is the attempt's result.
    Stored,
    /// The attempt already has a result, which stays unchanged.
    AlreadyThere,
    /// The attempt no longer counts: a newer one has started, or it is recorded as failed. The result is stored as evidence.
    Stale,
    /// The runner of the attempt has registered another key: the result is not from the runner. It is evidence only.
    Forged,
    /// The attempt is not recorded as started, or has another pod. Nothing is stored.
    NotItsPod,
    /// The record does not have the pod of the attempt yet. The same result can be delivered again.
    PodUnknown,
}

/// The outcome of the registration of a runner's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// The attempt has this key now, or had it before.
    Accepted,
    /// The attempt has another key or another pod, is not recorded as started, or has ended.
    Refused,
    /// The record does not have the pod of the attempt yet. The same key can be registered again.
    PodUnknown,
}

impl Store {
    /// Registers the digest of the key with which the runner in the pod of an attempt will deliver its result. The first key counts.
    ///
    /// # Errors
    /// If it cannot be written. The same key can then be registered again.
    pub async fn register_runner(
        &self,
        tenant: &str,
        subject_uid: &str,
        attempt: u32,
        pod_uid: &str,
        key: &Digest,
    ) -> Result<Registration, StoreError> {
        self.transaction("register the runner of an attempt", tenant, async |session: &mut Session| {
            let row = sqlx::query!(
                r#"with registered as (
                    update enact.attempts set runner_key = $4
                    where tenant_id = $1 and subject_uid = $2 and number = $3::bigint and pod_uid = $5 and finished_at is null
                        and coalesce(runner_key, $4) = $4
                    returning number
                )
                select exists (select from registered) as "registered!",
                       exists (select from enact.attempts where tenant_id = $1 and subject_uid = $2 and number = $3::bigint
                               and pod_uid is null and finished_at is null) as "unknown!""#,
                tenant,
                subject_uid,
                i64::from(attempt),
                key.as_str(),
                pod_uid,
            )
            .fetch_one(session.statement())
            .await?;
            Ok(match row {
                row if row.registered => Registration::Accepted,
                row if row.unknown => Registration::PodUnknown,
                _ => Registration::Refused,
            })
        })
        .await
    }

    /// Stores the result that a pod delivered, if it is the first one of its attempt. A late result does not change a recorded decision. What
    /// contradicts the result (another one, or one that is not from the runner) is added to the audit log: the first of each kind for each
    /// attempt, so that nobody fills it. The operator is notified of both.
    ///
    /// # Errors
    /// If it cannot be written. The same result can then be delivered again.
    #[allow(clippy::too_many_lines, reason = "most of it is one statement")]
    pub async fn deliver(&self, mut delivery: Delivery) -> Result<DeliveryOutcome, StoreError> {
        sanitise_result(&mut delivery.result);
        let Delivery { tenant, namespace, pod_uid, plan_uid, runner_key, result } = &delivery;
        let sent = Sent {
            report: serde_json::to_value(&result.report).map_err(StoreError::unreadable("the report"))?,
            notice: notice(plan_uid, result)?,
        };
        let gates = serde_json::to_value(&result.gates).map_err(StoreError::unreadable("the results of the gates"))?;
        self.transaction("store the result of an attempt", tenant, async |session: &mut Session| {
            // Locking the attempt's row orders this against the statement that records the attempt's end, so that both agree on `stale`.
            let row = sqlx::query!(
                r#"with attempt as (
                    select name, failure, pod_uid, runner_key is not null and runner_key is distinct from $11 as forged,
                           -- The containers of an integration that run the agents' code have no token.
                           runner_key is not null or subject_uid = plan_uid as verified,
                           (number - 1) % contestants + 1 as contestant
                    from enact.attempts
                    where tenant_id = $1 and subject_uid = $2 and number = $3::bigint
                    for no key update
                ), stored as (
                    insert into enact.results
                        (tenant_id, subject_uid, number, plan_uid, namespace, pod_uid, report, transcript, gates, duration_ms, verified,
                         stale)
                    select $1, $2, $3::bigint, $4, $5, $6::text, $7, $8, $9, $10, attempt.verified,
                        attempt.failure is not null
                        -- An attempt of another contestant does not replace it.
                        or exists (select from enact.attempts where tenant_id = $1 and subject_uid = $2 and number > $3::bigint
                                   and (number - $3::bigint) % contestants = 0)
                    from attempt
                    where attempt.pod_uid = $6 and not attempt.forged
                    on conflict (tenant_id, subject_uid, number) do nothing
                    returning stale, verified, received_at
                ), obsolete as (
                    -- A task that has succeeded is not resumed.
                    delete from enact.checkpoints
                    where tenant_id = $1 and subject_uid = $2 and $7::jsonb ->> 'reason' = 'Succeeded'
                        and contestant = coalesce((select attempt.contestant from attempt), 1)
                        and exists (select from stored where not stale)
                ), entry as (
                    insert into enact.audit
                        (tenant_id, at, actor, event, key, kind, namespace, name, subject_uid, plan_uid, details)
                    select $1, received_at, 'pod:' || $5 || '/' || $6, 'ResultDelivered', $3::bigint::text,
                           case when $2 = $4 then 'Plan' else 'Task' end, $5, (select name from attempt), $2, $4,
                           jsonb_build_object('attempt', $3::bigint, 'stale', stale, 'reason', $7::jsonb -> 'reason',
                                              'commit', $7::jsonb -> 'commit')
                    from stored
                    returning *
                ), event as (
                    insert into enact.outbox
                        (tenant_id, at, actor, event, kind, namespace, name, subject_uid, plan_uid, payload)
                    select tenant_id, at, actor, event, kind, namespace, name, subject_uid, plan_uid, details from entry
                )
                select exists (select from stored) as "new!", exists (select from attempt where forged) as "forged!",
                       exists (select from attempt where pod_uid = $6) as "own!",
                       exists (select from attempt where pod_uid is null) as "unknown!",
                       (select pg_notify($12, $13)::text from stored where verified and not stale) as notified,
                       coalesce((select stale from stored),
                                (select stale from enact.results where tenant_id = $1 and subject_uid = $2 and number = $3::bigint),
                                false) as "stale!""#,
                tenant.as_str(),
                result.subject_uid.as_str(),
                i64::from(result.attempt),
                plan_uid.as_str(),
                namespace.as_str(),
                pod_uid.as_str(),
                sent.report,
                result.transcript.as_str(),
                gates,
                i64::try_from(result.duration_ms).unwrap_or(i64::MAX),
                runner_key.as_ref().map(Digest::as_str),
                CHANNEL,
                sent.notice.as_str(),
            )
            .fetch_one(session.statement())
            .await?;
            if row.own && !row.new {
                contradict(session, &delivery, &sent, row.forged).await?;
            }
            Ok(match row {
                row if row.unknown => DeliveryOutcome::PodUnknown,
                row if !row.own => DeliveryOutcome::NotItsPod,
                row if row.forged => DeliveryOutcome::Forged,
                // First, since a stale result can be new or a repetition.
                row if row.stale => DeliveryOutcome::Stale,
                row if row.new => DeliveryOutcome::Stored,
                _ => DeliveryOutcome::AlreadyThere,
            })
        })
        .await
    }
}

/// A delivered report as JSON, and the notice about it.
struct Sent {
    report: Value,
    notice: String,
}

fn notice(plan_uid: &str, result: &AttemptResult) -> Result<String, StoreError> {
    let (subject_uid, attempt) = (result.subject_uid.clone(), result.attempt);
    let notice = DeliveryNotice { plan_uid: plan_uid.to_owned(), subject_uid, attempt };
    serde_json::to_string(&notice).map_err(StoreError::unreadable("a notice"))
}

/// Adds a result that does not count to the audit log, if it contradicts the one that does, or if it is not from the runner.
async fn contradict(session: &mut Session, delivery: &Delivery, sent: &Sent, forged: bool) -> Result<(), sqlx::Error> {
    let Delivery { tenant, namespace, pod_uid, plan_uid, runner_key: _, result } = delivery;
    let reason = result.report.reason.as_str();
    let (kind, message) = if forged {
        ("forged", format!("a result ({reason}) without the key of the runner was refused"))
    } else {
        ("second", format!("another result ({reason}) was delivered later"))
    };
    sqlx::query!(
        r#"with contradicted as (
            insert into enact.audit (tenant_id, at, actor, event, key, kind, namespace, name, subject_uid, plan_uid, details)
            select $1::text, clock_timestamp(), 'pod:' || $5::text || '/' || $6::text, 'ResultContradicted',
                   $3::bigint::text || '/' || $8::text, case when $2::text = $4::text then 'Plan' else 'Task' end, $5::text, a.name,
                   $2::text, $4::text,
                   jsonb_build_object('attempt', $3::bigint, 'contradiction', $9::text, 'report', $7::jsonb)
            from enact.attempts a
            where a.tenant_id = $1 and a.subject_uid = $2 and a.number = $3::bigint and a.pod_uid = $6
                and ($8::text = 'forged' or exists (
                    select from enact.results r
                    where r.tenant_id = $1 and r.subject_uid = $2 and r.number = $3::bigint and r.report <> $7::jsonb))
            on conflict (tenant_id, subject_uid, event, key) do nothing
            returning *
        ), marked as (
            update enact.attempts a set contradiction = $9::text from contradicted
            where a.tenant_id = $1 and a.subject_uid = $2 and a.number = $3::bigint and a.contradiction is null
        ), event as (
            insert into enact.outbox (tenant_id, at, actor, event, kind, namespace, name, subject_uid, plan_uid, payload)
            select tenant_id, at, actor, event, kind, namespace, name, subject_uid, plan_uid, details from contradicted
        )
        select pg_notify($10, $11)::text as notified from contradicted"#,
        tenant.as_str(),
        result.subject_uid.as_str(),
        i64::from(result.attempt),
        plan_uid.as_str(),
        namespace.as_str(),
        pod_uid.as_str(),
        sent.report,
        kind,
        message,
        CHANNEL,
        sent.notice.as_str(),
    )
    .fetch_optional(session.statement())
    .await?;
    Ok(())
}
