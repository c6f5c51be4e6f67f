//! The pod network: address ranges, a bridge, firewall rules and kernel settings, and their removal.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::cmd::{CommandExt, cmd};

/// The bridge of the pods. It has the node's address.
pub(super) const BRIDGE: &str = "enact0";

/// The loopback address for ports that only processes of this machine need. Nothing else uses it.
pub(super) const LOOPBACK: &str = "127.28.0.1";

const INPUT: &str = "ENACT-INPUT";
const FORWARD: &str = "ENACT-FORWARD";
const HOLD: &str = "ENACT-HOLD";
const POLICY: &str = "ENACT-POLICY";

/// The queue of packets from pods whose address is not known yet.
pub(super) const HOLDING_QUEUE: u16 = 6440;
/// The queue of packets from and to pods that NetworkPolicies decide about.
pub(super) const DECIDING_QUEUE: u16 = 6441;

/// The ranges of Pods and Services, /16 each, in order of preference. The last pair is reserved for network tests (RFC 2544).
const CANDIDATES: [(Ipv4Addr, Ipv4Addr); 6] = [
    (Ipv4Addr::new(172, 28, 0, 0), Ipv4Addr::new(172, 29, 0, 0)),
    (Ipv4Addr::new(172, 26, 0, 0), Ipv4Addr::new(172, 27, 0, 0)),
    (Ipv4Addr::new(172, 24, 0, 0), Ipv4Addr::new(172, 25, 0, 0)),
    (Ipv4Addr::new(172, 22, 0, 0), Ipv4Addr::new(172, 23, 0, 0)),
    (Ipv4Addr::new(172, 20, 0, 0), Ipv4Addr::new(172, 21, 0, 0)),
    (Ipv4Addr::new(198, 18, 0, 0), Ipv4Addr::new(198, 19, 0, 0)),
];

/// Kernel settings that the cluster or its kubelet changes.
const SYSCTLS: [&str; 7] = [
    "net/ipv4/ip_forward",
    "net/bridge/bridge-nf-call-iptables",
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// The cluster's addresses.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Ranges {
    pods: Ipv4Addr,
    services: Ipv4Addr,
}

impl Ranges {
    /// Chooses the first candidate that overlaps with no route of this machine.
    pub(super) fn choose() -> Result<Self> {
        let routes = cmd("ip", ["-4", "route", "show", "table", "all"]).read()?;
        let routes: Vec<(Ipv4Addr, u32)> = routes.lines().filter_map(destination).collect();
        let free = |range: Ipv4Addr| !routes.iter().any(|route| overlap(*route, (range, 16)));
        let found = CANDIDATES.into_iter().find(|(pods, services)| free(*pods) && free(*services));
        let (pods, services) = found.with_context(|| {
            format!("every range that the cluster could use overlaps with a route of this machine: {CANDIDATES:?}")
        })?;
        Ok(Self { pods, services })
    }

    pub(super) fn pods(self) -> String {
        format!("{}/16", self.pods)
    }

    pub(super) fn services(self) -> String {
        format!("{}/16", self.services)
    }

    /// Returns the machine's address on the bridge, which is the address of node, API server and gateway.
    pub(super) fn node(self) -> Ipv4Addr {
        host(self.pods, 1)
    }

    /// Returns the address of the Service `kubernetes`.
    pub(super) fn api_service(self) -> Ipv4Addr {
        host(self.services, 1)
    }

    /// Returns the address of the Service `kube-dns`.
    pub(super) fn dns(self) -> Ipv4Addr {
        host(self.services, 10)
    }
}

fn host(network: Ipv4Addr, number: u8) -> Ipv4Addr {
    let [a, b, c, _] = network.octets();
    Ipv4Addr::new(a, b, c, number)
}

/// Parses the destination in a line of `ip route`. The default route and our own routes have none.
fn destination(line: &str) -> Option<(Ipv4Addr, u32)> {
    if line.contains(&format!("dev {BRIDGE}")) {
        return None;
    }
    let types = ["local", "broadcast", "unreachable", "blackhole", "prohibit"];
    let word = line.split_whitespace().find(|word| !types.contains(word))?;
    let (address, length) = word.split_once('/').unwrap_or((word, "32"));
    Some((address.parse().ok()?, length.parse().ok()?))
}

