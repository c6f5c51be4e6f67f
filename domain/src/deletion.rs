//! Notes about deletions. The watch of an object tells the operator that it was deleted, but not by whom; the webhook sees who asks, but keeps
//! no record. It leaves a note in a ConfigMap, which the operator records and deletes.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::record::Subject;
use crate::time::Millis;

/// The key of the note in the data of its ConfigMap.
pub const KEY: &str = "deletion";
/// Number of hex digits of a digest in the name of a note.
const HASH_LEN: usize = 32;

/// A request to delete an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deletion {
    /// The tenant in the label of the object. A Tenant is its own.
    pub tenant: String,
    pub subject: Subject,
    /// The user who asked.
    pub by: String,
    /// Time of the request.
    pub at: Millis,
}

impl Deletion {
    /// Returns the name of the note. The API server repeats a request that conflicts with another write: then the note exists already. A
    /// request of another user has another note.
    pub fn name(&self) -> String {
        let digest = Digest::of_bytes(format!("{}\0{}", self.subject.uid, self.by).as_bytes());
        format!("enact-deletion-{}", digest.as_str().trim_start_matches("sha256:").get(..HASH_LEN).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::is_label;
    use crate::record::Kind;

    #[test]
    fn a_note_is_named_by_object_and_user() {
        let note = |uid: &str, by: &str| Deletion {
            tenant: "acme".into(),
            subject: Subject { kind: Kind::Plan, namespace: "ns".into(), name: "p".into(), uid: uid.into() },
            by: by.into(),
            at: Millis(1),
        };
        let name = note("uid-1", "ann").name();
        assert!(is_label(&name), "{name}");
        assert_eq!(name, Deletion { at: Millis(2), ..note("uid-1", "ann") }.name(), "a repetition");
        assert!(name != note("uid-1", "bob").name() && name != note("uid-2", "ann").name());
        let text = serde_json::to_string(&note("uid-1", "ann")).unwrap();
        assert_eq!(serde_json::from_str::<Deletion>(&text).unwrap(), note("uid-1", "ann"));
    }
}
