//! Staleness: what a newer revision of the specification makes of a plan that was started for an older one.

use std::collections::BTreeSet;

use enact_crds::plan::Stale;
use enact_crds::task::Phase;
use enact_domain::plan::Asked;
use enact_domain::revisions::staleness::{Changes, ItemChange, ItemKind, Work, compare, stale};

use super::documents::{Choice, words};
use super::observe::Observed;
use super::validate::Content;
use crate::documents::findings::{cut, len};
use crate::documents::texts::SpecificationText;

/// Most entries of each list in a status.
const MAX_SHOWN: usize = 50;

/// What a newer revision means for a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outdated {
    /// Its digest.
    pub digest: String,
    /// What differs, for a person.
    pub changes: Vec<String>,
    /// Tasks that are stale, by their index.
    pub tasks: BTreeSet<usize>,
    /// Those, and all that stand on them; the integration, too.
    pub touched: BTreeSet<usize>,
    /// Requirements and stories that no task serves.
    pub uncovered: Vec<String>,
}

impl Outdated {
    /// Whether there is anything to decide.
    pub fn matters(&self) -> bool {
        !self.tasks.is_empty() || !self.uncovered.is_empty()
    }

    /// As the plan's status shows it.
    pub fn shown(&self, observed: &Observed, content: &Content) -> Stale {
        let finished = |i: &&usize| {
            let name = content.compiled.names.get(**i);
            let task = name.and_then(|name| observed.children.tasks.get(name));
            task.is_some_and(|t| t.phase == Phase::Succeeded)
        };
        let redo = self.touched.iter().filter(finished).map(|i| content.compiled.tasks[*i].id.clone());
        Stale {
            specification_digest: self.digest.clone(),
            changes: self.changes.iter().take(MAX_SHOWN).cloned().collect(),
            tasks: len(self.tasks.len()),
            redo: redo.take(MAX_SHOWN).collect(),
            uncovered: self.uncovered.iter().take(MAX_SHOWN).cloned().collect(),
        }
    }
}

/// Compares the revision that a plan was started for, if the record has it, with the newer one.
pub fn outdated(before: Option<&SpecificationText>, after: &SpecificationText, content: &Content) -> Outdated {
    let tasks = &content.compiled.tasks;
    let digest = after.digest.to_string();
    let Some(before) = before else {
        // Nobody can tell what changed: a person has to.
        let changes = vec!["the record does not hold the revision that the plan was started for".to_owned()];
        let all = 0..tasks.len();
        return Outdated {
            digest,
            changes,
            tasks: all.collect(),
            touched: (0..=tasks.len()).collect(),
            uncovered: vec![],
        };
    };
    let (old, new) = (&before.parsed.model, &after.parsed.model);
    let changes = compare(old, new);
    let texts: Vec<String> = tasks.iter().map(|t| format!("{}\n{}", t.title, words(t))).collect();
    let work: Vec<Work> = tasks
        .iter()
        .zip(&texts)
        .map(|(t, text)| Work { id: &t.id, story: t.story.as_deref(), text, requirements: &t.requirements })
        .collect();
    let found = stale(old, new, &changes, &work);
    let ids: BTreeSet<&str> = found.tasks.iter().map(|t| t.id.as_str()).collect();
    let tasks: BTreeSet<usize> =
        tasks.iter().enumerate().filter(|(_, t)| ids.contains(t.id.as_str())).map(|(i, _)| i).collect();
    Outdated {
        digest,
        changes: named(&changes),
        touched: standing_on(&tasks, content),
        tasks,
        uncovered: found.uncovered.iter().map(|c| cut(&c.id)).collect(),
    }
}

/// Tasks and all that stand on them. The integration stands on every task.
fn standing_on(tasks: &BTreeSet<usize>, content: &Content) -> BTreeSet<usize> {
    let graph = &content.compiled.graph;
    let mut touched = tasks.clone();
    for &i in graph.order() {
        if graph.dependencies(i as usize).iter().any(|d| touched.contains(&(*d as usize))) {
            touched.insert(i as usize);
        }
    }
    if !touched.is_empty() {
        touched.insert(content.compiled.tasks.len());
    }
    touched
}

fn named(changes: &Changes) -> Vec<String> {
    let Changes { requirements, stories, scenarios, criteria, entities, clarifications } = changes;
    let all = [requirements, stories, scenarios, criteria, entities, clarifications].into_iter().flatten();
    let one = |change: &ItemChange| {
        let id = cut(&change.id);
        match &change.kind {
            ItemKind::Added => format!("{id} Added"),
            ItemKind::Removed => format!("{id} Removed"),
            ItemKind::Changed => format!("{id} Changed"),
            ItemKind::Renamed { from } => format!("{id} Renamed from {}", cut(from)),
        }
    };
    all.map(one).collect()
}

/// What a node is to do about a newer revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What is asked of it.
    pub asked: Asked,
    /// Whether it is not to start before a person has decided.
    pub held: bool,
}

/// The part of a node in what a person decided, or has to decide. `observed` is the revision that the node was last redone for.
pub fn answer(
    outdated: Option<&Outdated>,
    choice: Choice,
    node: usize,
    integration: usize,
    observed: Option<&str>,
) -> Answer {
    let Some(outdated) = outdated else { return Answer::default() };
    match choice {
        Choice::None => {
            // What is stale is not published before.
            let held = outdated.tasks.contains(&node) || (node == integration && !outdated.tasks.is_empty());
            Answer { held, ..Answer::default() }
        }
        Choice::Redo if outdated.touched.contains(&node) && observed != Some(outdated.digest.as_str()) => {
            Answer { asked: Asked::Redo, held: false }
        }
        Choice::Redo | Choice::Keep => Answer::default(),
    }
}

#[cfg(test)]
mod tests;
