//! A service that a function makes, for programs that route requests themselves.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::{Request, Response};
use tower_service::Service;

/// Answers each request with what a function returns.
#[derive(Clone)]
pub struct Handler<F>(F);

impl<F> Handler<F> {
    pub fn new<R, B>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R,
        R: Future<Output = Response<B>>,
    {
        Self(answer)
    }
}

impl<F, R, B> Service<Request<Incoming>> for Handler<F>
where
    F: Fn(Request<Incoming>) -> R,
    R: Future<Output = Response<B>> + Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move { Ok(answer.await) })
    }
}
