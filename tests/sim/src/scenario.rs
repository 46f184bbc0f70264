//! What a run is made of. Everything about a world follows from one [`Scenario`]: same scenario, same trace.

use crate::actors::Actor;
use crate::finding::Finding;
use crate::rng::Rng;
use std::fmt;
use zest_core::node::{Found, Policy};

/// A microsecond of virtual time, in nanoseconds.
pub const US: u64 = 1000;
/// A millisecond.
pub const MS: u64 = 1000 * US;
/// A second.
pub const SEC: u64 = 1000 * MS;

/// Who knows the chunk list at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// One node has the manifest, and no data.
    Warm,
    /// Nobody: nodes prove the chunk list of each xorb, and the file at its end.
    Cold,
}

/// Kinds of trouble that can be switched off one by one while a failure is shrunk. Each has its own dice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subsystem {
    /// Resets, clogs, partitions, NAT, lost datagrams, jitter.
    Net,
    /// Slow, full, rotten and short disks, torn journals.
    Disk,
    /// Refusals, stalls, cuts and wrong bytes of the origin.
    Origin,
    /// Leaving, crashing and returning nodes.
    Churn,
    /// Peers that are no honest nodes.
    Liars,
    /// Jumps of clocks.
    Clock,
    /// Limits at their minimum, upload caps and budgets, pauses.
    Limits,
    /// Chunks that lie elsewhere on the machine, partial files of an earlier run.
    Local,
    /// Random segmentation of byte streams.
    Segments,
}

impl Subsystem {
    /// All of them, in the order in which shrinking tries them.
    pub const ALL: [Self; 9] = [
        Self::Liars,
        Self::Churn,
        Self::Disk,
        Self::Net,
        Self::Origin,
        Self::Clock,
        Self::Limits,
        Self::Local,
        Self::Segments,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Disk => "disk",
            Self::Origin => "origin",
            Self::Churn => "churn",
            Self::Liars => "liars",
            Self::Clock => "clock",
            Self::Limits => "limits",
            Self::Local => "local",
            Self::Segments => "segments",
        }
    }
}

/// Network of the world. Rates in bytes/s, times in nanoseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct NetOptions {
    /// Uplink of a node.
    pub up_bytes_s: u64,
    /// Downlink of a node.
    pub down_bytes_s: u64,
    /// Nodes out of 1,000 whose uplink is a tenth of that.
    pub slow_permille: u32,
    /// One-way latency between any two.
    pub latency_ns: u64,
    /// Added to each message at random, at most.
    pub jitter_ns: u64,
    /// Bytes that a socket takes from a node before they are on the wire and acknowledged.
    pub socket_bytes: u32,
    /// Nodes hear of bytes when they are sent, not when the socket takes them (`TCP_NOTSENT_LOWAT`).
    pub lowat: bool,
    /// Nodes out of 1,000 that cannot be dialled.
    pub nat_permille: u32,
    /// Links out of 1,000 that are reset at some time.
    pub reset_permille: u32,
    /// Links out of 1,000 that stand still for a while at some time.
    pub clog_permille: u32,
    /// Datagrams out of 1,000 that are lost.
    pub lost_permille: u32,
    /// When the world falls into two halves, and when it heals.
    pub partition_ns: Option<(u64, u64)>,
}

/// The origin. Rates in bytes/s.
#[derive(Debug, Clone, PartialEq)]
pub struct OriginOptions {
    /// All connections together.
    pub total_bytes_s: Option<u64>,
    /// What one node gets.
    pub node_bytes_s: Option<u64>,
    /// What one connection gets.
    pub conn_bytes_s: Option<u64>,
    /// Connections of a node; what is beyond is answered with 503.
    pub conns_max: Option<u32>,
    /// From a request to the first byte.
    pub first_byte_ns: u64,
    /// From the start of a job to its layout.
    pub plan_ns: u64,
    /// Fetches out of 1,000 that are refused with 429 and a pause.
    pub busy_permille: u32,
    /// Fetches out of 1,000 that are answered with 503.
    pub error_permille: u32,
    /// Fetches out of 1,000 that begin and then stand still.
    pub stall_permille: u32,
    /// Fetches out of 1,000 that are cut in the middle.
    pub cut_permille: u32,
    /// Chunks out of 1,000 that are wrong.
    pub wrong_permille: u32,
    /// When the signed addresses of a layout run out: each fetch after that fails once.
    pub expires_ns: Option<u64>,
    /// The faults above end here.
    pub faults_end_ns: u64,
    /// When it is out of reach: nodes that start then are told that it is gone, every fetch fails.
    pub gone_ns: Option<(u64, u64)>,
    /// When a part of it does not answer, or says that it cannot, though it will again.
    pub outage: Option<Outage>,
}

