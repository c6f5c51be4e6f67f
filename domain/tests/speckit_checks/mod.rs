//! Properties of every document. The fuzz targets in `fuzz/` and the tests here use the same checks.

use enact_domain::speckit::edit::{self, Answer};
use enact_domain::speckit::tasks::TaskState;
use enact_domain::speckit::{Diagnostic, Item, Span, checklist, constitution, data_model, plan, research, spec, tasks};

/// Parses a document as each kind.
///
/// # Panics
///
/// If a span is outside of the document, a diagnostic has no line or remedy, or the document is not kept.
pub fn document(bytes: &[u8]) {
    let check = Check { bytes };
    let read = tasks::parse(bytes);
    check.whole(&read.model.source, &read.diagnostics);
    check.tasks(&read.model);
    let read = spec::parse(bytes);
    check.whole(&read.model.source, &read.diagnostics);
    check.spec(&read.model);
    let read = plan::parse(bytes);
    check.whole(&read.model.source, &read.diagnostics);
    let plan = &read.model;
    let spans = plan.context.iter().map(|e| (e.span, e.line)).chain(plan.complexity.iter().map(|c| (c.span, c.line)));
    spans.for_each(|(span, line)| check.span(span, line));
    let items = [&plan.title, &plan.branch, &plan.date, &plan.spec, &plan.summary];
    check.items(items.into_iter().chain([&plan.constitution_check, &plan.structure_decision]).flatten());
    let read = constitution::parse(bytes);
    check.whole(&read.model.source, &read.diagnostics);
    for principle in &read.model.principles {
        check.span(principle.span, principle.line);
        check.inside(principle.body);
        check.items(&principle.musts);
    }
    let read = research::parse(bytes);
    check.whole(&read.model.source, &read.diagnostics);
    for decision in &read.model.decisions {
        check.span(decision.span, decision.line);
        let parts = decision.decision.iter().chain(&decision.rationale).chain(&decision.alternatives);
        check.items(parts.chain(&decision.taken_from));
    }
    let read = checklist::parse(bytes);
    check.whole(&read.model.source, &read.diagnostics);
    for item in &read.model.items {
        check.span(item.span, item.line);
        check.checkbox(item.checkbox);
    }
    let read = data_model::parse(bytes);
    check.whole(&read.model.source, &read.diagnostics);
    read.model.entities.iter().for_each(|entity| check.span(entity.span, entity.line));
}

struct Check<'a> {
    bytes: &'a [u8],
}

impl Check<'_> {
    fn whole(&self, source: &str, diagnostics: &[Diagnostic]) {
        let unreadable = source.is_empty() && diagnostics.len() == 1;
        assert!(unreadable || source.as_bytes() == self.bytes, "the source is not the document");
        let lines = self.bytes.split(|byte| *byte == b'\n').count();
        for finding in diagnostics {
            assert!((1..=lines).contains(&(finding.line as usize)), "{finding:?}");
            assert!(!finding.message.is_empty() && !finding.remedy.is_empty(), "{finding:?}");
        }
        assert!(diagnostics.is_sorted_by_key(|finding| finding.line));
    }

    fn inside(&self, span: Span) {
        let text = std::str::from_utf8(self.bytes).expect("what has a span is text");
        assert!(text.get(span.start..span.end).is_some(), "{span:?} of {}", text.len());
    }

    /// Checks that a span is inside the document, and begins on this line.
    fn span(&self, span: Span, line: u32) {
        self.inside(span);
        let before = self.bytes[..span.start].split(|byte| *byte == b'\n').count();
        assert_eq!(before, line as usize, "{span:?} is not on line {line}");
    }

    fn items<'a>(&self, items: impl IntoIterator<Item = &'a Item>) {
        items.into_iter().for_each(|item| self.span(item.span, item.line));
    }

    fn checkbox(&self, span: Span) {
        self.inside(span);
        assert_eq!((self.bytes[span.start - 1], self.bytes.get(span.end) == Some(&b']')), (b'[', true));
    }

    fn tasks(&self, file: &tasks::TasksFile) {
        for task in &file.tasks {
            self.span(task.span, task.line);
            self.items(&task.details);
            task.checkbox.into_iter().for_each(|span| self.inside(span));
            assert!(task.phase < file.phases.len());
        }
        file.phases.iter().for_each(|phase| self.inside(phase.span));
        assert_eq!(file.dependencies().len(), file.tasks.len());
    }

    fn spec(&self, spec: &spec::Spec) {
        for story in &spec.stories {
            self.span(story.span, story.line);
            story.scenarios.iter().for_each(|scenario| self.span(scenario.span, scenario.line));
            self.items(&story.independent_test);
        }
        spec.requirements.iter().chain(&spec.success_criteria).for_each(|r| self.span(r.span, r.line));
        spec.clarifications.iter().for_each(|c| self.span(c.span, c.line));
        spec.entities.iter().for_each(|e| self.span(e.span, e.line));
        self.items(spec.edge_cases.iter().chain(&spec.assumptions).chain(&spec.open_questions));
        self.items([&spec.title, &spec.branch, &spec.created, &spec.status, &spec.input].into_iter().flatten());
    }
}

