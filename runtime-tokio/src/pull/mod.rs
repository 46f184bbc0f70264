//! One repository into the HF cache (or a local folder): list, compare with the disk, fetch what is missing, land it.

mod control;
mod destination;
mod errand;
mod listing;
pub(crate) mod peers;
mod plain;
mod proof;
mod waiting;
mod xet;
mod xorbs;

use crate::PullError;
use crate::api::{FileProgress, How, Notice, Phase, Progress, PullReport, PulledFile};
use crate::cancel::CancelToken;
use crate::context::Context;
use crate::disk::StoreHandles;
use crate::engine::Engine;
use crate::error::FailedFile;
use crate::figures::Figures;
use crate::fnmatch::Filter;
use crate::giving::DENIALS_EVERY;
use crate::hubs::Client;
use crate::jobs::Counts;
use crate::outages::{Outages, Spells, without_patience};
pub(crate) use control::{Arrivals, Control, Known, Reader, Source, Wish};
use destination::Destination;
pub(crate) use errand::{Errand, ErrandKey, Share};
use listing::Listing;
use proof::Looked;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use zest_core::outage::PROBE_MAX;
use zest_hub::{Hub, HubError};
use zest_store::{Commit, Endpoint, Env, HfCache, RepoId, TreeEntry};
use zest_xet::CHUNK_BYTES_MAX;

/// Progress is told this often.
const TELL: Duration = Duration::from_millis(100);
/// Names shown when something is missing.
const NAMES_SHOWN: usize = 5;
/// Notices kept of one pull.
const NOTICES_MAX: usize = 1_000;

/// What to pull, from where, to where.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// The repository.
    pub repo: RepoId,
    /// Branch, tag, `refs/pr/N` or commit.
    pub revision: String,
    /// Files by name; empty means all.
    pub files: Vec<String>,
    /// Patterns of files to take (`fnmatch`); empty means all.
    pub include: Vec<String>,
    /// Patterns of files to leave out.
    pub exclude: Vec<String>,
    /// Put the files at their paths in this folder instead of the cache.
    pub local_dir: Option<PathBuf>,
    /// The environment, with the caller's overrides.
    pub env: Env,
    /// Fetch even what is there.
    pub force: bool,
    /// Only say what would be fetched.
    pub dry_run: bool,
    /// Peers to ask: `HOST:PORT`, names, IPv4, `[IPv6]`.
    pub peers: Vec<String>,
    /// Whether peers may be asked at all.
    pub p2p: bool,
    /// Keep xorbs in the original's cache layout too.
    pub keep_xorbs: bool,
    /// The caller holds the locks of its files.
    pub lock_held: bool,
    /// See [`PullRequest::named_first`](crate::PullRequest::named_first).
    pub named_first: bool,
}

/// What one pull shares among its tasks.
pub(crate) struct Pull {
    pub(crate) context: Rc<Context>,
    pub(crate) options: PullOptions,
    pub(crate) destination: Destination,
    pub(crate) client: Option<Arc<Client>>,
    /// How the Hub does.
    pub(crate) outages: Arc<Outages>,
    pub(crate) control: Control,
    pub(crate) commit: String,
    /// Until when anyone may read the commit, if so.
    pub(crate) public_until: Option<SystemTime>,
    /// The commit as what it is shared: of the Hub that listed it.
    whose: Commit,
    /// Nobody knows the list of files: what lies there is what there is.
    as_found: bool,
    /// The user does not want it shared.
    denied: bool,
    pub(crate) tally: Tally,
    pub(crate) figures: Rc<Figures>,
}

