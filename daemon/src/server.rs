//! The API, listening.

use crate::about::About;
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::gate::Gate;
use crate::limits::CONNECTIONS_MAX;
use crate::secret::random_hex;
use crate::{DaemonError, Opened, Secret, Socket};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zest_hub_server::guard::hosts::Hosts;
use zest_hub_server::guard::{self, Door, Limits};
use zest_runtime_tokio::Session;

/// Random bytes of what stands before the numbers of events.
const RUN_BYTES: usize = 6;

/// How long answers under way may take once the API ends: 1 s.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Time between two looks at whether a daemon is needed: 5 s.
const IDLE_LOOK: Duration = Duration::from_secs(5);

/// The least: 20 ms.
const IDLE_LOOK_LEAST: Duration = Duration::from_millis(20);

/// The way to a daemon's end: who asks for it, and who waits for that. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<Phase>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    /// No new pulls; what is asked is still answered.
    Stopping,
    /// Streams end.
    Over,
}

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Running))
    }
}

impl Stop {
    /// Asks for the end.
    pub fn ask(&self) {
        self.raise(Phase::Stopping);
    }

    /// Waits until somebody asks for it.
    pub async fn asked(&self) {
        self.reached(Phase::Stopping).await;
    }

    /// Whether somebody has.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow() >= Phase::Stopping
    }

    pub(crate) async fn over(&self) {
        self.reached(Phase::Over).await;
    }

    async fn reached(&self, phase: Phase) {
        let mut now = self.0.subscribe();
        if now.wait_for(|now| *now >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn raise(&self, to: Phase) {
        self.0.send_if_modified(|now| {
            let higher = to > *now;
            *now = (*now).max(to);
            higher
        });
    }
}

/// A running API. Dropping it cuts it; [`Api::shutdown`] lets answers under way finish.
#[derive(Debug)]
pub struct Api {
    app: Arc<App>,
    addrs: Vec<SocketAddr>,
    stop: Stop,
    serving: Vec<JoinHandle<()>>,
    resumed: usize,
    waiting: usize,
}

impl Api {
    /// Answers at these doors, and at the socket if there is one, for this session, and goes on with the pulls that an earlier daemon was killed in. Its `stop` is asked
    /// for by `POST /v1/stop`.
    ///
    /// # Errors
    /// The system gave no randomness.
    pub fn start(
        opened: Opened,
        socket: Option<Socket>,
        session: Session,
        secret: Secret,
        about: About,
        stop: Stop,
    ) -> Result<Self, DaemonError> {
        let far = opened.addrs.first().copied();
        let gate = Gate::new(&opened.addrs, secret).known_as(far, opened.public_url.as_deref(), opened.also);
        let run = random_hex(RUN_BYTES)?;
        // The Hub for other programs; nothing where it cannot be had.
        let endpoint = Endpoint::new(&session, &about, opened.oci)
            .inspect_err(|error| tracing::warn!(target: zest_store::SAID, kind = "no-endpoint", "without a local endpoint: {error}"))
            .ok()
            .map(Arc::new);
        let (mut app, left) = App::new(session, gate, about, stop.clone(), run);
        let begun = app.resume(left);
        let (resumed, waiting) = (begun.len(), app.pending.waiting().len());
        let app = Arc::new(app);
        begun.iter().for_each(|pull| app.keep_following(pull));
        let own = Limits::for_this_process();
        let connections = own.connections.min(CONNECTIONS_MAX);
        let limits = Limits { connections, ..own };
        let mut serving: Vec<_> =
            opened.listeners.into_iter().map(|listener| serve(&app, &endpoint, listener, &limits)).collect();
        serving.extend(opened.figures.map(|(listener, addr)| {
            let (app, end, hosts) = (app.clone(), stop.clone(), Arc::new(Hosts::new(addr, None)));
            let handler = move |request| crate::routes::figures(app.clone(), hosts.clone(), request);
            tokio::spawn(guard::serve(listener, limits.clone(), handler, async move { end.over().await }))
        }));
        // Its connections are counted by themselves: others can fill the ports, and leave this one free.
        serving.extend(socket.map(|socket| serve(&app, &endpoint, socket, &limits)));
        Ok(Self { serving, app, addrs: opened.addrs, stop, resumed, waiting })
    }

    /// Requests that it has had.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.app.requests()
    }

    /// Where it listens.
    #[must_use]
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Pulls of an earlier daemon that this one goes on with.
    #[must_use]
    pub fn resumed(&self) -> usize {
        self.resumed
    }

    /// Those that had a token of their own, which is gone: they wait until they are asked for again.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Waits until nobody has needed the daemon for so long: nothing but its health and figures was asked for, no pull was under way,
    /// and nothing was given.
    pub async fn idle(&self, after: Duration) {
        let (mut last, mut since) = (None, Instant::now());
        loop {
            let now = self.app.need().await;
            if now.is_none() || now != last {
                (last, since) = (now, Instant::now());
            }
            let left = after.saturating_sub(since.elapsed());
            if left.is_zero() && now.is_some() {
                return;
            }
            tokio::time::sleep(left.clamp(IDLE_LOOK_LEAST, IDLE_LOOK)).await;
        }
    }

    /// Ends it: nobody is let in any more, streams end, answers under way have a second.
    pub async fn shutdown(mut self) {
        self.stop.raise(Phase::Over);
        for serving in &mut self.serving {
            if tokio::time::timeout(LAST_ANSWERS, &mut *serving).await.is_err() {
                serving.abort();
            }
        }
    }
}

fn serve(
    app: &Arc<App>,
    endpoint: &Option<Arc<Endpoint>>,
    door: impl Door,
    limits: &Limits,
) -> JoinHandle<()> {
    let (app, endpoint, end) = (app.clone(), endpoint.clone(), app.stop.clone());
    let handler = move |request| crate::routes::handle(app.clone(), endpoint.clone(), request);
    tokio::spawn(guard::serve(door, limits.clone(), handler, async move { end.over().await }))
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop.raise(Phase::Over);
        self.serving.iter().for_each(JoinHandle::abort);
    }
}
