//! One machine uses three Hubs: the one that everybody knows, one of its network, and one of its own. Whatever it does in whatever
//! order, no packet that leaves it names a file that a Hub keeps closed or that its own Hub shows; what the network's Hub shows is named
//! on that network alone; and no Hub is asked about another's repositories.

use crate::closed_models_leave_no_packet::{Names, in_background, is_multicast};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use zest_tests::capture::{Capture, Carries, Frame};
use zest_tests::finding::{Manner, Tracker, names};
use zest_tests::netns::{self, Machine, Switch};
use zest_tests::program::{Pulling, Running};
use zest_tests::{Site, TOKEN, noise};

/// Port of the Hub on the machine itself.
const HOME: &str = "http://127.0.0.1:8080";
/// Who speaks of the Hub that everybody knows, and who of the network's.
const BOOT: &str = "192.168.7.2:6881";
const NEIGHBOUR: &str = "192.168.7.4:6881";

/// What its Hub shows to anybody who asks it.
const OPEN: [&str; 3] = ["world/open", "intra/open", "home/open"];

/// What is to be heard of a seeder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// The open model of the Hub that everybody knows, at both trackers.
    Everywhere,
    /// The open model of the network's Hub, by multicast.
    Here,
    /// Nothing.
    Nowhere,
}

struct Town {
    world: Site,
    intra: Site,
    hubs: [(String, SocketAddr); 2],
    tracker: Tracker,
    machine: Machine,
    boot: Running,
    neighbour: Running,
    /// What everybody may hear of, and what this network may.
    open: Names,
    near: Names,
    closed: Vec<(&'static str, Names)>,
}

fn with(repos: &[(&str, u64)]) -> Site {
    let site = Site::new();
    for (repo, seed) in repos {
        site.add(repo, "model.safetensors", &noise(*seed, 700_000 + *seed as usize * 1000));
    }
    site
}

async fn names_of(site: &Site, repo: &str, seed: u64) -> Names {
    Names::of(site, repo, noise(seed, 700_000 + seed as usize * 1000)).await
}

async fn opened(site: &mut Site, address: Ipv4Addr) -> (String, SocketAddr) {
    let endpoint = site.open_at((address, 0).into()).await;
    let at = endpoint.strip_prefix("http://").and_then(|at| at.parse().ok()).expect("an address");
    (endpoint, at)
}

async fn town() -> Town {
    let switch = Switch::new(Ipv4Addr::new(192, 168, 7, 1), 24);
    // Each lists as its own, for everyone, what the other keeps closed.
    let mut world = with(&[("world/open", 1), ("world/gated", 2), ("world/private", 3), ("world/stolen", 5)]);
    let mut intra = with(&[("intra/open", 4), ("intra/gated", 5), ("intra/private", 6), ("intra/stolen", 2)]);
    let mut home = with(&[("home/open", 7)]);
    let hubs = [opened(&mut world, switch.address()).await, opened(&mut intra, switch.address()).await];
    home.open().await;
    let open = names_of(&world, "world/open", 1).await;
    let near = names_of(&intra, "intra/open", 4).await;
    let mut closed = Vec::new();
    for (site, repo, seed) in [
        (&world, "world/gated", 2),
        (&world, "world/private", 3),
        (&intra, "intra/gated", 5),
        (&intra, "intra/private", 6),
        (&home, "home/open", 7),
    ] {
        closed.push((repo, names_of(site, repo, seed).await));
    }
    home.close().await;
    for (site, name) in [(&world, "world"), (&intra, "intra")] {
        site.restrict(&format!("{name}/gated"), "gated").restrict(&format!("{name}/private"), "private");
        site.log_requests(100_000);
    }
    let tracker = Tracker::start_at(switch.address(), Manner::Honest);
    let other = switch.machine("other", Ipv4Addr::new(192, 168, 7, 2));
    let boot = other.zest(&hubs[0].0, &format!("seed --json --no-lan --bootstrap {}", other.at(6881)));
    let machine = switch.machine("watched", Ipv4Addr::new(192, 168, 7, 3));
    machine.route_all(switch.address());
    // Its own Hub has a copy of that folder.
    let root: PathBuf = machine.home().join("served");
    let dir = root.join("models/home/open/main");
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::copy(home.folder("home/open").join("model.safetensors"), dir.join("model.safetensors"))
        .expect("copied");
    let neighbour = switch.machine("neighbour", Ipv4Addr::new(192, 168, 7, 4));
    let mut neighbour = neighbour.zest(&hubs[1].0, "seed --json --no-lan --no-dht");
    neighbour.env("ZEST_PUBLIC_MIRRORS", &hubs[0].0);
    let (boot, neighbour) = in_background(move || {
        let (mut boot, mut neighbour) = (Running::start(boot), Running::start(neighbour));
        boot.event("indexed");
        neighbour.event("indexed");
        (boot, neighbour)
    })
    .await;
    Town { world, intra, hubs, tracker, machine, boot, neighbour, open, near, closed }
}

impl Town {
    fn ways(&self) -> String {
        let (http, udp) = (&self.tracker.http, &self.tracker.udp);
        format!("-t {http} -t {udp} --bootstrap 192.168.7.2:6881 --json")
    }

