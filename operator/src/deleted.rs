//! Deleted objects, which controllers get no event for.

use std::collections::HashMap;

use enact_crds::{Agent, Approval, Constitution, ModelProvider, Plan, Specification, Task, Tenant, convert};
use enact_domain::names::LABEL_TENANT;
use enact_domain::record::{Kind, Subject};
use enact_domain::time::Millis;
use futures::channel::mpsc;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};

use crate::references::Target;

/// A deleted object.
#[derive(Clone, Debug)]
pub struct Deleted {
    pub target: Target,
    pub subject: Subject,
    /// The tenant that it belongs to: of a watch, the one in its label, which can be outdated. A Tenant is its own. Empty if it has none.
    pub tenant: String,
    /// When its deletion was requested, in whole seconds, if it stayed for a while after that.
    pub since: Option<Millis>,
}

impl Deleted {
    /// Returns an object of this kind as a deleted one.
    pub fn of<K: Resource<DynamicType = ()>>(kind: Kind, object: &K) -> Self {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let label = object.labels().get(LABEL_TENANT).cloned();
        Self {
            target: Target::of(object),
            tenant: if kind == Kind::Tenant { name.clone() } else { label.unwrap_or_default() },
            subject: Subject { kind, namespace, name, uid: object.uid().unwrap_or_default() },
            since: object.meta().deletion_timestamp.as_ref().map(convert::millis),
        }
    }

    /// Returns an object that the record of `tenant` has and the cluster has not.
    pub fn missed(tenant: &str, subject: Subject) -> Self {
        let (namespace, name) = (subject.namespace.as_str(), subject.name.as_str());
        let target = match subject.kind {
            Kind::Tenant => Target::new::<Tenant>(namespace, name),
            Kind::Constitution => Target::new::<Constitution>(namespace, name),
            Kind::Specification => Target::new::<Specification>(namespace, name),
            Kind::Plan => Target::new::<Plan>(namespace, name),
            Kind::Task => Target::new::<Task>(namespace, name),
            Kind::ModelProvider => Target::new::<ModelProvider>(namespace, name),
            Kind::Agent => Target::new::<Agent>(namespace, name),
            Kind::Approval => Target::new::<Approval>(namespace, name),
        };
        Self { target, subject, tenant: tenant.to_owned(), since: None }
    }
}

/// Returns an event handler that sends deleted objects of a kind to `queue`.
pub fn report_deletions<K>(kind: Kind, queue: mpsc::UnboundedSender<Deleted>) -> impl FnMut(&Event<K>) + Send + 'static
where
    K: Resource<DynamicType = ()>,
{
    let mut known = Known { kind, objects: HashMap::new(), before: HashMap::new() };
    move |event| {
        for deleted in known.handle(event) {
            // The receiver is dropped only when the process ends.
            let _ = queue.unbounded_send(deleted);
        }
    }
}

/// The objects that a watch has shown, by UID.
struct Known {
    kind: Kind,
    objects: HashMap<String, Deleted>,
    /// The objects that were known when the current list began.
    before: HashMap<String, Deleted>,
}

impl Known {
    /// Handles an event, and returns the objects that it shows to be deleted.
    fn handle<K: Resource<DynamicType = ()>>(&mut self, event: &Event<K>) -> Vec<Deleted> {
        match event {
            // A list that broke off is followed by another one.
            Event::Init => self.before.extend(std::mem::take(&mut self.objects)),
            Event::InitApply(object) | Event::Apply(object) => {
                let uid = object.uid().unwrap_or_default();
                self.objects.entry(uid).or_insert_with(|| Deleted::of(self.kind, object));
            }
            // What the list lacks was deleted while the watch was interrupted.
            Event::InitDone => {
                let before = std::mem::take(&mut self.before);
                let gone = before.into_iter().filter(|(uid, _)| !self.objects.contains_key(uid));
                return gone.map(|(_, deleted)| deleted).collect();
            }
            Event::Delete(object) => {
                self.objects.remove(&object.uid().unwrap_or_default());
                return vec![Deleted::of(self.kind, object)];
            }
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agent(name: &str) -> Agent {
        let metadata = json!({"name": name, "namespace": "ns", "uid": format!("uid-{name}"), "labels": {"enact.dev/tenant": "acme"}});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"adapter": "Command"}})).unwrap()
    }

    #[test]
    fn reports_what_a_list_lacks() {
        let (queue, mut reported) = mpsc::unbounded();
        let mut report = report_deletions::<Agent>(Kind::Agent, queue);
        let mut names = || {
            let reported = std::iter::from_fn(|| reported.try_recv().ok());
            reported.map(|deleted| (deleted.subject.name, deleted.tenant)).collect::<Vec<_>>()
        };
        let acme = |name: &str| (name.to_owned(), "acme".to_owned());
        for event in [Event::Init, Event::InitApply(agent("a")), Event::InitApply(agent("b")), Event::InitDone] {
            report(&event);
        }
        report(&Event::Apply(agent("c")));
        assert!(names().is_empty());
        report(&Event::Delete(agent("a")));
        assert_eq!(names(), [acme("a")]);
        // The watch was interrupted, and the first list that follows breaks off.
        for event in
            [Event::Init, Event::InitApply(agent("c")), Event::Init, Event::InitApply(agent("c")), Event::InitDone]
        {
            report(&event);
        }
        assert_eq!(names(), [acme("b")]);
    }
}
