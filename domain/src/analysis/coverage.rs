//! Coverage of requirements, stories and criteria by tasks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use aho_corasick::{AhoCorasick, MatchKind};
use serde::Serialize;

use super::acceptance::{Acceptance, AcceptedFinding, separate};
use super::directives;
use super::finding::{Finding, Position};
use super::findings::Findings;
use super::identifiers::{family, identifiers};
use super::kinds::{REQUIREMENT_WITHOUT_TASK, UNKNOWN_ID_IN_TASK};
use super::references::{Defined, own_number, unknown};
use super::structure::{comments, outside};
use super::text::{Word, is_struck, terms, words};
use crate::speckit::StoryKey;
use crate::speckit::spec::Spec;

/// Maximum number of tasks that are named for one requirement, story or criterion.
const MAX_LINKS: usize = 64;

/// Maximum number of stories that are related to one requirement by their terms.
const MAX_STORIES: usize = 8;

/// Maximum number of identifiers that tasks name and the specification does not define, up to which they are errors.
const MAX_UNKNOWN: usize = 5;

/// Number of common terms that is sufficient for a requirement of any length.
const MANY_TERMS: usize = 5;

/// Maximum number of tasks that contain a rare term.
const RARE: usize = 4;

/// Maximum number of identifiers in a range such as `C001–C003`; only the ends of a longer one are read.
const MAX_RANGE: usize = 128;

/// Maximum number of texts in the index for each term.
const MAX_POSTINGS: usize = 32;

/// A task, reduced to the data that coverage needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskText<'a> {
    /// Identifier that findings use.
    pub id: &'a str,
    pub title: &'a str,
    /// All other text of the task.
    pub text: &'a str,
    /// The story that it is tagged with, such as `US1`; several are separated by spaces.
    pub story: Option<&'a str>,
}

/// The evidence that a task covers an item, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Evidence {
    /// The task names the identifier.
    Id,
    /// The task is tagged with the story, or with a story that the requirement or criterion names or shares terms with.
    Story,
    /// The task shares terms with the item.
    Terms,
}

/// A task that covers an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskLink {
    pub task: String,
    pub by: Evidence,
}

/// A requirement, story or criterion, and the tasks that cover it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoveredItem {
    pub id: String,
    /// Line in the specification, from 1.
    pub line: u32,
    /// The tasks, sorted by evidence and order; at most 64.
    pub tasks: Vec<TaskLink>,
}

/// Coverage of a specification by tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Coverage {
    /// Requirements, in the order of the document.
    pub requirements: Vec<CoveredItem>,
    /// Stories, in the order of the document.
    pub stories: Vec<CoveredItem>,
    /// Success criteria, in the order of the document.
    pub criteria: Vec<CoveredItem>,
    /// Tasks that cover none of these items, such as tasks for setup and polish.
    pub unassigned: Vec<String>,
    /// Findings: uncovered items and unknown identifiers.
    pub findings: Vec<Finding>,
    /// Findings that a comment of the specification or of a task accepts.
    pub accepted: Vec<AcceptedFinding>,
}

impl Coverage {
    /// Returns the findings about identifiers that tasks name and the specification does not define.
    pub fn unknown_items(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.code == UNKNOWN_ID_IN_TASK.code)
    }
}