    fn dress(&self, mut command: Command) -> Command {
        command.env("ZEST_PUBLIC_MIRRORS", &self.hubs[0].0).env("HF_TOKEN", TOKEN);
        command
    }

    async fn pull(&self, endpoint: &str, repo: &str, more: &str) {
        let command = self.machine.zest(endpoint, &format!("pull {repo} {}{more}", self.ways()));
        let command = self.dress(command);
        let report = in_background(|| Pulling::start(command).report()).await;
        assert!(
            OPEN.contains(&repo) || report["shareable"] == false || repo.ends_with("/stolen"),
            "{repo}: {report}"
        );
    }

    /// Gives what is there, as `words` say, until it was heard of.
    async fn give(&self, capture: &Capture, endpoint: &str, words: &str, offline: bool, heard: Heard) {
        let command = match words.strip_prefix("zest-seed ") {
            Some(words) => self.machine.seed_box(endpoint, &format!("{words} {}", self.ways())),
            None => self.machine.zest(endpoint, &format!("{words} {}", self.ways())),
        };
        let mut command = self.dress(command);
        command.env("HF_HUB_OFFLINE", if offline { "1" } else { "0" });
        let logs = [&self.tracker.http_log, &self.tracker.udp_log].map(|log| (log.clone(), log.all().len()));
        let open = self.open.swarms.clone();
        let what = format!("{words} for {endpoint}, offline {offline}");
        tokio::task::block_in_place(|| {
            let mut seeding = Running::start(command);
            let indexed = seeding.event("indexed");
            println!("{what}: {indexed}");
            // That of the Hub that everybody knows may be given by whom ever, and each Hub's own open one by those who use it.
            let shared = if endpoint == self.hubs[0].0 { 1 } else { 2 };
            assert_eq!(indexed["files_shared"], shared, "{what}");
            match heard {
                Heard::Everywhere => {
                    for (log, before) in &logs {
                        log.wait(&format!("an announce of {what}"), |log| {
                            log[*before..].iter().any(|bytes| open.iter().any(|swarm| names(bytes, swarm)))
                        });
                    }
                }
                Heard::Here => capture.wait(&format!("a call of {what}"), |frame| {
                    frame.is_from(&self.machine) && is_multicast(frame) && self.near.are_in(frame)
                }),
                Heard::Nowhere => {}
            }
            if heard != Heard::Everywhere {
                // A moment, in which it may say more.
                seeding.has_said("status");
            }
            seeding.stop();
        });
    }

    /// Pulls come while something gives that is linked to somebody who speaks of the same Hub: each in a process of its own, and
    /// each taken over by what gives.
    async fn pull_beside(&self, endpoint: &str, peer: &str, pulls: &[(&str, &str)]) {
        let words = format!("serve {} -p {peer}", self.ways());
        let command = self.dress(self.machine.zest(endpoint, &words));
        let mut giving = in_background(|| {
            let mut giving = Running::start(command);
            giving.event("indexed");
            giving
        })
        .await;
        for (hub, repo) in pulls {
            self.pull(hub, repo, " --force-download").await;
            // Without any flag that is for a process of its own, also of a Hub that is not the daemon's.
            let words = format!("pull {repo} --json --force-download");
            let mut command = self.dress(self.machine.zest(hub, &words));
            command.env_remove("ZEST_PUBLIC_MIRRORS");
            let report = in_background(|| Pulling::start(command).report()).await;
            assert!(OPEN.contains(repo) || report["shareable"] == false, "{repo}: {report}");
        }
        let status = self.machine.zest(endpoint, "status --json");
        let status = in_background(|| Pulling::start(status).report()).await;
        let taken_over = status["pulls"].as_array().map_or(0, Vec::len);
        assert_eq!(taken_over, pulls.len(), "{status}");
        assert_ne!(status["stats"]["peers"], 0, "somebody is linked who could hear: {status}");
        in_background(move || {
            giving.has_said("status");
            giving.stop()
        })
        .await;
    }

