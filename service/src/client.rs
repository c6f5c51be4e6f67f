//! The address of the client of a request.

use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use hyper::Request;
use tower_service::Service;

/// The IP address that a connection comes from. [`serve`](crate::http::serve) adds it to the extensions of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl From<SocketAddr> for ClientAddress {
    /// Takes the IP address only. An IPv4 address is the same client on a socket for IPv6.
    fn from(address: SocketAddr) -> Self {
        Self(address.ip().to_canonical())
    }
}

/// A service that adds the client's address to each request.
#[derive(Clone, Debug)]
pub(crate) struct WithClient<S> {
    pub(crate) service: S,
    pub(crate) client: ClientAddress,
}

impl<S, B> Service<Request<B>> for WithClient<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.client);
        self.service.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_one_address_on_both_kinds_of_sockets() {
        let client = |text: &str| ClientAddress::from(text.parse::<SocketAddr>().unwrap());
        assert_eq!(client("10.0.0.7:1"), client("[::ffff:10.0.0.7]:2"));
        assert_ne!(client("10.0.0.7:1"), client("10.0.0.8:1"));
    }
}
