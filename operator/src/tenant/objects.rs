//! The objects that the operator keeps in a tenant's namespaces, and the labels of the namespaces.

use std::collections::BTreeMap;

use enact_crds::TenantSpec;
use enact_crds::tenant::{Egress, Owners, PodSecurity, Quota};
use enact_domain::names::{ANNOTATION_SERVER, LABEL_TENANT, READER_SERVICE_ACCOUNT};
use enact_domain::quota::quantity;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt as _;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Map, Value, json};

use crate::caches::pod_security_labels;
use crate::config::Config;

/// The finalizer that keeps a Tenant until the operator has left its namespaces.
pub const FINALIZER: &str = "enact.dev/tenant";
/// Label of the operator's objects; objects of the tenant's users do not have it.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of that label.
pub const MANAGER: &str = "enact-operator";
/// The role of owners. The chart creates it, and lets the operator bind this one and [`READER_SERVICE_ACCOUNT`] only.
const OWNER_ROLE: &str = "enact-tenant-owner";
/// The label with a namespace's name, which the API server sets.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// CPU request of containers without one, in a namespace with a CPU quota.
const DEFAULT_CPU: &str = "50m";
/// Memory of containers without a request, in a namespace with a memory quota.
const DEFAULT_MEMORY: &str = "256Mi";
/// Ephemeral storage that containers without a request reserve, in a namespace with a quota of it.
const DEFAULT_STORAGE_REQUEST: &str = "64Mi";
/// Ephemeral storage of containers without a limit, in a namespace with a quota of it.
const DEFAULT_STORAGE: &str = "1Gi";
/// The API group of roles and their bindings.
const RBAC: &str = "rbac.authorization.k8s.io";

/// A kind of object that the operator keeps in a tenant's namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// Allowed connections. It is the first, so that no pod runs without it.
    NetworkPolicy,
    /// Limits of objects and compute resources.
    ResourceQuota,
    /// Default resources of containers.
    LimitRange,
    /// Permissions of the tenant's owners.
    RoleBinding,
    /// ServiceAccount whose tokens read the namespace's records.
    Reader,
    /// Permissions of that ServiceAccount.
    ReaderBinding,
}

impl ObjectKind {
    /// All kinds, in the order of their setup.
    pub const ALL: [Self; 6] = [
        Self::NetworkPolicy,
        Self::ResourceQuota,
        Self::LimitRange,
        Self::RoleBinding,
        Self::Reader,
        Self::ReaderBinding,
    ];

    pub fn resource(self) -> ApiResource {
        match self {
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::ResourceQuota => ApiResource::erase::<ResourceQuota>(&()),
            Self::LimitRange => ApiResource::erase::<LimitRange>(&()),
            Self::RoleBinding | Self::ReaderBinding => ApiResource::erase::<RoleBinding>(&()),
            Self::Reader => ApiResource::erase::<ServiceAccount>(&()),
        }
    }

    /// Returns the name of the kind in Kubernetes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "NetworkPolicy",
            Self::ResourceQuota => "ResourceQuota",
            Self::LimitRange => "LimitRange",
            Self::RoleBinding | Self::ReaderBinding => "RoleBinding",
            Self::Reader => "ServiceAccount",
        }
    }

    /// Returns the name of the operator's object of this kind; each namespace has one.
    pub fn object_name(self) -> &'static str {
        match self {
            Self::RoleBinding => OWNER_ROLE,
            Self::Reader | Self::ReaderBinding => READER_SERVICE_ACCOUNT,
            _ => "enact-tenant",
        }
    }

    /// Returns the fields that the operator sets.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::RoleBinding | Self::ReaderBinding => &["roleRef", "subjects"],
            Self::Reader => &["automountServiceAccountToken"],
            _ => &["spec"],
        }
    }

    /// Returns the fields that the operator sets, without those of the API server and other controllers.
    pub fn content(self, object: &DynamicObject) -> Value {
        let fields = self.fields().iter().filter_map(|f| Some(((*f).to_owned(), object.data.get(f)?.clone())));
        let server = object.annotations().get(ANNOTATION_SERVER).filter(|_| self == Self::Reader);
        let annotated = server.map(|place| ("metadata".to_owned(), annotations(place)));
        Value::Object(fields.chain(annotated).collect::<Map<_, _>>())
    }
}

