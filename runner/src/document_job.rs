//! A document job: the pod delivers a document to the server and reports the digest of the document.

use enact_domain::assignment::{Reason, Report};
use enact_domain::digest::Digest;
use enact_domain::document_job::{DocumentJob, DocumentWork};

use crate::args::Step;
use crate::document::Document;
use crate::failure::Failure;
use crate::process::Supervisor;
use crate::settings::{self, Settings};
use crate::{delivery, draft, fetch};

/// Does the work of the job, and delivers the document if it has one. The report covers both.
pub(crate) fn run(step: &Step, supervisor: &mut Supervisor, settings: &Settings) -> Report {
    let mut report = deliver(step, supervisor, settings).unwrap_or_else(Failure::into_report);
    // The message may quote the output of Git or of an agent.
    supervisor.secrets().redact_report(&mut report);
    report
}

fn deliver(step: &Step, supervisor: &mut Supervisor, settings: &Settings) -> Result<Report, Failure> {
    let job = settings::document_job()?;
    let Document { commit, content } = match (step, &job.work) {
        (Step::Fetch, DocumentWork::Fetch(work)) => fetch::run(supervisor, settings, work),
        (Step::Clone, DocumentWork::Clone(repository)) => draft::fetch_repository(supervisor, settings, repository),
        (Step::Draft, DocumentWork::Draft(work)) => draft::run(supervisor, settings, work),
        _ => {
            let message = "the document job is for a different step than the one that this container runs";
            Err(Failure::new(Reason::InvalidAssignment, message))
        }
    }?;
    if supervisor.cancelled() {
        return Err(Failure::cancelled());
    }
    let document = content.map(|content| upload(supervisor, settings, &job, &content)).transpose()?;
    Ok(Report { commit, document, ..Report::new(Reason::Succeeded, "") })
}

fn upload(
    supervisor: &mut Supervisor,
    settings: &Settings,
    job: &DocumentJob,
    content: &[u8],
) -> Result<Digest, Failure> {
    let url = format!("{}/v1/documents/{}", job.server_url.trim_end_matches('/'), job.subject_uid);
    let payload = delivery::Payload { url, media_type: "text/markdown", body: content, key: None };
    delivery::deliver(supervisor, settings, &payload).map_err(|problem| {
        Failure::new(Reason::DeliveryFailed, format!("the document could not be delivered: {problem}"))
    })?;
    Ok(Digest::of_bytes(content))
}
