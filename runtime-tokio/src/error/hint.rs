//! What the user can do next.

use super::{PullError, PullErrorKind};
use zest_hub::HubError;
use zest_store::{StoreError, StoreErrorKind};

impl PullError {
    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if let Self::Shared(error) = self {
            return error.hint();
        }
        if let Self::SomeFiles { failed, .. } = self {
            return failed.first().and_then(|file| file.error.hint());
        }
        if let Self::Denied { .. } = self {
            return Some("run the same command again: it goes on from the Hub alone".into());
        }
        if let Self::LostCommit { .. } = self {
            return Some("it was replaced a moment ago: run the same command again in a minute".into());
        }
        if let Self::Store(StoreError::Unreadable { .. }) = self {
            return Some("ask its owner for `chmod a+r`, or choose another place with --cache-dir".into());
        }
        if let Self::NothingSelected { .. } | Self::NoSuchFile { .. } = self {
            return Some("see what there is with --dry-run; names and patterns are case-sensitive".into());
        }
        if let Self::Store(error) = self {
            return store_hint(error.kind()).map(str::to_owned);
        }
        let of_hub = match self {
            Self::Hub(HubError::LoginNeeded { .. }) => Some(
                "check the name, --type and --revision; if it is private or gated and you have access, set HF_TOKEN, or log in \
                 with `hf auth login`",
            ),
            // It never answered: the same again ends the same.
            Self::Hub(HubError::Unreachable { .. }) => Some(
                "check HF_ENDPOINT, the network and the proxy settings: `zest doctor` looks at each and says what helps",
            ),
            _ => None,
        };
        if let Some(text) = of_hub {
            return Some(text.into());
        }
        let text = match self.kind() {
            PullErrorKind::Auth => "if you have access, set HF_TOKEN, or log in with `hf auth login`",
            PullErrorKind::Gated => "once you have access, set HF_TOKEN, or log in with `hf auth login`",
            PullErrorKind::NotFound => "check the name, --type and --revision",
            PullErrorKind::Offline => "unset HF_HUB_OFFLINE, or pull it once while online",
            PullErrorKind::Verify => {
                "run the same command again; if it stays, report it to the model's owner"
            }
            PullErrorKind::Disk => {
                "make room or choose another place with --cache-dir; what is proven is kept"
            }
            PullErrorKind::Place => {
                "leave the file out with --exclude, or choose another place with --local-dir"
            }
            PullErrorKind::Interrupted => "run the same command again to go on where it stopped",
            PullErrorKind::Network => "run the same command again: what is proven is kept",
            PullErrorKind::RateLimited { .. } => {
                "come back later: what is proven is kept; with HF_TOKEN the Hub allows more"
            }
            PullErrorKind::Protocol => {
                "check HF_ENDPOINT and the proxy settings: something else than a Hub may be answering"
            }
            PullErrorKind::Usage => match self {
                Self::PeerAddress { .. } => "write HOST:PORT, an IPv4 address or [IPv6]:PORT",
                _ => return None,
            },
            PullErrorKind::Other => return None,
        };
        Some(text.into())
    }
}

/// What helps against an error of the store, if anything is known to.
#[must_use]
pub fn store_hint(kind: StoreErrorKind) -> Option<&'static str> {
    Some(match kind {
        StoreErrorKind::Full => "make room, or choose another place with --cache-dir; what is proven is kept",
        StoreErrorKind::ReadOnly => {
            "make it writable for this user, or choose another place with --cache-dir"
        }
        StoreErrorKind::Failing => {
            "look at the disk, or choose another place with --cache-dir; what is proven is kept"
        }
        StoreErrorKind::InTheWay => "move away what stands there, or choose another place with --cache-dir",
        StoreErrorKind::Name => "leave the file out with --exclude, or choose another place with --local-dir",
        StoreErrorKind::WrongBytes => {
            "run the same command again; if it stays, report it to the model's owner"
        }
        StoreErrorKind::Changed => "run the same command again, when no other program writes there",
        StoreErrorKind::Damaged => "remove that file and run the same command again",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_stands_in_the_hint_alone() {
        let (repo, page) = ("model a/b".to_owned(), "https://hub.example/a/b".to_owned());
        let closed = HubError::LoginNeeded { repo: repo.clone(), message: String::new() };
        for error in [closed, HubError::Gated { repo, page, had_token: false }] {
            let error = PullError::from(error);
            let hint = error.hint().expect("what helps");
            assert!(
                hint.contains("set HF_TOKEN") && !error.to_string().contains("HF_TOKEN"),
                "{error}: {hint}"
            );
        }
    }
}