/// What is out for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The origin's bytes.
    Cdn,
    /// Layouts of files.
    Cas,
    /// Everything that leaves a machine, for all of them.
    Whole,
}

impl Line {
    /// Its name in the table of quality.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cdn => "CDN",
            Self::Cas => "CAS",
            Self::Whole => "line",
        }
    }
}

/// An outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// What is out.
    pub what: Line,
    /// From when.
    pub from_ns: u64,
    /// To when.
    pub until_ns: u64,
    /// The origin answers 503 meanwhile; else nobody answers at all.
    pub busy: bool,
}

/// What may go wrong with the nodes themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct ChurnOptions {
    /// Nodes out of 1,000 that go for good.
    pub leave_permille: u32,
    /// Nodes out of 1,000 that crash and come back with what their journal says.
    pub crash_permille: u32,
    /// Chunks out of 1,000 that rot on disk while their machine is down.
    pub rot_permille: u32,
    /// They do so between these times.
    pub between_ns: (u64, u64),
    /// Nodes that are done leave after this time, all of them.
    pub stays_ns: Option<u64>,
    /// Nodes out of 1,000 whose clock jumps forward by up to an hour.
    pub jump_permille: u32,
    /// Nodes out of 1,000 that are not run for a while, up to three times: a host that is asleep, starved or suspended.
    pub freeze_permille: u32,
    /// For so long each time.
    pub frozen_ns: (u64, u64),
}

/// Disks of the nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskOptions {
    /// Proving and writing a chunk.
    pub write_ns: u64,
    /// Nodes out of 1,000 whose disk takes a hundred times as long.
    pub slow_permille: u32,
    /// Nodes out of 1,000 whose disk is full for a while in the middle.
    pub full_permille: u32,
    /// Nodes out of 1,000 that read wrong bytes now and then.
    pub rotten_permille: u32,
    /// Nodes out of 1,000 that cannot read to the end of a chunk now and then.
    pub short_permille: u32,
}

