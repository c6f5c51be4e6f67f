//! Attacks by the content of documents, plans, agents and providers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::case::{Case, Request, Verdict, code, create, short};
use super::site::Site;
use super::site::User::{Editor, KubeEditor, Owner, Root};

/// A Plan of `%own`, with its spec.
macro_rules! plan {
    ($spec:literal) => {
        concat!(
            "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {name: attack, namespace: %own}\nspec: {",
            $spec,
            "}\n"
        )
    };
}

/// A Plan that works on a repository.
macro_rules! workspace {
    ($workspace:literal) => {
        concat!(
            "apiVersion: enact.dev/v1alpha1\nkind: Plan\nmetadata: {name: attack, namespace: %own}\n",
            "spec: {agentRef: {name: scripts}, tasks: [{id: T001, title: a}], workspace: {",
            $workspace,
            "}}\n"
        )
    };
}

/// Another object of `%own`, with its kind and spec.
macro_rules! object {
    ($kind:literal, $spec:literal) => {
        concat!(
            "apiVersion: enact.dev/v1alpha1\nkind: ",
            $kind,
            "\nmetadata: {name: attack, namespace: %own}\nspec: {",
            $spec,
            "}\n"
        )
    };
}

/// Authors that flood the webhook at once.
const FLOOD: usize = 8;
/// Size of a document of the flood, in bytes.
const FLOOD_BYTES: usize = 1_000_000;
/// Longest wait of another tenant during the flood. On an idle machine it is a quarter of a second; here the flood itself takes the time of
/// the machine on which the suite runs. `cargo xtask bench` measures the webhook alone.
const FLOOD_PATIENCE: Duration = Duration::from_secs(10);
/// Requests of another tenant during the flood.
const FLOOD_REQUESTS: usize = 5;

/// Longest wait until the webhook knows the change of a Tenant, and the time between two tries.
const TENANT_PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(500);

