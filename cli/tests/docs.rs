//! Checks the documentation: its manifests are valid, its commands can be parsed, its links have targets, and every reason of an attempt's
//! end is explained.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "support/manifests.rs"]
mod manifests;
#[path = "support/schema.rs"]
mod schema;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use enact_crds::document::Source;
use enact_crds::{Constitution, Plan, Specification, compile};
use enact_domain::speckit::{self, Diagnostic, Severity};
use manifests::Manifests;
use schema::Schemas;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Pages outside `docs/`.
const PAGES: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "charts/enact/README.md",
    "charts/enact/charts/enact-crds/README.md",
    "store/README.md",
    "examples/README.md",
];

/// Returns the pages that people read, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> = PAGES.iter().map(|name| root().join(name)).collect();
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

/// Returns the blocks of a page with this info string, each with its line.
fn blocks(text: &str, info: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String, bool)> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            None => {
                if let Some(found) = line.strip_prefix("```") {
                    open = Some((number + 1, String::new(), found.trim() == info));
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

/// Returns the text outside of blocks.
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
    let schemas = Schemas::load();
    let mut plans = 0;
    for (path, text) in pages() {
        for (line, block) in blocks(&text, "yaml") {
            println!("{}:{line}", path.display());
            let objects = Manifests::parse(&block);
            let is_of_enact = |object: &&Value| object["apiVersion"] == "enact.dev/v1alpha1";
            for object in objects.each().filter(is_of_enact) {
                schemas.evaluate_rules(object).unwrap();
            }
            for constitution in objects.all::<Constitution>() {
                usable(&constitution.spec.source, |text| speckit::constitution::parse(text).diagnostics);
            }
            for specification in objects.all::<Specification>() {
                if let Some(source) = &specification.spec.source {
                    usable(source, |text| speckit::spec::parse(text).diagnostics);
                }
            }
            for plan in objects.all::<Plan>() {
                runs(&plan);
                plans += 1;
            }
        }
    }
    assert!(plans > 2, "only {plans} plans were found: are the blocks still marked `yaml`?");
}

fn usable(source: &Source, parse: impl FnOnce(&[u8]) -> Vec<Diagnostic>) {
    let found = parse(source.inline.as_deref().map_or(b"", str::as_bytes));
    // A document in a ConfigMap is not part of the page.
    let wrong = found.iter().find(|d| source.inline.is_some() && d.severity == Severity::Error);
    assert_eq!(wrong, None);
}

fn runs(plan: &Plan) {
    // Planners write the tasks later.
    if plan.spec.generate.is_some() {
        return;
    }
    let name = plan.metadata.name.as_deref().unwrap();
    let document = plan.spec.source.as_ref().and_then(|source| source.inline.as_deref());
    let tasks = document.map_or_else(
        || plan.spec.tasks.clone(),
        |text| {
            let (tasks, diagnostics) = compile::from_markdown(text.as_bytes(), plan.spec.unread_tasks);
            assert_eq!(diagnostics, [], "of plan {name}");
            tasks
        },
    );
    compile::compile(name, tasks).unwrap();
}

/// The end-to-end tests and the demonstration use the files.
#[test]
fn the_guide_from_a_sentence_shows_its_examples() {
    let page = fs::read_to_string(root().join("docs/guide/from-a-sentence.md")).unwrap();
    let shown: Vec<String> = blocks(&page, "yaml").into_iter().map(|(_, block)| block).collect();
    for file in ["20-specification.yaml", "30-plan.yaml"] {
        let text = fs::read_to_string(root().join("examples/from-a-sentence").join(file)).unwrap();
        assert!(shown.contains(&text), "docs/guide/from-a-sentence.md does not show examples/from-a-sentence/{file}");
    }
}

/// Splits a line of shell into words, up to a comment, a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            ('#' | '|' | '>', None) if word.is_none() => break,
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Runs the command without a cluster. clap ends a command that it cannot parse with exit code 2.
fn parses(arguments: &[String]) -> Result<(), String> {
    let output = Command::new(env!("CARGO_BIN_EXE_enact"))
        .args(arguments)
        .current_dir(root())
        .env("KUBECONFIG", "/nonexistent")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if output.status.code() == Some(2) { Err(String::from_utf8_lossy(&output.stderr).into_owned()) } else { Ok(()) }
}

#[test]
fn commands_in_blocks_parse() {
    let mut checked = 0;
    for (path, text) in pages() {
        for (start, block) in blocks(&text, "sh") {
            for line in block.replace("\\\n", " ").lines() {
                let words = words(line);
                assert_ne!(
                    words.first().map(String::as_str),
                    Some("enact"),
                    "{}:{start}: `kubectl enact`",
                    path.display()
                );
                let [kubectl, enact, arguments @ ..] = words.as_slice() else { continue };
                if kubectl != "kubectl" || enact != "enact" {
                    continue;
                }
                parses(arguments).unwrap_or_else(|error| panic!("{}:{start}: {line}\n{error}", path.display()));
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "only {checked} commands were found");
}

#[test]
fn commands_in_sentences_exist() {
    let mut checked = 0;
    for (path, text) in pages() {
        let text = prose(&text).replace('\n', " ");
        for code in text.split('`').skip(1).step_by(2) {
            let words = words(code);
            let [kubectl, enact, command, flags @ ..] = words.as_slice() else { continue };
            if kubectl != "kubectl" || enact != "enact" || command.starts_with('-') {
                continue;
            }
            let help = help(command);
            for flag in flags.iter().filter(|word| word.starts_with('-')).filter_map(|word| word.split('=').next()) {
                let is_known = help.split(|c: char| c.is_whitespace() || c == ',').any(|word| word == flag);
                assert!(is_known, "{}: `kubectl enact {command}` has no {flag}", path.display());
            }
            checked += 1;
        }
        let subcommands = ["approve", "clarify", "diff", "edit", "history", "import", "logs", "retry", "status"];
        for command in subcommands {
            assert!(
                !text.contains(&format!("`enact {command}")),
                "{}: write `kubectl enact {command}`",
                path.display()
            );
        }
    }
    assert!(checked > 20, "only {checked} commands were found");
}

fn help(command: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_enact")).args([command, "--help"]).output().unwrap();
    assert!(output.status.success(), "`kubectl enact {command}` does not exist");
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

/// Returns the anchor of a heading.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_end_of_an_attempt_is_explained() {
    let source = fs::read_to_string(root().join("domain/src/reason.rs")).unwrap();
    let page = fs::read_to_string(root().join("docs/guide/troubleshooting.md")).unwrap();
    let variants = source.split("pub enum Reason {").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap();
    let names = variants.lines().filter_map(|line| line.trim().strip_suffix(','));
    let reasons: Vec<&str> = names.filter(|name| name.chars().all(char::is_alphanumeric)).collect();
    assert!(reasons.len() > 15, "the reasons are not found any more: {reasons:?}");
    for reason in reasons {
        assert!(page.contains(&format!("| `{reason}`")), "{reason} is not in docs/guide/troubleshooting.md");
    }
}
