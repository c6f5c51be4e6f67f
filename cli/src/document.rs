//! The document of a Constitution or Specification: reads it and replaces it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use enact_crds::approval::{Subject, SubjectKind};
use enact_crds::common::ConfigMapKey;
use enact_crds::document::{Clarification, GitSource, Source};
use enact_crds::{Constitution, Specification};
use enact_domain::analysis;
use enact_domain::digest::Digest;
use enact_domain::names::ANNOTATION_REASON;
use enact_domain::record::format_reason;
use enact_domain::speckit::spec;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{ObjectMeta, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, api_error};
use crate::record::Record;
use crate::subject;

/// Most attempts to remove answers while others change the object.
const TRIES: u32 = 8;

/// The document of a Constitution or Specification, and its status.
#[derive(Clone, Debug)]
pub struct Document {
    pub subject: Subject,
    /// None for a Specification that an agent drafts.
    source: Option<Source>,
    /// Answers in `spec.clarifications`, which the operator adds to the source.
    clarifications: Vec<Clarification>,
    /// Whether the object accepts findings, which the operator appends to the source.
    accepts: bool,
    version: Option<String>,
    /// Digest of the document; none if the operator has not read the latest change of the object.
    digest: Option<String>,
    /// Digest of the content that was approved last.
    pub approved: Option<String>,
    /// Digest of the file in Git, without the answers.
    in_git: Option<String>,
}

/// The place where a document is stored.
pub enum Storage<'a> {
    Object,
    ConfigMap(&'a ConfigMapKey),
    /// A Git repository. Enact never writes to it.
    Git(&'a GitSource),
}

/// The outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    Yes,
    /// The object has changed since it was read: read it again.
    Conflict,
}

/// The text of a document, and the resourceVersion of the ConfigMap that contains it.
pub struct Text {
    pub text: String,
    map_version: Option<String>,
}

impl Document {
    /// Reads the object of a document.
    pub async fn load(cluster: &Cluster, subject: &Subject) -> Result<Self> {
        let name = subject.name.as_str();
        match subject.kind {
            SubjectKind::Constitution => {
                let Constitution { metadata, spec, status } = cluster.get(name).await?;
                let status = status.unwrap_or_default();
                let digest = observed(&metadata, status.observed_generation, status.digest);
                let in_git = status.source.and_then(|source| source.digest);
                Ok(Self {
                    approved: status.approved_digest,
                    accepts: !spec.accepted.is_empty(),
                    ..Self::new(subject, &metadata, Some(spec.source), digest, in_git)
                })
            }
            SubjectKind::Specification => {
                let Specification { metadata, spec, status } = cluster.get(name).await?;
                let status = status.unwrap_or_default();
                let digest = observed(&metadata, status.observed_generation, status.digest);
                let in_git = status.source.and_then(|source| source.digest);
                Ok(Self {
                    approved: status.approved_digest,
                    clarifications: spec.clarifications,
                    accepts: !spec.accepted.is_empty(),
                    ..Self::new(subject, &metadata, spec.source, digest, in_git)
                })
            }
            SubjectKind::Plan => bail!("a Plan is not a document; change it with kubectl"),
        }
    }

    fn new(
        subject: &Subject,
        metadata: &ObjectMeta,
        source: Option<Source>,
        digest: Option<String>,
        in_git: Option<String>,
    ) -> Self {
        let version = metadata.resource_version.clone();
        let clarifications = Vec::new();
        let subject = subject.clone();
        Self { subject, source, clarifications, accepts: false, version, digest, approved: None, in_git }
    }

    pub fn title(&self) -> String {
        subject::title(&self.subject)
    }

