//! Which tasks serve which requirement, story and criterion.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::finding::{Finding, Findings, Place};
use super::references::{Defined, family, ids};
use super::rules::{REQUIREMENT_WITHOUT_TASK, STORY_WITHOUT_TASK, TASK_WITHOUT_ORIGIN, UNKNOWN_ID_IN_TASK};
use super::structure::is_struck;
use super::text::words;
use crate::speckit::StoryKey;
use crate::speckit::spec::Spec;

/// Most tasks that are named for one requirement, story or criterion.
const MAX_LINKS: usize = 64;

/// At most so many tasks are looked at for each term.
const MAX_POSTINGS: usize = 32;

/// A task, as far as coverage needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskText<'a> {
    /// Identifier, as findings name it.
    pub id: &'a str,
    /// Its title.
    pub title: &'a str,
    /// All else that is written about it.
    pub text: &'a str,
    /// The story that it is tagged with, such as `US1`.
    pub story: Option<&'a str>,
}

/// How a task is known to serve something, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Evidence {
    /// It names the identifier.
    Id,
    /// It is tagged with the story, or with the story that a requirement names.
    Story,
    /// It speaks of the same things.
    Terms,
}

/// A task that serves something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The task's identifier.
    pub task: String,
    /// How that is known.
    pub by: Evidence,
}

/// A requirement, story or criterion, and the tasks that serve it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Covered {
    /// Its identifier.
    pub id: String,
    /// Its line in the specification, counted from 1.
    pub line: u32,
    /// The tasks, the surest first, then in their order; at most 64.
    pub tasks: Vec<Link>,
}

/// How tasks cover a specification.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Coverage {
    /// Requirements, in the order of the document.
    pub requirements: Vec<Covered>,
    /// Stories, likewise.
    pub stories: Vec<Covered>,
    /// Success criteria, likewise.
    pub criteria: Vec<Covered>,
    /// What is not covered, and tasks that serve nothing.
    pub findings: Vec<Finding>,
}

