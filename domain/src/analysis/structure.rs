//! Underspecification: missing parts that are needed to build from a specification or to verify the result.

use std::collections::{HashMap, HashSet};

use super::finding::Position;
use super::findings::Findings;
use super::kinds::{
    EMPTY_STATEMENT, INCOMPLETE_SCENARIO, NO_INDEPENDENT_TEST, NO_OBLIGATION, NO_PRIORITY, NO_SCENARIO,
    UNCOVERED_REQUIREMENT, UNMEASURABLE_CRITERION, UNTESTABLE_CRITERION, UNUSED_ENTITY,
};
use super::references::ids;
use super::statements::{Statement, StatementKind, Statements};
use super::text::{Vocabulary, is_one_of, is_struck, words};
use super::vague;
use crate::speckit::spec::{Spec, UserStory};

pub(super) fn find(spec: &Spec, statements: &Statements<'_>, findings: &mut Findings) {
    stories(spec, statements, findings);
    for statement in &statements.all {
        match statement.kind {
            StatementKind::Requirement | StatementKind::Criterion if is_empty(statement) => findings.push(
                &EMPTY_STATEMENT,
                statement.place(statement.text),
                format!("{} has no text", statement.location),
                "write who must do what, or remove the identifier",
            ),
            StatementKind::Criterion if statement.english && !is_measurable(statement) => {
                criterion(statement, findings);
            }
            StatementKind::Scenario if statement.english => scenario(statement, findings),
            _ => {}
        }
    }
    obligations(statements, findings);
    uncovered(spec, statements, findings);
    unused_entities(spec, statements, findings);
}

fn is_empty(statement: &Statement<'_>) -> bool {
    statement.words.is_empty() && !is_struck(statement.text)
}

/// Adds findings for stories without scenarios, independent test or priority. In a document in another language, only those parts are
/// reported that another story has.
fn stories(spec: &Spec, statements: &Statements<'_>, findings: &mut Findings) {
    // The oldest template has one story without a test, and its scenarios in a separate section.
    let stories: Vec<&UserStory> = spec.stories.iter().filter(|s| s.title != "Primary User Story").collect();
    let knows = |has: fn(&UserStory) -> bool| statements.english || stories.iter().any(|s| has(s));
    let (tests, scenarios) = (knows(|s| s.independent_test.is_some()), knows(|s| !s.scenarios.is_empty()));
    let priorities = stories.iter().any(|s| s.priority.is_some());
    for story in stories {
        let place = Position { line: story.line, location: story.key.as_str(), excerpt: &story.title };
        let body = story.span.text(&spec.source).to_lowercase();
        if scenarios
            && story.scenarios.is_empty()
            && !["acceptance", "given", "scenario"].iter().any(|w| body.contains(w))
        {
            let remedy = "add `**Acceptance Scenarios**:` with `1. **Given** … **When** … **Then** …`";
            findings.push(&NO_SCENARIO, place, format!("{} has no acceptance scenario", story.key), remedy);
        }
        if tests
            && story.independent_test.as_ref().is_none_or(|t| t.text.is_empty())
            && !body.contains("independent test")
        {
            let remedy = "add `**Independent Test**:` and describe how to test this story without the others";
            findings.push(&NO_INDEPENDENT_TEST, place, format!("{} has no independent test", story.key), remedy);
        }
        if priorities && story.priority.is_none() {
            findings.push(
                &NO_PRIORITY,
                place,
                format!("{} has no priority", story.key),
                "write `(Priority: P1)` after its title",
            );
        }
    }
}

