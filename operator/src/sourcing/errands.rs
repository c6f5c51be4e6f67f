//! The pods that fetch or draft documents: which there are, how they ended, and how many a tenant may have.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use enact_crds::common::Resources;
use enact_domain::assignment::{Reason, Report};
use enact_domain::attempt::{AttemptState, PodView, classify};
use enact_domain::names;
use enact_domain::plan::{LOST_SECONDS, STUCK_SECONDS};
use enact_domain::time::Millis;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use kube::runtime::watcher::Event;

use super::Subject;
use crate::context::{Context, Membership};
use crate::error::Error;
use crate::pods::{self, AttemptPod};
use crate::references::References;
use crate::shelf::{Place, Shelf};

/// Compute resources of a pod that asks for none of its own.
pub const NONE: Resources = Resources { cpu: None, memory: None, ephemeral_storage: None };
/// Seconds after which a pod that no node takes is given up.
const UNSCHEDULED_SECONDS: u32 = 600;
/// Most errands of a role that a tenant has under way at once, so that they keep no task from running.
const FETCHES: usize = 4;
const DRAFTS: usize = 2;

/// What a pod is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It reads a repository.
    Fetch,
    /// Its agent drafts.
    Draft,
}

impl Role {
    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => names::ROLE_FETCH,
            Self::Draft => names::ROLE_DRAFT,
        }
    }

    fn most(self) -> usize {
        match self {
            Self::Fetch => FETCHES,
            Self::Draft => DRAFTS,
        }
    }
}

/// A pod, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// UID of the pod.
    pub uid: String,
    /// What it is for.
    pub role: Role,
    tenant: String,
    /// UID of the object that controls it.
    owner: String,
    ended: bool,
    view: PodView,
}

/// How an errand stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Under way; what holds it up.
    Running(Option<String>),
    /// Over, or given up: what it came to, or why it came to nothing.
    Over(Box<Result<Report, String>>),
}

/// The object that a pod is for: kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    kind: String,
    name: String,
}

/// Every errand's pod, and when each repository is looked at again.
#[derive(Default)]
pub struct Errands {
    shelf: Shelf<Entry>,
    owners: Mutex<HashMap<Place, Owner>>,
    /// Pods that are being created, with their tenants.
    starting: Mutex<HashMap<Place, (String, Role)>>,
    /// By the UID of the object whose document it is.
    looks: Mutex<HashMap<String, super::git::Look>>,
    /// How often each object's repository was pushed to, by UID, since a look saw all that was pushed.
    pushes: Mutex<HashMap<String, u64>>,
}

impl Errands {
    /// Returns when the pods were listed once.
    pub async fn synced(&self) {
        self.shelf.synced().await;
    }

    /// Keeps the pods current from a watch, and has the objects looked at again that they are for.
    pub async fn follow(&self, events: impl Stream<Item = Event<AttemptPod>>, references: &References) {
        let events = events.inspect(|event| {
            if let Event::Apply(pod) | Event::InitApply(pod) = event {
                self.own(pod);
            }
        });
        let news = |place: &Place| {
            let mut owners = lock(&self.owners);
            if let Some(owner) = owners.get(place) {
                references.look_again(&owner.kind, &place.0, &owner.name);
            }
            if self.shelf.get(&place.0, &place.1).is_none() {
                owners.remove(place);
            }
        };
        self.shelf.follow(events, Entry::of, news).await;
    }

    /// Enters a pod as the API server returned it.
    fn put(&self, pod: &AttemptPod) {
        if let Some(entry) = Entry::of(pod) {
            self.own(pod);
            self.shelf.put(pod, entry);
        }
    }

    fn own(&self, pod: &AttemptPod) {
        if let Some(owner) = pod.owner_references().iter().find(|o| o.controller == Some(true)) {
            let place = (pod.namespace().unwrap_or_default(), pod.name_any());
            lock(&self.owners).insert(place, Owner { kind: owner.kind.clone(), name: owner.name.clone() });
        }
    }

    /// The pod of this name, if it is the subject's.
    pub fn get(&self, subject: &Subject, name: &str) -> Option<Entry> {
        self.shelf.get(&subject.namespace, name).filter(|entry| entry.owner == subject.uid)
    }

    /// Takes a place for a pod among its tenant's; false when there is none.
    fn reserve(&self, member: &Membership, role: Role, place: &Place) -> bool {
        let mut starting = lock(&self.starting);
        let same = |tenant: &str, other: Role| tenant == member.tenant && other == role;
        let running = self.shelf.places(|p, e| same(&e.tenant, e.role) && !e.ended && !starting.contains_key(p)).len();
        let begun = starting.values().filter(|(tenant, other)| same(tenant, *other)).count();
        let most = role.most().min(usize::try_from(member.parallelism).unwrap_or(usize::MAX));
        if running + begun >= most {
            return false;
        }
        starting.insert(place.clone(), (member.tenant.clone(), role));
        true
    }

    /// Remembers that a subject's repository was pushed to.
    pub fn push(&self, uid: &str) {
        *lock(&self.pushes).entry(uid.to_owned()).or_default() += 1;
    }

    /// How many pushes to a subject's repository no look has seen.
    pub fn pushes(&self, uid: &str) -> u64 {
        lock(&self.pushes).get(uid).copied().unwrap_or_default()
    }

    /// Forgets so many pushes to a subject's repository, unless there were more meanwhile.
    pub fn saw_pushes(&self, uid: &str, seen: u64) {
        let mut pushes = lock(&self.pushes);
        if pushes.get(uid) == Some(&seen) {
            pushes.remove(uid);
        }
    }

