//! The objects that the record has.

use enact_domain::record::{Kind, Subject};

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// Most plans in one answer.
const PAGE: i64 = 1000;

impl Store {
    /// Returns plans in the record that are not recorded as deleted, in the order of their UIDs: the next page after the UID `after`.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub async fn recorded_plans(&self, tenant: &str, after: &str) -> Result<Vec<Subject>, StoreError> {
        let rows = self
            .transaction("read the plans", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select plan_uid as "plan_uid!", namespace as "namespace!", name as "name!" from enact.plans
                    where tenant_id = $1 and plan_uid > $2 and deleted_at is null
                    order by plan_uid
                    limit $3"#,
                    tenant,
                    after,
                    PAGE,
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        let rows = rows.into_iter();
        Ok(rows
            .map(|row| Subject { kind: Kind::Plan, namespace: row.namespace, name: row.name, uid: row.plan_uid })
            .collect())
    }

    /// Returns the objects with these UIDs that the record of `tenant` has, by their first entries in the audit log.
    ///
    /// # Errors
    /// If the record cannot be read, or `tenant` cannot be the name of one.
    pub async fn recorded_subjects(&self, tenant: &str, uids: &[String]) -> Result<Vec<Subject>, StoreError> {
        let rows = self
            .transaction("read the recorded objects", tenant, async |session: &mut Session| {
                sqlx::query!(
                    r#"select distinct on (subject_uid)
                        subject_uid::text as "uid!", kind, namespace::text as "namespace!", name::text as "name!"
                    from enact.audit
                    where tenant_id = $1 and subject_uid = any($2::text[]) and name is not null
                    order by subject_uid, id"#,
                    tenant,
                    uids,
                )
                .fetch_all(session.statement())
                .await
            })
            .await?;
        let mut subjects = Vec::new();
        for row in rows {
            // Another release may record other kinds, whose objects this one does not know.
            if let Ok(kind) = row.kind.parse() {
                subjects.push(Subject { kind, namespace: row.namespace, name: row.name, uid: row.uid });
            }
        }
        Ok(subjects)
    }
}
