//! Peer addresses as people write them.

use crate::PullError;
use std::net::{IpAddr, SocketAddr};
use zest_core::outage::PROBE_MAX;

/// Port of a peer where none is given (BitTorrent's first).
const PORT_DEFAULT: u16 = 6881;

/// What was written.
pub(crate) enum Place {
    /// An address.
    At(SocketAddr),
    /// A name, which has to be looked up.
    Named,
}

/// Reads it, and asks nobody.
pub(crate) fn place(given: &str) -> Result<Place, PullError> {
    let wrong = |why: String| PullError::PeerAddress { given: given.to_owned(), why };
    let (host, port) = split(given).map_err(wrong)?;
    Ok(host.parse::<IpAddr>().map_or(Place::Named, |ip| Place::At(SocketAddr::new(ip, port))))
}

/// Resolves `HOST`, `HOST:PORT`, an IPv4 or IPv6 address, `[IPv6]` or `[IPv6]:PORT`.
pub(crate) async fn resolve(given: &str) -> Result<Vec<SocketAddr>, PullError> {
    let wrong = |why: &str| PullError::PeerAddress { given: given.to_owned(), why: why.to_owned() };
    let (host, port) = split(given).map_err(|why| wrong(&why))?;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let unknown = |why: String| PullError::PeerName { given: given.to_owned(), why };
    let found = zest_hub::look_up(&host).await.map_err(|error| unknown(error.to_string()))?;
    let mut addrs: Vec<SocketAddr> = found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    addrs.dedup();
    if addrs.is_empty() {
        return Err(unknown("the name has no address".into()));
    }
    Ok(addrs)
}

/// Names these peers to whoever dials them, each as soon as it has an address.
pub(crate) fn name_all(given: Vec<String>, name: impl Fn(SocketAddr) + Clone + 'static) {
    for given in given {
        let name = name.clone();
        tokio::task::spawn_local(async move {
            let mut said = false;
            let found = loop {
                match resolve(&given).await {
                    Ok(found) => break found,
                    // A name server that is out will be back.
                    Err(error @ PullError::PeerName { .. }) => {
                        if !std::mem::replace(&mut said, true) {
                            tracing::warn!(target: zest_store::SAID, kind = "peer-unreachable", "{error}; trying again until it has one");
                        }
                        tokio::time::sleep(PROBE_MAX).await;
                    }
                    Err(error) => {
                        return tracing::warn!(target: zest_store::SAID, kind = "peer-unreachable", "{error}");
                    }
                }
            };
            found.into_iter().for_each(name);
        });
    }
}

fn split(given: &str) -> Result<(String, u16), String> {
    let port_of = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{text:?} is no port (1 to 65535)")),
    };
    if given.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((given.to_owned(), PORT_DEFAULT));
    }
    if let Some(rest) = given.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("the bracket is not closed")?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| format!("{host:?} is no IPv6 address"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host.to_owned(), port_of(port)?)),
            None if after.is_empty() => Ok((host.to_owned(), PORT_DEFAULT)),
            None => Err(format!("{after:?} after the bracket")),
        };
    }
    let (host, port) = match given.rsplit_once(':') {
        Some((host, port)) => (host, port_of(port)?),
        None => (given, PORT_DEFAULT),
    };
    if host.is_empty() || host.contains(':') || host.contains(char::is_whitespace) {
        return Err("no host name or address".into());
    }
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn names_ipv4_and_ipv6_are_understood_with_and_without_port() {
        for (given, host, port) in [
            ("10.0.0.5:7000", "10.0.0.5", 7000),
            ("10.0.0.5", "10.0.0.5", 6881),
            ("node-3.lab:99", "node-3.lab", 99),
            ("localhost", "localhost", 6881),
            ("[::1]:7000", "::1", 7000),
            ("[fe80::1]", "fe80::1", 6881),
            ("::1", "::1", 6881),
        ] {
            assert_eq!(split(given), Ok((host.to_owned(), port)), "{given}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for given in [
            "",
            ":80",
            "host:",
            "host:0",
            "host:99999",
            "host:abc",
            "[::1",
            "[x]:1",
            "[::1]x",
            "a b:1",
            "a:b:1",
        ] {
            assert!(split(given).is_err(), "{given:?}");
        }
    }
}
