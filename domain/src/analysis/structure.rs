//! Underspecification: missing parts that are needed to build from a specification or to verify the result.

use std::collections::{HashMap, HashSet};

use super::finding::Position;
use super::findings::Findings;
use super::identifiers::{family, identifiers};
use super::kinds::{
    EMPTY_STATEMENT, INCOMPLETE_SCENARIO, NO_INDEPENDENT_TEST, NO_OBLIGATION, NO_PRIORITY, NO_SCENARIO,
    UNCOVERED_REQUIREMENT, UNTESTABLE_CRITERION, UNUSED_ENTITY,
};
use super::references::own_number;
use super::statements::{Statement, StatementKind, Statements, headings};
use super::text::{Vocabulary, Word, is_one_of, is_struck, words};
use super::vague::{self, Around};
use crate::speckit::Span;
use crate::speckit::spec::{Spec, UserStory};
use crate::speckit::words::names_independent_test;

/// Number of letters with which words that mean the same begin.
const START: usize = 5;

/// Maximum number of terms in the name of an entity; longer names are sentences.
const MAX_NAME_TERMS: usize = 5;

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
                criterion(statement, &spec.source, findings);
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

/// Adds findings for stories without scenarios, independent test or priority. An independent test and a priority are only reported if
/// most stories have them: otherwise the document does not use them.
fn stories(spec: &Spec, statements: &Statements<'_>, findings: &mut Findings) {
    // The oldest template has one story without a test, and its scenarios in a separate section.
    let stories: Vec<&UserStory> =
        spec.stories.iter().filter(|s| s.title != "Primary User Story" && !is_closed(&s.title)).collect();
    let most = |has: fn(&UserStory) -> bool| stories.iter().filter(|s| has(s)).count() * 2 > stories.len();
    let (tests, priorities) = (most(|s| s.independent_test.is_some()), most(|s| s.priority.is_some()));
    let scenarios = stories.iter().any(|s| !s.scenarios.is_empty()) || (statements.english && !accepts(spec));
    for story in stories {
        let place = Position { line: story.line, location: story.key.as_str(), excerpt: &story.title };
        let body = story.span.text(&spec.source);
        let lower = body.to_lowercase();
        let in_words = || ["acceptance", "given", "scenario"].iter().any(|w| lower.contains(w));
        // A list or a table can be scenarios in a form that the parser does not read.
        if scenarios && story.scenarios.is_empty() && !in_words() && !body.lines().any(vague::is_listed) {
            let remedy = "add `**Acceptance Scenarios**:` with `1. **Given** … **When** … **Then** …`";
            findings.push(&NO_SCENARIO, place, format!("{} has no acceptance scenario", story.key), remedy);
        }
        if tests && story.independent_test.as_ref().is_none_or(|t| t.text.is_empty()) && !names_independent_test(&lower)
        {
            let remedy = "add `**Independent Test**:` and describe how to test this story without the others";
            findings.push(&NO_INDEPENDENT_TEST, place, format!("{} has no independent test", story.key), remedy);
        }
        if priorities && story.priority.is_none() && !has_priority(body) {
            findings.push(
                &NO_PRIORITY,
                place,
                format!("{} has no priority", story.key),
                "write `(Priority: P1)` after its title",
            );
        }
    }
}

/// Returns whether a section outside of the stories has the acceptance criteria of all of them.
fn accepts(spec: &Spec) -> bool {
    let within = |at: usize| spec.stories.iter().any(|s| s.span.contains(at));
    headings(&spec.source).iter().any(|(at, title)| {
        !within(*at) && words(title).iter().any(|w| is_one_of("acceptance scenario scenarios", &w.lower))
    })
}

/// Returns whether a story has a priority in a form that the parser does not read: `P2.5` in its heading or the first lines below it.
fn has_priority(body: &str) -> bool {
    /// Number of lines in which the priority is.
    const NEAR: usize = 4;
    let priority =
        |w: &Word<'_>| w.raw.strip_prefix('P').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    // `(Priority: deferred)`
    let named = body.lines().next().is_some_and(|heading| words(heading).iter().any(|w| w.lower == "priority"));
    named || body.lines().take(NEAR).any(|line| words(line).iter().any(priority))
}

/// Returns whether the title of a story says that nobody builds from it: it is deferred, or done.
fn is_closed(title: &str) -> bool {
    const CLOSED: &str = "DEFERRED REMOVED CANCELLED CANCELED DROPPED COMPLETE COMPLETED DONE SUPERSEDED";
    /// Words for what is not part of this specification, in lower case.
    const OUTSIDE: [&str; 24] = [
        "out of scope",
        "not in scope",
        "out-of-scope",
        "future phase",
        "follow-up cycle",
        "hors périmètre",
        "außerhalb des umfangs",
        "fuera de alcance",
        "fora do escopo",
        "fuori ambito",
        "вне рамок",
        "вне области",
        "스펙 제외",
        "구현 제외",
        "범위 외",
        "범위 밖",
        "별도 스펙",
        "対象外",
        "スコープ外",
        "范围外",
        "範圍外",
        "不在范围",
        "不在範圍",
        "不包含在本",
    ];
    let lower = title.to_lowercase();
    is_struck(title)
        || words(title).iter().any(|w| is_one_of(CLOSED, w.raw))
        || OUTSIDE.iter().any(|words| lower.contains(words))
}

