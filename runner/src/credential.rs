//! A [Git credential helper](https://git-scm.com/docs/gitcredentials) that reads the mounted Secret.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Answers `get` from the mounted Secret. `store` and `erase` do nothing: the Secret is read-only.
pub(crate) fn answer(directory: &Path, operation: &str, mut out: impl Write) -> io::Result<()> {
    if operation != "get" {
        return Ok(());
    }
    let read = |key: &str| fs::read_to_string(directory.join(key)).ok();
    if let Some(password) = read("password") {
        // A server that authenticates by token accepts any user name except an empty one.
        let username = read("username").unwrap_or_else(|| "git".into());
        for (key, value) in [("username", &username), ("password", &password)] {
            let value = value.trim_end_matches(['\r', '\n']);
            // A line break would let the value add lines of its own to the protocol, such as another host.
            if value.contains(['\n', '\0']) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("key `{key}` of the Secret must have one line"),
                ));
            }
            writeln!(out, "{key}={value}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(files: &[(&str, &str)], operation: &str) -> io::Result<String> {
        let directory = tempfile::tempdir()?;
        for (name, content) in files {
            fs::write(directory.path().join(name), content)?;
        }
        let mut out = Vec::new();
        answer(directory.path(), operation, &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn the_mounted_secret_is_the_answer() {
        let secret = [("username", "bot\n"), ("password", "p w\n")];
        assert_eq!(answered(&secret, "get").unwrap(), "username=bot\npassword=p w\n");
        assert_eq!(answered(&[("password", "token")], "get").unwrap(), "username=git\npassword=token\n");
        assert_eq!(answered(&secret, "store").unwrap(), "");
        assert_eq!(answered(&[], "get").unwrap(), "");
        assert!(answered(&[("password", "a\nprotocol=b")], "get").is_err());
    }
}
