//! Drift of specifications: as JSON, and as a table.

use std::collections::BTreeSet;
use std::iter;

use enact_domain::revisions::drift::{ChangedFile, TaskDrift};
use serde::Serialize;

use crate::text::{aligned, fit, one_line, some};

/// Most columns of a cell with untrusted text.
const MAX_CELL_WIDTH: usize = 60;
/// Most names in one cell.
const MAX_NAMES: usize = 3;
/// Number of hex digits of a commit in the table.
const SHORT_COMMIT: usize = 8;

/// The drift of the specifications of a namespace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub namespace: String,
    /// The commit of the repository that plans are compared with.
    pub head: String,
    /// Specifications with finished plans, by name.
    pub specifications: Vec<SpecificationDrift>,
}

/// The drift of a specification.
#[derive(Debug, Serialize)]
pub struct SpecificationDrift {
    pub name: String,
    /// Its finished plans, by name.
    pub plans: Vec<PlanDrift>,
}

/// What changed since a plan.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanDrift {
    pub name: String,
    /// Commit from which on changes count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why its changes are unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Tasks with changed files, in the order of their IDs.
    pub tasks: Vec<AffectedTask>,
}

/// A task whose files were changed.
#[derive(Debug, Serialize)]
pub struct AffectedTask {
    #[serde(flatten)]
    pub drift: TaskDrift,
    pub title: String,
    /// IDs of the requirements that it serves.
    pub requirements: Vec<String>,
}

impl Report {
    /// Returns a row for each task with changed files.
    pub fn table(&self) -> Vec<String> {
        const TITLES: [&str; 7] = ["SPECIFICATION", "PLAN", "TASK", "REQUIREMENTS", "FILES", "TESTS", "COMMITS"];
        let mut rows = vec![TITLES.map(str::to_owned).to_vec()];
        for SpecificationDrift { name, plans } in &self.specifications {
            for plan in plans {
                let own =
                    plan.tasks.iter().map(|task| [vec![one_line(name), one_line(&plan.name)], task.cells()].concat());
                rows.extend(own);
            }
        }
        aligned(rows)
    }

    /// Returns the plans of all specifications.
    pub fn plans(&self) -> impl Iterator<Item = &PlanDrift> {
        self.specifications.iter().flat_map(|specification| &specification.plans)
    }
}

impl AffectedTask {
    fn cells(&self) -> Vec<String> {
        let Self { drift: TaskDrift { id, files, more, .. }, requirements, .. } = self;
        let name =
            |file: &ChangedFile| format!("{}{}", one_line(&file.path), if file.removed { " (removed)" } else { "" });
        let names: Vec<String> = files.iter().map(name).collect();
        let commits: BTreeSet<&str> = files.iter().flat_map(|file| &file.commits).map(String::as_str).collect();
        let commits: Vec<String> =
            commits.into_iter().map(|id| id.get(..SHORT_COMMIT).unwrap_or(id).to_owned()).collect();
        let tests = |removed: bool| files.iter().filter(|file| file.test && file.removed == removed).count();
        let tests = match (tests(false), tests(true)) {
            (0, 0) => "-".to_owned(),
            (changed, 0) => format!("{changed} changed"),
            (0, removed) => format!("{removed} removed"),
            (changed, removed) => format!("{changed} changed, {removed} removed"),
        };
        let requirements = if requirements.is_empty() { "-".to_owned() } else { cell(requirements, 0) };
        vec![one_line(id), requirements, cell(&names, *more), tests, cell(&commits, 0)]
    }
}

/// Returns the first names, and the number of the others, which are `more` than those in the list.
fn cell(names: &[String], more: usize) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).chain(iter::repeat_n("", more)).collect();
    fit(&some(&names, MAX_NAMES), MAX_CELL_WIDTH)
}

#[cfg(test)]
mod tests {
    use enact_domain::revisions::drift::Basis;

    use super::*;

    #[test]
    fn table_has_no_control_characters() {
        let file = |path: &str, removed, test| ChangedFile {
            path: path.into(),
            removed,
            test,
            commits: vec!["abcdef0123".into()],
        };
        let files = vec![
            file("a\u{1b}[2J\n.rs", false, false),
            file("tests/b.rs", true, true),
            file("tests/c.rs", false, true),
        ];
        let drift = TaskDrift { id: "T001".into(), basis: Basis::Commits, files, more: 7 };
        let task = AffectedTask { drift, title: "t".into(), requirements: vec!["FR-001".into(), "FR-002".into()] };
        let plan = PlanDrift { name: "shop".into(), tasks: vec![task], ..PlanDrift::default() };
        let specifications = vec![SpecificationDrift { name: "cart".into(), plans: vec![plan] }];
        let report = Report { namespace: "demo".into(), head: "h".into(), specifications };
        let row = |cells: [&str; 7]| {
            let widths = [15, 6, 6, 16, 56, 22, 0];
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect::<String>()
        };
        let files = "a [2J .rs, tests/b.rs (removed), tests/c.rs and 7 more";
        let titles = ["SPECIFICATION", "PLAN", "TASK", "REQUIREMENTS", "FILES", "TESTS", "COMMITS"];
        let cells = ["cart", "shop", "T001", "FR-001, FR-002", files, "1 changed, 1 removed", "abcdef01"];
        assert_eq!(report.table(), [row(titles), row(cells)]);
    }
}
