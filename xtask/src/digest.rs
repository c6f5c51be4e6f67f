//! Content digests: what was made from the same input is not made again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Collects inputs, in order, into one digest.
#[derive(Default)]
pub(crate) struct Inputs(Sha256);

impl Inputs {
    /// Adds a text.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.field(text.as_bytes());
        self
    }

    /// Adds a file, or every file below a folder with its path in it, in the order of their names.
    pub(crate) fn path(mut self, path: &Path) -> Result<Self> {
        let mut files = Vec::new();
        collect(path, &mut files).with_context(|| format!("cannot read {}", path.display()))?;
        files.sort();
        for file in files {
            self.field(file.strip_prefix(path).unwrap_or(&file).as_os_str().as_encoded_bytes());
            self.field(&fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
        }
        Ok(self)
    }

    /// The first 64 bits of SHA-256 over everything added, in hexadecimal: enough to tell versions of our own files apart.
    pub(crate) fn short(self) -> String {
        let digest = self.0.finalize();
        let first = digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        format!("{first:016x}")
    }

    /// Lengths go in too, so that moving a byte from one field to the next is a change.
    fn field(&mut self, bytes: &[u8]) {
        self.0.update(bytes.len().to_le_bytes());
        self.0.update(bytes);
    }
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else {
        files.push(path.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_moves_to_the_next_field_is_a_change() {
        let digest =
            |fields: &[&str]| fields.iter().fold(Inputs::default(), |inputs, field| inputs.text(field)).short();
        assert_eq!(digest(&["ab", "c"]), digest(&["ab", "c"]));
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&["a"]), digest(&["a", ""]));
        assert_eq!(digest(&["a"]).len(), 16);
    }

    #[test]
    fn names_and_contents_below_a_folder_count() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let folder = |path: &Path| Inputs::default().path(path).unwrap().short();
        assert_eq!(folder(&source), folder(&source));
        assert_ne!(folder(&source), folder(&source.join("cluster")));
        assert!(Inputs::default().path(&source.join("none")).is_err(), "a missing input is not an empty one");
    }
}
