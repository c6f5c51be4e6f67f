//! Pushes to repositories, told by the server and heard by the operator that leads.
//!
//! They are notifications (`NOTIFY`): nothing is kept, and one that nobody hears is lost, which costs no more than the interval at which
//! documents are looked at anyhow.

use std::time::Duration;

use enact_domain::push::Push;
use sqlx::postgres::PgListener;
use sqlx::raw_sql;
use tokio::time::{sleep, timeout};

use crate::error::StoreError;
use crate::store::Store;

const CHANNEL: &str = "enact_push";
const TELLING: &str = "tell of a push";
const LISTENING: &str = "listen for pushes";
/// How long to wait before listening again after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// How long nothing may be heard before it is seen whether Postgres is still there: a host that is lost says nothing.
const SILENCE: Duration = Duration::from_mins(1);

impl Store {
    /// Tells of a push, to whoever listens now.
    ///
    /// # Errors
    /// When Postgres does not take it.
    pub async fn tell(&self, push: &Push) -> Result<(), StoreError> {
        let payload = serde_json::to_string(push).map_err(StoreError::unreadable("a push"))?;
        self.within(TELLING, async {
            let mut session = self.session(TELLING).await?;
            sqlx::query!("select pg_notify($1, $2)::text", CHANNEL, payload)
                .fetch_one(session.statement())
                .await
                .map_err(StoreError::while_doing(TELLING))?;
            Ok(())
        })
        .await
    }

    /// Listens for pushes, from the first call of [`Pushes::next`] on.
    pub fn pushes(&self) -> Pushes {
        Pushes { store: self.clone(), listener: None }
    }
}

/// Pushes as they are told. It holds a connection; when that is lost it opens another, and what is told meanwhile is not heard.
pub struct Pushes {
    store: Store,
    listener: Option<PgListener>,
}

impl Pushes {
    /// The next push. Waits for Postgres, if it must.
    pub async fn next(&mut self) -> Push {
        loop {
            match Box::pin(self.hear()).await {
                Ok(None) => {}
                Ok(Some(payload)) => match serde_json::from_str(&payload) {
                    Ok(push) => return push,
                    Err(error) => tracing::warn!(%error, "a push was told in a form that this release does not read"),
                },
                Err(error) => {
                    self.listener = None;
                    tracing::warn!(%error, "pushes are not heard of; documents are looked at in their interval");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// What was told, if anything was for some time.
    async fn hear(&mut self) -> Result<Option<String>, StoreError> {
        let failed = StoreError::while_doing(LISTENING);
        let listener = match &mut self.listener {
            Some(listener) => listener,
            closed => {
                let opened = self.store.within(LISTENING, async {
                    let mut listener = PgListener::connect_with(&self.store.pool).await.map_err(&failed)?;
                    listener.listen(CHANNEL).await.map_err(&failed)?;
                    Ok(listener)
                });
                closed.insert(opened.await?)
            }
        };
        if let Ok(heard) = timeout(SILENCE, listener.recv()).await {
            return Ok(Some(heard.map_err(failed)?.payload().to_owned()));
        }
        let ask = async { raw_sql("select").execute(&mut *listener).await.map_err(&failed) };
        self.store.within(LISTENING, ask).await.map(|_| None)
    }
}
