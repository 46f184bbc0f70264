//! `GET /v1/status`: to everybody the original's seven keys, to who has the secret everything.

use crate::about::{Environment, Ways};
use crate::app::App;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::Path;
use zest_runtime_tokio::{PullRequest, PullStatus, SessionStatus};

/// Pulls that have ended and are in the status, at most: 10. `/v1/pulls` has all.
const ENDED_SHOWN: usize = 10;

/// What zest 0.4 says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Original {
    /// The program's.
    pub version: String,
    /// Peers linked.
    pub bt_peers: u32,
    /// Chunks uploaded to peers.
    pub chunks_served: u64,
    /// Whole xorbs in the original's cache, which `zest pull --keep-xorbs` fills.
    pub xorbs_cached: u64,
    /// Requests that the API has had.
    pub http_requests: u64,
    /// Where the API listens.
    pub http_port: u16,
    /// Where peers can connect to, 0 if nowhere.
    pub bt_port: u16,
}

/// Everything.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Full<'a> {
    #[serde(flatten)]
    original: Original,
    pid: u32,
    started: u64,
    uptime_s: f64,
    http: &'a [SocketAddr],
    socket: Option<&'a Path>,
    environment: &'a Environment,
    ways: &'a Ways,
    give_up_after_s: f64,
    stopping: bool,
    /// A program that needed it has started it, and it ends by itself.
    on_demand: bool,
    /// Numbers of the pulls that an earlier daemon was killed in.
    resumed: &'a [u64],
    /// Those of them that cannot be begun: their token is gone.
    waiting_for_token: Vec<PullRequest>,
    #[serde(flatten)]
    session: SessionStatus,
}

impl App {
    pub(crate) async fn original(&self) -> Original {
        let stats = self.session.stats().await;
        Original {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            bt_peers: stats.peers,
            chunks_served: stats.chunks_served,
            xorbs_cached: self.xorbs.count(&self.about.zest_cache).await,
            http_requests: self.requests(),
            http_port: self.about.http.first().map_or(0, SocketAddr::port),
            bt_port: self.session.local_addrs().first().map_or(0, SocketAddr::port),
        }
    }

    pub(crate) async fn full(&self) -> Full<'_> {
        let original = self.original().await;
        let mut session = self.session.status().await;
        shorten(&mut session.pulls);
        Full {
            original,
            pid: std::process::id(),
            started: self.about.started,
            uptime_s: self.began.elapsed().as_secs_f64(),
            http: &self.about.http,
            socket: self.about.socket.as_deref(),
            environment: &self.about.environment,
            ways: &self.about.ways,
            give_up_after_s: self.session.give_up_after().as_secs_f64(),
            stopping: self.stop.is_stopping(),
            on_demand: self.about.on_demand,
            resumed: &self.resumed,
            waiting_for_token: self.pending.waiting(),
            session,
        }
    }
}

/// Of those that have ended, the last ones.
fn shorten(pulls: &mut Vec<PullStatus>) {
    let has_ended = |pull: &PullStatus| pull.report.is_some() || pull.failure.is_some();
    let mut surplus = pulls.iter().filter(|pull| has_ended(pull)).count().saturating_sub(ENDED_SHOWN);
    pulls.retain(|pull| {
        let goes = surplus > 0 && has_ended(pull);
        surplus -= usize::from(goes);
        !goes
    });
}
