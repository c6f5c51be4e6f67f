//! Content digests: an artefact is not built again from the same inputs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Collects inputs, in order, into one digest.
#[derive(Default)]
pub(crate) struct Inputs(Sha256);

impl Inputs {
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.field(text.as_bytes());
        self
    }

    /// Adds a file, or every file below a folder with its relative path, sorted by name.
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

    /// Returns the first 64 bits of the SHA-256 of all inputs, in hexadecimal: enough to distinguish versions of our own files.
    pub(crate) fn short(self) -> String {
        let digest = self.0.finalize();
        let first = digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        format!("{first:016x}")
    }

    /// Adds a field with its length, so that moving a byte from one field to the next changes the digest.
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
    fn moving_a_byte_between_fields_changes_it() {
        let digest =
            |fields: &[&str]| fields.iter().fold(Inputs::default(), |inputs, field| inputs.text(field)).short();
        assert_eq!(digest(&["ab", "c"]), digest(&["ab", "c"]));
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&["a"]), digest(&["a", ""]));
        assert_eq!(digest(&["a"]).len(), 16);
    }

    #[test]
    fn folders_include_names_and_contents() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let folder = |path: &Path| Inputs::default().path(path).unwrap().short();
        assert_eq!(folder(&source), folder(&source));
        assert_ne!(folder(&source), folder(&source.join("cluster")));
        assert!(Inputs::default().path(&source.join("none")).is_err(), "a missing input is not an empty one");
    }
}