/// Counts of a pull. Bytes of running jobs are added when asked for.
#[derive(Default)]
pub(crate) struct Tally {
    phase: Cell<Phase>,
    /// That nothing is given any more was said.
    spent: Cell<bool>,
    /// Files whose lock another process has.
    waiting: RefCell<waiting::Waits>,
    files_total: Cell<u32>,
    files_done: Cell<u32>,
    bytes_total: Cell<u64>,
    /// Bytes of files that were on disk whole.
    pub(crate) whole_disk: Cell<u64>,
    /// Bytes of plain files that the Hub gave and that count.
    pub(crate) whole_hub: Cell<u64>,
    /// All bytes that came for plain files.
    pub(crate) whole_wire: Cell<u64>,
    /// Parts of plain files that had rotted since an earlier run.
    pub(crate) rotten: Cell<u64>,
    /// What files that are not under way any more counted.
    pub(crate) ended: RefCell<Vec<Counts>>,
    /// Files under way in chunks.
    pub(crate) shares: RefCell<Vec<Rc<Share>>>,
    /// Bytes of plain files that the Hub gave before the pull rested, by path.
    pub(crate) credit: RefCell<BTreeMap<String, u64>>,
    peers_max: Cell<u32>,
    spells: RefCell<Spells>,
    pub(crate) files: RefCell<Vec<PulledFile>>,
    /// Files on disk that are being read to be proven.
    reading: RefCell<Vec<Arc<proof::Reading>>>,
    notices: RefCell<Vec<Notice>>,
    /// Files that could not be had, while all others are.
    failed: RefCell<Vec<FailedFile>>,
    /// Peers that were said to be unreachable.
    unreachable: RefCell<BTreeSet<SocketAddr>>,
}

impl Tally {
    /// What all files in chunks counted so far.
    fn counts(&self) -> Counts {
        let running: Vec<Counts> = self.shares.borrow().iter().map(|share| share.counts()).collect();
        self.ended.borrow().iter().chain(&running).fold(Counts::default(), |sum, one| sum + *one)
    }

    /// Of so many bytes of a plain file that lie here those that the Hub gave to this pull before it rested.
    pub(crate) fn take_credit(&self, path: &str, bytes: u64) -> u64 {
        let mut credit = self.credit.borrow_mut();
        let Some(left) = credit.get_mut(path) else { return 0 };
        let taken = bytes.min(*left);
        *left -= taken;
        taken
    }

    fn progress(&self, peers: u32, given: u64) -> Progress {
        let counts = self.counts();
        let from_peers = counts.peer_bytes;
        let from_cdn = counts.cdn_bytes + self.whole_hub.get();
        let read: u64 = self.reading.borrow().iter().map(|file| file.done()).sum();
        let from_disk = counts.disk_bytes + self.whole_disk.get() + read;
        let shares = self.shares.borrow();
        let jobs = shares.iter().filter_map(|share| {
            let size = share.errand.size()?;
            Some(FileProgress { path: share.path.clone(), size, done: share.done_bytes().min(size) })
        });
        let current = jobs.chain(self.reading.borrow().iter().map(|file| file.progress())).collect();
        Progress {
            phase: self.phase.get(),
            paused: false,
            files_total: self.files_total.get(),
            files_done: self.files_done.get(),
            bytes_total: self.bytes_total.get(),
            outages: Vec::new(),
            waiting: waiting::now(&self.waiting.borrow()),
            bytes_done: (from_peers + from_cdn + from_disk).min(self.bytes_total.get()),
            from_peers,
            from_cdn,
            from_disk,
            received: from_peers + counts.wire_bytes + self.whole_wire.get(),
            given,
            peers,
            current,
            notices: self.notices.borrow().clone(),
        }
    }
}

/// Pulls a repository. Progress is told through the channel about ten times a second; a cancelled token ends the pull
/// with [`PullError::Interrupted`], keeping what is proven.
///
/// # Errors
/// See [`PullError`]; each says what happened and [`PullError::hint`] what to do next.
pub async fn pull(
    engine: &Engine,
    options: PullOptions,
    progress: watch::Sender<Progress>,
    cancel: CancelToken,
) -> Result<PullReport, PullError> {
    let control = Control::simple(progress, cancel);
    engine
        .run(move |context| Box::pin(run(context, options, control)))
        .await
        .unwrap_or(Err(PullError::EngineGone))
}

