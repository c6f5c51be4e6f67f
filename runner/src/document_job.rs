//! An errand for a document: the pod brings it to the server, and leaves its digest in the report.

use enact_domain::assignment::{Reason, Report};
use enact_domain::digest::Digest;
use enact_domain::errand::{Errand, ErrandWork, MAX_DOCUMENT_BYTES};

use crate::failure::Failure;
use crate::process::Supervisor;
use crate::secrets::Secrets;
use crate::settings::Settings;
use crate::{delivery, draft, fetch, settings};

/// What an errand came to.
pub(crate) struct Found {
    /// The commit that the document was read at.
    pub(crate) commit: Option<String>,
    /// The document; none when it is the one that is known.
    pub(crate) document: Option<Vec<u8>>,
}

/// Which errand a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Fetch,
    Draft,
}

/// Does the errand and delivers its document; the report says how both went.
pub(crate) fn run(kind: Kind, settings: &Settings) -> Report {
    let mut supervisor = match Supervisor::start(Secrets::known(settings)) {
        Ok(supervisor) => supervisor,
        Err(error) => {
            return Report::new(Reason::ContainerConfigError, format!("signals cannot be handled: {error}"));
        }
    };
    let outcome = settings::errand().and_then(|errand| {
        let found = match (kind, &errand.work) {
            (Kind::Fetch, ErrandWork::Fetch(work)) => fetch::run(&mut supervisor, settings, work),
            (Kind::Draft, ErrandWork::Draft(work)) => draft::run(&mut supervisor, settings, work),
            _ => Err(Failure::new(Reason::InvalidAssignment, "the errand is another than this container's")),
        }?;
        if supervisor.cancelled() {
            return Err(Failure::cancelled());
        }
        let mut report = Report::new(Reason::Succeeded, "");
        report.commit = found.commit;
        if let Some(document) = found.document {
            report.document = Some(deliver(&mut supervisor, settings, &errand, &document)?);
        }
        Ok(report)
    });
    let mut report = outcome.unwrap_or_else(Failure::into_report);
    supervisor.secrets().hide_in(&mut report);
    report
}

fn deliver(
    supervisor: &mut Supervisor,
    settings: &Settings,
    errand: &Errand,
    document: &[u8],
) -> Result<Digest, Failure> {
    let url = format!("{}/v1/documents/{}", errand.server_url.trim_end_matches('/'), errand.subject_uid);
    let parcel = delivery::Parcel { url, media: "text/markdown", body: document };
    let undelivered =
        |why: String| Failure::new(Reason::DeliveryFailed, format!("the document could not be delivered: {why}"));
    delivery::deliver(supervisor, settings, &parcel).map_err(undelivered)?;
    Ok(Digest::of_bytes(document))
}

/// Checks that `document`, which `what` names, can be one.
pub(crate) fn check(what: &str, document: &[u8]) -> Result<(), Failure> {
    let refuse = |problem: String| Err(Failure::new(Reason::DocumentRefused, format!("{what} {problem}")));
    if document.len() > MAX_DOCUMENT_BYTES {
        return refuse(too_large());
    }
    match str::from_utf8(document) {
        Ok(_) => Ok(()),
        Err(error) => refuse(format!("is no text: byte {} is not UTF-8; save it as UTF-8", error.valid_up_to())),
    }
}

/// What is said of a document that is too large.
pub(crate) fn too_large() -> String {
    format!("has more than {MAX_DOCUMENT_BYTES} bytes; divide it")
}
