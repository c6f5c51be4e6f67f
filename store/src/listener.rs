//! Receives notifications of Postgres (`NOTIFY`). They are not stored: a lost one must only delay what it announces.

use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use sqlx::postgres::PgListener;
use sqlx::raw_sql;
use tokio::time::{sleep, timeout};

use crate::error::StoreError;
use crate::store::Store;

const LISTENING: &str = "listen for notifications";
/// Wait after a failure.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// Time without a notification after which the connection is tested, since a lost host sends nothing.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// A listener for the notifications of one channel, with a connection of its own. It replaces a lost connection; it misses what is sent in
/// between. It starts to listen at the first call of [`Listener::next`].
pub struct Listener<T> {
    store: Store,
    channel: &'static str,
    /// What happens while it cannot listen, for the log.
    meanwhile: &'static str,
    connection: Option<PgListener>,
    payload: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Listener<T> {
    pub(crate) fn new(store: &Store, channel: &'static str, meanwhile: &'static str) -> Self {
        Self { store: store.clone(), channel, meanwhile, connection: None, payload: PhantomData }
    }

    /// Returns the payload of the next notification. Waits for Postgres if necessary.
    pub async fn next(&mut self) -> T {
        let (channel, meanwhile) = (self.channel, self.meanwhile);
        loop {
            match Box::pin(self.receive()).await {
                Ok(None) => {}
                Ok(Some(payload)) => match serde_json::from_str(&payload) {
                    Ok(payload) => return payload,
                    Err(error) => {
                        tracing::warn!(%error, channel, "ignored a notification that this release cannot read");
                    }
                },
                Err(error) => {
                    // The next call opens a new connection, since the state of this one is unknown.
                    self.connection = None;
                    tracing::warn!(%error, channel, meanwhile, "cannot receive notifications");
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    /// Returns the next notification, or none after [`KEEPALIVE`] if the connection still works.
    async fn receive(&mut self) -> Result<Option<String>, StoreError> {
        let failed = StoreError::while_doing(LISTENING);
        let listener = match &mut self.connection {
            Some(listener) => listener,
            closed => {
                let opened = self.store.with_timeout(LISTENING, async {
                    let mut listener = PgListener::connect_with(&self.store.pool).await.map_err(&failed)?;
                    listener.listen(self.channel).await.map_err(&failed)?;
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
