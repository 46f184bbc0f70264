//! Files as the Hub gives them: small ones, and those outside Xet. They come from one source, in order, and are checked by git
//! blob id or sha256 before they land. What breaks is gone on with where it broke, in this run and in the next.

mod line;
mod peers;
mod sink;

use super::Pull;
use super::waiting::Waiting;
use crate::PullError;
use crate::api::How;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use line::Line;
pub(super) use peers::swarm_of;
use sink::{SMALL_BYTES, Sink};
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;
use zest_hub::{ErrorKind, Hub, HubError, PlainBody};
use zest_store::{FileLock, TreeEntry};

/// Files fetched at once from the Hub.
const AT_ONCE: usize = 8;
/// And so many small ones that are begun, 32 MiB: whoever is asked for one by a peer has begun with it, too. Ours.
const AT_ONCE_SMALL: usize = 32;
/// Times a file is fetched from its beginning when what came was not the file: 3. Wrong once is a broken proxy, wrong three
/// times is what the server has.
const ROUNDS: u32 = 3;
/// Answers in a row that are no answer to the question (another range, 416, an address that has run out) before the file is
/// given up: 6.
const ODD_MAX: u32 = 6;
/// While another process has a partial file, it is looked at this often.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// What came of one request.
enum Came {
    /// All that was asked for.
    All,
    /// The connection broke, or nobody answered. What came counts.
    Broke(HubError),
    /// The server did not do what was asked; it may be asked differently.
    Odd(HubError),
    /// The server's file is not as long as the Hub says.
    Length(u64),
    /// The server has another version of the file than the one that was begun.
    Changed,
}

/// One file on its way, for the counts.
struct Under<'a> {
    pull: &'a Pull,
    entry: &'a TreeEntry,
    /// Bytes of it that count so far: from the Hub, from an earlier run.
    hub: Cell<u64>,
    disk: Cell<u64>,
    /// The server began further back than it was asked to: what it sends first is there already.
    begins_early: Cell<bool>,
    /// What the server called the version that was begun, and at which address.
    version: RefCell<Option<(String, String)>>,
    /// It has told of another version once already. A server that always does only numbers its answers.
    changed: Cell<bool>,
}

impl<'a> Under<'a> {
    fn new(pull: &'a Pull, entry: &'a TreeEntry) -> Self {
        Under {
            pull,
            entry,
            hub: Cell::new(0),
            disk: Cell::new(0),
            begins_early: Cell::new(false),
            version: RefCell::new(None),
            changed: Cell::new(false),
        }
    }

    /// Whether this answer is of another version than what was begun. Only what one address says is compared.
    fn is_another(&self, answer: &PlainBody, begun: bool) -> bool {
        let Some(version) = answer.version.clone() else { return false };
        let before = self.version.replace(Some((answer.body.url().to_owned(), version.clone())));
        let is_other = |(url, old): (String, String)| url == answer.body.url() && old != version;
        begun && before.is_some_and(is_other) && !self.changed.replace(true)
    }
}

impl Drop for Under<'_> {
    /// A pull that rests counts what is there anew when it goes on. What the Hub gave stays the Hub's.
    fn drop(&mut self) {
        if self.pull.control.is_paused() {
            let hub = self.hub.get();
            self.pull.take_back(self);
            self.pull.tally.whole.credit.borrow_mut().insert(self.entry.path.clone(), hub);
        }
    }
}

impl Pull {
    pub(super) async fn fetch_plain(self: Rc<Self>, entries: Vec<TreeEntry>) -> Result<(), PullError> {
        if entries.is_empty() {
            return Ok(());
        }
        if self.commit.whose.hub.is_some() {
            self.destination.note_small_owner(&self.commit.whose);
        }
        let leftovers = self.destination.leftovers(&self.options.repo, &entries).await?;
        let line = Rc::new(Line::new(self.context.clock.now(), leftovers, self.outages.clone(), AT_ONCE));
        let mut waiting = entries.into_iter().peekable();
        let mut running = FuturesUnordered::new();
        loop {
            let room = |entry: &TreeEntry, running: usize| {
                running < if entry.content_size() <= SMALL_BYTES { AT_ONCE_SMALL } else { AT_ONCE }
            };
            while let Some(entry) = waiting.next_if(|entry| room(entry, running.len())) {
                let (pull, path, line) = (self.clone(), entry.path.clone(), line.clone());
                running.push(async move { (path, pull.fetch_one(entry, line).await) });
            }
            match running.next().await {
                Some((path, done)) => drop(self.outcome_of(&path, done)?),
                None => return Ok(()),
            }
        }
    }

