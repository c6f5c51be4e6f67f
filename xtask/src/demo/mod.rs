//! `cargo xtask demo`: installs Enact in a cluster and runs an example until its product is built, with the commands of a user.

mod coder;
mod own;
mod sentence;
mod show;
mod steps;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use self::coder::Session;
use self::own::{GIT_NAMESPACE, SHOP, TENANT};
use self::steps::{Clock, DEVELOPER, approve, example, until_finished};
use crate::binaries::Profile;
use crate::cmd::{CommandExt, cmd};
use crate::images::{self, archive};
use crate::install::{self, Delivery, Images};
use crate::kube::Kube;
use crate::{apt, cluster, parallel, random};

/// Runs the demonstration: installs Enact, applies a constitution, a specification and a plan, approves them, and shows the progress
#[derive(Args)]
pub(crate) struct Demo {
    /// Use the cluster of this kubeconfig context instead of starting one on this machine
    #[arg(long)]
    context: Option<String>,

    #[command(flatten)]
    delivery: Delivery,

    /// Let a coding agent build a Spec Kit feature of fourteen tasks. It uses a model if the environment has a key (`ANTHROPIC_API_KEY` for
    /// claude-code, `GEMINI_API_KEY` for gemini-cli, else `OPENAI_API_KEY`), and a scripted model server otherwise
    #[arg(long, value_name = "NAME", value_parser = coder::CODERS.map(|coder| coder.name))]
    agent: Option<String>,

    /// Let coding agents draft a specification from this sentence, plan it twice, judge both plans, and build the better one, with the
    /// agent that `--agent` names, else Codex. The scripted model server builds the same product from every sentence
    #[arg(long, value_name = "SENTENCE", value_parser = NonEmptyStringValueParser::new())]
    from: Option<String>,

    /// Model of the coding agent, as its provider calls it; by default one that the agent knows
    #[arg(long, value_name = "NAME", requires = "agent")]
    agent_model: Option<String>,

    /// Build the programs with the sentence model for search by meaning, which takes minutes longer
    #[arg(long)]
    model: bool,

    /// Delete what the demonstration created, including a cluster that it started
    #[arg(long)]
    down: bool,
}

/// Runs the demonstration, or deletes it.
pub(crate) fn run(demo: &Demo) -> Result<()> {
    if demo.down {
        return down(demo);
    }
    let agent = demo.agent.as_deref().or(demo.from.as_ref().map(|_| sentence::DEFAULT_AGENT));
    let session = agent.map(|name| Session::of(name, demo.agent_model.as_deref())).transpose()?;
    let clock = Clock::start();
    clock.step("Starting a Kubernetes cluster, and building the images");
    let profile = if demo.model { Profile::Development } else { Profile::WithoutModel };
    let build_images = || {
        let mut archives = images::archives(&[], profile)?;
        if let Some(session) = &session {
            archives.extend(images::archives(&[session.coder.image()], profile)?);
        }
        Ok(archives)
    };
    let (kube, archives) = if let Some(context) = &demo.context {
        let kube = Kube::of_context(context)?;
        own::claim(&kube)?;
        (kube, build_images()?)
    } else {
        parallel::both(start_cluster, build_images)?
    };
    let images = install::deliver_images(&kube, &demo.delivery, archives)?;
    // An earlier demonstration may have left a finished plan, which would not run again.
    clear(&kube)?;
    clock.step("Installing Enact and its Postgres with Helm");
    install::helm(&kube, &images, if session.is_some() { &coder::FLAGS } else { &[] })?;
    clock.step("Creating a Git server and the tenant `acme`");
    git_server(&kube, &images)?;
    tenant(&kube)?;
    let plan = match (&session, &demo.from) {
        (Some(session), Some(text)) => {
            sentence::run(session, text, &kube, &images, &clock)?;
            sentence::NAME
        }
        (Some(session), None) => {
            session.run(&kube, &images, &clock)?;
            coder::PLAN
        }
        (None, _) => {
            shop(&kube, &images, &clock)?;
            SHOP
        }
    };
    println!("\nThe demonstration took {:.0} s. {}", clock.seconds(), show::look_further(&kube, plan));
    Ok(())
}

/// Builds the example's product, with agents that need no model.
fn shop(kube: &Kube, images: &Images, clock: &Clock) -> Result<()> {
    clock.step("The developer dana applies the constitution, the specification and the plan");
    for file in ["10-agents", "11-recorded-work", "20-constitution", "30-specification", "40-plan"] {
        kube.apply(&example(&format!("{file}.yaml"))?, &DEVELOPER).with_context(|| format!("cannot apply {file}"))?;
    }
    clock.step("The lead lee approves the specification and the plan");
    approve(kube, "specification", SHOP)?;
    approve(kube, "plan", SHOP)?;
    clock.step("The plan runs");
    until_finished(kube, SHOP)?;
    clock.step("The result");
    show::outcome(kube, images, show::SHOP_PRODUCT)
}

fn start_cluster() -> Result<Kube> {
    cluster::up(&cluster::Options::default())?;
    let kube = Kube::own()?;
    own::claim(&kube)?;
    Ok(kube)
}

/// Deletes the objects of an earlier run, so that all steps are shown again. The release is kept.
fn clear(kube: &Kube) -> Result<()> {
    if kube.kubectl(["get", "crd", "plans.enact.dev"]).succeeds() {
        own::clear_shop(kube)?;
    }
    let servers = ["delete", "deployment", "git-server", "model-server", "--namespace", GIT_NAMESPACE];
    kube.kubectl(servers).arg("--ignore-not-found").read().map(drop)
}

/// Creates a Git server with two users: agents push to their own branches, the integrator to every branch.
fn git_server(kube: &Kube, images: &Images) -> Result<()> {
    apt::ensure(&["openssl"])?;
    let manifests = example("git-server/git-server.yaml")?;
    let published = format!("{}/git-server:{}", archive::REGISTRY, archive::VERSION);
    let manifests = manifests.replace(&published, &images.name("git-server")?);
    let mut users = String::new();
    let mut secrets = Vec::new();
    for (user, secret) in [("agent", "git-agent"), ("integrator", "git-integrator")] {
        let password = random::hex()?;
        let hash = cmd("openssl", ["passwd", "-apr1", "-stdin"]).read_with(&password)?;
        users.extend([user, ":", &hash, "\n"]);
        secrets.push(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": secret, "namespace": SHOP },
            "stringData": { "username": user, "password": password },
        }));
    }
    secrets.push(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "git-server", "namespace": GIT_NAMESPACE },
        "stringData": { "htpasswd": users, "integrators": "integrator\n" },
    }));
    kube.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": secrets }).to_string(), &[])?;
    kube.apply(&manifests, &[])?;
    let rollout = ["rollout", "status", "deployment/git-server", "--namespace", GIT_NAMESPACE, "--timeout=120s"];
    kube.kubectl(rollout).read().context("the Git server does not start").map(drop)
}

fn tenant(kube: &Kube) -> Result<()> {
    kube.apply(&own::labelled(kube, &example("00-tenant.yaml")?)?, &[])?;
    kube.wait("default", &format!("tenant/{TENANT}"), "condition=Ready", 180)
        .context("the tenant does not become ready")
}

/// Deletes the demonstration.
fn down(demo: &Demo) -> Result<()> {
    let Some(context) = &demo.context else {
        return cluster::down();
    };
    own::delete(&Kube::of_context(context)?)?;
    println!("deleted the demonstration from {context}");
    Ok(())
}