/// The attacks.
pub(super) const CASES: &[Case] = &[
    create(
        "ADM-E3",
        "use-an-agent-of-another-namespace",
        "name an Agent of another namespace",
        Editor,
        plan!("agentRef: {name: %other/scripts}, tasks: [{id: T001, title: a}]"),
        &["names another namespace"],
    ),
    create(
        "ADM-E3",
        "use-a-secret-of-another-namespace",
        "name a Secret of another namespace as credential",
        Editor,
        object!("Agent", "adapter: Command, env: [{name: A, secretKeyRef: {name: %other/theirs, key: password}}]"),
        &["names another namespace"],
    ),
    create(
        "ADM-E3",
        "use-a-config-map-of-another-namespace",
        "name a ConfigMap of another namespace as document",
        Editor,
        object!("Specification", "source: {configMapKeyRef: {name: %other/theirs, key: a}}"),
        &["names another namespace"],
    ),
    create(
        "ADM-E3",
        "use-recorded-work-of-another-namespace",
        "replay recorded work of another namespace",
        Editor,
        object!("Agent", "adapter: Replay, replay: {configMapRef: {name: %other/theirs}}"),
        &["names another namespace"],
    ),
    create(
        "ADM-E3",
        "add-a-namespace-to-a-reference",
        "add the field `namespace` to a reference",
        Editor,
        plan!("agentRef: {name: scripts, namespace: %other}, tasks: [{id: T001, title: a}]"),
        &["unknown field"],
    ),
    create(
        "GWY-I2",
        "put-a-models-key-into-an-agent",
        "put the key of a model provider into an Agent's environment",
        Editor,
        object!("Agent", "adapter: Command, env: [{name: A, secretKeyRef: {name: enact-model-keys, key: inside}}]"),
        &["contains the keys of model providers"],
    ),
    create(
        "GWY-I2",
        "clone-with-a-models-key",
        "mount the keys of model providers as a credential for Git",
        Editor,
        workspace!(
            "url: 'https://git.example.org/a', credentialsSecretRef: {name: enact-model-keys}, \
             integration: {credentialsSecretRef: {name: b}}"
        ),
        &["contains the keys of model providers"],
    ),
    create(
        "GWY-E3",
        "share-a-provider",
        "share a provider of the own tenant with all tenants",
        Editor,
        object!("ModelProvider", "api: OpenAi, baseUrl: 'https://models.example.org', shareWith: {allTenants: true}"),
        &["in the namespace of the installation can be shared"],
    ),
    create(
        "GWY-E3",
        "share-an-agent",
        "share an agent of the own tenant with all tenants",
        Editor,
        object!("Agent", "adapter: Command, shareWith: {allTenants: true}"),
        &["in the namespace of the installation can be shared"],
    ),
    create(
        "GWY-I3",
        "put-a-credential-into-a-url",
        "put a credential into the URL of a provider, which messages show",
        Editor,
        object!("ModelProvider", "api: OpenAi, baseUrl: 'https://user:secret@models.example.org'"),
        &["must not contain a credential"],
    ),
    create(
        "GWY-I5",
        "send-a-models-key-elsewhere",
        "have the gateway send the key of a provider to a server of the attacker",
        Editor,
        object!("ModelProvider", "api: OpenAi, baseUrl: 'https://attacker.example.org', key: inside"),
        &["may not get the Secret enact-model-keys"],
    ),
    create(
        "NOD-E4",
        "ask-for-the-host",
        "ask for the network of the node in an Agent",
        Editor,
        object!("Agent", "adapter: Command, hostNetwork: true"),
        &["unknown field"],
    ),
    create(
        "NOD-E4",
        "ask-for-privileges",
        "ask for a privileged container in a task",
        Editor,
        plan!("agentRef: {name: scripts}, tasks: [{id: T001, title: a, securityContext: {privileged: true}}]"),
        &["unknown field"],
    ),
    create(
        "ADM-S2",
        "write-in-a-config-map",
        "hide the author of a document that requires four eyes in a ConfigMap",
        Editor,
        object!(
            "Specification",
            "source: {configMapKeyRef: {name: a, key: b}}, approval: {required: 1, fourEyes: true}"
        ),
        &["spec.source.configMapKeyRef", "four eyes"],
    ),
    create(
        "IMG-T1",
        "name-a-url-as-image",
        "name a URL as image",
        Editor,
        object!("Agent", "adapter: Command, image: 'https://registry.example.org/a'"),
        &["is not an image reference"],
    ),
    create(
        "GIT-E1",
        "share-the-credential-of-the-target",
        "let agents have the credential that pushes the target branch",
        Editor,
        workspace!(
            "url: 'https://git.example.org/a', credentialsSecretRef: {name: git}, integration: {credentialsSecretRef: {name: git}}"
        ),
        &["must not name the same Secret", "spec.workspace"],
    ),
    create(
        "GIT-E1",
        "publish-where-agents-push",
        "publish to a branch that agents can push",
        Editor,
        workspace!("url: 'https://git.example.org/a', integration: {branch: enact/a}"),
        &["the branch must not start with enact/"],
    ),
    create(
        "GIT-E2",
        "run-a-command-by-a-url",
        "make Git run a command by the URL",
        Editor,
        workspace!("url: 'ext::sh -c id'"),
        &["must start with https://", "spec.workspace.url"],
    ),
    create(
        "GIT-E2",
        "read-a-file-by-a-url",
        "make Git read files of its pod by the URL",
        Editor,
        workspace!("url: 'file:///etc'"),
        &["must start with https://", "spec.workspace.url"],
    ),
    create(
        "GIT-E2",
        "pass-an-option-to-ssh",
        "pass an option to ssh by the host name",
        Editor,
        workspace!("url: 'ssh://-oProxyCommand=id/a'"),
        &["spec.workspace.url"],
    ),
    create(
        "GIT-E2",
        "pass-an-option-to-git",
        "pass an option to Git by the revision",
        Editor,
        workspace!("url: 'https://git.example.org/a', revision: '--upload-pack=id'"),
        &["spec.workspace.revision"],
    ),
    create(
        "GIT-E2",
        "pass-a-substitution-in-a-host-name",
        "put characters of a shell into the host name of a repository",
        Editor,
        workspace!("url: 'https://$(id).example.org/a'"),
        &["spec.workspace.url"],
    ),
    create(
        "GIT-I1",
        "put-a-password-into-a-repositorys-url",
        "put a password into the URL of a repository, which messages show",
        Editor,
        workspace!("url: 'https://user:secret@git.example.org/a'"),
        &["must not contain a credential"],
    ),
    create(
        "GIT-I2",
        "read-beside-the-repository",
        "read a file outside of the repository as document",
        Editor,
        object!("Specification", "source: {git: {url: 'https://git.example.org/a', path: ../../etc/passwd}}"),
        &["spec.source.git.path"],
    ),
    create(
        "ADM-D2",
        "wait-in-a-circle",
        "let two tasks wait for each other",
        Editor,
        plan!(
            "agentRef: {name: scripts}, tasks: [{id: T001, title: a, dependsOn: [T002]}, {id: T002, title: b, dependsOn: [T001]}]"
        ),
        &["T001", "T002"],
    ),
    create(
        "ADM-D2",
        "use-one-name-for-two-tasks",
        "give two tasks the same id",
        Editor,
        plan!("agentRef: {name: scripts}, tasks: [{id: T001, title: a}, {id: T001, title: b}]"),
        &["spec.tasks"],
    ),
    create(
        "ADM-D3",
        "request-all-storage",
        "request more scratch space than the quota of the tenant",
        KubeEditor,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: attack, namespace: %own}\n\
         spec: {automountServiceAccountToken: false, securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: \
         RuntimeDefault}}, containers: [{name: a, image: attack, resources: {limits: {ephemeral-storage: 900Ti}}, securityContext: \
         {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}\n",
        &["exceeded quota|denied request|denied the request"],
    ),
    create(
        "ADM-D3",
        "request-all-cpu",
        "let a container use all processors of its node",
        KubeEditor,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: attack, namespace: %own}\n\
         spec: {automountServiceAccountToken: false, securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: \
         RuntimeDefault}}, containers: [{name: a, image: attack, resources: {limits: {cpu: '64'}}, securityContext: \
         {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}\n",
        &["maximum cpu usage per Container"],
    ),
    create(
        "ADM-D3",
        "exceed-a-count",
        "create more Constitutions than the quota of the tenant",
        Owner,
        object!("Constitution", "source: {inline: '# Constitution'}"),
        // The second text is that of a quota whose use the API server has not counted yet.
        &["exceeded quota|status unknown for quota", "count/constitutions.enact.dev"],
    ),
    create(
        "ADM-D3",
        "evaluate-without-end",
        "write a rule that takes for ever",
        Owner,
        object!(
            "Constitution",
            "source: {inline: '# Constitution'}, rules: [{name: slow, appliesTo: Plan, severity: MUST, message: never, expression: \
             'plan.tasks.all(a, plan.tasks.all(b, plan.tasks.all(c, a.title == b.title || b.title == c.title)))'}]"
        ),
        &["may cost", "spec.rules"],
    ),
    code(
        "IMG-T2",
        "use-another-registry",
        "run an image from a registry that the Tenant does not allow",
        another_registry,
    ),
    code("ADM-D1", "flood-the-webhook", "send documents of 1 MB of brackets, eight at a time", flood),
];

