//! The history of documents.

use std::collections::BTreeMap;

use enact_domain::digest::Digest;
use enact_domain::record::Kind;
use enact_domain::time::Millis;
use serde::Serialize;

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// Most revisions in one answer.
const PAGE: u32 = 100;
/// Fewest hex digits by which a revision can be asked for.
const MIN_PREFIX: usize = 4;
/// Most decisions that are told of one revision, the newest first.
const VERDICTS: i64 = 50;

/// A revision of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The object's UID: one that was deleted and made anew under its name is another.
    pub uid: String,
    /// Counts from 1 for each object.
    pub number: u32,
    /// Counts from 1 over all objects that bore the name; where the next page begins.
    pub position: i64,
    /// Digest of its content.
    pub digest: Digest,
    /// The version that the document gave itself.
    pub version: Option<String>,
    /// Who is recorded as its author.
    pub actor: String,
    /// Why it was made.
    pub reason: String,
    /// The Git commit that it was read from.
    pub commit: Option<String>,
    /// When it was recorded.
    pub at: Millis,
    /// What people decided on this content under this name, oldest first.
    pub approvals: Vec<Verdict>,
}

/// A person's decision on a content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Who decided.
    pub actor: String,
    /// Whether it was approved.
    pub approved: bool,
    /// The person's words.
    pub comment: String,
    /// When it was decided.
    pub at: Millis,
}

/// One revision of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// By its number.
    Number(u32),
    /// By the first hex digits of its digest, at least four, with or without `sha256:`.
    DigestPrefix(String),
}

/// A revision's row.
struct Row {
    uid: String,
    number: i32,
    position: i64,
    digest: String,
    version: Option<String>,
    actor: String,
    reason: String,
    commit: Option<String>,
    at: i64,
}

impl Store {
    /// The revisions of the objects that bear or bore this name, newest first; `before` is the position of the last one that was seen.
    /// At most 100 are returned.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn history(
        &self,
        tenant: &str,
        kind: Kind,
        namespace: &str,
        name: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Revision>, StoreError> {
        self.read("read a document's history", tenant, async |session: &mut Session| {
            let rows = sqlx::query_as!(
                Row,
                r#"select subject_uid as "uid!", number, position, digest, version, actor, reason, commit,
                          (extract(epoch from revised_at) * 1000)::bigint as "at!"
                from enact.history
                where tenant_id = $1 and kind = $2 and namespace = $3 and name = $4 and position < $5
                order by position desc limit $6"#,
                tenant,
                kind.as_str(),
                namespace,
                name,
                before.unwrap_or(i64::MAX),
                i64::from(limit.min(PAGE)),
            )
            .fetch_all(session.statement())
            .await?;
            with_verdicts(session, tenant, kind, namespace, name, rows).await
        })
        .await
    }

    /// One revision of the objects that bear or bore this name; of several objects that have such a one, the newest object's.
    ///
    /// # Errors
    /// When a prefix is too short, is no hex number, or fits more than one content; when it cannot be read.
    pub async fn revision(
        &self,
        tenant: &str,
        kind: Kind,
        namespace: &str,
        name: &str,
        selector: &Selector,
    ) -> Result<Option<Revision>, StoreError> {
        let (number, prefix) = match selector {
            Selector::Number(number) => (Some(i64::from(*number)), None),
            Selector::DigestPrefix(prefix) => (None, Some(checked(prefix)?)),
        };
        let mut found = self
            .read("read a revision", tenant, async |session: &mut Session| {
                // The newest revision of each of two contents: of more no more need be known.
                let rows = sqlx::query_as!(
                    Row,
                    r#"select uid as "uid!", number as "number!", position as "position!", digest as "digest!", version,
                              actor as "actor!", reason as "reason!", commit, at as "at!"
                    from (
                        select distinct on (digest) subject_uid as uid, number, position, digest, version, actor, reason, commit,
                               (extract(epoch from revised_at) * 1000)::bigint as at
                        from enact.history
                        where tenant_id = $1 and kind = $2 and namespace = $3 and name = $4
                            and ($5::bigint is null or number = $5) and ($6::text is null or starts_with(digest, $6))
                        order by digest, position desc
                    ) each_content order by position desc limit 2"#,
                    tenant,
                    kind.as_str(),
                    namespace,
                    name,
                    number,
                    prefix.as_deref(),
                )
                .fetch_all(session.statement())
                .await?;
                with_verdicts(session, tenant, kind, namespace, name, rows).await
            })
            .await?
            .into_iter();
        match (found.next(), found.next(), prefix) {
            (Some(one), Some(other), Some(prefix)) => Err(StoreError::Invalid {
                what: "revision",
                problem: format!(
                    "`{prefix}` fits revision {} ({}) and revision {} ({}): give more digits, or the number",
                    one.number, one.digest, other.number, other.digest
                ),
            }),
            (first, ..) => Ok(first),
        }
    }
}

/// The prefix of a digest as it is written.
fn checked(prefix: &str) -> Result<String, StoreError> {
    let digits = prefix.strip_prefix("sha256:").unwrap_or(prefix);
    if (MIN_PREFIX..=64).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Ok(format!("sha256:{}", digits.to_ascii_lowercase()));
    }
    Err(StoreError::Invalid {
        what: "revision",
        problem: format!(
            "`{}` must be a number, or {MIN_PREFIX} to 64 hex digits of a digest",
            prefix.chars().take(80).collect::<String>().escape_debug()
        ),
    })
}

/// The revisions of `rows`, each with the decisions on its content.
async fn with_verdicts(
    session: &mut Session,
    tenant: &str,
    kind: Kind,
    namespace: &str,
    name: &str,
    rows: Vec<Row>,
) -> Result<Vec<Revision>, sqlx::Error> {
    let digests: Vec<String> = rows.iter().map(|row| row.digest.clone()).collect();
    let decided = sqlx::query!(
        r#"select digest as "digest!", actor as "actor!", approved as "approved!", comment as "comment!",
                  (extract(epoch from decided_at) * 1000)::bigint as "at!"
        from (select distinct unnest($5::text[]) as digest) wanted
        cross join lateral (
            select actor, approved, comment, decided_at, approval_uid from enact.approvals a
            where a.tenant_id = $1 and a.about_kind = $2 and a.namespace = $3 and a.about_name = $4 and a.digest = wanted.digest
            order by decided_at desc, approval_uid limit $6
        ) newest
        order by decided_at, approval_uid"#,
        tenant,
        kind.as_str(),
        namespace,
        name,
        &digests,
        VERDICTS,
    )
    .fetch_all(session.statement())
    .await?;
    let mut verdicts: BTreeMap<String, Vec<Verdict>> = BTreeMap::new();
    for row in decided {
        let verdict = Verdict { actor: row.actor, approved: row.approved, comment: row.comment, at: Millis(row.at) };
        verdicts.entry(row.digest).or_default().push(verdict);
    }
    let revision = |row: Row| Revision {
        approvals: verdicts.get(&row.digest).cloned().unwrap_or_default(),
        uid: row.uid,
        number: row.number.unsigned_abs(),
        position: row.position,
        digest: Digest::from(row.digest),
        version: row.version,
        actor: row.actor,
        reason: row.reason,
        commit: row.commit,
        at: Millis(row.at),
    };
    Ok(rows.into_iter().map(revision).collect())
}
