//! What the end-to-end tests stand on: a sample repository, an embedded hub, and machines that pull and seed. Everything
//! is real and on loopback: sockets, files, proofs. Nothing outside a temporary folder is touched.

pub mod caller;
pub mod capture;
pub mod finding;
pub mod known;
pub mod netns;
pub mod peer;
pub mod program;
pub mod relay;
pub mod rows;
mod runtimes;
pub mod speak;

pub use runtimes::{Kind, Seedbox};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::watch;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use zest_hub::{Hub, HubConfig};
use zest_hub_server::{Faults, LoggedRequest, ServeConfig, Served, Stats, serve};
use zest_runtime_tokio::{
    CancelToken, Engine, EngineConfig, IndexProgress, Progress, PullError, PullOptions, PullReport,
    StoreHandles, keep_index, pull,
};
use zest_store::{Catalog, Env, HfCache, RepoId, RepoType};

/// Bytes that look like nothing: SplitMix64 from a seed. Chunk boundaries fall as in real weights.
#[must_use]
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        out.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    out.truncate(len);
    out
}

/// A hub with its folder.
pub struct Site {
    root: TempDir,
    served: Option<Served>,
}

impl Site {
    /// An empty site; add repositories, then [`Site::open`] it.
    #[must_use]
    pub fn new() -> Self {
        Self { root: TempDir::new().expect("a temporary folder"), served: None }
    }

    /// Puts a file into a model repository's revision `main`.
    pub fn add(&self, repo: &str, path: &str, content: &[u8]) -> &Self {
        let to = self.folder(repo).join(path);
        std::fs::create_dir_all(to.parent().expect("a file has a folder")).expect("make a folder");
        std::fs::write(to, content).expect("write a sample file");
        self
    }

    /// Marks a model repository `private` or `gated`.
    pub fn restrict(&self, repo: &str, how: &str) -> &Self {
        std::fs::write(self.root.path().join("models").join(repo).join("access"), how)
            .expect("write the mark");
        self
    }

    /// The folder of a model repository's revision `main`.
    #[must_use]
    pub fn folder(&self, repo: &str) -> PathBuf {
        self.root.path().join("models").join(repo).join("main")
    }

    /// Starts the hub on a free port of loopback.
    pub async fn open(&mut self) -> String {
        self.open_at(loopback()).await
    }

    /// Starts the hub at this address.
    pub async fn open_at(&mut self, address: SocketAddr) -> String {
        let mut config = ServeConfig::new(self.root.path(), address);
        config.tokens = vec![TOKEN.to_owned()];
        let served = serve(config).await.expect("the embedded hub starts");
        let endpoint = served.endpoint();
        self.served = Some(served);
        endpoint
    }

    fn served(&self) -> &Served {
        self.served.as_ref().expect("the site is open")
    }

