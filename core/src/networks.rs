//! The networks that a machine is on: who has an address of one of them is its neighbour, however far that address reaches. With
//! IPv6, machines side by side usually know each other by addresses that reach everywhere.

use crate::endpoint::{Scope, scope};
use crate::special::{begins_alike, special};
use crate::{Duration, Instant};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks that are remembered: 64. Ours; a machine is on one to four.
pub const NETWORKS_MAX: usize = 64;
/// Routes that are looked at: 256. Ours; a machine with containers has some dozens.
const ROUTES_MAX: usize = 256;
/// A look at the tables counts for so long: 10 s. Ours.
const READ_AGAIN: Duration = Duration::from_secs(10);
/// Widest IPv4 network that is one of neighbours: a /16. Ours; what is wider is a route into the world.
const V4_BITS_MIN: u8 = 16;
/// Widest IPv6 network that is one of neighbours: a /56, what a home or a floor of an office has.
const V6_BITS_MIN: u8 = 56;
/// The route is refused (`RTF_REJECT` of linux/route.h).
const REJECT: u32 = 0x200;
/// The route leads through somebody else (`RTF_GATEWAY`).
const GATEWAY: u32 = 0x2;
/// The route is up (`RTF_UP`).
const UP: u32 = 0x1;

/// Widest IPv6 network of one link: a /64, what every link has.
const V6_LINK_BITS_MIN: u8 = 64;
/// What kind of card Ethernet and Wi-Fi are, and bridges of them (`ARPHRD_ETHER` of linux/if_arp.h, in `/sys/class/net/…/type`).
const ETHERNET: &str = "1";

/// Linux's tables of routes.
const V4_ROUTES: &str = "/proc/net/route";
const V6_ROUTES: &str = "/proc/net/ipv6_route";

/// A network that needs no router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    /// The network of this address and prefix length; `None` if it is too wide for one, or reaches no farther than this site, which
    /// is known without it.
    #[must_use]
    pub fn new(ip: IpAddr, bits: u8) -> Option<Self> {
        let (least, most) = if ip.is_ipv4() { (V4_BITS_MIN, 32) } else { (V6_BITS_MIN, 128) };
        let plain = special(ip).is_none() && !ip.is_multicast() && !ip.is_unspecified();
        ((least..=most).contains(&bits) && plain).then_some(Self { first: ip, bits })
    }

    /// Whether an address is in it. An IPv4 address inside an IPv6 one counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        begins_alike(self.first, ip.to_canonical(), self.bits)
    }
}

/// What a runtime knows of them. Machines change networks, so the tables are read again now and then.
#[derive(Debug, Default)]
pub struct Networks {
    ours: Vec<Network>,
    read_at: Option<Instant>,
}

impl Networks {
    /// Whether this is an address of this site, or of a network that this machine is on; and these networks, where they are others
    /// than before: the node wants to know ([`Event::Networks`](crate::node::Event::Networks)).
    ///
    /// `read` gives what stands in a file of the kernel, a few lines, and nothing where there is none: nobody is a neighbour by an
    /// address that reaches everywhere then.
    pub fn near(
        &mut self,
        now: Instant,
        ip: IpAddr,
        read: impl Fn(&str) -> String,
    ) -> (bool, Option<Vec<Network>>) {
        if scope(ip) != Scope::Global {
            return (true, None);
        }
        let mut news = None;
        if self.read_at.is_none_or(|at| now.since(at) >= READ_AGAIN) {
            self.read_at = Some(now);
            let ours = of_linux(&read(V4_ROUTES), &read(V6_ROUTES));
            news = (ours != self.ours).then(|| ours.clone());
            self.ours = ours;
        }
        (self.ours.iter().any(|network| network.contains(ip)), news)
    }
}

/// The networks in Linux's tables of routes, `/proc/net/route` and `/proc/net/ipv6_route`: where no router stands
/// between. Lines that cannot be read are passed over.
#[must_use]
pub fn of_linux(v4: &str, v6: &str) -> Vec<Network> {
    let all = v4.lines().filter_map(v4_line).chain(v6.lines().filter_map(v6_line));
    let direct = all.filter(|(_, way)| way.direct);
    direct.filter_map(|(_, way)| Network::new(way.first, way.bits)).take(NETWORKS_MAX).collect()
}

/// What lies on this side of the line: this machine, and who is reached over a card of it without a router. A line's queue
/// does not hold up what comes from there. It is narrower than [`Networks`]: in a private network that is reached by a router or
/// a tunnel, in that of a provider's customers (RFC 6598), and in a public IPv4 network, the line may lie between.
#[derive(Debug, Default)]
pub struct House {
    routes: Vec<Route>,
    read_at: Option<Instant>,
}

