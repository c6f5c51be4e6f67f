//! The prompt for an agent that drafts a specification, and the validation of its document.

use std::fmt::Write as _;

use crate::rules::{Rule, Scope, Strength};
use crate::speckit::constitution::{Constitution, Principle};
use crate::speckit::{self, Diagnostic, Severity};
use crate::text::truncated;

/// Maximum size of the principles, and of the rules, in the prompt, in bytes.
const MAX_PRINCIPLES: usize = 16 << 10;
/// Maximum size of the previous document in the prompt, in bytes.
const MAX_PREVIOUS: usize = 16 << 10;
/// Maximum number of diagnostics in the reason why a document is not usable.
const MAX_DIAGNOSTICS: usize = 10;
/// Maximum length of a text about a document that cannot be used, in bytes.
const MAX_PROBLEM: usize = 2048;

/// The required form of the document, as a part of the prompt.
const FORM: &str = "\
The document is Markdown in the form of Spec Kit's `spec.md`, in this order:

1. The title, `# Feature Specification: <name>`, and below it one line each: `**Created**: <YYYY-MM-DD>`, `**Status**: Draft`,
   `**Input**: User description: \"<the request>\"`.
2. `## User Scenarios & Testing`: at least one `### User Story <number> - <title> (Priority: P<1 to 3>)`, the most urgent first. Each says in
   plain words who does what and why, then `**Why this priority**: …`, `**Independent Test**: …`, and below `**Acceptance Scenarios**:` a
   numbered list of `**Given** …, **When** …, **Then** …`. After the stories, `### Edge Cases` as a list.
3. `## Requirements`, `### Functional Requirements`: a list of `- **FR-001**: …`, numbered without gaps; each is one testable sentence with
   MUST. With data, `### Key Entities`: a list of `- **<name>**: …`.
4. `## Success Criteria`, `### Measurable Outcomes`: a list of `- **SC-001**: …`; each names a number that can be measured from outside.
5. `## Assumptions`: a list of what the request leaves open and you decided.

Say what is wanted and why, never how it is built: no languages, frameworks, tables or interfaces. Vague words need a measure. Where the
request allows readings that differ in scope, safety or cost, write `[NEEDS CLARIFICATION: <question>]` in the sentence, at most three times.
";

/// An attempt that produced no usable document.
#[derive(Clone, Copy, Debug)]
pub struct PreviousAttempt<'a> {
    /// Reason why the document is not usable.
    pub problem: &'a str,
    /// The document, if there was one.
    pub document: Option<&'a str>,
}

/// The effective constitution that the specification must follow.
#[derive(Clone, Copy, Debug, Default)]
pub struct EffectiveConstitution<'a> {
    /// The constitutions that bind it, the nearest first.
    pub constitutions: &'a [&'a Constitution],
    /// Rules of these constitutions.
    pub rules: &'a [&'a Rule],
}

/// Returns the prompt for an agent.
pub fn prompt(request: &str, effective: EffectiveConstitution, previous: Option<PreviousAttempt>) -> String {
    let mut text = String::from(
        "Write a feature specification from the request below, and leave it in the file that the environment variable \
         ENACT_DOCUMENT_FILE names. Nothing else that you write is kept.\n\n# The request\n\n",
    );
    text.push_str(request.trim());
    text.push_str("\n\n# The form\n\n");
    text.push_str(FORM);
    for (title, content) in [("Principles", principles(effective.constitutions)), ("Rules", rules(effective.rules))] {
        if !content.is_empty() {
            let _ =
                write!(text, "\n# {title} that it must keep\n\n{}\n", truncated(&content, MAX_PRINCIPLES).trim_end());
        }
    }
    if let Some(PreviousAttempt { problem, document }) = previous {
        let _ = write!(text, "\n# What was wrong with the previous attempt\n\n{}\n", problem.trim());
        if let Some(document) = document {
            let shown = truncated(document, MAX_PREVIOUS);
            let _ = write!(text, "\n# The previous document\n\n{shown}\n");
        }
    }
    text
}

/// Returns the principles with their texts.
fn principles(constitutions: &[&Constitution]) -> String {
    let whole = |of: &Constitution, principle: &Principle| {
        format!("## {}\n\n{}\n\n", principle.name, principle.body.text(&of.source).trim())
    };
    constitutions.iter().flat_map(|of| of.principles.iter().map(move |principle| whole(of, principle))).collect()
}

/// Returns the messages of the rules for specifications.
fn rules(rules: &[&Rule]) -> String {
    let line = |rule: &&Rule| {
        let word = if rule.strength == Strength::Must { "MUST" } else { "SHOULD" };
        format!("- {word}: {}\n", rule.message.trim())
    };
    rules.iter().filter(|rule| rule.scope == Scope::Specification).map(line).collect()
}

/// Checks that a drafted document has user stories and requirements, and no errors.
///
/// # Errors
/// The problems with lines and remedies, for the agent and for a person.
pub fn validate(document: &[u8]) -> Result<(), String> {
    let parsed = speckit::spec::parse(document);
    let (stories, requirements) = (parsed.model.stories.len(), parsed.model.requirements.len());
    let errors = parsed.errors().count();
    if errors == 0 && stories > 0 && requirements > 0 {
        return Ok(());
    }
    let summary = format!("the document has {stories} user stories, {requirements} requirements and {errors} errors");
    Err(describe(&summary, &parsed.diagnostics))
}

