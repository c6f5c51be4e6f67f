//! Checks that the examples are valid, and that their plan works: the test runs it without a cluster, with the runner's rules.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "support/manifests.rs"]
mod manifests;
#[path = "support/tree.rs"]
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use enact_crds::agent::Adapter;
use enact_crds::common::Gate;
use enact_crds::{Agent, Plan, Specification, convert};
use enact_domain::graph::Graph;
use k8s_openapi::api::core::v1::ConfigMap;
use manifests::Manifests;
use tree::Tree;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Loads the objects of a folder's YAML files, in the order of the file names.
fn load(folder: &Path) -> Manifests {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    Manifests::parse(&texts.join("---\n"))
}

#[test]
fn every_object_is_one_that_the_api_takes() {
    let shop = load(&examples());
    assert_eq!(shop.kinds(), ["Agent", "Agent", "ConfigMap", "Constitution", "Plan", "Specification", "Tenant"]);
    let minimal = load(&examples().join("minimal"));
    assert_eq!(minimal.kinds(), ["Agent", "Plan", "Tenant"]);
    let pool = load(&examples().join("pool"));
    assert_eq!(pool.kinds(), ["Agent", "Agent", "Plan", "Tenant"]);
    let documents = load(&examples().join("documents"));
    assert_eq!(documents.kinds(), ["Agent", "Constitution", "Plan", "Specification"]);
    let sentence = load(&examples().join("from-a-sentence"));
    assert_eq!(sentence.kinds(), ["Agent", "Agent", "Agent", "ModelProvider", "Plan", "Specification"]);
}

#[test]
fn references_and_graphs_hold() {
    for folder in [examples(), examples().join("minimal"), examples().join("pool"), examples().join("documents")] {
        let example = load(&folder);
        let plan: Plan = example.only();
        let agents: BTreeSet<String> = example.all::<Agent>().into_iter().filter_map(|a| a.metadata.name).collect();
        for agent in plan.spec.agent_names() {
            assert!(agents.contains(agent), "{agent} is not an agent of {}", folder.display());
        }
        if let Some(specification) = &plan.spec.specification_ref {
            assert_eq!(example.only::<Specification>().metadata.name.as_ref(), Some(&specification.name));
        }
        let graph = graph(&plan).unwrap();
        assert_eq!(graph.len(), plan.spec.tasks.len());
    }
}

#[test]
fn a_sentence_has_its_agents() {
    let example = load(&examples().join("from-a-sentence"));
    let agents: BTreeSet<String> = example.all::<Agent>().into_iter().filter_map(|a| a.metadata.name).collect();
    let (specification, plan): (Specification, Plan) = (example.only(), example.only());
    let generate = plan.spec.generate.as_ref().unwrap();
    let named = generate.agents.iter().chain(&generate.judges).map(|planner| planner.name.as_str());
    let drafter = specification.spec.drafting.as_ref().map(|drafting| drafting.agent_ref.name.as_str());
    for agent in named.chain(drafter).chain(plan.spec.agent_names()) {
        assert!(agents.contains(agent), "{agent} is not an agent of the example");
    }
    assert_eq!(plan.spec.specification_ref.map(|reference| reference.name), specification.metadata.name);
}

#[test]
fn the_shop_shows_what_spec_kit_has() {
    let plan: Plan = load(&examples()).only();
    let tasks = &plan.spec.tasks;
    assert!(tasks.len() >= 15, "{} tasks", tasks.len());
    let phases: BTreeSet<&str> = tasks.iter().filter_map(|t| t.phase.as_deref()).collect();
    assert_eq!(phases.len(), 6);
    let stories: BTreeSet<&str> = tasks.iter().filter_map(|t| t.story.as_deref()).collect();
    assert_eq!(stories, BTreeSet::from(["US1", "US2", "US3"]));
    assert!(tasks.iter().any(|t| t.title.starts_with("[P]")));
    let critical = graph(&plan).unwrap().critical_path().len();
    assert!(critical < tasks.len() / 2, "the longest chain has {critical} of {} tasks", tasks.len());
}

/// Runs every task in the order of the graph: on a branch with the merged branches of its dependencies, with its attempts and its gates.
/// Then merges all of them, and runs the plan's gates.
#[test]
fn the_shop_is_built() {
    let example = load(&examples());
    let plan: Plan = example.only();
    let recorded: ConfigMap = example.only();
    let agents: BTreeMap<String, Agent> =
        example.all::<Agent>().into_iter().map(|a| (a.metadata.name.clone().unwrap(), a)).collect();
    let tree = Tree::new();
    let mut outputs: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut retried = Vec::new();
    let graph = graph(&plan).unwrap();
    for &index in graph.order() {
        let task = &plan.spec.tasks[index];
        let inputs = task.depends_on.iter().map(|id| (id.clone(), outputs[id].clone())).collect();
        let allowed = 1 + convert::retry(task.retry.as_ref(), &plan.spec.execution.retry).limit;
        let agent = &agents[&task.agent_ref.as_ref().or(plan.spec.agent_ref.as_ref()).expect("an agent").name];
        let mut attempt = 0;
        let done = loop {
            attempt += 1;
            tree.start(&task.id, &task.depends_on);
            let worked = match agent.spec.adapter {
                Adapter::Command => tree.script(&task.id, attempt, task.script.as_deref().expect("a script"), &inputs),
                Adapter::Replay => tree.apply(&recorded.data.as_ref().unwrap()[&format!("{}.patch", task.id)]),
                adapter => panic!("the example must work without a model, and {} needs one", adapter.as_str()),
            };
            let checked = worked.and_then(|()| {
                tree.commit(&task.title);
                gates(&tree, &task.id, &task.gates)
            });
            match checked {
                Ok(()) => break tree.outputs(),
                Err(problem) => {
                    assert!(attempt < allowed, "{} failed, and no further attempt follows: {problem}", task.id);
                }
            }
        };
        if attempt > 1 {
            retried.push(task.id.as_str());
        }
        outputs.insert(task.id.clone(), done);
    }
    let order: Vec<String> = graph.order().iter().map(|&i| plan.spec.tasks[i].id.clone()).collect();
    tree.start("integration", &order);
    gates(&tree, "integration", &plan.spec.gates).unwrap();

    assert_eq!(retried, ["T003"], "one task fails on its first attempt, on purpose");
    assert_eq!(outputs["T001"]["version"], "0.1.0");
    let changelog = fs::read_to_string(tree.root().join("CHANGELOG.md")).unwrap();
    assert!(changelog.contains("## 0.1.0") && changelog.contains("## 0.2.0"), "{changelog}");
}

fn gates(tree: &Tree, id: &str, gates: &[Gate]) -> Result<(), String> {
    gates.iter().try_for_each(|gate| {
        tree.script(id, 1, &gate.script, &BTreeMap::new()).map_err(|problem| format!("gate {}: {problem}", gate.name))
    })
}

fn graph(plan: &Plan) -> Result<Graph, Vec<enact_domain::graph::GraphError>> {
    Graph::build(plan.spec.tasks.iter().map(|t| (t.id.as_str(), t.depends_on.iter().map(String::as_str))))
}
