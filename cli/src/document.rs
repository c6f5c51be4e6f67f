//! The document of a Constitution or Specification: as it is now, and how another takes its place.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, bail};
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

use crate::cluster::{Cluster, told};
use crate::record::Record;

/// A Constitution or Specification, as far as its document goes.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its kind and name.
    pub subject: Subject,
    /// Where the document comes from; none for a Specification that is drafted.
    source: Option<Source>,
    /// Answers that are written into it.
    clarifications: Vec<Clarification>,
    version: Option<String>,
    /// Digest of the document, if the operator has read the object as it is now.
    digest: Option<String>,
    /// Digest of the document that was approved last.
    pub approved: Option<String>,
    /// Digest of the file in Git, before answers were written into the document.
    in_git: Option<String>,
}

/// Where a document is kept.
pub enum Home<'a> {
    /// In the object itself.
    Object,
    /// In a ConfigMap.
    ConfigMap(&'a ConfigMapKey),
    /// In a Git repository, which only people change.
    Git(&'a GitSource),
}

/// What became of an attempt to put another text in a document's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It is there.
    Yes,
    /// Somebody changed the object meanwhile: look again.
    Overtaken,
}

/// A document's text, and the ConfigMap's version if it was read from one.
pub struct Text {
    /// The text.
    pub text: String,
    map_version: Option<String>,
}

impl Document {
    /// The document of a subject.
    ///
    /// # Errors
    /// When there is no such object, or it is a Plan, which is no document.
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
                    ..Self::new(subject, &metadata, spec.source, digest, in_git)
                })
            }
            SubjectKind::Plan => bail!("a Plan is no document: change it with kubectl"),
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
        Self { subject: subject.clone(), source, clarifications: Vec::new(), version, digest, approved: None, in_git }
    }

    /// How people call it.
    pub fn title(&self) -> String {
        format!("{:?} {}", self.subject.kind, self.subject.name)
    }

    /// Where it is kept.
    ///
    /// # Errors
    /// When it has no source: an agent drafts it.
    pub fn home(&self) -> Result<Home<'_>> {
        match &self.source {
            Some(Source { inline: Some(_), .. }) => Ok(Home::Object),
            Some(Source { config_map_key_ref: Some(key), .. }) => Ok(Home::ConfigMap(key)),
            Some(Source { git: Some(git), .. }) => Ok(Home::Git(git)),
            // What an agent drafted becomes the object's own when a person changes it.
            _ if self.digest.is_some() => Ok(Home::Object),
            _ => bail!("{} has no document yet", self.title()),
        }
    }

    /// The document as it is now, with the answers that are written into it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn present(&self, cluster: &Cluster) -> Result<Text> {
        let (kept, map_version) = self.kept(cluster).await?;
        let is_whole = |text: &String| self.clarifications.is_empty() || self.is_present(text);
        if let Some(text) = kept.filter(is_whole) {
            return Ok(Text { text, map_version });
        }
        let Some(digest) = &self.digest else {
            bail!("{} was changed and the operator has not read the change yet; try again in a moment", self.title());
        };
        let text = Record::open(cluster).await?.content(&self.subject, digest).await?;
        Ok(Text { text, map_version })
    }

    /// The file in Git, before answers were written into it.
    ///
    /// # Errors
    /// When the record does not hold it.
    pub async fn in_git(&self, cluster: &Cluster) -> Result<String> {
        let digest = self.in_git.as_ref().or(self.digest.as_ref());
        let digest =
            digest.with_context(|| format!("the operator has not read the document of {} yet", self.title()))?;
        let found = Record::open(cluster).await?.content(&self.subject, digest).await;
        found.context("the file as Git has it cannot be told: change it there")
    }

    /// Digest of the document as it is now, if the operator has read it.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    fn is_present(&self, text: &str) -> bool {
        self.digest.as_deref() == Some(Digest::of_bytes(text.as_bytes()).as_str())
    }

    /// What the cluster holds of the document, without answers.
    async fn kept(&self, cluster: &Cluster) -> Result<(Option<String>, Option<String>)> {
        match &self.source {
            Some(source) => kept(cluster, source).await,
            None => Ok((None, None)),
        }
    }

    /// Puts `text` in the place of what was read, unless somebody was faster, for a reason that the record keeps. Of the answers those stay
    /// that the text has: any other would be written into it.
    ///
    /// # Errors
    /// When the API server refuses, or the document is kept in Git.
    pub async fn save(&self, cluster: &Cluster, read: &Text, text: &str, reason: Option<&str>) -> Result<Saved> {
        let mut change = json!({});
        if let Some(words) = reason {
            let told = format_reason(&Digest::of_bytes(text.as_bytes()), words);
            change["metadata"]["annotations"] = json!({ ANNOTATION_REASON: told });
        }
        let kept = still_answered(&self.clarifications, text);
        let fewer = (kept.len() < self.clarifications.len()).then(|| json!({ "clarifications": kept }));
        match self.home()? {
            Home::Git(_) => bail!("{} is kept in Git, which only people change", self.title()),
            Home::Object => {
                change["spec"] = fewer.unwrap_or_else(|| json!({}));
                change["spec"]["source"] = json!({ "inline": text });
                change["metadata"]["resourceVersion"] = json!(self.version);
                self.patch(cluster, &change).await
            }
            Home::ConfigMap(key) => {
                // The reason is there when the operator sees the text, and is of no other text.
                if reason.is_some() {
                    self.patch(cluster, &change).await?;
                }
                let text = json!({
                    "metadata": { "resourceVersion": read.map_version }, "data": BTreeMap::from([(&key.key, text)]),
                });
                let maps = cluster.api::<ConfigMap>();
                let saved = taken(maps.patch(&key.name, &PatchParams::default(), &Patch::Merge(text)).await)?;
                match fewer {
                    Some(fewer) if saved == Saved::Yes => self.patch(cluster, &json!({ "spec": fewer })).await,
                    _ => Ok(saved),
                }
            }
        }
    }

    async fn patch(&self, cluster: &Cluster, change: &Value) -> Result<Saved> {
        let (name, params, patch) = (self.subject.name.as_str(), PatchParams::default(), Patch::Merge(change));
        match self.subject.kind {
            SubjectKind::Constitution => taken(cluster.api::<Constitution>().patch(name, &params, &patch).await),
            _ => taken(cluster.api::<Specification>().patch(name, &params, &patch).await),
        }
    }
}

