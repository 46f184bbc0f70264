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

/// `HOST`, `HOST:PORT`, `[IPv6]`, `[IPv6]:PORT` or a bare IPv6 address, returned as `host:port` with an IPv6
/// host in brackets.
pub(crate) fn parse_peer(text: &str) -> Result<String, String> {
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