    /// What is known of the looks at a subject's repository.
    pub fn look(&self, uid: &str) -> Option<super::git::Look> {
        lock(&self.looks).get(uid).cloned()
    }

    /// Remembers one. Those of objects that are gone are forgotten after some time: their deletion is not told to controllers.
    pub fn looked(&self, uid: &str, look: super::git::Look, now: Millis) {
        let mut looks = lock(&self.looks);
        looks.insert(uid.to_owned(), look);
        if looks.len().is_power_of_two() {
            looks.retain(|_, look| !look.is_forgotten(now));
        }
    }
}

impl Entry {
    fn of(pod: &AttemptPod) -> Option<Self> {
        let label = |key: &str| pod.labels().get(key).cloned();
        let role = match label(names::LABEL_ROLE)?.as_str() {
            names::ROLE_FETCH => Role::Fetch,
            names::ROLE_DRAFT => Role::Draft,
            _ => return None,
        };
        Some(Self {
            uid: pod.uid()?,
            role,
            tenant: label(names::LABEL_TENANT).unwrap_or_default(),
            owner: pod.owner_references().iter().find(|o| o.controller == Some(true))?.uid.clone(),
            ended: pod.has_ended(),
            view: pod.view(),
        })
    }

    /// How it stands at `now`.
    pub fn stand(&self, now: Millis) -> Stand {
        let over = |why: String| Stand::Over(Box::new(Err(why)));
        let failed = |report: &Report| over(format!("{}: {}", report.reason.as_str(), report.message));
        let since = |from: Millis, seconds: u32| now >= from.plus_seconds(seconds);
        if !self.ended && self.view.deleting.is_some_and(|at| since(at, LOST_SECONDS)) {
            return failed(&Report::new(Reason::Lost, "the pod was deleted, and its node does not answer"));
        }
        match classify(&self.view) {
            AttemptState::Succeeded(report) => Stand::Over(Box::new(Ok(report))),
            AttemptState::Failed { report, .. } => failed(&report),
            AttemptState::Stuck { reason, message, since: from } if since(from, STUCK_SECONDS) => {
                failed(&Report::new(reason, message))
            }
            AttemptState::Unscheduled { message } if since(self.view.created, UNSCHEDULED_SECONDS) => {
                over(format!("no node takes the pod: {message}"))
            }
            AttemptState::Unscheduled { message } => {
                Stand::Running(Some(format!("no node takes the pod yet: {message}")))
            }
            AttemptState::Stuck { message, .. } => Stand::Running(Some(message)),
            AttemptState::Pending | AttemptState::Running => Stand::Running(None),
        }
    }

    /// When it ended; `now` when that is not told.
    pub fn ended_at(&self, now: Millis) -> Millis {
        self.view.container.terminated.as_ref().and_then(|t| t.finished).unwrap_or(now)
    }
}

/// What became of a start.
pub enum Started {
    /// The pod is there.
    Yes,
    /// The tenant has enough of them under way.
    NoRoom,
    /// It cannot be created; why.
    Refused(String),
}

/// Creates a pod for a subject, unless the tenant has too many.
///
/// # Errors
/// When the API server fails, which passes.
pub async fn start(ctx: &Context, member: &Membership, role: Role, pod: &Pod) -> Result<Started, Error> {
    let place = (pod.namespace().unwrap_or_default(), pod.name_any());
    if !ctx.errands.reserve(member, role, &place) {
        return Ok(Started::NoRoom);
    }
    let started = create(ctx, &place, pod).await;
    lock(&ctx.errands.starting).remove(&place);
    started
}

async fn create(ctx: &Context, (namespace, name): &Place, pod: &Pod) -> Result<Started, Error> {
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    ctx.metrics.wrote("create", "Pod");
    let created = match api.create(&PostParams::default(), pod).await {
        Ok(created) => created,
        Err(kube::Error::Api(e)) if e.code == 409 && e.reason == "AlreadyExists" => {
            let there = api.get_opt(name).await.map_err(Error::kube(format!("read Pod {name}")))?;
            let owner = |pod: &Pod| pod.owner_references().first().map(|o| o.uid.clone());
            match there {
                Some(there) if owner(&there) == owner(pod) => there,
                Some(_) => return Err(Error::Taken { kind: "Pod", name: name.clone() }),
                // It went in between.
                None => return Ok(Started::NoRoom),
            }
        }
        // Quotas, policies, admission: people see why, and it is tried again.
        Err(kube::Error::Api(e)) if matches!(e.code, 400 | 403 | 422) => {
            return Ok(Started::Refused(format!("the API server refuses the pod: {}", e.message)));
        }
        Err(e) => return Err(Error::kube(format!("create Pod {name}"))(e)),
    };
    ctx.errands.put(&AttemptPod::of(&created)?);
    Ok(Started::Yes)
}

/// Deletes a subject's pods but those of these names.
///
/// # Errors
/// When the API server fails.
pub async fn dismiss(ctx: &Context, subject: &Subject, but: &[&str]) -> Result<(), Error> {
    let namespace = &subject.namespace;
    let unwanted = |place: &Place, entry: &Entry| {
        entry.owner == subject.uid && entry.view.deleting.is_none() && !but.contains(&place.1.as_str())
    };
    for (_, name) in ctx.errands.shelf.places(|place, entry| place.0 == *namespace && unwanted(place, entry)) {
        if let Some(entry) = ctx.errands.get(subject, &name) {
            pods::delete(ctx, namespace, &name, &entry.uid).await?;
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
