//! Setup failures: why nodes cannot set up pods. Only Events say so. They are read for pods whose setup takes longer than usual, once for
//! all pods of a namespace, so that a pod that starts normally costs no request.

use std::collections::HashMap;
use std::sync::Arc;

use enact_domain::attempt::{PodPhase, PodView, SetupFailure};
use enact_domain::time::Millis;
use enact_service::api_server;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;

use crate::context::Context;
use crate::setup_events::{self, READ_SECONDS};

/// Seconds that the setup of a pod usually takes at most.
const USUAL_SECONDS: u32 = 3;
/// Most Events of one read.
const MAX_EVENTS: u32 = 500;
/// The Events that may be setup failures: warnings about pods, without the frequent ones about something else.
const SELECTOR: &str =
    "involvedObject.kind=Pod,type=Warning,reason!=BackOff,reason!=Failed,reason!=FailedScheduling,reason!=Unhealthy";

/// The setup failures of some pods.
#[derive(Debug, Default)]
pub struct SetupFailures {
    by_pod: Arc<HashMap<String, SetupFailure>>,
    /// Time of the next read, while a pod is being set up.
    pub read_again_at: Option<Millis>,
}

impl SetupFailures {
    /// Returns the failure of the pod with this UID.
    pub fn of(&self, uid: &str) -> Option<&SetupFailure> {
        self.by_pod.get(uid)
    }
}

/// Returns the first time at which one of these pods takes longer than usual; none if no node sets one up.
pub fn late_at<'a>(pods: impl IntoIterator<Item = &'a PodView>) -> Option<Millis> {
    pods.into_iter().filter_map(usually_set_up_at).min()
}

/// Reads the setup failures of the pods in a namespace, of which the first is late at [`late_at`]. If the API server fails, there are none
/// until the next read.
pub async fn read(ctx: &Context, namespace: &str, now: Millis, late_at: Option<Millis>) -> SetupFailures {
    let Some(late_at) = late_at else { return SetupFailures::default() };
    if now < late_at {
        return SetupFailures { read_again_at: Some(late_at), ..SetupFailures::default() };
    }
    let (read_at, by_pod) = if let Some(recent) = ctx.setup_events.recent(namespace, now) {
        recent
    } else {
        let read = (now, Arc::new(list(ctx, namespace).await));
        ctx.setup_events.put(namespace, read.clone());
        read
    };
    SetupFailures { by_pod, read_again_at: Some(read_at.plus_seconds(READ_SECONDS)) }
}

/// Returns the time at which a pod is usually set up, if its node has accepted it and has not set it up yet.
fn usually_set_up_at(view: &PodView) -> Option<Millis> {
    let waits = view.phase == PodPhase::Pending && !view.set_up && view.deleting.is_none();
    view.started.filter(|_| waits).map(|at| at.plus_seconds(USUAL_SECONDS))
}

/// Returns the newest setup failure of each pod of a namespace, by its UID.
async fn list(ctx: &Context, namespace: &str) -> HashMap<String, SetupFailure> {
    let events: Api<Event> = Api::namespaced(ctx.client.clone(), namespace);
    match events.list(&ListParams::default().fields(SELECTOR).limit(MAX_EVENTS)).await {
        Ok(found) => setup_events::newest(&found.items),
        Err(error) => {
            // The cause of a wait only informs people. A pod whose cause is unknown counts as pending.
            let error = api_server::message(&error);
            tracing::warn!(namespace, error, "cannot read the Events of pods that do not start");
            HashMap::new()
        }
    }
}
