//! The CAS of one repository and commit: reconstructions, and ranges of xorbs by their signed URLs.

use crate::limits::RECONSTRUCTION_BYTES_MAX;
use std::fmt;
use std::ops::Range;
use std::sync::PoisonError;

use reqwest::Url;
use zest_store::RepoId;
use zest_xet::{Hash, Reconstruction};

use super::Hub;
use super::address::{follow, shown};
use super::ask::{Ask, Party};
use super::body::Body;
use super::text::shorter;
use super::token::XetToken;
use crate::error::HubError;

/// CAS hosts remembered to lack v2: 64.
const V1_HOSTS_MAX: usize = 64;

/// Access to the CAS for the files of one commit. Cheap to clone; clones share connections and the token.
#[derive(Clone)]
pub struct Cas {
    hub: Hub,
    repo: RepoId,
    commit: String,
    host: String,
}

impl Cas {
    pub(super) fn new(hub: Hub, repo: RepoId, commit: String, token: &XetToken) -> Self {
        Self { hub, repo, commit, host: shown(&token.cas) }
    }

    /// Address of the CAS when this was made, for messages.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// How the whole of `file` is put together: v2, or v1 where the CAS does not know v2 (remembered per CAS).
    ///
    /// A token that the CAS refuses is renewed once.
    ///
    /// # Errors
    /// `CasRefused`, `CasFileNotFound`, `Malformed`, and what any request can meet. `Unreachable` means that the CAS may be
    /// blocked here: [`Hub::whole_file`] is the way around.
    pub async fn reconstruction(&self, file: &Hash) -> Result<Reconstruction, HubError> {
        self.of_bytes(file, None).await
    }

    /// How these bytes of `file` (end exclusive) are put together.
    ///
    /// # Errors
    /// As [`Cas::reconstruction`].
    pub async fn reconstruction_of(
        &self,
        file: &Hash,
        bytes: Range<u64>,
    ) -> Result<Reconstruction, HubError> {
        self.of_bytes(file, Some(bytes)).await
    }

    async fn of_bytes(&self, file: &Hash, bytes: Option<Range<u64>>) -> Result<Reconstruction, HubError> {
        let token = self.hub.token(&self.repo, &self.commit).await?;
        match self.ask(&token, file, bytes.clone()).await {
            Err(HubError::CasRefused { status: 401, .. }) => {
                self.hub.inner.tokens.refused(&self.repo, &self.commit, &token).await;
                let token = self.hub.token(&self.repo, &self.commit).await?;
                self.ask(&token, file, bytes).await
            }
            other => other,
        }
    }

    /// Streams `bytes` (end exclusive) of the object at a signed `url` of a reconstruction. No token is sent.
    ///
    /// # Errors
    /// `UrlExpired` on 403: ask for the reconstruction again, once. `WrongRange` if the answer holds other bytes.
    pub async fn range(&self, url: &str, bytes: Range<u64>) -> Result<Body, HubError> {
        self.hub.range(url, bytes, false).await
    }

    /// The same for who is to fill no line: [`Body::chunk`] gives little at once, so that what is read does not call for much at once.
    ///
    /// # Errors
    /// As [`Cas::range`].
    pub async fn range_gently(&self, url: &str, bytes: Range<u64>) -> Result<Body, HubError> {
        self.hub.range(url, bytes, true).await
    }

    async fn ask(
        &self,
        token: &XetToken,
        file: &Hash,
        bytes: Option<Range<u64>>,
    ) -> Result<Reconstruction, HubError> {
        let host = token.cas.origin().ascii_serialization();
        let v1_hosts = &self.hub.inner.v1_hosts;
        let v1_only = v1_hosts.lock().unwrap_or_else(PoisonError::into_inner).contains(&host);
        if !v1_only {
            match self.version(token, file, bytes.clone(), "v2").await {
                // 404 also means "no such file"; only v1 can tell.
                Err(HubError::CasFileNotFound { .. } | HubError::Status { status: 404 | 501, .. }) => {}
                other => return other,
            }
        }
        let reconstruction = self.version(token, file, bytes, "v1").await?;
        if !v1_only {
            tracing::debug!(host, "CAS without v2 reconstructions");
            let mut hosts = v1_hosts.lock().unwrap_or_else(PoisonError::into_inner);
            if hosts.len() >= V1_HOSTS_MAX {
                hosts.clear();
            }
            hosts.insert(host);
        }
        Ok(reconstruction)
    }

    async fn version(
        &self,
        token: &XetToken,
        file: &Hash,
        range: Option<Range<u64>>,
        version: &str,
    ) -> Result<Reconstruction, HubError> {
        let transport = &self.hub.inner.transport;
        let base = token.cas.as_str().trim_end_matches('/');
        let malformed = |url: &Url, reason: &dyn fmt::Display| HubError::Malformed {
            url: shown(url),
            what: "reconstruction",
            reason: shorter(&reason.to_string()),
        };
        let url = Url::parse(&format!("{base}/{version}/reconstructions/{file}"))
            .map_err(|error| malformed(&token.cas, &error))?;
        let party = Party::Cas { file, token: &token.secret };
        let ask = Ask { url, party, range, form: None, stall: transport.config.cas_stall };
        let (_, body) = transport.fetch_for_cas(&ask, RECONSTRUCTION_BYTES_MAX).await?;
        let parse = if version == "v2" { Reconstruction::parse_v2 } else { Reconstruction::parse_v1 };
        parse(&body).map_err(|error| malformed(&ask.url, &error))
    }
}

impl fmt::Debug for Cas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cas")
            .field("host", &self.host)
            .field("repo", &self.repo.name)
            .field("commit", &self.commit)
            .finish_non_exhaustive()
    }
}

/// A signed URL as the CAS gave it; held to the same rules as a redirect from the endpoint.
pub(super) fn signed(endpoint: &Url, url: &str) -> Result<Url, HubError> {
    // An absolute address only: relative to what would be a guess.
    let absolute = Url::parse(url).map_err(|error| HubError::Malformed {
        url: shown(endpoint),
        what: "signed address",
        reason: error.to_string(),
    })?;
    follow(endpoint, absolute.as_str())
}
