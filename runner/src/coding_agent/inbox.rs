//! Messages of people that arrive while the agent works: the kubelet updates a mounted file.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use enact_domain::agents::message::{self, MAX_MESSAGE_BYTES, MAX_MESSAGES, Message};

use crate::log::log;
use crate::process::Stopper;

/// Time between two looks at the file.
const INTERVAL: Duration = Duration::from_secs(1);
/// Most bytes of the file: each byte of a text can have six in JSON.
const MAX_FILE: u64 = (MAX_MESSAGES * (6 * MAX_MESSAGE_BYTES + 1024)) as u64;

/// The messages of one attempt.
#[derive(Clone)]
pub(super) struct Inbox {
    file: PathBuf,
    /// Number of the last message that the agent got.
    last: u64,
}

impl Inbox {
    /// Returns the inbox of an agent that has got the messages up to `last`.
    pub(super) fn new(file: PathBuf, last: u64) -> Self {
        Self { file, last }
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Returns the messages that the agent has not got yet. From now on, it has got them.
    pub(super) fn take(&mut self) -> Vec<Message> {
        let unread = self.unread();
        self.last = self.last.max(message::last_id(&unread));
        unread
    }

    /// Stops the agent, from another thread, as soon as there is a new message and a `session` that can be resumed.
    pub(super) fn watch(&self, stopper: Stopper, session: Arc<AtomicBool>) -> Watch {
        let (inbox, (ended, notice)) = (self.clone(), channel::<()>());
        let thread = std::thread::spawn(move || {
            while matches!(notice.recv_timeout(INTERVAL), Err(RecvTimeoutError::Timeout)) {
                if session.load(Ordering::Relaxed) && !inbox.unread().is_empty() {
                    log("a person has sent a message; interrupting the agent");
                    stopper.stop();
                    break;
                }
            }
        });
        Watch { ended, thread }
    }

    fn unread(&self) -> Vec<Message> {
        let mut text = String::new();
        // Without the file, nobody can send messages.
        let read = File::open(&self.file).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
        let messages = read.ok().and_then(|_| message::parse(&text).ok()).unwrap_or_default();
        messages.into_iter().filter(|message| message.id > self.last).collect()
    }
}

/// The thread that looks at the file.
pub(super) struct Watch {
    ended: Sender<()>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Ends the thread.
    pub(super) fn finish(self) {
        drop(self.ended);
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_taken_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("messages");
        let mut inbox = Inbox::new(file.clone(), 1);
        assert_eq!(inbox.take(), []);
        for garbage in ["", "garbage", "[{\"id\":0,\"text\":\"a\"}]"] {
            std::fs::write(&file, garbage).unwrap();
            assert_eq!(inbox.take(), []);
        }
        std::fs::write(&file, r#"[{"id":1,"text":"one"},{"id":2,"text":"two","by":"ann"}]"#).unwrap();
        let taken: Vec<String> = inbox.take().into_iter().map(|message| message.text).collect();
        assert_eq!((taken, inbox.last()), (vec!["two".to_owned()], 2));
        assert_eq!(inbox.take(), []);
    }
}