/// A way to a network.
#[derive(Debug)]
struct Route {
    first: IpAddr,
    bits: u8,
    /// Over a card, without a router.
    direct: bool,
}

impl House {
    /// Whether an address is on this side of the line. `read` as with [`Networks::near`]; where there are no such files it is this
    /// machine alone.
    pub fn holds(&mut self, now: Instant, ip: IpAddr, read: impl Fn(&str) -> String) -> bool {
        let ip = ip.to_canonical();
        let (known, near) = match ip {
            _ if ip.is_loopback() => (true, true),
            IpAddr::V4(v4) => (!(v4.is_private() || v4.is_link_local()), false),
            // Reaches no farther than a link.
            IpAddr::V6(v6) => (v6.is_unicast_link_local(), true),
        };
        if known {
            return near;
        }
        if self.read_at.is_none_or(|at| now.since(at) >= READ_AGAIN) {
            self.read_at = Some(now);
            self.routes = routes(&read(V4_ROUTES), &read(V6_ROUTES), |card| {
                let about = |what: &str| read(&alloc::format!("/sys/class/net/{card}/{what}"));
                // A tunnel may look like Ethernet.
                about("type").trim() == ETHERNET && about("tun_flags").is_empty()
            });
        }
        let ways = self.routes.iter().filter(|way| begins_alike(way.first, ip, way.bits));
        ways.max_by_key(|way| way.bits).is_some_and(|way| way.direct)
    }
}

/// The ways in Linux's tables; `is_card` says of a device whether it is one, not a tunnel.
fn routes(v4: &str, v6: &str, is_card: impl Fn(&str) -> bool) -> Vec<Route> {
    let v4 = v4.lines().filter_map(v4_line).map(|line| (line, V4_BITS_MIN));
    let v6 = v6.lines().filter_map(v6_line).map(|line| (line, V6_LINK_BITS_MIN));
    let all = v4.chain(v6).take(ROUTES_MAX);
    all.map(|((card, way), bits_min)| Route {
        direct: way.direct && way.bits >= bits_min && is_card(card),
        ..way
    })
    .collect()
}

