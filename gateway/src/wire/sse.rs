//! Server-sent events, in parts of any size.

use bytes::{Bytes, BytesMut};

/// Largest event that is held back until it is complete, in bytes. Those that a filter drops are small.
const MAX_HELD_BYTES: usize = 64 << 10;

/// Finds the data of events. An event of these formats has one line of data.
#[derive(Debug)]
pub struct Events {
    /// Longest line that is read, in bytes.
    longest: usize,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    /// Whether the rest of the line is skipped, because it is too long.
    skipping: bool,
    count: u64,
}

impl Events {
    /// Finds events whose lines have at most `longest` bytes.
    pub fn new(longest: usize) -> Self {
        Self { longest, line: Vec::new(), skipping: false, count: 0 }
    }

    /// Calls `event` with the data of each event that `part` completes.
    pub fn feed(&mut self, part: &[u8], mut event: impl FnMut(&[u8])) {
        let mut rest = part;
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            if self.line.is_empty() && !self.skipping {
                self.count += u64::from(read(line, &mut event));
            } else {
                self.hold(line);
                let line = std::mem::take(&mut self.line);
                self.count += u64::from(read(&line, &mut event));
                self.skipping = false;
            }
            rest = after;
        }
        self.hold(rest);
    }

    /// Returns the number of events so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the bytes that are held.
    pub fn held(&self) -> usize {
        self.line.capacity()
    }

    /// Lets go of the line that has begun, and skips the rest of it.
    pub fn skip(&mut self) {
        self.skipping |= !self.line.is_empty();
        self.line = Vec::new();
    }

    fn hold(&mut self, part: &[u8]) {
        if self.skipping || self.line.len() + part.len() > self.longest {
            self.skipping = true;
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(part);
        }
    }
}

/// Calls `event` if a line has data, and returns whether it has.
fn read(line: &[u8], event: &mut impl FnMut(&[u8])) -> bool {
    let data = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii);
    data.filter(|data| !data.is_empty()).is_some_and(|data| {
        event(data);
        true
    })
}

/// Removes events from a stream. Each event is held back until it is complete.
#[derive(Debug, Default)]
pub struct EventFilter {
    held: BytesMut,
    /// Whether the current event was too large to be held, and is passed on without a check.
    passing: bool,
}

impl EventFilter {
    /// Returns what can be passed on after `part` has arrived. `drops` decides by the data of an event.
    pub fn feed(&mut self, part: &[u8], drops: impl Fn(&[u8]) -> bool) -> Bytes {
        // What was held has no boundary, but its last bytes may be the beginning of one.
        let mut from = self.held.len().saturating_sub(2);
        self.held.extend_from_slice(part);
        let mut out = BytesMut::new();
        while let Some(end) = boundary(&self.held, from) {
            from = 0;
            let event = self.held.split_to(end);
            let dropped = !self.passing
                && event[..]
                    .split(|c| *c == b'\n' || *c == b'\r')
                    .any(|line| line.strip_prefix(b"data:").is_some_and(|data| drops(data.trim_ascii())));
            if !dropped {
                out.extend_from_slice(&event);
            }
            self.passing = false;
        }
        if self.passing || self.held.len() > MAX_HELD_BYTES {
            // The last bytes stay: they may be the first half of the event's end.
            self.passing = true;
            let keep = self.held.len().min(3);
            out.extend_from_slice(&self.held.split_to(self.held.len() - keep));
        }
        out.freeze()
    }

    /// Returns what is left when the stream has ended.
    pub fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }
}

/// Returns the position after the empty line that ends the first event, and that begins at `from` or later.
fn boundary(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &bytes[from..]).find_map(|at| match &bytes[from + at + 1..] {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = "event: a\ndata: {\"x\":1}\n\n: ping\n\ndata:{\"x\":2}\r\n\r\ndata: \n\ndata: [DONE]\n\n";

    const LONGEST: usize = 8 << 10;

    fn events(parts: &[&[u8]]) -> Vec<String> {
        let (mut events, mut found) = (Events::new(LONGEST), Vec::new());
        for part in parts {
            events.feed(part, |data| found.push(String::from_utf8_lossy(data).into_owned()));
        }
        assert_eq!(events.count(), found.len() as u64);
        found
    }

    #[test]
    fn finds_events_split_anywhere() {
        let stream = STREAM.as_bytes();
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let parts = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(events(&parts), ["{\"x\":1}", "{\"x\":2}", "[DONE]"], "{first} {second}");
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped() {
        let long = vec![b'x'; LONGEST];
        assert_eq!(events(&[b"data: ", &long, &long, b"\n\ndata: y\n\n"]), ["y"]);
    }

    #[test]
    fn a_line_that_is_let_go_is_skipped() {
        let (mut events, mut found) = (Events::new(LONGEST), Vec::new());
        for part in ["data: a", "b\n\ndata: c\n\nda", "ta: d\n\n"] {
            events.feed(part.as_bytes(), |data| found.push(String::from_utf8_lossy(data).into_owned()));
            if part.ends_with('a') {
                events.skip();
                assert_eq!(events.held(), 0);
            }
        }
        assert_eq!(found, ["c"]);
    }

    #[test]
    fn removes_events_split_anywhere() {
        let stream = STREAM.as_bytes();
        let expected = STREAM.replace("data:{\"x\":2}\r\n\r\n", "");
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let (mut filter, mut out) = (EventFilter::default(), Vec::new());
                for part in [&stream[..first], &stream[first..second], &stream[second..]] {
                    out.extend_from_slice(&filter.feed(part, |data| data == b"{\"x\":2}"));
                }
                out.extend_from_slice(&filter.finish());
                assert_eq!(String::from_utf8(out).unwrap(), expected, "{first} {second}");
            }
        }
    }

    #[test]
    fn a_large_event_passes_in_parts() {
        let mut filter = EventFilter::default();
        let mut passed = filter.feed(b"data: ", |_| true).len();
        let part = vec![b'x'; 64 << 10];
        for _ in 0..64 {
            passed += filter.feed(&part, |_| true).len();
        }
        assert!(passed >= 63 * part.len(), "{passed}");
        passed += filter.feed(b"\n\ndata: next\n\n", |_| true).len();
        assert_eq!(passed, 64 * part.len() + 8, "the next event is checked again, and dropped");
    }

    /// A provider could otherwise use up the time of the gateway with small parts.
    #[test]
    fn small_parts_are_read_once() {
        let (mut filter, begun) = (EventFilter::default(), std::time::Instant::now());
        for _ in 0..MAX_HELD_BYTES / 2 {
            assert!(filter.feed(b"\n", |_| true).is_empty() && filter.feed(b"x", |_| true).is_empty());
        }
        assert_eq!(filter.finish().len(), MAX_HELD_BYTES);
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    proptest! {
        #[test]
        fn an_empty_filter_changes_nothing(parts in prop::collection::vec(prop::collection::vec(prop::sample::select(b"data: x\n\r{}".to_vec()), 0..40), 0..10)) {
            let (mut filter, mut out) = (EventFilter::default(), Vec::new());
            for part in &parts {
                out.extend_from_slice(&filter.feed(part, |_| false));
            }
            out.extend_from_slice(&filter.finish());
            prop_assert_eq!(out, parts.concat());
        }
    }
}
