//! The tables other than the audit log. Each is derived from the new entries of the audit log, in the same transaction.

use enact_domain::record::{Event, Kind, MAX_FINDINGS_BYTES, Record};
use serde_json::Value;

use crate::error::StoreError;
use crate::numbering::NumberedRecord;
use crate::session::Session;
use crate::{decision_rows, deletions};

/// Writes `new`, of which the tables contain nothing yet, with one statement for each type of event in it.
pub(crate) async fn write(session: &mut Session, tenant: &str, new: &[NumberedRecord<'_>]) -> Result<(), StoreError> {
    revisions(session, tenant, new).await?;
    let records: &[&Record] = &each(new, |numbered| numbered.record);
    findings(session, tenant, records).await?;
    transitions(session, tenant, records).await?;
    attempt_starts(session, tenant, records).await?;
    attempt_pods(session, tenant, records).await?;
    attempt_ends(session, tenant, records).await?;
    contradictions(session, tenant, records).await?;
    contests(session, tenant, records).await?;
    approvals(session, tenant, records).await?;
    decision_rows::write(session, tenant, records).await?;
    // Last: a batch can contain the start of an attempt of a plan that is deleted.
    deletions::end_attempts(session, tenant, records).await
}

async fn revisions(session: &mut Session, tenant: &str, new: &[NumberedRecord<'_>]) -> Result<(), StoreError> {
    let rows: Vec<_> = new
        .iter()
        .filter_map(|NumberedRecord { record, revision }| match &record.event {
            Event::Revision { digest, version, reason, commit, content } => {
                Some((*record, (*revision)?, digest, version, reason, commit, content))
            }
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
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
        )
        insert into enact.revisions
            (tenant_id, subject_uid, number, kind, namespace, name, position, digest, version, actor, reason, commit, revised_at)
        select $1, subject_uid, number, kind, namespace, name, position, digest, version, actor, reason, commit, at from input",
        tenant,
        &each(&rows, |(_, revision, ..)| revision.number),
        &each(&rows, |(_, revision, ..)| revision.position),
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
        &each(&rows, |(_, (.., found))| truncate_findings(found)),
        &each(&rows, |(_, (.., found))| i64::try_from(found.len()).unwrap_or(i64::MAX)),
        &each(&rows, |(record, _)| record.at.0),
    )
    .execute(session.statement())
    .await
    .map_err(StoreError::while_doing("record findings"))?;
    Ok(())
}

/// Returns the first of `findings`, up to the largest list that is stored.
fn truncate_findings(findings: &[Value]) -> Value {
    let mut bytes = 2;
    let fits = |finding: &&Value| {
        bytes += finding.to_string().len() + 1;
        bytes <= MAX_FINDINGS_BYTES
    };
    findings.iter().take_while(fits).cloned().collect()
}

/// Updates the states of plans and tasks. A state is never replaced by one that was decided earlier. Transitions of other kinds are in
/// the audit log only.
async fn transitions(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    let rows: Vec<_> = select(records, |event| match event {
        Event::Transition { key: _, state, reason, message, task } => Some((state, reason, message, task.as_ref())),
        _ => None,
    })
    .into_iter()
    .filter(|(record, (.., task))| record.subject.kind == Kind::Plan || task.is_some())
    .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "with input as (
            select subject_uid, kind, namespace, name, state, reason, message, plan_uid, task_id, to_timestamp(at / 1000.0) as at, ord
            from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                        $11::bigint[])
                with ordinality
                as t (subject_uid, kind, namespace, name, state, reason, message, plan_uid, task_id, at, ord)
        ), newest as (
            -- An insert must not update a row twice, and a batch can hold several transitions of a subject.
            select distinct on (subject_uid) * from input order by subject_uid, at desc, ord desc
        ), plan as (
            insert into enact.plans as old (tenant_id, plan_uid, namespace, name, state, reason, message, state_at)
            select $1, subject_uid, namespace, name, state, reason, message, at from newest where kind = $12
            on conflict (tenant_id, plan_uid) do update
            set state = excluded.state, reason = excluded.reason, message = excluded.message, state_at = excluded.state_at
            where excluded.state_at >= old.state_at
        )
        insert into enact.tasks as old (tenant_id, task_uid, plan_uid, task_id, namespace, name, state, reason, message, state_at)
        select $1, subject_uid, plan_uid, task_id, namespace, name, state, reason, message, at
        from newest where kind = $13 and plan_uid is not null
        on conflict (tenant_id, task_uid) do update
        set state = excluded.state, reason = excluded.reason, message = excluded.message, state_at = excluded.state_at
        where excluded.state_at >= old.state_at",
        tenant,
        &each(&rows, |(record, _)| record.subject.uid.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.kind.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.namespace.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.name.as_str()) as &[&str],
        &each(&rows, |(_, (state, ..))| state.as_str()) as &[&str],
        &each(&rows, |(_, (_, reason, ..))| reason.as_str()) as &[&str],
        &each(&rows, |(_, (.., message, _))| message.as_str()) as &[&str],
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

async fn attempt_starts(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    let rows = select(records, |event| match event {
        Event::AttemptStarted {
            plan_uid,
            number,
            pod,
            pod_uid,
            start_key,
            agent,
            contestants,
            capabilities,
            selection,
        } => Some((plan_uid, *number, pod, agent, capabilities, selection, (pod_uid, start_key), *contestants)),
        _ => None,
    });
    if rows.is_empty() {
        return Ok(());
    }
    // As JSON, because a parameter cannot be an array of arrays of different lengths.
    let capabilities = rows.iter().map(|(_, row)| row.4.as_ref().map(serde_json::to_value).transpose());
    let capabilities = capabilities.collect::<Result<Vec<Option<Value>>, _>>();
    let selections = rows.iter().map(|(_, row)| row.5.as_ref().map(serde_json::to_value).transpose());
    let selections = selections.collect::<Result<Vec<Option<Value>>, _>>();
    sqlx::query!(
        "insert into enact.attempts as old
            (tenant_id, subject_uid, number, plan_uid, kind, namespace, name, pod, agent, started_at, capabilities, selection,
             contestants, pod_uid, start_key)
        select $1, subject_uid, number, plan_uid, kind, namespace, name, pod, agent, to_timestamp(at / 1000.0),
               case when capabilities is not null then array(select jsonb_array_elements_text(capabilities)) end, selection,
               contestants, pod_uid, start_key
        from unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[],
                    $11::jsonb[], $12::jsonb[], $13::bigint[], $14::text[], $15::text[])
            as t (subject_uid, number, plan_uid, kind, namespace, name, pod, agent, at, capabilities, selection, contestants,
                  pod_uid, start_key)
        on conflict (tenant_id, subject_uid, number) do update
        set pod = excluded.pod, agent = excluded.agent, started_at = excluded.started_at, capabilities = excluded.capabilities,
            selection = excluded.selection, contestants = excluded.contestants, pod_uid = excluded.pod_uid,
            start_key = excluded.start_key
        where old.started_at is null",
        tenant,
        &each(&rows, |(record, _)| record.subject.uid.as_str()) as &[&str],
        &each(&rows, |(_, (_, number, ..))| i64::from(*number)),
        &each(&rows, |(_, (plan_uid, ..))| plan_uid.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.kind.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.namespace.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.name.as_str()) as &[&str],
        &each(&rows, |(_, (_, _, pod, ..))| pod.as_str()) as &[&str],
        &each(&rows, |(_, (_, _, _, agent, ..))| agent.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.at.0),
        &capabilities.map_err(StoreError::unreadable("the capabilities of an attempt"))? as &[Option<Value>],
        &selections.map_err(StoreError::unreadable("the selection of an agent"))? as &[Option<Value>],
        &each(&rows, |(_, (.., contestants))| i64::from(*contestants)),
        &each(&rows, |(_, (.., (pod_uid, _), _))| pod_uid.as_deref()) as &[Option<&str>],
        &each(&rows, |(_, (.., (_, start_key), _))| start_key.as_str()) as &[&str],
    )
    .execute(session.statement())
    .await
    .map_err(StoreError::while_doing("record the start of attempts"))?;
    Ok(())
}

