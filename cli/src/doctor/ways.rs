//! Which ways of finding peers work, and whether others reach us.

use super::{Check, DoctorArgs};
use crate::discovery::Purpose;
use crate::engine::{self, Folders};
use crate::failure::Failure;
use crate::pull;
use crate::ui::units;
use std::time::{Duration, Instant};
use zest_runtime_tokio::{DiscoveryStatus, Reachability};
use zest_store::Env;

/// Which ways of finding peers work.
pub(super) async fn look(args: &DoctorArgs, env: &Env) -> Result<Vec<Check>, Failure> {
    let mut wanted = args.discovery.config(Purpose::Seed, env);
    // Nothing of what lies here is told to anybody.
    wanted.announce_all = false;
    if !wanted.finds_any() {
        return Ok(vec![Check::ok(
            "peers",
            "every way of finding them is switched off: only those of --peer",
        )]);
    }
    let (dht, trackers, mapping) = (wanted.dht.is_some(), wanted.trackers.len(), wanted.port_mapping);
    let config = engine::config(env, Folders::default())?.engine(|engine| engine.discovery = Some(wanted));
    let session = pull::start(config, None, true).await?;
    let until = Instant::now() + Duration::from_secs(args.wait);
    let mut seen = DiscoveryStatus::default();
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(200)).await;
        seen = session.discovery().await.unwrap_or_default();
        let nodes = seen.dht_nodes.is_none_or(|[v4, v6]| v4 + v6 > 0);
        let mapped = !mapping || matches!(seen.reachable, Reachability::Mapped | Reachability::Open);
        if nodes && mapped && seen.trackers.len() >= trackers {
            break;
        }
    }
    session.shutdown().await;
    Ok(ways(&seen, dht, args.wait))
}

fn ways(seen: &DiscoveryStatus, dht: bool, wait: u64) -> Vec<Check> {
    let mut checks = Vec::new();
    match seen.dht_nodes {
        Some([0, 0]) => checks.push(Check::warn(
            "DHT",
            format!("no node answered within {wait} s"),
            "UDP may be closed here; peers of this network and of --peer, trackers and the CDN do without",
        )),
        Some([v4, v6]) => {
            checks.push(Check::ok("DHT", format!("{} known", units::counted(u64::from(v4 + v6), "node"))))
        }
        None if dht => checks.push(Check::warn(
            "DHT",
            "no UDP port could be had",
            "another program has it: see --dht-port",
        )),
        None => {}
    }
    for tracker in &seen.trackers {
        checks.push(match tracker.works {
            true => Check::ok("tracker", format!("{}: {}", tracker.name, tracker.standing)),
            false => Check::warn(
                "tracker",
                format!("{}: {}", tracker.name, tracker.standing),
                "leave it out, or wait",
            ),
        });
    }
    checks.push(match seen.lan {
        [false, false] => Check::warn(
            "network",
            "no multicast",
            "machines here do not find each other: name them with --peer",
        ),
        _ => Check::ok("network", "multicast works: machines of this network find each other"),
    });
    let address = seen.external.map_or_else(String::new, |ip| format!(", as {ip}"));
    checks.push(match seen.reachable {
        Reachability::Open | Reachability::Mapped => Check::ok("reachable", format!("others can connect{address}")),
        Reachability::Closed => Check::warn("reachable", "no port is open", "nothing is uploaded to others then"),
        Reachability::Local | Reachability::Unknown => Check::warn(
            "reachable",
            format!("nobody has connected from outside yet{address}"),
            "whoever is behind a router lets others in by forwarding the port, or by `zest seed` with UPnP or NAT-PMP on",
        ),
    });
    checks
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_does_not_work_says_what_helps() {
        let nothing = DiscoveryStatus { dht_nodes: Some([0, 0]), ..DiscoveryStatus::default() };
        let checks = ways(&nothing, true, 5);
        assert!(checks.iter().all(|check| check.state == State::Warn && check.fix.is_some()), "{checks:?}");
        let all = DiscoveryStatus {
            dht_nodes: Some([7, 1]),
            lan: [true, false],
            reachable: Reachability::Open,
            ..DiscoveryStatus::default()
        };
        let checks = ways(&all, true, 5);
        assert!(checks.iter().all(|check| check.state == State::Ok), "{checks:?}");
        assert_eq!(checks[0].text, "8 nodes known");
    }
}
