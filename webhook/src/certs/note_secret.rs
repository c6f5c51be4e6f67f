//! The secret in the path of notes, by which the webhook recognises the API server.
//!
//! It is in the webhook configuration, which the webhook writes and administrators read. Only the path of notes has one: the API server shows
//! the URL of a webhook that fails to whoever made the request, except of one that it ignores.

use enact_domain::digest::Digest;
use tokio::sync::watch;

/// The secret that calls for notes need; clones share it. There is none when another program writes the webhook configurations.
#[derive(Clone, Debug)]
pub struct NoteSecret(watch::Sender<Option<Digest>>);

impl Default for NoteSecret {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl NoteSecret {
    /// Requires this secret from now on.
    pub fn replace(&self, secret: &str) {
        self.0.send_replace(Some(Digest::of_bytes(secret.as_bytes())));
    }

    /// Returns whether a call with this secret in its path may leave a note.
    pub fn accepts(&self, given: Option<&str>) -> bool {
        // Digests are compared, so that the time of a comparison reveals nothing about the secret.
        *self.0.borrow() == given.map(|given| Digest::of_bytes(given.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_needs_the_secret_if_there_is_one() {
        let secret = NoteSecret::default();
        assert!(secret.accepts(None) && !secret.accepts(Some("a")));
        secret.clone().replace("a");
        assert!(secret.accepts(Some("a")));
        assert!(!secret.accepts(None) && !secret.accepts(Some("b")) && !secret.accepts(Some("")));
    }
}
