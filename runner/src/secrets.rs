//! Redaction of secrets in logs, results and reports.
//!
//! Redaction prevents accidents, such as `set -x`, `env`, or an error message with an HTTP header. It does not stop an agent that wants
//! to reveal a secret.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use enact_domain::agents::mcp::MCP_SECRET_PREFIX;
use enact_domain::assignment::{AGENT_SECRET_PREFIX, Report};

use crate::settings::Settings;

/// Replacement for a secret.
const REDACTED: &[u8] = b"***";
/// Shortest value that is redacted. Shorter values occur in ordinary text, and nobody uses a secret of five characters.
const MIN_BYTES: usize = 6;
/// Secret keys of the Git credential.
const CREDENTIAL_KEYS: [&str; 2] = ["password", "ssh-privatekey"];

/// The secrets that are mounted into this container.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    /// Files with secrets. The kubelet replaces a token before it expires, and the files of a Secret that somebody changes.
    files: Vec<PathBuf>,
    known: RwLock<Known>,
}

/// The values of secrets, also of those that were replaced: an agent may have read them before.
#[derive(Debug)]
struct Known {
    /// The content of each file when it was read last.
    contents: Vec<Vec<u8>>,
    /// Sorted by length, the longest first: of two values with the same start, the longer one must be tried first.
    values: Vec<Vec<u8>>,
    /// The bytes with which a value starts.
    starts: [bool; 256],
}

impl Default for Known {
    fn default() -> Self {
        Self { contents: Vec::new(), values: Vec::new(), starts: [false; 256] }
    }
}

impl Secrets {
    /// Loads the Git credential, the tokens, and the variables of the Agent and of its MCP servers that come from Secrets.
    pub(crate) fn load(settings: &Settings) -> Self {
        let mut files: Vec<PathBuf> =
            CREDENTIAL_KEYS.iter().map(|key| settings.git_credentials_dir.join(key)).collect();
        files.extend(
            [&settings.token_file, &settings.gateway_token_file, &settings.cache_token_file].map(PathBuf::clone),
        );
        let mut variables: Vec<Vec<u8>> = Vec::new();
        for (name, value) in std::env::vars_os() {
            let (name, value) = (name.to_string_lossy(), value.into_encoded_bytes());
            if name.starts_with(MCP_SECRET_PREFIX) {
                variables.extend(token_of(&value).map(<[u8]>::to_vec));
            } else if !name.starts_with(AGENT_SECRET_PREFIX) {
                continue;
            }
            variables.push(value);
        }
        let secrets = Self { files, known: RwLock::new(Known::of(variables.iter().map(Vec::as_slice))) };
        secrets.read_files();
        secrets
    }

    /// Returns these secrets.
    #[cfg(test)]
    pub(crate) fn of(values: &[&[u8]]) -> Self {
        Self { files: Vec::new(), known: RwLock::new(Known::of(values.iter().copied())) }
    }

