//! Analysis of real documents, if they exist: beside the repository, or in the directory that `ENACT_CORPUS` names.

#[path = "support/corpus.rs"]
mod corpus;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use enact_domain::analysis::{
    self, Category, FINDING_KINDS, Finding, MAX_FINDINGS, QuestionOrigin, Report, Severity, Sketch, TaskText,
};
use enact_domain::speckit::tasks::{PhaseKind, TasksFile};
use enact_domain::speckit::{StoryKey, constitution, spec, tasks};

/// Returns the files of this name below a directory, in order.
fn files(root: &Path, name: &str) -> Vec<PathBuf> {
    corpus::files(root, |path| path.ends_with(name))
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("the corpus can be read")
}

/// The number of findings by code. Prints the findings if `ENACT_FINDINGS` is set, for review by a person.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    fn take(&mut self, place: &Path, source: &str, findings: &[Finding]) {
        let lines: Vec<&str> = source.lines().collect();
        for finding in findings {
            let known = FINDING_KINDS.iter().any(|r| r.code == finding.code && r.severity == finding.severity);
            assert!(known || finding.category == Category::Format, "{}: {finding:?}", place.display());
            let line = usize::try_from(finding.line).expect("a line is a number");
            assert!(line <= lines.len().max(1), "{}: {finding:?}", place.display());
            *self.0.entry(finding.code).or_default() += 1;
            if std::env::var_os("ENACT_FINDINGS").is_some() {
                let text = line.checked_sub(1).and_then(|at| lines.get(at)).unwrap_or(&"");
                let Finding { code, severity, location, summary, .. } = finding;
                println!("{code}\t{severity}\t{}:{line}\t{location}\t{summary}\t{text}", place.display());
            }
        }
    }
}

fn sound(place: &Path, report: &Report, again: &Report) {
    assert_eq!(report, again, "{}: the same bytes, other findings", place.display());
    assert!(report.findings.len() <= MAX_FINDINGS && report.quality.score <= 100);
    assert_eq!(report.quality.parts.iter().map(|p| u32::from(p.weight)).sum::<u32>(), 100);
}

/// Returns the tasks of a file with their stories, from tags and phases.
fn stories(file: &TasksFile) -> Vec<(String, String)> {
    let of_phase = |phase: usize| match file.phases.get(phase).map(|p| &p.kind) {
        Some(PhaseKind::Story(key)) => Some(key.as_str()),
        _ => None,
    };
    let one = |task: &tasks::Task| {
        let details = task.details.iter().map(|d| d.text.as_str()).collect::<Vec<_>>().join("\n");
        let stories =
            task.stories.iter().map(StoryKey::as_str).chain(of_phase(task.phase)).collect::<Vec<_>>().join(" ");
        (details, stories)
    };
    file.tasks.iter().map(one).collect()
}

#[test]
fn analysis_of_real_specifications_is_stable() {
    let Some(root) = corpus::root() else { return };
    let mut tally = Tally::default();
    let (mut documents, mut statements) = (0, 0);
    for path in files(&root, "spec.md") {
        let bytes = read(&path);
        let parsed = spec::parse(&bytes);
        let report = analysis::specification(&parsed);
        sound(&path, &report, &analysis::specification(&spec::parse(&bytes)));
        tally.take(&path, &parsed.model.source, &report.findings);
        documents += 1;
        statements += parsed.model.requirements.len() + parsed.model.success_criteria.len();

        let questions = analysis::questions(&parsed, &report);
        assert_eq!(
            questions.iter().filter(|q| q.origin == QuestionOrigin::Marker).count(),
            parsed.model.open_questions.len()
        );
        assert!(questions.iter().all(|q| q.options.len() != 1 && q.options.len() <= 5));
        let sketch = Sketch::new(&parsed.model);
        let mirrored = analysis::overlap(&sketch, &sketch);
        assert!(mirrored.iter().all(|s| s.similarity == 100), "{}: {mirrored:?}", path.display());

        let beside = path.with_file_name("tasks.md");
        if beside.is_file() {
            let file = tasks::parse(&read(&beside)).model;
            let texts = stories(&file);
            let text = |(task, (details, story)): (&'_ tasks::Task, &'_ (String, String))| -> (String, String, String, String) {
                (task.id.to_string(), task.title.clone(), details.clone(), story.clone())
            };
            let owned: Vec<_> = file.tasks.iter().zip(&texts).map(text).collect();
            let tasks: Vec<TaskText<'_>> =
                owned.iter().map(|(id, title, text, story)| TaskText { id, title, text, story: Some(story) }).collect();
            let coverage = analysis::coverage(&parsed.model, &tasks);
            assert_eq!(coverage, analysis::coverage(&parsed.model, &tasks));
            assert_eq!(coverage.requirements.len(), parsed.model.requirements.len());
            tally.take(&path, &parsed.model.source, &coverage.findings);
        }
    }
    println!("{documents} specifications with {statements} requirements and criteria: {:#?}", tally.0);
    // The authors of these documents have reviewed them, so a check with many findings is probably wrong.
    for (code, count) in &tally.0 {
        assert!(*count <= statements / 10, "{code}: {count} findings about {statements} statements");
    }
}

#[test]
fn constitutions_do_not_conflict_with_their_own_specs() {
    let Some(root) = corpus::root() else { return };
    let mut tally = Tally::default();
    for path in files(&root, "constitution.md") {
        let bytes = read(&path);
        let parsed = constitution::parse(&bytes);
        let report = analysis::constitution(&parsed);
        sound(&path, &report, &analysis::constitution(&constitution::parse(&bytes)));
        tally.take(&path, &parsed.model.source, &report.findings);
        let project =
            path.strip_prefix(&root).ok().and_then(|p| p.components().next()).expect("a file is in a project");
        for spec in files(&root.join(project), "spec.md") {
            let model = spec::parse(&read(&spec)).model;
            let conflicts = analysis::constitution_conflicts(&model, &parsed.model);
            assert!(conflicts.iter().all(|f| f.severity == Severity::Critical));
            tally.take(&spec, &model.source, &conflicts);
        }
    }
    println!("{:#?}", tally.0);
    assert!(
        !tally.0.contains_key("ForbiddenByConstitution") && !tally.0.contains_key("RefusesConstitution"),
        "{:?}",
        tally.0
    );
}
