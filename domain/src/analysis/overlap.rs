//! Overlap between two specifications in progress.
//!
//! A sketch is small and is compared without its document: names of entities, paths, and of each requirement the smallest hashes of its
//! terms (a bottom-k sketch: Broder, "On the resemblance and containment of documents", 1997).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::duplication::spelling;
use super::finding::{Finding, Position, shortened};
use super::findings::Findings;
use super::kinds::{SHARED_ENTITY, SHARED_PATH, SIMILAR_REQUIREMENT};
use super::statements::{entity_name, is_entity};
use super::text::{Word, is_one_of, shared, terms, words};
use crate::speckit::markdown;
use crate::speckit::spec::{Entity, Spec};

/// Maximum number each of entities, paths and requirements of a sketch.
const MAX_ITEMS: usize = 1_000;

/// Maximum number of hashes of a requirement. Nearly all requirements have fewer terms, so that their similarity is exact.
const MAX_HASHES: usize = 32;

/// Minimum similarity of two requirements that are shared, in percent. With another term, a requirement is about another case.
const SIMILAR_PERCENT: usize = 100;

/// Minimum similarity of the descriptions of an entity that is shared, in percent.
const SAME_ENTITY_PERCENT: usize = 50;

/// Minimum number of terms of a requirement that is compared; fewer terms are not significant.
const LEAST_TERMS: usize = 4;

/// Maximum number of requirements of the other sketch that are compared for each hash.
const MAX_POSTINGS: usize = 32;

/// Summary of a specification for comparisons with others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sketch {
    entities: Vec<Name>,
    paths: Vec<Name>,
    requirements: Vec<Terms>,
}

/// A name with its normalised form for comparisons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Name {
    text: String,
    key: String,
    line: u32,
    /// The description of an entity as hashes of its terms, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    description: Vec<u32>,
}

impl Name {
    fn of_path(path: &str, line: u32) -> Self {
        let key = path.trim_end_matches('/').to_owned();
        Self { text: shortened(path), key, line, description: Vec::new() }
    }

    /// Returns the same path below a folder, unless it names the folder itself.
    fn below(mut self, folder: Option<&str>) -> Self {
        if let Some(folder) = folder.filter(|folder| !self.key.starts_with(*folder)) {
            self.key = format!("{}/{}", folder.trim_end_matches('/'), self.key);
        }
        self
    }
}

/// A requirement as hashes of its terms, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Terms {
    id: String,
    line: u32,
    hashes: Vec<u32>,
}

/// Kind of a shared item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SharedItemKind {
    /// A key entity with the same name and a similar description.
    Entity,
    /// The same file.
    Path,
    /// A requirement with a similar text.
    Requirement,
}

/// An item that occurs in two specifications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedItem {
    pub kind: SharedItemKind,
    /// Our item: the entity's name, the path, or the requirement's identifier.
    pub ours: String,
    /// The corresponding item of the other specification.
    pub theirs: String,
    /// Line in our document, counted from 1; 0 for a path that is not in it.
    pub line: u32,
    /// Similarity in percent.
    pub similarity: u8,
}

impl Sketch {
    /// Returns the sketch of a specification: usually a few KB, at most about 200 KB.
    pub fn new(spec: &Spec) -> Self {
        let entities = spec.entities.iter().filter(|e| is_entity(&e.name) && !is_existing(e)).map(|e| {
            let text = shortened(entity_name(&e.name));
            Name { text, key: spelling(&e.name), line: e.line, description: hashes(&e.text) }
        });
        // All features of a product have the same constraints and quality requirements.
        let own = spec.requirements.iter().filter(|r| is_functional(&r.id));
        let folder = target(&spec.source);
        let requirements = own.map(|r| Terms { id: r.id.clone(), line: r.line, hashes: hashes(&r.text) });
        Self {
            entities: unique(entities.filter(|e| !is_common(&e.key))),
            paths: unique(changed(&spec.source).map(|(path, line)| Name::of_path(path, line).below(folder))),
            requirements: requirements.filter(|r| r.hashes.len() >= LEAST_TERMS).take(MAX_ITEMS).collect(),
        }
    }

    /// Returns the same sketch with further paths, such as those of the specification's tasks. They have no line: 0.
    #[must_use]
    pub fn with_paths<'p>(mut self, paths: impl IntoIterator<Item = &'p str>) -> Self {
        let further = paths.into_iter().map(|path| Name::of_path(path, 0));
        self.paths = unique(self.paths.into_iter().chain(further));
        self
    }
}

/// Returns whether nearly every product has this entity, so that a shared one is not significant.
fn is_common(key: &str) -> bool {
    key.is_empty()
        || is_one_of("user admin administrator system app application config configuration setting error log file", key)
}

/// Returns whether an identifier is one of a functional requirement, such as `FR-001`, `REQ-1` or one without a number.
fn is_functional(id: &str) -> bool {
    let prefix = id.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    is_one_of("fr req r f requirement", &prefix.to_lowercase())
}

