//! What the server answers: of its fields those that are shown. `docs/reference/server.md` describes them.

use jiff::Timestamp;
use serde::Deserialize;

/// Some of a subject's revisions, newest first.
#[derive(Clone, Debug, Deserialize)]
pub struct Page {
    /// They.
    pub revisions: Vec<Revision>,
    /// Where the older ones begin, if there may be some.
    pub next: Option<i64>,
}

/// A revision.
#[derive(Clone, Debug, Deserialize)]
pub struct Revision {
    /// UID of the object.
    pub uid: String,
    /// Counts from 1 for each object.
    pub number: u32,
    /// Digest of the content.
    pub digest: String,
    /// The version that the document gives itself.
    pub version: Option<String>,
    /// Who made it.
    pub actor: String,
    /// Why it was made.
    pub reason: String,
    /// The Git commit that it was read from.
    pub commit: Option<String>,
    /// When it was recorded, in milliseconds since 1970.
    pub at: i64,
    /// What people decided on the content.
    #[serde(default)]
    pub approvals: Vec<Verdict>,
}

impl Revision {
    /// When it was recorded, as people read it.
    pub fn when(&self) -> String {
        Timestamp::from_millisecond(self.at).map_or_else(|_| "?".into(), |at| at.strftime("%Y-%m-%d %H:%M").to_string())
    }
}

/// A person's decision.
#[derive(Clone, Debug, Deserialize)]
pub struct Verdict {
    /// Who decided.
    pub actor: String,
    /// How.
    pub approved: bool,
}

/// What an analysis found.
#[derive(Clone, Debug, Deserialize)]
pub struct Findings {
    /// Name and version of the analysis.
    pub analyser: String,
    /// How many there are in all.
    pub total: u32,
    /// They, as far as they are kept.
    #[serde(rename = "findings")]
    pub kept: Vec<Finding>,
}

/// One thing that an analysis found.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// Stable id.
    pub id: String,
    /// How much it matters.
    pub severity: String,
    /// Line in the document, from 1.
    pub line: u32,
    /// What it is about.
    pub location: String,
    /// What is wrong.
    #[serde(alias = "summary")]
    pub message: String,
    /// What to do about it.
    #[serde(alias = "recommendation")]
    pub remedy: String,
}

/// A part of a document that fits what was searched for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hit {
    /// Kind of the object that it stands in.
    pub kind: String,
    /// The object's name.
    pub name: String,
    /// Its id, `FR-001`.
    pub item: String,
    /// What it is.
    pub item_kind: String,
    /// Its line in the document, from 1; 0 when it has none.
    pub line: u32,
    /// How it begins.
    pub text: String,
}

/// A document that is like another.
#[derive(Clone, Debug, Deserialize)]
pub struct Related {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How like, from 0 to 1.
    pub score: f64,
}