/// Returns the reason why a document is not usable: a summary, and the worst diagnostics with lines and remedies.
pub(crate) fn describe(summary: &str, diagnostics: &[Diagnostic]) -> String {
    let mut text = summary.to_owned();
    let mut worst: Vec<&Diagnostic> = diagnostics.iter().filter(|d| d.severity < Severity::Info).collect();
    worst.sort_by_key(|d| (d.severity, d.line));
    for diagnostic in worst.into_iter().take(MAX_DIAGNOSTICS) {
        let _ = write!(text, "\n{diagnostic}");
    }
    truncated(&text, MAX_PROBLEM).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "# Feature Specification: Cart\n\n## User Scenarios & Testing\n\n### User Story 1 - Fill it (Priority: P1)\n\nText.\n\n\
                        ## Requirements\n\n- **FR-001**: The cart MUST hold 100 articles.\n";

    #[test]
    fn a_document_with_a_story_and_a_requirement_can_be_used() {
        assert_eq!(validate(GOOD.as_bytes()), Ok(()));
    }

    #[test]
    fn an_unusable_document_has_lines_and_remedies() {
        let message = validate(b"# Feature Specification: Cart\n\nI thought about it.\n").unwrap_err();
        assert!(message.starts_with("the document has 0 user stories, 0 requirements"), "{message}");
        assert!(message.contains("\nline ") && message.contains("User Story 1"), "{message}");
        let message = validate(b"\xff").unwrap_err();
        assert!(message.contains("line 1: ") && message.contains("UTF-8"), "{message}");
    }

    #[test]
    fn the_prompt_has_request_principles_and_problem() {
        let read = |principle: &str, text: &str| {
            let document = format!("# Shop Constitution\n\n## Core Principles\n\n### I. {principle}\n\n{text}\n");
            speckit::constitution::parse(document.as_bytes()).model
        };
        let (own, platform) =
            (read("Test-First", "Tests MUST come first."), read("Privacy", "Names MUST NOT be logged."));
        let rule = |scope, strength, message: &str| Rule {
            name: "some".into(),
            scope,
            expression: "true".into(),
            message: message.into(),
            strength,
            principle: None,
        };
        let (must, should) = (
            rule(Scope::Specification, Strength::Must, "every requirement binds"),
            rule(Scope::Specification, Strength::Should, "stories are few"),
        );
        let other = rule(Scope::Plan, Strength::Must, "plans are short");
        let previous = PreviousAttempt { problem: "line 3: no story; add one", document: Some("# Nothing") };
        let effective = EffectiveConstitution { constitutions: &[&own, &platform], rules: &[&must, &should, &other] };
        let text = prompt("Sell flowers.", effective, Some(previous));
        for part in [
            "Sell flowers.",
            "ENACT_DOCUMENT_FILE",
            "Test-First",
            "Tests MUST come first.",
            "Names MUST NOT be logged.",
            "\n- MUST: every requirement binds\n- SHOULD: stories are few\n",
            "line 3",
            "# Nothing",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("plans are short"), "{text}");
        let text = prompt("Sell flowers.", EffectiveConstitution::default(), None);
        assert!(!text.contains("must keep") && !text.contains("previous"), "{text}");
    }

    #[test]
    fn a_document_of_the_required_form_has_no_warnings() {
        let marks = [
            "# Feature Specification: ",
            "**Created**: ",
            "**Status**: Draft",
            "**Input**: User description: \"",
            "## User Scenarios & Testing",
            "**Why this priority**: ",
            "**Independent Test**: ",
            "**Acceptance Scenarios**:",
            "**Given** ",
            ", **When** ",
            ", **Then** ",
            "### Edge Cases",
            "## Requirements",
            "### Functional Requirements",
            "- **FR-001**: ",
            "## Success Criteria",
            "### Measurable Outcomes",
            "- **SC-001**: ",
            "## Assumptions",
        ];
        let document = "# Feature Specification: Cart\n\n**Created**: 2026-01-01\n**Status**: Draft\n\
            **Input**: User description: \"Sell flowers.\"\n\n## User Scenarios & Testing\n\n### User Story 1 - Fill it (Priority: P1)\n\n\
            A buyer fills the cart.\n\n**Why this priority**: Nothing is sold without.\n\n**Independent Test**: Add one article.\n\n\
            **Acceptance Scenarios**:\n\n1. **Given** an empty cart, **When** an article is added, **Then** it holds one article.\n\n\
            ### Edge Cases\n\n- The cart is full.\n\n## Requirements\n\n### Functional Requirements\n\n\
            - **FR-001**: The cart MUST hold 100 articles.\n\n## Success Criteria\n\n### Measurable Outcomes\n\n\
            - **SC-001**: 95 % of buyers fill a cart within 2 minutes.\n\n## Assumptions\n\n- One currency.\n";
        for mark in marks {
            assert!(FORM.contains(mark) && document.contains(mark), "{mark}");
        }
        let diagnostics = speckit::spec::parse(document.as_bytes()).diagnostics;
        assert!(diagnostics.iter().all(|d| d.severity == Severity::Info), "{diagnostics:?}");
    }

    proptest! {
        #[test]
        fn the_problem_is_bounded(document in proptest::collection::vec(any::<u8>(), 0..2000)) {
            if let Err(message) = validate(&document) {
                prop_assert!(message.len() <= MAX_PROBLEM);
            }
        }
    }
}
