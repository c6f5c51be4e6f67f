//! Constitutions and Specifications: documents that are parsed, checked, approved and remembered.

use std::sync::Arc;

use enact_crds::{Constitution, Specification};
use kube::runtime::controller::Action;

use crate::context::Context;
use crate::error::Error;

/// One reconcile of a Constitution.
///
/// # Errors
/// When the API server or the record fails.
pub async fn reconcile_constitution(_object: Arc<Constitution>, _ctx: Arc<Context>) -> Result<Action, Error> {
    Ok(Action::await_change())
}

/// One reconcile of a Specification.
///
/// # Errors
/// When the API server or the record fails.
pub async fn reconcile_specification(_object: Arc<Specification>, _ctx: Arc<Context>) -> Result<Action, Error> {
    Ok(Action::await_change())
}
