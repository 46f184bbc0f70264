//! Addresses: the endpoint, links in answers, percent-encoding, and how an address may be shown.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Url;
use reqwest::header::HeaderValue;
use zest_store::{ENDPOINT_DEFAULT, RepoId};

use crate::error::HubError;

/// Everything but RFC 3986's unreserved characters is encoded, so that `#`, `?`, `%` and spaces in file names survive.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Longest part of an address in a message: 200 characters.
const SHOWN_CHARS_MAX: usize = 200;

/// The configured Hub: the only place its token may go to.
#[derive(Debug)]
pub(super) struct Endpoint {
    base: Url,
    /// `base` without a trailing slash.
    text: String,
    /// Origin of the public Hub, in whose name mirrors pass on links.
    public: Url,
    /// From `https://user:password@host`; in no address that this makes.
    login: Option<Login>,
}

/// User name and password of the endpoint. No `Debug` that shows them: the password is a secret.
struct Login {
    password: String,
    /// Base64 of both, as the header has it.
    encoded: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Endpoint {
    pub(super) fn parse(text: &str) -> Result<Self, HubError> {
        let bad =
            |reason: &str| HubError::Config { reason: format!("endpoint {:?} {reason}", shown_text(text)) };
        if !text.contains("://") {
            let scheme = if has_port(text.trim()) { "http" } else { "https" };
            return Err(bad(&format!("lacks its scheme: write {scheme}://{}", shown_text(text))));
        }
        let mut base =
            Url::parse(text.trim()).map_err(|error| bad(&format!("is not an address: {error}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(bad("is neither http nor https"));
        }
        let login = Login::take(&mut base);
        if base.query().is_some() || base.fragment().is_some() {
            return Err(bad("has a query or fragment"));
        }
        let text = base.as_str().trim_end_matches('/').to_owned();
        let public = Url::parse(ENDPOINT_DEFAULT).expect("the default endpoint is an address");
        Ok(Self { base, text, public, login })
    }

    /// Address of an already encoded `path_and_query`, which begins with `/`.
    pub(super) fn url(&self, path_and_query: &str) -> Result<Url, HubError> {
        debug_assert!(path_and_query.starts_with('/'), "paths are appended to the endpoint");
        Url::parse(&format!("{}{path_and_query}", self.text)).map_err(|error| HubError::Config {
            reason: format!("endpoint with a path is no address: {error}"),
        })
    }

    /// `{endpoint}/api/{kind}/{name}/{rest}`.
    pub(super) fn api(&self, repo: &RepoId, rest: &str) -> Result<Url, HubError> {
        self.url(&format!("/api/{}/{}/{rest}", repo.kind.plural(), encode_path(&repo.name)))
    }

    /// `{endpoint}/[datasets/|spaces/]{name}/resolve/{commit}/{path}`.
    pub(super) fn resolve(&self, repo: &RepoId, commit: &str, path: &str) -> Result<Url, HubError> {
        let (repo, commit, path) =
            (encode_path(&repo.to_string()), encode_segment(commit), encode_path(path));
        self.url(&format!("/{repo}/resolve/{commit}/{path}"))
    }

    /// Where a person asks for access to a repository.
    pub(super) fn page(&self, repo: &RepoId) -> String {
        format!("{}/{}", shown_text(&self.text), encode_path(&repo.to_string()))
    }

    /// Whether `url` has the endpoint's origin, and so may see its token.
    pub(super) fn owns(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// The header that opens an endpoint with a user name and password.
    pub(super) fn login(&self) -> Option<HeaderValue> {
        let login = self.login.as_ref()?;
        let mut value = HeaderValue::from_str(&format!("Basic {}", login.encoded)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// What no message may repeat: the password, and it together with the user name as the header has them.
    pub(super) fn secrets(&self) -> [&str; 2] {
        self.login.as_ref().map_or(["", ""], |login| [&login.password, &login.encoded])
    }

    /// Where this endpoint has what lies at `url` of the public Hub (hub#4475); `None` for other addresses.
    pub(super) fn here(&self, url: &Url) -> Option<Url> {
        if url.origin() != self.public.origin() || self.owns(url) {
            return None;
        }
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        self.url(&format!("{}{query}", url.path())).ok()
    }

    /// A link that the Hub gave, absolute; one to the public Hub means the configured endpoint (hub#4475).
    pub(super) fn link(&self, from: &Url, link: &str) -> Result<Url, HubError> {
        let url = follow(from, link)?;
        Ok(self.here(&url).unwrap_or(url))
    }

    /// Where the next page of a listing may be, best first, given the page at `from` and its `link`.
    ///
    /// A mirror may name itself by an address that only its own network knows, or have its pages elsewhere. What has the
    /// path of this listing is asked of the endpoint, with its token, and else there, without. Another path elsewhere is no
    /// page of it.
    pub(super) fn next_pages(&self, from: &Url, link: &str) -> Result<Vec<Url>, HubError> {
        let page = self.link(from, link);
        let is_own = page.as_ref().is_ok_and(|url| self.owns(url));
        let to = from.join(link).map_err(|error| HubError::Redirect {
            url: shown(from),
            reason: format!("not an address: {error}"),
        })?;
        let prefix = self.base.path().trim_end_matches('/');
        let listing = from.path().strip_prefix(prefix).unwrap_or(from.path());
        let query = to.query().map(|query| format!("?{query}")).unwrap_or_default();
        let same =
            to.path().ends_with(listing).then(|| self.url(&format!("{listing}{query}"))).transpose()?;
        if is_own {
            // Behind some proxies a link has the endpoint's path twice: the listing's own is the last resort.
            return Ok(page.into_iter().chain(follow(from, link).ok()).chain(same).collect());
        }
        let Some(same) = same else {
            let reason = format!("the listing goes on at another origin, {}", shown(&to));
            return Err(page.err().unwrap_or(HubError::Redirect { url: shown(from), reason }));
        };
        Ok(std::iter::once(same).chain(page).collect())
    }
}

impl Login {
    /// Takes user name and password out of an address.
    fn take(url: &mut Url) -> Option<Self> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
        // Neither fails for an address that has a host.
        let _ = (url.set_username(""), url.set_password(None));
        (!user.is_empty() || !password.is_empty())
            .then(|| Self { encoded: base64(format!("{user}:{password}").as_bytes()), password })
    }
}

/// Base64 with padding (RFC 4648, 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at > three.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

/// What no line may show of an endpoint with a login: the password as it is and as it stands in the address, and as the header has
/// it. Empty for others.
#[must_use]
pub fn endpoint_secrets(endpoint: &str) -> Vec<String> {
    let Ok(mut url) = Url::parse(endpoint.trim()) else { return Vec::new() };
    let written = url.password().unwrap_or_default().to_owned();
    let Some(login) = Login::take(&mut url) else { return Vec::new() };
    [login.password, written, login.encoded].into_iter().filter(|secret| !secret.is_empty()).collect()
}

/// The endpoint as it may be shown, noted and compared: without user name, password and a slash at its end.
#[must_use]
pub fn endpoint_name(endpoint: &str) -> String {
    shown_text(endpoint.trim())
}

/// Where a redirect or link at `from` leads; refuses what no honest server needs.
pub(super) fn follow(from: &Url, link: &str) -> Result<Url, HubError> {
    let refuse = |reason: String| HubError::Redirect { url: shown(from), reason };
    let url = from.join(link).map_err(|error| refuse(format!("not an address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(refuse(format!("scheme {:?}", url.scheme())));
    }
    if from.scheme() == "https" && url.scheme() == "http" {
        return Err(refuse(format!("from https down to http ({})", shown(&url))));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("an address with a user name".to_owned()));
    }
    Ok(url)
}

/// Whether `url` is plain HTTP to this machine: no proxy and no TLS set-up is wanted for it.
pub(super) fn is_plain_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    url.scheme() == "http" && address.map_or(host == "localhost", |address| address.is_loopback())
}

/// One path segment, encoded.
pub(super) fn encode_segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A path with `/` between its segments, encoded.
pub(super) fn encode_path(path: &str) -> String {
    path.split('/').map(encode_segment).collect::<Vec<_>>().join("/")
}

/// Kind and name, as messages show it: `model lab/tiny`.
pub(super) fn shown_repo(repo: &RepoId) -> String {
    format!("{} {}", repo.kind.as_str(), repo.name)
}

/// An address as messages and logs may show it: no user, no query (signatures), no fragment, bounded.
pub(super) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let all = format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path());
    super::text::clip(&all, SHOWN_CHARS_MAX)
}

/// As [`shown`], for text that may not be an address at all.
pub(super) fn shown_text(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) if url.has_host() => shown(&url).trim_end_matches('/').to_owned(),
        _ => super::text::clip(text.rsplit('@').next().unwrap_or_default(), SHOWN_CHARS_MAX),
    }
}

/// Whether a name without a scheme has a port, as servers of one's own do and public Hubs do not.
fn has_port(text: &str) -> bool {
    let host = text.split('/').next().unwrap_or_default();
    host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_store::RepoType;

    fn mirror() -> Endpoint {
        Endpoint::parse("https://mirror.example/hf/").unwrap()
    }

    #[test]
    fn file_names_keep_their_odd_characters() {
        let repo = RepoId::new(RepoType::Dataset, "lab/table").unwrap();
        let url = mirror().resolve(&repo, "refs/pr/1", "sub dir/é#1?%.bin").unwrap();
        assert_eq!(
            url.as_str(),
            "https://mirror.example/hf/datasets/lab/table/resolve/refs%2Fpr%2F1/sub%20dir/%C3%A9%231%3F%25.bin"
        );
    }

    #[test]
    fn links_to_the_public_hub_mean_the_configured_one() {
        let (mirror, from) = (mirror(), Url::parse("https://mirror.example/hf/api/x").unwrap());
        let to = |link| mirror.link(&from, link).map(|url| url.to_string());
        assert_eq!(
            to("https://huggingface.co/api/y?cursor=a%3D").unwrap(),
            "https://mirror.example/hf/api/y?cursor=a%3D"
        );
        assert_eq!(to("/api/z").unwrap(), "https://mirror.example/api/z");
        assert_eq!(to("https://cdn.example/f?s=1").unwrap(), "https://cdn.example/f?s=1");
    }

    #[test]
    fn dangerous_links_are_refused() {
        let from = Url::parse("https://hub.example/a").unwrap();
        for link in ["file:///etc/passwd", "http://hub.example/a", "https://me:pw@hub.example/", "https://"] {
            assert!(follow(&from, link).is_err(), "{link}");
        }
    }

    #[test]
    fn endpoints_with_secrets_or_odd_schemes_are_refused_without_showing_the_secret() {
        for text in ["ftp://me:s3cret@hub.example", "me:s3cret@hub.example", "ftp://hub.example", "", "hub"] {
            let error = Endpoint::parse(text).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn who_forgot_the_scheme_is_told_what_to_write() {
        let said = |text| Endpoint::parse(text).unwrap_err().to_string();
        assert!(said("localhost:8080").ends_with("lacks its scheme: write http://localhost:8080"));
        assert!(said("hub.example/hf").ends_with("lacks its scheme: write https://hub.example/hf"));
    }

    #[test]
    fn a_login_in_the_address_is_sent_and_in_no_address_or_text() {
        let endpoint = Endpoint::parse(" https://me:s3%2Fcret@hub.example/hf/ ").unwrap();
        let login = endpoint.login().unwrap();
        assert_eq!(login.to_str().unwrap(), "Basic bWU6czMvY3JldA==");
        assert!(login.is_sensitive());
        assert_eq!(endpoint.url("/api").unwrap().as_str(), "https://hub.example/hf/api");
        let shown = format!("{endpoint:?} {}", endpoint_name("https://me:s3%2Fcret@hub.example/hf/"));
        assert!(!shown.contains("s3") && !shown.contains("bWU6"), "{shown}");
        assert!(shown.ends_with(" https://hub.example/hf"), "{shown}");
        assert!(Endpoint::parse("https://hub.example").unwrap().login().is_none());
        let secrets = endpoint_secrets("https://me:s3%2Fcret@hub.example");
        assert_eq!(secrets, ["s3/cret", "s3%2Fcret", "bWU6czMvY3JldA=="]);
        assert!(endpoint_secrets("https://hub.example").is_empty() && endpoint_secrets("hub").is_empty());
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn the_next_page_is_looked_for_where_its_link_says_and_here() {
        let (mirror, from) =
            (mirror(), Url::parse("https://mirror.example/hf/api/models/a/b/tree/x?r=1").unwrap());
        let to = |link: &str| {
            let pages = mirror.next_pages(&from, link);
            pages.map(|pages| pages.iter().map(Url::to_string).collect::<Vec<_>>())
        };
        let here = "https://mirror.example/hf/api/models/a/b/tree/x?c=2";
        // An inner address below https may not be followed; the way on is the same path here.
        assert_eq!(to("http://inner:8080/api/models/a/b/tree/x?c=2").unwrap(), [here]);
        for elsewhere in ["https://pages.example", "https://huggingface.co"] {
            let elsewhere = format!("{elsewhere}/api/models/a/b/tree/x?c=2");
            assert_eq!(to(&elsewhere).unwrap()[..2], [here, &elsewhere]);
        }
        let twice = "https://mirror.example/hf/hf/api/models/a/b/tree/x?c=2";
        assert_eq!(to(twice).unwrap(), [twice, twice, here]);
        for bad in ["https://pages.example/other?c=2", "http://inner:8080/other", "ftp://pages.example/"] {
            assert!(matches!(to(bad), Err(HubError::Redirect { .. })), "{bad}");
        }
        assert_eq!(to("?c=2").unwrap()[0], here);
    }

    #[test]
    fn only_plain_http_to_this_machine_is_local() {
        let local = |text: &str| is_plain_loopback(&Url::parse(text).unwrap());
        assert!(local("http://127.0.0.1:1/") && local("http://[::1]/") && local("http://localhost:9/a"));
        assert!(
            !local("https://127.0.0.1/") && !local("http://10.0.0.1/") && !local("http://localhost.example/")
        );
    }
}
