//! Pushes, from whoever tells of them to whoever listens.

mod support;

use std::time::Duration;

use enact_domain::push::Push;
use enact_store::{Config, Pushes, Store};
use support::Database;
use support::proxy::{Network, Proxy};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_mins(1);

fn push(namespace: &str) -> Push {
    let (repositories, reference) =
        (["git.example.com/shop/specs".to_owned()].into(), Some("refs/heads/main".to_owned()));
    Push { namespace: namespace.to_owned(), repositories, reference }
}

/// Whatever is heard, from now on.
fn heard(mut pushes: Pushes) -> UnboundedReceiver<Push> {
    let (hears, told) = unbounded_channel();
    tokio::spawn(async move { while hears.send(pushes.next().await).is_ok() {} });
    told
}

/// Tells of a push until it is heard: listening begins some time after the first call.
async fn tell(store: &Store, push: &Push, told: &mut UnboundedReceiver<Push>) {
    let until_heard = async {
        loop {
            let _ = store.tell(push).await;
            if let Ok(Some(found)) = timeout(Duration::from_millis(200), told.recv()).await
                && found == *push
            {
                return;
            }
        }
    };
    timeout(PATIENCE, until_heard).await.expect("a push is heard");
}

#[tokio::test]
async fn what_is_told_is_heard_in_order_and_by_everybody_who_listens() {
    let database = Database::migrated().await;
    let (server, operator) = (database.store(), database.store());
    let mut listeners = [heard(operator.pushes()), heard(operator.pushes())];
    for told in &mut listeners {
        tell(&server, &push("begin"), told).await;
    }
    for n in 0..50 {
        server.tell(&push(&format!("shop-{n}"))).await.unwrap();
    }
    for told in &mut listeners {
        for n in 0..50 {
            let mut next = timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
            while next.namespace == "begin" {
                next = timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
            }
            assert_eq!(next, push(&format!("shop-{n}")));
        }
    }
    server.close().await;
}

#[tokio::test]
async fn a_lost_connection_is_opened_again() {
    let database = Database::migrated().await;
    let proxy = Proxy::to(database.server()).await;
    let far = Store::connect(&Config {
        connect_timeout: Duration::from_secs(1),
        ..Config::new(database.app_url_at(&proxy.address.ip().to_string(), proxy.address.port()))
    })
    .unwrap();
    proxy.set(Network::Down);
    let (server, mut told) = (database.store(), heard(far.pushes()));
    proxy.set(Network::Up);
    tell(&server, &push("first"), &mut told).await;
    proxy.set(Network::Down);
    server.tell(&push("unheard")).await.unwrap();
    proxy.set(Network::Up);
    tell(&server, &push("second"), &mut told).await;
}

#[tokio::test]
async fn what_another_release_tells_is_passed_over() {
    let database = Database::migrated().await;
    let (server, mut told) = (database.store(), heard(database.store().pushes()));
    tell(&server, &push("first"), &mut told).await;
    let mut connection = database.app().await;
    sqlx::query("select pg_notify('enact_push', '{\"tells\": \"of another thing\"}')")
        .execute(&mut connection)
        .await
        .unwrap();
    tell(&server, &push("second"), &mut told).await;
}