/// The place a pull writes to, in the engine's cache or another one.
fn destination(context: &Context, options: &PullOptions) -> Result<Destination, PullError> {
    let (cache, env) = (&context.disk.store.cache, &options.env);
    let store = match env.hub_cache == cache.root() && env.cache_options() == cache.options() {
        true => context.disk.store.clone(),
        false => {
            let cache = HfCache::open(&options.env.hub_cache, options.env.cache_options())?;
            Arc::new(StoreHandles { catalog: context.disk.store.catalog.clone(), cache })
        }
    };
    Ok(Destination::new(&store, options.local_dir.as_deref())?)
}

pub(crate) async fn run(
    context: Rc<Context>,
    options: PullOptions,
    control: Control,
) -> Result<PullReport, PullError> {
    let started = Instant::now();
    let _running = context.pulls.begin();
    let ending = context.pulls.ending.clone();
    let figures = context.pulls.figures.begin();
    let client = match options.env.offline {
        true => None,
        false => Some(context.origin.hubs.client(&options.env)?),
    };
    if let Some(client) = &client {
        control.asks(&client.hub);
    }
    let mut refused = client.as_ref().map(|client| client.refused(&options.repo));
    let outages = context.origin.hubs.outages(&options.env.endpoint);
    let destination = destination(&context, &options)?;
    let (mut addrs, mut unresolved, mut nameless) = (Vec::new(), Vec::new(), Vec::new());
    if options.p2p {
        for given in &options.peers {
            match peers::resolve(given).await {
                Ok(found) => addrs.extend(found),
                // A name server that is out will be back; meanwhile others can give.
                Err(error @ PullError::PeerName { .. }) => {
                    nameless.push(format!("{error}; trying again until it has an address"));
                    unresolved.push(given.clone());
                }
                Err(error) => return Err(error),
            }
        }
    }
    let tally = Tally::default();
    let waiting = async {
        loop {
            let out = context.out(&outages);
            tally.spells.borrow_mut().note(started.elapsed(), &out);
            let paused = control.is_paused();
            control.progress.send_replace(Progress { outages: out, paused, ..Progress::default() });
            tokio::time::sleep(TELL).await;
        }
    };
    let listing = async {
        control.unpaused().await;
        let hub = client.as_ref().map(|client| &client.hub);
        // Pulls share a client, and an earlier one's token would open what has been closed since. Each asks for itself.
        hub.inspect(|hub| hub.forget_tokens(&options.repo));
        let listing = listing::list(&destination, hub, &options);
        match listing::is_cached(&destination, &options) {
            true => without_patience(listing).await,
            false => listing.await,
        }
    };
    let listing = tokio::select! {
        listing = listing => listing?,
        () = control.cancel.cancelled() => return Err(PullError::Interrupted),
        () = ending.cancelled() => return Err(PullError::EngineGone),
        () = waiting => unreachable!("it tells for ever"),
    };
    let Listing { commit, entries, public_until, hub_gone, as_found, listed, refused: rows, denied, remarks } =
        listing;
    let hub_of = listed.then(|| Endpoint::new(&options.env.endpoint));
    let whose = Commit { hub: hub_of, repo: options.repo.clone(), commit: commit.clone() };
    let shareable = public_until.is_some();
    let closed = !shareable && !addrs.is_empty();
    if closed {
        addrs.clear();
    }
    if !shareable {
        unresolved.clear();
        nameless.clear();
    }
    let (mut wish, cancel) = (control.wish.clone(), control.cancel.clone());
    let pull = Rc::new(Pull {
        context,
        options,
        destination,
        client,
        outages,
        control,
        commit,
        public_until,
        whose,
        as_found,
        denied,
        tally,
        figures,
    });
    let Selected { wanted, failed } = select(&pull.options, entries, rows, as_found)?;
    if as_found {
        pull.say_as_found(&wanted);
    }
    pull.tally.failed.replace(failed);
    if closed && !remarks.iter().any(|(kind, _)| *kind == listing::UNASKED) {
        let name = &pull.options.repo.name;
        let text = match denied {
            true => {
                format!("you denied sharing {name}: peers are not asked for it (`zest share allow {name}`)")
            }
            false => format!("{name} is not readable by everyone: peers are not asked for it"),
        };
        pull.notice("not-shared", None, text);
    }
    for (kind, text) in remarks {
        let text = if kind == listing::UNASKED { format!("peers are not asked: {text}") } else { text };
        pull.notice(kind, None, text);
    }
    for text in nameless {
        pull.notice("peer-unreachable", None, text);
    }
    if let Some(why) = hub_gone {
        let text = format!(
            "the Hub could not be asked: {why}; using what is known here of revision {}, which may have moved on",
            pull.options.revision
        );
        pull.notice("hub-gone", None, text);
    }
    pull.tally.files_total.set((wanted.len() + pull.tally.failed.borrow().len()) as u32);
    pull.tally.bytes_total.set(wanted.iter().map(TreeEntry::content_size).sum());
    for file in wanted.iter().filter_map(|entry| entry.xet_hash) {
        pull.figures.has_file(&pull.context.disk.store.catalog, &file);
    }
    for addr in addrs {
        pull.name_peer(addr);
    }
    let telling = async {
        loop {
            pull.tell_remarks();
            pull.tell(started);
            tokio::time::sleep(TELL).await;
        }
    };
    let obeying = async {
        loop {
            Control::changed(&mut wish).await;
            pull.tell(started);
            let shares = pull.tally.shares.borrow().clone();
            shares.iter().for_each(|share| share.errand.wish(&pull.context));
        }
    };
    let resolving = async {
        for given in &unresolved {
            let found = loop {
                tokio::time::sleep(PROBE_MAX).await;
                if let Ok(found) = peers::resolve(given).await {
                    break found;
                }
            };
            pull.notice("peer-back", None, format!("peer {given:?} has an address now"));
            found.into_iter().for_each(|addr| pull.name_peer(addr));
        }
        std::future::pending::<()>().await;
    };
    let denial = async {
        while !shareable || !pull.context.disk.store.catalog.is_denied(&pull.options.repo) {
            tokio::time::sleep(DENIALS_EVERY).await;
        }
        PullError::Denied { repo: pull.options.repo.name.clone() }
    };
    let end = tokio::select! {
        end = pull.clone().fetch_all(wanted) => end,
        // It begins anew as something that nobody else hears of.
        error = denial => Err(error),
        // Peers neither give what we may not have, nor get it.
        error = refusal(refused.as_mut()) => Err(error.into()),
        () = cancel.cancelled() => Err(PullError::Interrupted),
        () = ending.cancelled() => Err(PullError::EngineGone),
        () = telling => unreachable!("it tells for ever"),
        () = obeying => unreachable!("it obeys for ever"),
        () = resolving => unreachable!("it never ends"),
    };
    pull.leave_running().await;
    pull.tell_remarks();
    pull.tell(started);
    end?;
    let nothing = pull.tally.files.borrow().is_empty();
    if !pull.options.dry_run && !pull.as_found && !nothing {
        pull.destination.write_ref(&pull.options, &pull.commit)?;
        pull.tell_remarks();
        pull.tell(started);
    }
    let tally = &pull.tally;
    let failed = tally.failed.take();
    if pull.options.dry_run {
        for file in &failed {
            pull.notice("refused", Some(&file.path), file.line());
        }
        pull.tell(started);
    } else if !failed.is_empty() {
        let (repo, total) = (pull.options.repo.name.clone(), tally.files_total.get() as usize);
        return Err(PullError::some_files(repo, total, failed));
    }
    Ok(pull.report(started, shareable))
}

