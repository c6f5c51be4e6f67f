//! Conflicts between a specification and a constitution, as far as words can show them.
//!
//! Only clear conflicts are reported: one text forbids an action and the other requires it, with the same verb and the same object,
//! without any condition.

use std::collections::HashMap;

use super::finding::{Finding, Position, shortened};
use super::findings::Findings;
use super::kinds::{FORBIDDEN_BY_CONSTITUTION, REFUSES_CONSTITUTION};
use super::statements::{Statement, StatementKind, Statements};
use super::text::{Word, is_one_of, terms, words};
use crate::speckit::constitution::Constitution;
use crate::speckit::spec::Spec;

/// Maximum number of actions for each verb and first word of an object.
const MAX_ACTIONS: usize = 32;

/// Maximum length of a sentence. Longer sentences are skipped: their meaning is not clear enough, and the limit bounds the time.
const MAX_SENTENCE_WORDS: usize = 80;

/// Verbs whose objects two texts name in the same way when they mean the same action.
const VERBS: &str = "use store log persist depend require expose send introduce collect include embed contain commit add bypass call \
    import rely hardcode hard-code transmit track share cache install ship access write modify delete block disable skip";

/// Words that end an object: a place, a time, a purpose or a condition follows.
const ENDS: &str =
    "in on at for with to from by as of into within during while where which that and or nor but via using through";

/// Words that indicate a condition or an exception.
const CONDITIONS: &str = "unless except without if when until before after outside only other otherwise instead beyond than directly \
    where unapproved unauthorized undocumented unnecessary unencrypted plaintext";

/// Verbs that mean the use of something if their object has a name.
const USES: &str = "use depend rely require import add include introduce";

/// An action on an object.
#[derive(Debug, PartialEq, Eq)]
struct Action {
    /// Terms of the subject; empty for a general statement.
    subject: Vec<String>,
    verb: &'static str,
    object: Vec<String>,
    /// Whether it is forbidden in general, not only in one place or for one purpose.
    denied: bool,
}

/// An action that a principle forbids or requires, with the indices of the principle and of its sentence.
type FindingKind = (Action, usize, usize);

/// Returns findings for requirements that require what a principle forbids, or forbid what it requires.
pub fn constitution_conflicts(spec: &Spec, constitution: &Constitution) -> Vec<Finding> {
    // Actions by verb and first word of the object, so that a requirement is compared only with principles that can conflict with it.
    let mut actions: HashMap<(&str, String), Vec<FindingKind>> = HashMap::new();
    for (at, principle) in constitution.principles.iter().enumerate() {
        for (number, must) in principle.musts.iter().enumerate() {
            for action in actions_of(&words(&must.text), &must.text) {
                let known = actions.entry((action.verb, action.object[0].clone())).or_default();
                if known.len() < MAX_ACTIONS {
                    known.push((action, at, number));
                }
            }
        }
    }
    let statements = Statements::new(spec);
    let mut findings = Findings::default();
    for requirement in statements.of_kind(StatementKind::Requirement).filter(|s| s.english) {
        for action in actions_of(&requirement.words, requirement.text) {
            let Some(rules) = actions.get(&(action.verb, action.object[0].clone())) else { continue };
            let conflict = |(rule, ..): &&FindingKind| {
                // A general prohibition includes all special forms; a requirement is contradicted only by the same or a more general
                // prohibition.
                let inner = if rule.denied { (&action.object, &rule.object) } else { (&rule.object, &action.object) };
                // A prohibition for one subject (the client) does not apply to another one (the server).
                let same = rule.subject.is_empty() || rule.subject.iter().any(|term| action.subject.contains(term));
                rule.denied != action.denied && same && inner.0.starts_with(inner.1)
            };
            if let Some((rule, at, number)) = rules.iter().find(conflict) {
                let principle = &constitution.principles[*at];
                let must = &principle.musts[*number];
                report(requirement, rule, (&principle.name, &must.text, must.line), &mut findings);
            }
        }
    }
    findings.finish()
}

fn report(requirement: &Statement<'_>, rule: &Action, (name, must, line): (&str, &str, u32), findings: &mut Findings) {
    let place = Position { excerpt: requirement.text, ..requirement.place("") };
    let must = shortened(must);
    if rule.denied {
        let summary =
            format!("{} requires what principle \"{name}\" forbids (line {line}): \"{must}\"", requirement.location);
        let remedy = "change the requirement, or amend the constitution";
        findings.push(&FORBIDDEN_BY_CONSTITUTION, place, summary, remedy);
    } else {
        let summary =
            format!("{} forbids what principle \"{name}\" requires (line {line}): \"{must}\"", requirement.location);
        let remedy = "change the requirement, or amend the constitution";
        findings.push(&REFUSES_CONSTITUTION, place, summary, remedy);
    }
}

