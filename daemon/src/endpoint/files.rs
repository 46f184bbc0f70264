//! Files, wherever their bytes are: on this disk, proven, or on their way here.

use super::answers::blocking;
use super::standing::Caller;
use super::{Asked, Endpoint, error};
use crate::app::App;
use crate::limits::{AHEAD_BYTES, LISTS_MAX, PAGE_BYTES_MAX, PAGES_MAX, UNREAD_FOR};
use crate::os::read_at_once;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use zest_runtime_tokio::{Arriving, PullError, PullErrorKind, PullHandle, PullRequest, Session};
use zest_store::{FileExt as _, Identity, RepoId, TreeEntry};

/// Time between two looks at a pull that has not begun with its file: 20 ms.
const LOOK: Duration = Duration::from_millis(20);

/// The files of a commit by path.
pub(super) type List = Arc<BTreeMap<String, TreeEntry>>;

/// Lists, and the one question at a time for each that is missing.
#[derive(Debug, Default)]
pub(super) struct Lists {
    known: Mutex<Vec<((RepoId, String), List)>>,
    asking: tokio::sync::Mutex<()>,
}

/// A file that is being fetched. When the last who reads it is gone for a while, it is not fetched any more.
#[derive(Debug)]
pub(super) struct Errand {
    pull: PullHandle,
    /// Who read it has gone elsewhere, and does not come back.
    is_let_go: AtomicBool,
}

impl Drop for Errand {
    fn drop(&mut self) {
        let pull = self.pull.clone();
        if self.is_let_go.load(Ordering::Relaxed) {
            return pull.cancel();
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::select! {
                    _ended = pull.wait() => {}
                    () = tokio::time::sleep(UNREAD_FOR) => pull.cancel(),
                }
            });
        }
    }
}

/// Which file, and for whom it is fetched.
type Of = (RepoId, String, String, [u8; 32]);

/// Files that are being fetched.
#[derive(Debug, Default)]
pub(super) struct Errands(Mutex<BTreeMap<Of, Weak<Errand>>>);

/// Proven bytes.
#[derive(Debug, Clone)]
pub(super) enum Holder {
    Disk(Arc<File>),
    Arriving(Arc<Arriving>),
}

/// How they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Only if nobody has to wait for a disk, else [`io::ErrorKind::WouldBlock`].
    AtOnce,
    /// Blocking.
    Waiting,
}

impl Holder {
    /// Reads some of them.
    pub(super) fn read(&self, room: &mut [u8], at: u64, how: How) -> io::Result<()> {
        match (self, how) {
            (Self::Disk(file), How::AtOnce) => read_at_once(file, room, at),
            (Self::Disk(file), How::Waiting) => file.read_exact_at(room, at),
            (Self::Arriving(_), How::AtOnce) => Err(io::ErrorKind::WouldBlock.into()),
            (Self::Arriving(arriving), How::Waiting) if arriving.read_at(at, room) => Ok(()),
            (Self::Arriving(_), How::Waiting) => Err(io::ErrorKind::Interrupted.into()),
        }
    }
}

/// A file that is read.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    session: Session,
    repo: RepoId,
    commit: String,
    entry: Arc<TreeEntry>,
    disk: Option<Arc<File>>,
    errand: Option<Arc<Errand>>,
    /// What was found last.
    held: Option<(Range<u64>, Holder)>,
}

