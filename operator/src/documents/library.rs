//! Library: what was read of documents, kept while there is room. A content is read and analysed once, however often it is looked at.

use std::sync::{Arc, Mutex, PoisonError};

use enact_domain::analysis::{self, Question, Report, Sketch};
use enact_domain::digest::Digest;
use enact_domain::rules::{Program, Rule, RuleError, compile_all};
use enact_domain::speckit::constitution::Constitution;
use enact_domain::speckit::spec::Spec;
use enact_domain::speckit::{self, Parsed};
use lru::LruCache;

use super::answers::{self, Effective, Given};
use super::appendix;
use super::law::{Judgement, Law};
use super::specification::overlap::Overlap;
use crate::context::Context;
use crate::error::Error;

/// Bytes of documents whose models are kept, of each kind. A model is a few times as large.
const ROOM: usize = 16 << 20;
/// Small things that are kept, of each kind.
const MANY: usize = 4096;
/// What a document counts for besides its bytes.
const OVERHEAD: usize = 4096;

/// The text of a specification.
#[derive(Debug)]
pub struct SpecificationText {
    /// Digest of the bytes.
    pub digest: Digest,
    /// What it says.
    pub parsed: Parsed<Spec>,
    /// What there is to say about it alone.
    pub report: Report,
    /// What somebody should be asked, the most urgent first.
    pub questions: Vec<Question>,
}

impl SpecificationText {
    /// Reads a specification.
    pub fn read(bytes: &[u8]) -> Self {
        let parsed = speckit::spec::parse(bytes);
        let report = analysis::specification(&parsed);
        let questions = answers::open(&parsed, &report);
        Self { digest: Digest::of_bytes(bytes), parsed, report, questions }
    }
}

/// The text of a constitution, with the rules that stand behind it.
#[derive(Debug)]
pub struct ConstitutionText {
    /// Digest of the bytes.
    pub digest: Digest,
    /// What it says.
    pub parsed: Parsed<Constitution>,
    /// What there is to say about it alone.
    pub report: Report,
    /// Its own rules.
    pub rules: Vec<Rule>,
}

impl ConstitutionText {
    /// Reads a constitution.
    pub fn read(bytes: &[u8]) -> Self {
        let parsed = speckit::constitution::parse(bytes);
        let report = analysis::constitution(&parsed);
        Self { digest: Digest::of_bytes(bytes), rules: appendix::rules(bytes), parsed, report }
    }
}

type Compiled = Result<Arc<Vec<Program>>, Arc<Vec<RuleError>>>;

/// What was read of documents.
pub struct Library {
    specifications: Shelf<Arc<SpecificationText>>,
    constitutions: Shelf<Arc<ConstitutionText>>,
    effective: Shelf<Arc<Effective>>,
    sketches: Shelf<Arc<Sketch>>,
    programs: Shelf<Compiled>,
    judgements: Shelf<Arc<Judgement>>,
    overlaps: Shelf<Arc<Overlap>>,
}

impl Default for Library {
    fn default() -> Self {
        Self {
            specifications: Shelf::new(ROOM),
            constitutions: Shelf::new(ROOM),
            effective: Shelf::new(ROOM),
            sketches: Shelf::new(MANY),
            programs: Shelf::new(MANY),
            judgements: Shelf::new(MANY),
            overlaps: Shelf::new(MANY),
        }
    }
}

impl Library {
    /// A specification with answers written into it.
    ///
    /// # Errors
    /// When the process ends.
    pub async fn effective(&self, source: Vec<u8>, given: Vec<Given>) -> Result<Arc<Effective>, Error> {
        let answers: Vec<String> = given.iter().map(|g| format!("{g:?}")).collect();
        let key = Digest::of_bytes(format!("{}\n{}", Digest::of_bytes(&source), answers.join("\n")).as_bytes());
        if let Some(known) = self.effective.get(&key) {
            return Ok(known);
        }
        let made = Arc::new(aside(move || answers::write(source, &given)).await?);
        self.effective.put(key, made.clone(), made.bytes.len() + OVERHEAD);
        Ok(made)
    }

    /// A specification, read.
    ///
    /// # Errors
    /// When the process ends.
    pub async fn specification(&self, bytes: &[u8]) -> Result<Arc<SpecificationText>, Error> {
        let digest = Digest::of_bytes(bytes);
        if let Some(known) = self.specifications.get(&digest) {
            return Ok(known);
        }
        let (copy, weight) = (bytes.to_vec(), bytes.len() + OVERHEAD);
        let read = Arc::new(aside(move || SpecificationText::read(&copy)).await?);
        self.specifications.put(digest, read.clone(), weight);
        Ok(read)
    }

    /// A constitution, read.
    ///
    /// # Errors
    /// When the process ends.
    pub async fn constitution(&self, bytes: &[u8]) -> Result<Arc<ConstitutionText>, Error> {
        let digest = Digest::of_bytes(bytes);
        if let Some(known) = self.constitutions.get(&digest) {
            return Ok(known);
        }
        let (copy, weight) = (bytes.to_vec(), bytes.len() + OVERHEAD);
        let read = Arc::new(aside(move || ConstitutionText::read(&copy)).await?);
        self.constitutions.put(digest, read.clone(), weight);
        Ok(read)
    }