/// Finds for each requirement, story and criterion the tasks that serve it: by identifier, by story, and else by shared terms.
pub fn coverage(spec: &Spec, tasks: &[TaskText<'_>]) -> Coverage {
    let index = Index::of(tasks);
    let mut coverage = Coverage::default();
    let mut serving: HashSet<usize> = HashSet::new();
    let mut cover = |id: &str, line: u32, text: &str, stories: &[String]| {
        let links = index.links(id, text, stories);
        serving.extend(links.iter().map(|(task, _)| *task));
        let link = |(task, by): &(usize, Evidence)| Link { task: tasks[*task].id.to_owned(), by: *by };
        Covered { id: id.to_owned(), line, tasks: links.iter().take(MAX_LINKS).map(link).collect() }
    };
    for (items, covered) in
        [(&spec.requirements, &mut coverage.requirements), (&spec.success_criteria, &mut coverage.criteria)]
    {
        for item in items {
            let stories: Vec<String> =
                ids(&words(&item.text)).map(|(id, _)| id).filter(|id| id.starts_with("US")).collect();
            covered.push(cover(&item.id, item.line, &item.text, &stories));
        }
    }
    for story in &spec.stories {
        let key = story.key.as_str();
        coverage.stories.push(cover(key, story.line, &story.title, &[key.to_owned()]));
    }
    coverage.findings = findings(spec, tasks, &coverage, &serving);
    coverage
}

fn findings(spec: &Spec, tasks: &[TaskText<'_>], coverage: &Coverage, serving: &HashSet<usize>) -> Vec<Finding> {
    let mut findings = Findings::default();
    for (item, covered) in spec.requirements.iter().zip(&coverage.requirements) {
        if covered.tasks.is_empty() && !is_struck(&item.text) {
            let place = Place { line: item.line, location: &item.id, excerpt: &item.text };
            let summary = format!("no task serves {}", item.id);
            findings.push(
                &REQUIREMENT_WITHOUT_TASK,
                place,
                summary,
                format!("add a task, or name {} in the one that does it", item.id),
            );
        }
    }
    for (story, covered) in spec.stories.iter().zip(&coverage.stories) {
        if covered.tasks.is_empty() {
            let key = story.key.as_str();
            let place = Place { line: story.line, location: key, excerpt: &story.title };
            findings.push(
                &STORY_WITHOUT_TASK,
                place,
                format!("no task serves {key}"),
                format!("add tasks tagged with [{key}]"),
            );
        }
    }
    let defined = Defined::of(spec);
    for (at, task) in tasks.iter().enumerate() {
        let place = Place { line: 0, location: task.id, excerpt: task.title };
        let mut told = HashSet::new();
        for id in named(task).into_iter().filter(|id| defined.lacks(id)) {
            if told.insert(id.clone()) {
                let summary = format!("task {} names {id}, which the specification does not define", task.id);
                let place = Place { excerpt: &id, ..place };
                findings.push(
                    &UNKNOWN_ID_IN_TASK,
                    place,
                    summary,
                    format!("define {id}, or name the one that is meant"),
                );
            }
        }
        if !serving.contains(&at) {
            let summary = format!("task {} serves no requirement, story or criterion that can be told", task.id);
            findings.push(&TASK_WITHOUT_ORIGIN, place, summary, "name in it what it is for, or tag it with its story");
        }
    }
    findings.finish()
}

/// Identifiers that a task names, its story's among them.
fn named(task: &TaskText<'_>) -> Vec<String> {
    let mut found: Vec<String> = ids(&words(task.title)).map(|(id, _)| id).collect();
    found.extend(ids(&words(task.text)).map(|(id, _)| id));
    found.extend(task.story.and_then(StoryKey::parse).map(|key| key.as_str().to_owned()));
    found
}

/// Tasks by what they say.
struct Index {
    /// By the identifiers that they name, without leading zeros.
    ids: HashMap<String, Vec<usize>>,
    stories: HashMap<String, Vec<usize>>,
    terms: HashMap<String, Vec<usize>>,
}

impl Index {
    fn of(tasks: &[TaskText<'_>]) -> Self {
        let mut index = Self { ids: HashMap::new(), stories: HashMap::new(), terms: HashMap::new() };
        for (at, task) in tasks.iter().enumerate() {
            let mut names: Vec<String> = named(task).iter().map(|id| exact(id)).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                index.ids.entry(name).or_default().push(at);
            }
            if let Some(key) = task.story.and_then(StoryKey::parse) {
                index.stories.entry(exact(key.as_str())).or_default().push(at);
            }
            let terms: HashSet<String> =
                [task.title, task.text].iter().flat_map(|t| super::text::terms(&words(t))).collect();
            for term in terms {
                let postings = index.terms.entry(term).or_default();
                if postings.len() < MAX_POSTINGS {
                    postings.push(at);
                }
            }
        }
        index
    }

    /// The tasks that serve something, the surest first; terms count only where nothing surer is known.
    fn links(&self, id: &str, text: &str, stories: &[String]) -> Vec<(usize, Evidence)> {
        let mut found: Vec<(usize, Evidence)> = Vec::new();
        let mut seen = HashSet::new();
        let mut add = |tasks: Option<&Vec<usize>>, by: Evidence| {
            for task in tasks.into_iter().flatten() {
                if seen.insert(*task) {
                    found.push((*task, by));
                }
            }
        };
        for story in stories {
            add(self.stories.get(&exact(story)), Evidence::Story);
        }
        add(self.ids.get(&exact(id)), Evidence::Id);
        found.sort_by_key(|(task, by)| (*by, *task));
        if found.is_empty() {
            found = self.alike(text);
        }
        found
    }

    /// Tasks that hold at least half of the terms of a text, and three of them.
    fn alike(&self, text: &str) -> Vec<(usize, Evidence)> {
        let terms: HashSet<String> = super::text::terms(&words(text)).into_iter().collect();
        let mut hits: HashMap<usize, usize> = HashMap::new();
        for task in terms.iter().filter_map(|term| self.terms.get(term)).flatten() {
            *hits.entry(*task).or_default() += 1;
        }
        let enough = |count: usize| count >= 3.min(terms.len()) && count * 2 >= terms.len();
        let mut tasks: Vec<usize> =
            hits.into_iter().filter(|(_, count)| enough(*count)).map(|(task, _)| task).collect();
        tasks.sort_unstable();
        tasks.into_iter().map(|task| (task, Evidence::Terms)).collect()
    }
}

/// An identifier as documents compare it: without leading zeros, with its letter.
fn exact(id: &str) -> String {
    let letter = id.chars().next_back().filter(char::is_ascii_lowercase).map(String::from).unwrap_or_default();
    format!("{}{letter}", family(id))
}
