//! References between objects: when an object changes, the objects that were decided with it are reconciled again.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use enact_crds::{Agent, Approval, Constitution, ModelProvider, Plan, Specification, Tenant};
use futures::channel::mpsc;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt as _};
use parking_lot::Mutex;

use crate::caches::Caches;
use crate::metadata_cache::ObjectKey;

/// Number of referrers at which those of deleted objects are removed for the first time.
const FIRST_SWEEP: usize = 64;

/// An object that others depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    kind: Cow<'static, str>,
    namespace: String,
    name: String,
}

impl Target {
    /// Returns the object of kind `K` with this name; `namespace` is empty for a cluster-scoped kind.
    pub fn new<K: Resource<DynamicType = ()>>(namespace: &str, name: &str) -> Self {
        Self { kind: K::kind(&()), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub fn config_map(namespace: &str, name: &str) -> Self {
        Self::new::<ConfigMap>(namespace, name)
    }

    /// Returns a namespace, which also represents the tenant that owns it.
    pub fn namespace(name: &str) -> Self {
        Self::new::<Namespace>("", name)
    }

    /// Returns an object itself.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::new::<K>(&object.namespace().unwrap_or_default(), &object.name_any())
    }

    /// Returns namespace and name, if the object is of kind `K`.
    pub fn key<K: Resource<DynamicType = ()>>(&self) -> Option<ObjectKey> {
        (self.kind == K::kind(&())).then(|| (self.namespace.clone(), self.name.clone()))
    }
}

/// The references of the objects of one kind, and the queue of that kind's controller.
pub struct Referrers<K: Resource<DynamicType = ()> + Clone + 'static> {
    known: Mutex<Known<K>>,
    objects: Store<K>,
    queue: mpsc::UnboundedSender<ObjectRef<K>>,
}

struct Known<K: Resource<DynamicType = ()>> {
    targets: HashMap<ObjectRef<K>, HashSet<Target>>,
    referrers: HashMap<Target, HashSet<ObjectRef<K>>>,
    sweep_at: usize,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Referrers<K> {
    /// Returns an empty set of references among `objects`, and the stream of objects to requeue.
    pub fn new(objects: Store<K>) -> (Self, mpsc::UnboundedReceiver<ObjectRef<K>>) {
        let (queue, requeued) = mpsc::unbounded();
        let known = Known { targets: HashMap::new(), referrers: HashMap::new(), sweep_at: FIRST_SWEEP };
        (Self { known: Mutex::new(known), objects, queue }, requeued)
    }

    /// Replaces the targets that `object` depends on. A reconcile calls this before it reads the targets: a change that comes in between
    /// requeues the object, and would be missed otherwise.
    pub fn set(&self, object: &K, targets: impl IntoIterator<Item = Target>) {
        let mut known = self.known.lock();
        known.insert(ObjectRef::from_obj(object), targets.into_iter().collect());
        if known.targets.len() >= known.sweep_at {
            known.sweep(&self.objects);
        }
    }

    pub fn requeue(&self, object: ObjectRef<K>) {
        // The receiver is dropped only when the process ends.
        let _ = self.queue.unbounded_send(object);
    }

    pub fn requeue_key(&self, (namespace, name): &ObjectKey)
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        self.requeue(ObjectRef::new(name).within(namespace));
    }

    /// Requeues every object that depends on `target`.
    pub fn requeue_referrers(&self, target: &Target) {
        self.requeue_if(target, |_| true);
    }

    /// Requeues every object but `object` that depends on `target`.
    pub fn requeue_other_referrers(&self, target: &Target, object: &ObjectRef<K>) {
        self.requeue_if(target, |referrer| referrer != object);
    }

