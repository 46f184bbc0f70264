//! One repository into the HF cache (or a local folder): list, compare with the disk, fetch what is missing, land it.

mod commit;
mod control;
mod destination;
mod errand;
mod join;
mod listing;
mod names;
mod plain;
mod proof;
mod said;
mod select;
mod tally;
mod waiting;
mod whole;
mod xet;
mod xorbs;

pub(crate) use control::{Arrivals, Control, Known, Reader, Source, Wish};
pub(crate) use errand::{Errand, ErrandKey, Share};
pub(crate) use select::{Listed, list_for_peers};

use crate::api::{How, Phase, Progress, PullReport, PulledFile};
use crate::context::Context;
use crate::disk::StoreHandles;
use crate::figures::Figures;
use crate::giving::DENIALS_EVERY;
use crate::hubs::Client;
use crate::outages::{Outages, without_patience};
use crate::{Policy, PullError};
use commit::PulledCommit;
use destination::Destination;
use listing::Listing;
use names::PeerNames;
use proof::Looked;
use said::Said;
use select::{Selected, select, split_twins};
use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally::Tally;
use tokio::sync::watch;
use zest_hub::{Hub, HubError};
use zest_store::{Commit, Endpoint, Env, HfCache, RepoId, TreeEntry};

/// Progress is told this often.
const TELL: Duration = Duration::from_millis(100);
/// Names shown when something is missing.
const NAMES_SHOWN: usize = 5;

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
    /// How the origin is used beside peers; `None`: as the engine does.
    pub policy: Option<Policy>,
    /// Keep xorbs in the original's cache layout too.
    pub keep_xorbs: bool,
    /// The caller holds the locks of its files.
    pub lock_held: bool,
    /// See [`PullRequest::named_first`](crate::PullRequest::named_first).
    pub named_first: bool,
}