    async fn fetch_one(self: Rc<Self>, entry: TreeEntry, line: Rc<Line>) -> Result<(), PullError> {
        let place = self.destination.place(&self.options.repo, &entry)?;
        loop {
            self.control.unpaused().await;
            // Of the pulls here that want it one fetches it, and the others find it on disk.
            let _turn = self.context.pulls.plain_turn(&place).await;
            tokio::select! {
                done = self.fetch_now(&entry, &line) => return done,
                // What came is gone on with later, as after the end of a process.
                () = self.control.paused() => {}
            }
        }
    }

    async fn fetch_now(&self, entry: &TreeEntry, line: &Rc<Line>) -> Result<(), PullError> {
        let (repo, commit) = (&self.options.repo, &self.commit.id);
        let Some(lock) = self.lock_plain(entry).await? else { return Ok(()) };
        if self.destination.copy_from_cache(repo, commit, entry).await? {
            self.file_done(entry, How::Linked);
            return Ok(());
        }
        let mut sink = self.open_sink(entry, line, lock.is_some()).await?;
        let under = Under::new(self, entry);
        let mut round = 1;
        // As long as it lives peers that ask us for it wait until it is here.
        let (mut want, mut alone) = (self.want_of_peers(entry), false);
        let how = loop {
            let came = match &mut want {
                Some(want) if !alone => want.came().await,
                _ => None,
            };
            alone = came.is_none();
            match &came {
                Some((bytes, _)) => sink.take(bytes).map_err(|source| sink.error(source, entry))?,
                None => {
                    let _place = line.places.acquire().await;
                    self.fill(&mut sink, &under, line).await?;
                }
            }
            sink = match sink.land(&self.destination, repo, commit, entry).await? {
                Ok(()) if came.is_some() => {
                    let peers = &self.tally.whole.peers;
                    peers.set(peers.get() + entry.content_size());
                    break How::Peers;
                }
                Ok(()) => break How::Hub,
                Err((error, empty)) if let Some((_, link)) = came => {
                    let path = &entry.path;
                    tracing::warn!(path, %error, "a peer gave another file");
                    if let Some(want) = &want {
                        want.was_wrong(link);
                    }
                    empty
                }
                Err((error, empty)) => {
                    let text = format!(
                        "{}: what was received is not the file ({error}): fetching it anew",
                        entry.path
                    );
                    self.notice("fetched-again", Some(&entry.path), text);
                    self.take_back(&under);
                    if let Err(error) = self.next_round(entry, &mut round) {
                        empty.abandon();
                        return Err(error);
                    }
                    empty
                }
            };
        };
        drop(want);
        drop(lock);
        self.file_done(entry, how);
        Ok(())
    }

    /// One process at a time fetches a file. `None`: another one has, meanwhile. The lock inside is `None` if somebody who is
    /// not zest has held it for very long.
    async fn lock_plain(&self, entry: &TreeEntry) -> Result<Option<Option<FileLock>>, PullError> {
        let mut waiting = Waiting::default();
        let lock = loop {
            if let Some(lock) = self.destination.try_lock(&self.options.repo, entry)? {
                break Some(lock);
            }
            if self.passes_over(entry, &mut waiting, None) {
                break None;
            }
            self.wait_a_little(entry, &mut waiting, None).await?;
        };
        // It may have landed since this pull looked, whether there was a wait or not.
        if !self.options.force && self.came_meanwhile(entry).await? {
            return Ok(None);
        }
        Ok(Some(lock))
    }

    async fn open_sink(&self, entry: &TreeEntry, line: &Line, locked: bool) -> Result<Sink, PullError> {
        let repo = &self.options.repo;
        // Whoever writes such files without zest holds the lock: what lies there now was left by the dead. Unless the file
        // system only pretends to lock.
        let leftover =
            match locked && line.has_leftovers() && self.destination.try_lock(repo, entry)?.is_none() {
                true => self.destination.claim_leftover(&mut line.leftovers.borrow_mut(), repo, entry),
                false => None,
            };
        loop {
            match Sink::open(&self.destination, repo, entry, leftover.clone()).await? {
                Some(sink) => return Ok(sink),
                None => tokio::time::sleep(LOCK_POLL).await,
            }
        }
    }