/// The wanted content of every namespace of a tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Contents of the objects, without the name of the namespace. A missing kind is deleted.
    pub objects: BTreeMap<ObjectKind, Value>,
    /// Labels of the namespace in addition to the tenant's.
    pub labels: BTreeMap<String, String>,
}

impl Wanted {
    /// Returns the content for a Tenant's `spec`.
    pub fn new(spec: &TenantSpec, config: &Config) -> Self {
        let objects = [
            (ObjectKind::NetworkPolicy, Some(network_policy(&spec.isolation.egress, config))),
            (ObjectKind::ResourceQuota, resource_quota(&spec.quota)),
            (ObjectKind::LimitRange, limit_range(&spec.quota)),
            (ObjectKind::RoleBinding, role_binding(&spec.owners)),
        ];
        let Self { objects: reading, .. } = Self::of_default(config);
        let level = match spec.isolation.pod_security {
            PodSecurity::Restricted => "restricted",
            PodSecurity::Baseline => "baseline",
        };
        Self {
            objects: objects.into_iter().filter_map(|(kind, content)| Some((kind, content?))).chain(reading).collect(),
            labels: pod_security_labels().map(|key| (key, level.to_owned())).collect(),
        }
    }

    /// Returns the content of a namespace of the default tenant: only the objects that allow people to read records.
    pub fn of_default(config: &Config) -> Self {
        let bound =
            bound(READER_SERVICE_ACCOUNT, &[json!({ "kind": "ServiceAccount", "name": READER_SERVICE_ACCOUNT })]);
        let objects = [(ObjectKind::Reader, reader(config)), (ObjectKind::ReaderBinding, bound)];
        Self { objects: objects.into(), labels: BTreeMap::new() }
    }

    /// Returns the content of the object of `kind` in `namespace`; none when it is not wanted.
    pub fn content(&self, kind: ObjectKind, namespace: &str) -> Option<Value> {
        let mut content = self.objects.get(&kind)?.clone();
        if kind == ObjectKind::ReaderBinding {
            // A binding must name the namespace of a ServiceAccount, even if it is the binding's own.
            content["subjects"][0]["namespace"] = namespace.into();
        }
        Some(content)
    }
}

/// Returns the manifest of an object for server-side apply.
pub fn manifest(kind: ObjectKind, tenant: &str, namespace: &str, content: &Value) -> Value {
    let resource = kind.resource();
    let mut manifest = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": kind.object_name(),
            "namespace": namespace,
            "labels": { LABEL_TENANT: tenant, LABEL_MANAGED_BY: MANAGER },
        },
    });
    for (field, value) in content.as_object().into_iter().flatten() {
        match (field.as_str(), value.as_object()) {
            ("metadata", Some(more)) => more.iter().for_each(|(key, v)| manifest[field][key] = v.clone()),
            _ => manifest[field] = value.clone(),
        }
    }
    manifest
}

fn resource_quota(quota: &Quota) -> Option<Value> {
    let number = |n: Option<u32>| n.map(|n| n.to_string());
    let lines = [
        ("pods", number(quota.pods)),
        ("requests.cpu", quota.cpu.clone()),
        ("limits.memory", quota.memory.clone()),
        ("limits.ephemeral-storage", quota.ephemeral_storage.clone()),
        ("count/tasks.enact.dev", number(quota.tasks)),
        ("count/plans.enact.dev", number(quota.plans)),
        ("count/agents.enact.dev", number(quota.agents)),
        ("count/specifications.enact.dev", number(quota.specifications)),
        ("count/constitutions.enact.dev", number(quota.constitutions)),
        ("count/approvals.enact.dev", number(quota.approvals)),
    ];
    let hard: Map<String, Value> =
        lines.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into()))).collect();
    (!hard.is_empty()).then(|| json!({ "spec": { "hard": hard } }))
}

