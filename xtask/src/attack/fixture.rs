//! The objects that attacks need: two tenants, a namespace of nobody, users' rights, and plans.

use anyhow::{Context, Result};
use serde_json::json;

use super::pod;
use super::site::{LABEL, Site, User};

/// Longest wait for the operator, in seconds.
const PATIENCE: u32 = 120;

/// The namespaces are created first, with the label by which the suite finds them when it cleans up.
const TENANTS: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: %own, labels: {LABEL: 'true'}, annotations: {enact.dev/allow-tenant: %own}}
---
apiVersion: v1
kind: Namespace
metadata: {name: %other, labels: {LABEL: 'true'}, annotations: {enact.dev/allow-tenant: %other}}
---
apiVersion: v1
kind: Namespace
metadata: {name: %free, labels: {LABEL: 'true'}}
---
apiVersion: enact.dev/v1alpha1
kind: Tenant
metadata: {name: %own, labels: {LABEL: 'true'}}
spec:
  namespaces: [%own]
  owners: {groups: [%own-owners]}
  quota: {pods: 20, cpu: '4', containerCpu: '2', memory: 8Gi, ephemeralStorage: 16Gi, tasks: 100, plans: 20, agents: 20, constitutions: 1}
  isolation: {SANDBOX}
---
apiVersion: enact.dev/v1alpha1
kind: Tenant
metadata: {name: %other, labels: {LABEL: 'true'}}
spec:
  namespaces: [%other]
  owners: {groups: [%other-owners]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %own-tenant-admins, labels: {LABEL: 'true'}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: enact-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: %own-tenant-admins}]
";

/// The roles in `%own`, and the groups that have them.
const ROLES: [(&str, &str); 5] = [
    ("enact-edit", "editors"),
    ("enact-view", "editors"),
    ("enact-approver", "leads"),
    ("enact-view", "leads"),
    ("edit", "kube-editors"),
];

/// What the tenants have.
const OBJECTS: &str = "\
apiVersion: v1
kind: Secret
metadata: {name: theirs, namespace: %other}
stringData: {password: secret-of-another-tenant}
---
apiVersion: v1
kind: Secret
metadata: {name: enact-push, namespace: %own}
stringData: {short: short-secret}
---
apiVersion: v1
kind: Secret
metadata: {name: enact-model-keys, namespace: %own}
stringData: {inside: key-of-a-provider}
---
apiVersion: enact.dev/v1alpha1
kind: Agent
metadata: {name: scripts, namespace: %other}
spec: {adapter: Command}
---
apiVersion: enact.dev/v1alpha1
kind: Agent
metadata: {name: scripts, namespace: %own}
spec: {adapter: Command, resources: {cpu: 10m, memory: 64Mi, ephemeralStorage: 64Mi}}
---
apiVersion: enact.dev/v1alpha1
kind: ModelProvider
metadata: {name: inside, namespace: %own}
spec: {api: OpenAi, baseUrl: 'http://127.0.0.1:8081', key: inside, prices: [{model: '*', input: '1', output: '4'}]}
---
apiVersion: enact.dev/v1alpha1
kind: Constitution
metadata: {name: only, namespace: %own}
spec: {source: {inline: '# Constitution'}}
---
apiVersion: enact.dev/v1alpha1
kind: Specification
metadata: {name: governed, namespace: %own}
spec:
  constitutionRef: {name: house}
  approval: {required: 1, groups: [%own-leads]}
  source: {configMapKeyRef: {name: documents, key: spec.md}}
";

/// The plan that waits for approvals. Its author is [`User::Author`].
const HELD: &str = "\
apiVersion: enact.dev/v1alpha1
kind: Plan
metadata: {name: held, namespace: %own}
spec:
  agentRef: {name: scripts}
  approval: {required: 2, groups: [%own-leads], fourEyes: true}
  tasks: [{id: T001, title: Wait, script: 'true'}]
";

/// An approval of that plan, one of two.
const SIGNED: &str = "\
apiVersion: enact.dev/v1alpha1
kind: Approval
metadata: {name: signed, namespace: %own}
spec: {subject: {kind: Plan, name: held}, digest: '%digest', decision: Approve}
";

/// Creates the objects. The pod of the attacks by pod starts, and waits.
pub(super) fn set(site: &mut Site) -> Result<()> {
    let sandbox = site.runtime_class.as_ref().map(|name| format!("runtimeClassName: {name}")).unwrap_or_default();
    let tenants = TENANTS.replace("LABEL", LABEL).replace("SANDBOX", &sandbox);
    site.apply(&tenants).context("the tenants cannot be created")?;
    for tenant in ["tenant/%own", "tenant/%other"] {
        site.wait(tenant, "condition=Ready", PATIENCE).context("the operator does not set up the suite's tenants")?;
    }
    let bindings = ROLES.map(|(role, group)| {
        let api = "rbac.authorization.k8s.io";
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": format!("{group}-{role}"), "namespace": "%own" },
            "roleRef": { "apiGroup": api, "kind": "ClusterRole", "name": role },
            "subjects": [{ "apiGroup": api, "kind": "Group", "name": format!("%own-{group}") }],
        })
    });
    site.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": bindings }).to_string())?;
    site.apply(OBJECTS).context("the objects of the tenants cannot be created")?;
    site.apply(&pod::plan(site)).context("the plan of the pod cannot be created")?;
    site.apply_as(User::Author, HELD).context("the plan `held` cannot be created")?;
    site.wait("plan/held", "jsonpath={.status.digest}", PATIENCE)
        .context("the operator has not read the plan `held`")?;
    let digest = site.read(&["get", "plan", "held", "--namespace=%own", "--output=jsonpath={.status.digest}"])?;
    site.learn("%digest", &digest);
    site.apply_as(User::Lead, SIGNED).context("the plan `held` cannot be approved")?;
    site.wait("plan/probe", "jsonpath={.status.startedAt}", PATIENCE).context("the plan of the pod does not start")?;
    site.wait(&format!("pod/{}", pod::POD), "create", PATIENCE).context("the pod of the attacks is not created")
}