    /// Fetches what is missing, while what an earlier run left is looked at; then what of that has rotted.
    async fn fill(&self, sink: &mut Sink, under: &Under<'_>, line: &Line) -> Result<(), PullError> {
        let old = sink.earlier();
        let looking = async {
            let Some(old) = old else { return Ok(()) };
            let mut rotten = 0;
            while let Some(looked) = old.look().await? {
                let credit = self.tally.whole.take_credit(&under.entry.path, looked.good_bytes);
                let old = looked.good_bytes - credit;
                under.hub.set(under.hub.get() + credit);
                self.tally.whole.hub.set(self.tally.whole.hub.get() + credit);
                under.disk.set(under.disk.get() + old);
                self.tally.whole.disk.set(self.tally.whole.disk.get() + old);
                self.tally.whole.rotten.set(self.tally.whole.rotten.get() + looked.rotten);
                rotten += looked.rotten;
            }
            self.say_rotten(&under.entry.path, rotten);
            Ok(())
        };
        futures_util::future::try_join(looking, self.fetch_gaps(sink, under, line)).await?;
        self.fetch_gaps(sink, under, line).await
    }

    async fn fetch_gaps(&self, sink: &mut Sink, under: &Under<'_>, line: &Line) -> Result<(), PullError> {
        let (entry, mut round) = (under.entry, 1);
        // Whether the server is asked for parts; answers in a row that were none; tries in a row that gave nothing.
        let (mut parts, mut odd, mut barren) = (true, 0, 0);
        while let Some(gap) = sink.gap() {
            let hub = self.hub().ok_or_else(|| PullError::Offline {
                repo: self.options.repo.name.clone(),
                missing: 1,
                total: 1,
                names: entry.path.clone(),
            })?;
            line.turn(&self.context.clock).await?;
            let before = sink.at();
            let came = self.stream(hub, sink, gap, parts, under, line).await?;
            if sink.at() != before {
                (odd, barren) = (0, 0);
            }
            let now = self.context.clock.now();
            match came {
                Came::All => {}
                Came::Broke(error) => {
                    barren += 1;
                    tracing::info!(path = entry.path, %error, at = sink.at(), "going on where it broke");
                    if under.begins_early.get() && barren > ODD_MAX {
                        // It never comes as far as it is needed.
                        return Err(error.into());
                    }
                    line.failed(now, error);
                }
                Came::Odd(error) => {
                    odd += 1;
                    tracing::info!(path = entry.path, %error, "not the answer to the question; asking for the whole");
                    if odd > ODD_MAX {
                        return Err(error.into());
                    }
                    parts = !parts;
                    line.failed(now, error);
                }
                Came::Length(length) => {
                    tracing::warn!(
                        path = entry.path,
                        length,
                        want = entry.content_size(),
                        "a file of another length"
                    );
                    self.next_round(entry, &mut round)?;
                    parts = !parts;
                    line.pause(now);
                }
                // Of several servers behind one name each may name its versions otherwise.
                Came::Changed if self.still_has(hub, sink, entry).await => {}
                Came::Changed => {
                    let path = entry.path.escape_debug();
                    let text = format!("{path}: the server has another version of it now; fetching it anew");
                    self.notice("changed", Some(&entry.path), text);
                    self.take_back(under);
                    sink.restart(entry)?;
                }
            }
        }
        Ok(())
    }

