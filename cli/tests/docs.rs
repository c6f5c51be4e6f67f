//! The documentation holds: its manifests are what the API takes, its commands exist, its links lead somewhere, and every end of an attempt
//! is explained.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "support/manifests.rs"]
mod manifests;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use enact_crds::document::Source;
use enact_crds::{Agent, Approval, Constitution, Plan, Specification, Tenant, compile};
use enact_domain::speckit::{self, Diagnostic, Severity};
use manifests::Manifests;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The pages that people read, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].iter().map(|name| root().join(name)).collect();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, text)
        })
        .collect()
}

/// The blocks of a page with this info string, each with its line.
fn blocks(text: &str, info: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String, bool)> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            None => {
                if let Some(said) = line.strip_prefix("```") {
                    open = Some((number + 1, String::new(), said.trim() == info));
                }
            }
            Some((start, block, wanted)) if line.starts_with("```") => {
                if *wanted {
                    found.push((*start, std::mem::take(block)));
                }
                open = None;
            }
            Some((_, block, _)) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

/// What is not in a block.
fn prose(text: &str) -> String {
    let mut inside = false;
    let kept = text.lines().filter(|line| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    kept.collect::<Vec<_>>().join("\n")
}

#[test]
fn manifests_are_what_the_api_takes() {
    let mut plans = 0;
    for (path, text) in pages() {
        for (line, block) in blocks(&text, "yaml") {
            println!("{}:{line}", path.display());
            let objects = Manifests::parse(&block);
            objects.all::<Tenant>().iter().for_each(|o| o.validate_cel().unwrap());
            objects.all::<Agent>().iter().for_each(|o| o.validate_cel().unwrap());
            objects.all::<Approval>().iter().for_each(|o| o.validate_cel().unwrap());
            for constitution in objects.all::<Constitution>() {
                constitution.validate_cel().unwrap();
                usable(&constitution.spec.source, |text| speckit::constitution::parse(text).diagnostics);
            }
            for specification in objects.all::<Specification>() {
                specification.validate_cel().unwrap();
                if let Some(source) = &specification.spec.source {
                    usable(source, |text| speckit::spec::parse(text).diagnostics);
                }
            }
            for plan in objects.all::<Plan>() {
                plan.validate_cel().unwrap();
                runs(&plan);
                plans += 1;
            }
        }
    }
    assert!(plans > 2, "only {plans} plans were found: are the blocks still marked `yaml`?");
}

fn usable(source: &Source, parse: impl FnOnce(&[u8]) -> Vec<Diagnostic>) {
    let found = parse(source.inline.as_deref().map_or(b"", str::as_bytes));
    // A document in a ConfigMap is not here.
    let wrong = found.iter().find(|d| source.inline.is_some() && d.severity == Severity::Error);
    assert_eq!(wrong, None);
}

fn runs(plan: &Plan) {
    let name = plan.metadata.name.as_deref().unwrap();
    let document = plan.spec.source.as_ref().and_then(|source| source.inline.as_deref());
    let tasks = document.map_or_else(
        || plan.spec.tasks.clone(),
        |text| {
            let (tasks, diagnostics) = compile::from_markdown(text.as_bytes());
            assert_eq!(diagnostics, [], "of plan {name}");
            tasks
        },
    );
    compile::compile(name, tasks).unwrap();
}

#[test]
fn commands_exist_with_their_flags() {
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let mut checked = 0;
    for (path, text) in pages() {
        for (start, block) in blocks(&text, "sh") {
            for line in block.replace("\\\n", " ").lines() {
                let words: Vec<&str> =
                    line.split_whitespace().take_while(|word| !word.starts_with('#') && *word != "|").collect();
                let ["enact", command, arguments @ ..] = words.as_slice() else { continue };
                let help = helps.entry((*command).to_owned()).or_insert_with(|| help(command));
                for flag in arguments.iter().filter(|word| word.starts_with('-')) {
                    let flag = flag.split('=').next().unwrap();
                    let known = help.split(|c: char| c.is_whitespace() || c == ',').any(|word| word == flag);
                    assert!(known, "{}:{start}: `enact {command}` has no {flag}", path.display());
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 5, "only {checked} commands were found");
}

fn help(command: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_enact")).args([command, "--help"]).output().unwrap();
    assert!(output.status.success(), "`enact {command}` does not exist");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn links_lead_somewhere() {
    for (path, text) in pages() {
        for link in prose(&text).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: nothing at {link}", path.display());
            if !anchor.is_empty() {
                let there = fs::read_to_string(&target).unwrap();
                let found = prose(&there).lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
                assert!(found, "{}: no heading for {link}", path.display());
            }
        }
    }
}

/// The anchor that a heading gets.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_end_of_an_attempt_is_explained() {
    let source = fs::read_to_string(root().join("domain/src/assignment.rs")).unwrap();
    let page = fs::read_to_string(root().join("docs/guide/troubleshooting.md")).unwrap();
    let reasons: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \""))
        .filter_map(|(name, rest)| (rest.strip_suffix("\",")? == name).then_some(name))
        .collect();
    assert!(reasons.len() > 15, "the reasons are not found any more: {reasons:?}");
    for reason in reasons {
        assert!(page.contains(&format!("| `{reason}`")), "{reason} is not in docs/guide/troubleshooting.md");
    }
}
