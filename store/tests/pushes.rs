//! Notifications of pushes, from the server to all listeners.

mod support;

use std::time::Duration;

use enact_domain::push::Push;
use enact_store::{Config, PushListener, Store};
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

/// Returns the pushes that `listener` receives from now on.
fn receive(mut listener: PushListener) -> UnboundedReceiver<Push> {
    let (sender, received) = unbounded_channel();
    tokio::spawn(async move { while sender.send(listener.next().await).is_ok() {} });
    received
}

/// Notifies of a push until it is received: listening starts some time after the first call.
async fn notify(store: &Store, push: &Push, received: &mut UnboundedReceiver<Push>) {
    let until_received = async {
        loop {
            let _ = store.notify_push(push).await;
            if let Ok(Some(found)) = timeout(Duration::from_millis(200), received.recv()).await
                && found == *push
            {
                return;
            }
        }
    };
    timeout(PATIENCE, until_received).await.expect("a push is received");
}

#[tokio::test]
async fn every_listener_receives_pushes_in_order() {
    let database = Database::migrated().await;
    let (server, operator) = (database.store(), database.store());
    let mut listeners = [receive(operator.push_listener()), receive(operator.push_listener())];
    for received in &mut listeners {
        notify(&server, &push("begin"), received).await;
    }
    for n in 0..50 {
        server.notify_push(&push(&format!("shop-{n}"))).await.unwrap();
    }
    for received in &mut listeners {
        for n in 0..50 {
            let mut next = timeout(PATIENCE, received.recv()).await.unwrap().unwrap();
            while next.namespace == "begin" {
                next = timeout(PATIENCE, received.recv()).await.unwrap().unwrap();
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
    let (server, mut received) = (database.store(), receive(far.push_listener()));
    proxy.set(Network::Up);
    notify(&server, &push("first"), &mut received).await;
    proxy.set(Network::Down);
    server.notify_push(&push("lost")).await.unwrap();
    proxy.set(Network::Up);
    notify(&server, &push("second"), &mut received).await;
}

#[tokio::test]
async fn ignores_notifications_of_another_release() {
    let database = Database::migrated().await;
    let (server, mut received) = (database.store(), receive(database.store().push_listener()));
    notify(&server, &push("first"), &mut received).await;
    let mut connection = database.app().await;
    sqlx::query("select pg_notify('enact_push', '{\"form\": \"of another release\"}')")
        .execute(&mut connection)
        .await
        .unwrap();
    notify(&server, &push("second"), &mut received).await;
}
