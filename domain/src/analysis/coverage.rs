//! Coverage of requirements, stories and criteria by tasks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;

use super::acceptance::{Acceptance, AcceptedFinding, separate};
use super::directives;
use super::finding::{Finding, Position};
use super::findings::Findings;
use super::kinds::{
    REQUIREMENT_NOT_TRACED, REQUIREMENT_WITHOUT_TASK, STORY_WITHOUT_TASK, TASK_WITHOUT_ORIGIN, UNKNOWN_ID_IN_TASK,
};
use super::references::{Defined, family, ids};
use super::text::{Language, Word, is_struck, terms, words};
use crate::speckit::spec::Spec;

/// Maximum number of tasks that are named for one requirement, story or criterion.
const MAX_LINKS: usize = 64;

/// Maximum number of stories that are related to one requirement by their terms.
const MAX_STORIES: usize = 8;

/// Number of common terms that is sufficient for a requirement of any length.
const MANY_TERMS: usize = 5;

/// Maximum number of tasks that contain a rare term.
const RARE: usize = 4;

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
    /// Findings: uncovered items, tasks that cover nothing, and unknown identifiers.
    pub findings: Vec<Finding>,
    /// Findings that a comment of the specification or of a task accepts.
    pub accepted: Vec<AcceptedFinding>,
}

/// Finds the tasks that cover each requirement, story and criterion: by identifier, by story, and otherwise by shared terms.
pub fn coverage(spec: &Spec, tasks: &[TaskText<'_>]) -> Coverage {
    let index = Index::new(tasks);
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
            let mut keys: Vec<String> = ids(&words).map(|(id, _)| id).filter(|id| id.starts_with("US")).collect();
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
        .filter(|(at, task)| !serving.contains(at) && named(task).is_empty() && tagged(task).is_empty());
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

fn findings(spec: &Spec, tasks: &[TaskText<'_>], coverage: &Coverage) -> Vec<Finding> {
    let mut findings = Findings::default();
    let links = |covered: &[CoveredItem], by| covered.iter().flat_map(|c| &c.tasks).any(|link| link.by == by);
    // If tasks name identifiers, an identifier that no task names is not covered. Otherwise only the terms decide, which requires
    // English.
    let traced = links(&coverage.requirements, Evidence::Id);
    let rule = if traced { &REQUIREMENT_WITHOUT_TASK } else { &REQUIREMENT_NOT_TRACED };
    for (item, covered) in spec.requirements.iter().zip(&coverage.requirements) {
        let known = traced || Language::new(&words(&item.text)).is_english();
        if covered.tasks.is_empty() && known && !is_struck(&item.text) {
            let place = Position { line: item.line, location: &item.id, excerpt: &item.text };
            let remedy = format!("add a task, or name {} in the task that implements it", item.id);
            findings.push(rule, place, format!("no task covers {}", item.id), remedy);
        }
    }
    let tagged_at_all = links(&coverage.stories, Evidence::Story);
    for (story, covered) in spec.stories.iter().zip(&coverage.stories) {
        // If no task is tagged with a story, the tasks do not use tags, and their absence has no meaning.
        if covered.tasks.is_empty() && tagged_at_all {
            let key = story.key.as_str();
            let place = Position { line: story.line, location: key, excerpt: &story.title };
            findings.push(
                &STORY_WITHOUT_TASK,
                place,
                format!("no task covers {key}"),
                format!("add tasks tagged with [{key}]"),
            );
        }
    }
    let defined = Defined::new(spec);
    let mut unknown: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for task in tasks {
        for id in named(task).into_iter().chain(tagged(task)).filter(|id| defined.lacks(id)) {
            let tasks = unknown.entry(id).or_default();
            if tasks.last() != Some(&task.id) {
                tasks.push(task.id);
            }
        }
    }
    for (id, tasks) in &unknown {
        let place = Position { line: 0, location: tasks[0], excerpt: id };
        let summary = format!("{} is named by {} and not defined in the specification", id, some_of(tasks));
        findings.push(&UNKNOWN_ID_IN_TASK, place, summary, format!("define {id}, or correct the identifier"));
    }
    if !coverage.unassigned.is_empty() {
        let ids: Vec<&str> = coverage.unassigned.iter().map(String::as_str).collect();
        let place = Position { line: 0, location: "Tasks", excerpt: &ids.join(" ") };
        let summary = format!("no requirement, story or criterion is found for {}", some_of(&ids));
        findings.push(
            &TASK_WITHOUT_ORIGIN,
            place,
            summary,
            "name the requirement in each task, or tag the task with its story",
        );
    }
    findings.finish()
}

/// Returns a list for a message: `T001, T002, T003 and 9 more`.
fn some_of(ids: &[&str]) -> String {
    const SHOWN: usize = 8;
    let shown = ids[..ids.len().min(SHOWN)].join(", ");
    if ids.len() > SHOWN { format!("{shown} and {} more", ids.len() - SHOWN) } else { shown }
}

/// Returns the identifiers that a task names.
fn named(task: &TaskText<'_>) -> Vec<String> {
    let mut found: Vec<String> = ids(&words(task.title)).map(|(id, _)| id).collect();
    found.extend(ids(&words(task.text)).map(|(id, _)| id));
    found
}

/// Returns the stories that a task is tagged with.
fn tagged(task: &TaskText<'_>) -> Vec<String> {
    ids(&words(task.story.unwrap_or_default())).map(|(id, _)| id).filter(|id| id.starts_with("US")).collect()
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
    /// Tasks by the identifiers that they name, without leading zeros.
    ids: HashMap<String, Vec<usize>>,
    stories: HashMap<String, Vec<usize>>,
    /// Tasks by identifiers of code: `GITHUB_TOKEN`, `ItemDate`.
    names: HashMap<String, Vec<usize>>,
    terms: Terms,
}

impl Index {
    fn new(tasks: &[TaskText<'_>]) -> Self {
        let texts: Vec<String> = tasks.iter().map(|t| format!("{} {}", t.title, t.text)).collect();
        let terms = Terms::new(texts.iter().map(String::as_str));
        let mut index = Self { ids: HashMap::new(), stories: HashMap::new(), names: HashMap::new(), terms };
        for (at, task) in tasks.iter().enumerate() {
            let distinct = |ids: Vec<String>| ids.iter().map(|id| exact(id)).collect::<BTreeSet<_>>();
            for id in distinct(named(task)) {
                index.ids.entry(id).or_default().push(at);
            }
            for name in names(&words(&texts[at])) {
                index.names.entry(name).or_default().push(at);
            }
            for key in distinct(tagged(task)) {
                index.stories.entry(key).or_default().push(at);
            }
        }
        index
    }

    /// Returns the tasks that cover an item, sorted by evidence. Terms are compared only when no task names the item.
    fn links(&self, id: &str, text: &str, stories: &[String]) -> Vec<(usize, Evidence)> {
        let named = self.ids.get(&exact(id)).into_iter().flatten().take(MAX_LINKS).map(|task| (*task, Evidence::Id));
        let tagged =
            stories.iter().filter_map(|key| self.stories.get(&exact(key))).flat_map(|t| t.iter().take(MAX_LINKS));
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

/// Returns an identifier for comparison: without leading zeros, with its letter.
fn exact(id: &str) -> String {
    let letter = id.chars().next_back().filter(char::is_ascii_lowercase).map(String::from).unwrap_or_default();
    format!("{}{letter}", family(id))
}
