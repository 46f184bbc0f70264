//! What one pull gave, and whom it met: counted for that pull alone, however many run beside it.

use crate::file_kind::FileKind;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use zest_core::link::{Body, Outgoing, PlainKey};
use zest_core::node::Node;
use zest_core::{BufId, FileId, JobId};
use zest_store::{Access, Catalog};
use zest_xet::Hash;

/// Why nobody is linked at an address that leads back to this process.
pub(crate) const OWN_ADDRESS: &str = "it is this machine's own address";

/// The counters of a pull that the engine's thread keeps for it. What concerns two pulls, such as a file that both wait for,
/// counts for both.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Its jobs, those that are over included.
    jobs: RefCell<BTreeSet<JobId>>,
    /// Where its files lie, as [`zest_core::Location`] names them: partial ones and finished ones.
    places: RefCell<BTreeSet<FileId>>,
    /// Peers that its user named.
    named: RefCell<BTreeSet<SocketAddr>>,
    /// Those among them that cannot be reached, with the reason.
    unreachable: RefCell<BTreeMap<SocketAddr, String>>,
    /// Its small files that come whole.
    small: RefCell<BTreeSet<PlainKey>>,
    given: Cell<u64>,
    banned: Cell<u64>,
    /// Times that a peer gave nothing as its budget for uploads is used up.
    spent: Cell<u64>,
}

impl Figures {
    /// A job is (also) this pull's.
    pub(crate) fn has_job(&self, job: JobId) {
        self.jobs.borrow_mut().insert(job);
        self.places.borrow_mut().insert(FileKind::Partial(job).id());
    }

    /// A file of the catalog is (also) this pull's.
    pub(crate) fn has_file(&self, catalog: &Catalog, file: &Hash) {
        if let Some(place) = catalog.data(file, Access::Own) {
            self.places.borrow_mut().insert(FileId(place.0));
        }
    }

    /// A small file that comes whole is (also) this pull's.
    pub(crate) fn has_small(&self, key: PlainKey) {
        self.small.borrow_mut().insert(key);
    }

    /// The user named a peer for this pull.
    pub(crate) fn has_peer(&self, addr: SocketAddr) {
        self.named.borrow_mut().insert(addr);
    }

    /// Peers that its user named and that cannot be reached, with the reason.
    pub(crate) fn unreachable(&self) -> BTreeMap<SocketAddr, String> {
        self.unreachable.borrow().clone()
    }

    /// Bytes of its files that were given to peers, in chunks or whole.
    pub(crate) fn given(&self) -> u64 {
        self.given.get()
    }

    /// Peers that were shut out for what they did to it: they had something of its files or were asked for it, or its user
    /// had named them.
    pub(crate) fn banned(&self) -> u64 {
        self.banned.get()
    }

    /// Times that a peer gave nothing as its budget for uploads is used up.
    pub(crate) fn spent(&self) -> u64 {
        self.spent.get()
    }

    /// Linked peers that have something of its files or fetch them.
    pub(crate) fn peers(&self, node: &Node) -> u32 {
        u32::try_from(node.linked_for(&self.jobs.borrow())).unwrap_or(u32::MAX)
    }
}

/// The counters of all pulls that run.
#[derive(Debug, Default)]
pub(crate) struct AllFigures(RefCell<Vec<Weak<Figures>>>);

impl AllFigures {
    /// Counters that are kept from now on, until they are dropped.
    pub(crate) fn begin(&self) -> Rc<Figures> {
        let figures = Rc::<Figures>::default();
        let mut all = self.0.borrow_mut();
        all.retain(|other| other.strong_count() > 0);
        all.push(Rc::downgrade(&figures));
        figures
    }

    fn each(&self, mut tell: impl FnMut(&Figures)) {
        for figures in self.0.borrow().iter().filter_map(Weak::upgrade) {
            tell(&figures);
        }
    }

    /// A message goes out: its payload counts for the pulls whose files it is of.
    /// `named` says which small file lies in a buffer.
    pub(crate) fn given(&self, message: &Outgoing, named: impl Fn(BufId) -> Option<PlainKey>) {
        let count = |body: &Body| {
            let Body::File(place) = body else { return };
            self.each(|figures| {
                if figures.places.borrow().contains(&place.file) {
                    figures.given.set(figures.given.get() + u64::from(place.len));
                }
            });
        };
        match message {
            Outgoing::Chunk { body, .. } | Outgoing::XorbBytes { body, .. } => count(body),
            Outgoing::XorbRange { parts, .. } => parts.iter().for_each(|(_, body)| count(body)),
            Outgoing::Plain { body: Body::Buf { id, len, .. }, .. } => {
                let Some(key) = named(*id) else { return };
                self.each(|figures| {
                    if figures.small.borrow().contains(&key) {
                        figures.given.set(figures.given.get() + u64::from(*len));
                    }
                });
            }
            _ => {}
        }
    }

    /// No connection to a peer comes about.
    pub(crate) fn unreachable(&self, addr: SocketAddr, why: &str) {
        self.each(|figures| {
            if figures.named.borrow().contains(&addr) {
                figures.unreachable.borrow_mut().insert(addr, why.to_owned());
            }
        });
    }

    /// A peer is linked.
    pub(crate) fn linked(&self, addr: SocketAddr) {
        self.each(|figures| drop(figures.unreachable.borrow_mut().remove(&addr)));
    }

    /// A peer says that its budget for uploads is used up.
    pub(crate) fn spent(&self) {
        self.each(|figures| figures.spent.set(figures.spent.get() + 1));
    }

    /// A peer was shut out.
    pub(crate) fn banned(&self, addr: SocketAddr, jobs: &[JobId]) {
        self.each(|figures| {
            let own = figures.jobs.borrow();
            if jobs.iter().any(|job| own.contains(job)) || figures.named.borrow().contains(&addr) {
                figures.banned.set(figures.banned.get() + 1);
            }
        });
    }
}
