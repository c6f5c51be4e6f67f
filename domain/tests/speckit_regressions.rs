//! Inputs that caused a bug once (the fuzz targets in `fuzz/` search for more), and every document of the corpus, if it exists.

#[path = "support/corpus.rs"]
mod corpus;
mod speckit_checks;

use std::fs;
use std::path::Path;

fn inputs(kind: &str) -> Vec<Vec<u8>> {
    let found = corpus::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/speckit_inputs").join(kind), |_| true);
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
    let Some(root) = corpus::root() else { return };
    for path in corpus::files(&root, |_| true) {
        println!("{}", path.display());
        speckit_checks::document(&fs::read(&path).expect("the corpus can be read"));
    }
}
