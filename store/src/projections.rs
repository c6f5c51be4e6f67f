//! The tables that are read: each is a view of the journal's new entries, written in the same transaction.

use enact_domain::record::{Event, Kind, MAX_FINDINGS_BYTES, Record};
use serde_json::Value;

use crate::error::StoreError;
use crate::numbering::Turn;
use crate::session::Session;

/// Writes `turns`, none of which is in the tables yet, with one statement for each kind of event that occurs.
pub(crate) async fn apply(session: &mut Session, tenant: &str, turns: &[Turn<'_>]) -> Result<(), StoreError> {
    revisions(session, tenant, turns).await?;
    let records: &[&Record] = &each(turns, |turn| turn.record);
    findings(session, tenant, records).await?;
    transitions(session, tenant, records).await?;
    starts(session, tenant, records).await?;
    ends(session, tenant, records).await?;
    approvals(session, tenant, records).await
}

async fn revisions(session: &mut Session, tenant: &str, turns: &[Turn<'_>]) -> Result<(), StoreError> {
    let rows: Vec<_> = turns
        .iter()
        .filter_map(|Turn { record, place }| match &record.event {
            Event::Revision { digest, version, reason, commit, content } => {
                Some((*record, (*place)?, digest, version, reason, commit, content))
            }
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    // `revisions` has each content of a subject once, and is what the release before reads.
    sqlx::query!(
        "with input as (
            select number, position, subject_uid, digest, kind, namespace, name, version, actor, reason, commit,
                   to_timestamp(at / 1000.0) as at, content
            from unnest($2::integer[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                        $10::text[], $11::text[], $12::text[], $13::bigint[], $14::bytea[])
                as t (number, position, subject_uid, digest, kind, namespace, name, version, actor, reason, commit, at, content)
        ), stored as (
            insert into enact.contents (tenant_id, digest, content)
            select $1, digest, content from input
            on conflict (tenant_id, digest) do nothing
        ), numbered as (
            insert into enact.history
                (tenant_id, subject_uid, number, kind, namespace, name, position, digest, version, actor, reason, commit, revised_at)
            select $1, subject_uid, number, kind, namespace, name, position, digest, version, actor, reason, commit, at from input
        )
        insert into enact.revisions (tenant_id, subject_uid, digest, kind, namespace, name, version, actor, revised_at)
        select $1, subject_uid, digest, kind, namespace, name, version, actor, at from input order by number
        on conflict (tenant_id, subject_uid, digest) do nothing",
        tenant,
        &each(&rows, |(_, place, ..)| place.number),
        &each(&rows, |(_, place, ..)| place.position),
        &each(&rows, |(record, ..)| record.subject.uid.as_str()) as &[&str],
        &each(&rows, |(_, _, digest, ..)| digest.as_str()) as &[&str],
        &each(&rows, |(record, ..)| record.subject.kind.as_str()) as &[&str],
        &each(&rows, |(record, ..)| record.subject.namespace.as_str()) as &[&str],
        &each(&rows, |(record, ..)| record.subject.name.as_str()) as &[&str],
        &each(&rows, |(_, _, _, version, ..)| version.as_deref()) as &[Option<&str>],
        &each(&rows, |(record, ..)| record.actor.as_str()) as &[&str],
        &each(&rows, |(_, _, _, _, reason, ..)| reason.as_str()) as &[&str],
        &each(&rows, |(.., commit, _)| commit.as_deref()) as &[Option<&str>],
        &each(&rows, |(record, ..)| record.at.0),
        &each(&rows, |(.., content)| content.as_bytes()) as &[&[u8]],
    )
    .execute(session.statement())
    .await
    .map_err(StoreError::while_doing("record revisions"))?;
    Ok(())
}

async fn findings(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    let rows = select(records, |event| match event {
        Event::Findings { digest, analyser, findings } => Some((digest, analyser, findings.as_array()?)),
        _ => None,
    });
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into enact.findings (tenant_id, subject_uid, digest, analyser, findings, total, found_at)
        select $1, subject_uid, digest, analyser, findings, total, to_timestamp(at / 1000.0)
        from unnest($2::text[], $3::text[], $4::text[], $5::jsonb[], $6::bigint[], $7::bigint[])
            as t (subject_uid, digest, analyser, findings, total, at)
        on conflict (tenant_id, subject_uid, digest, analyser) do nothing",
        tenant,
        &each(&rows, |(record, _)| record.subject.uid.as_str()) as &[&str],
        &each(&rows, |(_, (digest, ..))| digest.as_str()) as &[&str],
        &each(&rows, |(_, (_, analyser, _))| analyser.as_str()) as &[&str],
        &each(&rows, |(_, (.., found))| that_fit(found)),
        &each(&rows, |(_, (.., found))| i64::try_from(found.len()).unwrap_or(i64::MAX)),
        &each(&rows, |(record, _)| record.at.0),
    )
    .execute(session.statement())
    .await
    .map_err(StoreError::while_doing("record findings"))?;
    Ok(())
}

/// The first of `findings`, as many as are kept.
fn that_fit(findings: &[Value]) -> Value {
    let mut bytes = 2;
    let fits = |finding: &&Value| {
        bytes += finding.to_string().len() + 1;
        bytes <= MAX_FINDINGS_BYTES
    };
    findings.iter().take_while(fits).cloned().collect()
}

/// The state of a plan or task goes forward only: a transition that was decided before the present one changes no more than the list
/// of decisions.
async fn transitions(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    let rows = select(records, |event| match event {
        Event::Transition { key, state, reason, message, task } => Some((key, state, reason, message, task.as_ref())),
        _ => None,
    });
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "with input as (
            select subject_uid, key, kind, namespace, name, state, reason, message, actor, plan_uid, task_id,
                   to_timestamp(at / 1000.0) as at, ord
            from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                        $11::text[], $12::text[], $13::bigint[])
                with ordinality
                as t (subject_uid, key, kind, namespace, name, state, reason, message, actor, plan_uid, task_id, at, ord)
        ), newest as (
            select distinct on (subject_uid) * from input order by subject_uid, at desc, ord desc
        ), plan as (
            insert into enact.plans as old (tenant_id, plan_uid, namespace, name, state, reason, message, state_at)
            select $1, subject_uid, namespace, name, state, reason, message, at from newest where kind = $14
            on conflict (tenant_id, plan_uid) do update
            set state = excluded.state, reason = excluded.reason, message = excluded.message, state_at = excluded.state_at
            where excluded.state_at >= old.state_at
        ), task as (
            insert into enact.tasks as old (tenant_id, task_uid, plan_uid, task_id, namespace, name, state, reason, message, state_at)
            select $1, subject_uid, plan_uid, task_id, namespace, name, state, reason, message, at
            from newest where kind = $15 and plan_uid is not null
            on conflict (tenant_id, task_uid) do update
            set state = excluded.state, reason = excluded.reason, message = excluded.message, state_at = excluded.state_at
            where excluded.state_at >= old.state_at
        )
        insert into enact.decisions (tenant_id, subject_uid, key, kind, state, reason, message, actor, decided_at)
        select $1, subject_uid, key, kind, state, reason, message, actor, at from input order by ord
        on conflict (tenant_id, subject_uid, key) do nothing",
        tenant,
        &each(&rows, |(record, _)| record.subject.uid.as_str()) as &[&str],
        &each(&rows, |(_, (key, ..))| key.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.kind.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.namespace.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.name.as_str()) as &[&str],
        &each(&rows, |(_, (_, state, ..))| state.as_str()) as &[&str],
        &each(&rows, |(_, (_, _, reason, ..))| reason.as_str()) as &[&str],
        &each(&rows, |(_, (.., message, _))| message.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.actor.as_str()) as &[&str],
        &each(&rows, |(_, (.., task))| task.map(|task| task.plan_uid.as_str())) as &[Option<&str>],
        &each(&rows, |(_, (.., task))| task.map(|task| task.id.as_str())) as &[Option<&str>],
        &each(&rows, |(record, _)| record.at.0),
        Kind::Plan.as_str(),
        Kind::Task.as_str(),
    )
    .execute(session.statement())
    .await
    .map_err(StoreError::while_doing("record transitions"))?;
    Ok(())
}