    /// Its address, as `HF_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.served().endpoint()
    }

    /// What can be made to go wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        self.served().faults()
    }

    /// What it counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.served().stats()
    }

    /// From now on the hub keeps the last so many requests.
    pub fn log_requests(&self, capacity: usize) {
        self.served().log_requests(capacity);
    }

    /// The requests it kept, oldest first; they are forgotten.
    #[must_use]
    pub fn take_requests(&self) -> Vec<LoggedRequest> {
        self.served().take_requests()
    }

    /// Stops the hub.
    pub async fn close(&mut self) {
        if let Some(served) = self.served.take() {
            served.shutdown().await;
        }
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// The token that may read the site's private and gated repositories.
pub const TOKEN: &str = "hf_test_token_that_must_not_leak";

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// What a user with this home, no token and this Hub would have.
#[must_use]
pub fn environment(home: &Path, endpoint: &str) -> Env {
    let home = home.to_str().expect("temporary folders have Unicode names");
    let vars = [("HOME", home), ("HF_ENDPOINT", endpoint)];
    Env::from_map(&vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
}

/// One machine: an own HF cache, an own zest cache, an engine.
pub struct Machine {
    dir: Arc<TempDir>,
    /// Its environment; tests may change it before a pull.
    pub env: Env,
    engine: Option<Engine>,
    store: Arc<StoreHandles>,
    seedbox: Option<Seedbox>,
    kind: Kind,
}

impl Machine {
    /// A machine with empty caches that accepts peers on loopback.
    pub async fn new(endpoint: &str) -> Self {
        Self::with(endpoint, |_| {}).await
    }

    /// The same with other settings of its engine.
    pub async fn with(endpoint: &str, change: impl FnOnce(&mut EngineConfig)) -> Self {
        Self::on(Arc::new(TempDir::new().expect("a temporary folder")), endpoint, change).await
    }

    fn log() {
        let wanted = std::env::var("ZEST_TEST_LOG").ok().and_then(|text| text.parse().ok());
        let filter: Targets = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::ERROR));
        let log = tracing_subscriber::fmt::layer().with_test_writer().with_filter(filter);
        let _ = tracing_subscriber::registry().with(log).try_init();
    }

    async fn on(dir: Arc<TempDir>, endpoint: &str, change: impl FnOnce(&mut EngineConfig)) -> Self {
        Self::log();
        let env = environment(dir.path(), endpoint);
        let store = Arc::new(StoreHandles {
            catalog: Arc::new(Catalog::open(&env.zest_cache).expect("the catalog opens")),
            cache: HfCache::open(&env.hub_cache, env.cache_options()).expect("the cache opens"),
        });
        let mut config = EngineConfig::new(store.clone());
        config.listen = vec![loopback()];
        change(&mut config);
        let engine = Engine::start(config).await.expect("the engine starts");
        Self { dir, env, engine: Some(engine), store, seedbox: None, kind: Kind::Tokio }
    }

    /// The same disk, a new process.
    pub async fn restarted(mut self) -> Self {
        let endpoint = self.env.endpoint.clone();
        let (dir, kind) = (self.dir.clone(), self.kind);
        self.seedbox = None;
        if let Some(engine) = self.engine.take() {
            engine.shutdown().await;
        }
        Self::on(dir, &endpoint, |_| {}).await.seed_on(kind).await
    }

    /// Another process on the same disk.
    pub async fn another(&self) -> Self {
        Self::on(self.dir.clone(), &self.env.endpoint, |_| {}).await
    }

    /// From now on it gives what it has through this runtime.
    pub async fn seed_on(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self.seedbox = Seedbox::start(kind, &self.store.catalog, 0).await;
        self
    }

    /// Bytes it has given, with heads.
    pub async fn uploaded(&self) -> u64 {
        match &self.seedbox {
            Some(seedbox) => seedbox.uploaded(),
            None => self.engine().stats().await.uploaded,
        }
    }

    /// Switches it off.
    pub async fn shut_down(mut self) {
        self.seedbox = None;
        if let Some(engine) = self.engine.take() {
            engine.shutdown().await;
        }
    }

    /// Its engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("the machine is on")
    }

    /// Its stores.
    #[must_use]
    pub fn store(&self) -> &Arc<StoreHandles> {
        &self.store
    }

    /// Where peers reach it.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.seedbox {
            Some(seedbox) => seedbox.address(),
            None => self.engine().local_addrs()[0].to_string(),
        }
    }

    /// A model pull with everything at its default.
    #[must_use]
    pub fn options(&self, repo: &str) -> PullOptions {
        PullOptions {
            repo: RepoId::new(RepoType::Model, repo).expect("a good name"),
            revision: "main".into(),
            files: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            local_dir: None,
            env: self.env.clone(),
            force: false,
            dry_run: false,
            peers: Vec::new(),
            p2p: true,
            policy: None,
            keep_xorbs: false,
            lock_held: false,
            named_first: false,
        }
    }

    /// Pulls with these options.
    ///
    /// # Errors
    /// As [`pull`].
    pub async fn pull(&self, options: PullOptions) -> Result<PullReport, PullError> {
        let (progress, _seen) = watch::channel(Progress::default());
        pull(self.engine(), options, progress, CancelToken::new()).await
    }

    /// Pulls a model, asking these peers.
    ///
    /// # Errors
    /// As [`pull`].
    pub async fn pull_from(&self, repo: &str, peers: &[String]) -> Result<PullReport, PullError> {
        self.pull(PullOptions { peers: peers.to_vec(), ..self.options(repo) }).await
    }

    /// Indexes what the cache holds and asks the Hub what is public, as `zest serve` does.
    pub async fn index(&self) -> IndexProgress {
        let hub = Hub::new(HubConfig::from_env(&self.env)).expect("a good endpoint");
        let progress = keep_index(self.store.clone(), Some(hub), |_| {}).await;
        self.refresh();
        progress
    }

    /// Has its runtime look at the catalog again.
    pub fn refresh(&self) {
        if let Some(seedbox) = &self.seedbox {
            seedbox.refresh();
        }
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// Every file below a folder, following links, by relative path.
#[must_use]
pub fn files_of(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, at: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(at).expect("a readable folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(root, &path, files);
            } else {
                let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
                files.insert(name, std::fs::read(&path).expect("a readable file"));
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(root, root, &mut files);
    files
}

/// Fails with the first difference unless both folders hold the same files.
pub fn assert_same_files(got: &Path, want: &Path) {
    let (got, want) = (files_of(got), files_of(want));
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>(), "the same names");
    for (name, content) in &want {
        assert!(got[name] == *content, "{name} differs");
    }
}
