//! Keeps texts that could not be saved in local files.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Most files with the same name in a directory.
const FILES: u32 = 1000;

/// Writes a text to a new file `<name>.<suffix>.md` in the current directory, or in the directory for temporary files if that fails.
pub fn text(name: &str, suffix: &str, text: &str) -> Result<PathBuf> {
    let temporary = std::env::temp_dir();
    write(Path::new(""), name, suffix, text)
        .or_else(|_| write(&temporary, name, suffix, text))
        .with_context(|| format!("the text cannot be written to the current directory or to {}", temporary.display()))
}

fn write(directory: &Path, name: &str, suffix: &str, text: &str) -> io::Result<PathBuf> {
    for number in 1..=FILES {
        let number = if number == 1 { String::new() } else { format!(".{number}") };
        let path = directory.join(format!("{name}.{suffix}{number}.md"));
        // `create_new` never overwrites a file, such as a text that was kept before.
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
    fn overwrites_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let first = write(directory.path(), "shop", "yours", "one").unwrap();
        let second = write(directory.path(), "shop", "yours", "two").unwrap();
        assert_eq!(second.file_name().unwrap(), "shop.yours.2.md");
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!((read(first), read(second)), ("one".to_owned(), "two".to_owned()));
    }
}
