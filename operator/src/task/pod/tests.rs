use std::collections::BTreeSet;

use enact_crds::agent_images::AgentImages;
use enact_domain::assignment::{GitWork, IntegrationWork, VerifiedCommit, Work};
use serde_json::json;

use super::*;
use crate::testing::config;

/// The assignment of an integration that merges this many branches.
fn integration(branches: usize) -> Assignment {
    let merge = |n| VerifiedCommit { branch: format!("enact/shop-5f0c1a2b/t{n:04}-1"), commit: "0".repeat(40) };
    Assignment {
        tenant: "acme".into(),
        namespace: "ns".into(),
        plan: "shop".into(),
        plan_uid: "5f0c1a2b-7d3e-4b8a-9c6d-0e1f2a3b4c5d".into(),
        subject_uid: "5f0c1a2b-7d3e-4b8a-9c6d-0e1f2a3b4c5d".into(),
        attempt: 1,
        server_url: None,
        spec_digest: None,
        git: Some(GitWork {
            url: "https://git.example.org/shop.git".into(),
            revision: "main".into(),
            merge: (0..branches).map(merge).collect(),
            branch: "enact/shop-5f0c1a2b/candidate/1".into(),
            cache_url: None,
        }),
        work: Work::Integration(IntegrationWork { target: "plan/shop".into(), gates: Vec::new() }),
    }
}

/// Calls `make` with the frame of a pod for this assignment.
fn framed<T>(assignment: &Assignment, make: impl FnOnce(&Frame) -> T) -> T {
    framed_with(AgentImages::default(), assignment, make)
}

/// Calls `make` with the frame of a pod of a tenant with these rules for images.
fn framed_with<T>(agent_images: AgentImages, assignment: &Assignment, make: impl FnOnce(&Frame) -> T) -> T {
    let none = Resources::default();
    let member = Membership {
        tenant: "acme".into(),
        parallelism: 1,
        runtime_class: None,
        agent_images,
        shares_decisions: false,
    };
    make(&Frame {
        config: &config(),
        member: &member,
        name: "shop-integration-1".into(),
        namespace: "ns".into(),
        labels: vec![(names::LABEL_ROLE, names::INTEGRATION.into())],
        agent: None,
        models: None,
        uses_gateway: false,
        repository: None,
        owner: OwnerReference::default(),
        assignment: assignment_json(assignment).unwrap(),
        timeout_seconds: 60,
        resources: [&none, &none, &none],
        default_resources: DefaultResources::SCRIPT,
    })
}

#[test]
fn a_thousand_branches_fit_and_more_are_counted() {
    assert!(assignment_json(&integration(1000)).is_ok());
    let report = assignment_json(&integration(5000)).unwrap_err();
    assert_eq!(report.reason, Reason::InvalidAssignment);
    for part in ["5000 branches to merge", "at most 131008", "a task that depends on the others"] {
        assert!(report.message.contains(part), "{}", report.message);
    }
}

/// Returns the Secrets that each container of a pod can read, in its volumes or its environment.
fn secrets(pod: &Pod) -> BTreeMap<String, BTreeSet<String>> {
    let spec = pod.spec.as_ref().unwrap();
    let volumes = spec.volumes.as_ref().unwrap();
    let of_volume = |name: &str| {
        let volume = volumes.iter().find(|v| v.name == name).unwrap_or_else(|| panic!("no volume {name}"));
        volume.secret.as_ref().and_then(|secret| secret.secret_name.clone())
    };
    let of = |container: &Container| {
        let mounts = container.volume_mounts.iter().flatten().filter_map(|mount| of_volume(&mount.name));
        let env = container
            .env
            .iter()
            .flatten()
            .filter_map(|var| Some(var.value_from.as_ref()?.secret_key_ref.as_ref()?.name.clone()));
        assert!(container.env_from.is_none(), "{}", container.name);
        (container.name.clone(), mounts.chain(env).collect())
    };
    spec.init_containers.iter().flatten().chain(&spec.containers).map(of).collect()
}

/// Returns the expected result of [`secrets`].
fn holders(holders: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    holders.iter().map(|(name, secrets)| ((*name).into(), secrets.iter().map(ToString::to_string).collect())).collect()
}

