//! Who is at fault, and so what helps.

use super::{PullError, SourceFault};
use std::time::Duration;
use zest_hub::{ErrorKind, HubError};
use zest_store::{StoreErrorKind, io_kind};

/// Kinds of failure, for exit codes: who is at fault, and so what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullErrorKind {
    /// The caller asked for something impossible, or its settings cannot work.
    Usage,
    /// The Hub wants a (valid) token.
    Auth,
    /// The repository is gated and this token was not granted access.
    Gated,
    /// No such repository, revision or file.
    NotFound,
    /// Offline mode, and something is not in the cache.
    Offline,
    /// Bytes did not prove, whatever was tried.
    Verify,
    /// The disk is full, read-only or failing.
    Disk,
    /// A file cannot be stored under its name: the name is unsafe or too long, or something else stands there.
    Place,
    /// The caller cancelled.
    Interrupted,
    /// The Hub, its CDN and the peers could not be reached or did not answer well.
    Network,
    /// The Hub limits our rate, longer than we waited.
    RateLimited {
        /// What it asks for, if it says.
        retry_after: Option<Duration>,
    },
    /// What answers does not speak as a Hub, a CAS or a CDN does: asking again is no use.
    Protocol,
    /// A fault of our own, or of another program.
    Other,
}

impl PullErrorKind {
    /// A word for programs, one for each exit code of the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Auth | Self::Gated => "auth",
            Self::NotFound => "not-found",
            Self::Offline | Self::Network | Self::RateLimited { .. } => "network",
            Self::Verify => "verify",
            Self::Disk => "disk",
            Self::Place => "place",
            Self::Interrupted => "interrupted",
            Self::Protocol | Self::Other => "other",
        }
    }
}

impl PullError {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> PullErrorKind {
        match self {
            Self::Shared(error) => error.kind(),
            Self::Hub(error) => hub_kind(error),
            Self::Store(error) => store_kind(error.kind()),
            Self::Io { source, .. } => store_kind(io_kind(source)),
            Self::NoSpace { .. } => PullErrorKind::Disk,
            Self::SomeFiles { failed, .. } => {
                failed.first().map_or(PullErrorKind::Other, |file| file.error.kind())
            }
            Self::NothingSelected { .. } | Self::NoSuchFile { .. } | Self::LostCommit { .. } => {
                PullErrorKind::NotFound
            }
            Self::Offline { .. } | Self::OfflineRevision { .. } => PullErrorKind::Offline,
            Self::PeerAddress { .. } => PullErrorKind::Usage,
            Self::PeerName { .. } => PullErrorKind::Network,
            Self::NoSource { origin, .. } => match origin.as_deref() {
                Some(SourceFault::Hub(error)) => hub_kind(error),
                Some(SourceFault::WrongBytes) => PullErrorKind::Verify,
                None => PullErrorKind::Network,
            },
            Self::Unproven { .. } | Self::TooLong { .. } => PullErrorKind::Verify,
            Self::Interrupted | Self::Denied { .. } => PullErrorKind::Interrupted,
            Self::EngineGone => PullErrorKind::Other,
        }
    }
}

fn hub_kind(error: &HubError) -> PullErrorKind {
    match error {
        HubError::UnsafeName { .. } => return PullErrorKind::Place,
        HubError::NoToken => return PullErrorKind::Auth,
        // Without a token a Hub says the same of what is hidden and of what is not there, and a name that is mistyped is the usual
        // case: as huggingface_hub takes it.
        HubError::LoginNeeded { .. } => return PullErrorKind::NotFound,
        // Not the user's token, and not the user's choice of a file: the Hub and its CAS disagree.
        HubError::CasRefused { .. } | HubError::CasFileNotFound { .. } => return PullErrorKind::Protocol,
        _ => {}
    }
    match error.kind() {
        ErrorKind::Config => PullErrorKind::Usage,
        ErrorKind::Auth => PullErrorKind::Auth,
        ErrorKind::Gated => PullErrorKind::Gated,
        ErrorKind::RepoNotFound | ErrorKind::RevisionNotFound | ErrorKind::EntryNotFound => {
            PullErrorKind::NotFound
        }
        ErrorKind::RateLimited { retry_after } => PullErrorKind::RateLimited { retry_after },
        ErrorKind::Offline | ErrorKind::UrlExpired | ErrorKind::Server | ErrorKind::Stalled => {
            PullErrorKind::Network
        }
        ErrorKind::Protocol => PullErrorKind::Protocol,
    }
}