    /// Returns the storage of the document.
    ///
    /// # Errors
    /// When there is no document, because an agent has not drafted it yet.
    pub fn storage(&self) -> Result<Storage<'_>> {
        match &self.source {
            Some(Source { inline: Some(_), .. }) => Ok(Storage::Object),
            Some(Source { config_map_key_ref: Some(key), .. }) => Ok(Storage::ConfigMap(key)),
            Some(Source { git: Some(git), .. }) => Ok(Storage::Git(git)),
            // When a person changes a draft, the new text becomes the inline source of the object.
            _ if self.digest.is_some() => Ok(Storage::Object),
            _ => bail!("{} has no document yet: wait until the agent has drafted it", self.title()),
        }
    }

    /// Returns the current document, including the answers and what the object accepts.
    pub async fn current(&self, cluster: &Cluster) -> Result<Text> {
        let (stored, map_version) = match &self.source {
            Some(source) => read(cluster, source).await?,
            None => (None, None),
        };
        // The source lacks what the operator adds. If it adds something, the source only counts if its digest is the one in the status.
        let is_complete = |text: &String| {
            let digest = Digest::of_bytes(text.as_bytes());
            (self.clarifications.is_empty() && !self.accepts) || self.digest.as_deref() == Some(digest.as_str())
        };
        if let Some(text) = stored.filter(is_complete) {
            return Ok(Text { text, map_version });
        }
        let Some(digest) = &self.digest else {
            bail!(
                "{} was changed, and the operator has not read the change yet; try again in a few seconds",
                self.title()
            );
        };
        let text = Record::open(cluster).await?.content(&self.subject, digest).await?;
        Ok(Text { text, map_version })
    }

    /// Returns the file in Git, without the answers.
    pub async fn in_git(&self, cluster: &Cluster) -> Result<String> {
        let digest = self.in_git.as_ref().or(self.digest.as_ref());
        let digest = digest.with_context(|| {
            format!("the operator has not read the document of {} yet; try again later", self.title())
        })?;
        let found = Record::open(cluster).await?.content(&self.subject, digest).await;
        found.context("the file in Git cannot be read from the record; change it in its repository")
    }

    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Replaces the document that was `read` by `text`, with a reason for the history. It removes the answers that `text` does not contain,
    /// because the operator would add them again.
    pub async fn save(&self, cluster: &Cluster, read: &Text, text: &str, reason: Option<&str>) -> Result<Saved> {
        let mut change = json!({});
        if let Some(words) = reason {
            let reason = format_reason(&Digest::of_bytes(text.as_bytes()), words);
            change["metadata"]["annotations"] = json!({ ANNOTATION_REASON: reason });
        }
        let kept = answers_in(text, &self.clarifications);
        let fewer = (kept.len() < self.clarifications.len()).then(|| json!({ "clarifications": &kept }));
        match self.storage()? {
            Storage::Git(_) => bail!("{} is stored in Git; change it in its repository", self.title()),
            Storage::Object => {
                change["spec"] = fewer.unwrap_or_else(|| json!({}));
                // One patch changes document and answers, so the operator never reads one without the other. The resourceVersion detects
                // other writers.
                change["spec"]["source"] = json!({ "inline": text });
                change["metadata"]["resourceVersion"] = json!(self.version);
                self.patch(cluster, &change).await
            }
            Storage::ConfigMap(key) => {
                // The reason must be on the object before the operator reads the new text. It contains the digest of the text, so the
                // operator does not use it for another one.
                if reason.is_some() {
                    change["metadata"]["resourceVersion"] = json!(self.version);
                    if self.patch(cluster, &change).await? == Saved::Conflict {
                        return Ok(Saved::Conflict);
                    }
                }
                let text = json!({
                    "metadata": { "resourceVersion": read.map_version }, "data": BTreeMap::from([(&key.key, text)]),
                });
                let maps = cluster.api::<ConfigMap>();
                let saved = outcome(maps.patch(&key.name, &PatchParams::default(), &Patch::Merge(text)).await)?;
                if saved == Saved::Yes && fewer.is_some() {
                    self.remove_answers(cluster, &kept).await?;
                }
                Ok(saved)
            }
        }
    }

    /// Removes the answers that are not in `kept`. The object was changed since it was read, so answers that others gave meanwhile stay.
    async fn remove_answers(&self, cluster: &Cluster, kept: &[Clarification]) -> Result<()> {
        let is_removed = |given: &Clarification| self.clarifications.contains(given) && !kept.contains(given);
        for _ in 0..TRIES {
            let Self { version, clarifications, .. } = Box::pin(Self::load(cluster, &self.subject)).await?;
            let left: Vec<Clarification> = clarifications.into_iter().filter(|given| !is_removed(given)).collect();
            let change = json!({ "metadata": { "resourceVersion": version }, "spec": { "clarifications": left } });
            if self.patch(cluster, &change).await? == Saved::Yes {
                return Ok(());
            }
        }
        bail!(
            "the text of {} is saved, but the object was changed {TRIES} times in the meantime: remove the answers that the text lacks from \
             spec.clarifications, or the operator adds them again",
            self.title()
        )
    }

    async fn patch(&self, cluster: &Cluster, change: &Value) -> Result<Saved> {
        let (name, params, patch) = (self.subject.name.as_str(), PatchParams::default(), Patch::Merge(change));
        match self.subject.kind {
            SubjectKind::Constitution => outcome(cluster.api::<Constitution>().patch(name, &params, &patch).await),
            _ => outcome(cluster.api::<Specification>().patch(name, &params, &patch).await),
        }
    }
}

