//! How peers are found, as the command line says it: one set of flags for all commands that have to do with peers.

use clap::Args;
use zest_daemon::Ways;
use zest_runtime_tokio::{
    DhtConfig, DiscoveryConfig, DiscoveryStatus, ROUTERS, Reachability, TrackerUrl, UrlError,
};
use zest_store::{Endpoint, Env};

/// The DHT's routing table between runs, in zest's cache.
const TABLE: &str = "dht";

/// The flags. What they leave open depends on the [`Purpose`].
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Finding peers")]
pub(crate) struct DiscoveryArgs {
    /// Announce at this tracker and ask it for peers: http, https or udp (repeatable)
    #[arg(hide_short_help = true, short, long, value_name = "URL", value_parser = parse_tracker)]
    pub(crate) tracker: Vec<TrackerUrl>,

    /// Start in the DHT from this node instead of the public routers (repeatable)
    #[arg(hide_short_help = true, long, value_name = "HOST:PORT", value_parser = parse_node)]
    pub(crate) bootstrap: Vec<String>,

    /// UDP port of the DHT (0: any free one) [default: the number of the TCP port, or any that is free]
    #[arg(hide_short_help = true, long, value_name = "PORT")]
    pub(crate) dht_port: Option<u16>,

    /// Keep out of the DHT
    #[arg(hide_short_help = true, long)]
    pub(crate) no_dht: bool,

    /// Send and hear no multicast on this network
    #[arg(hide_short_help = true, long)]
    no_lan: bool,

    /// Find, dial and let in nobody outside this network, peers named with --peer aside
    #[arg(long, conflicts_with_all = ["tracker", "bootstrap", "dht_port"])]
    pub(crate) lan_only: bool,

    /// This Hub is as good as the public one: what it shows to everyone may be shared with everyone (repeatable)
    #[arg(hide_short_help = true, long, value_name = "URL", value_delimiter = ',', value_parser = parse_mirror)]
    pub(crate) public_mirror: Vec<Endpoint>,

    /// Do not ask the router to let others connect (UPnP, PCP, NAT-PMP); `seed` does
    #[arg(hide_short_help = true, long)]
    no_port_mapping: bool,
}

/// What peers are found for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To fetch something, or to look who has it: every way of finding is used, what is fetched for long is announced.
    Pull,
    /// To give what the cache holds to whoever comes: known on this network, and where flags say so.
    Serve,
    /// The same, and to fetch what is handed over: that is looked for as by a pull.
    Daemon,
    /// To share it with everyone: announced in every way.
    Seed,
}

impl DiscoveryArgs {
    /// Finds peers in no way that these leave out. Gives the flags that say so and were not set.
    pub(crate) fn narrow(&mut self, ways: &Ways) -> Vec<&'static str> {
        let all = [
            ("--no-lan", !ways.lan, &mut self.no_lan),
            ("--no-dht", !ways.dht, &mut self.no_dht),
            ("--lan-only", ways.local_only, &mut self.lan_only),
        ];
        let set = all
            .into_iter()
            .filter_map(|(flag, wanted, set)| (wanted && !std::mem::replace(set, true)).then_some(flag));
        set.collect()
    }

    /// What the runtime is told.
    pub(crate) fn config(&self, purpose: Purpose, env: &Env) -> DiscoveryConfig {
        let named = !self.bootstrap.is_empty() || self.dht_port.is_some();
        let wanted = match purpose {
            Purpose::Pull => !env.offline || named,
            Purpose::Serve => named,
            // Trackers hear of the catalog, and then so would the DHT.
            Purpose::Daemon => named || !env.offline && self.tracker.is_empty(),
            Purpose::Seed => true,
        };
        let dht = (wanted && !self.no_dht && !self.lan_only).then(|| DhtConfig {
            port: self.dht_port,
            bootstrap: match self.bootstrap.is_empty() {
                true => ROUTERS.map(str::to_owned).to_vec(),
                false => self.bootstrap.clone(),
            },
            table: Some(env.zest_cache.join(TABLE)),
        });
        // Offline means that nothing is asked of anybody, unless it is asked for.
        let near = !env.offline || self.lan_only || purpose != Purpose::Pull;
        DiscoveryConfig {
            trackers: self.tracker.clone(),
            dht,
            lan: !self.no_lan && near,
            local_only: self.lan_only,
            announce_all: purpose != Purpose::Pull,
            catalog_near: purpose == Purpose::Daemon && !named && self.tracker.is_empty(),
            port_mapping: purpose == Purpose::Seed && !self.no_port_mapping && !self.lan_only,
        }
    }
}

fn parse_mirror(text: &str) -> Result<Endpoint, String> {
    let endpoint = Endpoint::new(text);
    match endpoint.as_str().split_once("://") {
        Some(("http" | "https", host)) if !host.is_empty() => Ok(endpoint),
        _ => Err(format!("{text:?} is not the address of a Hub (https://HOST)")),
    }
}

fn parse_tracker(text: &str) -> Result<TrackerUrl, UrlError> {
    text.parse()
}

