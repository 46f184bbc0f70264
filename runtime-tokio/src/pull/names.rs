//! Peers that were named for a pull, and where they are: names are looked up beside everything else.

use crate::PullError;
use crate::peer_names::{self, Place};
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use zest_core::outage::PROBE_MAX;

/// Time that names are waited for before anything is fetched: 1 s. Ours; a name server answers within a tenth of that, and one that
/// is mute is not waited for.
pub(super) const NAMES_WAIT: Duration = Duration::from_secs(1);

/// Names that have no address, each with what the system said.
#[derive(Default)]
struct Failed {
    by_name: RefCell<BTreeMap<String, String>>,
    news: Notify,
}

/// What is known of them.
pub(super) struct PeerNames {
    /// Addresses that need no look-up, and those that were found.
    addrs: Vec<SocketAddr>,
    failed: Rc<Failed>,
    /// Each ends once its name has an address.
    looking: FuturesUnordered<LocalBoxFuture<'static, (String, Vec<SocketAddr>)>>,
    asked: Vec<String>,
}

impl PeerNames {
    /// # Errors
    /// One of them is no address and no name.
    pub(super) fn new(given: &[String]) -> Result<Self, PullError> {
        let mut names = Self {
            addrs: Vec::new(),
            failed: Rc::default(),
            looking: FuturesUnordered::new(),
            asked: Vec::new(),
        };
        for given in given {
            match peer_names::place(given)? {
                Place::At(addr) => names.addrs.push(addr),
                Place::Named => {
                    names.asked.push(given.clone());
                    names.looking.push(Box::pin(until_found(given.clone(), names.failed.clone())));
                }
            }
        }
        Ok(names)
    }

    /// Waits until every name was answered for, or [`NAMES_WAIT`] is over.
    pub(super) async fn gather(&mut self) {
        let failed = self.failed.clone();
        let all = async {
            while !self.looking.is_empty() && self.looking.len() > failed.by_name.borrow().len() {
                tokio::select! {
                    Some((given, found)) = self.looking.next() => {
                        self.asked.retain(|name| *name != given);
                        self.addrs.extend(found);
                    }
                    () = failed.news.notified() => {}
                }
            }
        };
        let _late = tokio::time::timeout(NAMES_WAIT, all).await;
    }

    /// Where they are, as far as that is known.
    pub(super) fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Each that has no address yet, with why.
    pub(super) fn nameless(&self) -> Vec<String> {
        let failed = self.failed.by_name.borrow();
        let words = |given: &String| match failed.get(given) {
            Some(error) => error.clone(),
            None => format!("peer {given:?}: no name server has told its address"),
        };
        self.asked.iter().map(words).collect()
    }

    /// The next that has an address now. Never comes back when there is none.
    pub(super) async fn next(&mut self) -> (String, Vec<SocketAddr>) {
        match self.looking.next().await {
            Some(found) => found,
            None => std::future::pending().await,
        }
    }
}

async fn until_found(given: String, failed: Rc<Failed>) -> (String, Vec<SocketAddr>) {
    loop {
        match peer_names::resolve(&given).await {
            Ok(found) => return (given, found),
            // A name server that is out will be back; meanwhile others can give.
            Err(error) => {
                failed.by_name.borrow_mut().insert(given.clone(), error.to_string());
                failed.news.notify_one();
            }
        }
        tokio::time::sleep(PROBE_MAX).await;
    }
}
