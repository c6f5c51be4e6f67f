//! Proposals of planners, and the reasons of judges.

use enact_domain::digest::Digest;

use crate::error::StoreError;
use crate::session::Session;
use crate::store::Store;

impl Store {
    /// Returns the text of a proposal, or the reasons of a judge, if a planner or judge of a plan with this name delivered it.
    pub async fn proposal(
        &self,
        tenant: &str,
        namespace: &str,
        plan: &str,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.transaction("read a proposal", tenant, async |session: &mut Session| {
            sqlx::query_scalar!(
                "select content from enact.contents
                where tenant_id = $1 and digest = $4 and exists (
                    select 1 from enact.audit
                    where tenant_id = $1 and event in ('Proposal', 'Judgement') and namespace = $2 and name = $3 and details ->> 'digest' = $4
                )",
                tenant,
                namespace,
                plan,
                digest.as_str(),
            )
            .fetch_optional(session.statement())
            .await
        })
        .await
    }
}
