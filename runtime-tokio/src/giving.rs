//! Giving what lies here to peers: who is given to, what of it may be shared, and keeping the index of it up to date.

use crate::disk::StoreHandles;
use crate::index::{IndexProgress, keep_index};
use serde::{Deserialize, Serialize, Serializer};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use zest_core::endpoint::{Scope, scope};
use zest_hub::{Hub, HubConfig, HubError};
use zest_store::{Catalog, Commit, Endpoint, Env, FileStatus, RepoId};

/// Time between two looks at the caches for files that other programs have put there: 2 min. A look costs a walk over their
/// folders, no file is read twice.
pub const INDEX_EVERY: Duration = Duration::from_secs(120);

/// Time between two looks at what the user does not want shared: 1 s.
pub(crate) const DENIALS_EVERY: Duration = Duration::from_secs(1);

/// Who is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Giving {
    /// Nobody.
    Nobody,
    /// This machine and this network.
    Network,
    /// Everyone who comes.
    #[default]
    Everyone,
}

impl Giving {
    /// Whether whoever is at this address is given to.
    pub(crate) fn covers(self, addr: SocketAddr) -> bool {
        match self {
            Self::Nobody => false,
            Self::Network => scope(zest_core::endpoint::canonical(addr).ip()) != Scope::Global,
            Self::Everyone => true,
        }
    }
}

/// The folders whose files are shared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folders {
    /// Caches.
    pub caches: Vec<PathBuf>,
    /// What pulls into a local folder filled.
    pub local_dirs: Vec<PathBuf>,
    /// Nobody named a cache: it is the usual one, and the original's caches belong to it.
    pub usual: bool,
    /// Hubs that are as good as the public one.
    pub mirrors: Vec<Endpoint>,
}

impl Folders {
    /// The cache that was named, or the usual one of the environment.
    #[must_use]
    pub fn of_cache(env: &Env, named: bool) -> Self {
        Self { caches: vec![env.hub_cache.clone()], usual: !named, ..Self::default() }
    }

    /// None: what the session fetches itself is given, and nothing else.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// What these Hubs show to everyone may be given to everyone.
    #[must_use]
    pub fn with_mirrors(mut self, mirrors: &[Endpoint]) -> Self {
        self.mirrors.extend_from_slice(mirrors);
        self
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Path> {
        self.caches.iter().chain(&self.local_dirs).map(PathBuf::as_path)
    }

    /// Nothing outside of them is shared from now on, and nothing on the word of a Hub that this environment does not speak of.
    pub fn apply(&self, env: &Env, catalog: &Catalog) {
        catalog.speak_for(&Endpoint::new(&env.endpoint), &self.mirrors);
        catalog.share_below(&self.all().map(Path::to_path_buf).collect::<Vec<_>>(), self.usual);
    }
}

/// Files and bytes of a commit that are shared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Commits that are shared, with what of them is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shared(BTreeMap<(RepoId, String), Amount>);

impl Shared {
    /// What a catalog says of now.
    #[must_use]
    pub fn of(catalog: &Catalog) -> Self {
        Self::among(catalog, catalog.files())
    }

    /// The same of files that were asked for already.
    fn among(catalog: &Catalog, files: Vec<FileStatus>) -> Self {
        let mut commits: BTreeMap<(RepoId, String), Amount> = BTreeMap::new();
        let mut open: BTreeMap<Commit, bool> = BTreeMap::new();
        for file in files.into_iter().filter(|file| file.near_until.is_some()) {
            // A file may be in a closed repository, too; that one is not what is shared.
            let is_open = |of: &Commit| {
                let hub = of.hub.as_ref();
                hub.is_some_and(|hub| catalog.public_until(hub, &of.repo, &of.commit).is_some())
            };
            let open =
                file.commits.into_iter().filter(|of| *open.entry(of.clone()).or_insert_with(|| is_open(of)));
            // Several Hubs may have shown the same commit.
            let open: BTreeSet<(RepoId, String)> = open.map(|of| (of.repo, of.commit)).collect();
            for of in open {
                let amount = commits.entry(of).or_default();
                amount.files += 1;
                amount.bytes += file.size;
            }
        }
        Self(commits)
    }

    /// Each commit, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&RepoId, &str, Amount)> {
        self.0.iter().map(|((repo, commit), amount)| (repo, commit.as_str(), *amount))
    }