    /// Adds what the files contain now.
    fn read_files(&self) {
        if self.files.is_empty() {
            return;
        }
        let contents: Vec<Vec<u8>> = self.files.iter().map(|file| std::fs::read(file).unwrap_or_default()).collect();
        if self.known().contents == contents {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.add(contents.iter().map(Vec::as_slice));
        known.contents = contents;
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the start of `pending` and redacts it. Bytes that may be the start of a secret stay in `pending`, unless this chunk is the
    /// `last` one.
    pub(crate) fn redact_stream(&self, pending: &mut Vec<u8>, last: bool) -> Vec<u8> {
        // Read each time: whatever an agent prints, it has read before.
        self.read_files();
        self.known().redact(pending, last)
    }

    pub(crate) fn redact(&self, text: &str) -> String {
        let redacted = self.redact_stream(&mut text.as_bytes().to_vec(), true);
        String::from_utf8_lossy(&redacted).into_owned()
    }

    /// Redacts message, conflicts and outputs of a report.
    pub(crate) fn redact_report(&self, report: &mut Report) {
        report.message = self.redact(&report.message);
        report.conflicts.iter_mut().chain(report.outputs.values_mut()).for_each(|text| *text = self.redact(text));
    }
}

impl Known {
    fn of<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut known = Self::default();
        known.add(texts);
        known
    }

    /// Adds secrets. It splits them into lines, because a program may print a value of several lines with indentation or in part.
    fn add<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]>) {
        let lines = texts.flat_map(|text| text.split(|byte| matches!(byte, b'\n' | b'\r')));
        let lines = lines.map(<[u8]>::trim_ascii).filter(|line| line.len() >= MIN_BYTES);
        self.values.extend(lines.map(<[u8]>::to_vec));
        self.values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.values.dedup();
        for value in &self.values {
            self.starts[usize::from(value[0])] = true;
        }
    }

    fn redact(&self, pending: &mut Vec<u8>, last: bool) -> Vec<u8> {
        let mut redacted = Vec::with_capacity(pending.len());
        let mut at = 0;
        while at < pending.len() {
            // Most bytes start no secret, and an agent may print a lot.
            let ordinary = pending[at..].iter().take_while(|byte| !self.starts[usize::from(**byte)]).count();
            redacted.extend_from_slice(&pending[at..at + ordinary]);
            at += ordinary;
            if at == pending.len() {
                break;
            }
            let rest = &pending[at..];
            // A match of a shorter value waits, too, while the bytes may still become a longer value.
            let matches = |value: &&Vec<u8>| rest.starts_with(value) || (!last && value.starts_with(rest));
            match self.values.iter().find(matches) {
                Some(value) if rest.starts_with(value) => {
                    redacted.extend_from_slice(REDACTED);
                    at += value.len();
                }
                Some(_) => break,
                None => {
                    redacted.push(rest[0]);
                    at += 1;
                }
            }
        }
        pending.drain(..at);
        redacted
    }
}

/// Returns the token of an Authorization header such as `Bearer <token>`: a program may print it without the scheme.
fn token_of(header: &[u8]) -> Option<&[u8]> {
    let space = header.iter().position(|byte| *byte == b' ')?;
    Some(&header[space + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_a_token() {
        assert_eq!(token_of(b"Bearer hunter22"), Some(&b"hunter22"[..]));
        assert_eq!(token_of(b"hunter22"), None);
    }

    fn secrets(values: &[&str]) -> Secrets {
        Secrets::of(&values.iter().map(|value| value.as_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn redacts_secrets_only() {
        let secrets = secrets(&["hunter22\n", "short", "first line\n  second line\n", "hunter22-and-more"]);
        assert_eq!(secrets.redact("a hunter22, a hunter22-and-more, short"), "a ***, a ***, short");
        assert_eq!(secrets.redact("    first line\n    second line"), "    ***\n    ***");
        assert_eq!(secrets.redact("ends with hunter22-and"), "ends with ***-and");
        assert_eq!(secrets.redact("hunter2"), "hunter2");
        assert_eq!(Secrets::default().redact("hunter22 ä"), "hunter22 ä");
    }

    #[test]
    fn redaction_does_not_depend_on_chunks() {
        let secrets = secrets(&["hunter22", "hunter22-and-more", "erhunt"]);
        let text = b"hunthunter22-and-morehunterhunter22-and-lesserhunt hunter2";
        let whole = secrets.redact_stream(&mut text.to_vec(), true);
        assert_eq!(String::from_utf8_lossy(&whole), "hunt***hunt***er22-and-less*** hunter2");
        for size in 1..text.len() {
            let (mut pending, mut redacted) = (Vec::new(), Vec::new());
            for chunk in text.chunks(size) {
                pending.extend_from_slice(chunk);
                redacted.extend(secrets.redact_stream(&mut pending, false));
            }
            redacted.extend(secrets.redact_stream(&mut pending, true));
            assert_eq!(String::from_utf8_lossy(&redacted), String::from_utf8_lossy(&whole), "chunks of {size}");
        }
    }
}
