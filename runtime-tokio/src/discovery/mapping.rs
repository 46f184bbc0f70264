//! Asking the router to let others connect: PCP or NAT-PMP at the default gateway, else UPnP.
//!
//! Only where it can help: our address is a private one and the listener takes connections from outside. The outer port has
//! to be the inner one, since trackers and the DHT are told that. All of it is a favour: no answer is a debug line.

use super::Finder;
use super::upnp::{Protocol, Router, SEARCH_AT};
use crab_nat::{InternetProtocol, PortMapping, PortMappingOptions, TimeoutConfig};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::rc::Rc;
use std::time::Duration;
use zest_core::dht::Family;
use zest_core::endpoint::{Scope, scope};
use zest_core::finder::Event;

/// Life of a mapping: 1 h. Renewed at half of it; after a crash the router forgets it by itself.
const LIFE_S: u32 = 3600;
/// Pause before the router is asked again after it refused or was silent: 20 min.
const AGAIN: Duration = Duration::from_secs(20 * 60);
/// How long one attempt may take: 8 s.
const ATTEMPT: Duration = Duration::from_secs(8);
/// How long an answer to the search for a UPnP router is waited for: 3 s; they answer within one.
const SEARCH: Duration = Duration::from_secs(3);
/// PCP and NAT-PMP: three questions, 250 ms, 500 ms and 1 s apart.
const TIMES: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 2,
    max_retry_timeout: Some(Duration::from_secs(1)),
};
/// What UPnP routers show in their list.
const NAME: &str = "zest";

/// What the router agreed to.
pub(super) enum Mapping {
    /// PCP or NAT-PMP, one per protocol.
    Pcp(Vec<PortMapping>),
    /// UPnP.
    Upnp(Router, Vec<(Protocol, u16)>),
}

/// The ports to be reached at.
#[derive(Debug, Clone, Copy)]
struct Ports {
    tcp: u16,
    udp: Option<u16>,
}