fn overlap(a: (Ipv4Addr, u32), b: (Ipv4Addr, u32)) -> bool {
    let mask = u32::MAX.checked_shl(32 - a.1.min(b.1)).unwrap_or(0);
    a.0.to_bits() & mask == b.0.to_bits() & mask
}

/// Reads the kernel settings that [`up`] changes.
pub(super) fn sysctls() -> Vec<(String, String)> {
    let read = |name: &&str| {
        let value = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
        Some(((*name).to_owned(), value.trim().to_owned()))
    };
    SYSCTLS.iter().filter_map(read).collect()
}

/// Creates the bridge, the firewall rules and the kernel settings, as far as they are missing.
pub(super) fn up(ranges: Ranges, internet: bool) -> Result<()> {
    set_sysctl("net/ipv4/ip_forward", "1")?;
    // Without br_netfilter, the response of a pod to another pod crosses the bridge without passing the firewall, with the wrong sender.
    // The module may not be loaded; if the kernel does not have it, kube-proxy warns.
    if !Path::new("/proc/sys/net/bridge").exists() {
        cmd("modprobe", ["br_netfilter"]).succeeds();
    }
    if Path::new("/proc/sys/net/bridge").exists() {
        set_sysctl("net/bridge/bridge-nf-call-iptables", "1")?;
    }
    if !Path::new("/sys/class/net").join(BRIDGE).exists() {
        cmd("ip", ["link", "add", BRIDGE, "type", "bridge"]).read()?;
        // The address is fixed. Otherwise it would change whenever a pod is added or removed, and connections would stall.
        cmd("ip", ["link", "set", BRIDGE, "address", "02:65:6e:61:63:74"]).read()?;
    }
    cmd("ip", ["address", "replace", &format!("{}/16", ranges.node()), "dev", BRIDGE]).read()?;
    cmd("ip", ["link", "set", BRIDGE, "up"]).read()?;
    firewall(internet)
}

fn set_sysctl(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(name);
    if fs::read_to_string(&path)?.trim() != value {
        fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))?;
    }
    Ok(())
}

/// Creates rules that let pods reach each other and the API server, and other networks only with `internet`. NetworkPolicies decide
/// first. Packets from the node to its pods, such as probes, are always allowed.
fn firewall(internet: bool) -> Result<()> {
    let outward = if internet { "ACCEPT" } else { "REJECT" };
    let first = "-m conntrack --ctstate NEW -j NFQUEUE --queue-num";
    let rules = format!(
        "*mangle\n\
         :{HOLD} - [0:0]\n\
         :{POLICY} - [0:0]\n\
         -A {HOLD} -i {BRIDGE} {first} {HOLDING_QUEUE}\n\
         -A {POLICY} -i {BRIDGE} {first} {DECIDING_QUEUE}\n\
         -A {POLICY} -o {BRIDGE} {first} {DECIDING_QUEUE}\n\
         COMMIT\n\
         *filter\n\
         :{INPUT} - [0:0]\n\
         :{FORWARD} - [0:0]\n\
         -A {INPUT} -i {BRIDGE} -p tcp --dport 6443 -j ACCEPT\n\
         -A {FORWARD} -i {BRIDGE} -o {BRIDGE} -j ACCEPT\n\
         -A {FORWARD} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         -A {FORWARD} -i {BRIDGE} -j {outward}\n\
         COMMIT\n"
    );
    // The declaration of a chain also empties it, so that this can be repeated.
    cmd("iptables-restore", ["-w", "10", "--noflush"]).read_with(&rules)?;
    // The kernel replaces the addresses of Services after the first of these chains and before the others.
    let jumps = [
        ("mangle", "PREROUTING", HOLD),
        ("mangle", "INPUT", POLICY),
        ("mangle", "FORWARD", POLICY),
        ("filter", "INPUT", INPUT),
        ("filter", "FORWARD", FORWARD),
    ];
    for (table, chain, ours) in jumps {
        if !cmd("iptables", ["-w", "10", "-t", table, "-C", chain, "-j", ours]).succeeds() {
            cmd("iptables", ["-w", "10", "-t", table, "-I", chain, "-j", ours]).read()?;
        }
    }
    Ok(())
}