/// Records the pods of attempts. A pod that replaces another one, of a warm pool, has a runner of its own.
async fn attempt_pods(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    let rows = select(records, |event| match event {
        Event::AttemptPod { plan_uid: _, number, pod, pod_uid } => Some((*number, pod, pod_uid)),
        _ => None,
    });
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update enact.attempts a
        set pod = t.pod, pod_uid = t.pod_uid, runner_key = case when a.pod_uid = t.pod_uid then a.runner_key end
        from unnest($2::text[], $3::bigint[], $4::text[], $5::text[]) as t (subject_uid, number, pod, pod_uid)
        where a.tenant_id = $1 and a.subject_uid = t.subject_uid and a.number = t.number and a.finished_at is null",
        tenant,
        &each(&rows, |(record, _)| record.subject.uid.as_str()) as &[&str],
        &each(&rows, |(_, (number, ..))| i64::from(*number)),
        &each(&rows, |(_, (_, pod, _))| pod.as_str()) as &[&str],
        &each(&rows, |(_, (.., pod_uid))| pod_uid.as_str()) as &[&str],
    )
    .execute(session.statement())
    .await
    .map_err(StoreError::while_doing("record the pods of attempts"))?;
    Ok(())
}

/// Records the ends of attempts. The first recorded end of an attempt stays. An attempt whose start is not recorded (after a backup was
/// restored) gets a row without a start.
async fn attempt_ends(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
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
    sqlx::query!(
        "insert into enact.attempts as old
            (tenant_id, subject_uid, number, plan_uid, kind, namespace, name, failure, report, pod_created_at, finished_at)
        select $1, subject_uid, number, plan_uid, kind, namespace, name, failure, report,
               to_timestamp(pod_created / 1000.0), to_timestamp(at / 1000.0)
        from unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::jsonb[],
                    $10::bigint[], $11::bigint[])
            as t (subject_uid, number, plan_uid, kind, namespace, name, failure, report, pod_created, at)
        on conflict (tenant_id, subject_uid, number) do update
        set failure = excluded.failure, report = excluded.report, pod_created_at = excluded.pod_created_at,
            finished_at = excluded.finished_at
        where old.finished_at is null",
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
    )
    .execute(session.statement())
    .await
    .map_err(StoreError::while_doing("record the end of attempts"))?;
    Ok(())
}

