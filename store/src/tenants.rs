//! Which Tenant the rows of a name belong to: a Tenant with the name of an earlier one gets nothing of what that one left.

use enact_domain::time::Millis;

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

/// Most rows that one transaction erases. Some have several megabytes.
const BATCH: i32 = 200;

/// The Tenant that the rows of a name belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordOwner {
    /// The Tenant that asks.
    Own,
    /// An earlier Tenant with this UID.
    Former(String),
}

/// The outcome of a step of an erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// Nothing may be erased yet: writes that began while the former tenant existed can still arrive.
    Waiting,
    /// This number of rows was erased, and more can be left.
    Erased(u64),
    /// Nothing is left. The record belongs to the successor.
    Complete,
}

impl Store {
    /// Returns the owner of the rows of a name, and records `uid` as the owner if the name has none yet. A Tenant that follows a former
    /// one is recorded as its successor, with the time of the first call with `vacant`: that no namespace belongs to the name. The audit
    /// log gets an entry then.
    ///
    /// # Errors
    /// If the owner cannot be read or written.
    pub async fn claim_record(
        &self,
        tenant: &str,
        uid: &str,
        vacant: bool,
        at: Millis,
    ) -> Result<RecordOwner, StoreError> {
        let owner = self
            .transaction("claim the record of a tenant", tenant, async |session: &mut Session| {
                sqlx::query_scalar!(
                    r#"select enact.claim_record($1, $2, to_timestamp($3::bigint / 1000.0)) as "uid!""#,
                    uid,
                    vacant,
                    at.0,
                )
                .fetch_one(session.statement())
                .await
            })
            .await?;
        Ok(if owner == uid { RecordOwner::Own } else { RecordOwner::Former(owner) })
    }

    /// Gives the rows of a name to the Tenant with the UID `uid`, if they belong to the one with the UID `former`, and
    /// [`Store::claim_record`] has recorded `uid` as its successor.
    ///
    /// # Errors
    /// If the owner cannot be written.
    pub async fn keep_record(&self, tenant: &str, uid: &str, former: &str) -> Result<(), StoreError> {
        self.transaction("keep the record of a former tenant", tenant, async |session: &mut Session| {
            sqlx::query!("select enact.keep_record($1, $2)", uid, former).execute(session.statement()).await
        })
        .await?;
        Ok(())
    }

    /// Erases a part of what the former Tenant of a name left, for its successor with the UID `successor`, whom
    /// [`Store::claim_record`] has recorded. Repeat it until it is complete; each part is a transaction of its own.
    ///
    /// # Errors
    /// If the rows cannot be erased. Nothing of this part is erased then.
    pub async fn erase_former(&self, tenant: &str, successor: &str) -> Result<Erasure, StoreError> {
        let erased = self
            .transaction("erase the record of a former tenant", tenant, async |session: &mut Session| {
                sqlx::query_scalar!("select enact.erase_former($1, $2)", successor, BATCH)
                    .fetch_one(session.statement())
                    .await
            })
            .await?;
        Ok(match erased {
            None => Erasure::Waiting,
            Some(0) => Erasure::Complete,
            Some(rows) => Erasure::Erased(rows.unsigned_abs()),
        })
    }
}