/// Adds a finding for a scenario that states no result. A scenario without Given or without When can be tested as it is.
fn scenario(statement: &Statement<'_>, findings: &mut Findings) {
    let find = |word: &str| statement.words.iter().find(|w| w.lower == word);
    // `when a key turns, the door opens` states the result without the word `then`.
    let implied = |from: &str| find(from).is_some_and(|word| statement.text[word.end..].contains([',', '→', ';', ':']));
    let states = find("then").is_some() || implied("when") || implied("given");
    let modal = |w: &Word<'_>| is_one_of("must shall should will can", &w.lower);
    // A scenario without any of the words has another form.
    let formal = find("given").is_some() && find("when").is_some();
    if formal && !states && !statement.words.iter().any(modal) {
        findings.push(
            &INCOMPLETE_SCENARIO,
            statement.place(statement.text),
            "the scenario has no Then",
            "add **Then** with what must be seen, so that it can be tested as written",
        );
    }
}

/// Adds a finding for a criterion that states a preference or a quality. One that states a fact can be observed.
fn criterion(statement: &Statement<'_>, source: &str, findings: &mut Findings) {
    const LIKING: &str = "love enjoy enjoys happy satisfied pleased delighted feel feels perceive perceives better improved improves \
        easier simpler nicer confident trust easy intuitive useful pleasant attractive modern";
    const PEOPLE: &str = "users customers people players visitors participants they would who";
    let known = |w: &Word<'_>| !w.quoted && is_one_of(LIKING, &w.lower);
    // In `a field like this`, nobody likes anything.
    let begins = |all: &[Word<'_>]| {
        all.len() > 2 && all[1].lower == "like" && is_one_of("the it them this these their", &all[2].lower)
    };
    let likes = |pair: &[Word<'_>]| is_one_of(PEOPLE, &pair[0].lower) && is_one_of("like likes", &pair[1].lower);
    let words = &statement.words;
    let liking = words.iter().any(known) || begins(words) || words.windows(2).any(likes);
    let vague = || vague::find(statement.text, &statement.words, || Around::item(statement.with_details(source)));
    // A vague word has a finding of its own.
    if liking && vague().is_empty() {
        let summary = "the criterion describes a quality that cannot be measured";
        let remedy = "write the number that counts as success and how it is measured";
        findings.push(&UNTESTABLE_CRITERION, statement.place(statement.text), summary, remedy);
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

/// Adds one hint if nearly no requirement states an obligation or a priority. A few statements of facts among others are not unclear, and
/// an author can write all requirements as facts.
fn obligations(statements: &Statements<'_>, findings: &mut Findings) {
    const LEAST: usize = 5;
    let english: Vec<&Statement<'_>> = statements
        .of_kind(StatementKind::Requirement)
        .filter(|s| s.english && !s.words.is_empty() && !is_struck(s.text))
        // Assumptions, dependencies and risks with identifiers need no obligation.
        .filter(|s| !is_one_of("ASM DEP RISK OUT", s.location.split('-').next().unwrap_or_default()))
        .collect();
    let without: Vec<&&Statement<'_>> = english.iter().filter(|s| !obliges(s)).collect();
    if without.len() < LEAST || without.len() * 5 < english.len() * 4 {
        return;
    }
    let first = without[0];
    let place = Position { line: first.line, location: "Requirements", excerpt: "" };
    let (count, all) = (without.len(), english.len());
    let summary =
        format!("{count} of {all} requirements have neither MUST nor SHOULD; the first is {}", first.location);
    findings.hint(&NO_OBLIGATION, place, summary, "write who MUST, SHOULD or MAY do what");
}

fn obliges(statement: &Statement<'_>) -> bool {
    const MODALS: &str =
        "must shall should may will can cannot required mustn't never recommended optional needs prohibited";
    // A priority in a table says the same.
    let priority = |w: &Word<'_>| matches!(w.raw, "P0" | "P1" | "P2" | "P3" | "P4");
    statement.words.iter().any(|w| is_one_of(MODALS, &w.lower) || priority(w))
}

/// Adds a hint for each requirement that no story, scenario, edge case or criterion covers: not every one needs a scenario.
fn uncovered(spec: &Spec, statements: &Statements<'_>, findings: &mut Findings) {
    for (requirement, covered) in coverage(spec, statements) {
        if !covered {
            findings.hint(
                &UNCOVERED_REQUIREMENT,
                requirement.place(requirement.text),
                format!(
                    "stories, scenarios and criteria name most requirements, and none names or describes {}",
                    requirement.location
                ),
                format!("add a scenario for it, or name {} in the scenario that covers it", requirement.location),
            );
        }
    }
}

/// Returns each requirement that can be judged, and whether the rest of the document covers it by identifier or terms: its stories,
/// scenarios, edge cases and criteria, wherever they are. If they do not name most requirements, nothing can be judged: words alone do not
/// show whether a scenario covers a requirement.
pub(super) fn coverage<'s, 'a>(spec: &Spec, statements: &'s Statements<'a>) -> Vec<(&'s Statement<'a>, bool)> {
    /// Minimum share of requirements that the rest of the document names, in percent.
    const TRACED_PERCENT: usize = 60;
    if spec.stories.is_empty() {
        return Vec::new();
    }
    let written = spec.requirements.iter().map(|r| r.span).chain(comments(&spec.source));
    let rest = outside(&spec.source, written);
    let mut named: HashSet<String> = HashSet::new();
    for text in &rest {
        named.extend(identifiers(text, own_number(spec)).iter().filter(|i| !i.foreign).map(|i| family(&i.id)));
    }
    let judged: Vec<&Statement<'_>> =
        statements.of_kind(StatementKind::Requirement).filter(|s| !is_struck(s.text)).collect();
    let traces = |s: &Statement<'_>| {
        named.contains(&family(&s.location)) || identifiers(s.text, None).iter().any(|i| i.id.starts_with("US"))
    };
    let count = judged.iter().filter(|s| traces(s)).count();
    if count == 0 || count * 100 < judged.len() * TRACED_PERCENT {
        return Vec::new();
    }
    let mut vocabulary = Vocabulary::default();
    let mut known: HashSet<u32> = HashSet::new();
    for text in rest {
        known.extend(vocabulary.set(&words(text)));
    }
    let mut described = |s: &Statement<'_>| {
        let set = vocabulary.set(&s.words);
        set.len() < 3 || set.iter().filter(|term| known.contains(term)).count() * 2 >= set.len()
    };
    judged.into_iter().map(|s| (s, traces(s) || described(s))).collect()
}

/// Returns the comments of a document.
pub(super) fn comments(source: &str) -> impl Iterator<Item = Span> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + source[at..].find("<!--")?;
        at = source[start..].find("-->").map_or(source.len(), |len| start + len);
        Some(Span { start, end: at })
    })
}

