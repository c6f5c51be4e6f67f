//! Notes about deletions. The watch of an object tells the operator that it was deleted, but not by whom; the webhook sees who asks, but keeps
//! no record. It leaves a note in a ConfigMap, which the operator records and deletes.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::time::Millis;

/// The key of the note in the data of its ConfigMap.
pub const KEY: &str = "deletion";
/// Number of hex digits of a digest in the name of a note.
const HASH_LEN: usize = 32;
/// Maximum lengths of the parts of a note, in bytes: those of the record.
const MAX_TENANT_BYTES: usize = 253;
const MAX_UID_BYTES: usize = 128;
const MAX_USER_BYTES: usize = 1024;

/// A request to delete an object.
///
/// It says who asked. What was deleted, and that it was, the operator knows from its watches and its record: it does not believe a note
/// about that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deletion {
    /// The tenant in the label of the object. A Tenant is its own. Only says in whose record to look for the object.
    pub tenant: String,
    /// UID of the object.
    pub uid: String,
    /// The user who asked.
    pub by: String,
    /// Time of the request.
    pub at: Millis,
}

impl Deletion {
    /// Reads a note; none if it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(Self::is_well_formed)
    }

    /// Returns whether all parts have lengths that the record takes, and the UID only characters that one can have.
    pub fn is_well_formed(&self) -> bool {
        self.tenant.len() <= MAX_TENANT_BYTES
            && (1..=MAX_UID_BYTES).contains(&self.uid.len())
            && self.uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && self.by.len() <= MAX_USER_BYTES
    }

    /// Returns the name of the note. The API server repeats a request that conflicts with another write: then the note exists already. A
    /// request of another user has another note.
    pub fn name(&self) -> String {
        let digest = Digest::of_bytes(format!("{}\0{}", self.uid, self.by).as_bytes());
        format!("enact-deletion-{}", digest.as_str().trim_start_matches("sha256:").get(..HASH_LEN).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::is_label;

    #[test]
    fn a_note_is_named_by_object_and_user() {
        let note =
            |uid: &str, by: &str| Deletion { tenant: "acme".into(), uid: uid.into(), by: by.into(), at: Millis(1) };
        let name = note("uid-1", "ann").name();
        assert!(is_label(&name), "{name}");
        assert_eq!(name, Deletion { at: Millis(2), ..note("uid-1", "ann") }.name(), "a repetition");
        assert!(name != note("uid-1", "bob").name() && name != note("uid-2", "ann").name());
        let text = serde_json::to_string(&note("uid-1", "ann")).unwrap();
        assert_eq!(Deletion::parse(&text), Some(note("uid-1", "ann")));
    }

    #[test]
    fn malformed_notes_are_none() {
        let note =
            |uid: &str, by: &str| Deletion { tenant: "acme".into(), uid: uid.into(), by: by.into(), at: Millis(1) };
        for wrong in
            [note("", "ann"), note("uid\0", "ann"), note(&"u".repeat(129), "ann"), note("uid", &"a".repeat(1025))]
        {
            assert!(!wrong.is_well_formed());
            assert_eq!(Deletion::parse(&serde_json::to_string(&wrong).unwrap()), None);
        }
        assert_eq!(Deletion::parse("{}"), None);
    }
}
