//! Notifications of pushes to Git repositories, from the server to the leading operator.
//!
//! They are Postgres notifications (`NOTIFY`) and are not stored. A lost notification only delays a document until its next poll.

use std::time::Duration;

use enact_domain::push::Push;
use sqlx::postgres::PgListener;
use sqlx::raw_sql;
use tokio::time::{sleep, timeout};

use crate::error::StoreError;
use crate::store::Store;

const CHANNEL: &str = "enact_push";
const LISTENING: &str = "listen for pushes";
/// Wait after a failure.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// Time without a notification after which the connection is tested, since a lost host sends nothing.
const KEEPALIVE: Duration = Duration::from_mins(1);

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

    /// Returns a listener for pushes. It starts to listen at the first call of [`PushListener::next`].
    pub fn push_listener(&self) -> PushListener {
        PushListener { store: self.clone(), listener: None }
    }
}

/// A listener for pushes with a connection of its own. It replaces a lost connection; it misses what is sent in between.
pub struct PushListener {
    store: Store,
    listener: Option<PgListener>,
}

impl PushListener {
    /// Returns the next push. Waits for Postgres if necessary.
    pub async fn next(&mut self) -> Push {
        loop {
            match Box::pin(self.receive()).await {
                Ok(None) => {}
                Ok(Some(payload)) => match serde_json::from_str(&payload) {
                    Ok(push) => return push,
                    Err(error) => {
                        tracing::warn!(%error, "ignored a push notification that this release cannot read");
                    }
                },
                Err(error) => {
                    // The next call opens a new connection, since the state of this one is unknown.
                    self.listener = None;
                    tracing::warn!(%error, "cannot receive push notifications; documents are polled at their interval");
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    /// Returns the next notification, or none after [`KEEPALIVE`] if the connection still works.
    async fn receive(&mut self) -> Result<Option<String>, StoreError> {
        let failed = StoreError::while_doing(LISTENING);
        let listener = match &mut self.listener {
            Some(listener) => listener,
            closed => {
                let opened = self.store.with_timeout(LISTENING, async {
                    let mut listener = PgListener::connect_with(&self.store.pool).await.map_err(&failed)?;
                    listener.listen(CHANNEL).await.map_err(&failed)?;
                    Ok(listener)
                });
                closed.insert(opened.await?)
            }
        };
        if let Ok(received) = timeout(KEEPALIVE, listener.recv()).await {
            return Ok(Some(received.map_err(failed)?.payload().to_owned()));
        }
        let test = async { raw_sql("select").execute(&mut *listener).await.map_err(&failed) };
        self.store.with_timeout(LISTENING, test).await.map(|_| None)
    }
}
