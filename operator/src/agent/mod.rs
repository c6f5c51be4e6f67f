//! Agent.

use std::sync::Arc;

use enact_crds::Agent;
use kube::runtime::controller::Action;

use crate::context::Context;
use crate::error::Error;

/// One reconcile of a Agent.
///
/// # Errors
/// When the API server or the record fails.
pub async fn reconcile(_object: Arc<Agent>, _ctx: Arc<Context>) -> Result<Action, Error> {
    Ok(Action::await_change())
}
