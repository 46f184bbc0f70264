//! Whom a request means: the check that keeps web pages of strangers out (DNS rebinding).
//!
//! A page can have its own name lead to this machine and then read what is served here. Its requests carry that name as
//! `Host`. So names are believed only if they are ours: loopback names where we listen on loopback, addresses where we
//! listen for others, and what we were told.

use std::net::{IpAddr, SocketAddr};
use zest_store::is_loopback_name;

/// The names under which a listener is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// Whether it listens on loopback alone.
    is_loopback: bool,
    /// Lower-case names besides, without port.
    names: Vec<String>,
}

impl Hosts {
    /// For a listener on `addr` that is also known at `public_url`, if given.
    #[must_use]
    pub fn new(addr: SocketAddr, public_url: Option<&str>) -> Self {
        let mut names = Vec::new();
        if let Some(authority) = public_url.and_then(authority) {
            names.extend(name_of(authority));
        }
        let is_loopback = addr.ip().to_canonical().is_loopback();
        if !is_loopback {
            // The name that this network calls the machine by, where the system keeps it in a file (Linux).
            let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
            names.extend(name.and_then(|name| name_of(name.trim())));
        }
        Self { is_loopback, names }
    }

    /// Whether a request with this `Host` means us. `name:port`, an address, or `[IPv6]`; any port.
    #[must_use]
    pub fn allow(&self, host: &str) -> bool {
        let Some(name) = name_of(host) else { return false };
        if self.names.contains(&name) || is_loopback_name(&name) {
            return true;
        }
        // Nobody can have a name lead here that is an address; but where only this machine can connect, nobody means another one.
        !self.is_loopback && name.parse::<IpAddr>().is_ok()
    }
}

/// `host[:port]` of an `http` or `https` address.
#[must_use]
pub fn authority(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    (!authority.is_empty() && !authority.contains('@')).then_some(authority)
}

/// The name without port, in lower case and without a dot at its end; an IPv6 address without brackets. `None` if it is none.
fn name_of(host: &str) -> Option<String> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').filter(|(name, _)| name.parse::<std::net::Ipv6Addr>().is_ok())?,
        None => host.find(':').map_or((host, ""), |colon| host.split_at(colon)),
    };
    let is_port =
        |port: &str| port.is_empty() || port.strip_prefix(':').is_some_and(|n| n.parse::<u16>().is_ok());
    let is_name = |name: &str| {
        !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b))
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    (is_port(port) && is_name(&name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_loopback_only_loopback_names_mean_us() {
        let hosts = Hosts::new(([127, 0, 0, 1], 8080).into(), None);
        for ours in
            ["127.0.0.1:8080", "127.0.0.1", "localhost:9000", "LOCALHOST", "[::1]:8080", "hub.localhost."]
        {
            assert!(hosts.allow(ours), "{ours}");
        }
        for theirs in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "192.0.2.1",
            "",
            "localhost:port",
            "localhost@evil.example",
            "[::1",
            "[localhost]",
            "a b",
        ] {
            assert!(!hosts.allow(theirs), "{theirs}");
        }
    }

    #[test]
    fn for_others_addresses_and_what_we_were_told_mean_us() {
        let hosts = Hosts::new(([0, 0, 0, 0], 8080).into(), Some("https://Hub.example:8443/base"));
        for ours in ["192.0.2.1:8080", "[2001:db8::1]", "hub.example", "hub.example:8443", "localhost"] {
            assert!(hosts.allow(ours), "{ours}");
        }
        assert!(!hosts.allow("evil.example") && !hosts.allow("sub.hub.example"));
    }

    #[test]
    fn only_plain_addresses_have_an_authority() {
        assert_eq!(authority("https://hub.example:1/x"), Some("hub.example:1"));
        for bad in ["hub.example", "ftp://hub.example", "http://", "http://me@hub.example", "https:///x"] {
            assert_eq!(authority(bad), None, "{bad}");
        }
    }
}