/// Lets the Tenant allow one registry, and creates an Agent with an image of another one.
fn another_registry(site: &Site) -> Result<Verdict> {
    let policy = "--patch={\"spec\":{\"agentImages\":{\"allowed\":[\"registry.example.org/agents\"]}}}";
    site.read(&["patch", "tenant", "%own", "--type=merge", policy])?;
    let attack = Request {
        user: Editor,
        text: object!("Agent", "adapter: Command, image: 'elsewhere.example.org/agents/a:1'"),
        stopped_by: &["spec.image"],
    };
    let end = Instant::now() + TENANT_PATIENCE;
    loop {
        let verdict = attack.try_create(site)?;
        // The webhook may not have seen the change of the Tenant yet.
        if matches!(verdict, Verdict::Stopped(_)) || Instant::now() > end {
            return Ok(verdict);
        }
        thread::sleep(POLL);
    }
}

/// Sends documents that are slow to parse, and creates an object of another tenant meanwhile.
fn flood(site: &Site) -> Result<Verdict> {
    let document = format!(
        "{{\"apiVersion\": \"enact.dev/v1alpha1\", \"kind\": \"Specification\", \"metadata\": {{\"name\": \"flood\", \
         \"namespace\": \"%own\"}}, \"spec\": {{\"source\": {{\"inline\": \"# Flood\\n\\n{}\"}}}}}}",
        "[".repeat(FLOOD_BYTES)
    );
    let document = site.fill(&document);
    let victim = site.fill(
        "apiVersion: enact.dev/v1alpha1\nkind: Specification\nmetadata: {name: victim, namespace: %other}\n\
         spec: {source: {inline: '# Feature Specification: A'}}\n",
    );
    let args = ["create", "--dry-run=server", "--output=name", "--filename=-"];
    let before = webhooks(site)?;
    let ended = AtomicBool::new(false);
    let times = thread::scope(|scope| {
        for _ in 0..FLOOD {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    // Whether the flood itself is admitted does not matter.
                    drop(site.ask(Editor, &args, &document));
                }
            });
        }
        let times = times_of_another(site, &args, &victim);
        ended.store(true, Ordering::Relaxed);
        times
    })?;
    let times = match times {
        Ok(times) => times,
        Err(refusal) => return Ok(Verdict::NotStopped(format!("another tenant's object was refused: {refusal}"))),
    };
    let after = webhooks(site)?;
    if after != before {
        return Ok(Verdict::NotStopped(format!("the webhook's pods were restarted: {before}, and then {after}")));
    }
    let slowest = times.into_iter().max().unwrap_or_default();
    let said = format!(
        "the slowest of {FLOOD_REQUESTS} requests of another tenant took {:.1} s, and no pod was restarted",
        slowest.as_secs_f32()
    );
    Ok(if slowest < FLOOD_PATIENCE { Verdict::Stopped(said) } else { Verdict::NotStopped(said) })
}

/// Creates an object of another tenant several times, as a dry run. Returns how long each time takes, or the first refusal.
fn times_of_another(site: &Site, args: &[&str], object: &str) -> Result<Result<Vec<Duration>, String>> {
    let mut times = Vec::new();
    for _ in 0..FLOOD_REQUESTS {
        let begun = Instant::now();
        let answer = site.ask(Root, args, object)?;
        if !answer.accepted {
            return Ok(Err(short(&answer.text)));
        }
        times.push(begun.elapsed());
    }
    Ok(Ok(times))
}

/// Returns the webhook's pods, each with the number of its restarts.
fn webhooks(site: &Site) -> Result<String> {
    let selector = "--selector=app.kubernetes.io/part-of=enact,app.kubernetes.io/component=webhook";
    let path = "--output=jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[*].restartCount} {end}";
    let pods = site.read(&["get", "pods", "--namespace=%system", selector, path])?;
    ensure!(!pods.is_empty(), "the installation has no pods of the webhook");
    Ok(pods)
}
