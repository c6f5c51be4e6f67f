//! The approval index: requeues the subject of an Approval when that Approval is created, changed or deleted.
//!
//! It handles the events of the watch behind the cache of Approvals, so that a requeued reconcile finds the change in that cache. A
//! separate watch could be ahead of the cache, and a deletion would go unnoticed.

use std::collections::HashMap;

use enact_crds::approval::SubjectKind;
use enact_crds::{Approval, Constitution, Plan, Specification};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};

/// The subjects to requeue, by kind.
pub struct Requeued {
    pub constitutions: UnboundedReceiver<ObjectRef<Constitution>>,
    pub specifications: UnboundedReceiver<ObjectRef<Specification>>,
    pub plans: UnboundedReceiver<ObjectRef<Plan>>,
}

/// The subjects of all Approvals.
pub struct ApprovalIndex {
    known: HashMap<ObjectRef<Approval>, Subject>,
    /// The subjects that were known when the current list began.
    before: HashMap<ObjectRef<Approval>, Subject>,
    constitutions: UnboundedSender<ObjectRef<Constitution>>,
    specifications: UnboundedSender<ObjectRef<Specification>>,
    plans: UnboundedSender<ObjectRef<Plan>>,
}

#[derive(Clone)]
struct Subject {
    kind: SubjectKind,
    namespace: String,
    name: String,
}

impl ApprovalIndex {
    /// Returns an empty index, and the streams of subjects to requeue.
    pub fn new() -> (Self, Requeued) {
        let ((c, constitutions), (s, specifications), (p, plans)) = (unbounded(), unbounded(), unbounded());
        let none = HashMap::new;
        let index = Self { known: none(), before: none(), constitutions: c, specifications: s, plans: p };
        (index, Requeued { constitutions, specifications, plans })
    }

    /// Handles an event of the watch, after the cache has handled it.
    pub fn handle(&mut self, event: &Event<Approval>) {
        match event {
            Event::Init => self.before = std::mem::take(&mut self.known),
            // The cache shows a list only when it is complete: requeue at InitDone.
            Event::InitApply(approval) => {
                self.known.insert(ObjectRef::from_obj(approval), Subject::of(approval));
            }
            Event::InitDone => {
                // The subjects of the previous list are included: their Approvals may have been deleted while the watch was down.
                let before = std::mem::take(&mut self.before);
                before.values().chain(self.known.values()).for_each(|subject| self.requeue(subject));
            }
            Event::Apply(approval) => {
                let subject = Subject::of(approval);
                self.requeue(&subject);
                self.known.insert(ObjectRef::from_obj(approval), subject);
            }
            Event::Delete(approval) => {
                self.requeue(&Subject::of(approval));
                self.known.remove(&ObjectRef::from_obj(approval));
            }
        }
    }

    fn requeue(&self, subject: &Subject) {
        // A receiver is dropped only when the process ends.
        let _ = match subject.kind {
            SubjectKind::Constitution => self.constitutions.unbounded_send(subject.reference()).is_ok(),
            SubjectKind::Specification => self.specifications.unbounded_send(subject.reference()).is_ok(),
            SubjectKind::Plan => self.plans.unbounded_send(subject.reference()).is_ok(),
        };
    }
}

impl Subject {
    fn of(approval: &Approval) -> Self {
        let subject = &approval.spec.subject;
        Self { kind: subject.kind, namespace: approval.namespace().unwrap_or_default(), name: subject.name.clone() }
    }

    fn reference<K: Resource<DynamicType = ()>>(&self) -> ObjectRef<K> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approval(name: &str, kind: &str, subject: &str) -> Approval {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "namespace": "ns"},
            "spec": {"subject": {"kind": kind, "name": subject}, "digest": "sha256:0", "decision": "Approve"}
        }))
        .unwrap()
    }

    fn plans(requeued: &mut Requeued) -> Vec<String> {
        let mut names: Vec<String> =
            std::iter::from_fn(|| requeued.plans.try_recv().ok()).map(|plan| plan.name).collect();
        names.sort();
        names
    }

    #[test]
    fn requeues_the_subject_of_each_changed_approval() {
        let (mut index, mut requeued) = ApprovalIndex::new();
        let (one, two) = (approval("a", "Plan", "one"), approval("b", "Plan", "two"));
        index.handle(&Event::Init);
        index.handle(&Event::InitApply(one.clone()));
        assert_eq!(plans(&mut requeued), [""; 0], "the cache does not show it yet");
        index.handle(&Event::InitDone);
        assert_eq!(plans(&mut requeued), ["one"]);
        index.handle(&Event::Apply(two.clone()));
        assert_eq!(plans(&mut requeued), ["two"]);
        index.handle(&Event::Delete(two.clone()));
        assert_eq!(plans(&mut requeued), ["two"]);
        index.handle(&Event::Apply(approval("c", "Specification", "two")));
        assert_eq!(plans(&mut requeued), [""; 0]);
        assert_eq!(requeued.specifications.try_recv().unwrap(), ObjectRef::new("two").within("ns"));
        for event in [Event::Init, Event::InitApply(two), Event::InitDone] {
            index.handle(&event);
        }
        assert_eq!(plans(&mut requeued), ["one", "two"], "one was deleted while the watch was down");
    }
}