async fn starts(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    let rows = select(records, |event| match event {
        Event::AttemptStarted { plan_uid, number, pod, agent } => Some((plan_uid, *number, pod, agent)),
        _ => None,
    });
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into enact.attempts as old (tenant_id, subject_uid, number, plan_uid, kind, namespace, name, pod, agent, started_at)
        select $1, subject_uid, number, plan_uid, kind, namespace, name, pod, agent, to_timestamp(at / 1000.0)
        from unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[])
            as t (subject_uid, number, plan_uid, kind, namespace, name, pod, agent, at)
        on conflict (tenant_id, subject_uid, number) do update
        set pod = excluded.pod, agent = excluded.agent, started_at = excluded.started_at
        where old.started_at is null",
        tenant,
        &each(&rows, |(record, _)| record.subject.uid.as_str()) as &[&str],
        &each(&rows, |(_, (_, number, ..))| i64::from(*number)),
        &each(&rows, |(_, (plan_uid, ..))| plan_uid.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.kind.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.namespace.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.name.as_str()) as &[&str],
        &each(&rows, |(_, (_, _, pod, _))| pod.as_str()) as &[&str],
        &each(&rows, |(_, (.., agent))| agent.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.at.0),
    )
    .execute(session.statement())
    .await
    .map_err(StoreError::while_doing("record the start of attempts"))?;
    Ok(())
}