/// Returns the parts of a document that are outside of these spans.
pub(super) fn outside(source: &str, spans: impl Iterator<Item = Span>) -> Vec<&str> {
    let mut spans: Vec<Span> = spans.collect();
    spans.sort_unstable_by_key(|span| span.start);
    let (mut found, mut at) = (Vec::new(), 0);
    for span in spans {
        found.extend(source.get(at..span.start));
        at = at.max(span.end);
    }
    found.extend(source.get(at..));
    found
}

/// Adds a hint for each entity that only its own description mentions: a data model can be more complete than the text.
fn unused_entities(spec: &Spec, statements: &Statements<'_>, findings: &mut Findings) {
    if !statements.english {
        return;
    }
    let entities: Vec<&Statement<'_>> = statements.of_kind(StatementKind::Entity).collect();
    let mut vocabulary = Vocabulary::default();
    // The number of places that contain a term: the text without the entities, and each entity.
    let mut places: HashMap<u32, usize> = HashMap::new();
    let rest = outside(&spec.source, entities.iter().map(|e| e.span)).join("\n");
    let own = entities.iter().map(|e| e.span.text(&spec.source));
    for text in std::iter::once(rest.as_str()).chain(own) {
        for term in vocabulary.set(&words(text)) {
            *places.entry(term).or_default() += 1;
        }
    }
    // `Advertiser` mentions the entity `Advertisement`.
    let start = |word: &Word<'_>| word.lower.chars().take(START).collect::<String>();
    let starts: HashSet<String> = words(&rest).iter().map(start).collect();
    for entity in entities.iter().filter(|e| e.english) {
        let name = entity.location.strip_prefix("Key Entities: ").unwrap_or_default();
        let set = vocabulary.set(&words(name));
        let named = || words(name).iter().any(|w| starts.contains(&start(w)));
        let mentioned = || set.iter().any(|term| places.get(term).is_some_and(|count| *count > 1));
        if set.is_empty() || set.len() > MAX_NAME_TERMS || mentioned() || named() {
            continue;
        }
        let summary = format!("no story, requirement or criterion mentions the entity \"{name}\"");
        findings.hint(&UNUSED_ENTITY, entity.place(name), summary, "mention it where it is used, or remove it");
    }
}