    /// The specification with this digest, from the record if it is not at hand; none when it is not there either.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub async fn specification_of(
        ctx: &Context,
        tenant: &str,
        digest: &Digest,
    ) -> Result<Option<Arc<SpecificationText>>, Error> {
        if let Some(known) = ctx.library.specifications.get(digest) {
            return Ok(Some(known));
        }
        let Some(bytes) = ctx.memory.content(tenant, digest).await? else { return Ok(None) };
        ctx.library.specification(&bytes).await.map(Some)
    }

    /// The constitution with this digest, likewise.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub async fn constitution_of(
        ctx: &Context,
        tenant: &str,
        digest: &Digest,
    ) -> Result<Option<Arc<ConstitutionText>>, Error> {
        if let Some(known) = ctx.library.constitutions.get(digest) {
            return Ok(Some(known));
        }
        let Some(bytes) = ctx.memory.content(tenant, digest).await? else { return Ok(None) };
        ctx.library.constitution(&bytes).await.map(Some)
    }

    /// The sketch of the specification with this digest, likewise.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub async fn sketch_of(ctx: &Context, tenant: &str, digest: &Digest) -> Result<Option<Arc<Sketch>>, Error> {
        if let Some(known) = ctx.library.sketches.get(digest) {
            return Ok(Some(known));
        }
        let Some(text) = Self::specification_of(ctx, tenant, digest).await? else { return Ok(None) };
        Ok(Some(ctx.library.sketch(&text)))
    }

    /// The sketch of a specification.
    pub fn sketch(&self, text: &SpecificationText) -> Arc<Sketch> {
        self.sketches.get(&text.digest).unwrap_or_else(|| {
            let sketch = Arc::new(Sketch::new(&text.parsed.model));
            self.sketches.put(text.digest.clone(), sketch.clone(), 1);
            sketch
        })
    }

    /// What a specification breaks of its law.
    ///
    /// # Errors
    /// When the process ends.
    pub async fn judgement(
        ctx: &Context,
        law: &Law,
        text: &Arc<SpecificationText>,
        name: &str,
        judge: fn(&Law, &SpecificationText, &str) -> Judgement,
    ) -> Result<Arc<Judgement>, Error> {
        let Some(law_key) = &law.key else { return Ok(Arc::default()) };
        let key = Digest::of_bytes(format!("{law_key} {} {name}", text.digest).as_bytes());
        if let Some(known) = ctx.library.judgements.get(&key) {
            return Ok(known);
        }
        let (law, text, name) = (law.clone(), text.clone(), name.to_owned());
        let judged = Arc::new(aside(move || judge(&law, &text, &name)).await?);
        ctx.library.judgements.put(key, judged.clone(), 1);
        Ok(judged)
    }

    /// What was found of this comparison with others.
    pub fn overlap(&self, key: &Digest) -> Option<Arc<Overlap>> {
        self.overlaps.get(key)
    }

    /// Keeps what was found.
    pub fn keep_overlap(&self, key: Digest, overlap: Arc<Overlap>) {
        self.overlaps.put(key, overlap, 1);
    }

    /// Rules, compiled.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn programs(&self, rules: &[Rule]) -> Compiled {
        let texts: Vec<String> = rules.iter().map(|r| format!("{r:?}")).collect();
        let key = Digest::of_bytes(texts.join("\n").as_bytes());
        self.programs.get(&key).unwrap_or_else(|| {
            let compiled = compile_all(rules).map(Arc::new).map_err(Arc::new);
            self.programs.put(key, compiled.clone(), 1);
            compiled
        })
    }
}

/// Does work that may take a while where it keeps nothing else waiting.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Error::Aside { source })
}

/// Things by digest, as many as fit; what was not used for the longest time goes first.
struct Shelf<V> {
    kept: Mutex<Kept<V>>,
    room: usize,
}

struct Kept<V> {
    entries: LruCache<Digest, (V, usize)>,
    total: usize,
}

impl<V: Clone> Shelf<V> {
    fn new(room: usize) -> Self {
        Self { kept: Mutex::new(Kept { entries: LruCache::unbounded(), total: 0 }), room }
    }

    fn get(&self, key: &Digest) -> Option<V> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entries.get(key).map(|(value, _)| value.clone())
    }

    fn put(&self, key: Digest, value: V, weight: usize) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { entries, total } = &mut *kept;
        *total += weight;
        if let Some((_, (_, old))) = entries.push(key, (value, weight)) {
            *total -= old;
        }
        while *total > self.room
            && entries.len() > 1
            && let Some((_, (_, old))) = entries.pop_lru()
        {
            *total -= old;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_goes_when_there_is_no_room() {
        let shelf = Shelf::new(10);
        let key = |n: u8| Digest::of_bytes(&[n]);
        shelf.put(key(1), 1, 4);
        shelf.put(key(2), 2, 4);
        assert_eq!(shelf.get(&key(1)), Some(1));
        shelf.put(key(1), 1, 4);
        shelf.put(key(3), 3, 4);
        assert_eq!([1, 2, 3].map(|n| shelf.get(&key(n))), [Some(1), None, Some(3)]);
        shelf.put(key(4), 4, 100);
        assert_eq!(shelf.get(&key(4)), Some(4), "what is too large alone is kept until something else comes");
        shelf.put(key(5), 5, 1);
        assert_eq!(shelf.get(&key(4)), None);
    }
}