/// Reads the text of a source from the object or its ConfigMap, with the resourceVersion of the ConfigMap. The text is none for a source in
/// Git.
pub async fn read(cluster: &Cluster, source: &Source) -> Result<(Option<String>, Option<String>)> {
    let Some(key) = &source.config_map_key_ref else { return Ok((source.inline.clone(), None)) };
    let map: ConfigMap = cluster.get(&key.name).await?;
    let version = map.resource_version();
    let text = map.data.and_then(|mut data| data.remove(&key.key));
    let text = text.with_context(|| format!("ConfigMap {} has no key {} in `data`", key.name, key.key))?;
    Ok((Some(text), version))
}

fn outcome<T>(answer: kube::Result<T>) -> Result<Saved> {
    match answer {
        Ok(_) => Ok(Saved::Yes),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Saved::Conflict),
        Err(error) => Err(api_error(error)),
    }
}

/// Returns the digest of a status if the operator has observed the current generation.
fn observed(metadata: &ObjectMeta, generation: Option<i64>, digest: Option<String>) -> Option<String> {
    digest.filter(|_| generation.is_some() && generation == metadata.generation)
}

/// Returns the answers that the section Clarifications of `text` already contains.
fn answers_in(text: &str, clarifications: &[Clarification]) -> Vec<Clarification> {
    if clarifications.is_empty() {
        return Vec::new();
    }
    let parsed = spec::parse(text.as_bytes());
    let open = analysis::questions(&parsed, &analysis::specification(&parsed));
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let has = |given: &&Clarification| {
        // A question is given by its ID or its text. The text of an ID is only known while the question is open. After that, only the
        // answers can be compared.
        let is_id = given.question.starts_with("Q-") && open.iter().all(|question| question.id != given.question);
        let same = |question: &str| is_id || words(question) == words(&given.question);
        parsed.model.clarifications.iter().any(|a| same(&a.question) && words(&a.answer) == words(&given.answer))
    };
    clarifications.iter().filter(has).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_answers_that_the_text_contains() {
        let given = |question: &str, answer: &str| Clarification { question: question.into(), answer: answer.into() };
        let all = [given("Q-1f3a9c2e", "By e-mail"), given("How long?", "30 days"), given("Who pays?", "30 days")];
        let text = "# Feature Specification: Shop\n\n## Clarifications\n\n### Session 2026-01-01\n\n\
                    - Q: how long? → A: 30 days\n- Q: How are they told? → A: by e-mail\n";
        assert_eq!(answers_in(text, &all), all[..2]);
        assert_eq!(answers_in("# Feature Specification: Shop\n", &all), []);
        let open = format!("{text}\n## Requirements\n\n- **FR-001**: It MUST [NEEDS CLARIFICATION: tell them how?].\n");
        let parsed = spec::parse(open.as_bytes());
        let asked = analysis::questions(&parsed, &analysis::specification(&parsed)).remove(0);
        let said = [given(&asked.id, "By e-mail")];
        assert_eq!(answers_in(&open, &said), [], "the operator would still add it at the question");
    }
}
