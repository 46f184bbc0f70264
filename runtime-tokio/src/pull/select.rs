//! Which files a pull is about: what is named and fits, and of each content one.

use super::PullOptions;
use super::destination::Destination;
use super::listing::{self, Listing};
use super::names::PeerNames;
use crate::PullError;
use crate::context::Context;
use crate::error::FailedFile;
use crate::fnmatch::Filter;
use crate::outages::without_patience;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;
use zest_store::TreeEntry;

/// What there is of a repository, and where named peers are.
pub(crate) struct Listed {
    pub(crate) commit: String,
    /// The files selected.
    pub(crate) entries: Vec<TreeEntry>,
    pub(crate) public_until: Option<SystemTime>,
    pub(crate) peers: Vec<SocketAddr>,
}

/// Lists what a pull with these options would be about, and fetches nothing.
pub(crate) async fn list_for_peers(
    context: &Rc<Context>,
    options: &PullOptions,
) -> Result<Listed, PullError> {
    let client = match options.env.offline {
        true => None,
        false => Some(context.origin.hubs.client(&options.env)?),
    };
    let destination = Destination::new(&context.disk.store, None)?;
    let mut names = PeerNames::new(&options.peers)?;
    let hub = client.as_ref().map(|client| &client.hub);
    let looking = async {
        names.gather().await;
        Ok(())
    };
    let listing = without_patience(listing::list(&destination, hub, options));
    let (listing, ()) = tokio::try_join!(listing, looking)?;
    for text in names.nameless() {
        tracing::warn!(target: zest_store::SAID, kind = "peer-unreachable", "{text}");
    }
    let Listing { commit, entries, public_until, as_found, refused, .. } = listing;
    let entries = select(options, entries, refused, as_found)?.wanted;
    Ok(Listed { commit, entries, public_until, peers: names.addrs().to_vec() })
}

/// The files that are named and fit.
pub(super) struct Selected {
    pub(super) wanted: Vec<TreeEntry>,
    /// Those among them that cannot be had or stored here.
    pub(super) failed: Vec<FailedFile>,
}

/// Picks what is named and fits, and only then judges it: what nobody asked for costs nobody anything.
pub(super) fn select(
    options: &PullOptions,
    entries: Vec<TreeEntry>,
    refused: Vec<FailedFile>,
    as_found: bool,
) -> Result<Selected, PullError> {
    let repo = options.repo.name.clone();
    let filter = Filter::new(&options.files, &options.include, &options.exclude);
    let paths =
        entries.iter().map(|entry| entry.path.as_str()).chain(refused.iter().map(|f| f.path.as_str()));
    let absent = filter.missing(&paths.collect::<Vec<_>>());
    if let Some(path) = absent.first() {
        let path = (*path).to_string();
        return Err(match as_found {
            // It may well be in the repository: nobody here knows.
            true => {
                let (missing, total) = (absent.len(), options.files.len());
                PullError::Offline { repo, missing, total, names: path }
            }
            false => PullError::NoSuchFile { repo, path },
        });
    }
    let mut failed: Vec<FailedFile> = refused.into_iter().filter(|file| filter.wants(&file.path)).collect();
    let mut wanted: Vec<TreeEntry> = entries.into_iter().filter(|entry| filter.wants(&entry.path)).collect();
    if wanted.is_empty() && failed.is_empty() {
        return Err(PullError::NothingSelected { repo });
    }
    wanted.retain(|entry| match entry.check_fits() {
        Ok(()) => true,
        Err(error) => {
            let error = Arc::new(PullError::Store(error.into()));
            failed.push(FailedFile { path: entry.path.clone(), error });
            false
        }
    });
    Ok(Selected { wanted, failed })
}

/// Files of one content are fetched once: the first of them, and the others with it.
pub(super) fn split_twins(entries: Vec<TreeEntry>) -> (Vec<TreeEntry>, Vec<(TreeEntry, TreeEntry)>) {
    let mut firsts: BTreeMap<String, TreeEntry> = BTreeMap::new();
    let (mut unique, mut twins) = (Vec::new(), Vec::new());
    for entry in entries {
        match firsts.get(entry.etag()) {
            Some(first) => twins.push((entry, first.clone())),
            None => {
                firsts.insert(entry.etag().to_owned(), entry.clone());
                unique.push(entry);
            }
        }
    }
    (unique, twins)
}
