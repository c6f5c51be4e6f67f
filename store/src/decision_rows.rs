//! Writes the decisions of the proposals that were chosen for plans.

use enact_domain::decisions::{self, Decision};
use enact_domain::digest::Digest;
use enact_domain::record::{Event, Record};
use serde_json::Value;

use crate::error::StoreError;
use crate::session::Session;

/// A decision of a chosen proposal, and the choice.
struct Row<'r> {
    record: &'r Record,
    key: &'r str,
    agent: &'r str,
    digest: &'r Digest,
    specification: &'r str,
    specification_digest: &'r Digest,
    /// Position in the proposal, from 1.
    number: i32,
    decision: &'r Decision,
}

/// Returns a row for each decision of the chosen proposals.
fn rows<'r>(records: &[&'r Record]) -> Vec<Row<'r>> {
    let mut rows = Vec::new();
    for &record in records {
        let Event::ProposalChosen { key, agent, digest, specification, specification_digest, decisions } =
            &record.event
        else {
            continue;
        };
        rows.extend(decisions.iter().zip(1..).map(|(decision, number)| Row {
            record,
            key,
            agent,
            digest,
            specification,
            specification_digest,
            number,
            decision,
        }));
    }
    rows
}

/// Writes the decisions of the chosen proposals.
pub(crate) async fn write(session: &mut Session, tenant: &str, records: &[&Record]) -> Result<(), StoreError> {
    let rows = rows(records);
    if rows.is_empty() {
        return Ok(());
    }
    let column = |value: fn(&Row) -> String| rows.iter().map(value).collect::<Vec<String>>();
    let alternatives: Vec<Value> =
        rows.iter().map(|row| row.decision.alternatives.iter().cloned().map(Value::String).collect()).collect();
    let numbers: Vec<i32> = rows.iter().map(|row| row.number).collect();
    let at: Vec<i64> = rows.iter().map(|row| row.record.at.0).collect();
    sqlx::query!(
        "insert into enact.decisions
            (tenant_id, plan_uid, choice_key, number, namespace, plan, specification, specification_digest, proposal, agent, actor,
             question, question_key, choice, rationale, consequences, alternatives, decided_at)
        select $1, plan_uid, choice_key, number, namespace, plan, specification, specification_digest, proposal, agent, actor,
               question, question_key, choice, rationale, consequences, alternatives, to_timestamp(at / 1000.0)
        from unnest($2::text[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                    $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::jsonb[], $18::bigint[])
            with ordinality
            as t (plan_uid, choice_key, number, namespace, plan, specification, specification_digest, proposal, agent, actor,
                  question, question_key, choice, rationale, consequences, alternatives, at, ord)
        order by ord
        on conflict (tenant_id, plan_uid, choice_key, number) do nothing",
        tenant,
        &column(|row| row.record.subject.uid.clone()),
        &column(|row| row.key.to_owned()),
        &numbers,
        &column(|row| row.record.subject.namespace.clone()),
        &column(|row| row.record.subject.name.clone()),
        &column(|row| row.specification.to_owned()),
        &column(|row| row.specification_digest.to_string()),
        &column(|row| row.digest.to_string()),
        &column(|row| row.agent.to_owned()),
        &column(|row| row.record.actor.clone()),
        &column(|row| row.decision.question.clone()),
        &column(|row| decisions::question_key(&row.decision.question)),
        &column(|row| row.decision.choice.clone()),
        &column(|row| row.decision.rationale.clone()),
        &column(|row| row.decision.consequences.clone()),
        &alternatives,
        &at,
    )
    .execute(session.statement())
    .await
    .map_err(StoreError::while_doing("record decisions"))?;
    Ok(())
}