/// One run. `Scenario::run` is how a person describes one, [`Scenario::from_seed`] how a seed does.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// All randomness of the run.
    pub seed: u64,
    /// Honest nodes.
    pub nodes: u32,
    /// Chunks of the file (of the first one).
    pub chunks: u32,
    /// Files; every node wants all of them.
    pub files: u32,
    /// Small files beside them that are not in Xet; every node wants all of them, too.
    pub plain: u32,
    /// Chunks of a xorb.
    pub block: u32,
    /// Bytes of every chunk; `None`: content-defined.
    pub chunk_bytes: Option<u32>,
    /// Bytes of the header that each file begins with, as one of safetensors does; 0: none. A job wants its length first, eight bytes, and
    /// then all of it.
    pub header_bytes: u64,
    /// Origin policy of every node.
    pub policy: Policy,
    /// Policies that files have in place of that, in turn; empty: none has one of its own.
    pub file_policies: Vec<Option<Policy>>,
    /// Pulls that the files of a node are of, in turn.
    pub pulls: u32,
    /// Who knows the manifest.
    pub start: Start,
    /// Nodes that have everything from the start.
    pub seeds: u32,
    /// They leave when so much time has passed.
    pub seeds_leave_ns: Option<u64>,
    /// Others, beside the honest nodes.
    pub actors: Vec<(Actor, u32)>,
    /// All nodes start within this time.
    pub spread_ns: u64,
    /// Addresses that the tracker gives a node; 0: discovery fails.
    pub known: u32,
    /// How nodes learn of each other: as neighbours on one network are found, or from a tracker's list, which strangers may fill
    /// and which is therefore followed at a slow pace.
    pub told: Found,
    /// What all fetch is shown by a Hub that not everybody knows, and which they name to each other: nobody else hears of it.
    pub near: bool,
    /// The tracker is asked again after this time.
    pub announce_ns: u64,
    /// Nobody tells of anybody: machines find each other ([`Scenario::known`] is 0 then).
    pub finding: Option<Finding>,
    /// Network.
    pub net: NetOptions,
    /// Origin.
    pub origin: OriginOptions,
    /// Leaving and crashing.
    pub churn: ChurnOptions,
    /// Disks.
    pub disk: DiskOptions,
    /// Nodes out of 1,000 with an upload cap, a budget, or limits at their minimum.
    pub limits_permille: u32,
    /// Nodes out of 1,000 that have part of the file already.
    pub local_permille: u32,
    /// Bytes through real links instead of whole messages.
    pub bytes: bool,
    /// Streams are cut at random places (byte mode).
    pub segments: bool,
    /// Every which event is followed by a check of all promises; 0: only at the end.
    pub check_every: u32,
    /// A run that takes longer has failed.
    pub limit_ns: u64,
    /// A node that needs longer from its start has failed, if this is asked.
    pub within_ns: Option<u64>,
    /// What was switched off.
    pub off: Vec<Subsystem>,
}

impl Scenario {
    /// A flash crowd at the scale of the quality table: 64 MiB in chunks of 64 KiB, links and origin of 5 MB/s, so that
    /// the fluid bound is about 13 s, as for 16 GB at 10 Gbit/s.
    #[must_use]
    pub fn crowd(seed: u64, nodes: u32) -> Self {
        Self {
            seed,
            nodes,
            chunks: 1024,
            files: 1,
            plain: 0,
            block: 16,
            chunk_bytes: Some(64 << 10),
            header_bytes: 0,
            policy: Policy::SpareOrigin,
            file_policies: Vec::new(),
            pulls: 1,
            start: Start::Warm,
            seeds: 0,
            seeds_leave_ns: None,
            actors: Vec::new(),
            spread_ns: SEC,
            known: 40,
            told: Found::Lan,
            near: false,
            announce_ns: 30 * SEC,
            finding: None,
            net: NetOptions {
                up_bytes_s: 5_000_000,
                down_bytes_s: 5_000_000,
                slow_permille: 0,
                latency_ns: 500 * US,
                jitter_ns: 0,
                socket_bytes: 256 << 10,
                lowat: true,
                nat_permille: 0,
                reset_permille: 0,
                clog_permille: 0,
                lost_permille: 0,
                partition_ns: None,
            },
            origin: OriginOptions {
                total_bytes_s: Some(5_000_000),
                node_bytes_s: None,
                conn_bytes_s: None,
                conns_max: None,
                first_byte_ns: 20 * MS,
                plan_ns: 50 * MS,
                busy_permille: 0,
                error_permille: 0,
                stall_permille: 0,
                cut_permille: 0,
                wrong_permille: 0,
                expires_ns: None,
                faults_end_ns: 0,
                gone_ns: None,
                outage: None,
            },
            churn: ChurnOptions {
                leave_permille: 0,
                crash_permille: 0,
                rot_permille: 0,
                between_ns: (SEC, 12 * SEC),
                stays_ns: None,
                jump_permille: 0,
                freeze_permille: 0,
                frozen_ns: (500 * MS, 5 * SEC),
            },
            disk: DiskOptions {
                write_ns: 100 * US,
                slow_permille: 0,
                full_permille: 0,
                rotten_permille: 0,
                short_permille: 0,
            },
            limits_permille: 0,
            local_permille: 0,
            bytes: false,
            segments: false,
            check_every: 0,
            limit_ns: 900 * SEC,
            within_ns: None,
            off: Vec::new(),
        }
    }