/// An end is written once; a start that was never recorded (a restored backup) is made up for.
async fn ends(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    let rows = select(records, |event| match event {
        Event::AttemptFinished { plan_uid, number, failure, report, started } => {
            Some((plan_uid, *number, failure, *started, report))
        }
        _ => None,
    });
    if rows.is_empty() {
        return Ok(());
    }
    let reports = rows.iter().map(|(_, (.., report))| serde_json::to_value(report)).collect::<Result<Vec<Value>, _>>();
    let figure = |figure: u64| i64::try_from(figure).unwrap_or(i64::MAX);
    sqlx::query!(
        "with input as (
            select *
            from unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::jsonb[],
                        $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[])
                as t (subject_uid, number, plan_uid, kind, namespace, name, failure, report, work_started, at,
                      input_tokens, output_tokens, cost_micro_usd)
        ), finished as (
            insert into enact.attempts as old
                (tenant_id, subject_uid, number, plan_uid, kind, namespace, name, failure, report, work_started_at, finished_at)
            select $1, subject_uid, number, plan_uid, kind, namespace, name, failure, report,
                   to_timestamp(work_started / 1000.0), to_timestamp(at / 1000.0)
            from input
            on conflict (tenant_id, subject_uid, number) do update
            set failure = excluded.failure, report = excluded.report, work_started_at = excluded.work_started_at,
                finished_at = excluded.finished_at
            where old.finished_at is null
            returning subject_uid, number, plan_uid, agent, finished_at
        )
        insert into enact.usage
            (tenant_id, subject_uid, number, plan_uid, agent, input_tokens, output_tokens, cost_micro_usd, used_at)
        select $1, subject_uid, number, finished.plan_uid, agent, input_tokens, output_tokens, cost_micro_usd, finished_at
        from finished join input using (subject_uid, number)
        where input_tokens > 0 or output_tokens > 0 or cost_micro_usd > 0
        on conflict (tenant_id, subject_uid, number) do nothing",
        tenant,
        &each(&rows, |(record, _)| record.subject.uid.as_str()) as &[&str],
        &each(&rows, |(_, (_, number, ..))| i64::from(*number)),
        &each(&rows, |(_, (plan_uid, ..))| plan_uid.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.kind.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.namespace.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.name.as_str()) as &[&str],
        &each(&rows, |(_, (_, _, failure, ..))| failure.as_deref()) as &[Option<&str>],
        &reports.map_err(StoreError::unreadable("a report"))?,
        &each(&rows, |(_, (.., started, _))| started.map(|at| at.0)) as &[Option<i64>],
        &each(&rows, |(record, _)| record.at.0),
        &each(&rows, |(_, (.., report))| figure(report.usage.input_tokens)),
        &each(&rows, |(_, (.., report))| figure(report.usage.output_tokens)),
        &each(&rows, |(_, (.., report))| figure(report.usage.cost_micro_usd)),
    )
    .execute(session.statement())
    .await
    .map_err(StoreError::while_doing("record the end of attempts"))?;
    Ok(())
}

async fn approvals(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    let rows = select(records, |event| match event {
        Event::Decision { about, name, digest, approved, comment } => Some((about, name, digest, *approved, comment)),
        _ => None,
    });
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into enact.approvals
            (tenant_id, approval_uid, namespace, name, about_kind, about_name, digest, approved, actor, comment, decided_at)
        select $1, approval_uid, namespace, name, about_kind, about_name, digest, approved, actor, comment, to_timestamp(at / 1000.0)
        from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bool[], $9::text[], $10::text[],
                    $11::bigint[])
            as t (approval_uid, namespace, name, about_kind, about_name, digest, approved, actor, comment, at)
        on conflict (tenant_id, approval_uid) do nothing",
        tenant,
        &each(&rows, |(record, _)| record.subject.uid.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.namespace.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.name.as_str()) as &[&str],
        &each(&rows, |(_, (about, ..))| about.as_str()) as &[&str],
        &each(&rows, |(_, (_, name, ..))| name.as_str()) as &[&str],
        &each(&rows, |(_, (_, _, digest, ..))| digest.as_str()) as &[&str],
        &each(&rows, |(_, (.., approved, _))| *approved),
        &each(&rows, |(record, _)| record.actor.as_str()) as &[&str],
        &each(&rows, |(_, (.., comment))| comment.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.at.0),
    )
    .execute(session.statement())
    .await
    .map_err(StoreError::while_doing("record approvals"))?;
    Ok(())
}

/// The records with an event that `of` wants, each with what `of` takes from it.
fn select<'r, T>(records: &[&'r Record], of: impl Fn(&'r Event) -> Option<T>) -> Vec<(&'r Record, T)> {
    records.iter().filter_map(|record| Some((*record, of(&record.event)?))).collect()
}

/// A column of `rows`.
fn each<R, C>(rows: &[R], of: impl Fn(&R) -> C) -> Vec<C> {
    rows.iter().map(of).collect()
}
