//! The steps that all demonstrations have.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};

use super::own::SHOP;
use crate::cmd::CommandExt;
use crate::dirs;
use crate::kube::Kube;

/// The users of the demonstration, as kubectl's flags: one writes, the other one approves.
pub(super) const DEVELOPER: [&str; 2] = ["--as=dana", "--as-group=developers"];
const LEAD: [&str; 2] = ["--as=lee", "--as-group=leads"];

/// A clock that prints each step with the time since the start.
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the seconds since the start.
    pub(super) fn seconds(&self) -> f32 {
        self.0.elapsed().as_secs_f32()
    }

    pub(super) fn step(&self, what: &str) {
        println!("\n=== {what} (after {:.0} s)", self.seconds());
    }
}

/// Reads a file of `examples/`.
pub(super) fn example(file: &str) -> Result<String> {
    let path = dirs::workspace().join("examples").join(file);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Approves as the lead, after the operator has read the object.
pub(super) fn approve(kube: &Kube, kind: &str, name: &str) -> Result<()> {
    let object = format!("{kind}/{name}");
    kube.wait(SHOP, &object, "jsonpath={.status.digest}", 60)
        .with_context(|| format!("the operator has not read {object}"))?;
    let mut approve = kube.enact(["approve", &object, "--namespace", SHOP, "--yes", "--comment", "as discussed"]);
    approve.args(LEAD).show()
}

/// Shows the progress of a plan until it has succeeded.
pub(super) fn until_finished(kube: &Kube, plan: &str) -> Result<()> {
    let mut status = kube.enact(["status", plan, "--namespace", SHOP, "--until-finished"]);
    status.show().context("the plan did not succeed; the reason is in the lines above")
}