/// Returns whether an entity is only referred to: another specification has described it, or it exists already.
fn is_existing(entity: &Entity) -> bool {
    const EXISTING: &str = "existing already unchanged reuse reused reuses spec specs specification";
    let names = |w: &Word<'_>| is_one_of(EXISTING, &w.lower);
    words(&entity.name).iter().any(names) || words(&entity.text).iter().any(names)
}

/// Returns the first name of each key.
fn unique(names: impl Iterator<Item = Name>) -> Vec<Name> {
    let mut seen = HashSet::new();
    names.filter(|n| seen.insert(n.key.clone())).take(MAX_ITEMS).collect()
}

/// Returns the smallest hashes of the terms of a text, sorted.
fn hashes(text: &str) -> Vec<u32> {
    let mut found: Vec<u32> = terms(&words(text))
        .iter()
        .map(|term| {
            let digest = Sha256::digest(term.as_bytes());
            u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found.truncate(MAX_HASHES);
    found
}

/// Returns the files that a specification can be about. It refers to documents only to be read.
fn changed(source: &str) -> impl Iterator<Item = (&str, u32)> {
    let is_document = |path: &str| Path::new(path).extension().is_some_and(|end| end.eq_ignore_ascii_case("md"));
    paths(source).into_iter().filter(move |(path, _)| !is_document(path))
}

/// Returns the folder, package or repository that a line such as `**Target**: `apps/web`` names: the paths of the document are relative to
/// it.
fn target(source: &str) -> Option<&str> {
    const LABELS: [&str; 8] = [
        "target",
        "target folder",
        "target directory",
        "target package",
        "target path",
        "target repository",
        "root",
        "working directory",
    ];
    source.lines().take_while(|line| !line.starts_with("## ")).find_map(|line| {
        let (label, value) = markdown::label(line.trim_start_matches(['-', '*', '>', ' ']).trim_start())
            .or_else(|| markdown::label(line))?;
        let value = value.split('`').nth(1).unwrap_or(value).trim();
        let path = !value.is_empty() && value.len() <= 256 && !value.contains(char::is_whitespace);
        (path && LABELS.contains(&label.to_lowercase().as_str())).then_some(value)
    })
}

/// Returns the files in inline code, with their lines. Code blocks are skipped, since they show trees and commands.
fn paths(source: &str) -> Vec<(&str, u32)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(source.lines()) {
        fenced ^= line.trim_start().starts_with("```");
        // The input of a specification names what its author has read.
        // What exists already is used, not changed.
        let used = ["existing ", "already ", "unchanged"].iter().any(|word| line.contains(word));
        if !fenced && !used && !line.starts_with("**Input**") {
            found.extend(line.split('`').skip(1).step_by(2).filter(|code| is_path(code)).map(|code| (code, number)));
        }
    }
    found
}

/// Returns whether inline code is the path of a file such as `src/door/mod.rs`: it has an inner slash and an extension. Routes, URLs and
/// patterns are not paths, and many features add files to one folder.
fn is_path(code: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '@' | '[' | ']');
    let name = code.rsplit('/').next().unwrap_or_default();
    let file = name.rsplit_once('.').is_some_and(|(stem, ending)| !stem.is_empty() && (1..=6).contains(&ending.len()));
    code.len() <= 256
        && code.contains('/')
        && !code.starts_with(['/', '.', '@'])
        && !code.contains("//")
        && !(code.starts_with("specs/") || code.starts_with(".specify/"))
        && code.chars().all(allowed)
        && code.contains(char::is_alphabetic)
        && file
}

/// Returns what two specifications have in common: entities, paths, then requirements, each in the order of our document. Entities and
/// requirements count only if the specifications are about the same work.
pub fn overlap(ours: &Sketch, theirs: &Sketch) -> Vec<SharedItem> {
    let mut found = Vec::new();
    let same_work = is_same_work(&ours.requirements, &theirs.requirements);
    for (kind, ours, theirs) in
        [(SharedItemKind::Entity, &ours.entities, &theirs.entities), (SharedItemKind::Path, &ours.paths, &theirs.paths)]
    {
        let others: HashMap<&str, &Name> = theirs.iter().map(|n| (n.key.as_str(), n)).collect();
        let compared = same_work || kind == SharedItemKind::Path;
        for name in ours.iter().filter(|_| compared) {
            let Some(other) = others.get(name.key.as_str()) else { continue };
            let similarity = match kind {
                SharedItemKind::Entity => similarity(&name.description, &other.description),
                _ => 100,
            };
            // Many features use an entity; two that describe it in the same way both add it.
            if similarity >= SAME_ENTITY_PERCENT {
                let (ours, theirs) = (name.text.clone(), other.text.clone());
                let similarity = u8::try_from(similarity).unwrap_or(100);
                found.push(SharedItem { kind, ours, theirs, line: name.line, similarity });
            }
        }
    }
    if same_work {
        found.extend(requirements(&ours.requirements, &theirs.requirements));
    }
    found
}