fn store_kind(kind: StoreErrorKind) -> PullErrorKind {
    match kind {
        StoreErrorKind::Full | StoreErrorKind::ReadOnly | StoreErrorKind::Failing => PullErrorKind::Disk,
        StoreErrorKind::InTheWay | StoreErrorKind::Name => PullErrorKind::Place,
        StoreErrorKind::WrongBytes => PullErrorKind::Verify,
        StoreErrorKind::Changed | StoreErrorKind::Damaged => PullErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::path::PathBuf;
    use zest_core::node::{FaultKind, JobFailure, OriginFault};
    use zest_store::StoreError;

    fn hub(error: HubError) -> PullErrorKind {
        let text = error.to_string();
        let of_listing = PullError::Hub(error.clone()).kind();
        let origin = Some(Box::new(SourceFault::Hub(error)));
        let fault = OriginFault::new(FaultKind::Broken, text);
        let why = Box::new(JobFailure::NoSource { missing: 1, origin: Some(fault) });
        let of_file = PullError::NoSource { path: "f".into(), why, origin }.kind();
        assert_eq!(of_listing, of_file, "a file ends for the same reason as a listing");
        of_listing
    }

    #[test]
    fn what_the_hub_does_wrong_is_told_apart() {
        let (repo, url) = (|| "model a/b".to_owned(), || "https://hub.example/x".to_owned());
        let text = String::new;
        let rows = [
            (HubError::Config { reason: text() }, PullErrorKind::Usage),
            (HubError::NoToken, PullErrorKind::Auth),
            (HubError::LoginNeeded { repo: repo(), message: text() }, PullErrorKind::NotFound),
            (HubError::TokenRefused { repo: repo(), message: text() }, PullErrorKind::Auth),
            (HubError::LoginRefused { repo: repo(), url: url(), message: text() }, PullErrorKind::Auth),
            (HubError::Forbidden { repo: repo(), url: url(), message: text() }, PullErrorKind::Auth),
            (HubError::Gated { repo: repo(), page: url(), had_token: true }, PullErrorKind::Gated),
            (HubError::RepoNotFound { repo: repo(), had_token: false }, PullErrorKind::NotFound),
            (HubError::RevisionNotFound { repo: repo(), revision: text() }, PullErrorKind::NotFound),
            (
                HubError::EntryNotFound { repo: repo(), revision: text(), path: text() },
                PullErrorKind::NotFound,
            ),
            (HubError::Unreachable { url: url(), reason: text(), tries: 3 }, PullErrorKind::Network),
            (
                HubError::Server { url: url(), status: 503, message: text(), retry_after: None, tries: 8 },
                PullErrorKind::Network,
            ),
            (HubError::UrlExpired { url: url(), body: text() }, PullErrorKind::Network),
            (
                HubError::Stalled { url: url(), silence: Duration::from_secs(9), got: 0, want: None },
                PullErrorKind::Network,
            ),
            (
                HubError::ShortBody { url: url(), got: 1, want: Some(2), reason: text() },
                PullErrorKind::Network,
            ),
            (
                HubError::RateLimited { url: url(), retry_after: Some(Duration::from_secs(7)), tries: 8 },
                PullErrorKind::RateLimited { retry_after: Some(Duration::from_secs(7)) },
            ),
            (HubError::CasRefused { url: url(), status: 401, message: text() }, PullErrorKind::Protocol),
            (HubError::CasFileNotFound { url: url(), file: text() }, PullErrorKind::Protocol),
            (HubError::Status { url: url(), status: 418, message: text() }, PullErrorKind::Protocol),
            (HubError::TooLarge { url: url(), what: "file list", limit: 1 }, PullErrorKind::Protocol),
            (
                HubError::WrongRange { url: url(), want_start: 0, want_last: 1, got: text() },
                PullErrorKind::Protocol,
            ),
            (HubError::Redirect { url: url(), reason: text() }, PullErrorKind::Protocol),
            (HubError::Malformed { url: url(), what: "file list", reason: text() }, PullErrorKind::Protocol),
            (HubError::UnsafeName { repo: repo(), reason: text() }, PullErrorKind::Place),
        ];
        for (error, kind) in rows {
            assert_eq!(hub(error.clone()), kind, "{error}");
        }
    }

    #[test]
    fn what_the_disk_refuses_is_told_from_what_it_cannot_hold_and_from_wrong_bytes() {
        let path = || PathBuf::from("/cache/x");
        let io = |kind| StoreError::from_io("write", &path(), io::Error::from(kind), 1);
        let (algorithm, hash) = ("sha256", String::new);
        let rows = [
            (io(io::ErrorKind::StorageFull), PullErrorKind::Disk, "make room"),
            (io(io::ErrorKind::ReadOnlyFilesystem), PullErrorKind::Disk, "writable"),
            (io(io::ErrorKind::PermissionDenied), PullErrorKind::Disk, "writable"),
            (io(io::ErrorKind::Other), PullErrorKind::Disk, "look at the disk"),
            (io(io::ErrorKind::InvalidFilename), PullErrorKind::Place, "--exclude"),
            (io(io::ErrorKind::IsADirectory), PullErrorKind::Place, "move away"),
            (
                StoreError::Foreign { path: path(), found: "a directory", expected: "a file" },
                PullErrorKind::Place,
                "move away",
            ),
            (
                StoreError::WrongSize { path: path(), expected: 1, actual: 2 },
                PullErrorKind::Verify,
                "report it",
            ),
            (
                StoreError::WrongContent { path: path(), algorithm, expected: hash(), actual: hash() },
                PullErrorKind::Verify,
                "report it",
            ),
            (StoreError::ChangedMeanwhile { path: path() }, PullErrorKind::Other, "again"),
            (
                StoreError::Malformed { path: path(), what: "places file", why: hash() },
                PullErrorKind::Other,
                "remove",
            ),
        ];
        for (error, kind, hint) in rows {
            let error = PullError::Store(error);
            assert_eq!(error.kind(), kind, "{error}");
            let said = error.hint().expect("something helps");
            assert!(said.contains(hint), "{error}: {said}");
        }
        let while_fetching = |kind| PullError::Io { path: "f".into(), source: io::Error::from(kind) };
        assert_eq!(while_fetching(io::ErrorKind::StorageFull).kind(), PullErrorKind::Disk);
        assert_eq!(while_fetching(io::ErrorKind::NotADirectory).kind(), PullErrorKind::Place);
    }

    #[test]
    fn a_file_that_no_source_gives_ends_by_what_the_origin_did() {
        let no_source = |origin: Option<SourceFault>| {
            let why = Box::new(JobFailure::NoSource { missing: 3, origin: None });
            PullError::NoSource { path: "f".into(), why, origin: origin.map(Box::new) }.kind()
        };
        assert_eq!(no_source(None), PullErrorKind::Network);
        assert_eq!(no_source(Some(SourceFault::WrongBytes)), PullErrorKind::Verify);
        let unproven = PullError::Unproven { path: "f".into(), want: String::new(), rounds: 6 };
        assert_eq!(unproven.kind(), PullErrorKind::Verify);
        assert_eq!(PullError::TooLong { path: "f".into(), want: 3 }.kind(), PullErrorKind::Verify);
    }

    #[test]
    fn a_peer_whose_name_has_no_address_now_is_no_mistake_on_the_command_line() {
        let (given, why) = (|| "node-7".to_owned(), || "no such name".to_owned());
        assert_eq!(PullError::PeerName { given: given(), why: why() }.kind(), PullErrorKind::Network);
        assert_eq!(PullError::PeerAddress { given: given(), why: why() }.kind(), PullErrorKind::Usage);
    }
}
