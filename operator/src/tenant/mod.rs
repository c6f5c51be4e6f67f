//! Tenant.

use std::sync::Arc;

use enact_crds::Tenant;
use kube::runtime::controller::Action;

use crate::context::Context;
use crate::error::Error;

/// One reconcile of a Tenant.
///
/// # Errors
/// When the API server or the record fails.
pub async fn reconcile(_object: Arc<Tenant>, _ctx: Arc<Context>) -> Result<Action, Error> {
    Ok(Action::await_change())
}