/// Returns whether half of the requirements of one of two specifications are in both. All features of a product have some requirements
/// and entities in common.
fn is_same_work(ours: &[Terms], theirs: &[Terms]) -> bool {
    let distinct = |all: &'_ [Terms]| all.iter().map(|r| r.hashes.clone()).collect::<HashSet<Vec<u32>>>();
    let (ours, theirs) = (distinct(ours), distinct(theirs));
    let both = ours.intersection(&theirs).count();
    both > 0 && both * 2 >= ours.len().min(theirs.len())
}

/// Finds the most similar requirement of theirs for each of ours.
fn requirements(ours: &[Terms], theirs: &[Terms]) -> Vec<SharedItem> {
    let mut index: HashMap<u32, Vec<usize>> = HashMap::new();
    // The hashes of their requirements, so that ours are compared only with requirements that share some.
    for (at, requirement) in theirs.iter().enumerate() {
        for hash in &requirement.hashes {
            let postings = index.entry(*hash).or_default();
            if postings.len() < MAX_POSTINGS {
                postings.push(at);
            }
        }
    }
    let mut found = Vec::new();
    for requirement in ours {
        let mut candidates: BTreeMap<usize, usize> = BTreeMap::new();
        for at in requirement.hashes.iter().filter_map(|hash| index.get(hash)).flatten() {
            *candidates.entry(*at).or_default() += 1;
        }
        let half = requirement.hashes.len() / 2;
        let near = candidates.into_iter().filter(|(_, count)| *count >= half);
        let best = near
            .map(|(at, _)| (similarity(&requirement.hashes, &theirs[at].hashes), at))
            .max_by_key(|(s, at)| (*s, std::cmp::Reverse(*at)));
        if let Some((similarity, at)) = best.filter(|(s, _)| *s >= SIMILAR_PERCENT) {
            found.push(SharedItem {
                kind: SharedItemKind::Requirement,
                ours: requirement.id.clone(),
                theirs: theirs[at].id.clone(),
                line: requirement.line,
                similarity: u8::try_from(similarity).unwrap_or(100),
            });
        }
    }
    found
}

/// Returns the Jaccard index of the terms of two requirements in percent; for long requirements, an estimate from their smallest hashes.
fn similarity(a: &[u32], b: &[u32]) -> usize {
    let both = shared(a, b);
    let union = a.len() + b.len() - both;
    if a.len() < MAX_HASHES && b.len() < MAX_HASHES {
        return both * 100 / union.max(1);
    }
    // The estimate is the share of common hashes among the smallest hashes of the union.
    let mut smallest: Vec<u32> = a.iter().chain(b).copied().collect();
    smallest.sort_unstable();
    smallest.dedup();
    smallest.truncate(MAX_HASHES);
    let common = smallest.iter().filter(|h| a.binary_search(h).is_ok() && b.binary_search(h).is_ok()).count();
    common * 100 / smallest.len().max(1)
}

/// Returns the findings about the items that our specification shares with the specification called `name`.
pub fn overlap_findings(name: &str, shared: &[SharedItem]) -> Vec<Finding> {
    /// Number of similar requirements up to which each is a finding of its own. More are one: the specification is a copy.
    const MANY: usize = 5;
    let mut findings = Findings::default();
    let similar = || shared.iter().filter(|item| item.kind == SharedItemKind::Requirement);
    let copied = Some(similar().count()).filter(|count| *count > MANY);
    if let (Some(count), Some(first)) = (copied, similar().next()) {
        let place = Position { line: first.line, location: &first.ours, excerpt: name };
        let summary = format!("specification {name} has {count} similar requirements; the first is {}", first.theirs);
        findings.push(
            &SIMILAR_REQUIREMENT,
            place,
            summary,
            format!("agree with {name} which of the two does the work, or remove one"),
        );
    }
    for item in shared.iter().filter(|item| copied.is_none() || item.kind != SharedItemKind::Requirement) {
        let (rule, location, summary) = match item.kind {
            SharedItemKind::Entity => {
                let summary = format!("specification {name} also describes the entity \"{}\"", item.theirs);
                (&SHARED_ENTITY, format!("Key Entities: {}", item.ours), summary)
            }
            SharedItemKind::Path => {
                (&SHARED_PATH, item.ours.clone(), format!("specification {name} also names the path {}", item.theirs))
            }
            SharedItemKind::Requirement => {
                let summary = format!(
                    "specification {name} has a similar requirement, {} ({} % similar)",
                    item.theirs, item.similarity
                );
                (&SIMILAR_REQUIREMENT, item.ours.clone(), summary)
            }
        };
        let excerpt = format!("{name} {}", item.theirs);
        let place = Position { line: item.line, location: &location, excerpt: &excerpt };
        findings.push(
            rule,
            place,
            summary,
            format!("agree with {name} which of the two does the work, or in which order"),
        );
    }
    findings.finish()
}
