//! The record store as controllers use it. Apart from the API server it is their only dependency, and tests replace it.

use enact_domain::decisions::{DecisionOutcome, RecordedDecision};
use enact_domain::digest::Digest;
use enact_domain::record::{Record, RecordedAttempt, Subject};
use enact_domain::time::Millis;
use enact_domain::usage::{Balance, Charge, Limit, Scope};
use enact_store::{
    AgentEnd, AgentHistory, Discarded, Erasure, FinishedTask, ModelRequest, RecordOwner, RecordedDelivery, Recorder,
    Refusal, StartedPod, Store, StoreError,
};
use futures::future::BoxFuture;

/// Which Tenant the records of a name belong to.
pub trait RecordOwners {
    /// Returns the owner of the records of a name; this one if the name has none yet. `vacant` says that no namespace belongs to the name.
    fn claim_record<'a>(
        &'a self,
        tenant: &'a str,
        uid: &'a str,
        vacant: bool,
        at: Millis,
    ) -> BoxFuture<'a, Result<RecordOwner, StoreError>>;

    /// Gives the records of a name to the Tenant with the UID `uid`, if they belong to the one with the UID `former`.
    fn keep_record<'a>(
        &'a self,
        tenant: &'a str,
        uid: &'a str,
        former: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Erases a part of the records of the former Tenant of a name, for its successor with this UID.
    fn erase_former<'a>(&'a self, tenant: &'a str, successor: &'a str) -> BoxFuture<'a, Result<Erasure, StoreError>>;
}

/// The records that controllers write, and those that they read again.
pub trait RecordStore: RecordOwners + Send + Sync {
    /// Writes records. A record that exists is not written again.
    fn record(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Returns plans that are not recorded as deleted, in the order of their UIDs: the next page after the UID `after`.
    fn recorded_plans<'a>(&'a self, tenant: &'a str, after: &'a str)
    -> BoxFuture<'a, Result<Vec<Subject>, StoreError>>;

    /// Returns the objects with these UIDs that the record of a tenant has.
    fn recorded_subjects<'a>(
        &'a self,
        tenant: &'a str,
        uids: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Subject>, StoreError>>;

    /// Returns the recorded attempts of a plan.
    fn attempts<'a>(
        &'a self,
        tenant: &'a str,
        plan_uid: &'a str,
    ) -> BoxFuture<'a, Result<Vec<RecordedAttempt>, StoreError>>;

    /// Returns the recorded starts of all attempts at these tasks, named by their UIDs.
    fn started_pods<'a>(
        &'a self,
        tenant: &'a str,
        subjects: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<StartedPod>, StoreError>>;

    /// Returns what the record has about the results of these attempts, named by the UIDs of their subjects and their numbers.
    fn deliveries<'a>(
        &'a self,
        tenant: &'a str,
        attempts: &'a [(String, u32)],
    ) -> BoxFuture<'a, Result<Vec<RecordedDelivery>, StoreError>>;

    /// Returns the content with this digest, if it is recorded.
    fn content<'a>(&'a self, tenant: &'a str, digest: &'a Digest)
    -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>>;

    /// Returns the decisions in force in a namespace about the questions with these keys, when those of one plan do not count.
    fn decisions_in_force<'a>(
        &'a self,
        tenant: &'a str,
        namespace: &'a str,
        plan_uid: &'a str,
        questions: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<RecordedDecision>, StoreError>>;

    /// Returns the newest decisions of a tenant with what became of their plans, the newest first. `namespace` is the only namespace whose
    /// decisions are returned; those of one plan are not.
    fn decision_outcomes<'a>(
        &'a self,
        tenant: &'a str,
        namespace: Option<&'a str>,
        plan_uid: &'a str,
    ) -> BoxFuture<'a, Result<Vec<DecisionOutcome>, StoreError>>;

    /// Sets the limits that the model gateway enforces.
    fn set_budgets<'a>(
        &'a self,
        tenant: &'a str,
        budgets: &'a [(Scope, Limit)],
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Returns the balance of each scope.
    fn balances<'a>(
        &'a self,
        tenant: &'a str,
        scopes: &'a [Scope],
    ) -> BoxFuture<'a, Result<Vec<(Scope, Balance)>, StoreError>>;

    /// Returns tasks of the tenant's newest plans that have succeeded.
    fn finished_tasks<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, Result<Vec<FinishedTask>, StoreError>>;

    /// Returns what the attempts of a plan used whose work is discarded.
    fn discarded<'a>(&'a self, tenant: &'a str, plan_uid: &'a str) -> BoxFuture<'a, Result<Discarded, StoreError>>;

    /// Returns why the gateway refused requests of an attempt, if it did.
    fn refusal<'a>(
        &'a self,
        tenant: &'a str,
        task_uid: &'a str,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Option<Refusal>, StoreError>>;

    /// Returns the histories of agents, named by namespace and name.
    fn agent_histories<'a>(
        &'a self,
        tenant: &'a str,
        agents: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<Vec<AgentHistory>, StoreError>>;

    /// Returns the ends of the newest attempts of agents, named by namespace and name, the oldest first.
    fn agent_ends<'a>(
        &'a self,
        tenant: &'a str,
        agents: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<Vec<AgentEnd>, StoreError>>;

    /// Records the usage that an agent reports itself. A repetition has no effect.
    fn report_usage<'a>(
        &'a self,
        tenant: &'a str,
        request: ModelRequest,
        charge: Charge,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// The record store in Postgres.
