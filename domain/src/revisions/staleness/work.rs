//! Maps changed items to the tasks that they affect.

use std::collections::{BTreeMap, BTreeSet};

use super::citations::Names;
use super::model::{
    Changes, ItemChange, ItemKind, MAX_REASONS, PlannedTask, Relation, Renumbered, StaleReason, StaleTask, Staleness,
};
use crate::speckit::StoryKey;
use crate::speckit::spec::Spec;

/// Returns the tasks for `old` that the changes make stale.
///
/// - A task covers the items that its text or its list of requirements names: requirements, criteria, scenarios and entities of the old
///   specification. It is stale if one of these has changed or was removed.
/// - A task with a story serves the story: it is stale if the story has changed or was removed, or if a scenario of it has changed, was
///   added or was removed. If it names no item itself, it also serves the items that the other tasks of its story name.
/// - A task with neither (setup, polish) serves the specification as a whole: it is stale if every story and requirement of the old
///   specification has changed or was removed.
///
/// A new identifier alone does not make a task stale; tasks that cite the old identifier are listed in `renumbered`. Added requirements
/// that no task names, and added stories without a task, are uncovered. An identifier that had another meaning in the old specification
/// does not cover an item. Clarifications do not make a task stale, because other items contain what they decided.
pub fn stale(old: &Spec, new: &Spec, changes: &Changes, tasks: &[PlannedTask<'_>]) -> Staleness {
    let (old_names, new_names) = (Names::new(old), Names::new(new));
    let old_stories = old.stories.iter().map(|story| story.key.as_str()).collect();
    let served: Vec<Served<'_>> =
        tasks.iter().map(|task| Served::by(task, &old_stories, &old_names, &new_names)).collect();
    let affected = Affected::new(old, changes, &served);
    let mut staleness = Staleness::default();
    for (task, served) in tasks.iter().zip(&served) {
        staleness.tasks.extend(affected.task(task.id, served));
        let cited = served.named.iter().copied().chain(served.story);
        staleness.renumbered.extend(cited.filter_map(|from| {
            let to = (*affected.renamed.get(from)?).to_owned();
            Some(Renumbered { task: task.id.to_owned(), from: from.to_owned(), to })
        }));
    }
    let added = |change: &&ItemChange| change.kind == ItemKind::Added;
    let covered: BTreeSet<&str> = served.iter().flat_map(|served| served.added.iter().copied()).collect();
    let new_stories: BTreeSet<&str> = served.iter().filter_map(|served| served.new_story.as_deref()).collect();
    let requirements = changes.requirements.iter().filter(added).filter(|c| !covered.contains(c.id.as_str()));
    let stories = changes.stories.iter().filter(added).filter(|c| !new_stories.contains(c.id.as_str()));
    staleness.uncovered = requirements.chain(stories).cloned().collect();
    staleness.uncovered.sort_by_key(|change| change.line);
    staleness
}

/// Items and stories that a task serves.
struct Served<'a> {
    /// Items of the old specification that the task names.
    named: BTreeSet<&'a str>,
    /// Items that the task names and only the new specification has.
    added: BTreeSet<&'a str>,
    /// Story of the task in the old specification.
    story: Option<&'a str>,
    /// Story of the task, if the old specification has no story with this key.
    new_story: Option<String>,
}

impl<'a> Served<'a> {
    fn by(task: &PlannedTask<'_>, old_stories: &BTreeSet<&'a str>, old: &Names<'a>, new: &Names<'a>) -> Self {
        let cited = |names: &Names<'a>| {
            let beside = task.requirements.iter().flat_map(|text| names.cited(text));
            names.cited(task.text).into_iter().chain(beside).collect::<BTreeSet<&str>>()
        };
        let named = cited(old);
        let added = cited(new).into_iter().filter(|id| !old.has(id)).collect();
        let key =
            task.story.map(|story| StoryKey::parse(story).map_or_else(|| story.to_owned(), |key| key.to_string()));
        let story = key.as_deref().and_then(|key| old_stories.get(key).copied());
        Self { named, added, story, new_story: key.filter(|_| story.is_none()) }
    }
}

/// The changes that can make a task stale, by what a task serves.
struct Affected<'a> {
    /// Changes by identifier.
    items: BTreeMap<&'a str, &'a ItemChange>,
    /// Changes of stories and their scenarios, by story.
    stories: BTreeMap<&'a str, Vec<&'a ItemChange>>,
    /// Changes of the other items that the tasks of a story name, by story.
    named_in: BTreeMap<&'a str, Vec<&'a ItemChange>>,
    /// All stories and requirements, if none of them is unchanged.
    everything: Vec<&'a ItemChange>,
    /// New identifiers by old ones.
    renamed: BTreeMap<&'a str, &'a str>,
}