/// Returns default resources, and the limit of CPU. A quota of CPU, memory or storage refuses pods without a request or limit; with defaults, users'
/// own pods are still admitted.
fn limit_range(quota: &Quota) -> Option<Value> {
    let mut item = json!({ "type": "Container" });
    if quota.cpu.is_some() {
        item["defaultRequest"]["cpu"] = DEFAULT_CPU.into();
    }
    if let Some(limit) = &quota.container_cpu {
        // A default must not exceed the maximum.
        let request = if quantity(limit) < quantity(DEFAULT_CPU) { limit.as_str() } else { DEFAULT_CPU };
        item["defaultRequest"]["cpu"] = request.into();
        item["default"]["cpu"] = limit.as_str().into();
        item["max"]["cpu"] = limit.as_str().into();
    }
    if quota.memory.is_some() {
        item["defaultRequest"]["memory"] = DEFAULT_MEMORY.into();
        item["default"]["memory"] = DEFAULT_MEMORY.into();
    }
    if quota.ephemeral_storage.is_some() {
        item["defaultRequest"]["ephemeral-storage"] = DEFAULT_STORAGE_REQUEST.into();
        item["default"]["ephemeral-storage"] = DEFAULT_STORAGE.into();
    }
    item.get("defaultRequest").is_some().then(|| json!({ "spec": { "limits": [item] } }))
}

fn role_binding(owners: &Owners) -> Option<Value> {
    let subject = |kind: &str, name: &String| json!({ "apiGroup": RBAC, "kind": kind, "name": name });
    let users = owners.users.iter().map(|name| subject("User", name));
    let subjects: Vec<Value> = users.chain(owners.groups.iter().map(|name| subject("Group", name))).collect();
    (!subjects.is_empty()).then(|| bound(OWNER_ROLE, &subjects))
}

fn bound(role: &str, subjects: &[Value]) -> Value {
    json!({
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": role },
        "subjects": subjects,
    })
}

/// Returns the ServiceAccount for readers. No pod gets its token; people request one. An annotation holds the address of enact-server for
/// the command-line tool.
fn reader(config: &Config) -> Value {
    let mut content = json!({ "automountServiceAccountToken": false });
    if let Some((service, namespace)) = config.server_service() {
        content["metadata"] = annotations(&format!("{namespace}/{service}"));
    }
    content
}

fn annotations(server: &str) -> Value {
    json!({ "annotations": { ANNOTATION_SERVER: server } })
}

fn network_policy(egress: &[Egress], config: &Config) -> Value {
    let namespace = |name: &str| json!({ "namespaceSelector": { "matchLabels": { NAMESPACE_NAME: name } } });
    let port = |protocol: &str, port: i64| json!({ "protocol": protocol, "port": port });
    let dns_ports = [port("UDP", 53), port("TCP", 53)];
    let mut rules = vec![match config.dns_namespace.as_str() {
        "" => json!({ "ports": dns_ports }),
        name => json!({ "ports": dns_ports, "to": [namespace(name)] }),
    }];
    for (service_port, labels) in config.services() {
        let mut to = namespace(&config.namespace);
        let labels: Map<String, Value> = labels.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
        to["podSelector"] = json!({ "matchLabels": labels });
        rules.push(json!({ "ports": [port("TCP", service_port.into())], "to": [to] }));
    }
    rules.extend(egress.iter().map(|place| {
        let to = match (&place.cidr, &place.namespace) {
            (Some(cidr), _) => json!({ "ipBlock": { "cidr": cidr } }),
            (None, name) => namespace(name.as_deref().unwrap_or_default()),
        };
        let ports: Vec<Value> = place.ports.iter().map(|p| port("TCP", (*p).into())).collect();
        if ports.is_empty() { json!({ "to": [to] }) } else { json!({ "ports": ports, "to": [to] }) }
    }));
    // Ingress without a rule: no connection to a pod of the tenant is allowed.
    json!({ "spec": { "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": rules } })
}