/// Keeps the ports mapped. Never ends.
pub(super) async fn keep_mapped(finder: Rc<Finder>) {
    let ports = Ports { tcp: finder.reach.port, udp: finder.net.udp.port() };
    loop {
        let attempt = tokio::time::timeout(ATTEMPT, map(ports)).await;
        let pause = match attempt.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok((mapping, external)) => {
                tracing::debug!(?external, port = ports.tcp, "the router lets others in");
                finder.net.mapping.replace(Some(mapping));
                finder.notes.set_mapped(true);
                if let Some(ip) = external {
                    finder.tell(Event::SeenAt { ip, port: ports.tcp });
                }
                if ports.udp.is_some() {
                    finder.tell(Event::Reachable { family: Family::V4, known: Some(true) });
                }
                Duration::from_secs(u64::from(LIFE_S / 2))
            }
            Err(why) => {
                tracing::debug!(why, "the router does not let others in");
                finder.net.mapping.replace(None);
                finder.notes.set_mapped(false);
                finder.tell(Event::Reachable { family: Family::V4, known: None });
                AGAIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}

impl Mapping {
    /// Takes it back.
    pub(super) async fn end(self) {
        match self {
            Self::Pcp(mappings) => {
                for mapping in mappings {
                    let _ = mapping.try_drop().await;
                }
            }
            Self::Upnp(router, ports) => {
                for (protocol, port) in ports {
                    let _ = router.remove(protocol, port).await;
                }
            }
        }
    }
}

async fn map(ports: Ports) -> Result<(Mapping, Option<IpAddr>), String> {
    let gateway = gateway();
    // Where there is no route file, a look at where packets to the internet would leave from; none is sent.
    let towards = SocketAddr::new(gateway.unwrap_or(Ipv4Addr::new(192, 0, 2, 1)).into(), 9);
    let local = local_address(towards).map_err(|error| error.to_string())?;
    if scope(local) != Scope::Local {
        return Err(format!("{local} needs no mapping"));
    }
    if let Some(gateway) = gateway {
        match by_pcp(gateway.into(), local, ports).await {
            Ok(mapped) => return Ok(mapped),
            Err(why) => tracing::debug!(%gateway, why, "no mapping by PCP or NAT-PMP"),
        }
    }
    by_upnp(local, ports).await
}

async fn by_pcp(gateway: IpAddr, local: IpAddr, ports: Ports) -> Result<(Mapping, Option<IpAddr>), String> {
    let wanted = [(InternetProtocol::Tcp, Some(ports.tcp)), (InternetProtocol::Udp, ports.udp)];
    let mut mappings = Vec::new();
    let mut external = None;
    for (protocol, port) in wanted {
        let Some(port) = port.and_then(NonZeroU16::new) else { continue };
        let options = PortMappingOptions {
            external_port: Some(port),
            lifetime_seconds: Some(LIFE_S),
            timeout_config: Some(TIMES),
        };
        let mapping = match PortMapping::new(gateway.into(), local, protocol, port, options).await {
            Ok(mapping) => mapping,
            Err(error) => {
                Mapping::Pcp(mappings).end().await;
                return Err(error.to_string());
            }
        };
        let given = mapping.external_port();
        if let crab_nat::PortMappingType::Pcp { external_ip, .. } = mapping.mapping_type() {
            external = Some(external_ip.to_canonical());
        }
        mappings.push(mapping);
        if given != port {
            Mapping::Pcp(mappings).end().await;
            return Err(format!("the router offers port {given} instead of {port}"));
        }
    }
    Ok((Mapping::Pcp(mappings), external))
}

async fn by_upnp(local: IpAddr, ports: Ports) -> Result<(Mapping, Option<IpAddr>), String> {
    let router = Router::find(SEARCH_AT, local, SEARCH).await?;
    let wanted = [(Protocol::Tcp, Some(ports.tcp)), (Protocol::Udp, ports.udp)];
    let mut mapped = Vec::new();
    for (protocol, port) in wanted {
        let Some(port) = port else { continue };
        if let Err(why) = router.add(protocol, local, port, LIFE_S, NAME).await {
            Mapping::Upnp(router, mapped).end().await;
            return Err(why);
        }
        mapped.push((protocol, port));
    }
    let external = router.external().await;
    Ok((Mapping::Upnp(router, mapped), external))
}

/// The address that packets to `towards` come from.
fn local_address(towards: SocketAddr) -> io::Result<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(towards)?;
    Ok(socket.local_addr()?.ip())
}

/// The router, as the kernel's routing table has it. Elsewhere than on Linux UPnP has to find it.
fn gateway() -> Option<Ipv4Addr> {
    default_route(&std::fs::read_to_string("/proc/net/route").ok()?)
}

/// The gateway of the route to 0.0.0.0/0: columns Iface, Destination, Gateway, Flags, …, addresses in hex, as they lie in
/// memory.
fn default_route(table: &str) -> Option<Ipv4Addr> {
    /// `RTF_UP` and `RTF_GATEWAY` of route(8).
    const USABLE: u32 = 0x3;
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let mut hex = || u32::from_str_radix(words.next()?, 16).ok();
        let (to, gateway, flags) = (hex()?, hex()?, hex()?);
        (to == 0 && flags & USABLE == USABLE).then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UdpSocket;

    #[test]
    fn the_default_route_is_read_from_the_kernels_table() {
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
        let local = "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let away = "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        let want = Ipv4Addr::from(0x0100_A8C0_u32.to_ne_bytes());
        assert_eq!(default_route(&format!("{head}{local}{away}")), Some(want));
        assert_eq!(default_route(&format!("{head}{local}")), None);
        assert_eq!(default_route("garbage\nmore garbage\n"), None);
    }

    /// A router that speaks PCP (RFC 6887) and moves ports by `shift`. Tells the ports it maps and takes back.
    async fn router(socket: UdpSocket, shift: u16, tell: tokio::sync::mpsc::UnboundedSender<(u8, u16, u32)>) {
        let mut buffer = [0; 1100];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            assert_eq!((len, buffer[0], buffer[1]), (60, 2, 1), "a MAP request");
            let life = u32::from_be_bytes(buffer[4..8].try_into().unwrap());
            let port = u16::from_be_bytes(buffer[40..42].try_into().unwrap());
            tell.send((buffer[36], port, life)).unwrap();
            let mut reply = buffer[..60].to_vec();
            reply[1] |= 0x80;
            reply[2..4].fill(0);
            reply[8..24].fill(0);
            reply[42..44].copy_from_slice(&(port + shift).to_be_bytes());
            reply[44..60].copy_from_slice(&Ipv4Addr::new(192, 0, 2, 9).to_ipv6_mapped().octets());
            socket.send_to(&reply, from).await.unwrap();
        }
    }

    /// PCP has one port for servers, so each test has a router of its own address.
    const PCP: u16 = 5351;

    #[tokio::test]
    async fn a_router_that_speaks_pcp_is_asked_for_both_ports_and_asked_to_forget_them() {
        let at = Ipv4Addr::new(127, 53, 51, 1);
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let socket = UdpSocket::bind((at, PCP)).await.unwrap();
        let router = tokio::spawn(router(socket, 0, tell));
        let ports = Ports { tcp: 6881, udp: Some(6882) };
        let (mapping, external) = by_pcp(at.into(), Ipv4Addr::LOCALHOST.into(), ports).await.unwrap();
        assert_eq!(external, Some(Ipv4Addr::new(192, 0, 2, 9).into()));
        assert_eq!(told.recv().await, Some((6, 6881, LIFE_S)));
        assert_eq!(told.recv().await, Some((17, 6882, LIFE_S)));
        mapping.end().await;
        assert_eq!(told.recv().await, Some((6, 6881, 0)));
        assert_eq!(told.recv().await, Some((17, 6882, 0)));
        router.abort();
    }

    #[tokio::test]
    async fn another_port_than_the_one_that_is_announced_is_of_no_use() {
        let at = Ipv4Addr::new(127, 53, 51, 2);
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let socket = UdpSocket::bind((at, PCP)).await.unwrap();
        let router = tokio::spawn(router(socket, 7, tell));
        let ports = Ports { tcp: 6881, udp: None };
        let refused = by_pcp(at.into(), Ipv4Addr::LOCALHOST.into(), ports).await;
        assert_eq!(refused.err().as_deref(), Some("the router offers port 6888 instead of 6881"));
        assert_eq!(told.recv().await, Some((6, 6881, LIFE_S)));
        assert_eq!(told.recv().await, Some((6, 6881, 0)), "and it is given back");
        router.abort();
    }
}
