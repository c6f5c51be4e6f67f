//! The document cache: a text is parsed, analysed and evaluated once, however often it is reconciled.

use std::collections::BTreeSet;
use std::sync::Arc;

use enact_crds::document::Finding;
use enact_domain::analysis::Sketch;
use enact_domain::digest::Digest;
use enact_domain::rules::{Program, Rule, RuleError, compile_all};

use super::answers::{self, AnsweredText, GivenAnswer};
use super::evaluation::Evaluation;
use super::texts::{ConstitutionText, SpecificationText};
use super::weighted_lru::WeightedLru;
use crate::error::Error;
use crate::metadata_cache::ObjectKey;
use crate::record_store::RecordStore;

/// Total bytes of the cached documents of each kind. A parsed document takes a few times as much memory.
const MAX_BYTES: usize = 16 << 20;
/// Number of cached small values of each kind.
const MAX_ENTRIES: usize = 4096;
/// Weight of a document in addition to its bytes.
const OVERHEAD: usize = 4096;

type CompiledRules = Result<Arc<Vec<Program>>, Arc<Vec<RuleError>>>;

/// The content that a specification shares with others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlap {
    /// One finding for each shared item.
    pub findings: Vec<Finding>,
    /// The other specifications.
    pub with: BTreeSet<ObjectKey>,
}

/// Values derived from documents. Documents that are not cached are read from the record store.
pub struct DocumentCache {
    record_store: Arc<dyn RecordStore>,
    specifications: WeightedLru<Arc<SpecificationText>>,
    constitutions: WeightedLru<Arc<ConstitutionText>>,
    answered: WeightedLru<Arc<AnsweredText>>,
    sketches: WeightedLru<Arc<Sketch>>,
    programs: WeightedLru<CompiledRules>,
    evaluations: WeightedLru<Arc<Evaluation>>,
    overlaps: WeightedLru<Arc<Overlap>>,
}

impl DocumentCache {
    pub fn new(record_store: Arc<dyn RecordStore>) -> Self {
        Self {
            record_store,
            specifications: WeightedLru::new(MAX_BYTES),
            constitutions: WeightedLru::new(MAX_BYTES),
            answered: WeightedLru::new(MAX_BYTES),
            sketches: WeightedLru::new(MAX_ENTRIES),
            programs: WeightedLru::new(MAX_ENTRIES),
            evaluations: WeightedLru::new(MAX_ENTRIES),
            overlaps: WeightedLru::new(MAX_ENTRIES),
        }
    }

    /// Returns a specification with answers written into it.
    ///
    /// # Errors
    /// When the process ends.
    pub async fn answered(&self, source: Vec<u8>, answers: Vec<GivenAnswer>) -> Result<Arc<AnsweredText>, Error> {
        let shown: Vec<String> = answers.iter().map(|a| format!("{a:?}")).collect();
        let key = Digest::of_bytes(format!("{}\n{}", Digest::of_bytes(&source), shown.join("\n")).as_bytes());
        if let Some(known) = self.answered.get(&key) {
            return Ok(known);
        }
        let text = Arc::new(blocking(move || answers::write(source, &answers)).await?);
        self.answered.put(key, text.clone(), text.bytes.len() + OVERHEAD);
        Ok(text)
    }

    /// Returns a parsed specification.
    ///
    /// # Errors
    /// When the process ends.
    pub async fn specification(&self, bytes: &[u8]) -> Result<Arc<SpecificationText>, Error> {
        parsed(&self.specifications, bytes, SpecificationText::read).await
    }

    /// Returns a parsed constitution.
    ///
    /// # Errors
    /// When the process ends.
    pub async fn constitution(&self, bytes: &[u8]) -> Result<Arc<ConstitutionText>, Error> {
        parsed(&self.constitutions, bytes, ConstitutionText::read).await
    }

