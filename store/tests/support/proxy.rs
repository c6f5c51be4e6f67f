//! A network between the store and Postgres that can break.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Passes everything on.
    Up,
    /// Closes all connections, and new ones at once.
    Down,
    /// Takes everything and answers nothing, as a host that was lost.
    Silent,
}

/// Passes bytes between a port of its own and Postgres.
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

    /// Lets the next commit reach Postgres, and closes the connection instead of passing on the answer.
    pub fn lose_next_commit(&self) {
        self.state.cut_at_commit.store(true, Ordering::SeqCst);
    }

    /// Whether no commit was lost yet.
    pub fn waits_for_commit(&self) -> bool {
        self.state.cut_at_commit.load(Ordering::SeqCst)
    }

    /// How often Postgres was ready for the next message: the round trips that were really made.
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
                    // Postgres answers when it has committed.
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
