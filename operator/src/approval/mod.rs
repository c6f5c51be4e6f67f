//! Approval.

use std::sync::Arc;

use enact_crds::Approval;
use kube::runtime::controller::Action;

use crate::context::Context;
use crate::error::Error;

/// One reconcile of a Approval.
///
/// # Errors
/// When the API server or the record fails.
pub async fn reconcile(_object: Arc<Approval>, _ctx: Arc<Context>) -> Result<Action, Error> {
    Ok(Action::await_change())
}