    /// Streams one gap into the sink. Without `parts` the server is asked for the whole file, and what is there is skipped.
    async fn stream(
        &self,
        hub: &Hub,
        sink: &mut Sink,
        gap: Range<u64>,
        parts: bool,
        under: &Under<'_>,
        line: &Line,
    ) -> Result<Came, PullError> {
        let (entry, size) = (under.entry, under.entry.content_size());
        let range = (parts && gap != (0..size)).then(|| gap.clone());
        let asked = hub.plain_file(&self.options.repo, &self.commit.id, &entry.path, range).await;
        let mut answer = match asked {
            Ok(answer) => answer,
            Err(error) => return came_of(error),
        };
        if is_log_in_page(&answer, entry) {
            return Ok(Came::Broke(answer.page()));
        }
        // What is there already does not go with what this server has now.
        if under.is_another(&answer, gap != (0..size)) {
            return Ok(Came::Changed);
        }
        if let Some(total) = answer.total.filter(|total| *total != size) {
            return Ok(Came::Length(total));
        }
        let url = answer.body.url().to_owned();
        if answer.start > gap.start {
            let (want_start, want_last) = (gap.start, gap.end - 1);
            let got = format!("bytes from {} on", answer.start);
            return Ok(Came::Odd(HubError::WrongRange { url, want_start, want_last, got }));
        }
        under.begins_early.set(answer.start < gap.start);
        let mut at = answer.start;
        while at < gap.end {
            let way = self.context.transport.traffic.way_of_origin(&answer.body);
            self.context.transport.traffic.turn(way).await;
            let bytes = match answer.body.chunk().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => {
                    let (got, want) = (at - answer.start, Some(gap.end - answer.start));
                    let reason = "the answer ended early".to_owned();
                    return Ok(Came::Broke(HubError::ShortBody { url, got, want, reason }));
                }
                Err(error) => return came_of(error),
            };
            self.context.transport.traffic.took(bytes.len(), way);
            self.tally.whole.wire.set(self.tally.whole.wire.get() + bytes.len() as u64);
            let end = at + bytes.len() as u64;
            if end > gap.start {
                let new = &bytes[gap.start.max(at).saturating_sub(at) as usize..];
                let new = &new[..new.len().min((gap.end - at.max(gap.start)) as usize)];
                sink.take(new).map_err(|source| sink.error(source, entry))?;
                under.hub.set(under.hub.get() + new.len() as u64);
                self.tally.whole.hub.set(self.tally.whole.hub.get() + new.len() as u64);
                line.moved(self.context.clock.now());
            }
            at = end;
        }
        Ok(Came::All)
    }

    /// Whether the server still has what lies here, by one window of it. If that cannot be told it may have: the proof of the
    /// whole comes at the end anyway.
    async fn still_has(&self, hub: &Hub, sink: &Sink, entry: &TreeEntry) -> bool {
        let Some((range, bytes)) = sink.sample() else { return false };
        let asked =
            hub.plain_file(&self.options.repo, &self.commit.id, &entry.path, Some(range.clone())).await;
        let Ok(mut answer) = asked else { return true };
        let (mut rest, at) = (&bytes[..], answer.start);
        while at == range.start && !rest.is_empty() {
            let Ok(Some(new)) = answer.body.chunk().await else { break };
            self.tally.whole.wire.set(self.tally.whole.wire.get() + new.len() as u64);
            let both = new.len().min(rest.len());
            if new[..both] != rest[..both] {
                return false;
            }
            rest = &rest[both..];
        }
        true
    }

    /// What came does not count after all.
    fn take_back(&self, under: &Under<'_>) {
        let (hub, disk) = (&self.tally.whole.hub, &self.tally.whole.disk);
        hub.set(hub.get().saturating_sub(under.hub.take()));
        disk.set(disk.get().saturating_sub(under.disk.take()));
    }

    fn next_round(&self, entry: &TreeEntry, round: &mut u32) -> Result<(), PullError> {
        if *round == ROUNDS {
            let (path, want) = (entry.path.clone(), entry.etag().to_owned());
            return Err(PullError::Unproven { path, want, rounds: ROUNDS });
        }
        *round += 1;
        Ok(())
    }
}

/// Whether a web page came in place of the file. A server may take any file for a page; that of another file has another length.
fn is_log_in_page(answer: &PlainBody, entry: &TreeEntry) -> bool {
    let named_so = |ending: &str| entry.path.to_ascii_lowercase().ends_with(ending);
    let may_be_one = [".html", ".htm", ".xhtml"].into_iter().any(named_so);
    // Of a file a server tells the version; a page that stands in for everything has none.
    let is_file = answer.total == Some(entry.content_size()) || may_be_one && answer.version.is_some();
    answer.is_page && !is_file
}

/// Whether a failed request can be made up for, and how.
fn came_of(error: HubError) -> Result<Came, PullError> {
    match error.kind() {
        _ if error.is_transient() => Ok(Came::Broke(error)),
        ErrorKind::UrlExpired => Ok(Came::Odd(error)),
        _ => match error {
            HubError::WrongRange { .. }
            | HubError::Malformed { .. }
            | HubError::Status { status: 416, .. } => Ok(Came::Odd(error)),
            error => Err(error.into()),
        },
    }
}
