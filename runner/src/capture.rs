//! The output of child processes, read in bounded memory.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::secrets::Secrets;

/// The last bytes of a stream.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
    cut: bool,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        let chunk = &chunk[chunk.len().saturating_sub(self.limit)..];
        let excess = (self.bytes.len() + chunk.len()).saturating_sub(self.limit);
        self.cut |= excess > 0;
        self.bytes.drain(..excess);
        self.bytes.extend(chunk);
    }

    /// Returns whether the stream was longer than the limit.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Returns the bytes as text that Postgres accepts: NUL and invalid UTF-8 become U+FFFD.
    pub(crate) fn into_text(self) -> String {
        String::from_utf8_lossy(&self.into_bytes()).replace('\0', "\u{fffd}")
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes.into()
    }
}

/// Reads `stream` to its end in a new thread and keeps the last `limit` bytes.
///
/// With `secrets`, the thread redacts them and also copies the stream to standard output.
pub(crate) fn follow(
    mut stream: impl Read + Send + 'static,
    limit: usize,
    secrets: Option<Arc<Secrets>>,
) -> JoinHandle<Tail> {
    std::thread::spawn(move || {
        let mut tail = Tail::new(limit);
        let mut buffer = [0; 16 * 1024];
        let mut pending = Vec::new();
        let mut take = |chunk: &[u8], last: bool| {
            let Some(secrets) = &secrets else { return tail.push(chunk) };
            // A secret may be split between two chunks. Its possible start stays in `pending` until the next chunk.
            pending.extend_from_slice(chunk);
            let redacted = secrets.redact_stream(&mut pending, last);
            tail.push(&redacted);
            // An attempt continues when standard output is closed.
            let _ = io::stdout().write_all(&redacted);
        };
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => take(&buffer[..count], false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        take(&[], true);
        let _ = io::stdout().flush();
        tail
    })
}

/// Waits for the thread and returns the bytes that it kept; none if the thread panicked.
pub(crate) fn collect(follower: JoinHandle<Tail>) -> Tail {
    follower.join().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_bounded_and_says_so() {
        let mut tail = Tail::new(4);
        tail.push(b"ab");
        assert!(!tail.is_cut());
        tail.push(b"cdefgh");
        tail.push(b"i");
        assert!(tail.is_cut());
        assert_eq!(tail.into_text(), "fghi");
    }

    #[test]
    fn hostile_bytes_become_text() {
        let mut tail = Tail::new(16);
        tail.push(b"a\0b\xffc");
        assert_eq!(tail.into_text(), "a\u{fffd}b\u{fffd}c");
    }
}