    /// The same with a file as large as life: 512 MiB in xorbs of 64 MiB (1,000 chunks), lines of 1 Gbit/s, and an origin of so many MB/s.
    #[must_use]
    pub fn real(seed: u64, nodes: u32, origin_mb_s: u64) -> Self {
        let mut scenario = Self { chunks: 8000, block: 1000, ..Self::crowd(seed, nodes) };
        (scenario.net.up_bytes_s, scenario.net.down_bytes_s) = (125_000_000, 125_000_000);
        scenario.net.latency_ns = 50_000;
        scenario.origin.total_bytes_s = Some(origin_mb_s * 1_000_000);
        scenario
    }

    /// A small world full of trouble: 8 to 24 peers, every knob from the seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::of(seed, "scenario");
        let rng = &mut rng;
        let peers = rng.within(8, 24) as u32;
        let mut s = Self::crowd(seed, peers);
        s.check_every = rng.pick(&[1, 5, 5, 5]);
        s.limit_ns = 3600 * SEC;
        s.chunks = rng.pick(&[1, 5, 7, 12, 16, 24, 33, 48]);
        s.files = rng.pick(&[1, 1, 1, 2, 3]);
        s.block = rng.pick(&[1, 4, 8, 16]);
        s.plain = Rng::of(seed, "scenario small files").pick(&[0, 0, 1, 6]);
        s.chunk_bytes = rng.pick(&[None, Some(64 << 10)]);
        s.header_bytes = Rng::of(seed, "scenario header").pick(&[0, 0, 8, 200_000]);
        s.policy = rng.pick(&[Policy::Fastest, Policy::SpareOrigin, Policy::SpareOrigin]);
        s.start = rng.pick(&[Start::Warm, Start::Cold]);
        s.spread_ns = rng.pick(&[0, 100 * MS, SEC, 5 * SEC]);
        s.known = rng.pick(&[0, 1, 3, 8, 40, 40]);
        s.told = if seed.is_multiple_of(2) { Found::Lan } else { Found::Tracker };
        s.announce_ns = rng.pick(&[2 * SEC, 30 * SEC]);
        s.trouble_net(&mut Rng::of(seed, "scenario net"));
        s.trouble_origin(&mut Rng::of(seed, "scenario origin"));
        s.trouble_disk(&mut Rng::of(seed, "scenario disk"));
        s.trouble_churn(&mut Rng::of(seed, "scenario churn"));
        let mut policies = Rng::of(seed, "scenario policies");
        if policies.one_in(3) {
            let any = [None, Some(Policy::Fastest), Some(Policy::SpareOrigin)];
            s.file_policies = (0..s.files).map(|_| policies.pick(&any)).collect();
        }
        s.pulls = Rng::of(seed, "scenario pulls").pick(&[1, 2, 3]);
        let mut limits = Rng::of(seed, "scenario limits");
        s.limits_permille = limits.pick(&[0, 0, 300, 1000]);
        let mut local = Rng::of(seed, "scenario local");
        s.local_permille = local.pick(&[0, 0, 300]);
        let mut outage = Rng::of(seed, "scenario outage");
        if outage.one_in(5) {
            s.trouble_line(&mut outage);
        }
        let mut liars = Rng::of(seed, "scenario liars");
        if liars.one_in(2) {
            let others = 1 + liars.below(u64::from(peers / 2)) as u32;
            s.nodes -= others;
            for _ in 0..others {
                s.actors.push((liars.pick(&Actor::ALL), 1));
            }
        }
        s
    }

    /// As [`Scenario::from_seed`], with real bytes through real links.
    #[must_use]
    pub fn bytes_from_seed(seed: u64) -> Self {
        let mut s = Self::from_seed(seed);
        s.bytes = true;
        s.segments = true;
        s.nodes = s.nodes.min(10);
        s.actors.truncate(4);
        s
    }

    fn trouble_net(&mut self, rng: &mut Rng) {
        let net = &mut self.net;
        net.up_bytes_s = rng.pick(&[1_000_000, 5_000_000, 100_000_000]);
        net.down_bytes_s = rng.pick(&[1_000_000, 5_000_000, 100_000_000]);
        net.slow_permille = rng.pick(&[0, 0, 200]);
        net.latency_ns = rng.pick(&[0, 100 * US, 500 * US, 10 * MS, 80 * MS]);
        net.jitter_ns = rng.pick(&[0, 0, 2 * MS]);
        net.socket_bytes = rng.pick(&[16 << 10, 256 << 10, 4 << 20]);
        net.lowat = rng.one_in(2);
        net.nat_permille = rng.pick(&[0, 0, 400]);
        net.reset_permille = rng.pick(&[0, 0, 150]);
        net.clog_permille = rng.pick(&[0, 0, 150]);
        net.lost_permille = rng.pick(&[0, 0, 300]);
        if rng.one_in(6) {
            let from = rng.below(3 * SEC);
            net.partition_ns = Some((from, from + rng.within(100 * MS, 40 * SEC)));
        }
    }

    fn trouble_origin(&mut self, rng: &mut Rng) {
        let origin = &mut self.origin;
        origin.total_bytes_s = rng.pick(&[None, Some(2_000_000), Some(5_000_000)]);
        origin.node_bytes_s = rng.pick(&[None, None, Some(2_000_000)]);
        origin.conn_bytes_s = rng.pick(&[None, None, Some(1_000_000)]);
        origin.first_byte_ns = rng.pick(&[MS, 20 * MS, 200 * MS]);
        origin.plan_ns = rng.pick(&[MS, 50 * MS, 800 * MS]);
        if rng.one_in(2) {
            origin.busy_permille = rng.pick(&[0, 0, 100]);
            origin.error_permille = rng.pick(&[0, 0, 100]);
            origin.stall_permille = rng.pick(&[0, 0, 100]);
            origin.cut_permille = rng.pick(&[0, 0, 150]);
            origin.wrong_permille = rng.pick(&[0, 0, 20]);
            origin.expires_ns = rng.pick(&[None, Some(SEC)]);
            origin.faults_end_ns = 10 * SEC;
        }
        if rng.one_in(12) {
            self.seeds = 1;
            self.seeds_leave_ns = rng.pick(&[None, None, Some(SEC), Some(4 * SEC)]);
            origin.gone_ns = Some((0, u64::MAX));
        }
    }

    fn trouble_line(&mut self, rng: &mut Rng) {
        let what = rng.pick(&[Line::Cdn, Line::Cas, Line::Whole]);
        let from_ns = rng.below(5 * SEC);
        // Up to ten times what a line was waited for once, and a night that no clock knows of.
        let until_ns = from_ns + rng.pick(&[2, 8, 30, 120, 400]) * SEC;
        let busy = what != Line::Whole && rng.one_in(2);
        self.origin.outage = Some(Outage { what, from_ns, until_ns, busy });
    }

    fn trouble_disk(&mut self, rng: &mut Rng) {
        let disk = &mut self.disk;
        disk.write_ns = rng.pick(&[0, 100 * US, 2 * MS]);
        if rng.one_in(2) {
            disk.slow_permille = rng.pick(&[0, 200]);
            disk.full_permille = rng.pick(&[0, 0, 200]);
            disk.rotten_permille = rng.pick(&[0, 0, 150]);
            disk.short_permille = rng.pick(&[0, 0, 150]);
        }
    }

    fn trouble_churn(&mut self, rng: &mut Rng) {
        let churn = &mut self.churn;
        if rng.one_in(2) {
            churn.leave_permille = rng.pick(&[0, 200, 500]);
            churn.crash_permille = rng.pick(&[0, 200, 500]);
            churn.between_ns = (0, rng.pick(&[2 * SEC, 10 * SEC]));
            churn.stays_ns = rng.one_in(4).then_some(SEC);
        }
        churn.rot_permille = Rng::of(self.seed, "scenario rot").pick(&[0, 0, 20, 200]);
        let mut clock = Rng::of(self.seed, "scenario clock");
        churn.jump_permille = clock.pick(&[0, 0, 0, 200]);
        let mut freeze = Rng::of(self.seed, "scenario freeze");
        churn.freeze_permille = freeze.pick(&[0, 0, 300, 1000]);
        churn.frozen_ns = freeze.pick(&[(50 * MS, SEC), (500 * MS, 5 * SEC), (5 * SEC, 60 * SEC)]);
    }

    /// The policy that a file has in place of its node's.
    #[must_use]
    pub fn policy_of(&self, file: u32) -> Option<Policy> {
        let at = (file as usize).checked_rem(self.file_policies.len())?;
        self.file_policies[at]
    }

    /// Switches a kind of trouble off.
    pub fn switch_off(&mut self, what: Subsystem) {
        if self.off.contains(&what) {
            return;
        }
        self.off.push(what);
        let calm = Self::crowd(self.seed, self.nodes);
        match what {
            Subsystem::Net => {
                let net = &mut self.net;
                (net.jitter_ns, net.partition_ns) = (0, None);
                (net.nat_permille, net.reset_permille, net.clog_permille, net.lost_permille) = (0, 0, 0, 0);
            }
            Subsystem::Disk => self.disk = calm.disk,
            Subsystem::Origin => {
                let gone_ns = self.origin.gone_ns;
                self.origin = OriginOptions { gone_ns, ..calm.origin };
            }
            Subsystem::Churn => {
                let churn = &self.churn;
                let (jump_permille, freeze_permille, frozen_ns) =
                    (churn.jump_permille, churn.freeze_permille, churn.frozen_ns);
                self.churn = ChurnOptions { jump_permille, freeze_permille, frozen_ns, ..calm.churn };
                self.seeds_leave_ns = None;
            }
            Subsystem::Liars => self.actors.clear(),
            Subsystem::Clock => (self.churn.jump_permille, self.churn.freeze_permille) = (0, 0),
            Subsystem::Limits => self.limits_permille = 0,
            Subsystem::Local => self.local_permille = 0,
            Subsystem::Segments => self.segments = false,
        }
    }

    /// The least time in which everybody can be done: max(F/u_s, F/d_min, N·F/(u_s + Σu)), in nanoseconds. Only honest
    /// nodes count, and seeds as part of Σu.
    #[must_use]
    pub fn bound_ns(&self, file_bytes: u64) -> u64 {
        let file = file_bytes as f64;
        let up = self.net.up_bytes_s as f64;
        let slow = f64::from(self.slow_nodes());
        let ups = up * (f64::from(self.nodes + self.seeds) - slow) + up / 10.0 * slow;
        let down = file / self.net.down_bytes_s as f64;
        let source = match (self.seeds, self.origin.total_bytes_s) {
            (0, Some(total)) => total as f64,
            (seeds, total) => total.map_or(f64::INFINITY, |t| t as f64) + up * f64::from(seeds),
        };
        let all = f64::from(self.nodes) * file
            / (self.origin.total_bytes_s.map_or(f64::INFINITY, |t| t as f64) + ups);
        ((file / source).max(down).max(all) * 1e9) as u64
    }

    /// Honest nodes with a tenth of the uplink: the last ones.
    #[must_use]
    pub fn slow_nodes(&self) -> u32 {
        (u64::from(self.nodes) * u64::from(self.net.slow_permille) / 1000) as u32
    }

    /// The arguments of `zest-sim` that play this run again, if a seed or the command line made it.
    #[must_use]
    pub fn replay(&self, made: Made) -> String {
        let mut line = match made {
            Made::Seed => format!("cargo run -p zest-sim -- --seed {}", self.seed),
            Made::ByteSeed => format!("cargo run -p zest-sim -- --bytes --seed {}", self.seed),
        };
        if !self.off.is_empty() {
            let off: Vec<&str> = self.off.iter().map(|what| what.name()).collect();
            line += &format!(" --off {}", off.join(","));
        }
        line += &format!(" --nodes {}", self.nodes);
        line
    }
}

/// Where a scenario came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// [`Scenario::from_seed`].
    Seed,
    /// [`Scenario::bytes_from_seed`].
    ByteSeed,
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        })
    }
}
