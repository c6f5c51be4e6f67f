//! Checkpoints: what an attempt that did not succeed leaves for the next one, its unfinished work and the session of its agent.
//!
//! The runner of the attempt sends the checkpoint to the server, and the runner of the next attempt reads it there, on any node.

use serde::{Deserialize, Serialize};

use crate::assignment::{Usage, check_ref};
use crate::digest::Digest;
use crate::reason::Reason;

/// Maximum size of the packed files of a session, in bytes.
pub const MAX_ARCHIVE_BYTES: usize = 4 << 20;
/// Maximum size of the files of a session together, in bytes.
pub const MAX_UNPACKED_BYTES: usize = 32 << 20;
/// Maximum number of files of a session.
pub const MAX_SESSION_FILES: usize = 2000;
/// Maximum size of a bundle with unfinished work, in bytes.
pub const MAX_BUNDLE_BYTES: usize = 4 << 20;
/// Maximum size of a checkpoint as JSON, in bytes: archive and bundle as base64, and the rest.
pub const MAX_CHECKPOINT_BYTES: usize =
    MAX_ARCHIVE_BYTES.div_ceil(3) * 4 + MAX_BUNDLE_BYTES.div_ceil(3) * 4 + (16 << 10);
/// Maximum length of a name or an ID in a checkpoint, in bytes.
const MAX_TEXT: usize = 512;

/// What an attempt leaves for the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Number of the attempt that left it.
    pub attempt: u32,
    /// The unfinished work; none if the agent changed no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<UnfinishedWork>,
    /// The session of the agent; none if it must not, or cannot, be resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SavedSession>,
    /// Number of the last message of a person that the session got; 0 for none.
    #[serde(default)]
    pub last_message: u64,
    /// The files of the session, as tar, gzip and base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// The commits of the work as a Git bundle in base64, if they could not be pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
}

/// Work that has not passed, on the branch of its attempt or in a bundle. It is never merged; only the next attempt at the same task takes
/// it over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnfinishedWork {
    /// Branch of the attempt.
    pub branch: String,
    /// Commit with the work: 40 or 64 hex digits.
    pub commit: String,
    /// Commit that the attempt started from: an ancestor of `commit`.
    pub base: String,
}

/// A session of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedSession {
    /// The ID by which the program resumes it.
    pub id: String,
    /// Name of the Agent. Another one cannot resume the session.
    pub agent: String,
    /// Digest of the adapter's definition. Another adapter cannot resume the session.
    pub adapter: Digest,
    /// Digest of the task's prompt, which the session knows.
    pub prompt: Digest,
    /// What the program reports about the whole session so far.
    #[serde(default, skip_serializing_if = "Usage::is_empty")]
    pub usage: Usage,
}

impl Checkpoint {
    /// Checks the values that reach Git or a program, and their sizes. The archive is checked when it is unpacked.
    ///
    /// # Errors
    /// The first problem, for a person.
    pub fn check(&self) -> Result<(), String> {
        if self.attempt == 0 {
            return Err("attempt must be at least 1".into());
        }
        if let Some(work) = &self.work {
            check_ref(&work.branch).map_err(|error| error.to_string())?;
            for (field, commit) in [("commit", &work.commit), ("base", &work.base)] {
                if !is_commit(commit) {
                    return Err(format!("work.{field} must be 40 or 64 lower-case hex digits"));
                }
            }
        }
        if let Some(session) = &self.session {
            for (field, text) in [("id", &session.id), ("agent", &session.agent)] {
                if !is_session_id(text) {
                    return Err(format!(
                        "session.{field} must have 1 to {MAX_TEXT} bytes, without control characters and without `-` at its start"
                    ));
                }
            }
            if !session.adapter.is_valid() || !session.prompt.is_valid() {
                return Err("session.adapter and session.prompt must be sha256: and 64 lower-case hex digits".into());
            }
        }
        if self.session.is_some() != self.archive.is_some() {
            return Err("session and archive must be given together".into());
        }
        if self.work.is_none() && self.session.is_none() {
            return Err("it must have work or a session".into());
        }
        if self.bundle.is_some() && self.work.is_none() {
            return Err("a bundle must be given with its work".into());
        }
        Ok(())
    }
}

/// Returns whether a text can be the ID of a session. One that begins with a dash would be an option of the program.
pub fn is_session_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && !text.starts_with('-') && !text.chars().any(char::is_control)
}

fn is_commit(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    matches!(text.len(), 40 | 64) && text.bytes().all(hex)
}

/// Returns whether the next attempt may resume the session of an attempt that ended for this reason. A session that made its program crash
/// would do so again, and a model that refused the work sees its refusal in the session.
pub fn is_resumable(reason: Reason) -> bool {
    !matches!(reason, Reason::AgentCrashed | Reason::Refused | Reason::Killed | Reason::Succeeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            attempt: 1,
            work: Some(UnfinishedWork {
                branch: "enact/shop-5f0c1a2b/t001-1".into(),
                commit: "a".repeat(40),
                base: "b".repeat(40),
            }),
            session: Some(SavedSession {
                id: "s-1".into(),
                agent: "scribe".into(),
                adapter: Digest::of_bytes(b"adapter"),
                prompt: Digest::of_bytes(b"prompt"),
                usage: Usage::default(),
            }),
            last_message: 0,
            archive: Some(String::new()),
            bundle: None,
        }
    }

    #[test]
    fn hostile_values_are_refused() {
        let refused = |change: &dyn Fn(&mut Checkpoint)| {
            let mut changed = checkpoint();
            change(&mut changed);
            changed.check().expect_err("it is refused")
        };
        assert_eq!(checkpoint().check(), Ok(()));
        assert!(refused(&|c| c.attempt = 0).contains("attempt"));
        let work = |c: &mut Checkpoint, change: fn(&mut UnfinishedWork)| change(c.work.as_mut().unwrap());
        assert!(refused(&|c| work(c, |work| work.branch = "--upload-pack=x".into())).contains("Git revision"));
        assert!(refused(&|c| work(c, |work| work.commit = "HEAD".into())).contains("work.commit"));
        assert!(refused(&|c| work(c, |work| work.base = "A".repeat(40))).contains("work.base"));
        let session = |c: &mut Checkpoint, id: &str| c.session.as_mut().unwrap().id = id.into();
        for id in ["", "--config=x", "a\nb", &"x".repeat(600)] {
            assert!(refused(&|c| session(c, id)).contains("session.id"), "{id}");
        }
        assert!(refused(&|c| c.archive = None).contains("together"));
        let bundle = |c: &mut Checkpoint| (c.work, c.bundle) = (None, Some(String::new()));
        assert!(refused(&bundle).contains("with its work"));
        let nothing = |c: &mut Checkpoint| (c.work, c.session, c.archive) = (None, None, None);
        assert!(refused(&nothing).contains("work or a session"));
    }

    #[test]
    fn a_crashed_session_is_not_resumed() {
        for reason in [Reason::ProviderQuota, Reason::BudgetExceeded, Reason::TurnLimit, Reason::GateFailed] {
            assert!(is_resumable(reason), "{reason:?}");
        }
        assert!(!is_resumable(Reason::AgentCrashed) && !is_resumable(Reason::Refused));
    }
}