/// Returns an error unless a process serves both queues.
pub(super) fn queues_are_served() -> Result<()> {
    let table = fs::read_to_string("/proc/net/netfilter/nfnetlink_queue")
        .context("this kernel does not support netfilter queues")?;
    let served = |queue: u16| table.lines().any(|line| line.split_whitespace().next() == Some(&queue.to_string()));
    if !(served(HOLDING_QUEUE) && served(DECIDING_QUEUE)) {
        bail!("no process serves the queues {HOLDING_QUEUE} and {DECIDING_QUEUE}");
    }
    Ok(())
}

/// Returns an error unless the cluster's DNS at `server` resolves the API server's Service. That needs a running pod and the rules of
/// kube-proxy.
pub(super) fn resolves(server: Ipv4Addr) -> Result<()> {
    let name = "kubernetes.default.svc.cluster.local";
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    socket.connect((server, 53))?;
    let query = dns_query(name);
    socket.send(&query)?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).with_context(|| format!("{server} does not respond"))?;
    if !dns_found(&query, &answer[..length]) {
        bail!("{server} does not resolve {name}");
    }
    Ok(())
}

/// Encodes a DNS query for the IPv4 addresses of `name`.
fn dns_query(name: &str) -> Vec<u8> {
    // Identifier, "recursion desired", one question. Then the question: the labels of the name, type A, class IN.
    let mut query = vec![0x65, 0x6e, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.extend(u8::try_from(label.len()));
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}

/// Returns whether `answer` answers `query` without an error and with at least one record.
fn dns_found(query: &[u8], answer: &[u8]) -> bool {
    let [id1, id2, flags, code, _, _, records1, records2, ..] = answer else { return false };
    let error = code % 16;
    query.starts_with(&[*id1, *id2]) && *flags >= 0x80 && error == 0 && (*records1, *records2) != (0, 0)
}

/// Removes the bridge with its links, and all chains of Kubernetes, CNI and Enact, and restores kernel settings.
pub(super) fn down(sysctls: &[(String, String)]) -> Result<()> {
    if Path::new("/sys/class/net").join(BRIDGE).exists() {
        for link in cmd("ip", ["-o", "link", "show", "master", BRIDGE]).read()?.lines() {
            if let Some(name) = link.split(": ").nth(1).and_then(|name| name.split('@').next()) {
                // The deletion fails if the peer is just being deleted with its namespace.
                cmd("ip", ["link", "delete", name]).succeeds();
            }
        }
        cmd("ip", ["link", "delete", BRIDGE]).read()?;
    }
    for family in ["iptables", "ip6tables"] {
        if let Ok(saved) = cmd(format!("{family}-save"), [""; 0]).read() {
            let removal = removal(&saved);
            if !removal.is_empty() {
                cmd(format!("{family}-restore"), ["-w", "10", "--noflush"]).read_with(&removal)?;
            }
        }
    }
    for (name, value) in sysctls {
        set_sysctl(name, value)?;
    }
    Ok(())
}

/// Returns the input of `iptables-restore --noflush` that removes our chains, and the rules that jump to them, from the output of
/// `iptables-save`. Other rules are not changed.
fn removal(saved: &str) -> String {
    let ours = |chain: &str| ["KUBE-", "CNI-", "ENACT-"].iter().any(|prefix| chain.starts_with(prefix));
    let mut output = String::new();
    let (mut table, mut rules, mut flushes, mut deletions) = (String::new(), Vec::new(), Vec::new(), Vec::new());
    for line in saved.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with('*') {
            line.clone_into(&mut table);
        } else if let Some(chain) = words.first().and_then(|word| word.strip_prefix(':')).filter(|chain| ours(chain)) {
            flushes.push(format!("-F {chain}"));
            deletions.push(format!("-X {chain}"));
        } else if let ["-A", chain, rest @ ..] = words.as_slice() {
            // The last match counts, because a comment may contain the same words.
            let jump = rest.windows(2).rfind(|pair| matches!(pair[0], "-j" | "-g"));
            if jump.is_some_and(|jump| ours(jump[1])) && !ours(chain) {
                rules.push(line.replacen("-A", "-D", 1));
            }
        } else if line == "COMMIT" && !(rules.is_empty() && flushes.is_empty()) {
            let lines =
                [vec![table.clone()], rules.split_off(0), flushes.split_off(0), deletions.split_off(0)].concat();
            output += &lines.join("\n");
            output += "\nCOMMIT\n";
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_symmetric() {
        let range = (Ipv4Addr::new(172, 28, 0, 0), 16);
        assert!(overlap((Ipv4Addr::new(172, 16, 0, 0), 12), range));
        assert!(overlap((Ipv4Addr::new(172, 28, 3, 4), 32), range));
        assert!(!overlap((Ipv4Addr::new(172, 29, 0, 0), 16), range));
        assert!(overlap((Ipv4Addr::UNSPECIFIED, 0), range));
    }

    #[test]
    fn candidates_contain_the_clusters_addresses() {
        for (pods, services) in CANDIDATES {
            assert!(!overlap((pods, 16), (services, 16)), "{pods} {services}");
            let ranges = Ranges { pods, services };
            assert!(overlap((ranges.node(), 32), (pods, 16)));
            assert!(overlap((ranges.api_service(), 32), (services, 16)));
            assert_ne!(ranges.api_service(), ranges.dns());
        }
        let ranges = Ranges { pods: CANDIDATES[0].0, services: CANDIDATES[0].1 };
        assert_eq!((ranges.pods(), ranges.node().to_string()), ("172.28.0.0/16".to_owned(), "172.28.0.1".to_owned()));
        assert_eq!(
            (ranges.services(), ranges.dns().to_string()),
            ("172.29.0.0/16".to_owned(), "172.29.0.10".to_owned())
        );
    }

    #[test]
    fn destinations_are_parsed_from_all_route_types() {
        assert_eq!(destination("172.17.0.0/16 dev docker0 scope link"), Some((Ipv4Addr::new(172, 17, 0, 0), 16)));
        assert_eq!(destination("local 172.28.0.9 dev x table local"), Some((Ipv4Addr::new(172, 28, 0, 9), 32)));
        assert_eq!(destination("default via 192.0.2.1 dev eth0"), None);
        assert_eq!(destination("172.28.0.0/16 dev enact0 proto kernel"), None);
        assert_eq!(destination("fe80::/64 dev eth0"), None);
    }

    #[test]
    fn dns_answers_differ_from_refusals() {
        let query = dns_query("a.bc");
        assert_eq!(query[12..], [1, b'a', 2, b'b', b'c', 0, 0, 1, 0, 1]);
        let mut answer = query.clone();
        assert!(!dns_found(&query, &answer), "an echo is not an answer");
        (answer[2], answer[7]) = (0x81, 1);
        assert!(dns_found(&query, &answer));
        answer[3] = 3;
        assert!(!dns_found(&query, &answer), "the name does not exist");
        assert!(!dns_found(&query, &[]));
    }

    #[test]
    fn removal_deletes_only_our_chains() {
        let saved = "# comment\n*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n:KUBE-SERVICES - [0:0]\n\
            -A PREROUTING -m comment --comment \"to -j KUBE-X\" -j DOCKER\n\
            -A PREROUTING -m comment --comment \"a b\" -j KUBE-SERVICES\n-A KUBE-SERVICES -j RETURN\nCOMMIT\n\
            *filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
        let expected = "*nat\n-D PREROUTING -m comment --comment \"a b\" -j KUBE-SERVICES\n-F KUBE-SERVICES\n\
            -X KUBE-SERVICES\nCOMMIT\n";
        assert_eq!(removal(saved), expected);
    }
}