/// `HOST:PORT`; the DHT has no port that everybody uses.
fn parse_node(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("a port is missing: HOST:PORT")?;
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || !port.parse::<u16>().is_ok_and(|port| port != 0) {
        return Err(format!("{port:?} is not a port (1 to 65535)"));
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bare.unwrap_or(host).is_empty() || bare.is_none() && host.contains(':') {
        return Err(format!("{host:?} is neither a host name nor an IP address"));
    }
    Ok(text.to_owned())
}

/// How peers are found, in a few words for a status line.
pub(crate) fn words(status: &DiscoveryStatus) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some([v4, v6]) = status.dht_nodes {
        parts.push(crate::ui::units::counted(u64::from(v4) + u64::from(v6), "DHT node"));
    }
    let failing = status.trackers.iter().filter(|tracker| !tracker.works).count();
    if failing > 0 {
        parts.push(format!("{failing} of {} trackers fail", status.trackers.len()));
    }
    let reachable = match (status.reachable, status.external) {
        (Reachability::Open, Some(ip)) => format!("reachable at {ip}"),
        (Reachability::Open, None) => "reachable".to_owned(),
        (Reachability::Mapped, _) => "port mapped by the router".to_owned(),
        (Reachability::Local, _) => "reached from this network".to_owned(),
        (Reachability::Unknown | Reachability::Closed, _) => return parts,
    };
    parts.push(reachable);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::collections::BTreeMap;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        discovery: DiscoveryArgs,
    }

    fn parse(line: &str) -> Result<DiscoveryArgs, clap::Error> {
        Line::try_parse_from(std::iter::once("x").chain(line.split_whitespace())).map(|line| line.discovery)
    }

    fn config(line: &str, purpose: Purpose) -> DiscoveryConfig {
        let env = Env::from_map(&BTreeMap::from([("HOME".to_owned(), "/nowhere".to_owned())]));
        parse(line).expect("valid").config(purpose, &env)
    }

    #[test]
    fn a_pull_looks_everywhere_serve_tells_its_neighbours_and_seed_everyone() {
        let pull = config("", Purpose::Pull);
        assert!(pull.lan && !pull.announce_all && !pull.port_mapping);
        assert_eq!(pull.dht.expect("on").bootstrap.len(), ROUTERS.len());
        let serve = config("", Purpose::Serve);
        assert!(serve.lan && serve.dht.is_none() && serve.announce_all && !serve.port_mapping);
        assert!(config("--bootstrap 127.0.0.1:7000", Purpose::Serve).dht.is_some());
        assert!(config("--dht-port 7000", Purpose::Serve).dht.is_some());
        let any = config("--dht-port 0", Purpose::Serve).dht;
        assert_eq!(any.map(|dht| dht.port), Some(Some(0)), "any free port");
        let daemon = config("", Purpose::Daemon);
        assert!(daemon.dht.is_some() && daemon.announce_all && daemon.catalog_near && !daemon.port_mapping);
        for line in ["--bootstrap 127.0.0.1:7000", "--dht-port 7000", "-t http://a/"] {
            let named = config(line, Purpose::Daemon);
            assert_eq!((named.catalog_near, named.dht.is_some()), (false, !line.starts_with("-t")), "{line}");
        }
        assert!(config("--no-dht", Purpose::Daemon).dht.is_none());
        let seed = config("", Purpose::Seed);
        assert!(seed.lan && seed.dht.is_some() && seed.announce_all && seed.port_mapping);
    }

    #[test]
    fn every_way_can_be_switched_off() {
        let none = config("--no-dht --no-lan --no-port-mapping", Purpose::Seed);
        assert!(!none.finds_any() && !none.port_mapping);
        let near = config("--lan-only", Purpose::Seed);
        assert!(near.local_only && near.lan && near.dht.is_none() && !near.port_mapping);
        for line in ["--lan-only -t http://a/", "--lan-only --bootstrap a:1", "--lan-only --dht-port 5"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn trackers_and_nodes_are_understood_or_refused() {
        let args =
            parse("-t http://a.example --tracker udp://b.example:6969 --bootstrap [::1]:5").expect("valid");
        assert_eq!(args.tracker.len(), 2);
        assert_eq!(args.bootstrap, ["[::1]:5"]);
        for line in [
            "-t ftp://a",
            "-t udp://a",
            "--bootstrap a",
            "--bootstrap a:0",
            "--bootstrap ::1:5x",
            "--bootstrap ::1:5",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn mirrors_are_hubs_by_their_address() {
        let args =
            parse("--public-mirror https://A.example/ --public-mirror http://b.example:80/hf,https://c")
                .expect("valid");
        let names: Vec<&str> = args.public_mirror.iter().map(Endpoint::as_str).collect();
        assert_eq!(names, ["https://a.example", "http://b.example/hf", "https://c"]);
        for line in ["--public-mirror a.example", "--public-mirror ftp://a", "--public-mirror https://"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_status_line_says_only_what_is_known() {
        let mut status = DiscoveryStatus::default();
        assert!(words(&status).is_empty());
        status.dht_nodes = Some([12, 3]);
        status.reachable = Reachability::Open;
        status.external = Some("192.0.2.7".parse().expect("an address"));
        assert_eq!(words(&status).join(" · "), "15 DHT nodes · reachable at 192.0.2.7");
        assert_eq!(serde_json::json!(status)["dht_nodes"]["ipv6"], 3);
    }
}
