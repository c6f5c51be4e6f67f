use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::*;
use crate::dirs;

/// A row of the threat model.
struct Threat {
    mitigation: String,
    shown_by: String,
}

/// Returns the threats of the page by their ids.
fn threats() -> BTreeMap<String, Threat> {
    let path = dirs::workspace().join("docs/reference/threat-model.md");
    let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut threats = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.trim_matches(['|', ' ']).split(" | ").map(str::trim).collect();
        let [id, _, mitigation, shown_by] = cells[..] else { continue };
        let Some((flow, rest)) = id.split_once('-') else { continue };
        let is_id = flow.len() == 3
            && flow.chars().all(|c| c.is_ascii_uppercase())
            && rest.starts_with(|c: char| "STRIDE".contains(c));
        if !is_id {
            continue;
        }
        let threat = Threat { mitigation: mitigation.to_owned(), shown_by: shown_by.to_owned() };
        assert!(threats.insert(id.to_owned(), threat).is_none(), "{id} is on the page twice");
    }
    threats
}

/// Returns the texts between backticks.
fn code_of(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_file(name: &str) -> bool {
    name.contains('/') && Path::new(name).extension().is_some()
}

/// Returns the files that a text names, each with the names in the parentheses behind it.
fn files_of(text: &str) -> Vec<(&str, Vec<&str>)> {
    let parts: Vec<&str> = text.split('`').collect();
    let mut files: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut is_inside = false;
    for pair in parts.chunks_exact(2) {
        let &[words, code] = pair else { continue };
        is_inside = !words.contains(')') && (is_inside || words.ends_with(" ("));
        if is_file(code) {
            files.push((code, Vec::new()));
        } else if let (true, Some((_, names))) = (is_inside, files.last_mut()) {
            names.push(code);
        }
    }
    files
}

/// Returns whether a file contains a test of this name: another function shows nothing.
fn has_test(source: &str, name: &str) -> bool {
    source.match_indices(&format!("fn {name}(")).any(|(at, _)| {
        let mut attributes = source[..at].rsplit('\n').skip(1).take_while(|line| line.trim_start().starts_with("#["));
        attributes.any(|line| line.contains("#[test]") || line.contains("::test"))
    })
}

#[test]
fn each_attack_belongs_to_a_threat_that_names_it() {
    let threats = threats();
    let mut names = BTreeSet::new();
    for case in all() {
        assert!(names.insert(case.name), "two attacks have the name {}", case.name);
        let threat =
            threats.get(case.threat).unwrap_or_else(|| panic!("{}: there is no threat {}", case.name, case.threat));
        let is_known = code_of(&threat.shown_by).any(|name| name == case.name);
        assert!(is_known, "{} does not name the attack {}", case.threat, case.name);
    }
    assert!(names.len() >= 60, "only {} attacks", names.len());
}

#[test]
fn each_threat_is_shown_or_accepted() {
    let attacks: BTreeSet<&str> = all().map(|case| case.name).collect();
    let mut unknown = Vec::new();
    for (id, threat) in threats() {
        let shown: Vec<&str> = code_of(&threat.shown_by).collect();
        let accepted = threat.shown_by.starts_with("accepted: ");
        assert_eq!(threat.mitigation == "accepted", accepted, "{id}: both columns say that it is accepted, or none");
        assert!(accepted || !shown.is_empty(), "{id}: nothing shows the mitigation");
        let files = files_of(&threat.shown_by);
        for (file, tests) in &files {
            let source = fs::read_to_string(dirs::workspace().join(file)).unwrap_or_default();
            if source.is_empty() {
                unknown.push(format!("{id}: {file}"));
            }
            if tests.is_empty() && Path::new(file).extension().is_some_and(|end| end == "rs") {
                unknown.push(format!("{id}: a test in {file}"));
            }
            unknown.extend(tests.iter().filter(|name| !has_test(&source, name)).map(|name| format!("{id}: {name}")));
        }
        let tests: BTreeSet<&str> = files.into_iter().flat_map(|(_, tests)| tests).collect();
        for name in shown.iter().filter(|name| !is_file(name) && !tests.contains(*name)) {
            // Settings that the reason of an accepted threat names.
            if !attacks.contains(name) && !accepted {
                unknown.push(format!("{id}: {name}"));
            }
        }
    }
    assert!(unknown.is_empty(), "these files, tests or attacks do not exist:\n{}", unknown.join("\n"));
}

#[test]
fn every_flow_has_threats() {
    let threats = threats();
    for flow in ["ADM", "OPR", "POD", "SRV", "GWY", "REC", "PSH", "SQL", "GIT", "NOD", "IMG"] {
        let count = threats.keys().filter(|id| id.starts_with(flow)).count();
        assert!(count >= 3, "{flow} has {count} threats");
    }
}

#[test]
fn what_is_left_out_of_the_fast_part_is_little() {
    let slow = all().filter(|case| !case.fast).count();
    assert!(slow < 10, "CI leaves {slow} attacks out");
}