impl<'a> Affected<'a> {
    fn new(old: &Spec, changes: &'a Changes, served: &[Served<'a>]) -> Self {
        // Added and renumbered items do not affect work that was planned before them.
        let touches = |change: &&ItemChange| matches!(change.kind, ItemKind::Changed | ItemKind::Removed);
        let Changes { requirements, stories, scenarios, criteria, entities, .. } = changes;
        let all = || requirements.iter().chain(criteria).chain(scenarios).chain(entities);
        let renamed: BTreeMap<&str, &str> = all()
            .chain(stories)
            .filter_map(|change| match &change.kind {
                ItemKind::Renamed { from } => Some((from.as_str(), change.id.as_str())),
                _ => None,
            })
            .collect();
        let items: BTreeMap<&str, &ItemChange> =
            all().filter(touches).map(|change| (change.id.as_str(), change)).collect();
        let mut of_story: BTreeMap<&str, Vec<&ItemChange>> = BTreeMap::new();
        for change in stories.iter().filter(touches) {
            of_story.entry(&change.id).or_default().push(change);
        }
        // Tasks still have the old key of a renumbered story, so its new scenarios are added to the old key.
        let old_keys: BTreeMap<&str, &str> = renamed.iter().map(|(from, to)| (*to, *from)).collect();
        for change in scenarios.iter().filter(|change| !matches!(change.kind, ItemKind::Renamed { .. })) {
            let key = change.id.rsplit_once('/').map_or(change.id.as_str(), |(story, _)| story);
            let key = if change.kind == ItemKind::Added { old_keys.get(key).copied().unwrap_or(key) } else { key };
            of_story.entry(key).or_default().push(change);
        }
        // A task that names no item also depends on the items that the other tasks of its story name.
        let mut named: BTreeMap<&str, BTreeMap<&str, &ItemChange>> = BTreeMap::new();
        for task in served {
            if let Some(story) = task.story {
                let found = task.named.iter().filter_map(|id| Some((*id, *items.get(id)?)));
                named.entry(story).or_default().extend(found);
            }
        }
        let beyond = |story: &str, named: BTreeMap<&str, &'a ItemChange>| {
            let own: BTreeSet<&str> =
                of_story.get(story).into_iter().flatten().map(|change| change.id.as_str()).collect();
            named.into_values().filter(|change| !own.contains(change.id.as_str())).collect()
        };
        let named_in = named.into_iter().map(|(story, named)| (story, beyond(story, named))).collect();
        // General tasks (setup, polish) are stale only when no story and no requirement is unchanged.
        let mut everything: Vec<&ItemChange> = stories.iter().chain(requirements).filter(touches).collect();
        if everything.len() < old.stories.len() + old.requirements.len() {
            everything.clear();
        }
        Self { items, stories: of_story, named_in, everything, renamed }
    }

    /// Returns the task with its reasons, if there are any.
    fn task(&self, id: &str, served: &Served<'_>) -> Option<StaleTask> {
        let named: BTreeMap<&str, &ItemChange> =
            served.named.iter().filter_map(|id| Some((*id, *self.items.get(id)?))).collect();
        let names_nothing = served.named.is_empty() && served.added.is_empty();
        let of_story = served.story.and_then(|story| self.stories.get(story)).map_or(&[][..], Vec::as_slice);
        let named_in = served.story.filter(|_| names_nothing).and_then(|story| self.named_in.get(story));
        let named_in = named_in.map_or(&[][..], Vec::as_slice);
        let is_general = names_nothing && served.story.is_none() && served.new_story.is_none();
        let everything = if is_general { self.everything.as_slice() } else { &[] };
        // An item that the task names is not counted again as a part of its story.
        let twice = of_story.iter().filter(|change| named.contains_key(change.id.as_str())).count();
        let all = named.len() + of_story.len() - twice + named_in.len() + everything.len();
        let link = |changes: &[&ItemChange], link: Relation| -> Vec<StaleReason> {
            let new = changes.iter().filter(|change| !named.contains_key(change.id.as_str()));
            new.take(MAX_REASONS).map(|change| StaleReason { item: (*change).clone(), link }).collect()
        };
        let mut reasons: Vec<StaleReason> = named
            .values()
            .take(MAX_REASONS)
            .map(|change| StaleReason { item: (*change).clone(), link: Relation::Named })
            .collect();
        reasons.extend(link(of_story, Relation::Story));
        reasons.extend(link(named_in, Relation::StoryRequirement));
        reasons.extend(link(everything, Relation::Everything));
        reasons.truncate(MAX_REASONS);
        let more = all - reasons.len();
        (!reasons.is_empty()).then(|| StaleTask { id: id.to_owned(), reasons, more })
    }
}
