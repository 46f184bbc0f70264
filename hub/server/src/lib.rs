#![cfg_attr(not(test), warn(clippy::unwrap_used))]
//! Embedded hub: serves what a [`Library`] holds through the Hub API, a Xet CAS and a CDN on one port; below it is the listener
//! that strangers cannot fill, [`guard`].
//!
//! The library of [`serve`] is a folder. A folder tree `ROOT/{models|datasets|spaces}/ORG/NAME/REVISION/...` becomes repositories that unmodified Hub clients can
//! download from: set `HF_ENDPOINT` to [`Served::endpoint`]. Files that the public Hub would keep in Xet are served through Xet.
//!
//! * A revision is a folder; its name is percent-decoded, so `refs%2Fpr%2F1` is revision `refs/pr/1`. Its commit id is derived from
//!   the content, so equal content has the same commit id on every machine.
//! * A file `access` next to the revisions makes a repository `private` or `gated`; anything else in it but `public` means private.
//! * Xorbs are virtual: chunk lists are kept, xorb bytes are computed from the original files while they are sent.
//! * Chunk lists and digests are cached in `ROOT/.zest-hub` (or where [`ServeConfig::cache_dir`] says), so a restart reads no file
//!   again that did not change. If that folder cannot be written the cache lives in memory only.
//!
//! What it never does: write to the revisions, follow a symbolic link out of the root, log a token, or serve a byte range that no
//! signed URL of its own covers.

mod api;
mod body;
mod buffers;
mod cache;
mod cas;
mod cdn;
mod digest;
mod disk;
mod faults;
mod folder;
#[doc(hidden)]
pub mod fuzzing;
pub mod guard;
mod http;
mod index;
mod layout;
mod library;
pub mod limits;
mod os;
mod page;
mod request;
mod resolve;
mod root;
mod sign;
mod stats;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use body::Phase;
use buffers::BufferPool;
use folder::Folder;
use guard::Limits;
use guard::hosts::{Hosts, authority};
use index::{Index, open_cache};
use root::Root;
use sign::Signer;
use stats::{Counters, RequestLog};
use zest_store::RepoId;

pub use digest::Digest;
pub use disk::{DiskFile, Identity};
pub use faults::{Faults, Service};
pub use library::{Access, Entry, Freshness, Library, Missing, Snapshot};

/// What else is made of virtual xorbs: the parts of this hub that need no folder.
pub mod parts {
    pub use super::body::read_xorb;
    pub use super::buffers::{BufferPool, PIECE_BYTES, Piece};
    pub use super::cas::{Version, asked_bytes, reconstruction};
    pub use super::layout::{Layout, PlacedTerm, Xorb};
    pub use super::request::{Wanted, closed_ranges, escape_path, escape_segment, parse_form, wanted};
    pub use super::sign::{Purpose, Signer, unix_now};
}
pub use stats::{LoggedRequest, Stats};

/// Time that bodies under way get to finish at shutdown: 5 s.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Time that connections get to close after their bodies were cut: 1 s.
const SHUTDOWN_CUT: Duration = Duration::from_secs(1);

/// What to serve, and where.
#[derive(Clone)]
pub struct ServeConfig {
    /// Folder that holds `models`, `datasets` and `spaces`.
    pub root: PathBuf,
    /// Address to listen on; port 0 picks a free one. Give a loopback address unless others shall reach the hub.
    pub addr: SocketAddr,
    /// Bearer tokens that may read private and gated repositories.
    pub tokens: Vec<String>,
    /// Where the index is cached; `None` is `ROOT/.zest-hub`.
    pub cache_dir: Option<PathBuf>,
    /// Where others find the hub. If that is this listener by a name (`http`, its port, no path), the name is one more by which it
    /// may be asked. Anything else is of what stands before it, and the base of the URLs in all answers, as such a proxy need not hand
    /// on what it was asked for. Otherwise that is the `Host` header of each request, which must name this machine, see
    /// [`guard::hosts`].
    pub public_url: Option<String>,
    /// What the listener allows.
    pub limits: Limits,
}

impl ServeConfig {
    /// A hub for `root` on `addr`, without tokens and with everything else at its default.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, addr: SocketAddr) -> Self {
        let limits = Limits::for_this_process();
        Self { root: root.into(), addr, tokens: Vec::new(), cache_dir: None, public_url: None, limits }
    }
}

