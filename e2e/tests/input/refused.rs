//! Errors within one object: the API server or the webhook refuses it.

use anyhow::ensure;
use enact_crds::Plan;
use enact_crds::plan::Phase;
use enact_e2e::{PATIENCE, on_stage};
use kube::api::ListParams;

use super::{neighbour, object, panics};

/// An invalid input: description, manifest, and the words that the refusal must contain.
type Case = (&'static str, String, &'static [&'static str]);

fn plan(spec: &str) -> String {
    object("Plan", "bad", &format!("agentRef: {{name: scripts}}\n  {spec}"))
}

fn tasks(list: &str) -> String {
    plan(&format!("tasks: [{list}]"))
}

/// Returns a plan with these fields of a workspace.
fn workspace(fields: &str) -> String {
    plan(&format!("tasks: [{{id: T001, title: a}}]\n  workspace: {{{fields}}}"))
}

/// Returns a plan from a tasks.md with these lines.
fn tasks_md(lines: &[&str]) -> String {
    let text: String = lines.iter().map(|line| format!("      {line}\n")).collect();
    plan(&format!("source:\n    inline: |\n{text}"))
}

/// Returns errors in the graph of tasks.
fn graphs() -> Vec<Case> {
    vec![
        (
            "a cycle",
            tasks(
                "{id: T001, title: a, dependsOn: [T003]}, {id: T002, title: a, dependsOn: [T001]}, \
                 {id: T003, title: a, dependsOn: [T002]}, {id: T004, title: a}",
            ),
            &[
                "].dependsOn",
                "tasks wait for each other",
                "T001 → ",
                "T002 → ",
                "T003 → ",
                "remove one of these dependencies",
            ],
        ),
        (
            "itself",
            tasks("{id: T001, title: a, dependsOn: [T001]}"),
            &["spec.tasks[0].dependsOn", "T001 → T001", "remove"],
        ),
        (
            "an unknown task",
            tasks("{id: T001, title: a}, {id: T002, title: a, dependsOn: [T009]}"),
            &["spec.tasks[1].dependsOn", "task T002 depends on T009", "correct the id or add the task"],
        ),
        ("a task twice", tasks("{id: T001, title: a}, {id: T001, title: b}"), &["spec.tasks", "duplicate", "T001"]),
        (
            "ids that are one name",
            tasks("{id: T001, title: a}, {id: t001, title: b}"),
            &["spec.tasks[1].id", "both become Task bad-t001", "another id"],
        ),
    ]
}

/// Returns errors in documents of tasks.
fn tasks_documents() -> Vec<Case> {
    vec![
        (
            "a task twice in a tasks.md",
            tasks_md(&["# Tasks: A", "", "## Phase 1: Setup", "", "- [ ] T001 One", "- [ ] T001 Two"]),
            &["spec.source.inline", "line 6", "T001 is defined on line 5 and again on line 6", "another identifier"],
        ),
        (
            "a cycle in a tasks.md",
            tasks_md(&[
                "# Tasks: A",
                "",
                "## Phase 1: Setup",
                "",
                "- [ ] T001 [P] One",
                "- [ ] T002 [P] Two",
                "",
                "## Dependencies",
                "",
                "- T001 depends on T002",
                "- T002 depends on T001",
            ]),
            &[
                "spec.source.inline",
                "line 10",
                "T001 waits for T002 (line 10)",
                "remove or correct one of these statements",
            ],
        ),
        (
            "no task",
            tasks_md(&["# Tasks: A"]),
            &["spec.source.inline", "line 1", "no task was found", "write tasks as"],
        ),
        ("neither tasks nor source", plan("suspend: true"), &["spec", "set exactly one of tasks, source and generate"]),
    ]
}

/// Returns errors in inline documents.
fn documents() -> Vec<Case> {
    let inline = |kind: &str, json: &str| object(kind, "bad", &format!("source: {{inline: {json}}}"));
    let megabyte = format!("\"# A\\n{}\"", "x".repeat(1 << 20));
    // The text has fewer characters than the schema allows, but more bytes than the operator reads.
    let two_bytes = format!("\"# A\\n{}\"", "é".repeat(600_000));
    vec![
        (
            "four eyes on a ConfigMap",
            object(
                "Specification",
                "bad",
                "source: {configMapKeyRef: {name: a, key: b}}\n  approval: {required: 1, fourEyes: true}",
            ),
            &["spec.source.configMapKeyRef", "nobody knows who wrote a ConfigMap"],
        ),
        (
            "an empty document",
            inline("Specification", "''"),
            &["spec.source.inline", "line 1", "empty", "write the document"],
        ),
        ("white space", inline("Constitution", "\" \\n\\t\\n\""), &["spec.source.inline", "line 1", "empty"]),
        (
            "a binary document",
            inline("Specification", "\"# A\\n\\0\""),
            &["spec.source.inline", "line 2", "NUL", "provide a Markdown document in UTF-8"],
        ),
        ("more than 1 MiB", inline("Specification", &megabyte), &["spec.source.inline", "1048576"]),
        (
            "more than 1 MiB in fewer characters",
            inline("Constitution", &two_bytes),
            &["spec.source.inline", "the document has 1200004 bytes", "at most 1048576", "split it"],
        ),
    ]
}

/// Returns errors in names of objects and tasks.
fn names() -> Vec<Case> {
    let long = |n: usize| "a".repeat(n);
    vec![
        (
            "a Specification's long name",
            object("Specification", &long(64), "source: {inline: '# A'}"),
            &["metadata.name", "64 characters", "at most 63"],
        ),
        ("an Agent's long name", object("Agent", &long(64), "adapter: Command"), &["metadata.name", "at most 63"]),
        (
            "a name with a dot",
            object("Agent", "a.b", "adapter: Command"),
            &["metadata.name", "`a.b`", "use lower-case letters"],
        ),
        (
            "a Plan's long name",
            object("Plan", &long(53), "agentRef: {name: a}\n  tasks: [{id: T001, title: a}]"),
            &["at most 52 characters"],
        ),
        ("a task's long id", tasks(&format!("{{id: {}, title: a}}", long(64))), &["spec.tasks[0].id", "63"]),
    ]
}

/// Returns errors in workspaces.
fn workspaces() -> Vec<Case> {
    vec![
        (
            "a revision that is an option",
            workspace("url: 'http://a/b', revision: '--upload-pack=x'"),
            &["spec.workspace.revision", "--upload-pack=x", "must not start with `-`"],
        ),
        (
            "a revision that is a range",
            workspace("url: 'http://a/b', revision: 'a..b'"),
            &["spec.workspace.revision", "`a..b` must not contain `..`"],
        ),
        (
            "a branch that is an option",
            workspace("url: 'http://a/b', integration: {branch: '-f'}"),
            &["spec.workspace.integration.branch", "must not start with `-`"],
        ),
        (
            "a branch among those of agents",
            workspace("url: 'http://a/b', integration: {branch: enact/shop}"),
            &["spec.workspace.integration.branch", "must not start with enact/"],
        ),
        (
            "one credential for agents and integration",
            workspace("url: 'http://a/b', credentialsSecretRef: {name: git}"),
            &["spec.workspace", "requires integration.credentialsSecretRef"],
        ),
        (
            "one Secret for agents and integration",
            workspace(
                "url: 'http://a/b', credentialsSecretRef: {name: git}, integration: {credentialsSecretRef: {name: git}}",
            ),
            &["spec.workspace", "must not name the same Secret as credentialsSecretRef"],
        ),
        (
            "a URL that is a command",
            workspace("url: 'ext::sh -c id'"),
            &["spec.workspace.url", "must start with https://, http:// or ssh://"],
        ),
        ("a URL that is a path", workspace("url: /etc"), &["spec.workspace.url", "must start with https://"]),
        (
            "a URL with a credential",
            workspace("url: 'https://me:secret@host/x'"),
            &["spec.workspace.url", "must not contain a credential", "credentialsSecretRef"],
        ),
        (
            "a URL whose host is ambiguous",
            workspace("url: 'https://host;a/x'"),
            &["spec.workspace.url", "needs a host name of letters, digits"],
        ),
    ]
}

/// Returns errors in agents.
fn agents() -> Vec<Case> {
    vec![
        (
            "an image that is a URL",
            object("Agent", "bad", "adapter: Command\n  image: 'https://host/image'"),
            &["spec.image", "not an image reference", "without `https://`"],
        ),
        (
            "a reserved variable",
            object("Agent", "bad", "adapter: Command\n  env: [{name: ENACT_TASK_ID, value: a}]"),
            &["spec.env[0]", "names that start with ENACT_ are reserved"],
        ),
        ("a field that is none", object("Agent", "bad", "adapter: Command\n  hostNetwork: true"), &["hostNetwork"]),
    ]
}

#[test]
fn invalid_objects_are_refused_with_field_and_remedy() {
    on_stage("refused", |stage| async move {
        let mut wrong = Vec::new();
        let cases = [graphs(), tasks_documents(), documents(), names(), workspaces(), agents()];
        for (what, yaml, said) in cases.into_iter().flatten() {
            match stage.apply(&yaml).await {
                Ok(()) => wrong.push(format!("{what} was taken")),
                Err(error) => {
                    let error = format!("{error:#}");
                    let missing: Vec<&&str> = said.iter().filter(|part| !error.contains(**part)).collect();
                    if !missing.is_empty() {
                        let short: String = error.chars().take(700).collect();
                        wrong.push(format!("{what}: {missing:?} is not in: {short}"));
                    }
                }
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        ensure!(stage.api::<Plan>().list(&ListParams::default()).await?.items.is_empty());
        let panics = panics()?;
        ensure!(panics.is_empty(), "{panics:?}");
        neighbour(&stage).await?;
        stage.finished("neighbour", Phase::Succeeded, PATIENCE).await?;
        Ok(())
    });
}
