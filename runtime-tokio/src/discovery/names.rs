//! Names to addresses, away from the engine's thread.

use super::Finder;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use zest_core::discovery;
use zest_core::finder::Event;
use zest_core::tracker::TrackerId;

/// How long a name server may take: 10 s.
const LOOKUP: Duration = Duration::from_secs(10);
/// First and longest pause before names that could not be resolved are tried again: 1 s, doubling to 8 s. Ours; a node that
/// starts after us, or a line that comes back, is found within ten.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));

async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match tokio::time::timeout(LOOKUP, zest_hub::look_up(host)).await {
        Ok(found) => Ok(found?.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Resolves a UDP tracker. Addresses of a family without a socket are of no use.
pub(super) async fn tracker(finder: Rc<Finder>, tracker: TrackerId, host: String, port: u16) {
    let mut addrs = lookup(&host, port).await.unwrap_or_else(|error| {
        tracing::debug!(host, %error, "cannot resolve a tracker");
        Vec::new()
    });
    addrs.retain(|addr| finder.speaks(*addr));
    finder.tell_swarms(discovery::Event::Resolved { tracker, addrs: &addrs });
}

/// Tells the DHT where to start from; asks again for names that could not be resolved, as laptops wake up before their
/// network does.
pub(super) async fn bootstrap(finder: Rc<Finder>, mut names: Vec<String>) {
    let mut pause = AGAIN.0;
    loop {
        // All at once: one that nobody answers for must not hold up the others.
        let looked_up = names.into_iter().map(|name| async move {
            let found = match name.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
                Some((host, Ok(port))) => Some(lookup(host, port).await),
                _ => None,
            };
            (name, found)
        });
        let mut unknown = Vec::new();
        for (name, found) in futures_util::future::join_all(looked_up).await {
            let Some(found) = found else {
                tracing::warn!(name, "not HOST:PORT");
                continue;
            };
            match found {
                Ok(addrs) => {
                    addrs.into_iter().for_each(|addr| finder.tell(Event::Bootstrap { addr }));
                }
                Err(error) => {
                    tracing::debug!(name, %error, "cannot resolve a bootstrap node");
                    unknown.push(name);
                }
            }
        }
        if unknown.is_empty() {
            return;
        }
        names = unknown;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN.1);
    }
}
