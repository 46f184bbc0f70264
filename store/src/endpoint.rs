//! A Hub by its address, written in one way only: what tells whose word a proof is.

use crate::env::ENDPOINT_DEFAULT;

/// The address of a Hub: lower-case scheme and host, no default port, no slash at the end, no user and no password.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Endpoint(String);

impl Endpoint {
    /// From an address as people write it. Nothing is refused: what is no address is no Hub anybody speaks of.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = text.trim();
        let text = text.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        let Some((scheme, rest)) = text.split_once("://") else { return Self(text.to_owned()) };
        let scheme = scheme.to_ascii_lowercase();
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host).to_ascii_lowercase();
        let usual = match scheme.as_str() {
            "https" => ":443",
            "http" => ":80",
            _ => "",
        };
        let host = host.strip_suffix(usual).unwrap_or(&host);
        Self(format!("{scheme}://{host}{path}"))
    }

    /// The Hub that everybody knows.
    #[must_use]
    pub fn public() -> Self {
        Self::new(ENDPOINT_DEFAULT)
    }

    /// Whether it is an address of this machine alone, so that another machine means another Hub by it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let rest = self.0.split_once("://").map_or(self.0.as_str(), |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let host = match authority.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        is_loopback_name(host.strip_suffix('.').unwrap_or(host))
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a lower-case name, or an address without brackets, is of this machine alone. RFC 6761 keeps `localhost` and everything
/// below it there.
#[must_use]
pub fn is_loopback_name(name: &str) -> bool {
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn hubs_on_this_machine_are_known_by_their_address() {
        for text in [
            "http://127.0.0.1:8080",
            "http://localhost",
            "https://hub.localhost.:1/x",
            "http://[::1]:8080/hf",
        ] {
            assert!(Endpoint::new(text).is_loopback(), "{text}");
        }
        for text in [
            "http://192.168.1.1",
            "https://localhost.example",
            "http://[fe80::1]:1",
            "https://huggingface.co",
            "x",
        ] {
            assert!(!Endpoint::new(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn one_hub_has_one_name() {
        let name = |text| Endpoint::new(text).as_str().to_owned();
        for text in
            ["https://huggingface.co", "HTTPS://HuggingFace.co:443/", " https://me:pw@huggingface.co//?x#y"]
        {
            assert_eq!(name(text), "https://huggingface.co", "{text}");
            assert_eq!(Endpoint::new(text), Endpoint::public());
        }
        assert_eq!(name("http://Hub.Lab:8080/HF/"), "http://hub.lab:8080/HF");
        assert_ne!(
            Endpoint::new("http://huggingface.co"),
            Endpoint::public(),
            "nobody vouches for plain HTTP"
        );
        assert_eq!(name("nonsense"), "nonsense");
    }
}
