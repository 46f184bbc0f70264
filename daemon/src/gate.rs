//! Who may ask: the checks that every request passes before anything is looked at.
//!
//! A web page of a stranger, open in the user's browser, can send requests here. It cannot set `Host`, `Origin` and
//! `Sec-Fetch-Site`, and it does not know the secret. Another user of this machine can set all of them, and does not know the
//! secret either.

use crate::Secret;
use crate::answer::Refusal;
use crate::dashboard::Pages;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::net::SocketAddr;
use zest_hub_server::guard::hosts::{Hosts, authority};
use zest_hub_server::guard::{Peer, Side};

/// Loopback.
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Whom a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody on this machine.
    Anybody,
    /// Who has the secret, or is this user by the system's word.
    Owner,
}

/// The checks.
#[derive(Debug)]
pub(crate) struct Gate {
    hosts: Hosts,
    /// The names of this machine's loopback.
    here: Hosts,
    ports: Vec<u16>,
    secret: Secret,
    /// One of the user's own.
    also: Option<Secret>,
    /// The origin of its address for others.
    public: Option<String>,
    pages: Pages,
}

impl Gate {
    /// For listeners at these addresses.
    pub(crate) fn new(addrs: &[SocketAddr], secret: Secret) -> Self {
        let ports = addrs.iter().map(SocketAddr::port).collect();
        let far = addrs.iter().find(|addr| !addr.ip().to_canonical().is_loopback());
        // Where we listen on loopback alone, loopback names alone mean us.
        let hosts = Hosts::new(far.copied().unwrap_or(HERE), None);
        let (here, also, public) = (Hosts::new(HERE, None), None, None);
        Self { hosts, here, ports, secret, also, public, pages: Pages::default() }
    }

    /// Known under this address, too, and opened by this secret.
    pub(crate) fn known_as(
        mut self,
        addr: Option<SocketAddr>,
        url: Option<&str>,
        also: Option<Secret>,
    ) -> Self {
        if let Some(url) = url {
            self.hosts = Hosts::new(addr.unwrap_or(HERE), Some(url));
            self.public = origin(url);
        }
        self.also = also;
        self
    }

    /// The dashboard's pages.
    pub(crate) fn pages(&self) -> &Pages {
        &self.pages
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Whether a request may be looked at, and whose it is.
    pub(crate) fn check(&self, parts: &Parts) -> Result<Caller, Refusal> {
        self.check_place(parts)?;
        match bearer(&parts.headers)? {
            // The socket lets nobody in but this user.
            None if matches!(parts.extensions.get(), Some(Peer { side: Side::User(_), .. })) => {
                Ok(Caller::Owner)
            }
            None => Ok(Caller::Anybody),
            Some(given) if self.is_secret(given) | self.pages.is(given) => Ok(Caller::Owner),
            Some(_) => Err(wrong_secret()),
        }
    }

    /// Whether a request means this machine, and no page of a stranger sent it.
    pub(crate) fn check_place(&self, parts: &Parts) -> Result<(), Refusal> {
        self.check_host(parts)?;
        self.check_origin(parts)
    }

    /// Who has another name lead here means another machine by it (DNS rebinding).
    fn check_host(&self, parts: &Parts) -> Result<(), Refusal> {
        let mut named = parts.headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes).peekable();
        if named.peek().is_none() {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "usage", "a Host is missing"));
        }
        let target = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
        let is_ours = |host: &[u8]| std::str::from_utf8(host).is_ok_and(|host| self.hosts.allow(host));
        match named.chain(target).all(is_ours) {
            true => Ok(()),
            false => {
                let text = "the API answers to the names of this machine's loopback alone";
                Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "usage", text).hint("ask http://127.0.0.1"))
            }
        }
    }

    /// What a browser says of the page that asks.
    fn check_origin(&self, parts: &Parts) -> Result<(), Refusal> {
        const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
        let headers = &parts.headers;
        let foreign = || Refusal::new(StatusCode::FORBIDDEN, "auth", "pages of other origins have no access");
        // `same-site` is another port of this machine: no page of ours.
        let is_ours = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
        if !headers.get_all(SITE).iter().all(is_ours) && !is_visit(parts) {
            return Err(foreign());
        }
        let is_ours = |origin: &HeaderValue| origin.to_str().is_ok_and(|origin| self.is_our_origin(origin));
        match headers.get_all(header::ORIGIN).iter().all(is_ours) {
            true => Ok(()),
            false => Err(foreign()),
        }
    }

    fn is_secret(&self, given: &str) -> bool {
        self.secret.is(given) | self.also.as_ref().is_some_and(|also| also.is(given))
    }

    fn is_our_origin(&self, origin: &str) -> bool {
        if self.public.as_ref().is_some_and(|public| public.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let Some(host) = authority(origin).filter(|host| origin.strip_prefix("http://") == Some(*host))
        else {
            return false;
        };
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80);
        self.ports.contains(&port) && self.here.allow(host)
    }
}

