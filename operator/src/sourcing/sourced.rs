//! The inputs and outputs of sourcing.

use enact_crds::common::LocalRef;
use enact_crds::convert;
use enact_crds::document::SourceStatus;
use enact_crds::specification::{DraftStatus, Drafting};
use enact_domain::condition::Readiness;
use enact_domain::names;
use enact_domain::time::Millis;
use enact_domain::waiting::Waiting;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt as _};

use crate::context::{Context, Membership};
use crate::task::build::controlled_by;

/// The object that a document belongs to.
#[derive(Clone, Debug)]
pub struct Subject {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Whether the status of its source was observed for its present spec.
    pub current: bool,
    /// The owner reference of its pods.
    pub owner: OwnerReference,
    /// The annotation that asks to poll the source now.
    pub reconcile_at: Option<String>,
}

impl Subject {
    /// Reads the fields from an object; `observed` is the generation of its status.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K, observed: Option<i64>) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            // After a change of the spec, the source status may belong to the previous source.
            current: observed.is_some() && observed == object.meta().generation,
            owner: controlled_by(object),
            reconcile_at: object.annotations().get(names::ANNOTATION_RECONCILE_AT).cloned(),
        }
    }
}

/// The inputs for an agent that drafts a document without a source.
#[derive(Clone, Copy, Debug)]
pub struct Drafter<'a> {
    pub request: &'a str,
    /// The agent, and the number of attempts.
    pub drafting: &'a Drafting,
    /// The constitution that the document names.
    pub constitution: Option<&'a LocalRef>,
    /// The state of the draft in the object's status.
    pub known: Option<&'a DraftStatus>,
}

/// The result of reading a source.
#[derive(Debug)]
pub struct Sourced {
    /// The document, or the reason why there is none.
    pub bytes: Result<Vec<u8>, Readiness>,
    /// The state of a Git source; none for a source in the cluster.
    pub status: Option<SourceStatus>,
    /// The state of a draft.
    pub draft: Option<DraftStatus>,
    /// Time of the next poll if no event arrives earlier.
    pub requeue_at: Option<Millis>,
}

impl Sourced {
    /// Returns a document from the cluster itself.
    pub fn from_cluster(bytes: Result<Vec<u8>, Readiness>) -> Self {
        Self { bytes, status: None, draft: None, requeue_at: None }
    }
}

/// Reason of an object without a document.
pub const SOURCE_MISSING: &str = "SourceMissing";

/// Returns the base URL of enact-server, to which pods send documents.
///
/// # Errors
/// When the installation has no server.
pub fn server_url(ctx: &Context) -> Result<String, String> {
    ctx.config.server_url.clone().ok_or_else(|| {
        "this installation has no enact-server, to which pods send documents; set --server-url of the operator".into()
    })
}

/// Returns the tenant of the subject's namespace.
///
/// # Errors
/// When no tenant owns it: no pod may run there.
pub fn member(ctx: &Context, subject: &Subject) -> Result<Membership, Readiness> {
    let unowned = || Readiness::reconciling("NotInTenant", "the namespace belongs to no tenant");
    ctx.tenant_of(&subject.namespace).ok_or_else(unowned)
}

/// Returns the readiness of an object while a job works on its document. While the pod of the job waits, it has the reason of the wait, and
/// since when.
pub fn at_work(reason: &'static str, message: &str, wait: Option<Waiting>) -> Readiness {
    let Some(Waiting { reason, message: why, since, .. }) = wait else {
        return Readiness::reconciling(reason, message);
    };
    Readiness::reconciling(reason, format!("{message}: its pod {why} (since {})", convert::time(since).0))
}

/// Returns `seconds` in milliseconds, plus or minus a tenth. The difference is constant for an object: it spreads the polls of many
/// objects.
pub fn jittered(uid: &str, seconds: u32) -> i64 {
    let whole = i64::from(seconds) * 1000;
    whole - whole / 10 + portion(uid, whole / 5)
}

/// Returns a number from 0 to `whole` that is constant for an object.
pub fn portion(uid: &str, whole: i64) -> i64 {
    // FNV-1a: <http://www.isthe.com/chongo/tech/comp/fnv/>
    let hash = uid.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    i64::try_from(hash % u64::try_from(whole + 1).unwrap_or(1)).unwrap_or_default()
}