    /// What of a commit is shared.
    #[must_use]
    pub fn get(&self, repo: &RepoId, commit: &str) -> Option<Amount> {
        self.0.get(&(repo.clone(), commit.to_owned())).copied()
    }
}

/// One of them, as programs read it.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct SharedCommit<'a> {
    repo: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    commit: &'a str,
    files: u64,
    bytes: u64,
}

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(|(repo, commit, Amount { files, bytes })| SharedCommit {
            repo: &repo.name,
            kind: repo.kind.as_str(),
            commit,
            files,
            bytes,
        }))
    }
}

/// What is given, and how far the index has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct GivingStatus {
    /// Files that anyone may have.
    #[serde(rename = "files_shared")]
    pub files: u64,
    /// Their bytes.
    #[serde(rename = "bytes_shared")]
    pub bytes: u64,
    /// How many of the files only this network, and peers known by name, may have: another Hub than the public one shows them.
    #[serde(rename = "files_near")]
    pub near: u64,
    /// The same by commit.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<SharedCommit<'static>>"))]
    pub shared: Shared,
    /// Looks at the caches that are over.
    pub looks: u64,
    /// How far the present look is, or what the last one found.
    pub index: IndexProgress,
    /// [`Catalog::judgements`] when it was counted.
    #[serde(skip)]
    judged: Option<u64>,
}

impl GivingStatus {
    /// What of a catalog is shared now, and what a look has found.
    #[must_use]
    pub fn of(catalog: &Catalog, index: IndexProgress) -> Self {
        let mut status = Self { index, looks: 1, ..Self::default() };
        status.count(catalog);
        status
    }

    /// Counts anew if anything has changed since: whoever asks after a pull hears of its files.
    pub(crate) fn catch_up(&mut self, catalog: &Catalog) {
        if self.judged.is_some_and(|judged| judged != catalog.judgements()) {
            self.count(catalog);
        }
    }

    /// Counts anew what of a catalog is shared.
    fn count(&mut self, catalog: &Catalog) {
        self.judged = Some(catalog.judgements());
        let now = zest_store::aging_now();
        let files = catalog.files();
        let holds = |until: Option<SystemTime>| until.is_some_and(|until| until > now);
        (self.files, self.bytes, self.near) = (0, 0, 0);
        for file in files.iter().filter(|file| holds(file.near_until)) {
            self.files += 1;
            self.bytes += file.size;
            self.near += u64::from(!holds(file.public_until));
        }
        self.shared = Shared::among(catalog, files);
    }
}

/// The Hub that says what anybody may read, asked without a token; none if nothing is to be asked.
///
/// # Errors
/// The endpoint is no address.
pub fn hub_that_says_what_is_public(env: &Env) -> Result<Option<Hub>, HubError> {
    if env.offline {
        return Ok(None);
    }
    Hub::new(HubConfig::new(env.endpoint.as_str(), None)).map(Some)
}

/// Indexes every cache once. All of them have one catalog.
pub async fn index_once(
    stores: &[Arc<StoreHandles>],
    hub: Option<&Hub>,
    mut report: impl FnMut(&IndexProgress),
) -> IndexProgress {
    let mut sum = IndexProgress::default();
    for store in stores {
        let before = sum.clone();
        let progress =
            keep_index(store.clone(), hub.cloned(), |progress| report(&before.and(progress))).await;
        sum = before.and(&progress);
    }
    sum
}