    /// Looks through all that has passed.
    fn judge(&self, frames: &[Frame]) {
        let to_hub = |frame: &Frame| matches!(frame.carries, Carries::Tcp(_, to) if self.hubs.iter().any(|hub| hub.1 == to));
        let neighbour: SocketAddr = NEIGHBOUR.parse().expect("an address");
        let to_neighbour = |frame: &Frame| matches!(frame.carries, Carries::Tcp(_, to) if to == neighbour);
        let told = frames.iter().filter(|frame| {
            frame.is_from(&self.machine) && frame.carries != Carries::Housekeeping && !to_hub(frame)
        });
        let told: Vec<&Frame> = told.collect();
        println!("{} frames, {} of them from the machine to others than its Hubs", frames.len(), told.len());
        assert!(told.iter().any(|frame| self.open.are_in(frame)), "what may be heard is heard");
        let neighbourly = |frame: &&Frame| to_neighbour(frame) && self.near.are_in(frame);
        assert!(told.iter().any(neighbourly), "and a neighbour what a neighbour may");
        for frame in told {
            for (repo, names) in &self.closed {
                assert!(!names.are_in(frame) && !frame.contains(repo.as_bytes()), "{repo}: {frame:?}");
            }
            let heard = is_multicast(frame) || !self.near.are_in(frame) || to_neighbour(frame);
            assert!(heard, "only this network hears: {frame:?}");
            assert!(!frame.contains(TOKEN.as_bytes()), "{frame:?}");
        }
        for (site, others) in [(&self.world, ["intra/", "home/"]), (&self.intra, ["world/", "home/"])] {
            let asked = site.take_requests();
            assert!(!asked.is_empty());
            for request in asked {
                assert!(!others.iter().any(|other| request.path.contains(other)), "{request:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_is_closed_or_only_near_nobody_hears_in_any_order() {
    if !netns::enter("of_what_is_closed_or_only_near_nobody_hears_in_any_order") {
        return;
    }
    let town = town().await;
    let root = town.machine.home().join("served");
    let hub = town.machine.zest(HOME, &format!("hub --root {} --port 8080 --json", root.display()));
    let home = in_background(move || {
        let mut hub = Running::start(hub);
        hub.event("listening");
        hub
    })
    .await;
    let (world, intra) = (town.hubs[0].0.clone(), town.hubs[1].0.clone());
    let capture = Capture::start();
    for (hub, repo) in [
        (&world[..], "world/gated"),
        (&intra, "intra/gated"),
        (&intra, "intra/stolen"),
        (&world, "world/stolen"),
        (HOME, "home/open"),
        (&intra, "intra/private"),
        (&intra, "intra/open"),
        (&world, "world/private"),
        (&world, "world/open"),
    ] {
        town.pull(hub, repo, "").await;
    }
    // Again, from what is there or from the start, with peers and without.
    for more in [" --force-download", " --no-p2p --force-download"] {
        if more.contains("--no-p2p") {
            // That finds nobody, so no ways are named.
            let command = town.machine.zest(&intra, "pull intra/gated --json --no-p2p --force-download");
            let command = town.dress(command);
            in_background(|| Pulling::start(command).report()).await;
        } else {
            town.pull(&intra, "intra/gated", more).await;
        }
    }
    use Heard::{Everywhere, Here, Nowhere};
    for (hub, words, offline, heard) in [
        (&intra[..], "serve", false, Here),
        (&world, "seed", false, Everywhere),
        (&intra, "seed", true, Here),
        (&world, "seed", true, Everywhere),
        (HOME, "seed", false, Nowhere),
        (&world, "zest-seed --runtime auto --cores 0", false, Everywhere),
        (&intra, "zest-seed --runtime auto --cores 0", false, Here),
        (HOME, "zest-seed --runtime auto --cores 0", false, Nowhere),
        (&world, "zest-seed --runtime tokio", true, Everywhere),
    ] {
        town.give(&capture, hub, words, offline, heard).await;
    }
    let pulls = [
        (&world[..], "world/gated"),
        (&intra, "intra/private"),
        (HOME, "home/open"),
        (&intra, "intra/gated"),
        (&world, "world/private"),
        (&intra, "intra/open"),
    ];
    for (endpoint, peer) in [(&world, BOOT), (&intra, NEIGHBOUR)] {
        town.pull_beside(endpoint, peer, &pulls).await;
    }
    drop(home);
    town.judge(&capture.stop());
    let _outlive_it = (&town.boot, &town.neighbour);
}