    fn requeue_if(&self, target: &Target, filter: impl Fn(&ObjectRef<K>) -> bool) {
        let known = self.known.lock();
        for referrer in known.referrers.get(target).into_iter().flatten().filter(|r| filter(r)) {
            self.requeue(referrer.clone());
        }
    }
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Known<K> {
    fn insert(&mut self, object: ObjectRef<K>, targets: HashSet<Target>) {
        self.remove(&object);
        for target in &targets {
            self.referrers.entry(target.clone()).or_default().insert(object.clone());
        }
        self.targets.insert(object, targets);
    }

    fn remove(&mut self, object: &ObjectRef<K>) {
        for target in self.targets.remove(object).into_iter().flatten() {
            if let Some(referrers) = self.referrers.get_mut(&target) {
                referrers.remove(object);
                if referrers.is_empty() {
                    self.referrers.remove(&target);
                }
            }
        }
    }

    /// Removes deleted objects. Controllers get no event for a deletion, so this is the only place that forgets them.
    fn sweep(&mut self, objects: &Store<K>) {
        // `objects` is the cache of the controller: an object that it does not show was deleted.
        let deleted: Vec<_> = self.targets.keys().filter(|o| objects.get(o).is_none()).cloned().collect();
        for object in &deleted {
            self.remove(object);
        }
        // The next sweep comes only after the number has doubled, so that the cost per reconcile is constant.
        self.sweep_at = FIRST_SWEEP.max(self.targets.len() * 2);
    }
}

/// The references of every kind.
pub struct References {
    /// References to their namespaces, and to other Tenants that own one of them.
    pub tenants: Referrers<Tenant>,
    /// References to ConfigMaps, Constitutions and the namespace.
    pub constitutions: Referrers<Constitution>,
    /// References to ConfigMaps, Constitutions, Agents and the namespace.
    pub specifications: Referrers<Specification>,
    /// References to ConfigMaps, Constitutions, Specifications, Agents and the namespace.
    pub plans: Referrers<Plan>,
    /// References to the namespace.
    pub providers: Referrers<ModelProvider>,
    /// References to ConfigMaps, ModelProviders and the namespace.
    pub agents: Referrers<Agent>,
    /// References to their subjects and the namespace.
    pub approvals: Referrers<Approval>,
}

/// The objects to requeue, by kind; each stream goes to the controller of that kind.
pub struct Requeued {
    pub tenants: mpsc::UnboundedReceiver<ObjectRef<Tenant>>,
    pub constitutions: mpsc::UnboundedReceiver<ObjectRef<Constitution>>,
    pub specifications: mpsc::UnboundedReceiver<ObjectRef<Specification>>,
    pub plans: mpsc::UnboundedReceiver<ObjectRef<Plan>>,
    pub providers: mpsc::UnboundedReceiver<ObjectRef<ModelProvider>>,
    pub agents: mpsc::UnboundedReceiver<ObjectRef<Agent>>,
    pub approvals: mpsc::UnboundedReceiver<ObjectRef<Approval>>,
}

impl References {
    /// Returns empty references among the cached objects, and the streams of objects to requeue.
    pub fn new(caches: &Caches) -> (Self, Requeued) {
        let (tenants, requeued_tenants) = Referrers::new(caches.tenants.clone());
        let (constitutions, requeued_constitutions) = Referrers::new(caches.constitutions.clone());
        let (specifications, requeued_specifications) = Referrers::new(caches.specifications.clone());
        let (plans, requeued_plans) = Referrers::new(caches.plans.clone());
        let (providers, requeued_providers) = Referrers::new(caches.providers.clone());
        let (agents, requeued_agents) = Referrers::new(caches.agents.clone());
        let (approvals, requeued_approvals) = Referrers::new(caches.approvals.clone());
        let requeued = Requeued {
            tenants: requeued_tenants,
            constitutions: requeued_constitutions,
            specifications: requeued_specifications,
            plans: requeued_plans,
            providers: requeued_providers,
            agents: requeued_agents,
            approvals: requeued_approvals,
        };
        (Self { tenants, constitutions, specifications, plans, providers, agents, approvals }, requeued)
    }

    /// Requeues every object that depends on a target that changed.
    pub fn changed(&self, target: &Target) {
        self.tenants.requeue_referrers(target);
        self.changed_for_members(target);
    }

    /// Requeues every object but Tenants that depends on a target that changed.
    pub fn changed_for_members(&self, target: &Target) {
        self.constitutions.requeue_referrers(target);
        self.specifications.requeue_referrers(target);
        self.plans.requeue_referrers(target);
        self.providers.requeue_referrers(target);
        self.agents.requeue_referrers(target);
        self.approvals.requeue_referrers(target);
    }

    /// Requeues the Constitution, Specification or Plan with this kind and key.
    pub fn requeue_document(&self, kind: &str, key: &ObjectKey) {
        match kind {
            "Constitution" => self.constitutions.requeue_key(key),
            "Specification" => self.specifications.requeue_key(key),
            "Plan" => self.plans.requeue_key(key),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;

    fn agent(name: &str) -> Agent {
        let spec = serde_json::from_value(serde_json::json!({"adapter": "Command"})).unwrap();
        let mut agent = Agent::new(name, spec);
        agent.metadata.namespace = Some("ns".into());
        agent
    }

    fn requeued(stream: &mut mpsc::UnboundedReceiver<ObjectRef<Agent>>) -> HashSet<String> {
        std::iter::from_fn(|| stream.try_recv().ok()).map(|object| object.name).collect()
    }

    #[test]
    fn requeues_current_referrers() {
        let (objects, _writer) = store::<Agent>();
        let (referrers, mut stream) = Referrers::new(objects);
        let (old, new) = (Target::config_map("ns", "old"), Target::config_map("ns", "new"));
        referrers.set(&agent("a"), [old.clone()]);
        referrers.set(&agent("b"), [old.clone(), new.clone()]);
        referrers.requeue_referrers(&old);
        assert_eq!(requeued(&mut stream), HashSet::from(["a".into(), "b".into()]));
        referrers.set(&agent("a"), [new.clone()]);
        referrers.requeue_referrers(&old);
        assert_eq!(requeued(&mut stream), HashSet::from(["b".into()]));
        referrers.requeue_referrers(&Target::config_map("elsewhere", "new"));
        assert_eq!(requeued(&mut stream), HashSet::new());
    }

    #[test]
    fn forgets_deleted_objects() {
        let (objects, mut writer) = store::<Agent>();
        let (referrers, _stream) = Referrers::new(objects);
        writer.apply_watcher_event(&Event::Apply(agent("stays")));
        let target = Target::namespace("ns");
        referrers.set(&agent("stays"), [target.clone()]);
        for n in 0..FIRST_SWEEP {
            referrers.set(&agent(&format!("deleted-{n}")), [target.clone()]);
        }
        let known = referrers.known.lock();
        assert!(known.targets.len() <= 2, "{} are kept", known.targets.len());
        assert!(known.targets.contains_key(&ObjectRef::from_obj(&agent("stays"))));
    }
}