/// What one pull shares among its tasks.
pub(crate) struct Pull {
    context: Rc<Context>,
    options: PullOptions,
    destination: Destination,
    client: Option<Arc<Client>>,
    /// How the Hub does.
    outages: Arc<Outages>,
    control: Control,
    commit: PulledCommit,
    tally: Tally,
    said: Said,
    figures: Rc<Figures>,
    /// Files in Xet are missing: their jobs begin beside what comes whole.
    jobs_begin: Cell<bool>,
    /// Looks for peers that had ended when this began.
    looks_before: u64,
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
    mut control: Control,
) -> Result<PullReport, PullError> {
    let started = Instant::now();
    control.number = context.pulls.number();
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
    let mut names = PeerNames::new(if options.p2p { &options.peers } else { &[] })?;
    let said = Said::default();
    let waiting = async {
        loop {
            let out = context.out(&outages);
            said.spells.borrow_mut().note(started.elapsed(), &out);
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
        let listing = async {
            match listing::is_cached(&destination, &options) {
                true => without_patience(listing).await,
                false => listing.await,
            }
        };
        let looking = async {
            names.gather().await;
            Ok(())
        };
        tokio::try_join!(listing, looking).map(|(listing, ())| listing)
    };
    let listing = tokio::select! {
        listing = listing => listing?,
        () = control.cancel.cancelled() => return Err(PullError::Interrupted),
        () = ending.cancelled() => return Err(PullError::EngineGone),
        () = waiting => unreachable!("it tells for ever"),
    };
    let Listing {
        commit,
        entries,
        public_until,
        hub_gone,
        as_found,
        listed,
        refused: rows,
        denied,
        all_whole,
        asked,
        remarks,
    } = listing;
    let hub_of = listed.then(|| Endpoint::new(&options.env.endpoint));
    let whose = Commit { hub: hub_of, repo: options.repo.clone(), commit: commit.clone() };
    let shareable = public_until.is_some();
    let closed = !shareable && options.p2p && !options.peers.is_empty();
    if !shareable {
        names = PeerNames::new(&[])?;
    }
    let (mut wish, cancel) = (control.wish.clone(), control.cancel.clone());
    let xet = plain::swarm_of(&entries);
    let looks_before = context.finder.get().map_or(0, |finder| finder.looks());
    let pull = Rc::new(Pull {
        context,
        options,
        destination,
        client,
        outages,
        control,
        commit: PulledCommit { id: commit, public_until, whose, as_found, xet, denied, all_whole, asked },
        tally: Tally::default(),
        said,
        figures,
        jobs_begin: Cell::new(false),
        looks_before,
    });
    let Selected { wanted, failed } = select(&pull.options, entries, rows, as_found)?;
    if as_found {
        pull.say_as_found(&wanted);
    }
    pull.said.failed.replace(failed);
    if closed && !all_whole && !remarks.iter().any(|(kind, _)| *kind == listing::UNASKED) {
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
    for text in names.nameless() {
        let text = format!("{text}; trying again until it has an address");
        pull.notice("peer-unreachable", None, text);
    }
    if let Some(why) = hub_gone {
        let text = format!(
            "the Hub could not be asked: {why}; using what is known here of revision {}, which may have moved on",
            pull.options.revision
        );
        pull.notice("hub-gone", None, text);
    }
    pull.tally.files_total.set((wanted.len() + pull.said.failed.borrow().len()) as u32);
    pull.tally.bytes_total.set(wanted.iter().map(TreeEntry::content_size).sum());
    for file in wanted.iter().filter_map(|entry| entry.xet_hash) {
        pull.figures.has_file(&pull.context.disk.store.catalog, &file);
    }
    for addr in names.addrs() {
        pull.name_peer(*addr);
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
        loop {
            let (given, found) = names.next().await;
            pull.notice("peer-back", None, format!("peer {given:?} has an address now"));
            found.into_iter().for_each(|addr| pull.name_peer(addr));
        }
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
    let nothing = pull.said.files.borrow().is_empty();
    if !pull.options.dry_run && !pull.commit.as_found && !nothing {
        pull.destination.write_ref(&pull.options, &pull.commit.id)?;
        pull.tell_remarks();
        pull.tell(started);
    }
    let failed = pull.said.failed.take();
    if pull.options.dry_run {
        for file in &failed {
            pull.notice("refused", Some(&file.path), file.line());
        }
        pull.tell(started);
    } else if !failed.is_empty() {
        let (repo, total) = (pull.options.repo.name.clone(), pull.tally.files_total.get() as usize);
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

impl Pull {
    async fn fetch_all(self: Rc<Self>, wanted: Vec<TreeEntry>) -> Result<(), PullError> {
        self.tally.phase.set(Phase::Checking);
        let Looked { missing, unproven } = self.look_at_disk(wanted).await?;
        if self.options.dry_run {
            missing.iter().for_each(|entry| self.file_done(entry, How::Wanted));
            return self.prove_all(unproven).await;
        }
        if !missing.is_empty() && (self.commit.as_found || self.client.is_none() && !self.may_ask_peers()) {
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
        self.jobs_begin.set(!chunked.is_empty());
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
            tally.whole.disk.set(tally.whole.disk.get() + size);
        }
        if how != How::Wanted {
            let root = || self.destination.root(&self.options.repo, &self.commit.id);
            self.control.reads(entry, || Some(Source::InPlace(root().join(&entry.path))));
        }
        let file = PulledFile { path: entry.path.clone(), size, how };
        self.control.arrived(file.clone());
        self.said.files.borrow_mut().push(file);
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
        self.options.p2p && self.commit.public_until.is_some() && (finds || !self.options.peers.is_empty())
    }

    /// Puts what was fetched under the other names of the same content: each name, and the one that was fetched.
    async fn link_twins(&self, twins: Vec<(TreeEntry, TreeEntry)>) -> Result<(), PullError> {
        for (entry, first) in twins {
            let failed =
                self.said.failed.borrow().iter().find(|f| f.path == first.path).map(|f| f.error.clone());
            if let Some(error) = failed {
                self.note_failed(&entry.path, error);
                continue;
            }
            let linked =
                self.destination.link_twin(&self.options.repo, &self.commit.id, &entry, &first).await;
            if self.outcome_of(&entry.path, linked)? {
                self.file_done(&entry, How::Linked);
            }
        }
        Ok(())
    }

    /// A file that is here is this Hub's, too: it is not given to others on anybody else's word, and no other Hub is asked about the
    /// repository.
    pub(super) fn note_whose(&self, entry: &TreeEntry) {
        if self.commit.whose.hub.is_some() && !self.options.dry_run {
            self.destination.note_owner(entry, &self.commit.whose);
        }
    }

    /// Room for everything that is missing, less what partial files hold already.
    fn check_space(&self, missing: &[TreeEntry]) -> Result<(), PullError> {
        let needed: u64 = missing.iter().map(TreeEntry::content_size).sum();
        let dir = self.destination.existing_root(&self.options.repo);
        let partial = self.destination.left_over(missing);
        self.tally.left_over.set(partial.came_bytes);
        let Ok(free) = zest_store::free_space(&dir) else { return Ok(()) };
        let needed = needed.saturating_sub(partial.occupied_bytes);
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
