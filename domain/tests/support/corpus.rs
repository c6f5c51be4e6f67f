//! Real documents of public projects, if they exist: beside the repository, or in the directory that `ENACT_CORPUS` names.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the directory of the corpus. If it does not exist, prints why nothing is checked.
pub fn root() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/dev");
    let root = std::env::var_os("ENACT_CORPUS").map_or_else(beside, PathBuf::from);
    if !root.is_dir() {
        println!("skipped: no corpus at {}; set ENACT_CORPUS", root.display());
        return None;
    }
    Some(root)
}

/// Returns the selected files below a directory, in order. Panics if there are none.
pub fn files(below: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![below.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("the directory can be listed") {
            let path = entry.expect("the directory can be listed").path();
            if path.is_dir() {
                open.push(path);
            } else if wanted(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{} holds no such file", below.display());
    found
}
