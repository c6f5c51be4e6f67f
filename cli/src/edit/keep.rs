//! Texts of a person's that could not be saved: they stay in files.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Most files of one name in a directory.
const FILES: u32 = 1000;

/// Writes a text to a new file `<name>.<word>.md` here, or in the directory for temporary files where nothing can be written here.
///
/// # Errors
/// When there is no room at either place.
pub fn text(name: &str, word: &str, text: &str) -> Result<PathBuf> {
    let (here, elsewhere) = (PathBuf::new(), std::env::temp_dir());
    write(&here, name, word, text)
        .or_else(|_| write(&elsewhere, name, word, text))
        .with_context(|| format!("the text could be kept neither here nor in {}", elsewhere.display()))
}

fn write(directory: &Path, name: &str, word: &str, text: &str) -> io::Result<PathBuf> {
    for number in 1..=FILES {
        let number = if number == 1 { String::new() } else { format!(".{number}") };
        let path = directory.join(format!("{name}.{word}{number}.md"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => return file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map(|()| path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let first = write(directory.path(), "shop", "yours", "one").unwrap();
        let second = write(directory.path(), "shop", "yours", "two").unwrap();
        assert_eq!(second.file_name().unwrap(), "shop.yours.2.md");
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!((read(first), read(second)), ("one".to_owned(), "two".to_owned()));
    }
}