/// The text that the cluster holds of a source, if it does, and the ConfigMap's version if it is one's.
///
/// # Errors
/// When there is no such ConfigMap, or no such text in it.
pub async fn kept(cluster: &Cluster, source: &Source) -> Result<(Option<String>, Option<String>)> {
    let Some(key) = &source.config_map_key_ref else { return Ok((source.inline.clone(), None)) };
    let map: ConfigMap = cluster.get(&key.name).await?;
    let version = map.resource_version();
    let text = map.data.and_then(|mut data| data.remove(&key.key));
    let text = text.ok_or_else(|| anyhow!("ConfigMap {} has no key {} that is a text", key.name, key.key))?;
    Ok((Some(text), version))
}

/// Whether a patch was taken.
fn taken<T>(answer: kube::Result<T>) -> Result<Saved> {
    match answer {
        Ok(_) => Ok(Saved::Yes),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Saved::Overtaken),
        Err(error) => Err(told(error)),
    }
}

/// The digest of a status, if it is about the object as it is now.
fn observed(metadata: &ObjectMeta, generation: Option<i64>, digest: Option<String>) -> Option<String> {
    digest.filter(|_| generation.is_some() && generation == metadata.generation)
}

/// The answers that a text has in its Clarifications, so that writing them into it changes nothing.
fn still_answered(clarifications: &[Clarification], text: &str) -> Vec<Clarification> {
    if clarifications.is_empty() {
        return Vec::new();
    }
    let parsed = spec::parse(text.as_bytes());
    let open = analysis::questions(&parsed, &analysis::specification(&parsed));
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let has = |given: &&Clarification| {
        // An id says nothing of the question's words, which are gone from where they stood unless the question is open.
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
    fn answers_stay_where_the_text_has_them() {
        let given = |question: &str, answer: &str| Clarification {
            question: question.into(),
            answer: answer.into(),
            ..Clarification::default()
        };
        let all = [given("Q-1f3a9c2e", "By e-mail"), given("How long?", "30 days"), given("Who pays?", "30 days")];
        let text = "# Feature Specification: Shop\n\n## Clarifications\n\n### Session 2026-01-01\n\n\
                    - Q: how long? → A: 30 days\n- Q: How are they told? → A: by e-mail\n";
        assert_eq!(still_answered(&all, text), all[..2]);
        assert_eq!(still_answered(&all, "# Feature Specification: Shop\n"), []);
        let open = format!("{text}\n## Requirements\n\n- **FR-001**: It MUST [NEEDS CLARIFICATION: tell them how?].\n");
        let parsed = spec::parse(open.as_bytes());
        let asked = analysis::questions(&parsed, &analysis::specification(&parsed)).remove(0);
        let said = [given(&asked.id, "By e-mail")];
        assert_eq!(still_answered(&said, &open), [], "it would be written where the question stands");
    }
}