impl Reader {
    /// Waits for proven bytes from the beginning of `wanted` on, and says which of them can be read from what.
    pub(super) async fn ready(&mut self, wanted: Range<u64>) -> Result<(Range<u64>, Holder), Arc<PullError>> {
        if let Some(file) = &self.disk {
            return Ok((wanted, Holder::Disk(file.clone())));
        }
        if let Some((bytes, holder)) = &self.held
            && bytes.contains(&wanted.start)
        {
            return Ok((wanted.start..bytes.end.min(wanted.end), holder.clone()));
        }
        let Some(errand) = self.errand.clone() else { return Err(Arc::new(PullError::EngineGone)) };
        let ahead = wanted.start
            ..self.entry.content_size().min(wanted.start + AHEAD_BYTES.max(wanted.end - wanted.start));
        let (session, hash) = (self.session.clone(), self.entry.xet_hash);
        let arriving = async move {
            loop {
                if let Some(hash) = hash
                    && let Some(arriving) = session.arriving(hash, ahead.clone()).await
                {
                    return arriving;
                }
                // It has not begun, or is just landing.
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            arriving = arriving => {
                let bytes = arriving.bytes();
                let holder = Holder::Arriving(Arc::new(arriving));
                self.held = Some((bytes.clone(), holder.clone()));
                Ok((wanted.start..bytes.end.min(wanted.end), holder))
            }
            ended = errand.pull.wait() => {
                ended?;
                let file = proven_file(&self.session, &self.repo, &self.commit, &self.entry).await;
                let file = file.ok_or_else(|| Arc::new(PullError::EngineGone))?;
                (self.disk, self.held, self.errand) = (Some(file.clone()), None, None);
                Ok((wanted, Holder::Disk(file)))
            }
        }
    }

    /// Bytes that came of it so far, proven or not; none if it is not on its way.
    pub(super) async fn came(&self) -> Option<u64> {
        self.session.came(self.entry.xet_hash?).await
    }

    /// Who reads it goes elsewhere: it is not fetched any more, unless somebody else reads it.
    pub(super) fn let_go(self) {
        if let Some(errand) = &self.errand {
            errand.is_let_go.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it is whole, and here.
    pub(super) fn is_on_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// What was read from is not there any more: it is complete, and lies elsewhere.
    pub(super) fn look_again(&mut self) {
        self.held = None;
    }
}

/// The file in the cache, if it is there and proven.
async fn proven_file(session: &Session, repo: &RepoId, commit: &str, entry: &TreeEntry) -> Option<Arc<File>> {
    let (session, repo, commit, entry) = (session.clone(), repo.clone(), commit.to_owned(), entry.clone());
    blocking(move || {
        let store = session.store();
        let (_, path) = store.cache.found(&repo, &commit, &entry)?;
        let file = File::open(path).ok()?;
        let identity = Identity::of(&file.metadata().ok()?);
        store.catalog.is_proven(&identity, &entry).then(|| Arc::new(file))
    })
    .await
}

impl Endpoint {
    /// The files of a commit. `None`: nobody can say what they are, or the Hub does not want to.
    pub(super) async fn list(&self, asked: &Asked, repo: &RepoId, commit: &str) -> Option<List> {
        let key = (repo.clone(), commit.to_owned());
        if let Some(list) = self.lists.find(&key) {
            return Some(list);
        }
        let _one_at_a_time = self.lists.asking.lock().await;
        if let Some(list) = self.lists.find(&key) {
            return Some(list);
        }
        let entries = match self.read_list(repo, commit).await {
            Some(entries) => entries,
            None => {
                let pages = self.pages(asked, repo, commit).await?;
                let entries = entries_of(repo, &pages)?;
                // A disk that takes nothing costs no more than the next look.
                self.note_list(repo, commit, pages).await;
                entries
            }
        };
        let list: List = Arc::new(entries.into_iter().map(|entry| (entry.path.clone(), entry)).collect());
        let mut known = self.lists.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= LISTS_MAX {
            known.remove(0);
        }
        known.push((key, list.clone()));
        Some(list)
    }

    async fn read_list(&self, repo: &RepoId, commit: &str) -> Option<Vec<TreeEntry>> {
        let (session, repo, commit) = (self.session.clone(), repo.clone(), commit.to_owned());
        blocking(move || session.store().cache.read_tree(&repo, &commit)).await
    }

    /// Asks the Hub for them.
    async fn pages(&self, asked: &Asked, repo: &RepoId, commit: &str) -> Option<Vec<Bytes>> {
        let mut pages = Vec::new();
        let mut next =
            Some(format!("{}/tree/{commit}?recursive=true&expand=false", super::route::api_of(repo)));
        while let Some(target) = next.take().filter(|_| pages.len() < PAGES_MAX) {
            let mut headers = asked.own_headers();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            let response = self.send(Method::GET, &target, headers, None).await.ok()?;
            if response.status() != StatusCode::OK {
                return None;
            }
            next = next_page(&response).and_then(|link| self.relay.at_home(&target, &link));
            let mut page = Vec::new();
            let mut body = response.into_body().into_data_stream();
            while let Some(piece) = body.next().await {
                page.extend_from_slice(
                    &piece.ok().filter(|piece| page.len() + piece.len() <= PAGE_BYTES_MAX)?,
                );
            }
            pages.push(page.into());
        }
        Some(pages)
    }

    /// Whether a file is whole, and here.
    pub(super) async fn is_here(&self, repo: &RepoId, commit: &str, entry: &TreeEntry) -> bool {
        proven_file(&self.session, repo, commit, entry).await.is_some()
    }

    /// Opens a file: it is on the disk, or from now on on its way.
    pub(super) async fn open(
        &self,
        app: &Arc<App>,
        caller: &Caller,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
    ) -> Reader {
        let mut reader = Reader {
            session: self.session.clone(),
            repo: repo.clone(),
            commit: commit.to_owned(),
            entry: Arc::new(entry.clone()),
            disk: proven_file(&self.session, repo, commit, entry).await,
            errand: None,
            held: None,
        };
        if reader.disk.is_none() {
            // What everybody may read needs nobody's token, and comes once for all.
            let payer = match self.is_public(repo, commit) {
                true => self.standing.caller(&HeaderMap::new()),
                false => caller.clone(),
            };
            let of = (repo.clone(), commit.to_owned(), entry.path.clone(), payer.mark());
            let mut errands = self.errands.0.lock().unwrap_or_else(PoisonError::into_inner);
            errands.retain(|_, errand| errand.strong_count() > 0);
            let known = errands.get(&of).and_then(Weak::upgrade).filter(|errand| is_under_way(&errand.pull));
            if let Some(errand) = &known {
                errand.is_let_go.store(false, Ordering::Relaxed);
            }
            reader.errand = Some(known.unwrap_or_else(|| {
                let request = PullRequest::new(repo.clone())
                    .revision(commit)
                    .files(vec![entry.path.clone()])
                    .token(payer.token)
                    .implicit_token(false)
                    // Who asks may be huggingface_hub with this very cache, which holds the file's lock until it has our answer.
                    .lock_held(true);
                let errand = Arc::new(Errand { pull: app.pull(request), is_let_go: AtomicBool::new(false) });
                errands.insert(of, Arc::downgrade(&errand));
                errand
            }));
            let id = reader.errand.as_ref().map(|errand| errand.pull.id());
            id.into_iter().for_each(|id| self.runs.pulls(caller.run.as_ref(), id));
        }
        let comes = reader.errand.as_ref().map(|errand| errand.pull.clone());
        self.watched.watch(&self.session, (repo, commit, entry), comes);
        reader
    }
}

/// The files that pages of a list name. `None`: one is no list, or has rows that nobody can use: whoever pulls says which.
pub(super) fn entries_of(repo: &RepoId, pages: &[Bytes]) -> Option<Vec<TreeEntry>> {
    let mut entries = Vec::new();
    for page in pages {
        let tree = zest_hub::read_page(repo, page).ok().filter(|tree| tree.refused.is_empty())?;
        entries.extend(tree.entries);
    }
    Some(entries)
}

/// Whether a file does not come because of this machine's own disk: others can have it all the same.
pub(super) fn is_of_this_disk(why: &PullError) -> bool {
    matches!(why.kind(), PullErrorKind::Disk | PullErrorKind::Place)
}

fn is_under_way(pull: &PullHandle) -> bool {
    let status = pull.status();
    status.failure.is_none()
}

fn next_page(response: &Response) -> Option<String> {
    let links = response.headers().get_all(header::LINK).iter().filter_map(|link| link.to_str().ok());
    let parts = links.flat_map(|link| link.split('<').skip(1)).filter_map(|part| part.split_once('>'));
    parts
        .filter(|(_, rest)| rest.contains("rel=\"next\"") || rest.contains("rel=next"))
        .map(|(to, _)| to.to_owned())
        .next()
}

impl Lists {
    /// The list of a repository that was asked for last, and its commit.
    pub(super) fn last(&self, repo: &RepoId) -> Option<(String, List)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let last = known.iter().rev().find(|((of, _), _)| of == repo);
        last.map(|((_, commit), list)| (commit.clone(), list.clone()))
    }

    fn find(&self, key: &(RepoId, String)) -> Option<List> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(of, _)| of == key).map(|(_, list)| list.clone())
    }
}

/// Why a file cannot be read, as an answer.
pub(super) fn failed(why: &PullError) -> Response {
    let status = match why.kind() {
        // As a Hub says it, so that a client asks for a token.
        _ if matches!(why, PullError::Hub(zest_hub::HubError::LoginNeeded { .. })) => {
            StatusCode::UNAUTHORIZED
        }
        PullErrorKind::NotFound => StatusCode::NOT_FOUND,
        PullErrorKind::Auth => StatusCode::UNAUTHORIZED,
        PullErrorKind::Gated => StatusCode::FORBIDDEN,
        PullErrorKind::Disk => StatusCode::INSUFFICIENT_STORAGE,
        PullErrorKind::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        PullErrorKind::Network | PullErrorKind::Offline => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    error(status, "", &why.to_string())
}
