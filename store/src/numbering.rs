//! Numbers of revisions.

use std::collections::{BTreeMap, BTreeSet};

use enact_domain::digest::Digest;
use enact_domain::record::{Event, Record};

use crate::error::StoreError;
use crate::session::Session;

const DOING: &str = "number revisions";

/// A record that can be new.
#[derive(Clone, Copy)]
pub(crate) struct NumberedRecord<'r> {
    pub(crate) record: &'r Record,
    /// Set if the record is a revision.
    pub(crate) revision: Option<RevisionNumber>,
}

/// The position of a revision in its history.
#[derive(Clone, Copy)]
pub(crate) struct RevisionNumber {
    /// Number among the revisions of the subject, from 1.
    pub(crate) number: i32,
    /// Number among the revisions with the same kind, namespace and name, from 1.
    pub(crate) position: i64,
}

/// The recorded history of the subject of a revision.
struct Recorded {
    /// Number of the newest revision, or 0.
    number: i32,
    position: i64,
    digest: Option<String>,
    /// Whether a revision with the same content and time exists.
    repeated: bool,
}

/// Returns `records` without the revisions that are recorded already, and with a number for each other revision. It locks the numbering
/// of this tenant until the transaction ends.
///
/// A revision is recorded already if it has the content of the subject's newest revision, or the content and the time of any revision:
/// a caller repeats a batch whose answer was lost, whatever has been recorded after it.
pub(crate) async fn number<'r>(
    session: &mut Session,
    tenant: &str,
    records: &[&'r Record],
) -> Result<Vec<NumberedRecord<'r>>, StoreError> {
    let revisions: Vec<(&Record, &Digest)> =
        records.iter().filter_map(|record| Some((*record, digest(record)?))).collect();
    if revisions.is_empty() {
        return Ok(records.iter().map(|record| NumberedRecord { record, revision: None }).collect());
    }
    // The batch itself can hold several revisions of a subject, so what it adds counts as recorded for the rest of it.
    let mut recorded = read_histories(session, tenant, &revisions).await?.into_iter();
    let mut subjects: BTreeMap<&str, (i32, Option<String>)> = BTreeMap::new();
    let mut names: BTreeMap<(&str, &str, &str), i64> = BTreeMap::new();
    let mut added: BTreeSet<(&str, &Digest, i64)> = BTreeSet::new();
    let mut numbered = Vec::with_capacity(records.len());
    for record in records {
        let Some((digest, recorded)) = digest(record).and_then(|digest| Some((digest, recorded.next()?))) else {
            numbered.push(NumberedRecord { record, revision: None });
            continue;
        };
        let subject = &record.subject;
        // `recorded` describes the database before this batch: its number counts only for the subject's first
        // revision in the batch.
        let (number, newest) = subjects.entry(&subject.uid).or_insert((recorded.number, recorded.digest));
        let key = (&*subject.uid, digest, record.at.0);
        if recorded.repeated || added.contains(&key) || newest.as_deref() == Some(digest.as_str()) {
            continue;
        }
        let name = (subject.kind.as_str(), &*subject.namespace, &*subject.name);
        // Objects with the same name share the positions, since a history covers all of them.
        let position = names.entry(name).or_insert(recorded.position);
        (*number, *position, *newest) = (*number + 1, *position + 1, Some(digest.as_str().to_owned()));
        added.insert(key);
        let revision = Some(RevisionNumber { number: *number, position: *position });
        numbered.push(NumberedRecord { record, revision });
    }
    Ok(numbered)
}

/// Waits until no other transaction numbers revisions of this tenant, delivers a document or deletes contents, and keeps them waiting until
/// this one ends.
pub(crate) async fn lock(session: &mut Session, tenant: &str) -> Result<(), sqlx::Error> {
    // A statement of its own: a statement sees what was committed before it began, not what was committed while it waited for the lock.
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('enact.revisions/' || $1::text, 0))", tenant)
        .execute(session.statement())
        .await?;
    Ok(())
}

/// Does the same as [`lock`], but lets others deliver documents at the same time.
pub(crate) async fn lock_shared(session: &mut Session, tenant: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_advisory_xact_lock_shared(hashtextextended('enact.revisions/' || $1::text, 0))", tenant)
        .execute(session.statement())
        .await?;
    Ok(())
}

/// Reads the history of each revision's subject, in the order of `revisions`.
async fn read_histories(
    session: &mut Session,
    tenant: &str,
    revisions: &[(&Record, &Digest)],
) -> Result<Vec<Recorded>, StoreError> {
    lock(session, tenant).await.map_err(StoreError::while_doing(DOING))?;
    let column =
        |value: fn(&Record) -> &str| revisions.iter().map(|(record, _)| value(record).to_owned()).collect::<Vec<_>>();
    sqlx::query_as!(
        Recorded,
        r#"select coalesce(newest.number, 0) as "number!", newest.digest as "digest?",
                  coalesce((select max(position) from enact.revisions r
                      where r.tenant_id = $1 and r.kind = input.kind and r.namespace = input.namespace
                          and r.name = input.name), 0) as "position!",
                  exists (select from enact.revisions r
                      where r.tenant_id = $1 and r.subject_uid = input.subject_uid and r.digest = input.digest
                          and r.revised_at = to_timestamp(input.at / 1000.0)) as "repeated!"
        from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[]) with ordinality
            as input (subject_uid, kind, namespace, name, digest, at, ord)
        left join lateral (
            select number, digest from enact.revisions r
            where r.tenant_id = $1 and r.subject_uid = input.subject_uid order by number desc limit 1
        ) newest on true
        order by ord"#,
        tenant,
        &column(|record| &record.subject.uid),
        &column(|record| record.subject.kind.as_str()),
        &column(|record| &record.subject.namespace),
        &column(|record| &record.subject.name),
        &revisions.iter().map(|(_, digest)| digest.as_str().to_owned()).collect::<Vec<_>>(),
        &revisions.iter().map(|(record, _)| record.at.0).collect::<Vec<_>>(),
    )
    .fetch_all(session.statement())
    .await
    .map_err(StoreError::while_doing(DOING))
}

fn digest(record: &Record) -> Option<&Digest> {
    match &record.event {
        Event::Revision { digest, .. } => Some(digest),
        _ => None,
    }
}
