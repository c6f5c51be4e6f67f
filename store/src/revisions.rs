//! Revisions of documents.

use std::collections::BTreeMap;

use enact_domain::digest::Digest;
use enact_domain::record::Kind;
use enact_domain::time::Millis;
use serde::Serialize;

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// Maximum number of revisions in one answer.
const PAGE: u32 = 100;
/// Minimum number of hex digits of a digest that select a revision.
const MIN_PREFIX: usize = 4;
/// Maximum number of approvals in one revision; the newest are returned.
const MAX_APPROVALS: i64 = 50;

/// A revision of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// UID of the object. An object that is deleted and created again has another UID.
    pub uid: String,
    /// Number of the revision among those of its object, from 1.
    pub number: u32,
    /// Position among the revisions of all objects with this name, from 1. The next page begins before the last
    /// position of a page.
    pub position: i64,
    pub digest: Digest,
    /// The version that the document states.
    pub version: Option<String>,
    pub actor: String,
    pub reason: String,
    /// The Git commit that the document was read from.
    pub commit: Option<String>,
    /// Time of the record.
    pub at: Millis,
    /// Decisions of people on this content of an object with this name, oldest first.
    pub approvals: Vec<RevisionApproval>,
}

/// A person's decision on the content of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionApproval {
    pub actor: String,
    /// True if the person approved the content, false if the person rejected it.
    pub approved: bool,
    pub comment: String,
    /// Time of the decision.
    pub at: Millis,
}

/// A way to select one revision of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevisionSelector {
    Number(u32),
    /// The first hex digits of the digest, at least four, with or without `sha256:`.
    DigestPrefix(String),
}

/// A row of `enact.revisions`.
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
    /// Returns revisions of all objects that have or had this name, newest first, at most 100. `before` is the last position of the
    /// previous page.
    pub async fn history(
        &self,
        tenant: &str,
        kind: Kind,
        namespace: &str,
        name: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Revision>, StoreError> {
        self.transaction("read the history of a document", tenant, async |session: &mut Session| {
            let rows = sqlx::query_as!(
                Row,
                r#"select subject_uid as "uid!", number, position, digest, version, actor, reason, commit,
                          (extract(epoch from revised_at) * 1000)::bigint as "at!"
                from enact.revisions
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
            with_approvals(session, tenant, kind, namespace, name, rows).await
        })
        .await
    }

    /// Returns the selected revision of the objects that have or had this name. If it exists for several objects, returns that of the
    /// newest object.
    ///
    /// # Errors
    /// If a prefix is invalid or matches more than one content, or Postgres does not answer.
    pub async fn revision(
        &self,
        tenant: &str,
        kind: Kind,
        namespace: &str,
        name: &str,
        selector: &RevisionSelector,
    ) -> Result<Option<Revision>, StoreError> {
        let (number, prefix) = match selector {
            RevisionSelector::Number(number) => (Some(i64::from(*number)), None),
            RevisionSelector::DigestPrefix(prefix) => (None, Some(normalise(prefix)?)),
        };
        let mut found = self
            .transaction("read a revision", tenant, async |session: &mut Session| {
                // The newest revision of each content. Two contents are enough to report an ambiguous prefix.
                let rows = sqlx::query_as!(
                    Row,
                    r#"select uid as "uid!", number as "number!", position as "position!", digest as "digest!", version,
                              actor as "actor!", reason as "reason!", commit, at as "at!"
                    from (
                        select distinct on (digest) subject_uid as uid, number, position, digest, version, actor, reason, commit,
                               (extract(epoch from revised_at) * 1000)::bigint as at
                        from enact.revisions
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
                with_approvals(session, tenant, kind, namespace, name, rows).await
            })
            .await?
            .into_iter();
        match (found.next(), found.next(), prefix) {
            (Some(one), Some(other), Some(prefix)) => Err(StoreError::Invalid {
                what: "revision",
                problem: format!(
                    "`{prefix}` matches revision {} ({}) and revision {} ({}): give more digits, or the number",
                    one.number, one.digest, other.number, other.digest
                ),
            }),
            (first, ..) => Ok(first),
        }
    }
}

/// Returns the prefix in the form of a stored digest.
fn normalise(prefix: &str) -> Result<String, StoreError> {
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

/// Returns the revisions of `rows`, each with the decisions on its content.
async fn with_approvals(
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
            where a.tenant_id = $1 and a.subject_kind = $2 and a.namespace = $3 and a.subject_name = $4 and a.digest = wanted.digest
            order by decided_at desc, approval_uid limit $6
        ) newest
        order by decided_at, approval_uid"#,
        tenant,
        kind.as_str(),
        namespace,
        name,
        &digests,
        MAX_APPROVALS,
    )
    .fetch_all(session.statement())
    .await?;
    let mut approvals: BTreeMap<String, Vec<RevisionApproval>> = BTreeMap::new();
    for row in decided {
        let approval =
            RevisionApproval { actor: row.actor, approved: row.approved, comment: row.comment, at: Millis(row.at) };
        approvals.entry(row.digest).or_default().push(approval);
    }
    let revision = |row: Row| Revision {
        approvals: approvals.get(&row.digest).cloned().unwrap_or_default(),
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
