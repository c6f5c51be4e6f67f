//! Support for the tests on a real cluster. `cargo xtask test cluster` installs Enact as a user does and runs them.
//!
//! Each test has a [`Stage`]: its own tenant and namespace, which are created before the test and deleted after it, even if it fails.
//! Objects that an earlier run left are deleted first. Tests wait for conditions, with long timeouts for slow machines.

mod command;
pub mod documents;
mod feature;
pub mod git;
pub mod installation;
pub mod models;
pub mod own_time;
pub mod people;
pub mod places;
mod report;
pub mod sentence;
mod stage;
mod wait;
pub mod work;

use std::future::Future;

use anyhow::Result;

pub use command::{REQUEST_TIMEOUT, output, program, run};
pub use stage::{Stage, condition, describe};
pub use wait::{Answer, PATIENCE, until};

/// Runs a test with its own stage. `name` is the suffix of its tenant and namespace.
///
/// # Panics
/// If the test fails, with a report of the objects in the cluster.
pub fn on_stage<F, Fut>(name: &'static str, test: F)
where
    F: FnOnce(Stage) -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    on_stages([(name, "")], |[stage]| test(stage));
}

/// Runs a test with several stages, each with additional lines below its Tenant's `spec`.
///
/// # Panics
/// If the test fails, with a report of the objects in the cluster.
pub fn on_stages<const N: usize, F, Fut>(names: [(&'static str, &'static str); N], test: F)
where
    F: FnOnce([Stage; N]) -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut stages = Vec::new();
        for (name, more) in names {
            match Stage::set(name, more).await {
                Ok(stage) => stages.push(stage),
                Err(e) => panic!("the stage {name} cannot be created: {e:#}"),
            }
        }
        let given: [Stage; N] = std::array::from_fn(|n| stages[n].clone());
        // In its own task, so that a panic does not prevent the clean-up.
        let result = match tokio::spawn(test(given)).await {
            Ok(result) => result,
            Err(panic) => Err(anyhow::anyhow!("{panic}")),
        };
        let said = match &result {
            Ok(()) => String::new(),
            Err(_) => stages.iter().map(report::report).collect(),
        };
        for stage in &stages {
            if let Err(error) = stage.clear().await {
                eprintln!("the stage {} cannot be deleted: {error:#}", stage.name);
            }
        }
        if let Err(error) = result {
            panic!("{error:#}\n{said}");
        }
    });
}