/// Whether a way needs no router.
fn is_direct(flags: u32) -> bool {
    flags & (UP | GATEWAY | REJECT) == UP
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask …`; addresses as the memory of this machine has them, in hex.
fn v4_line(line: &str) -> Option<(&str, Route)> {
    let mut words = line.split_ascii_whitespace();
    let card = words.next()?;
    let mut number = || u32::from_str_radix(words.next()?, 16).ok();
    let (to, gateway, flags) = (number()?, number()?, number()?);
    let mask = u32::from_str_radix(words.nth(3)?, 16).ok()?;
    let (first, bits) = (IpAddr::V4(Ipv4Addr::from(to.to_ne_bytes())), mask.count_ones() as u8);
    Some((card, Route { first, bits, direct: gateway == 0 && is_direct(flags) }))
}

/// `destination length source length next-hop metric references use flags device`, all in hex; for any source.
fn v6_line(line: &str) -> Option<(&str, Route)> {
    let mut words = line.split_ascii_whitespace();
    let mut number = |digits: usize| {
        let word = words.next().filter(|word| word.len() == digits)?;
        u128::from_str_radix(word, 16).ok()
    };
    let (to, bits, _from, from_bits, hop) = (number(32)?, number(2)?, number(32)?, number(2)?, number(32)?);
    let (_metric, _references, _used, flags) = (number(8)?, number(8)?, number(8)?, number(8)?);
    let card = words.next()?;
    let (flags, bits) = (u32::try_from(flags).ok()?, u8::try_from(bits).ok()?);
    let first = IpAddr::V6(Ipv6Addr::from(to));
    (from_bits == 0).then_some((card, Route { first, bits, direct: hop == 0 && is_direct(flags) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(networks: &[Network], ip: &str) -> bool {
        let ip = ip.parse().unwrap();
        networks.iter().any(|network| network.contains(ip))
    }

    #[test]
    fn routes_without_a_router_are_our_networks() {
        let v6 = "\
20010db9000000010000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000002 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000003 00000000 00000003     eth0
20010db9000000020000000000000000 40 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000003 00000000 00000003     eth0
20010db9000000030000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000201       lo
20000000000000000000000000000000 03 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     tun0
nonsense";
        let networks = of_linux("", v6);
        assert!(holds(&networks, "2001:db9:0:1::7"), "{networks:?}");
        for far in ["2001:db9:0:2::7", "2001:db9:0:3::7", "2001:db9::7", "fe80::1", "192.0.2.1"] {
            assert!(!holds(&networks, far), "{far}");
        }
    }

    #[test]
    fn the_same_with_ipv4() {
        let line = |to: [u8; 4], gateway: [u8; 4], flags: u32, mask: [u8; 4]| {
            let hex = |bytes: [u8; 4]| alloc::format!("{:08X}", u32::from_ne_bytes(bytes));
            let (to, gateway, mask) = (hex(to), hex(gateway), hex(mask));
            alloc::format!("eth0\t{to}\t{gateway}\t{flags:04X}\t0\t0\t100\t{mask}\t0\t0\t0\n")
        };
        let table = [
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n".into(),
            line([0; 4], [193, 0, 0, 1], 3, [0; 4]),
            line([193, 0, 0, 0], [0; 4], 1, [255, 255, 254, 0]),
            line([193, 0, 4, 0], [193, 0, 0, 1], 3, [255, 255, 255, 0]),
            line([128, 0, 0, 0], [0; 4], 1, [128, 0, 0, 0]),
            line([10, 1, 0, 0], [0; 4], 1, [255, 255, 0, 0]),
        ];
        let networks = of_linux(&table.concat(), "");
        assert_eq!(networks.len(), 1, "{networks:?}");
        assert!(holds(&networks, "193.0.1.9") && holds(&networks, "::ffff:193.0.0.9"));
        assert!(
            !holds(&networks, "193.0.2.9")
                && !holds(&networks, "193.0.4.9")
                && !holds(&networks, "200.0.0.1")
        );
    }

    /// A home: a card of Ethernet, a tunnel of a company, one that looks like Ethernet, a phone's modem.
    fn tables(name: &str) -> String {
        let line = |card: &str, to: [u8; 4], gateway: [u8; 4], flags: u32, bits: u32| {
            let hex = |bytes: [u8; 4]| alloc::format!("{:08X}", u32::from_ne_bytes(bytes));
            let mask = hex((u32::MAX.checked_shl(32 - bits).unwrap_or(0)).to_be_bytes());
            let (to, gateway) = (hex(to), hex(gateway));
            alloc::format!("{card}\t{to}\t{gateway}\t{flags:04X}\t0\t0\t100\t{mask}\t0\t0\t0\n")
        };
        match name {
            V4_ROUTES => [
                line("eth0", [0; 4], [192, 168, 1, 1], 3, 0),
                line("eth0", [192, 168, 0, 0], [0; 4], 1, 16),
                line("tun0", [192, 168, 7, 0], [0; 4], 1, 24),
                line("eth0", [172, 16, 5, 0], [192, 168, 1, 2], 3, 24),
                line("tap0", [10, 9, 0, 0], [0; 4], 1, 16),
                line("eth0", [100, 64, 3, 0], [0; 4], 1, 24),
                line("eth0", [193, 0, 0, 0], [0; 4], 1, 24),
            ]
            .concat(),
            V6_ROUTES => "\
20010db9000000010000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
fd000000000000020000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     tun0
fd000000000000000000000000000000 30 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000100 00000001 00000000 00000003     eth0"
                .into(),
            "/sys/class/net/eth0/type" | "/sys/class/net/tap0/type" => "1\n".into(),
            "/sys/class/net/tun0/type" => "65534\n".into(),
            "/sys/class/net/tap0/tun_flags" => "0x1002\n".into(),
            _ => String::new(),
        }
    }

    #[test]
    fn what_is_on_this_side_of_the_line_needs_no_router_and_no_tunnel() {
        let mut house = House::default();
        let mut holds = |ip: &str| house.holds(Instant(1), ip.parse().unwrap(), tables);
        for near in ["127.0.0.1", "::1", "192.168.1.9", "::ffff:192.168.1.9", "2001:db9:0:1::7", "fe80::9"] {
            assert!(holds(near), "{near}");
        }
        for far in [
            "192.168.7.9",
            "172.16.5.1",
            "10.9.1.1",
            "10.1.1.1",
            "100.64.3.9",
            "193.0.0.9",
            "2001:db9:0:2::7",
            "fd00:0:0:2::7",
            "fd00::7",
        ] {
            assert!(!holds(far), "{far}");
        }
    }

    #[test]
    fn where_nothing_is_known_of_networks_it_is_this_machine_alone() {
        let mut house = House::default();
        let mut holds = |ip: &str| house.holds(Instant(1), ip.parse().unwrap(), |_| String::new());
        assert!(holds("127.0.0.1") && !holds("192.168.1.9") && !holds("10.0.0.1"));
    }
}
