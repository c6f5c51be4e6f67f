//! Attacks on the separation of tenants: namespaces, Tenants, and what owners and others may do in the API.

use super::case::{Case, create, kubectl};
use super::site::User::{Editor, KubeEditor, Owner, Root, TenantAdmin};

/// A Tenant that takes a namespace.
macro_rules! tenant {
    ($namespace:literal) => {
        concat!(
            "apiVersion: enact.dev/v1alpha1\nkind: Tenant\nmetadata: {name: %own-greedy}\nspec: {namespaces: [",
            $namespace,
            "]}\n"
        )
    };
}

/// The attacks.
pub(super) const CASES: &[Case] = &[
    create(
        "ADM-E4",
        "take-another-tenants-namespace",
        "own the namespace of another tenant",
        TenantAdmin,
        tenant!("%other"),
        &["belongs to Tenant %other already"],
    ),
    create(
        "ADM-E4",
        "take-the-clusters-namespace-by-a-tenant",
        "own the cluster's own namespace",
        TenantAdmin,
        tenant!("kube-system"),
        &["is reserved"],
    ),
    create(
        "ADM-E4",
        "take-the-default-namespace",
        "own the namespace `default`",
        TenantAdmin,
        tenant!("default"),
        &["is reserved|belongs to the default tenant"],
    ),
    create(
        "ADM-E4",
        "take-the-installations-namespace",
        "own the namespace of the installation",
        TenantAdmin,
        tenant!("%system"),
        &["holds the installation of Enact"],
    ),
    create(
        "ADM-E4",
        "take-an-existing-namespace",
        "own a namespace that somebody else created",
        TenantAdmin,
        tenant!("%free"),
        &["kubectl annotate namespace %free"],
    ),
    kubectl(
        "ADM-E4",
        "allow-the-own-takeover",
        "allow the own Tenant to own a namespace",
        TenantAdmin,
        "annotate namespace %free enact.dev/allow-tenant=%own-greedy --dry-run=server",
        &["cannot get resource \"namespaces\"|cannot patch resource \"namespaces\""],
    ),
    kubectl(
        "ADM-D5",
        "delete-a-tenant-under-work",
        "delete a Tenant while its plans run",
        TenantAdmin,
        "delete tenant %own --dry-run=server",
        &["while Plans are not finished"],
    ),
    kubectl(
        "ADM-S5",
        "label-a-namespace",
        "give a namespace to a tenant by its label",
        Root,
        "label namespace %free enact.dev/tenant=%own --dry-run=server",
        &["metadata.labels[enact.dev/tenant]"],
    ),
    kubectl(
        "ADM-S5",
        "label-another-tenants-namespace",
        "give the namespace of a tenant to another one",
        Root,
        "label namespace %other --overwrite enact.dev/tenant=%own --dry-run=server",
        &["metadata.labels[enact.dev/tenant]"],
    ),
    kubectl(
        "ADM-S5",
        "remove-the-label-of-a-namespace",
        "take a namespace from its tenant by a JSON patch",
        Root,
        "patch namespace %other --type=json --patch=[{\"op\":\"remove\",\"path\":\"/metadata/labels/enact.dev~1tenant\"}] --dry-run=server",
        &["metadata.labels[enact.dev/tenant]"],
    ),
    kubectl(
        "ADM-S5",
        "label-by-the-status",
        "give a namespace to a tenant through its status",
        Root,
        "patch namespace %free --subresource=status --type=merge --patch={\"metadata\":{\"labels\":{\"enact.dev/tenant\":\"%own\"}}} --dry-run=server",
        &["metadata.labels[enact.dev/tenant]"],
    ),
    create(
        "ADM-S5",
        "label-a-new-namespace",
        "create a namespace with the label of a tenant",
        Root,
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: %own-new, labels: {enact.dev/tenant: %own}}\n",
        &["metadata.labels[enact.dev/tenant]"],
    ),
    create(
        "ADM-S5",
        "work-outside-of-tenants",
        "create a plan in a namespace of no tenant",
        Root,
        "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {name: attack, namespace: %free}\n\
         spec: {agentRef: {name: a}, tasks: [{id: T001, title: a}]}\n",
        &["belongs to no tenant"],
    ),
    create(
        "ADM-S5",
        "label-a-plan",
        "label a plan with another tenant",
        Editor,
        "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {name: attack, namespace: %own, labels: {enact.dev/tenant: %other}}\n\
         spec: {agentRef: {name: scripts}, tasks: [{id: T001, title: a}]}\n",
        &["the label names tenant %other"],
    ),
    kubectl(
        "ADM-I1",
        "read-another-tenants-plans",
        "list the plans of another tenant",
        Owner,
        "get plans --namespace=%other",
        &["cannot list resource \"plans\""],
    ),
    kubectl(
        "ADM-I1",
        "read-another-tenants-secrets",
        "list the Secrets of another tenant",
        Owner,
        "get secrets --namespace=%other",
        &["cannot list resource \"secrets\""],
    ),
    kubectl(
        "ADM-I1",
        "read-another-tenants-logs",
        "list the pods of another tenant",
        Owner,
        "get pods --namespace=%other",
        &["cannot list resource \"pods\""],
    ),
    kubectl(
        "ADM-I2",
        "read-the-installations-secrets",
        "list the Secrets of the installation",
        Owner,
        "get secrets --namespace=%system",
        &["cannot list resource \"secrets\""],
    ),
    kubectl(
        "ADM-I2",
        "read-a-tenants-secrets-as-its-author",
        "list the Secrets of a tenant's namespace as somebody who may write Tenants",
        TenantAdmin,
        "get secrets --namespace=%own",
        &["cannot list resource \"secrets\""],
    ),
    kubectl(
        "ADM-E5",
        "raise-the-own-limits",
        "raise the limits of the own tenant",
        Owner,
        "patch tenant %own --type=merge --patch={\"spec\":{\"parallelism\":9999}} --dry-run=server",
        &["cannot patch resource \"tenants\""],
    ),
    kubectl(
        "ADM-E5",
        "raise-the-quota",
        "delete the quota of the own tenant",
        Owner,
        "delete resourcequota enact-tenant --namespace=%own --dry-run=server",
        &["cannot delete resource \"resourcequotas\""],
    ),
    create(
        "ADM-E6",
        "open-the-network-as-owner",
        "add a NetworkPolicy that opens the network",
        Owner,
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: open, namespace: %own}\n\
         spec: {podSelector: {}, policyTypes: [Egress], egress: [{}]}\n",
        &["cannot create resource \"networkpolicies\""],
    ),
    create(
        "ADM-E6",
        "open-the-network-as-editor",
        "add a NetworkPolicy that opens the network, with the role `edit` of Kubernetes",
        KubeEditor,
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: open, namespace: %own}\n\
         spec: {podSelector: {}, policyTypes: [Egress], egress: [{}]}\n",
        &["denied request|denied the request|cannot create resource"],
    ),
    kubectl(
        "ADM-E6",
        "delete-the-network-policy-as-editor",
        "delete the NetworkPolicy of the tenant, with the role `edit` of Kubernetes",
        KubeEditor,
        "delete networkpolicy enact-tenant --namespace=%own --dry-run=server",
        &["denied request|denied the request|cannot delete resource"],
    ),
    kubectl(
        "ADM-E6",
        "delete-the-network-policy",
        "delete the NetworkPolicy of the own tenant",
        Owner,
        "delete networkpolicy enact-tenant --namespace=%own --dry-run=server",
        &["cannot delete resource \"networkpolicies\""],
    ),
    create(
        "ADM-E7",
        "give-rights",
        "bind a role of the cluster in the own namespace",
        Owner,
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: mine, namespace: %own}\n\
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\n\
         subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: mallory}]\n",
        &["cannot create resource \"rolebindings\""],
    ),
    kubectl(
        "POD-S1",
        "run-a-pod-as-owner",
        "run a pod by hand in the own namespace",
        Owner,
        "run attack --image=attack --namespace=%own --dry-run=server",
        &["cannot create resource \"pods\""],
    ),
    create(
        "NOD-E4",
        "run-a-privileged-pod",
        "run a privileged pod in a namespace of a tenant",
        Root,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: attack, namespace: %own}\n\
         spec: {containers: [{name: a, image: a, securityContext: {privileged: true}}]}\n",
        &["PodSecurity"],
    ),
    kubectl(
        "POD-T1",
        "relabel-a-pod",
        "make a pod work on another attempt by its labels",
        Owner,
        "label pod probe-t001-1 --namespace=%own --overwrite enact.dev/attempt=2 --dry-run=server",
        &["cannot patch resource \"pods\""],
    ),
    kubectl(
        "POD-I4",
        "enter-a-pod",
        "run a command in the pod of an agent",
        Owner,
        "exec --namespace=%own probe-t001-1 --container=agent -- id",
        &["cannot create resource \"pods/exec\"|cannot get resource \"pods/exec\""],
    ),
    kubectl(
        "ADM-E7",
        "remove-the-webhook",
        "remove the webhook that admits objects",
        Owner,
        "delete validatingwebhookconfigurations enact --dry-run=server",
        &["cannot delete resource \"validatingwebhookconfigurations\""],
    ),
    kubectl(
        "SRV-E3",
        "make-a-pods-token",
        "create a token for the server without a pod",
        Owner,
        "create token default --namespace=%own --audience=enact-server",
        &["cannot create resource \"serviceaccounts/token\""],
    ),
];
