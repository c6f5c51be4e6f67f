//! Notifications of pushes to Git repositories, from the server to the leading operator.
//!
//! They are Postgres notifications (`NOTIFY`) and are not stored. A lost notification only delays a document until its next poll.

use enact_domain::push::Push;

use crate::error::StoreError;
use crate::listener::Listener;
use crate::store::Store;

const CHANNEL: &str = "enact_push";

impl Store {
    /// Notifies all current listeners of a push.
    pub async fn notify_push(&self, push: &Push) -> Result<(), StoreError> {
        const DOING: &str = "notify the operator of a push";
        let payload = serde_json::to_string(push).map_err(StoreError::unreadable("a push"))?;
        self.with_timeout(DOING, async {
            let mut session = self.session(DOING).await?;
            sqlx::query!("select pg_notify($1, $2)::text", CHANNEL, payload)
                .fetch_one(session.statement())
                .await
                .map_err(StoreError::while_doing(DOING))?;
            Ok(())
        })
        .await
    }

    /// Returns a listener for pushes.
    pub fn push_listener(&self) -> PushListener {
        Listener::new(self, CHANNEL, "documents are polled at their interval")
    }
}

/// A listener for pushes.
pub type PushListener = Listener<Push>;
