//! The document that a document job delivers.

use enact_domain::assignment::Reason;
use enact_domain::document_job::MAX_DOCUMENT_BYTES;

use crate::failure::Failure;

/// The outcome of a document job.
pub(crate) struct Document {
    /// The commit that contains the document; none for a draft.
    pub(crate) commit: Option<String>,
    /// The content; none when it is the content of the commit that the operator already knows, and after the fetch of a repository.
    pub(crate) content: Option<Vec<u8>>,
}

/// Checks size and encoding of a document. `what` names it in messages.
pub(crate) fn check(what: &str, content: &[u8]) -> Result<(), Failure> {
    let refuse = |problem: String| Err(Failure::new(Reason::DocumentRefused, format!("{what} {problem}")));
    if content.len() > MAX_DOCUMENT_BYTES {
        return refuse(too_large());
    }
    match str::from_utf8(content) {
        Ok(_) => Ok(()),
        Err(error) => refuse(format!("is not text: byte {} is not UTF-8; save it as UTF-8", error.valid_up_to())),
    }
}

/// Returns the message about a document over the size limit.
pub(crate) fn too_large() -> String {
    format!("has more than {MAX_DOCUMENT_BYTES} bytes; split it into smaller documents")
}