/// Returns the actions of `MUST [NOT] <verb> <object>` and `<object> MUST [NOT] be <verb>ed`, and the named things that are used for them
/// (`MUST store orders in MongoDB`), if the sentence has no condition.
fn actions_of(words: &[Word<'_>], text: &str) -> Vec<Action> {
    let mut found = Vec::new();
    for sentence in sentences(words, text) {
        if sentence.len() > MAX_SENTENCE_WORDS || sentence.iter().any(|w| is_one_of(CONDITIONS, &w.lower)) {
            continue;
        }
        let modals = || sentence.iter().enumerate().filter(|(_, w)| matches!(w.lower.as_str(), "must" | "shall"));
        found.extend(modals().filter_map(|(at, _)| action_at(sentence, at, text)));
        let denied = sentence.iter().any(|w| is_one_of("not never no nor cannot neither from", &w.lower));
        if let Some((modal, _)) = modals().next().filter(|_| !denied) {
            found.extend(means(sentence, modal, text));
        }
    }
    found
}

fn action_at(sentence: &[Word<'_>], modal: usize, text: &str) -> Option<Action> {
    let mut at = modal + 1;
    let denied = sentence.get(at).is_some_and(|w| matches!(w.lower.as_str(), "not" | "never"));
    at += usize::from(denied);
    let passive = sentence.get(at).is_some_and(|w| w.lower == "be");
    at += usize::from(passive);
    let word = sentence.get(at)?;
    let verb = VERBS.split_ascii_whitespace().find(|v| is_form(v, &word.lower, passive))?;
    let rest = &sentence[at + 1..];
    let (object, after) = if passive {
        (&sentence[..modal], rest)
    } else {
        let rest = &rest[usize::from(rest.first().is_some_and(|w| is_one_of("on upon", &w.lower)))..];
        rest.split_at(phrase_len(rest, text))
    };
    // `MUST NOT store tokens in cookies` does not forbid the storage of tokens in general.
    let narrowed = after.iter().any(|w| is_one_of(ENDS, &w.lower) && !is_one_of("and or nor", &w.lower));
    if denied && narrowed {
        return None;
    }
    // An object with a number is a limit, and limits are not compared here.
    let plain = object.len() <= 6 && object.iter().all(|w| !w.is_number() && !is_one_of(ENDS, &w.lower));
    let verb = if is_named(object) && is_one_of(USES, verb) { "use" } else { verb };
    let (subject, object) = (if passive { Vec::new() } else { subject(&sentence[..modal]) }, terms(object));
    (plain && !object.is_empty()).then_some(Action { subject, verb, object, denied })
}

/// Returns the named things that a sentence uses: `in MongoDB`, `using jQuery`.
fn means(sentence: &[Word<'_>], modal: usize, text: &str) -> Vec<Action> {
    let mut found = Vec::new();
    let (before, sentence) = sentence.split_at(modal);
    for (at, _) in sentence.iter().enumerate().filter(|(_, w)| is_one_of("using with via through in on by", &w.lower)) {
        let rest = &sentence[at + 1..];
        let object = &rest[..phrase_len(rest, text).min(4)];
        let object = &object[usize::from(object.first().is_some_and(|w| is_one_of("a an the", &w.lower)))..];
        if is_named(&object[..object.len().min(1)]) {
            found.push(Action { subject: subject(before), verb: "use", object: terms(object), denied: false });
        }
    }
    found.retain(|d| !d.object.is_empty());
    found
}

/// Returns the terms of the subject of a sentence, without general words such as `system`.
fn subject(words: &[Word<'_>]) -> Vec<String> {
    const ANYBODY: &str = "service system code codebase application app product software feature implementation project developer team \
        agent contributor program platform solution engineer author maintainer everyone specification plan task";
    let anybody: Vec<String> =
        ANYBODY.split_ascii_whitespace().flat_map(|word| terms(&super::text::words(word))).collect();
    terms(words).into_iter().filter(|term| !anybody.contains(term)).collect()
}

/// Returns how many words from here on belong to one phrase: up to punctuation, a preposition or a conjunction.
fn phrase_len(words: &[Word<'_>], text: &str) -> usize {
    let ends =
        |at: &usize| is_one_of(ENDS, &words[*at].lower) || (*at > 0 && !joined(text, &words[at - 1], &words[*at]));
    (0..words.len()).find(ends).unwrap_or(words.len())
}

/// Returns whether a phrase contains a name: a capital, or inline code.
fn is_named(object: &[Word<'_>]) -> bool {
    object.iter().any(|w| w.quoted || w.raw.contains(char::is_uppercase))
}

/// Returns whether two words belong to one phrase: no punctuation between them.
fn joined(text: &str, left: &Word<'_>, right: &Word<'_>) -> bool {
    text.get(left.end..right.start).is_some_and(|gap| gap.chars().all(|c| matches!(c, ' ' | '*' | '_' | '`' | '"')))
}

fn is_form(verb: &str, word: &str, passive: bool) -> bool {
    if !passive {
        return verb == word;
    }
    let stem = verb.strip_suffix('e').unwrap_or(verb);
    word.strip_prefix(stem).is_some_and(|end| matches!(end, "ed" | "ged" | "ped" | "ted"))
        || (verb == "send" && word == "sent")
}

/// Returns the words of each sentence.
fn sentences<'w, 'a>(words: &'w [Word<'a>], text: &'a str) -> Vec<&'w [Word<'a>]> {
    let mut found = Vec::new();
    let mut start = 0;
    for at in 1..=words.len() {
        let ends = words.get(at).is_none_or(|next| text[words[at - 1].end..next.start].contains(['.', '!', '?', ';']));
        if ends {
            found.push(&words[start..at]);
            start = at;
        }
    }
    found
}
