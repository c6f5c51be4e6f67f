//! What nobody may read in a log: it is replaced wherever it would be printed, stored or reported.
//!
//! An agent that means to give a secret away finds another way. This is for what happens by mistake: `set -x`, `env`, an error message
//! with a header in it.

use std::path::Path;

use enact_domain::assignment::{AGENT_SECRET_PREFIX, Report};

use crate::settings::Settings;

/// What stands in the place of a secret.
const HIDDEN: &[u8] = b"***";
/// Shorter values are words of their own, and hiding them would spoil the text: nobody keeps a secret of five characters.
const MIN_BYTES: usize = 6;
/// Keys of the Git credential that are secret.
const CREDENTIAL_KEYS: [&str; 2] = ["password", "ssh-privatekey"];

/// The secrets within reach of this container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets {
    /// The longest first, so that of two that begin alike the longer is hidden whole.
    values: Vec<Vec<u8>>,
}

impl Secrets {
    /// The Git credential, the token, and what the operator passes to the agent from Secrets.
    pub(crate) fn known(settings: &Settings) -> Self {
        let read = |path: &Path| std::fs::read(path).unwrap_or_default();
        let mut values: Vec<Vec<u8>> =
            CREDENTIAL_KEYS.iter().map(|key| read(&settings.git_credentials_dir.join(key))).collect();
        values.push(read(&settings.token_file));
        let passed = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(AGENT_SECRET_PREFIX));
        values.extend(passed.map(|(_, value)| value.into_encoded_bytes()));
        Self::of(values.iter().map(Vec::as_slice))
    }

    /// A value of several lines is hidden line by line: it may be printed with an indentation, or in part.
    fn of<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let lines = values.flat_map(|value| value.split(|byte| matches!(byte, b'\n' | b'\r')));
        let mut values: Vec<Vec<u8>> =
            lines.map(<[u8]>::trim_ascii).filter(|line| line.len() >= MIN_BYTES).map(<[u8]>::to_vec).collect();
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        Self { values }
    }

    /// Takes from the front of `pending` all that can be said, without secrets. Unless it is the `last`, what may be the beginning of a
    /// secret stays.
    pub(crate) fn pass(&self, pending: &mut Vec<u8>, last: bool) -> Vec<u8> {
        let mut passed = Vec::with_capacity(pending.len());
        let mut at = 0;
        while at < pending.len() {
            let rest = &pending[at..];
            // What may still become the longer of two is waited for.
            let begins = |value: &&Vec<u8>| rest.starts_with(value) || (!last && value.starts_with(rest));
            match self.values.iter().find(begins) {
                Some(value) if rest.starts_with(value) => {
                    passed.extend_from_slice(HIDDEN);
                    at += value.len();
                }
                Some(_) => break,
                None => {
                    passed.push(rest[0]);
                    at += 1;
                }
            }
        }
        pending.drain(..at);
        passed
    }

    /// The text without secrets.
    pub(crate) fn hide(&self, text: &str) -> String {
        let hidden = self.pass(&mut text.as_bytes().to_vec(), true);
        String::from_utf8_lossy(&hidden).into_owned()
    }

    /// Hides them in all that a report says.
    pub(crate) fn hide_in(&self, report: &mut Report) {
        report.message = self.hide(&report.message);
        report.conflicts.iter_mut().chain(report.outputs.values_mut()).for_each(|text| *text = self.hide(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[&str]) -> Secrets {
        Secrets::of(values.iter().map(|value| value.as_bytes()))
    }

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        let secrets = secrets(&["hunter22\n", "short", "first line\n  second line\n", "hunter22-and-more"]);
        assert_eq!(secrets.hide("a hunter22, a hunter22-and-more, short"), "a ***, a ***, short");
        assert_eq!(secrets.hide("    first line\n    second line"), "    ***\n    ***");
        assert_eq!(secrets.hide("ends with hunter22-and"), "ends with ***-and");
        assert_eq!(secrets.hide("hunter2"), "hunter2");
        assert_eq!(Secrets::default().hide("hunter22 ä"), "hunter22 ä");
    }

    #[test]
    fn it_does_not_matter_how_a_text_is_cut() {
        let secrets = secrets(&["hunter22", "hunter22-and-more", "erhunt"]);
        let text = b"hunthunter22-and-morehunterhunter22-and-lesserhunt hunter2";
        let whole = secrets.pass(&mut text.to_vec(), true);
        assert_eq!(String::from_utf8_lossy(&whole), "hunt***hunt***er22-and-less*** hunter2");
        for size in 1..text.len() {
            let (mut pending, mut passed) = (Vec::new(), Vec::new());
            for chunk in text.chunks(size) {
                pending.extend_from_slice(chunk);
                passed.extend(secrets.pass(&mut pending, false));
            }
            passed.extend(secrets.pass(&mut pending, true));
            assert_eq!(String::from_utf8_lossy(&passed), String::from_utf8_lossy(&whole), "chunks of {size}");
        }
    }
}