/// Whether somebody's browser is led to the dashboard, in a tab of its own: from the page that `zest dashboard` leaves, or by a link of
/// a stranger. What comes holds nothing, and no other page can look into it.
fn is_visit(parts: &Parts) -> bool {
    let says = |name: &str, what: &str| {
        let mut all = parts.headers.get_all(name).iter();
        all.next().is_some_and(|value| value == what) && all.next().is_none()
    };
    parts.method == Method::GET
        && parts.uri.path() == "/"
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
        && !parts.headers.contains_key(header::ORIGIN)
}

/// Scheme, host and port of an address of the web.
fn origin(url: &str) -> Option<String> {
    let (scheme, _) = url.split_once("://")?;
    Some(format!("{scheme}://{}", authority(url)?))
}

/// What stands in `Authorization`, if anything does.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match (token, all.next()) {
        (Some(token), None) => Ok(Some(token)),
        _ => Err(wrong_secret()),
    }
}

fn unauthorized(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "auth", message)
        .hint("send what is in the file api-secret of zest's cache: Authorization: Bearer …")
        .header(header::WWW_AUTHENTICATE, "Bearer")
}

fn wrong_secret() -> Refusal {
    unauthorized("that is not the secret")
}

/// What a route says to who has no secret.
pub(crate) fn secret_needed() -> Refusal {
    unauthorized("this needs the secret")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Places;
    use axum::http::Request;

    fn gate() -> Gate {
        let dir = tempfile::tempdir().expect("a folder");
        let secret = Secret::read_or_make(&Places::new(dir.path())).expect("made");
        Gate::new(&[([127, 0, 0, 1], 9847).into()], secret)
    }

    fn ask(gate: &Gate, headers: &[(&str, &str)]) -> Result<Caller, u16> {
        let request = headers
            .iter()
            .fold(Request::get("/v1/status"), |request, (name, value)| request.header(*name, *value));
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        gate.check(&parts).map_err(|refusal| refusal.status.as_u16())
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:9847");

    #[test]
    fn only_loopback_names_are_answered_to() {
        let gate = gate();
        for host in ["127.0.0.1:9847", "localhost:9847", "LOCALHOST", "[::1]:9847", "127.0.0.1"] {
            assert_eq!(ask(&gate, &[("host", host)]), Ok(Caller::Anybody), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9847",
            "127.0.0.1.evil.example",
            "192.168.1.2:9847",
            "0.0.0.0:9847",
            "",
        ] {
            assert_eq!(ask(&gate, &[("host", host)]), Err(421), "{host}");
        }
        assert_eq!(ask(&gate, &[]), Err(400));
        assert_eq!(ask(&gate, &[HOST, ("host", "evil.example")]), Err(421), "the second counts, too");
        let request = Request::get("http://evil.example/v1/status").header("host", "localhost");
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        assert!(gate.check(&parts).is_err(), "and what stands in the request's line");
    }

    #[test]
    fn pages_of_other_origins_are_refused_with_and_without_the_secret() {
        let gate = gate();
        let own = format!("Bearer {}", gate.secret().as_str());
        let own = ("authorization", own.as_str());
        for origin in [
            "https://evil.example",
            "null",
            "http://127.0.0.1:3000",
            "http://localhost",
            "https://127.0.0.1:9847",
            "http://127.0.0.1:9847/",
            "http://me@127.0.0.1:9847",
            "http://127.0.0.1.evil.example:9847",
            "file://",
            "",
        ] {
            assert_eq!(ask(&gate, &[HOST, ("origin", origin)]), Err(403), "{origin}");
            assert_eq!(ask(&gate, &[HOST, own, ("origin", origin)]), Err(403), "{origin}");
        }
        for origin in ["http://127.0.0.1:9847", "http://localhost:9847", "http://[::1]:9847"] {
            assert_eq!(ask(&gate, &[HOST, own, ("origin", origin)]), Ok(Caller::Owner), "{origin}");
        }
        for site in ["cross-site", "same-site", "Cross-Site", ""] {
            assert_eq!(ask(&gate, &[HOST, own, ("sec-fetch-site", site)]), Err(403), "{site}");
        }
        for site in ["same-origin", "none"] {
            assert_eq!(ask(&gate, &[HOST, ("sec-fetch-site", site)]), Ok(Caller::Anybody), "{site}");
        }
    }

    #[test]
    fn a_visit_to_the_page_is_let_in_from_anywhere_and_nothing_else_is() {
        let gate = gate();
        let visit = [
            HOST,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
            let request = Request::builder().method(method).uri(path);
            let request =
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            gate.check(&request.body(()).expect("a request").into_parts().0).map_err(|it| it.status.as_u16())
        };
        assert_eq!(ask("GET", "/", &visit), Ok(Caller::Anybody));
        for (method, path) in [("GET", "/v1/status"), ("POST", "/"), ("GET", "/livez"), ("GET", "//")] {
            assert_eq!(ask(method, path, &visit), Err(403), "{method} {path}");
        }
        for (at, (name, value)) in [
            (2, ("sec-fetch-mode", "no-cors")),
            (3, ("sec-fetch-dest", "iframe")),
            (3, ("sec-fetch-dest", "script")),
            (0, ("host", "evil.example")),
        ] {
            let mut other = visit;
            other[at] = (name, value);
            assert!(ask("GET", "/", &other).is_err(), "{name}: {value}");
        }
        assert_eq!(ask("GET", "/", &[&visit[..], &[("origin", "https://evil.example")]].concat()), Err(403));
        let code = gate.pages().code().expect("random bytes");
        let bearer = gate.pages().let_in(&code).expect("random bytes").expect("a code");
        let with = |given: &str| tests::ask(&gate, &[HOST, ("authorization", &format!("Bearer {given}"))]);
        assert_eq!((with(&bearer), with(&code)), (Ok(Caller::Owner), Err(401)));
    }

    #[test]
    fn who_listens_for_others_is_known_by_the_name_that_was_said_and_asks_from_there() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("secret");
        std::fs::write(&path, "a-secret-that-came-into-a-container").expect("written");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).expect("ours");
        let also = Secret::from_file(&path).expect("long enough");
        let secret = Secret::read_or_make(&Places::new(dir.path())).expect("made");
        let addr = SocketAddr::from(([0, 0, 0, 0], 9847));
        let gate = Gate::new(&[addr], secret).known_as(Some(addr), Some("https://Zest.example/"), Some(also));
        let own = ("authorization", "Bearer a-secret-that-came-into-a-container");
        let host = ("host", "zest.example");
        assert_eq!(ask(&gate, &[host, own, ("origin", "https://zest.example")]), Ok(Caller::Owner));
        assert_eq!(ask(&gate, &[("host", "192.0.2.7:9847"), own]), Ok(Caller::Owner));
        assert_eq!(ask(&gate, &[("host", "evil.example"), own]), Err(421));
        for origin in ["http://zest.example", "http://192.0.2.9:9847", "https://evil.example"] {
            assert_eq!(ask(&gate, &[host, own, ("origin", origin)]), Err(403), "{origin}");
        }
    }

    #[test]
    fn a_wrong_secret_is_no_missing_one() {
        let gate = gate();
        let right = gate.secret().as_str().to_owned();
        let with = |value: &str| ask(&gate, &[HOST, ("authorization", value)]);
        assert_eq!(with(&format!("Bearer {right}")), Ok(Caller::Owner));
        assert_eq!(with(&format!("bearer  {right} ")), Ok(Caller::Owner));
        for wrong in ["Bearer", "Bearer ", "Bearer x", "Basic eDp5", &right, &format!("Bearer {right}0")] {
            assert_eq!(with(wrong), Err(401), "{wrong}");
        }
        let twice = format!("Bearer {right}");
        let twice = [HOST, ("authorization", twice.as_str()), ("authorization", "Bearer x")];
        assert_eq!(ask(&gate, &twice), Err(401));
    }
}