fn scenario(statement: &Statement<'_>, findings: &mut Findings) {
    let find = |word: &str| statement.words.iter().find(|w| w.lower == word);
    // `when a key turns, the door opens` states the result without the word `then`.
    let implied = find("when").is_some_and(|when| statement.text[when.end..].contains(", "));
    let missing: Vec<&str> = [("given", "Given"), ("when", "When"), ("then", "Then")]
        .into_iter()
        .filter(|(word, name)| find(word).is_none() && !(*name == "Then" && implied))
        .map(|(_, name)| name)
        .collect();
    // A scenario without any of the words has another form.
    if !missing.is_empty() && missing.len() < 3 {
        let parts = missing.join(" and ");
        let summary = format!("the scenario has no {parts}");
        findings.push(
            &INCOMPLETE_SCENARIO,
            statement.place(statement.text),
            summary,
            format!("add **{parts}**, so that it can be tested as written"),
        );
    }
}

/// Adds the finding for a criterion that cannot be measured.
fn criterion(statement: &Statement<'_>, findings: &mut Findings) {
    const LIKING: &str = "like likes love enjoy enjoys happy satisfied pleased delighted feel feels find finds perceive perceives better \
        improved improves easier simpler nicer confident trust easy intuitive pleasant attractive modern";
    let liking = statement.words.iter().any(|w| !w.quoted && is_one_of(LIKING, &w.lower));
    let remedy = "write the number that counts as success and how it is measured";
    if liking || !vague::find(statement.text, &statement.words).is_empty() {
        let summary = "the criterion describes a quality that cannot be measured";
        findings.push(&UNTESTABLE_CRITERION, statement.place(statement.text), summary, remedy);
    } else {
        let summary = "the criterion has no number and no comparison, so it cannot be measured";
        findings.push(&UNMEASURABLE_CRITERION, statement.place(statement.text), summary, remedy);
    }
}

/// Returns whether a criterion has a number, a word that counts, or something to compare with.
fn is_measurable(statement: &Statement<'_>) -> bool {
    const COUNTS: &str = "all every each any no none zero never always not without only both one two three four five six seven \
        eight nine ten once twice half single first same identical equal equals exactly match matches matching \
        passes pass fails fewer less more least most cannot entire full fully complete completely unchanged \
        remain remains zero-config nothing double majority byte-identical exit either existing succeeds neither \
        nor constant regardless alone verified";
    // A withdrawn criterion needs no number.
    is_struck(statement.text)
        || statement.text.contains(|c: char| c.is_ascii_digit())
        || statement.words.iter().any(|w| is_one_of(COUNTS, &w.lower))
}

/// Adds findings for requirements without an obligation. If most requirements have none, there is one finding for all of them.
fn obligations(statements: &Statements<'_>, findings: &mut Findings) {
    let english: Vec<&Statement<'_>> = statements
        .of_kind(StatementKind::Requirement)
        .filter(|s| s.english && !s.words.is_empty() && !is_struck(s.text))
        // Assumptions, dependencies and risks with identifiers need no obligation.
        .filter(|s| !is_one_of("ASM DEP RISK OUT", s.location.split('-').next().unwrap_or_default()))
        .collect();
    let without: Vec<&&Statement<'_>> = english.iter().filter(|s| !obliges(s)).collect();
    if without.len() > 3 && without.len() * 2 > english.len() {
        let first = without[0];
        let place = Position { line: first.line, location: "Requirements", excerpt: "" };
        let summary = format!(
            "{} of {} requirements have neither MUST nor SHOULD; the first is {}",
            without.len(),
            english.len(),
            first.location
        );
        findings.push(&NO_OBLIGATION, place, summary, "write who MUST, SHOULD or MAY do what");
        return;
    }
    for statement in without {
        let summary = format!("{} has neither MUST nor SHOULD", statement.location);
        findings.push(
            &NO_OBLIGATION,
            statement.place(statement.text),
            summary,
            "write who MUST, SHOULD or MAY do what",
        );
    }
}

fn obliges(statement: &Statement<'_>) -> bool {
    const MODALS: &str =
        "must shall should may will can cannot required mustn't never recommended optional needs prohibited";
    statement.words.iter().any(|w| is_one_of(MODALS, &w.lower))
}