    /// Returns the specification with this digest; none when the record store does not hold it.
    ///
    /// # Errors
    /// When the record store fails.
    pub async fn specification_of(
        &self,
        tenant: &str,
        digest: &Digest,
    ) -> Result<Option<Arc<SpecificationText>>, Error> {
        if let Some(known) = self.specifications.get(digest) {
            return Ok(Some(known));
        }
        let Some(bytes) = self.record_store.content(tenant, digest).await? else { return Ok(None) };
        self.specification(&bytes).await.map(Some)
    }

    /// Returns the constitution with this digest; none when the record store does not hold it.
    ///
    /// # Errors
    /// When the record store fails.
    pub async fn constitution_of(&self, tenant: &str, digest: &Digest) -> Result<Option<Arc<ConstitutionText>>, Error> {
        if let Some(known) = self.constitutions.get(digest) {
            return Ok(Some(known));
        }
        let Some(bytes) = self.record_store.content(tenant, digest).await? else { return Ok(None) };
        self.constitution(&bytes).await.map(Some)
    }

    /// Returns the sketch of the specification with this digest; none when the record store does not hold it.
    ///
    /// # Errors
    /// When the record store fails.
    pub async fn sketch_of(&self, tenant: &str, digest: &Digest) -> Result<Option<Arc<Sketch>>, Error> {
        if let Some(known) = self.sketches.get(digest) {
            return Ok(Some(known));
        }
        let Some(text) = self.specification_of(tenant, digest).await? else { return Ok(None) };
        Ok(Some(self.sketch(&text)))
    }

    pub fn sketch(&self, text: &SpecificationText) -> Arc<Sketch> {
        self.sketches.get(&text.digest).unwrap_or_else(|| {
            let sketch = Arc::new(Sketch::new(&text.parsed.model));
            self.sketches.put(text.digest.clone(), sketch.clone(), 1);
            sketch
        })
    }

    /// Returns the evaluation with this key; calls `evaluate` if it is not cached.
    ///
    /// # Errors
    /// When the process ends.
    pub async fn evaluation(
        &self,
        key: Digest,
        evaluate: impl FnOnce() -> Evaluation + Send + 'static,
    ) -> Result<Arc<Evaluation>, Error> {
        if let Some(known) = self.evaluations.get(&key) {
            return Ok(known);
        }
        let evaluation = Arc::new(blocking(evaluate).await?);
        self.evaluations.put(key, evaluation.clone(), 1);
        Ok(evaluation)
    }

    pub fn overlap(&self, key: &Digest) -> Option<Arc<Overlap>> {
        self.overlaps.get(key)
    }

    pub fn put_overlap(&self, key: Digest, overlap: Arc<Overlap>) {
        self.overlaps.put(key, overlap, 1);
    }

    /// Returns compiled rules.
    ///
    /// # Errors
    /// All problems of the rules.
    pub fn programs(&self, rules: &[Rule]) -> CompiledRules {
        let texts: Vec<String> = rules.iter().map(|r| format!("{r:?}")).collect();
        let key = Digest::of_bytes(texts.join("\n").as_bytes());
        self.programs.get(&key).unwrap_or_else(|| {
            let compiled = compile_all(rules).map(Arc::new).map_err(Arc::new);
            self.programs.put(key, compiled.clone(), 1);
            compiled
        })
    }
}

/// Returns a parsed text, from the cache if it is there.
async fn parsed<T: Send + Sync + 'static>(
    cache: &WeightedLru<Arc<T>>,
    bytes: &[u8],
    parse: fn(&[u8]) -> T,
) -> Result<Arc<T>, Error> {
    let digest = Digest::of_bytes(bytes);
    if let Some(known) = cache.get(&digest) {
        return Ok(known);
    }
    let (copy, weight) = (bytes.to_vec(), bytes.len() + OVERHEAD);
    // Two reconciles may parse the same text at the same time: the results are equal, and neither waits for the other.
    let text = Arc::new(blocking(move || parse(&copy)).await?);
    cache.put(digest, text.clone(), weight);
    Ok(text)
}

/// Runs work that may take long on a thread where it delays no other reconcile.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Error::Blocking { source })
}