/// The invariant `no-credential-for-protected-branches`.
#[test]
fn the_integrations_credential_is_in_reach_of_its_last_step_alone() {
    let [agents, integrator] = ["git-agent", "git-integrator"].map(|name| LocalRef { name: name.into() });
    let assignment = integration(0);
    let of_task = |agent: serde_json::Value| {
        let agent: AgentSpec = serde_json::from_value(agent).unwrap();
        secrets(&framed(&assignment, |frame| for_agent(frame, "task", &agent, Some(&agents))))
    };
    let env = json!([{"name": "KEY", "secretKeyRef": {"name": "llm", "key": "token"}}]);
    assert_eq!(of_task(json!({"adapter": "Command", "env": env})), holders(&[("agent", &["git-agent", "llm"])]));
    let foreign = json!({"adapter": "Command", "image": "python:3"});
    assert_eq!(of_task(foreign), holders(&[("runner", &[]), ("agent", &["git-agent"])]));

    let of_integration = |agents: Option<&LocalRef>, integrator: Option<&LocalRef>| {
        secrets(&framed(&assignment, |frame| for_integration(frame, agents, integrator)))
    };
    assert_eq!(
        of_integration(Some(&agents), Some(&integrator)),
        holders(&[("merge", &["git-agent"]), ("gate", &[]), ("publish", &["git-integrator"])])
    );
    // The publication never gets the agents' credential instead of its own.
    assert_eq!(of_integration(Some(&agents), None)["publish"], BTreeSet::new());
    assert_eq!(of_integration(None, Some(&integrator))["merge"], BTreeSet::new());
}

#[test]
fn a_private_image_of_another_tenant_is_not_taken_from_the_node() {
    let policies = |always_pull: bool, agent: serde_json::Value| {
        let agent: AgentSpec = serde_json::from_value(agent).unwrap();
        let rules = AgentImages { always_pull, ..AgentImages::default() };
        let pod = framed_with(rules, &integration(0), |frame| for_agent(frame, "task", &agent, None));
        let spec = pod.spec.unwrap();
        let containers = spec.init_containers.into_iter().flatten().chain(spec.containers);
        containers.map(|container| (container.name, container.image_pull_policy)).collect::<BTreeMap<_, _>>()
    };
    let of_tenant = || json!({"adapter": "Command", "image": "registry.example.org/theirs:1"});
    assert_eq!(policies(true, of_tenant())["agent"].as_deref(), Some("Always"));
    // The images of the installation are for all tenants.
    assert_eq!(policies(true, of_tenant())["runner"], None);
    assert_eq!(policies(true, json!({"adapter": "Command"}))["agent"], None);
    assert_eq!(policies(false, of_tenant())["agent"], None);
}

#[test]
fn an_image_of_a_tenant_runs_the_installations_runner() {
    let agent: AgentSpec = serde_json::from_value(json!({"adapter": "Command", "image": "python:3"})).unwrap();
    let mut spec = framed(&integration(0), |frame| for_agent(frame, "task", &agent, None)).spec.unwrap();
    let (runner, agent) = (spec.init_containers.unwrap().remove(0), spec.containers.remove(0));
    let config = config();
    assert_eq!(runner.image, config.runner_image.or(Some(config.agent_image)));
    assert_eq!(agent.image.as_deref(), Some("python:3"));
    assert_eq!(agent.command.unwrap()[0], format!("{INJECTED}/enact-runner"));
    let mut injected = agent.volume_mounts.unwrap().into_iter().filter(|mount| mount.mount_path == INJECTED);
    assert_eq!(injected.next().and_then(|mount| mount.read_only), Some(true));
}

