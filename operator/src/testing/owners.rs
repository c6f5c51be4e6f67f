//! The owner of the records of a name, in memory.

use std::collections::{HashMap, VecDeque};

use enact_domain::time::Millis;
use enact_store::{Erasure, RecordOwner, StoreError};
use futures::future::{self, BoxFuture};

use super::InMemoryRecordStore;
use crate::record_store::RecordOwners;

/// The owners of the records of names, and the erasures that a test has prepared.
#[derive(Debug, Default)]
pub struct Owners {
    /// UID of the Tenant that the records of a name belong to, by name.
    pub uids: HashMap<String, String>,
    /// Whether the name was vacant, for each time that a Tenant claimed its record.
    pub claims: Vec<bool>,
    /// The outcomes of the next steps of an erasure. Nothing is erased without one.
    pub erasures: VecDeque<Erasure>,
}

impl RecordOwners for InMemoryRecordStore {
    fn claim_record<'a>(
        &'a self,
        tenant: &'a str,
        uid: &'a str,
        vacant: bool,
        _: Millis,
    ) -> BoxFuture<'a, Result<RecordOwner, StoreError>> {
        Box::pin(future::ready(self.reach(|| {
            let mut owners = self.owners.lock().unwrap();
            owners.claims.push(vacant);
            let owner = owners.uids.entry(tenant.to_owned()).or_insert_with(|| uid.to_owned()).clone();
            if owner == uid { RecordOwner::Own } else { RecordOwner::Former(owner) }
        })))
    }

    fn keep_record<'a>(
        &'a self,
        tenant: &'a str,
        uid: &'a str,
        former: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(future::ready(self.reach(|| {
            let mut owners = self.owners.lock().unwrap();
            if owners.uids.get(tenant).is_some_and(|owner| owner == former) {
                owners.uids.insert(tenant.to_owned(), uid.to_owned());
            }
        })))
    }

    fn erase_former<'a>(&'a self, tenant: &'a str, successor: &'a str) -> BoxFuture<'a, Result<Erasure, StoreError>> {
        Box::pin(future::ready(self.reach(|| {
            let mut owners = self.owners.lock().unwrap();
            let erasure = owners.erasures.pop_front().unwrap_or(Erasure::Waiting);
            if erasure == Erasure::Complete {
                owners.uids.insert(tenant.to_owned(), successor.to_owned());
            }
            erasure
        })))
    }
}