/// Returns whether two contents are equal. Quantities are compared by value, because the API server normalizes them.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::String(a), Value::String(b)) => a == b || quantity(a).is_some_and(|n| Some(n) == quantity(b)),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::config;

    #[test]
    fn a_tenants_objects() {
        let spec: TenantSpec = serde_json::from_value(json!({
            "namespaces": ["shop"],
            "owners": {"users": ["ann"], "groups": ["leads"]},
            "quota": {"pods": 20, "cpu": "4", "memory": "8Gi", "tasks": 1000, "plans": 50},
            "isolation": {"podSecurity": "baseline", "egress": [
                {"namespace": "git", "ports": [8080]}, {"cidr": "203.0.113.0/24"}]},
        }))
        .unwrap();
        let wanted = Wanted::new(&spec, &config());
        let manifests: Vec<Value> = ObjectKind::ALL
            .into_iter()
            .filter_map(|kind| Some(manifest(kind, "acme", "shop", &wanted.content(kind, "shop")?)))
            .collect();
        insta::assert_yaml_snapshot!((manifests, wanted.labels));
    }

    #[test]
    fn omits_objects_that_are_not_requested() {
        let spec: TenantSpec = serde_json::from_value(json!({"namespaces": ["a"]})).unwrap();
        let kinds: Vec<ObjectKind> = Wanted::new(&spec, &config()).objects.into_keys().collect();
        let always = [ObjectKind::NetworkPolicy, ObjectKind::Reader, ObjectKind::ReaderBinding];
        assert_eq!(kinds, always, "egress is denied, and the record can be read, whatever a Tenant says");
    }

    #[test]
    fn a_quota_limits_storage_and_the_number_of_each_kind() {
        let quota = json!({
            "ephemeralStorage": "20Gi", "agents": 5, "specifications": 6, "constitutions": 7, "approvals": 8,
        });
        let spec: TenantSpec = serde_json::from_value(json!({ "namespaces": ["a"], "quota": quota })).unwrap();
        let wanted = Wanted::new(&spec, &config());
        let hard = json!({
            "limits.ephemeral-storage": "20Gi", "count/agents.enact.dev": "5", "count/specifications.enact.dev": "6",
            "count/constitutions.enact.dev": "7", "count/approvals.enact.dev": "8",
        });
        assert_eq!(wanted.objects[&ObjectKind::ResourceQuota]["spec"]["hard"], hard);
        let limits = &wanted.objects[&ObjectKind::LimitRange]["spec"]["limits"][0];
        assert_eq!(limits["default"], json!({ "ephemeral-storage": "1Gi" }), "others' pods are still admitted");
    }

    #[test]
    fn containers_have_a_limit_of_cpu() {
        let limits = |quota: Value| {
            let spec: TenantSpec = serde_json::from_value(json!({ "namespaces": ["a"], "quota": quota })).unwrap();
            Wanted::new(&spec, &config()).objects[&ObjectKind::LimitRange]["spec"]["limits"][0].clone()
        };
        let two = json!({
            "type": "Container", "max": {"cpu": "2"}, "default": {"cpu": "2"}, "defaultRequest": {"cpu": "50m"},
        });
        assert_eq!(limits(json!({"containerCpu": "2"})), two);
        assert_eq!(limits(json!({"containerCpu": "20m"}))["defaultRequest"]["cpu"], "20m");
        assert_eq!(limits(json!({"cpu": "2"}))["max"], Value::Null);
    }

    #[test]
    fn compares_quantities_by_value() {
        for (a, b) in [("1000m", "1"), ("0.5", "500m"), ("1Gi", "1024Mi"), ("1.5Gi", "1536Mi"), ("2k", "2000")] {
            assert!(same(&json!({ "x": [a] }), &json!({ "x": [b] })), "{a} = {b}");
        }
        for (a, b) in [("1", "2"), ("1Gi", "1G"), ("a", "b"), ("", "0"), ("1e3", "1000")] {
            assert!(!same(&a.into(), &b.into()), "{a} ≠ {b}");
        }
        assert!(!same(&json!({"a": 1}), &json!({"a": 1, "ingress": [{}]})), "what somebody added counts");
    }
}