/// Marks attempts whose results are contradicted. The first contradiction stays.
async fn contradictions(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    let rows = select(records, |event| match event {
        Event::ResultContradicted { number, message, .. } => Some((*number, message)),
        _ => None,
    });
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update enact.attempts a set contradiction = t.contradiction
        from unnest($2::text[], $3::bigint[], $4::text[]) as t (subject_uid, number, contradiction)
        where a.tenant_id = $1 and a.subject_uid = t.subject_uid and a.number = t.number and a.contradiction is null",
        tenant,
        &each(&rows, |(record, _)| record.subject.uid.as_str()) as &[&str],
        &each(&rows, |(_, (number, _))| i64::from(*number)),
        &each(&rows, |(_, (_, message))| message.as_str()) as &[&str],
    )
    .execute(session.statement())
    .await
    .map_err(StoreError::while_doing("record contradictions"))?;
    Ok(())
}

/// Marks the attempts that have passed and lost their contest.
async fn contests(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    let rows = select(records, |event| match event {
        Event::ContestDecided { newest, winner: Some(winner), .. } => Some((*newest, *winner)),
        _ => None,
    });
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update enact.attempts a set lost_to = t.winner
        from unnest($2::text[], $3::bigint[], $4::bigint[]) as t (subject_uid, newest, winner)
        where a.tenant_id = $1 and a.subject_uid = t.subject_uid and a.number <= t.newest and a.number <> t.winner
            and a.finished_at is not null and a.failure is null and a.lost_to is null",
        tenant,
        &each(&rows, |(record, _)| record.subject.uid.as_str()) as &[&str],
        &each(&rows, |(_, (newest, _))| i64::from(*newest)),
        &each(&rows, |(_, (_, winner))| i64::from(*winner)),
    )
    .execute(session.statement())
    .await
    .map_err(StoreError::while_doing("record the verdicts of contests"))?;
    Ok(())
}

async fn approvals(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    let rows = select(records, |event| match event {
        Event::Approval { kind, name, digest, approved, comment } => Some((kind, name, digest, *approved, comment)),
        _ => None,
    });
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into enact.approvals
            (tenant_id, approval_uid, namespace, name, subject_kind, subject_name, digest, approved, actor, comment, decided_at)
        select $1, approval_uid, namespace, name, subject_kind, subject_name, digest, approved, actor, comment, to_timestamp(at / 1000.0)
        from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bool[], $9::text[], $10::text[],
                    $11::bigint[])
            as t (approval_uid, namespace, name, subject_kind, subject_name, digest, approved, actor, comment, at)
        on conflict (tenant_id, approval_uid) do nothing",
        tenant,
        &each(&rows, |(record, _)| record.subject.uid.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.namespace.as_str()) as &[&str],
        &each(&rows, |(record, _)| record.subject.name.as_str()) as &[&str],
        &each(&rows, |(_, (kind, ..))| kind.as_str()) as &[&str],
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

/// Returns the records from whose event `data` returns something, each with it.
fn select<'r, T>(records: &[&'r Record], data: impl Fn(&'r Event) -> Option<T>) -> Vec<(&'r Record, T)> {
    records.iter().filter_map(|record| Some((*record, data(&record.event)?))).collect()
}

/// Returns a column of `rows`.
fn each<R, C>(rows: &[R], column: impl Fn(&R) -> C) -> Vec<C> {
    rows.iter().map(column).collect()
}