/// The Hub's refusal, when it comes.
async fn refusal(refused: Option<&mut watch::Receiver<Option<HubError>>>) -> HubError {
    if let Some(refused) = refused
        && refused.changed().await.is_ok()
        && let Some(error) = refused.borrow().clone()
    {
        return error;
    }
    std::future::pending().await
}

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
    let mut addrs = Vec::new();
    for given in &options.peers {
        addrs.extend(peers::resolve(given).await?);
    }
    let Listing { commit, entries, public_until, as_found, refused, .. } =
        without_patience(listing::list(&destination, client.as_ref().map(|client| &client.hub), options))
            .await?;
    let entries = select(options, entries, refused, as_found)?.wanted;
    Ok(Listed { commit, entries, public_until, peers: addrs })
}

/// The files that are named and fit.
struct Selected {
    wanted: Vec<TreeEntry>,
    /// Those among them that cannot be had or stored here.
    failed: Vec<FailedFile>,
}

/// Picks what is named and fits, and only then judges it: what nobody asked for costs nobody anything.
fn select(
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
fn split_twins(entries: Vec<TreeEntry>) -> (Vec<TreeEntry>, Vec<(TreeEntry, TreeEntry)>) {
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

impl Pull {
    async fn fetch_all(self: Rc<Self>, wanted: Vec<TreeEntry>) -> Result<(), PullError> {
        self.tally.phase.set(Phase::Checking);
        let Looked { missing, unproven } = self.look_at_disk(wanted).await?;
        if self.options.dry_run {
            missing.iter().for_each(|entry| self.file_done(entry, How::Wanted));
            return self.prove_all(unproven).await;
        }
        if !missing.is_empty() && (self.as_found || self.client.is_none() && !self.may_ask_peers()) {
            let names: Vec<&str> =
                missing.iter().take(NAMES_SHOWN).map(|entry| entry.path.as_str()).collect();
            let more = if missing.len() > NAMES_SHOWN { ", …" } else { "" };
            return Err(PullError::Offline {
                repo: self.options.repo.name.clone(),
                missing: missing.len(),
                total: self.tally.files_total.get() as usize,
                names: format!("{}{more}", names.join(", ")),
            });
        }
        let (missing, twins) = split_twins(missing);
        self.check_space(&missing)?;
        if !missing.is_empty() {
            self.tally.phase.set(Phase::Fetching);
        }
        let (chunked, plain): (Vec<TreeEntry>, Vec<TreeEntry>) =
            missing.into_iter().partition(|entry| self.is_chunked(entry));
        futures_util::future::try_join3(
            self.clone().fetch_plain(plain),
            self.clone().fetch_chunked(chunked),
            self.clone().prove_all(unproven),
        )
        .await?;
        self.link_twins(twins).await?;
        self.tally.phase.set(Phase::Done);
        Ok(())
    }

    /// Tells its user how far it is.
    fn tell(&self, started: Instant) {
        let mut now =
            self.tally.progress(self.figures.peers(&self.context.machine.node()), self.figures.given());
        now.outages = self.context.out(&self.outages);
        now.paused = self.control.is_paused();
        self.tally.spells.borrow_mut().note(started.elapsed(), &now.outages);
        self.tally.peers_max.set(self.tally.peers_max.get().max(now.peers));
        self.control.progress.send_replace(now);
    }

    /// Why peers gave nothing, if something was fetched and they did not.
    fn no_peers(&self, files: &[PulledFile], counts: Counts, shareable: bool) -> Option<Notice> {
        let fetched = counts.cdn_bytes + self.tally.whole_hub.get();
        if counts.peer_bytes > 0 || fetched == 0 || self.options.dry_run {
            return None;
        }
        let unreachable = self.figures.unreachable();
        let linked = self.tally.peers_max.get();
        let (kind, text) = if !self.options.p2p {
            ("switched-off", "they were not to be asked (--no-p2p)".to_owned())
        } else if self.denied {
            ("denied", format!("you denied sharing {} (`zest share allow` undoes it)", self.options.repo))
        } else if self.tally.notices.borrow().iter().any(|notice| notice.kind == listing::UNASKED) {
            (listing::UNASKED, "the Hub could not be asked whether everyone may read it".to_owned())
        } else if !shareable {
            let name = &self.options.repo;
            ("not-shared", format!("{name} is not readable by everyone, so nobody was asked"))
        } else if files.iter().all(|file| file.how != How::Chunks) {
            ("whole-files", "files outside Xet come whole from the Hub".to_owned())
        } else if self.figures.spent() > 0 {
            ("budget", "those that were linked have used up what they upload in a day".to_owned())
        } else if linked > 0 {
            let which = if linked == 1 { "the one that was linked" } else { "those that were linked" };
            ("nothing-given", format!("{which} had nothing that was missing, or the CDN was quicker"))
        } else if !unreachable.is_empty() {
            let all: Vec<String> = unreachable.iter().map(|(addr, why)| format!("{addr} ({why})")).collect();
            ("unreachable", format!("none could be reached: {}", all.join(", ")))
        } else if !self.may_ask_peers() {
            ("switched-off", "none was named, and every way of finding one is switched off".to_owned())
        } else {
            let finder = self.context.finder.get();
            let trackers = finder.map(|finder| finder.status().trackers).unwrap_or_default();
            let failing = trackers.iter().filter(|tracker| !tracker.works);
            let failing: String =
                failing.map(|it| format!("; tracker {}: {}", it.name, it.standing)).collect();
            ("none-found", format!("none was found that has these files{failing}"))
        };
        Some(Notice { kind: kind.into(), path: None, text })
    }

    fn report(&self, started: Instant, shareable: bool) -> PullReport {
        let tally = &self.tally;
        let counts = tally.counts();
        let mut files = tally.files.take();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        PullReport {
            repo: self.options.repo.to_string(),
            revision: self.options.revision.clone(),
            dry_run: self.options.dry_run,
            path: self.destination.root(&self.options.repo, &self.commit),
            commit: self.commit.clone(),
            no_peers: self.no_peers(&files, counts, shareable),
            files,
            from_peers: counts.peer_bytes,
            from_cdn: counts.cdn_bytes + tally.whole_hub.get(),
            from_disk: counts.disk_bytes + tally.whole_disk.get(),
            given: self.figures.given(),
            cdn_wire_bytes: counts.wire_bytes + tally.whole_wire.get(),
            chunks_from_peers: counts.peer_chunks,
            chunks_from_cdn: counts.cdn_chunks,
            chunks_from_disk: counts.disk_chunks,
            bad_chunks: counts.bad_chunks,
            rotten_chunks: counts.rotten_chunks + tally.rotten.get(),
            peers: tally.peers_max.get(),
            peers_banned: self.figures.banned(),
            shareable,
            outages: tally.spells.borrow().all(started.elapsed()),
            notices: tally.notices.take(),
            elapsed: started.elapsed(),
        }
    }

    /// The Hub, unless nothing is to be asked of it.
    pub(crate) fn hub(&self) -> Option<&Hub> {
        self.client.as_ref().map(|client| &client.hub)
    }

    /// A file is in its place.
    pub(crate) fn file_done(&self, entry: &TreeEntry, how: How) {
        let tally = &self.tally;
        tally.files_done.set(tally.files_done.get() + 1);
        let size = entry.content_size();
        if matches!(how, How::Cached | How::Linked) {
            tally.whole_disk.set(tally.whole_disk.get() + size);
        }
        if how != How::Wanted {
            let root = || self.destination.root(&self.options.repo, &self.commit);
            self.control.reads(entry, || Some(Source::InPlace(root().join(&entry.path))));
        }
        let file = PulledFile { path: entry.path.clone(), size, how };
        self.control.arrived(file.clone());
        tally.files.borrow_mut().push(file);
    }

    fn name_peer(&self, addr: SocketAddr) {
        self.figures.has_peer(addr);
        self.context.name_peer(addr);
    }

    /// Whether a file comes in chunks, not whole from the Hub.
    fn is_chunked(&self, entry: &TreeEntry) -> bool {
        entry.xet_hash.is_some() && !self.options.env.disable_xet && entry.content_size() > 0
    }

    /// Whether peers may be asked at all, and some are named or can be found.
    fn may_ask_peers(&self) -> bool {
        let finds = self.context.finder.get().is_some_and(|finder| finder.can_search());
        self.options.p2p && self.public_until.is_some() && (finds || !self.options.peers.is_empty())
    }

    /// Puts what was fetched under the other names of the same content: each name, and the one that was fetched.
    async fn link_twins(&self, twins: Vec<(TreeEntry, TreeEntry)>) -> Result<(), PullError> {
        for (entry, first) in twins {
            let failed =
                self.tally.failed.borrow().iter().find(|f| f.path == first.path).map(|f| f.error.clone());
            if let Some(error) = failed {
                self.note_failed(&entry.path, error);
                continue;
            }
            let linked = self.destination.link_twin(&self.options.repo, &self.commit, &entry, &first).await;
            if self.outcome_of(&entry.path, linked)? {
                self.file_done(&entry, How::Linked);
            }
        }
        Ok(())
    }

    /// Passes on what the cache has to say, that nothing is given any more, and which peers that its user named cannot be reached.
    fn tell_remarks(&self) {
        for (addr, why) in self.figures.unreachable() {
            if self.tally.unreachable.borrow_mut().insert(addr) {
                let text = format!("peer {addr} cannot be reached: {why}; trying again now and then");
                self.notice("peer-unreachable", None, text);
            }
        }
        let is_spent =
            self.context.transport.traffic.budget_left().is_some_and(|left| left < CHUNK_BYTES_MAX as u64);
        if self.options.p2p && is_spent && !self.tally.spent.replace(true) {
            let text = "today's --upload-budget is spent: nothing is uploaded to peers until midnight UTC";
            self.notice("budget-spent", None, text.to_owned());
        }
        for text in self.destination.take_remarks() {
            self.notice("cache", None, text);
        }
    }

    fn say_as_found(&self, wanted: &[TreeEntry]) {
        let unnamed = wanted.iter().filter(|entry| !entry.is_named()).count();
        let mut text = format!(
            "the list of files of commit {} is not here: taking the {} that lie there as they are, some may be missing",
            self.commit,
            wanted.len()
        );
        if unnamed > 0 {
            text += &format!("; {unnamed} of them cannot be proven");
        }
        self.notice("no-listing", None, text);
    }

    /// Says which file was not what an earlier run had left.
    fn say_rotten(&self, path: &str, parts: u64) {
        if parts > 0 {
            let (name, s) = (path.escape_debug(), if parts == 1 { "" } else { "s" });
            let text = format!(
                "{name}: {parts} part{s} of what an earlier run left had rotted on disk: fetched again"
            );
            self.notice("rotten", Some(path), text);
        }
    }

    /// Says what changes the outcome.
    pub(crate) fn notice(&self, kind: &'static str, path: Option<&str>, text: String) {
        tracing::info!(kind, path, "{text}");
        let mut notices = self.tally.notices.borrow_mut();
        if notices.len() < NOTICES_MAX {
            notices.push(Notice { kind: kind.into(), path: path.map(str::to_owned), text });
        }
    }

    /// Whether a file is there now. What is wrong with one file alone is kept for the end of the pull; anything else ends it.
    pub(crate) fn outcome_of(&self, path: &str, outcome: Result<(), PullError>) -> Result<bool, PullError> {
        match outcome {
            Ok(()) => Ok(true),
            Err(error) if error.is_of_one_file() => {
                self.note_failed(path, Arc::new(error));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn note_failed(&self, path: &str, error: Arc<PullError>) {
        tracing::info!(path, %error, "this file cannot be had");
        self.tally.failed.borrow_mut().push(FailedFile { path: path.to_owned(), error });
    }

    /// A file that is here is this Hub's, too: it is not given to others on anybody else's word, and no other Hub is asked about the
    /// repository.
    pub(super) fn note_whose(&self, entry: &TreeEntry) {
        if self.whose.hub.is_some() && !self.options.dry_run {
            self.destination.note_owner(entry, &self.whose);
        }
    }

    /// Room for everything that is missing, less what partial files hold already.
    fn check_space(&self, missing: &[TreeEntry]) -> Result<(), PullError> {
        let needed: u64 = missing.iter().map(TreeEntry::content_size).sum();
        let dir = self.destination.existing_root(&self.options.repo);
        let Ok(free) = zest_store::free_space(&dir) else { return Ok(()) };
        let partial = self.destination.partial_bytes(missing);
        let needed = needed.saturating_sub(partial);
        if needed > free {
            return Err(PullError::NoSpace { dir, needed, free });
        }
        Ok(())
    }

    /// Files that are still under way (the pull failed or was cancelled): what nobody else waits for ends, and what is proven
    /// is kept.
    async fn leave_running(&self) {
        for share in self.tally.shares.take() {
            let alone = share.leave();
            if alone {
                share.errand.over().await;
            }
            self.tally.ended.borrow_mut().push(share.counts());
        }
    }
}
