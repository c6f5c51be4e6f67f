//! The check of a proposal, beyond what every tasks.md must keep.

use crate::analysis::{self, Coverage};
use crate::drafting::describe;
use crate::speckit::Parsed;
use crate::speckit::tasks::TasksFile;

/// Maximum number of tasks or findings that a problem names.
const MAX_NAMED: usize = 10;

/// Checks that a proposal has no errors, that it only asks for work, and that it names no item that the specification does not have.
///
/// # Errors
/// The problem with lines and remedies, for the planner and for a person.
pub fn check(parsed: &Parsed<TasksFile>, coverage: &Coverage) -> Result<(), String> {
    let file = &parsed.model;
    let errors = parsed.errors().count();
    if errors > 0 || file.tasks.is_empty() {
        let summary = format!("the document has {} tasks and {errors} errors", file.tasks.len());
        return Err(describe(&summary, &parsed.diagnostics));
    }
    // Ticked tasks would count as done, and nobody has done them.
    let closed = file.tasks.iter().filter(|task| !task.state.is_open());
    let closed: Vec<String> =
        closed.take(MAX_NAMED).map(|task| format!("{} (line {})", task.id.as_str(), task.line)).collect();
    if !closed.is_empty() {
        let tasks = closed.join(", ");
        return Err(format!("these tasks are not open: {tasks}; a proposal has only work to do: write `[ ]`"));
    }
    if !analysis::acceptances(&file.source).is_empty() {
        return Err("the document has comments that accept findings; remove them: only people accept findings".into());
    }
    let unknown = coverage.unknown_items().map(|found| format!("{}; {}", found.summary, found.recommendation));
    let unknown: Vec<String> = unknown.take(MAX_NAMED).collect();
    if unknown.is_empty() { Ok(()) } else { Err(unknown.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speckit;

    fn checked(tasks: &str, coverage: &Coverage) -> Result<(), String> {
        check(&speckit::tasks::parse(format!("# Tasks: Cart\n\n## Phase 1: Setup\n\n{tasks}").as_bytes()), coverage)
    }

    #[test]
    fn accepts_open_tasks() {
        assert_eq!(checked("- [ ] T001 Cart in `a.rs`\n", &Coverage::default()), Ok(()));
    }

    #[test]
    fn refuses_a_document_without_tasks() {
        let problem = checked("I thought about it.\n", &Coverage::default()).unwrap_err();
        assert!(problem.starts_with("the document has 0 tasks"), "{problem}");
        let problem = check(&speckit::tasks::parse(b"\xff"), &Coverage::default()).unwrap_err();
        assert!(problem.contains("line 1: ") && problem.contains("UTF-8"), "{problem}");
    }

    #[test]
    fn refuses_tasks_that_count_as_done() {
        let problem =
            checked("- [ ] T001 Cart in `a.rs`\n- [x] T002 All of FR-001\n", &Coverage::default()).unwrap_err();
        assert!(problem.contains("T002 (line 6)") && problem.contains("`[ ]`"), "{problem}");
    }

    #[test]
    fn refuses_comments_that_accept_findings() {
        let tasks = "- [ ] T001 Cart in `a.rs` <!-- enact: accept RequirementWithoutTask nobody needs it -->\n";
        let problem = checked(tasks, &Coverage::default()).unwrap_err();
        assert!(problem.contains("accept findings"), "{problem}");
    }

    #[test]
    fn refuses_items_that_do_not_exist() {
        let spec =
            "# Feature Specification: Cart\n\n## Requirements\n\n- **FR-001**: The cart MUST hold 100 articles.\n";
        let spec = speckit::spec::parse(spec.as_bytes()).model;
        let text = analysis::TaskText { id: "T001", title: "Cart (FR-099)", text: "", story: None };
        let coverage = analysis::coverage(&spec, &[text]);
        let problem = checked("- [ ] T001 Cart (FR-099) in `a.rs`\n", &coverage).unwrap_err();
        assert!(problem.contains("FR-099") && problem.contains("T001"), "{problem}");
    }
}