/// Indexes the caches now and then, tells `status`, and has whoever gives take in what changed. Never ends.
///
/// `hub` is that of [`hub_that_says_what_is_public`].
pub async fn keep_giving(
    stores: &[Arc<StoreHandles>],
    hub: Option<&Hub>,
    status: &watch::Sender<GivingStatus>,
    changed: impl AsyncFn(),
) {
    let Some(catalog) = stores.first().map(|store| store.catalog.clone()) else {
        return std::future::pending().await;
    };
    status.send_modify(|status| status.count(&catalog));
    let told = Cell::new(IndexProgress::default());
    let denials = tokio::sync::Notify::new();
    // When sharing was last counted; none while a look is under way, which counts at its end.
    let counted = Cell::new(None);
    let indexing = async {
        loop {
            counted.set(None);
            let progress = index_once(stores, hub, |progress| {
                let news = told.replace(progress.clone()) != *progress;
                status.send_if_modified(|status| {
                    status.index.clone_from(progress);
                    news
                });
            })
            .await;
            changed().await;
            counted.set(Some(catalog.judgements()));
            status.send_modify(|status| {
                status.count(&catalog);
                status.index = progress;
                status.looks += 1;
            });
            // What is allowed again may have to be asked about.
            let _either_way = tokio::time::timeout(INDEX_EVERY, denials.notified()).await;
        }
    };
    // A look may take hours.
    let obeying = async {
        let mut seen = catalog.look_at_denials();
        let mut judgements = catalog.judgements();
        loop {
            tokio::time::sleep(DENIALS_EVERY).await;
            let now = catalog.look_at_denials();
            let is_denial = std::mem::replace(&mut seen, now) != now;
            // Files of a pull land one after the other: they are counted when a second has brought none.
            let judged = catalog.judgements();
            let rests = std::mem::replace(&mut judgements, judged) == judged;
            if is_denial {
                changed().await;
            }
            if is_denial || rests && counted.get().is_some_and(|before| before != judged) {
                counted.set(counted.get().map(|_| judged));
                status.send_modify(|status| status.count(&catalog));
            }
            if is_denial {
                denials.notify_one();
            }
        }
    };
    tokio::join!(indexing, obeying);
}

/// Counts what is shared where no index is kept, whenever that may have changed. Never ends.
pub(crate) async fn keep_count(catalog: &Catalog, status: &watch::Sender<GivingStatus>) {
    let judged = || (catalog.look_at_denials(), catalog.judgements());
    let mut seen = judged();
    let mut counted = None;
    loop {
        let now = judged();
        // Files of a pull land one after the other: they are counted when a second has brought none. Proofs end, too.
        let rests = std::mem::replace(&mut seen, now) == now;
        let is_old =
            counted.is_none_or(|(before, at): (_, Instant)| before != now || at.elapsed() >= INDEX_EVERY);
        if rests && is_old {
            counted = Some((now, Instant::now()));
            status.send_modify(|status| status.count(catalog));
        }
        tokio::time::sleep(DENIALS_EVERY).await;
    }
}

/// Obeys what the user says of sharing while this runs. Never ends.
pub(crate) async fn keep_denials(catalog: Arc<Catalog>) {
    loop {
        catalog.look_at_denials();
        tokio::time::sleep(DENIALS_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_network_is_given_to_and_strangers_are_not() {
        let addr = |text: &str| text.parse::<SocketAddr>().expect("an address");
        for near in ["127.0.0.1:1", "192.168.1.4:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"] {
            assert!(Giving::Network.covers(addr(near)), "{near}");
        }
        assert!(!Giving::Network.covers(addr("192.0.2.1:1")) && Giving::Everyone.covers(addr("192.0.2.1:1")));
        assert!(!Giving::Nobody.covers(addr("127.0.0.1:1")));
    }

    #[test]
    fn a_commit_that_two_hubs_have_shown_is_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("zest")).unwrap();
        let (content, commit) = (b"one chunk", "0123456789012345678901234567890123456789");
        let path = dir.path().join("model.bin");
        std::fs::write(&path, content).unwrap();
        let chunk = zest_xet::ChunkRef { hash: zest_xet::chunk_hash(content), len: content.len() as u32 };
        let hash = zest_xet::file_hash(&[chunk]);
        let manifest = zest_xet::Manifest::prove(hash, content.len() as u64, vec![chunk]).unwrap();
        let repo = RepoId::new(zest_store::RepoType::Model, "org/name").unwrap();
        let mirror = Endpoint::new("http://hub.lan");
        for hub in [Endpoint::public(), mirror.clone()] {
            let place = zest_store::Place {
                hub: Some(hub.clone()),
                path: path.clone(),
                repo: repo.clone(),
                commit: commit.to_owned(),
            };
            catalog.publish(&manifest, &place, None, None).unwrap();
            catalog.prove_public(&hub, &repo, commit, SystemTime::now()).unwrap();
        }
        catalog.speak_for(&mirror, &[]);
        assert_eq!(Shared::of(&catalog).get(&repo, commit), Some(Amount { files: 1, bytes: 9 }));
    }

    #[test]
    fn progress_of_several_caches_adds_up() {
        let one = IndexProgress { files_done: 2, files_total: 2, public: 1, ..IndexProgress::default() };
        let two = IndexProgress { files_done: 1, files_total: 5, public: 3, ..IndexProgress::default() };
        let sum = one.and(&two);
        assert_eq!((sum.files_done, sum.files_total, sum.public), (3, 7, 3));
    }
}
