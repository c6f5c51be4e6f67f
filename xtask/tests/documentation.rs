//! Checks that files, folders and tests that ARCHITECTURE.md, CONTRIBUTING.md and the decision records mention exist; and that every
//! metric, alert and reason is documented.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Endings of files that a page can name.
const ENDINGS: [&str; 8] = [".rs", ".md", ".sql", ".toml", ".yaml", ".sh", ".json", ".txt"];

/// Documents of Spec Kit, which pages name without meaning a file of this repository.
const SPEC_KIT: [&str; 7] =
    ["constitution.md", "spec.md", "plan.md", "tasks.md", "research.md", "data-model.md", "quickstart.md"];

/// Folders that commands create, and placeholders.
const NOT_IN_GIT: [&str; 4] = ["dist/", "fuzz/artifacts/", "fuzz/corpus/documents/", "store/migrations/NNNN_what.sql"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the names in a folder.
fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Returns the pages for contributors.
fn pages() -> Vec<PathBuf> {
    let records = root().join("docs/adr");
    let mut pages: Vec<PathBuf> = names_in(&records).iter().map(|name| records.join(name)).collect();
    pages.extend(["ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    pages
}

/// Returns the texts between backticks of a line.
fn code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Returns whether a text between backticks names a path of this repository.
fn is_path(code: &str, top: &BTreeSet<String>) -> bool {
    let is_plain = code.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    if !is_plain || code.starts_with(['/', '.']) || SPEC_KIT.contains(&code) || NOT_IN_GIT.contains(&code) {
        return false;
    }
    let is_below_top = code.split_once('/').is_some_and(|(first, _)| top.contains(first));
    // `enact/` and `plan/` are prefixes of branches.
    let is_folder = code.ends_with('/') && !["enact/", "plan/"].contains(&code);
    is_below_top || is_folder || ENDINGS.iter().any(|ending| code.ends_with(ending))
}

/// Returns whether a path exists. Below a heading such as ``### `domain/` `` it can be relative to that folder, its `src/` or its `tests/`.
fn exists(path: &str, section: Option<&str>) -> bool {
    let below = |folder: &str| root().join(folder).join(path).exists();
    let in_section =
        |folder: &str| ["", "src", "tests"].iter().any(|part| root().join(folder).join(part).join(path).exists());
    below("") || section.is_some_and(in_section)
}

#[test]
fn every_named_path_exists() {
    let top = names_in(&root());
    let mut checked = 0;
    let mut missing = Vec::new();
    for page in pages() {
        let mut section: Option<String> = None;
        for (number, line) in read(&page).lines().enumerate() {
            if line.starts_with('#') {
                section = code(line).next().filter(|name| name.ends_with('/')).map(str::to_owned);
            }
            for path in code(line).filter(|code| is_path(code, &top)) {
                checked += 1;
                if !exists(path, section.as_deref()) {
                    missing.push(format!("{}:{}: {path}", page.display(), number + 1));
                }
            }
        }
    }
    assert!(checked > 100, "only {checked} paths were found");
    assert!(missing.is_empty(), "these paths do not exist:\n{}", missing.join("\n"));
}

#[test]
fn every_named_test_exists() {
    let top = names_in(&root());
    let page = read(&root().join("ARCHITECTURE.md"));
    let table = page.split("\n## Invariants\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let mut checked = 0;
    let mut missing = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let holders = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
        let sources: Vec<String> =
            code(holders).filter(|code| is_path(code, &top)).map(|path| read(&root().join(path))).collect();
        assert!(!sources.is_empty(), "no test holds this invariant: {row}");
        for test in code(holders).filter(|code| !is_path(code, &top)) {
            checked += 1;
            if !sources.iter().any(|source| source.contains(&format!("fn {test}("))) {
                missing.push(test.to_owned());
            }
        }
    }
    assert!(checked > 5, "only {checked} tests were found");
    assert!(missing.is_empty(), "these tests do not exist in the files beside them: {}", missing.join(", "));
}

#[test]
fn every_decision_record_is_listed() {
    let folder = root().join("docs/adr");
    let list = read(&folder.join("README.md"));
    for name in names_in(&folder).iter().filter(|name| *name != "README.md") {
        let title = read(&folder.join(name)).lines().next().unwrap().trim_start_matches(['#', ' ']).to_owned();
        let (number, title) = title.split_once(": ").unwrap();
        let row = format!("| [{number}]({name}) | {title} |");
        assert!(list.contains(&row), "docs/adr/README.md has no row `{row}`");
    }
}

#[test]
fn every_metric_is_documented() {
    let page = read(&root().join("docs/runbooks/alerts.md"));
    for program in ["operator", "server", "webhook", "gateway", "cache"] {
        let source = read(&root().join(program).join("src/metrics.rs"));
        let code = source.split("#[cfg(test)]").next().unwrap();
        // The gateway's names are in the comments of its fields: `enact_gateway_requests_total{route,status}`.
        let names: BTreeSet<&str> = code
            .split(['"', '`', '{'])
            .filter(|text| !text.ends_with('_'))
            .filter(|text| text.starts_with("enact_") && text.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
            .filter(|text| !["enact_server", "enact_webhook", "enact_gateway", "enact_cache"].contains(text))
            .collect();
        assert!(names.len() > 3, "only {names:?} were found in {program}");
        for name in names {
            assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/runbooks/alerts.md");
        }
    }
}

#[test]
fn every_alert_has_a_section() {
    let page = read(&root().join("docs/runbooks/alerts.md"));
    let alerts = read(&root().join("charts/enact/files/alerts.yaml"));
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 5, "only {names:?} were found");
    for name in names {
        assert!(page.contains(&format!("\n## {name}\n")), "docs/runbooks/alerts.md has no section {name}");
    }
}

/// Returns the sources of a folder without those for tests.
fn sources(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in names_in(folder) {
        let path = folder.join(&name);
        if path.is_dir() && !["tests", "testing", "snapshots"].contains(&name.as_str()) {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs" {
            found.push(read(&path).split("#[cfg(test)]").next().unwrap().to_owned());
        }
    }
    found
}

/// Returns the value of a text literal, or of the constant with this name, that `code` begins with.
fn text<'a>(code: &'a str, sources: &'a [String]) -> Option<&'a str> {
    let code = code.trim_start();
    if let Some(rest) = code.strip_prefix('"') {
        return rest.split('"').next();
    }
    let name = code.split(|c: char| !(c.is_ascii_uppercase() || c == '_')).next().filter(|name| name.len() > 1)?;
    sources.iter().find_map(|source| {
        let rest = source.split(&format!("const {name}: &str = \"")).nth(1)?;
        rest.split('"').next()
    })
}

#[test]
fn every_reason_of_a_condition_is_explained() {
    let page = read(&root().join("docs/guide/troubleshooting.md"));
    let mut sources = sources(&root().join("operator/src"));
    sources.extend(self::sources(&root().join("crds/src/documents")));
    let mut reasons = BTreeSet::new();
    for source in &sources {
        for constructor in ["Readiness::ready(", "Readiness::reconciling(", "Readiness::stalled("] {
            reasons.extend(source.split(constructor).skip(1).filter_map(|code| text(code, &sources)));
        }
    }
    assert!(reasons.len() > 20, "only {reasons:?} were found");
    let missing: Vec<&str> = reasons.into_iter().filter(|reason| !page.contains(&format!("`{reason}`"))).collect();
    assert!(missing.is_empty(), "docs/guide/troubleshooting.md does not explain {}", missing.join(", "));
}