#[test]
fn credentials_of_mcp_servers_are_not_variables_of_the_agent() {
    let agent: AgentSpec = serde_json::from_value(json!({
        "adapter": "Codex", "env": [{"name": "KEY", "secretKeyRef": {"name": "llm", "key": "token"}}],
        "mcpServers": [{"name": "tracker", "url": "https://mcp.example.com", "headers": [
            {"name": "Authorization", "secretKeyRef": {"name": "tracker", "key": "t"}}, {"name": "X-Mode", "value": "fast"}]}],
    }))
    .unwrap();
    let pod = framed(&integration(0), |frame| for_agent(frame, "task", &agent, None));
    assert_eq!(secrets(&pod), holders(&[("agent", &["llm", "tracker"])]));
    let names = pod.spec.unwrap().containers.remove(0).env.unwrap().into_iter().map(|var| var.name);
    assert_eq!(names.collect::<Vec<_>>(), ["ENACT_ASSIGNMENT", "ENACT_SECRET_KEY", "ENACT_MCP_tracker.Authorization"]);
}

/// Gates run what agents wrote: they share no volume with a step that holds a credential but the working tree, and have no token.
#[test]
fn gates_have_neither_token_nor_handover() {
    let [agents, integrator] = ["git-agent", "git-integrator"].map(|name| LocalRef { name: name.into() });
    let pod = framed(&integration(0), |frame| for_integration(frame, Some(&agents), Some(&integrator)));
    let spec = pod.spec.unwrap();
    let mounts = |container: &Container| -> Vec<(String, String, bool)> {
        let mounts = container.volume_mounts.iter().flatten();
        mounts.map(|m| (m.name.clone(), m.mount_path.clone(), m.read_only == Some(true))).collect()
    };
    let [merge, gate] = <[Container; 2]>::try_from(spec.init_containers.unwrap()).unwrap();
    let volume = |name: &str, path: &str, read_only| (name.to_owned(), path.to_owned(), read_only);
    assert_eq!(mounts(&gate), [volume("work", "/work", false), volume("tmp", "/tmp", false)]);
    assert!(mounts(&merge).contains(&volume("handover", "/var/run/enact/handover", false)));
    let publish = mounts(&spec.containers[0]);
    assert!(publish.contains(&volume("handover", "/var/run/enact/handover", true)));
    assert!(publish.iter().all(|(name, ..)| name != "work" && name != "tmp"), "{publish:?}");
}

/// Audience and lifetime of a token.
type Token = (String, i64);

/// Returns the tokens and the annotations of a pod.
fn tokens(gateway_agent: Option<&str>, repository: Option<&str>) -> (Vec<Token>, Option<BTreeMap<String, String>>) {
    let agent: AgentSpec =
        serde_json::from_value(json!({"adapter": "Codex", "models": [{"provider": "p", "model": "m"}]})).unwrap();
    let pod = framed(&integration(0), |frame| {
        let frame = Frame {
            agent: gateway_agent.map(str::to_owned),
            models: None,
            uses_gateway: gateway_agent.is_some(),
            repository: repository.map(str::to_owned),
            labels: frame.labels.clone(),
            name: frame.name.clone(),
            namespace: frame.namespace.clone(),
            owner: frame.owner.clone(),
            assignment: frame.assignment.clone(),
            ..*frame
        };
        for_agent(&frame, "task", &agent, None)
    });
    let volumes = pod.spec.unwrap().volumes.unwrap();
    let sources = volumes.into_iter().filter_map(|v| v.projected?.sources).flatten();
    let tokens = sources.filter_map(|s| s.service_account_token);
    (tokens.map(|t| (t.audience.unwrap(), t.expiration_seconds.unwrap())).collect(), pod.metadata.annotations)
}

#[test]
fn only_agents_with_models_get_a_token_for_the_gateway() {
    assert_eq!(tokens(None, None), (vec![("enact-server".to_owned(), 3600)], None));
    let expected = [("enact-server".to_owned(), 3600), ("enact-gateway".to_owned(), 660)];
    assert_eq!(tokens(Some("coder"), None).0, expected);
}

#[test]
fn pods_that_use_the_clone_cache_name_their_repository_and_get_a_token() {
    let (tokens, annotations) = tokens(None, Some("sha256:abc"));
    assert_eq!(tokens, [("enact-server".to_owned(), 3600), ("enact-cache".to_owned(), 3600)]);
    assert_eq!(annotations, Some([("enact.dev/repository".to_owned(), "sha256:abc".to_owned())].into()));
}
