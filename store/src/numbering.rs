//! The places of revisions in their histories.

use std::collections::{BTreeMap, BTreeSet};

use enact_domain::digest::Digest;
use enact_domain::record::{Event, Record};

use crate::error::StoreError;
use crate::session::Session;

const DOING: &str = "number revisions";

/// A record that may be new.
#[derive(Clone, Copy)]
pub(crate) struct Turn<'r> {
    pub(crate) record: &'r Record,
    /// For a revision, where it goes.
    pub(crate) place: Option<Place>,
}

/// Where a revision goes.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Counts from 1 for each subject.
    pub(crate) number: i32,
    /// Counts from 1 for each kind, namespace and name.
    pub(crate) position: i64,
    /// Whether the subject had this content before.
    pub(crate) returns: bool,
}

/// What the record knows about the subject of a revision.
struct Known {
    number: i32,
    position: i64,
    newest: Option<String>,
    returns: bool,
    repeated: bool,
}

/// `records` without the revisions that are recorded already, and a place for each other revision. Until the transaction ends, nobody else
/// gives out places for this tenant.
///
/// A revision is recorded already when it has the content of the subject's newest one, or the content and the time of any: so a batch whose
/// answer was lost can be repeated.
pub(crate) async fn number<'r>(
    session: &mut Session,
    tenant: &str,
    records: &[&'r Record],
) -> Result<Vec<Turn<'r>>, StoreError> {
    let plain = |record: &&'r Record| Turn { record, place: None };
    let revisions: Vec<(&Record, &Digest)> =
        records.iter().filter_map(|record| Some((*record, digest(record)?))).collect();
    if revisions.is_empty() {
        return Ok(records.iter().map(plain).collect());
    }
    let mut known = look_up(session, tenant, &revisions).await?.into_iter();
    let mut subjects: BTreeMap<&str, (i32, Option<String>)> = BTreeMap::new();
    let mut names: BTreeMap<(&str, &str, &str), i64> = BTreeMap::new();
    let mut had: BTreeSet<(&str, &Digest, i64)> = BTreeSet::new();
    let mut turns = Vec::with_capacity(records.len());
    for record in records {
        let Some((digest, known)) = digest(record).and_then(|digest| Some((digest, known.next()?))) else {
            turns.push(plain(record));
            continue;
        };
        let subject = &record.subject;
        let (number, newest) = subjects.entry(&subject.uid).or_insert((known.number, known.newest));
        let key = |at| (&*subject.uid, digest, at);
        let returns = known.returns || had.range(key(i64::MIN)..=key(i64::MAX)).next().is_some();
        let repeated = known.repeated || had.contains(&key(record.at.0));
        if repeated || newest.as_deref() == Some(digest.as_str()) {
            continue;
        }
        let name = (subject.kind.as_str(), &*subject.namespace, &*subject.name);
        let position = names.entry(name).or_insert(known.position);
        (*number, *position, *newest) = (*number + 1, *position + 1, Some(digest.as_str().to_owned()));
        had.insert(key(record.at.0));
        turns.push(Turn { record, place: Some(Place { number: *number, position: *position, returns }) });
    }
    Ok(turns)
}

/// What is known of each revision's subject, in the order of `revisions`.
async fn look_up(
    session: &mut Session,
    tenant: &str,
    revisions: &[(&Record, &Digest)],
) -> Result<Vec<Known>, StoreError> {
    // By itself: a statement sees what was committed before it began, not what the lock made it wait for.
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('enact.history/' || $1::text, 0))", tenant)
        .execute(session.statement())
        .await
        .map_err(StoreError::while_doing(DOING))?;
    let column =
        |of: fn(&Record) -> &str| revisions.iter().map(|(record, _)| of(record).to_owned()).collect::<Vec<String>>();
    let rows = sqlx::query!(
        r#"select coalesce(newest.number, 0) as "number!", newest.digest as "newest?",
                  coalesce((select max(position) from enact.history h
                      where h.tenant_id = $1 and h.kind = input.kind and h.namespace = input.namespace
                          and h.name = input.name), 0) as "position!",
                  had.returns as "returns!", had.repeated as "repeated!"
        from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[]) with ordinality
            as input (subject_uid, kind, namespace, name, digest, at, ord)
        left join lateral (
            select number, digest from enact.history h
            where h.tenant_id = $1 and h.subject_uid = input.subject_uid order by number desc limit 1
        ) newest on true
        cross join lateral (
            select count(*) > 0 as returns, coalesce(bool_or(revised_at = to_timestamp(input.at / 1000.0)), false) as repeated
            from enact.history h
            where h.tenant_id = $1 and h.subject_uid = input.subject_uid and h.digest = input.digest
        ) had
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
    .map_err(StoreError::while_doing(DOING))?;
    let known = rows.into_iter().map(|row| Known {
        number: row.number,
        position: row.position,
        newest: row.newest,
        returns: row.returns,
        repeated: row.repeated,
    });
    Ok(known.collect())
}

fn digest(record: &Record) -> Option<&Digest> {
    match &record.event {
        Event::Revision { digest, .. } => Some(digest),
        _ => None,
    }
}
