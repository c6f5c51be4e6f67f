//! Warm pools: started pods that wait for an attempt. Which pods a pool needs, which one an attempt gets, and what the operator does next
//! until an attempt has a pod.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::time::Millis;

/// Path of the server at which the runner of a waiting pod asks for its assignment.
pub const ASSIGNMENT_PATH: &str = "/v1/assignment";
/// Longest time for which the server lets such a request wait, in seconds. It is shorter than the time that a server which stops gives its
/// requests.
pub const ASSIGNMENT_WAIT_SECONDS: u32 = 15;
/// Seconds after which a waiting pod is replaced: its image, the values of its Secrets in the environment and its clone grow old.
pub const MAX_AGE_SECONDS: u32 = 1800;
/// Longest time limit of an attempt that a waiting pod is assigned to, in seconds. The pod's token for the model gateway must outlive it.
pub const MAX_TIMEOUT_SECONDS: u32 = 14_400;
/// Seconds for which a pod that ended without an attempt counts in the size of the pool, so that one that always fails is not created in a loop.
const PAUSE_SECONDS: u32 = 60;

/// What the runner of a waiting pod needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Base URL of the server that has the assignment.
    pub server_url: String,
    /// The repository that the runner fetches while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Prefetch>,
}

/// A repository that is fetched in advance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prefetch {
    pub url: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// Base URL of the clone cache, if the installation has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_url: Option<String>,
}

/// A pod of a pool that no attempt was assigned to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPod {
    /// The digest in [`crate::names::ANNOTATION_TEMPLATE`].
    pub template: String,
    pub created: Millis,
    pub stage: Stage,
}

/// How far a pod of a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its runner does not run yet.
    Starting,
    /// Its runner waits for an assignment.
    Ready,
    /// It ended at this time without an attempt.
    Ended(Millis),
    /// It is being deleted.
    Deleting,
}

impl PoolPod {
    /// Returns whether an attempt whose pod has this template may get the pod.
    pub fn is_usable(&self, template: &Digest, now: Millis) -> bool {
        self.stage == Stage::Ready && self.template == template.as_str() && !self.is_old(now)
    }

    fn is_old(&self, now: Millis) -> bool {
        now >= self.created.plus_seconds(MAX_AGE_SECONDS)
    }
}

/// What a pool needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Positions of the pods to delete.
    pub delete: Vec<usize>,
    /// Number of pods to create.
    pub create: usize,
    /// Time at which the pool needs something although nothing happens.
    pub again_at: Option<Millis>,
}

/// Decides what a pool of `size` pods with this template needs; without a template, it must be empty.
pub fn upkeep(pods: &[PoolPod], size: usize, template: Option<&Digest>, now: Millis) -> Upkeep {
    let mut result = Upkeep::default();
    let mut kept = Vec::new();
    for (i, pod) in pods.iter().enumerate() {
        let ends = match pod.stage {
            // Its place is free already: its node may not respond.
            Stage::Deleting => continue,
            Stage::Ended(at) => at.plus_seconds(PAUSE_SECONDS),
            Stage::Starting | Stage::Ready => pod.created.plus_seconds(MAX_AGE_SECONDS),
        };
        if now >= ends || template.is_none_or(|template| pod.template != template.as_str()) {
            result.delete.push(i);
        } else {
            result.again_at = Some(result.again_at.map_or(ends, |at| at.min(ends)));
            kept.push(i);
        }
    }
    let size = if template.is_some() { size } else { 0 };
    // Those that are the furthest from use go first: ended, then starting, then the youngest.
    kept.sort_by_key(|&i| match pods[i].stage {
        Stage::Ready => (0, pods[i].created, i),
        Stage::Starting => (1, pods[i].created, i),
        Stage::Ended(_) | Stage::Deleting => (2, pods[i].created, i),
    });
    result.delete.extend(kept.iter().skip(size));
    result.delete.sort_unstable();
    result.create = size.saturating_sub(kept.len());
    result
}

/// Returns the name of the pod that an attempt gets: the one that has waited longest, and by its name among equals.
pub fn choose<'a>(
    pods: impl Iterator<Item = (&'a str, &'a PoolPod)>,
    template: &Digest,
    now: Millis,
) -> Option<&'a str> {
    let usable = pods.filter(|(_, pod)| pod.is_usable(template, now));
    usable.min_by_key(|(name, pod)| (pod.created, *name)).map(|(name, _)| name)
}

/// A pod that the record names for an attempt, as the API server has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It does not exist, or is being deleted without an attempt: nobody assigns it any more.
    Missing,
    /// It waits, and the attempt may or may not use it.
    Waiting { usable: bool },
    /// It was assigned to this attempt.
    Assigned,
    /// It was assigned to something else.
    Other,
}

/// What the operator does next to give an attempt its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Assign the pod to the attempt, if it has not changed since.
    Assign,
    /// Nothing: the attempt has its pod.
    Done,
    /// Delete the pod, if it has not changed since, and read it again.
    Discard,
    /// Create the attempt's own pod.
    Create,
}

/// Decides the next step for an attempt whose recorded pod is `found`.
///
/// The first record of an attempt's start names its pod, and no other pod of a pool is ever assigned to the attempt. The attempt's own pod is
/// created only when the recorded one can no longer be assigned: it is gone, or works on something else. So whatever crashes, and whoever
/// leads, an attempt has one pod.
pub fn next_step(found: Found) -> Step {
    match found {
        Found::Waiting { usable: true } => Step::Assign,
        // Somebody who still believes that it is usable could assign it later.
        Found::Waiting { usable: false } => Step::Discard,
        Found::Assigned => Step::Done,
        Found::Missing | Found::Other => Step::Create,
    }
}

/// Returns the time limit of a pod, which counts from its start, when an attempt with the limit `timeout_seconds` begins now.
pub fn deadline_seconds(timeout_seconds: u32, started: Option<Millis>, now: Millis) -> u32 {
    let waited = started.map_or(0, |started| now.since(started)).div_ceil(1000);
    timeout_seconds.saturating_add(u32::try_from(waited).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
