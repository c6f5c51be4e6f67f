//! Inputs that once broke something (the fuzz targets in `fuzz/` look for more), and every document of the corpus where it is at hand.

mod speckit_checks;

use std::fs;
use std::path::{Path, PathBuf};

fn files(below: PathBuf) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![below]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("the directory can be listed") {
            let path = entry.expect("the directory can be listed").path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn inputs(kind: &str) -> Vec<Vec<u8>> {
    let found = files(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/speckit_inputs").join(kind));
    assert!(!found.is_empty(), "there are inputs for {kind}");
    found.iter().map(|path| fs::read(path).expect("an input can be read")).collect()
}

#[test]
fn what_once_broke_a_parser_is_read() {
    for bytes in inputs("documents") {
        speckit_checks::document(&bytes);
    }
}

#[test]
fn what_once_broke_an_edit_is_edited() {
    for bytes in inputs("edits") {
        speckit_checks::edits(&bytes);
    }
}

#[test]
fn every_file_of_the_corpus_is_read_as_every_kind() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/dev");
    let root = std::env::var_os("ENACT_CORPUS").map_or_else(beside, PathBuf::from);
    if !root.is_dir() {
        println!("skipped: no corpus at {}; set ENACT_CORPUS", root.display());
        return;
    }
    for path in files(root) {
        println!("{}", path.display());
        speckit_checks::document(&fs::read(&path).expect("the corpus can be read"));
    }
}