/// Where a hub listens and to whom it opens closed repositories, whatever it serves.
#[derive(Clone)]
pub struct Listen {
    /// As in [`ServeConfig::addr`].
    pub addr: SocketAddr,
    /// As in [`ServeConfig::tokens`].
    pub tokens: Vec<String>,
    /// As in [`ServeConfig::public_url`].
    pub public_url: Option<String>,
    /// As in [`ServeConfig::limits`].
    pub limits: Limits,
}

impl std::fmt::Debug for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listen")
            .field("addr", &self.addr)
            .field("tokens", &format_args!("[{} hidden]", self.tokens.len()))
            .field("public_url", &self.public_url)
            .field("limits", &self.limits)
            .finish()
    }
}

impl std::fmt::Debug for ServeConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServeConfig")
            .field("root", &self.root)
            .field("addr", &self.addr)
            .field("tokens", &format_args!("[{} hidden]", self.tokens.len()))
            .field("cache_dir", &self.cache_dir)
            .field("public_url", &self.public_url)
            .field("limits", &self.limits)
            .finish()
    }
}

/// Why a hub could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The root does not exist, is no folder or cannot be read.
    #[error("cannot serve {path}: {source}")]
    Root {
        /// The root as given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address as given.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The public URL is none.
    #[error("public URL {0:?} is not http://HOST[:PORT] or https://HOST[:PORT], with a path or without")]
    PublicUrl(String),
    /// The system gave no random bytes for the signing key.
    #[error("no random bytes for the signing key: {0}")]
    Random(String),
}

/// How far the first look at the root has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Readiness {
    Cold,
    /// What an earlier run knew is laid out as it was then.
    Replayed,
    /// Every revision has been looked at.
    Indexed,
}

/// Everything the request handlers share.
struct App {
    library: Arc<dyn Library>,
    faults: Arc<Faults>,
    counters: Arc<Counters>,
    log: RequestLog,
    signer: Signer,
    tokens: Vec<String>,
    addr: SocketAddr,
    public_url: Option<String>,
    /// Of the URLs in answers, whatever a request says.
    base: Option<String>,
    hosts: Hosts,
    phase: watch::Sender<Phase>,
    readiness: watch::Sender<Readiness>,
    buffers: Arc<BufferPool>,
}

impl App {
    async fn wait_for(&self, readiness: Readiness) {
        // The sender lives in `self`: it cannot be gone.
        let _ = self.readiness.subscribe().wait_for(|now| *now >= readiness).await;
    }

    async fn wait_for_replay(&self) {
        self.wait_for(Readiness::Replayed).await;
    }
}

/// Starts a hub for a folder: listens, answers, and indexes the root in the background. Requests for what is not indexed yet wait
/// for it.
///
/// Must be called inside a tokio runtime with time and I/O enabled.
///
/// # Errors
/// [`ServeError`] if the root cannot be read or the address not be listened on.
pub async fn serve(config: ServeConfig) -> Result<Served, ServeError> {
    let ServeConfig { root: given, addr, tokens, cache_dir, public_url, limits } = config;
    let listen = Listen { addr, tokens, public_url, limits };
    let listener =
        listen.open(|| Root::open(&given).map_err(|source| ServeError::Root { path: given, source }));
    let (root, listener) = listener.await?;
    let counters = Arc::new(Counters::default());
    let cache = open_cache(root.path(), cache_dir.as_deref());
    let index = Index::new(root.path().to_path_buf(), cache, counters.clone());
    start(Arc::new(Folder::new(root, index)), counters, listener, listen)
}

/// Starts a hub for any library, as [`serve`] does for a folder.
///
/// # Errors
/// [`ServeError`] if the address cannot be listened on.
pub async fn serve_library(library: Arc<dyn Library>, listen: Listen) -> Result<Served, ServeError> {
    let ((), listener) = listen.open(|| Ok(())).await?;
    start(library, Arc::default(), listener, listen)
}

impl Listen {
    /// Looks at the address it is known by, has what it serves opened, and listens: in this order, as people are told of the
    /// first that is wrong.
    async fn open<T>(
        &self,
        library: impl FnOnce() -> Result<T, ServeError>,
    ) -> Result<(T, TcpListener), ServeError> {
        if let Some(url) = self.public_url.as_deref().filter(|url| authority(url).is_none()) {
            return Err(ServeError::PublicUrl(url.to_owned()));
        }
        let library = library()?;
        let bound = TcpListener::bind(self.addr).await;
        Ok((library, bound.map_err(|source| ServeError::Bind { addr: self.addr, source })?))
    }
}

