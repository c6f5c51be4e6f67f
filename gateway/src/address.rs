//! Which addresses the gateway connects to. A tenant's ModelProvider must not make it connect to addresses that only the gateway can reach:
//! its own pod, the node, the cloud's metadata, other services.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use enact_service::shares::Shares;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower_service::Service;

/// Most look-ups of names at once, and most of one name. Each takes a thread of those that all tenants share, until the name server
/// answers, which can be that of a tenant.
const LOOKUPS: usize = 128;
const LOOKUPS_OF_NAME: usize = 4;
/// Longest wait for a look-up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hosts that may have private addresses: names, or suffixes that begin with `*.`.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts(Arc<[String]>);

impl AllowedHosts {
    pub fn new(patterns: &[String]) -> Self {
        let patterns = patterns.iter().map(|pattern| pattern.trim().to_ascii_lowercase());
        Self(patterns.filter(|pattern| !pattern.is_empty()).collect())
    }

    /// Returns whether a host may have private addresses.
    pub fn includes(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.0.iter().any(|pattern| match pattern.strip_prefix('*') {
            Some(suffix) => suffix.starts_with('.') && host.ends_with(suffix) && host.len() > suffix.len(),
            None => *pattern == host,
        })
    }
}

/// Returns whether an address is reachable on the Internet: not private, and not one with a special purpose.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_unspecified()
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        // This network, shared addresses of carriers, protocol assignments, benchmarks, reserved ones.
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        // The host of a virtual machine of Azure.
        || address == Ipv4Addr::new(168, 63, 129, 16)
        || a >= 240;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // An IPv6 address can contain an IPv4 address, which the network or the kernel then connects to.
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let [first, second, .., high, low] = address.segments();
    let embedded = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (first, second) {
        // NAT64.
        (0x64, 0xff9b) => address.segments()[2..6] == [0; 4] && is_public_v4(embedded(high, low)),
        // 6to4.
        (0x2002, high) => is_public_v4(embedded(high, address.segments()[2])),
        // Teredo and other protocol assignments, and documentation.
        (0x2001, second) if second < 0x200 || second == 0xdb8 => false,
        (0x3fff, second) if second < 0x1000 => false,
        // Global unicast. Loopback, link-local, unique local and multicast addresses are outside.
        _ => first & 0xe000 == 0x2000,
    }
}

/// Checks the host of a URL that is an IP address. Names are checked when they are resolved.
///
/// # Errors
/// When the address is not allowed.
pub fn check_literal(host: &str, allowed: &AllowedHosts) -> Result<(), String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) if !is_public(address) && !allowed.includes(bare) => Err(forbidden(host)),
        _ => Ok(()),
    }
}

fn forbidden(host: &str) -> String {
    format!(
        "{host} has an address that is not public; list the host in --allowed-private-hosts of the gateway to allow it"
    )
}

/// Limits look-ups of names.
#[derive(Debug)]
struct Lookups {
    all: Arc<Semaphore>,
    names: Shares<String>,
}

impl Lookups {
    fn new() -> Arc<Self> {
        Arc::new(Self { all: Arc::new(Semaphore::new(LOOKUPS)), names: Shares::new(LOOKUPS_OF_NAME) })
    }

    /// Waits for a look-up of `name`.
    async fn run<T: Send + 'static>(
        &self,
        name: &str,
        lookup: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        let limited = async {
            let own = self.names.semaphore(name).acquire_owned().await.map_err(io::Error::other)?;
            let all = Arc::clone(&self.all).acquire_owned().await.map_err(io::Error::other)?;
            // A task of its own, because the thread works on when nobody waits any more.
            let found = tokio::spawn(async move {
                let found = lookup.await;
                drop((own, all));
                found
            });
            found.await.map_err(io::Error::other)?
        };
        timeout(PATIENCE, limited).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Resolves host names, and refuses those with an address that is not allowed. The connection uses the checked addresses, so that a name
/// cannot change in between.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// Hosts that may have private addresses; none when all may.
    restricted_to: Option<AllowedHosts>,
    lookups: Arc<Lookups>,
}

impl Resolver {
    /// Makes a resolver for the providers of the installation, which may be anywhere.
    pub fn unrestricted() -> Self {
        Self { restricted_to: None, lookups: Lookups::new() }
    }

    /// Makes a resolver for the providers of tenants.
    pub fn restricted(allowed: AllowedHosts) -> Self {
        Self { restricted_to: Some(allowed), lookups: Lookups::new() }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let checks = self.restricted_to.as_ref().is_some_and(|allowed| !allowed.includes(name.as_str()));
        let lookups = Arc::clone(&self.lookups);
        Box::pin(async move {
            let host = (name.as_str().to_owned(), 0_u16);
            let lookup = async move { tokio::net::lookup_host(host).await.map(Iterator::collect::<Vec<SocketAddr>>) };
            let addresses = lookups.run(name.as_str(), lookup).await?;
            // One address that is not allowed is enough: a name with both kinds is an attempt to get past the check.
            if checks && addresses.iter().any(|address| !is_public(address.ip())) {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, forbidden(name.as_str())));
            }
            Ok(addresses.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    #[test]
    fn private_and_special_addresses_are_not_public() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "240.0.0.1",
            "192.0.2.1",
            "168.63.129.16",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "::127.0.0.1",
            "fec0::1",
            "3fff::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in
            ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2002:808:808::", "64:ff9b::808:808"]
        {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn allowed_hosts_are_names_and_suffixes() {
        let allowed =
            AllowedHosts::new(&["vllm.models.svc".into(), " *.corp.example ".into(), "10.0.0.7".into(), "*".into()]);
        for host in ["vllm.models.svc", "VLLM.models.svc.", "a.corp.example", "10.0.0.7"] {
            assert!(allowed.includes(host), "{host}");
        }
        for host in ["xvllm.models.svc", "corp.example", ".corp.example", "evilcorp.example", "10.0.0.70"] {
            assert!(!allowed.includes(host), "{host}");
        }
        check_literal("10.0.0.7", &allowed).unwrap();
        assert!(check_literal("10.0.0.8", &allowed).unwrap_err().contains("--allowed-private-hosts"));
        assert!(check_literal("[::1]", &allowed).is_err());
        check_literal("1.1.1.1", &allowed).unwrap();
        check_literal("localhost", &allowed).unwrap();
    }

    #[tokio::test]
    async fn names_are_checked_when_they_are_resolved() {
        let name = || Name::from_str("localhost").unwrap();
        let error = Resolver::restricted(AllowedHosts::default()).call(name()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(Resolver::unrestricted().call(name()).await.unwrap().next().is_some());
        let allowed = AllowedHosts::new(&["localhost".into()]);
        assert!(Resolver::restricted(allowed).call(name()).await.unwrap().next().is_some());
    }

    /// Its name server answers nothing.
    #[tokio::test(start_paused = true)]
    async fn one_name_takes_few_look_ups() {
        let lookups = Lookups::new();
        let flood = (0..100).map(|_| lookups.run("slow.example", std::future::pending::<io::Result<()>>()));
        for found in futures::future::join_all(flood).await {
            assert_eq!(found.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        assert_eq!(lookups.all.available_permits(), LOOKUPS - LOOKUPS_OF_NAME, "the threads still wait");
        lookups.run("other.example", std::future::ready::<io::Result<()>>(Ok(()))).await.unwrap();
    }
}
