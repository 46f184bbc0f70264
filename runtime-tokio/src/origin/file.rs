//! One file at the origin: how to reach it, how it is laid out, and what the origin did wrong with it.

use crate::SourceFault;
use crate::hubs::Client;
use crate::jobs::JobFile;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use zest_core::node::{FaultKind, OriginFault};
use zest_hub::{Cas, ErrorKind, HubError};
use zest_store::RepoId;
use zest_xet::Plan;

/// How to reach one file at the origin.
pub(crate) struct OriginFile {
    client: Arc<Client>,
    pub(crate) repo: RepoId,
    pub(crate) commit: String,
    cas: RefCell<Option<Cas>>,
    last_fault: RefCell<Option<SourceFault>>,
}

impl OriginFile {
    pub(crate) fn new(client: Arc<Client>, repo: RepoId, commit: String) -> Self {
        Self { client, repo, commit, cas: RefCell::new(None), last_fault: RefCell::new(None) }
    }

    /// What the origin did wrong last, for the kind of error that a job without a source ends with.
    pub(crate) fn last_fault(&self) -> Option<SourceFault> {
        self.last_fault.borrow().clone()
    }

    /// It gave bytes that did not prove.
    pub(crate) fn gave_wrong_bytes(&self) {
        *self.last_fault.borrow_mut() = Some(SourceFault::WrongBytes);
    }

    /// An error of the origin in the node's words.
    pub(super) fn fault(&self, error: HubError) -> OriginFault {
        let kind = match (&error, error.kind()) {
            (HubError::Server { .. }, _) | (_, ErrorKind::RateLimited { .. }) => FaultKind::Busy,
            (HubError::Page { .. }, _) | (_, ErrorKind::Offline | ErrorKind::Server | ErrorKind::Stalled) => {
                FaultKind::Unreachable
            }
            (_, ErrorKind::UrlExpired | ErrorKind::Protocol) => FaultKind::Broken,
            (
                _,
                ErrorKind::Config
                | ErrorKind::Auth
                | ErrorKind::Gated
                | ErrorKind::RepoNotFound
                | ErrorKind::RevisionNotFound
                | ErrorKind::EntryNotFound,
            ) => FaultKind::Permanent,
        };
        let (text, retry_after) = (error.to_string(), error.retry_after());
        *self.last_fault.borrow_mut() = Some(SourceFault::Hub(error));
        OriginFault { text, retry_after, kind, known: false }
    }

    pub(super) async fn cas(&self) -> Result<Cas, HubError> {
        let known = self.cas.borrow().clone();
        match known {
            Some(cas) => Ok(cas),
            None => {
                let cas = self.client.hub.cas(&self.repo, &self.commit).await?;
                *self.cas.borrow_mut() = Some(cas.clone());
                Ok(cas)
            }
        }
    }

    /// How the file is laid out, as the CAS tells.
    pub(crate) async fn layout(&self, file: &JobFile) -> Result<Plan, OriginFault> {
        self.ask_layout(file, None).await
    }

    /// How a part of it is laid out, as if that were a file: bytes that begin and end with a chunk.
    pub(super) async fn layout_of(&self, file: &JobFile, bytes: Range<u64>) -> Result<Plan, OriginFault> {
        self.ask_layout(file, Some(bytes)).await
    }

    async fn ask_layout(&self, file: &JobFile, bytes: Option<Range<u64>>) -> Result<Plan, OriginFault> {
        // The token for the CAS is the Hub's, which gave the listing.
        let known = self.client.outages.heard();
        let cas = self.cas().await.map_err(|e| OriginFault { known, ..self.fault(e) })?;
        let size = bytes.as_ref().map_or(file.size, |bytes| bytes.end - bytes.start);
        // It may have the Hub's own address.
        let answer = match bytes {
            Some(bytes) => cas.reconstruction_of(&file.file, bytes).await,
            None => cas.reconstruction(&file.file).await,
        };
        let reconstruction = answer.map_err(|error| {
            let known = self.has_answered(cas.host());
            OriginFault { known, ..self.fault(error) }
        })?;
        Plan::new(&reconstruction, size).map_err(|error| {
            let (url, reason) = (cas.host().to_owned(), format!("{}: {error}", file.file));
            let malformed = HubError::Malformed { url, what: "reconstruction", reason };
            OriginFault { kind: FaultKind::Permanent, ..self.fault(malformed) }
        })
    }

    /// Whether the host of this URL ever answered.
    pub(super) fn has_answered(&self, url: &str) -> bool {
        self.client.hub.has_answered(url)
    }
}
