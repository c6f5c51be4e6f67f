//! Parses the documents of requests within limits, so that an author who sends large documents does not delay the requests of others.
//!
//! The operator parses every document again and applies the same rules. An invalid document that is left to it is admitted, but does not
//! come into force.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use enact_domain::speckit::MAX_DOCUMENT_BYTES;
use enact_service::shares::Shares;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Documents up to this size are parsed without a slot: it takes no longer than the other work for a request.
const SMALL_BYTES: usize = 16 << 10;
/// Largest document that is parsed. A hostile document of this size takes some tens of milliseconds.
const MAX_BYTES: usize = 256 << 10;
/// Longest time for a document to wait and to be parsed.
const PATIENCE: Duration = Duration::from_millis(200);
/// Most documents that are parsed at once, and most of one namespace.
const SLOTS: (usize, usize) = (2, 1);

/// The slots for documents that are parsed.
#[derive(Debug)]
pub struct Parsing {
    all: Arc<Semaphore>,
    namespaces: Shares<String>,
    patience: Duration,
}

/// The reason why a document is left to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unparsed {
    TooLarge,
    TooBusy,
}

impl Default for Parsing {
    fn default() -> Self {
        Self::new(PATIENCE)
    }
}

impl Parsing {
    /// Makes the slots; a document waits and is parsed for at most `patience`.
    pub fn new(patience: Duration) -> Self {
        let (all, of_namespace) = SLOTS;
        Self { all: Arc::new(Semaphore::new(all)), namespaces: Shares::new(of_namespace), patience }
    }

    /// Parses a document of a namespace.
    ///
    /// # Errors
    /// When it is left to the operator.
    pub async fn parse<T: Send + 'static>(
        &self,
        namespace: &str,
        text: &str,
        parse: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, Unparsed> {
        // The parsers refuse a document of more than `MAX_DOCUMENT_BYTES` by its size.
        if text.len() <= SMALL_BYTES || text.len() > MAX_DOCUMENT_BYTES {
            return Ok(parse(text.as_bytes()));
        }
        if text.len() > MAX_BYTES {
            return Err(Unparsed::TooLarge);
        }
        let parsed = async {
            // The slot of the namespace comes first: a document that waits for it must not hold a slot that others could use.
            let own = self.namespaces.semaphore(namespace).acquire_owned().await.ok()?;
            let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            let bytes = text.as_bytes().to_vec();
            let work = move || {
                // Parsing cannot be interrupted. It keeps its slots until it ends, also when its request has been answered.
                let _slots = (own, all);
                parse(&bytes)
            };
            spawn_blocking(work).await.ok()
        };
        timeout(self.patience, parsed).await.ok().flatten().ok_or(Unparsed::TooBusy)
    }
}

impl fmt::Display for Unparsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self {
            Self::TooLarge => format!("has more than {} KiB", MAX_BYTES >> 10),
            Self::TooBusy => "could not be checked in time".to_owned(),
        };
        write!(f, "the document {why}, so only the operator checks it; see the conditions of the object")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const GENEROUS: Duration = Duration::from_mins(2);

    fn document() -> String {
        "x".repeat(SMALL_BYTES + 1)
    }

    #[tokio::test]
    async fn a_flood_of_one_namespace_does_not_stop_another() {
        let (parsing, text) = (Arc::new(Parsing::new(GENEROUS)), document());
        let (report_start, mut reports) = tokio::sync::mpsc::unbounded_channel();
        // Every document of the flood takes as long as this test wants: until the sender is dropped.
        let (hold, release) = mpsc::channel::<()>();
        let release = Arc::new(std::sync::Mutex::new(release));
        let flood: Vec<_> = (0..8)
            .map(|_| {
                let (parsing, text, report_start, release) =
                    (Arc::clone(&parsing), text.clone(), report_start.clone(), Arc::clone(&release));
                let hang = move |_: &[u8]| {
                    let _ = report_start.send(());
                    let _ = release.lock().unwrap().recv();
                };
                tokio::spawn(async move { parsing.parse("hostile", &text, hang).await })
            })
            .collect();
        reports.recv().await.unwrap();
        assert_eq!(parsing.parse("other", &text, <[u8]>::len).await, Ok(text.len()));
        assert!(reports.try_recv().is_err(), "the flood has one slot");
        drop(hold);
        for parsed in flood {
            assert_eq!(parsed.await.unwrap(), Ok(()));
        }
    }

    #[tokio::test]
    async fn who_waits_too_long_is_left_to_the_operator() {
        let (parsing, text) = (Parsing::new(Duration::from_millis(20)), document());
        let (hold, release) = mpsc::channel::<()>();
        let hang = move |_: &[u8]| {
            let _ = release.recv();
        };
        assert_eq!(parsing.parse("a", &text, hang).await, Err(Unparsed::TooBusy));
        // The document is still parsed, so the next one of the namespace gets no slot.
        assert_eq!(parsing.parse("a", &text, <[u8]>::len).await, Err(Unparsed::TooBusy));
        assert_eq!(parsing.parse("a", "small", <[u8]>::len).await, Ok(5));
        drop(hold);
        let again = async { while parsing.parse("a", &text, <[u8]>::len).await.is_err() {} };
        timeout(GENEROUS, again).await.expect("the slot is free again");
    }

    #[tokio::test]
    async fn large_documents_are_left_to_the_operator() {
        let parsing = Parsing::new(GENEROUS);
        for (bytes, expected) in [
            (MAX_BYTES, Ok(MAX_BYTES)),
            (MAX_BYTES + 1, Err(Unparsed::TooLarge)),
            (MAX_DOCUMENT_BYTES, Err(Unparsed::TooLarge)),
            (MAX_DOCUMENT_BYTES + 1, Ok(MAX_DOCUMENT_BYTES + 1)),
        ] {
            assert_eq!(parsing.parse("a", &"x".repeat(bytes), <[u8]>::len).await, expected, "{bytes} bytes");
        }
    }
}
