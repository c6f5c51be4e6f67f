//! Redaction of secrets in logs, results and reports.
//!
//! Redaction prevents accidents, such as `set -x`, `env`, or an error message with an HTTP header. It does not stop an agent that wants
//! to reveal a secret.

use std::path::Path;

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
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    /// Sorted by length, the longest first: of two values with the same start, the longer one must be tried first.
    values: Vec<Vec<u8>>,
    /// The bytes with which a value starts.
    starts: [bool; 256],
}

impl Default for Secrets {
    fn default() -> Self {
        Self { values: Vec::new(), starts: [false; 256] }
    }
}

impl Secrets {
    /// Loads the Git credential, the tokens, and the variables of the Agent and of its MCP servers that come from Secrets.
    pub(crate) fn load(settings: &Settings) -> Self {
        let read = |path: &Path| std::fs::read(path).unwrap_or_default();
        let mut values: Vec<Vec<u8>> =
            CREDENTIAL_KEYS.iter().map(|key| read(&settings.git_credentials_dir.join(key))).collect();
        values.push(read(&settings.token_file));
        values.push(read(&settings.gateway_token_file));
        values.push(read(&settings.cache_token_file));
        for (name, value) in std::env::vars_os() {
            let (name, value) = (name.to_string_lossy(), value.into_encoded_bytes());
            if name.starts_with(MCP_SECRET_PREFIX) {
                values.extend(token_of(&value).map(<[u8]>::to_vec));
            } else if !name.starts_with(AGENT_SECRET_PREFIX) {
                continue;
            }
            values.push(value);
        }
        Self::new(values.iter().map(Vec::as_slice))
    }

    /// Returns these secrets.
    #[cfg(test)]
    pub(crate) fn of(values: &[&[u8]]) -> Self {
        Self::new(values.iter().copied())
    }

    /// Splits values into lines, because a program may print a value of several lines with indentation or in part.
    fn new<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let lines = values.flat_map(|value| value.split(|byte| matches!(byte, b'\n' | b'\r')));
        let mut values: Vec<Vec<u8>> =
            lines.map(<[u8]>::trim_ascii).filter(|line| line.len() >= MIN_BYTES).map(<[u8]>::to_vec).collect();
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        let mut starts = [false; 256];
        for value in &values {
            starts[usize::from(value[0])] = true;
        }
        Self { values, starts }
    }

    /// Takes the start of `pending` and redacts it. Bytes that may be the start of a secret stay in `pending`, unless this chunk is the
    /// `last` one.
    pub(crate) fn redact_stream(&self, pending: &mut Vec<u8>, last: bool) -> Vec<u8> {
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
        Secrets::new(values.iter().map(|value| value.as_bytes()))
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