pub struct PostgresRecordStore {
    /// Reads.
    pub store: Store,
    /// Writes the records of many reconciles in one transaction.
    pub recorder: Recorder,
}

impl RecordOwners for PostgresRecordStore {
    fn claim_record<'a>(
        &'a self,
        tenant: &'a str,
        uid: &'a str,
        vacant: bool,
        at: Millis,
    ) -> BoxFuture<'a, Result<RecordOwner, StoreError>> {
        Box::pin(self.store.claim_record(tenant, uid, vacant, at))
    }

    fn keep_record<'a>(
        &'a self,
        tenant: &'a str,
        uid: &'a str,
        former: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.store.keep_record(tenant, uid, former))
    }

    fn erase_former<'a>(&'a self, tenant: &'a str, successor: &'a str) -> BoxFuture<'a, Result<Erasure, StoreError>> {
        Box::pin(self.store.erase_former(tenant, successor))
    }
}

impl RecordStore for PostgresRecordStore {
    fn record(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.recorder.record(records))
    }

    fn recorded_plans<'a>(
        &'a self,
        tenant: &'a str,
        after: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Subject>, StoreError>> {
        Box::pin(self.store.recorded_plans(tenant, after))
    }

    fn recorded_subjects<'a>(
        &'a self,
        tenant: &'a str,
        uids: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Subject>, StoreError>> {
        Box::pin(self.store.recorded_subjects(tenant, uids))
    }

    fn attempts<'a>(
        &'a self,
        tenant: &'a str,
        plan_uid: &'a str,
    ) -> BoxFuture<'a, Result<Vec<RecordedAttempt>, StoreError>> {
        Box::pin(self.store.recorded_attempts(tenant, plan_uid))
    }

    fn started_pods<'a>(
        &'a self,
        tenant: &'a str,
        subjects: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<StartedPod>, StoreError>> {
        Box::pin(self.store.started_pods(tenant, subjects))
    }

    fn deliveries<'a>(
        &'a self,
        tenant: &'a str,
        attempts: &'a [(String, u32)],
    ) -> BoxFuture<'a, Result<Vec<RecordedDelivery>, StoreError>> {
        Box::pin(self.store.deliveries(tenant, attempts))
    }

    fn content<'a>(
        &'a self,
        tenant: &'a str,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(self.store.content(tenant, digest))
    }

    fn decisions_in_force<'a>(
        &'a self,
        tenant: &'a str,
        namespace: &'a str,
        plan_uid: &'a str,
        questions: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<RecordedDecision>, StoreError>> {
        Box::pin(self.store.decisions_in_force(tenant, namespace, plan_uid, questions))
    }

    fn decision_outcomes<'a>(
        &'a self,
        tenant: &'a str,
        namespace: Option<&'a str>,
        plan_uid: &'a str,
    ) -> BoxFuture<'a, Result<Vec<DecisionOutcome>, StoreError>> {
        Box::pin(self.store.decision_outcomes(tenant, namespace, Some(plan_uid)))
    }

    fn set_budgets<'a>(
        &'a self,
        tenant: &'a str,
        budgets: &'a [(Scope, Limit)],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.store.set_budgets(tenant, budgets))
    }

    fn balances<'a>(
        &'a self,
        tenant: &'a str,
        scopes: &'a [Scope],
    ) -> BoxFuture<'a, Result<Vec<(Scope, Balance)>, StoreError>> {
        Box::pin(self.store.balances(tenant, scopes))
    }

    fn finished_tasks<'a>(&'a self, tenant: &'a str) -> BoxFuture<'a, Result<Vec<FinishedTask>, StoreError>> {
        Box::pin(self.store.finished_tasks(tenant))
    }

    fn discarded<'a>(&'a self, tenant: &'a str, plan_uid: &'a str) -> BoxFuture<'a, Result<Discarded, StoreError>> {
        Box::pin(self.store.discarded(tenant, plan_uid))
    }

    fn refusal<'a>(
        &'a self,
        tenant: &'a str,
        task_uid: &'a str,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Option<Refusal>, StoreError>> {
        Box::pin(self.store.refusal(tenant, task_uid, attempt))
    }

    fn agent_histories<'a>(
        &'a self,
        tenant: &'a str,
        agents: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<Vec<AgentHistory>, StoreError>> {
        Box::pin(self.store.agent_histories(tenant, agents))
    }

    fn agent_ends<'a>(
        &'a self,
        tenant: &'a str,
        agents: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<Vec<AgentEnd>, StoreError>> {
        Box::pin(self.store.agent_ends(tenant, agents))
    }

    fn report_usage<'a>(
        &'a self,
        tenant: &'a str,
        request: ModelRequest,
        charge: Charge,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.store.report_usage(tenant, &request, &charge).await })
    }
}