/// Finds the tasks that cover each requirement, story and criterion: by identifier, by story, and otherwise by shared terms.
pub fn coverage(spec: &Spec, tasks: &[TaskText<'_>]) -> Coverage {
    let own = own_number(spec);
    let index = Index::new(tasks, own, &OwnIds::new(spec));
    let stories = Terms::new(spec.stories.iter().map(|s| s.span.text(&spec.source)));
    let mut coverage = Coverage::default();
    let mut serving: HashSet<usize> = HashSet::new();
    let mut cover = |id: &str, line: u32, text: &str, stories: &[String]| {
        let links = index.links(id, text, stories);
        // Also the tasks beyond `MAX_LINKS`, which are only omitted from the list.
        serving.extend(links.iter().map(|(task, _)| *task));
        let link = |(task, by): &(usize, Evidence)| TaskLink { task: tasks[*task].id.to_owned(), by: *by };
        CoveredItem { id: id.to_owned(), line, tasks: links.iter().take(MAX_LINKS).map(link).collect() }
    };
    for (items, covered) in
        [(&spec.requirements, &mut coverage.requirements), (&spec.success_criteria, &mut coverage.criteria)]
    {
        for item in items {
            let words = words(&item.text);
            let mut keys = stories_in(&item.text);
            // A requirement that names no story is related to the stories that share its terms.
            if keys.is_empty() {
                keys = stories
                    .alike(&words, 50, 0)
                    .iter()
                    .take(MAX_STORIES)
                    .map(|at| spec.stories[*at].key.as_str().to_owned())
                    .collect();
            }
            covered.push(cover(&item.id, item.line, &item.text, &keys));
        }
    }
    for story in &spec.stories {
        let key = story.key.as_str();
        coverage.stories.push(cover(key, story.line, &story.title, &[key.to_owned()]));
    }
    let unassigned = tasks
        .iter()
        .enumerate()
        .filter(|(at, task)| !serving.contains(at) && named(task, own).is_empty() && tagged(task).is_empty());
    coverage.unassigned = unassigned.map(|(_, task)| task.id.to_owned()).collect();
    let separated = separate(findings(spec, tasks, &coverage), &accepted_by_comments(spec, tasks));
    (coverage.findings, coverage.accepted) = (separated.open, separated.accepted);
    coverage
}

/// Returns what comments of the specification and of the tasks accept. A comment in the text of a task is about this task.
fn accepted_by_comments(spec: &Spec, tasks: &[TaskText<'_>]) -> Vec<Acceptance> {
    let mut found = directives::acceptances(&spec.source);
    for task in tasks {
        let of_task = |a: Acceptance| Acceptance::named(&a.code, task.id, &a.reason, None);
        found.extend(directives::acceptances(task.text).into_iter().map(of_task));
    }
    found
}

/// Returns the stories that a text names.
fn stories_in(text: &str) -> Vec<String> {
    identifiers(text, None).into_iter().map(|i| i.id).filter(|id| id.starts_with("US")).collect()
}

fn findings(spec: &Spec, tasks: &[TaskText<'_>], coverage: &Coverage) -> Vec<Finding> {
    let mut findings = Findings::default();
    requirements_without_task(spec, coverage, &mut findings);
    let (defined, own) = (Defined::new(spec), own_number(spec));
    let mut missing: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for task in tasks {
        let text = format!("{}\n{}", task.title, task.text);
        let text = outside(&text, comments(&text)).join(" ");
        let tags = tagged(task).into_iter().filter(|id| defined.lacks(id));
        for id in unknown(&text, &words(&text), &defined, own).into_iter().chain(tags) {
            let tasks = missing.entry(id).or_default();
            if tasks.last() != Some(&task.id) {
                tasks.push(task.id);
            }
        }
    }
    // Tasks that name many of them are about another specification.
    for (id, tasks) in missing.iter().filter(|_| missing.len() <= MAX_UNKNOWN) {
        let place = Position { line: 0, location: tasks[0], excerpt: id };
        let summary = format!("{} is named by {} and not defined in the specification", id, some_of(tasks));
        findings.push(&UNKNOWN_ID_IN_TASK, place, summary, format!("define {id}, or correct the identifier"));
    }
    findings.finish()
}

/// Returns whether a requirement says that it is not part of this work: `Deferred (no export in the first version)`.
fn is_postponed(text: &str) -> bool {
    const LATER: [&str; 6] = ["deferred", "postponed", "out of scope", "not in scope", "future work", "optional"];
    let lower = text.to_lowercase();
    // A title can stand before the words: `Export cleaning**: Deferred`.
    let parts = lower.split(": ").take(2).map(|part| part.trim_start_matches(|c: char| !c.is_alphanumeric()));
    parts.into_iter().any(|part| LATER.iter().any(|word| part.starts_with(word)))
}

/// Adds findings for requirements without a task. Only if the tasks name nearly all requirements, a missing identifier has a meaning.
fn requirements_without_task(spec: &Spec, coverage: &Coverage, findings: &mut Findings) {
    /// Minimum share of requirements that the tasks name, in percent.
    const TRACED_PERCENT: usize = 75;
    /// Maximum share of the others, in percent, and at least one.
    const UNTRACED_PERCENT: usize = 10;
    let by = |covered: &CoveredItem, evidence| covered.tasks.iter().any(|link| link.by == evidence);
    let items = || {
        let all = spec.requirements.iter().zip(&coverage.requirements);
        // No task can name an identifier that the document does not have.
        all.filter(|(item, _)| item.is_numbered() && !is_struck(&item.text))
    };
    let (all, traced) = (items().count(), items().filter(|(_, covered)| by(covered, Evidence::Id)).count());
    let untraced = all - traced;
    if traced == 0 || traced * 100 < all * TRACED_PERCENT || untraced > (all * UNTRACED_PERCENT / 100).max(1) {
        return;
    }
    for (item, covered) in items() {
        let words = words(&item.text);
        let served = by(covered, Evidence::Id)
            || by(covered, Evidence::Terms)
            || (!covered.tasks.is_empty() && !stories_in(&item.text).is_empty());
        // What must not happen and what limits the rest need no work of their own.
        if served || !demands(&words) || is_postponed(&item.text) {
            continue;
        }
        let place = Position { line: item.line, location: &item.id, excerpt: &item.text };
        let summary =
            format!("the tasks name {traced} of {all} requirements, and no task names or describes {}", item.id);
        let remedy = format!("add a task, or name {} in the task that implements it", item.id);
        findings.push(&REQUIREMENT_WITHOUT_TASK, place, summary, remedy);
    }
}

/// Returns whether a requirement demands something, and neither forbids nor limits anything.
fn demands(words: &[Word<'_>]) -> bool {
    let modal = |w: &Word<'_>| matches!(w.lower.as_str(), "must" | "shall" | "should");
    let forbids = |pair: &[Word<'_>]| modal(&pair[0]) && matches!(pair[1].lower.as_str(), "not" | "never" | "only");
    !words.windows(2).any(forbids) && words.iter().all(|w| w.lower != "only")
}

/// Returns a list for a message: `T001, T002, T003 and 9 more`.
fn some_of(ids: &[&str]) -> String {
    const SHOWN: usize = 8;
    let shown = ids[..ids.len().min(SHOWN)].join(", ");
    if ids.len() > SHOWN { format!("{shown} and {} more", ids.len() - SHOWN) } else { shown }
}

/// Returns the identifiers of this feature that a task names.
fn named(task: &TaskText<'_>, own: Option<&str>) -> Vec<String> {
    let all = [task.title, task.text].into_iter().flat_map(|text| identifiers(text, own));
    all.filter(|i| !i.foreign).map(|i| i.id).collect()
}

/// Identifiers such as `C001`, which are some because the specification defines them.
struct OwnIds<'a> {
    /// In the order of the document.
    ids: Vec<&'a str>,
    search: Option<AhoCorasick>,
}

impl<'a> OwnIds<'a> {
    fn new(spec: &'a Spec) -> Self {
        let all = spec.requirements.iter().chain(&spec.success_criteria).filter(|item| item.is_numbered());
        let ids: Vec<&str> = all.map(|item| item.id.as_str()).filter(|id| identifiers(id, None).is_empty()).collect();
        let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&ids).ok();
        Self { search: search.filter(|_| !ids.is_empty()), ids }
    }

    /// Returns the identifiers in a text, also those within a range such as `C001–C003`.
    fn find(&self, text: &str) -> impl Iterator<Item = &'a str> {
        let mut found = Vec::new();
        // Index and end of the identifier before.
        let mut before: Option<(usize, usize)> = None;
        for hit in self.search.iter().flat_map(|search| search.find_iter(text)) {
            let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if text[..hit.start()].ends_with(part) || text[hit.end()..].starts_with(part) {
                continue;
            }
            let at = hit.pattern().as_usize();
            let joint = |end: usize| text[end..hit.start()].trim();
            let range = |end: usize| matches!(joint(end), "-" | "–" | "—" | ".." | "…" | "to" | "through" | "bis");
            let near = |first: usize| first < at && at - first < MAX_RANGE;
            let from = before.filter(|(first, end)| near(*first) && range(*end)).map_or(at, |(first, _)| first + 1);
            found.extend(self.ids[from..=at].iter().copied());
            before = Some((at, hit.end()));
        }
        found.into_iter()
    }
}

/// Returns the stories that a task is tagged with.
fn tagged(task: &TaskText<'_>) -> Vec<String> {
    let keys = task.story.unwrap_or_default().split([' ', ',', '+', '/']).filter_map(StoryKey::parse);
    keys.map(|key| key.as_str().to_owned()).collect()
}

/// Returns the identifiers of code among words, in lower case.
fn names(words: &[Word<'_>]) -> BTreeSet<String> {
    let cased = |raw: &str| raw.chars().skip(1).any(char::is_uppercase) && raw.contains(char::is_lowercase);
    let coded = |w: &Word<'_>| w.raw.contains('_') || cased(w.raw) || (w.quoted && w.raw.contains('-'));
    words.iter().filter(|w| w.raw.len() >= 4 && !w.is_number() && coded(w)).map(|w| w.lower.clone()).collect()
}

/// Index of texts by their terms.
struct Terms(HashMap<String, Vec<usize>>);

impl Terms {
    fn new<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        let mut index: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, text) in texts.enumerate() {
            for term in terms(&words(text)).into_iter().collect::<HashSet<_>>() {
                let postings = index.entry(term).or_default();
                if postings.len() < MAX_POSTINGS {
                    postings.push(at);
                }
            }
        }
        Self(index)
    }

    /// Returns the texts, in order, that share `percent` percent and at least three of the terms of these words (of few terms, two), or
    /// [`MANY_TERMS`] terms, or two terms that at most `rare` texts contain.
    fn alike(&self, words: &[Word<'_>], percent: usize, rare: usize) -> Vec<usize> {
        let terms: HashSet<String> = terms(words).into_iter().collect();
        let least = if terms.len() > 4 { 3 } else { 2 };
        let mut hits: HashMap<usize, (usize, usize)> = HashMap::new();
        for texts in terms.iter().filter_map(|term| self.0.get(term)) {
            for at in texts {
                let (all, few) = hits.entry(*at).or_default();
                *all += 1;
                *few += usize::from(texts.len() <= rare);
            }
        }
        let enough = |all: usize, few: usize| {
            all >= MANY_TERMS || few >= 2 || (all >= least && all * 100 >= terms.len() * percent)
        };
        let mut found: Vec<usize> =
            hits.into_iter().filter(|(_, (all, few))| enough(*all, *few)).map(|(at, _)| at).collect();
        found.sort_unstable();
        found
    }
}

/// Index of tasks by their text.
struct Index {
    /// Tasks by the families of the identifiers that they name: a task that names FR-001 also serves FR-001a.
    ids: HashMap<String, Vec<usize>>,
    stories: HashMap<String, Vec<usize>>,
    /// Tasks by identifiers of code: `GITHUB_TOKEN`, `ItemDate`.
    names: HashMap<String, Vec<usize>>,
    terms: Terms,
}

impl Index {
    fn new(tasks: &[TaskText<'_>], own: Option<&str>, own_ids: &OwnIds<'_>) -> Self {
        let texts: Vec<String> = tasks.iter().map(|t| format!("{} {}", t.title, t.text)).collect();
        let terms = Terms::new(texts.iter().map(String::as_str));
        let mut index = Self { ids: HashMap::new(), stories: HashMap::new(), names: HashMap::new(), terms };
        for (at, task) in tasks.iter().enumerate() {
            let distinct = |ids: Vec<String>| ids.iter().map(|id| family(id)).collect::<BTreeSet<_>>();
            let ids = named(task, own).into_iter().chain(own_ids.find(&texts[at]).map(str::to_owned)).collect();
            for id in distinct(ids) {
                index.ids.entry(id).or_default().push(at);
            }
            for name in names(&words(&texts[at])) {
                index.names.entry(name).or_default().push(at);
            }
            for key in tagged(task).into_iter().collect::<BTreeSet<_>>() {
                index.stories.entry(key).or_default().push(at);
            }
        }
        index
    }

    /// Returns the tasks that cover an item, sorted by evidence. Terms are compared only when no task names the item.
    fn links(&self, id: &str, text: &str, stories: &[String]) -> Vec<(usize, Evidence)> {
        let named = self.ids.get(&family(id)).into_iter().flatten().take(MAX_LINKS).map(|task| (*task, Evidence::Id));
        let tagged = stories.iter().filter_map(|key| self.stories.get(key)).flat_map(|t| t.iter().take(MAX_LINKS));
        let mut seen = HashSet::new();
        let sure = named.chain(tagged.map(|task| (*task, Evidence::Story)));
        let mut found: Vec<(usize, Evidence)> = sure.filter(|(task, _)| seen.insert(*task)).collect();
        found.sort_by_key(|(task, by)| (*by, *task));
        // A story's tag relates the task to the story, but not to this item in particular.
        if found.iter().all(|(_, by)| *by == Evidence::Story) {
            let words = words(text);
            let mut tasks: BTreeSet<usize> = self.terms.alike(&words, 40, RARE).into_iter().collect();
            let rare = |tasks: &&Vec<usize>| tasks.len() <= RARE;
            tasks.extend(names(&words).iter().filter_map(|name| self.names.get(name)).filter(rare).flatten());
            found.extend(tasks.into_iter().filter(|task| seen.insert(*task)).map(|task| (task, Evidence::Terms)));
        }
        found
    }
}
