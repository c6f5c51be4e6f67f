//! Every scenario that we publish can be used: in the folder `scenarios/`, in the examples, and on the page about the server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::path::Path;

use enact_modelsim::Scenario;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn published_scenarios_are_valid() {
    let mut count = 0;
    let entries = |folder| fs::read_dir(root().join(folder)).unwrap();
    for entry in entries("scenarios").chain(entries("../examples/model-server/scenarios")) {
        let path = entry.unwrap().path();
        let scenario = Scenario::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(path.file_stem().unwrap().to_str(), Some(scenario.name.as_str()));
        count += 1;
    }
    assert!(count > 3);
}

#[test]
fn scenarios_on_the_page_are_valid() {
    let page = fs::read_to_string(root().join("../docs/guide/model-server.md")).unwrap();
    let blocks = page.split("```text\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let scenarios: Vec<&str> = blocks.map(|(block, _)| block).filter(|block| block.starts_with("name: ")).collect();
    assert!(!scenarios.is_empty());
    for scenario in scenarios {
        Scenario::parse(scenario).unwrap();
    }
}