/// Ticks each task of a document and answers a question of it. Question and answer are the first two lines of the input.
///
/// # Panics
///
/// If an edit changes anything else, or the same edit has an effect a second time.
pub fn edits(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut parts = text.splitn(3, '\n');
    let (Some(question), Some(answer), Some(source)) = (parts.next(), parts.next(), parts.next()) else { return };
    ticks(source);
    let open = spec::parse(source.as_bytes()).model.open_questions;
    for question in open.iter().map(|q| q.text.as_str()).take(3).chain([question]) {
        answers(source, question, answer);
    }
}

fn ticks(source: &str) {
    let file = tasks::parse(source.as_bytes()).model;
    for task in file.tasks.iter().filter(|task| task.checkbox.is_some()).take(8) {
        for done in [true, false] {
            let ticked = edit::tick(source, &task.id, done).expect("a task with a box can be ticked");
            let mark = task.checkbox.expect("it has a box");
            let rest =
                ticked.strip_prefix(&source[..mark.start]).and_then(|rest| rest.strip_suffix(&source[mark.end..]));
            assert!(rest.is_some(), "more than the box of {} changed", task.id);
            assert_eq!(edit::tick(&ticked, &task.id, done).as_ref(), Ok(&ticked));
            let after = tasks::parse(ticked.as_bytes()).model;
            let state = |file: &tasks::TasksFile| {
                file.tasks.iter().map(|t| (t.id.clone(), t.title.clone())).collect::<Vec<_>>()
            };
            assert_eq!(state(&after), state(&file));
            // Struck tasks stay cancelled, and a remark such as `DEFERRED` or a sign counts while the box is empty.
            let found = after.task(&task.id).map(|t| t.state);
            let signed = !done && task.span.text(source).contains(['✅', '✓', '✔', '☑']);
            let ticked = found == Some(TaskState::Done);
            assert!(ticked == done || signed || found == Some(TaskState::Cancelled), "{found:?}");
        }
    }
}

fn answers(source: &str, question: &str, answer: &str) {
    let given = Answer { question: question.into(), answer: answer.into(), date: "2026-03-02".into() };
    let Ok(edited) = edit::answer(source, &given) else { return };
    assert_eq!(edit::answer(&edited, &given).as_ref(), Ok(&edited), "a second time");
    let (before, after) = (spec::parse(source.as_bytes()).model, spec::parse(edited.as_bytes()).model);
    let ids = |spec: &spec::Spec| {
        // An identifier that is made from a text changes with the text, which can contain the question.
        let id = |r: &spec::Requirement| if r.is_numbered() { r.id.clone() } else { String::new() };
        let requirements = spec.requirements.iter().chain(&spec.success_criteria).map(id);
        requirements.chain(spec.stories.iter().map(|s| s.key.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(ids(&before), ids(&after));
    assert!(after.open_questions.len() <= before.open_questions.len());
    assert!(after.clarifications.len() <= before.clarifications.len() + 1);
}
