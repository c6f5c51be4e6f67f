//! The manifests. They contain only fields that the documents and options set.

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::project::{Document, Project};
use super::yaml::{self, Text};
use crate::args::{Git, Import};

/// Name of the Constitution. A namespace follows one Constitution.
const CONSTITUTION: &str = "constitution";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a, S> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    spec: S,
}

#[derive(Clone, Copy, Serialize)]
struct Metadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
}

#[derive(Serialize)]
struct Ref<'a> {
    name: &'a str,
}

impl<'a> Ref<'a> {
    fn new(name: &'a str) -> Self {
        Self { name }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Approval<'a> {
    required: u32,
    groups: &'a [String],
    four_eyes: bool,
}

#[derive(Serialize)]
struct Source<'a> {
    inline: Text<'a>,
}

#[derive(Serialize)]
struct Agent<'a> {
    adapter: &'static str,
    script: Text<'a>,
}

#[derive(Serialize)]
struct Constitution<'a> {
    source: Source<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Specification<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    constitution_ref: Option<Ref<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<Approval<'a>>,
    source: Source<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    specification_ref: Option<Ref<'a>>,
    agent_ref: Ref<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<Approval<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace: Option<Workspace<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unread_tasks: Option<&'static str>,
    source: Source<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Workspace<'a> {
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials_secret_ref: Option<Ref<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    integration: Option<Integration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Integration<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials_secret_ref: Option<Ref<'a>>,
}

/// Returns the YAML of each object. An object comes after the objects that it refers to.
pub fn render(
    project: &Project,
    script: Option<&str>,
    options: &Import,
    namespace: Option<&str>,
) -> Result<Vec<String>> {
    let name = project.name.as_str();
    let metadata = |name| Metadata { name, namespace };
    let approval = || {
        let groups = options.approve_groups.as_slice();
        (!groups.is_empty()).then_some(Approval { required: 1, groups, four_eyes: true })
    };
    let reference = |document: &Option<Document>, name| document.as_ref().map(|_| Ref::new(name));
    let mut manifests = Vec::new();
    if let Some(script) = script {
        let spec = Agent { adapter: "Command", script: Text(script) };
        manifests.push(object("Agent", metadata(&options.agent), spec)?);
    }
    if let Some(document) = &project.constitution {
        let spec = Constitution { source: source(document)? };
        manifests.push(object("Constitution", metadata(CONSTITUTION), spec)?);
    }
    if let Some(document) = &project.spec {
        let spec = Specification {
            constitution_ref: reference(&project.constitution, CONSTITUTION),
            approval: approval(),
            source: source(document)?,
        };
        manifests.push(object("Specification", metadata(name), spec)?);
    }
    if let Some(document) = &project.tasks {
        let spec = Plan {
            specification_ref: reference(&project.spec, name),
            agent_ref: Ref::new(&options.agent),
            approval: approval(),
            workspace: workspace(&options.git),
            unread_tasks: options.allow_unread.then_some("Warn"),
            source: source(document)?,
        };
        manifests.push(object("Plan", metadata(name), spec)?);
    }
    Ok(manifests)
}

fn object<S: Serialize>(kind: &'static str, metadata: Metadata<'_>, spec: S) -> Result<String> {
    yaml::to_string(&Manifest { api_version: "enact.dev/v1alpha1", kind, metadata, spec })
}

fn source(document: &Document) -> Result<Source<'_>> {
    let text =
        std::str::from_utf8(&document.bytes).with_context(|| format!("{} is not UTF-8", document.path.display()))?;
    Ok(Source { inline: Text(text) })
}

fn workspace(git: &Git) -> Option<Workspace<'_>> {
    let integration = Integration {
        branch: git.integration_branch.as_deref(),
        credentials_secret_ref: git.integration_secret.as_deref().map(Ref::new),
    };
    Some(Workspace {
        url: git.url.as_deref()?,
        revision: git.revision.as_deref(),
        credentials_secret_ref: git.credentials_secret.as_deref().map(Ref::new),
        integration: (integration.branch.is_some() || integration.credentials_secret_ref.is_some())
            .then_some(integration),
    })
}
