//! Addresses as people write them: of peers, and to listen on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// TCP port BitTorrent clients and zest seeders listen on unless told otherwise.
pub(crate) const PORT_DEFAULT: u16 = 6881;

/// An address to listen on whose port may be left to `--listen-port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenHost {
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
}

/// All addresses of this machine: IPv6 and IPv4, or IPv4 alone where there is no IPv6. Found out by itself, so that a port
/// that is taken is never mistaken for it.
pub(crate) fn everywhere() -> IpAddr {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// Addresses of this machine by which others of its networks reach it, the usual one first; IPv6 only if `with_v6`. Link-local ones
/// are left out: they need the name of an interface, which differs from machine to machine.
pub(crate) fn own(with_v6: bool) -> Vec<IpAddr> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut all: Vec<IpAddr> = usual_v4().into_iter().map(IpAddr::V4).collect();
    all.extend(local_v4(&read("/proc/net/fib_trie")).map(IpAddr::V4));
    if with_v6 {
        all.extend(global_v6(&read("/proc/net/if_inet6")).map(IpAddr::V6));
    }
    let mut own = Vec::new();
    for ip in all {
        let is_one = !ip.is_loopback() && !ip.is_unspecified();
        if is_one && !own.contains(&ip) {
            own.push(ip);
        }
    }
    own
}

/// The address that packets to the rest of the world bear. Nothing is sent: an address of the documentation's networks is looked up
/// in the table of routes.
fn usual_v4() -> Option<Ipv4Addr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(203, 0, 113, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

/// Linux's table of routes: `|-- 192.0.2.2`, and below it `/32 host LOCAL` if that is this machine.
fn local_v4(table: &str) -> impl Iterator<Item = Ipv4Addr> {
    let lines = table.lines().zip(table.lines().skip(1));
    let local = lines.filter(|(_, below)| below.trim() == "/32 host LOCAL");
    local.filter_map(|(line, _)| line.trim().strip_prefix("|-- ")?.parse().ok())
}

/// Linux's list of IPv6 addresses: address, interface, length of the prefix, scope (00: global), flags, name.
fn global_v6(list: &str) -> impl Iterator<Item = Ipv6Addr> {
    list.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        (words.nth(2)? == "00").then(|| Ipv6Addr::from_bits(address))
    })
}

/// `HOST`, `HOST:PORT`, `[IPv6]`, `[IPv6]:PORT` or a bare IPv6 address, returned as `host:port` with an IPv6
/// host in brackets.
pub(crate) fn parse_peer(text: &str) -> Result<String, String> {
    if let Some((_, rest)) = text.split_once("://") {
        // What a Hub has is an address of a page; a peer speaks no HTTP.
        let host = rest.split('/').next().unwrap_or(rest);
        return Err(match split_port(host) {
            Ok(_) if !host.is_empty() => format!("HOST:PORT is wanted, without a scheme or a path: {host}"),
            _ => "HOST:PORT is wanted, without a scheme or a path".to_owned(),
        });
    }
    let (host, port) = split_port(text)?;
    let port = port.unwrap_or(PORT_DEFAULT);
    if port == 0 {
        return Err("port 0 cannot be connected to".to_owned());
    }
    if host.contains(':') {
        return Ok(format!("[{host}]:{port}"));
    }
    // A name that cannot be one is better told now than by the resolver after the file list was fetched.
    let sound = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
    };
    if !host.strip_suffix('.').unwrap_or(host).split('.').all(sound) {
        return Err(format!("{host:?} is neither a host name nor an IP address"));
    }
    Ok(format!("{host}:{port}"))
}

pub(crate) fn parse_listen_host(text: &str) -> Result<ListenHost, String> {
    let (host, port) = split_port(text)?;
    let ip = host.parse().map_err(|_| format!("{host:?} is not an IP address"))?;
    Ok(ListenHost { ip, port })
}

pub(crate) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let ListenHost { ip, port } = parse_listen_host(text)?;
    Ok(SocketAddr::new(ip, port.unwrap_or(PORT_DEFAULT)))
}

/// Splits an optional port off a host. Brackets of an IPv6 address are taken away.
fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let port = |digits: &str| {
        // `u16::from_str` accepts a sign.
        let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
        number.ok_or_else(|| format!("{digits:?} is not a port (0 to 65535)"))
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("'[' without ']'")?;
        // A scope (`fe80::1%eth0`) is the resolver's business.
        let address = host.split('%').next().unwrap_or(host);
        if address.parse::<Ipv6Addr>().is_err() {
            return Err(format!("{host:?} is not an IPv6 address"));
        }
        return match rest.strip_prefix(':') {
            Some(digits) => Ok((host, Some(port(digits)?))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(format!("{rest:?} after ']'")),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => {
            Err("too many ':' (an IPv6 address with a port needs brackets: [::1]:6881)".to_owned())
        }
        Some((host, digits)) => Ok((host, Some(port(digits)?))),
        None => Ok((text, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_read_from_what_linux_says() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.0.2.0\n        /24 link UNICAST\n     \
                     |-- 192.0.2.2\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n";
        assert_eq!(local_v4(table).collect::<Vec<_>>(), [Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 0, 2, 2)]);
        let list = "00000000000000000000000000000001 01 80 10 80       lo\n\
                    fe80000000000000000000000000000b 02 40 20 80     eth0\n\
                    fd000000000000000000000000000002 02 40 00 80     eth0\nnonsense\n";
        let fd00: Ipv6Addr = "fd00::2".parse().expect("an address");
        assert_eq!(global_v6(list).collect::<Vec<_>>(), [fd00]);
        assert!(own(true).iter().all(|ip| !ip.is_loopback() && !ip.is_unspecified()));
    }
}
