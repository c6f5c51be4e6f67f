//! A proxy between the store and Postgres that simulates network failures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The state of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Forwards everything.
    Up,
    /// Closes all connections; closes new ones immediately.
    Down,
    /// Accepts everything and answers nothing, like a lost host.
    Silent,
}

/// A proxy that forwards bytes between its own port and Postgres.
pub struct Proxy {
    pub address: SocketAddr,
    network: watch::Sender<Network>,
    state: Arc<State>,
    listener: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    cut_at_commit: AtomicBool,
    answers: AtomicU64,
}

impl Proxy {
    pub async fn to(server: (String, u16)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (network, seen) = watch::channel(Network::Up);
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let listener = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(client, server.clone(), seen.clone(), Arc::clone(&shared)));
            }
        });
        Self { address, network, state, listener }
    }

    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// Forwards the next commit to Postgres, and closes the connection instead of forwarding the answer.
    pub fn lose_next_commit(&self) {
        self.state.cut_at_commit.store(true, Ordering::SeqCst);
    }

    /// Returns whether the next commit has not been sent yet.
    pub fn waits_for_commit(&self) -> bool {
        self.state.cut_at_commit.load(Ordering::SeqCst)
    }

    /// Returns how often Postgres was ready for the next message, which is the number of actual round trips.
    pub fn answers(&self) -> u64 {
        self.state.answers.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn pass(mut client: TcpStream, server: (String, u16), mut network: watch::Receiver<Network>, state: Arc<State>) {
    if *network.borrow_and_update() == Network::Down {
        return;
    }
    let mut server = TcpStream::connect(server).await.unwrap();
    let (mut sent, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let passing = *network.borrow() == Network::Up;
        tokio::select! {
            changed = network.changed() => {
                if changed.is_err() || *network.borrow() == Network::Down {
                    return;
                }
            }
            length = client.read(&mut sent), if passing => {
                let Ok(length @ 1..) = length else { return };
                server.write_all(&sent[..length]).await.unwrap();
                let commits = sent[..length].windows(7).any(|bytes| bytes == b"commit\0");
                if commits && state.cut_at_commit.swap(false, Ordering::SeqCst) {
                    // Postgres answers after it has committed.
                    let _ = server.read(&mut answered).await;
                    return;
                }
            }
            length = server.read(&mut answered), if passing => {
                let Ok(length @ 1..) = length else { return };
                // ReadyForQuery: its type, its length and the state of the transaction.
                let ready = answered[..length].windows(5).filter(|bytes| bytes == b"Z\0\0\0\x05").count();
                state.answers.fetch_add(ready as u64, Ordering::SeqCst);
                let _ = client.write_all(&answered[..length]).await;
            }
        }
    }
}
