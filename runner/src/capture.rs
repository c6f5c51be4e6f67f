//! Output of a child, read in bounded memory.

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
    /// Keeps at most the last `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Adds what came next.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        let chunk = &chunk[chunk.len().saturating_sub(self.limit)..];
        let excess = (self.bytes.len() + chunk.len()).saturating_sub(self.limit);
        self.cut |= excess > 0;
        self.bytes.drain(..excess);
        self.bytes.extend(chunk);
    }

    /// Whether something was left out.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// What was kept, as text that Postgres takes: what is not UTF-8, and NUL, become U+FFFD.
    pub(crate) fn into_text(self) -> String {
        String::from_utf8_lossy(&self.into_bytes()).replace('\0', "\u{fffd}")
    }

    /// What was kept, as it is.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes.into()
    }
}

/// Reads `stream` to its end in a thread of its own and keeps the last `limit` bytes.
///
/// With `secrets`, everything is passed on to standard output, too, and neither there nor in what is kept is one of them.
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
            pending.extend_from_slice(chunk);
            let passed = secrets.pass(&mut pending, last);
            tail.push(&passed);
            // A log that nobody takes is no reason to stop the work.
            let _ = io::stdout().write_all(&passed);
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

/// What a follower kept; nothing when its thread died.
pub(crate) fn collect(follower: JoinHandle<Tail>) -> Tail {
    follower.join().unwrap_or_default()
}

/// The last lines of `text`, at most `limit` bytes, without white space at the ends.
pub(crate) fn last_lines(text: &str, limit: usize) -> &str {
    let text = text.trim();
    if text.len() <= limit {
        return text;
    }
    let tail = &text[text.ceil_char_boundary(text.len() - limit)..];
    // A whole line reads better than the end of one, where there is one.
    tail.split_once('\n').map_or(tail, |(_, rest)| rest).trim_start()
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

    #[test]
    fn last_lines_are_whole() {
        assert_eq!(last_lines("one\ntwo\nthree\n", 8), "three");
        assert_eq!(last_lines("one\ntwo", 100), "one\ntwo");
        assert_eq!(last_lines("ääää", 3), "ä");
    }
}