/// Adds a finding for each requirement that no story, scenario, edge case or criterion covers.
fn uncovered(spec: &Spec, statements: &Statements<'_>, findings: &mut Findings) {
    for (requirement, covered) in coverage(spec, statements) {
        if !covered {
            findings.push(
                &UNCOVERED_REQUIREMENT,
                requirement.place(requirement.text),
                format!("no story, scenario, edge case or criterion covers {}", requirement.location),
                format!("add a scenario for it, or name {} in the scenario that covers it", requirement.location),
            );
        }
    }
}

/// Returns each requirement that can be judged, and whether a story, scenario, edge case or criterion covers it by identifier or terms.
pub(super) fn coverage<'s, 'a>(spec: &Spec, statements: &'s Statements<'a>) -> Vec<(&'s Statement<'a>, bool)> {
    /// Maximum number of stories and edge cases that are compared for each term.
    const MAX_PLACES: usize = 32;
    if spec.stories.is_empty() || !statements.english {
        return Vec::new();
    }
    let mut vocabulary = Vocabulary::default();
    let mut named: HashSet<String> = HashSet::new();
    let mut places: HashMap<u32, Vec<usize>> = HashMap::new();
    let stories = spec.stories.iter().map(|s| s.span.text(&spec.source));
    let edges = (0..spec.edge_cases.len()).map(|at| statements.whole(&spec.source, &spec.edge_cases, at));
    let criteria = spec.success_criteria.iter().map(|c| c.text.as_str());
    for (index, text) in stories.chain(edges).chain(criteria).enumerate() {
        let words = words(text);
        named.extend(ids(&words).map(|(id, _)| id));
        for term in vocabulary.set(&words) {
            let postings = places.entry(term).or_default();
            if postings.len() < MAX_PLACES {
                postings.push(index);
            }
        }
    }
    let mut found = Vec::new();
    for requirement in statements.of_kind(StatementKind::Requirement).filter(|s| s.english && !is_struck(s.text)) {
        let set = vocabulary.set(&requirement.words);
        if set.len() < 3 {
            continue;
        }
        let points_back = ids(&requirement.words).any(|(id, _)| id.starts_with("US"));
        let mut hits: HashMap<usize, usize> = HashMap::new();
        let mut anywhere = 0;
        for term in &set {
            let postings = places.get(term).map(Vec::as_slice).unwrap_or_default();
            anywhere += usize::from(!postings.is_empty());
            for place in postings {
                *hits.entry(*place).or_default() += 1;
            }
        }
        let best = hits.values().max().copied().unwrap_or_default();
        let covered =
            named.contains(&requirement.location) || points_back || best * 4 >= set.len() || anywhere * 2 >= set.len();
        found.push((requirement, covered));
    }
    found
}

/// Adds a finding for each entity that only its own description mentions.
fn unused_entities(spec: &Spec, statements: &Statements<'_>, findings: &mut Findings) {
    if !statements.english {
        return;
    }
    let mut vocabulary = Vocabulary::default();
    let mut used: HashSet<u32> = HashSet::new();
    for statement in statements.all.iter().filter(|s| !s.is(StatementKind::Entity)) {
        used.extend(vocabulary.set(&statement.words));
    }
    for story in &spec.stories {
        used.extend(vocabulary.set(&words(story.span.text(&spec.source))));
    }
    for entity in statements.of_kind(StatementKind::Entity).filter(|e| e.english) {
        let name = entity.location.strip_prefix("Key Entities: ").unwrap_or_default();
        let set = vocabulary.set(&words(name));
        if set.is_empty() || set.len() > 5 || set.iter().any(|term| used.contains(term)) {
            continue;
        }
        let summary = format!("no story, requirement or criterion mentions the entity \"{name}\"");
        findings.push(&UNUSED_ENTITY, entity.place(name), summary, "mention it where it is used, or remove it");
    }
}
