//! Who refers to what: when an object changes, those that were decided with it are looked at again.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use enact_crds::{Agent, Approval, Constitution, Plan, Specification, Tenant};
use futures::channel::mpsc;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt as _};

/// References that are kept before those of objects that are gone are swept out for the first time.
const FIRST_SWEEP: usize = 64;

/// An object that others depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    kind: Cow<'static, str>,
    namespace: String,
    name: String,
}

impl Target {
    /// The object of kind `K` with this name; `namespace` is empty for a kind without one.
    pub fn new<K: Resource<DynamicType = ()>>(namespace: &str, name: &str) -> Self {
        Self { kind: K::kind(&()), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// A ConfigMap.
    pub fn config_map(namespace: &str, name: &str) -> Self {
        Self::new::<ConfigMap>(namespace, name)
    }

    /// A namespace: stands for the tenant that it belongs to.
    pub fn namespace(name: &str) -> Self {
        Self::new::<Namespace>("", name)
    }

    /// The namespace and name of an object of kind `K`; none of another kind.
    pub fn place<K: Resource<DynamicType = ()>>(&self) -> Option<(String, String)> {
        (self.kind == K::kind(&())).then(|| (self.namespace.clone(), self.name.clone()))
    }

    /// An object itself.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::new::<K>(&object.namespace().unwrap_or_default(), &object.name_any())
    }
}

/// What the objects of one kind refer to, and the way to have them looked at again.
pub struct Referrers<K: Resource<DynamicType = ()> + Clone + 'static> {
    known: Mutex<Known<K>>,
    objects: Store<K>,
    wake: mpsc::UnboundedSender<ObjectRef<K>>,
}

struct Known<K: Resource<DynamicType = ()>> {
    targets: HashMap<ObjectRef<K>, HashSet<Target>>,
    referrers: HashMap<Target, HashSet<ObjectRef<K>>>,
    sweep_at: usize,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Referrers<K> {
    /// None yet, among `objects`; and the stream of those to look at again.
    pub fn new(objects: Store<K>) -> (Self, mpsc::UnboundedReceiver<ObjectRef<K>>) {
        let (wake, woken) = mpsc::unbounded();
        let known = Known { targets: HashMap::new(), referrers: HashMap::new(), sweep_at: FIRST_SWEEP };
        (Self { known: Mutex::new(known), objects, wake }, woken)
    }

    /// Notes everything that `object` depends on, in place of what it depended on before. To be called before the targets are read, so
    /// that no change of one goes unnoticed.
    pub fn set(&self, object: &K, targets: impl IntoIterator<Item = Target>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(ObjectRef::from_obj(object), targets.into_iter().collect());
        if known.targets.len() >= known.sweep_at {
            known.sweep(&self.objects);
        }
    }

    /// Has everything looked at again that depends on `target`.
    pub fn wake(&self, target: &Target) {
        self.send(target, |_| true);
    }

    /// Has an object itself looked at again.
    pub fn look_again(&self, object: ObjectRef<K>) {
        // The receiver is gone only when the process ends.
        let _ = self.wake.unbounded_send(object);
    }

    /// Has everything but `object` looked at again that depends on `target`.
    pub fn wake_others(&self, target: &Target, object: &ObjectRef<K>) {
        self.send(target, |referrer| referrer != object);
    }

    /// Has one object looked at again.
    pub fn wake_one(&self, object: ObjectRef<K>) {
        let _ = self.wake.unbounded_send(object);
    }

    fn send(&self, target: &Target, wanted: impl Fn(&ObjectRef<K>) -> bool) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for referrer in known.referrers.get(target).into_iter().flatten().filter(|r| wanted(r)) {
            // The receiver is gone only when the process ends.
            let _ = self.wake.unbounded_send(referrer.clone());
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

    /// Forgets objects that are gone; their deletion is not told to controllers.
    fn sweep(&mut self, objects: &Store<K>) {
        let gone: Vec<_> = self.targets.keys().filter(|o| objects.get(o).is_none()).cloned().collect();
        for object in &gone {
            self.remove(object);
        }
        self.sweep_at = FIRST_SWEEP.max(self.targets.len() * 2);
    }
}

/// The references of every kind.
pub struct References {
    /// Of Tenants: to their namespaces, and to other Tenants that have one of them.
    pub tenants: Referrers<Tenant>,
    /// Of Constitutions: to ConfigMaps and the namespace.
    pub constitutions: Referrers<Constitution>,
    /// Of Specifications: to ConfigMaps, Constitutions and the namespace.
    pub specifications: Referrers<Specification>,
    /// Of Plans: to ConfigMaps, Specifications, Agents and the namespace.
    pub plans: Referrers<Plan>,
    /// Of Agents: to ConfigMaps and the namespace.
    pub agents: Referrers<Agent>,
    /// Of Approvals: to their subjects and the namespace.
    pub approvals: Referrers<Approval>,
}

impl References {
    /// Has every object looked at again that depends on `target`.
    pub fn touched(&self, target: &Target) {
        self.tenants.wake(target);
        self.members_touched(target);
    }

    /// The same, but for Tenants.
    pub fn members_touched(&self, target: &Target) {
        self.constitutions.wake(target);
        self.specifications.wake(target);
        self.plans.wake(target);
        self.agents.wake(target);
        self.approvals.wake(target);
    }

    /// Has the document of this kind and name looked at again.
    pub fn look_again(&self, kind: &str, namespace: &str, name: &str) {
        match kind {
            "Constitution" => self.constitutions.look_again(ObjectRef::new(name).within(namespace)),
            "Specification" => self.specifications.look_again(ObjectRef::new(name).within(namespace)),
            "Plan" => self.plans.look_again(ObjectRef::new(name).within(namespace)),
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

    fn woken(stream: &mut mpsc::UnboundedReceiver<ObjectRef<Agent>>) -> HashSet<String> {
        std::iter::from_fn(|| stream.try_recv().ok()).map(|object| object.name).collect()
    }

    #[test]
    fn wakes_those_that_refer_now() {
        let (objects, _writer) = store::<Agent>();
        let (referrers, mut stream) = Referrers::new(objects);
        let (old, new) = (Target::config_map("ns", "old"), Target::config_map("ns", "new"));
        referrers.set(&agent("a"), [old.clone()]);
        referrers.set(&agent("b"), [old.clone(), new.clone()]);
        referrers.wake(&old);
        assert_eq!(woken(&mut stream), HashSet::from(["a".into(), "b".into()]));
        referrers.set(&agent("a"), [new.clone()]);
        referrers.wake(&old);
        assert_eq!(woken(&mut stream), HashSet::from(["b".into()]));
        referrers.wake(&Target::config_map("elsewhere", "new"));
        assert_eq!(woken(&mut stream), HashSet::new());
    }

    #[test]
    fn objects_that_are_gone_are_forgotten() {
        let (objects, mut writer) = store::<Agent>();
        let (referrers, _stream) = Referrers::new(objects);
        writer.apply_watcher_event(&Event::Apply(agent("stays")));
        let target = Target::namespace("ns");
        referrers.set(&agent("stays"), [target.clone()]);
        for n in 0..FIRST_SWEEP {
            referrers.set(&agent(&format!("gone-{n}")), [target.clone()]);
        }
        let known = referrers.known.lock().unwrap();
        assert!(known.targets.len() <= 2, "{} are kept", known.targets.len());
        assert!(known.targets.contains_key(&ObjectRef::from_obj(&agent("stays"))));
    }
}