fn start(
    library: Arc<dyn Library>,
    counters: Arc<Counters>,
    listener: TcpListener,
    listen: Listen,
) -> Result<Served, ServeError> {
    let Listen { addr, tokens, public_url, limits } = listen;
    let local = listener.local_addr().map_err(|source| ServeError::Bind { addr, source })?;
    let signer = Signer::random().map_err(|error| ServeError::Random(error.to_string()))?;
    let app = Arc::new(App {
        library,
        faults: Arc::new(Faults::new()),
        counters,
        log: RequestLog::default(),
        signer,
        tokens: tokens.into_iter().filter(|token| !token.is_empty()).collect(),
        addr: local,
        hosts: Hosts::new(local, public_url.as_deref()),
        base: public_url.clone().filter(|url| !is_listener(url, local.port())),
        public_url,
        phase: watch::Sender::new(Phase::Running),
        readiness: watch::Sender::new(Readiness::Cold),
        buffers: Arc::default(),
    });
    let warming = tokio::spawn({
        let app = app.clone();
        async move {
            let laid_out = Box::new(|| {
                app.readiness.send_replace(Readiness::Replayed);
            });
            app.library.warm_up(laid_out).await;
            app.readiness.send_replace(Readiness::Indexed);
        }
    });
    let handler = {
        let app = app.clone();
        move |request| http::handle(app.clone(), request)
    };
    let mut phase = app.phase.subscribe();
    let serving = tokio::spawn(async move {
        let stop = async move {
            let _ = phase.wait_for(|phase| *phase > Phase::Running).await;
        };
        guard::serve(listener, limits, handler, stop).await;
    });
    tracing::info!(addr = %local, "hub is listening");
    Ok(Served { app, serving: Some(serving), warming })
}

/// Whether an address is that of the listener at this port, by whatever name, and not of something before it.
fn is_listener(url: &str, port: u16) -> bool {
    let Some(rest) = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) else { return false };
    authority(url) == Some(rest) && (rest.ends_with(&format!(":{port}")) || port == 80 && !rest.contains(':'))
}

/// A running hub. Dropping it stops it at once; [`Served::shutdown`] lets answers under way finish.
pub struct Served {
    app: Arc<App>,
    serving: Option<JoinHandle<()>>,
    warming: JoinHandle<()>,
}

impl Served {
    /// The address the hub listens on, with the port that was picked.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.app.addr
    }

    /// What to put into `HF_ENDPOINT` on this machine.
    #[must_use]
    pub fn endpoint(&self) -> String {
        if let Some(url) = &self.app.public_url {
            return url.trim_end_matches('/').to_owned();
        }
        let mut addr = self.app.addr;
        if addr.ip().is_unspecified() {
            let loopback: std::net::IpAddr =
                if addr.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
            addr.set_ip(loopback);
        }
        format!("http://{addr}")
    }

    /// Repositories that are served, with whether there is any revision of each.
    pub async fn repos(&self) -> Vec<(RepoId, bool)> {
        let library = &self.app.library;
        let mut repos = Vec::new();
        for (repo, _) in library.repos().await {
            let is_filled = !library.revisions(&repo).await.is_empty();
            repos.push((repo, is_filled));
        }
        repos
    }

    /// Fault switches. All are off at the start.
    #[must_use]
    pub fn faults(&self) -> &Arc<Faults> {
        &self.app.faults
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.app.counters.snapshot()
    }

    /// Returns when every revision has been looked at once. Requests do not need this: they wait for what they need.
    pub async fn indexed(&self) {
        self.app.wait_for(Readiness::Indexed).await;
    }

    /// From now on keeps the newest `capacity` requests; 0, as at the start, keeps none.
    pub fn log_requests(&self, capacity: usize) {
        self.app.log.set_capacity(capacity);
    }

    /// Takes the requests that were kept, oldest first.
    #[must_use]
    pub fn take_requests(&self) -> Vec<LoggedRequest> {
        self.app.log.take()
    }

    /// Stops accepting, lets bodies under way finish for some seconds, then cuts them.
    pub async fn shutdown(mut self) {
        self.warming.abort();
        self.app.phase.send_replace(Phase::Draining);
        let Some(mut serving) = self.serving.take() else { return };
        if tokio::time::timeout(SHUTDOWN_GRACE, &mut serving).await.is_err() {
            self.app.phase.send_replace(Phase::Cut);
            if tokio::time::timeout(SHUTDOWN_CUT, &mut serving).await.is_err() {
                serving.abort();
            }
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.app.phase.send_replace(Phase::Cut);
        self.warming.abort();
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").field("addr", &self.app.addr).finish_non_exhaustive()
    }
}
