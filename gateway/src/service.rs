//! The service that the HTTP server calls for each request.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use tower_service::Service;

use crate::relay::Body;
use crate::routes::Routes;

/// Answers the requests of agents.
#[derive(Clone)]
pub struct Agents(Arc<Routes>);

impl Agents {
    pub fn new(routes: Arc<Routes>) -> Self {
        Self(routes)
    }
}

impl Service<Request<Incoming>> for Agents {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        Box::pin(Arc::clone(&self.0).serve(request))
    }
}
