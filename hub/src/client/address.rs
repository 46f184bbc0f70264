//! Addresses: the endpoint, links in answers, percent-encoding, and how an address may be shown.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use zest_store::{ENDPOINT_DEFAULT, RepoId, RepoType};

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
}

impl Endpoint {
    pub(super) fn parse(text: &str) -> Result<Endpoint, HubError> {
        let bad =
            |reason: &str| HubError::Config { reason: format!("endpoint {:?} {reason}", shown_text(text)) };
        let base = Url::parse(text.trim()).map_err(|error| bad(&format!("is not an address: {error}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(bad("is neither http nor https"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(bad("holds a user name or password; use `HF_TOKEN` instead"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(bad("has a query or fragment"));
        }
        let text = base.as_str().trim_end_matches('/').to_owned();
        let public = Url::parse(ENDPOINT_DEFAULT).expect("the default endpoint is an address");
        Ok(Endpoint { base, text, public })
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
        let (name, commit, path) = (encode_path(&repo.name), encode_segment(commit), encode_path(path));
        self.url(&format!("/{}{name}/resolve/{commit}/{path}", page_prefix(repo)))
    }

    /// Where a person asks for access to a repository.
    pub(super) fn page(&self, repo: &RepoId) -> String {
        format!("{}/{}{}", shown_text(&self.text), page_prefix(repo), encode_path(&repo.name))
    }

    /// Whether `url` has the endpoint's origin, and so may see its token.
    pub(super) fn owns(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// A link that the Hub gave, absolute; one to the public Hub means the configured endpoint (hub#4475).
    pub(super) fn link(&self, from: &Url, link: &str) -> Result<Url, HubError> {
        let url = follow(from, link)?;
        if url.origin() != self.public.origin() || self.owns(&url) {
            return Ok(url);
        }
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        self.url(&format!("{}{query}", url.path()))
    }
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

fn page_prefix(repo: &RepoId) -> &'static str {
    match repo.kind {
        RepoType::Model => "",
        RepoType::Dataset => "datasets/",
        RepoType::Space => "spaces/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for text in ["https://me:s3cret@hub.example", "me:s3cret@hub.example", "ftp://hub.example", "", "hub"]
        {
            let error = Endpoint::parse(text).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
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
