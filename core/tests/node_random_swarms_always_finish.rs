//! Hundreds of random worlds: honest, lying, mute, refusing and stalling peers, links that break, an origin that fails,
//! manifests and layouts at any time. The node's own check runs after every event; a job with one honest source that has
//! everything must be complete in the end. A failure prints its seed: `SEED=… cargo test` plays that one alone.

#[path = "common/swarm.rs"]
mod swarm;

use std::sync::Arc;
use swarm::*;
use zest_core::link::{Message, PeerFault, ZestMessage};
use zest_core::node::{BitSet, Config, Event, FaultKind, OriginFault};
use zest_core::{Duration, FileKey, JobId, PeerId, ReqId};

/// Worlds of one run.
const SEEDS: u64 = 600;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u32) -> u32 {
        (self.next() % u64::from(end.max(1))) as u32
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize].clone()
    }
}

fn honest(dice: &mut Dice) -> Script {
    let rate = dice.pick(&[0.5, 3.0, 20.0, 100.0, 500.0]);
    Script { latency: ms(dice.pick(&[0, 1, 10, 80])), ..Script::fast().at(rate) }
}

fn anyone(dice: &mut Dice) -> Script {
    let mut script = honest(dice);
    let far = dice.below(300);
    script.zest = !dice.one_in(4);
    script.ranges_only = !script.zest && dice.one_in(2);
    script.greets = if dice.one_in(6) { None } else { Some(ms(u64::from(dice.below(300)))) };
    script.dials =
        dice.pick(&[Dials::Answered, Dials::Answered, Dials::Answered, Dials::Refused, Dials::Swallowed]);
    script.has = dice.pick(&[
        None,
        Some((None, vec![(0, u32::MAX)])),
        Some((None, vec![(far, 50), (far + 60, 7)])),
        Some((Some(0), vec![])),
        Some((Some(far), vec![(0, far)])),
        Some((Some(u32::MAX), vec![(0, u32::MAX)])),
    ]);
    script.manifests = dice.pick(&[
        Manifests::Given,
        Manifests::Given,
        Manifests::InParts(1),
        Manifests::Refused,
        Manifests::Silent,
        Manifests::Wrong,
        Manifests::Nonsense,
        Manifests::SilentAfter(1),
    ]);
    script.chunks = dice.pick(&[
        Chunks::Good,
        Chunks::Mute,
        Chunks::NotFound,
        Chunks::WrongEvery(1),
        Chunks::WrongEvery(20),
        Chunks::SilentAfter(far / 3),
        Chunks::Only(vec![(far, 90)]),
    ]);
    script.blocks = dice.pick(&[Chunks::Good, Chunks::Mute, Chunks::NotFound, Chunks::WrongEvery(1)]);
    if dice.one_in(5) {
        script.chunk_time = ms(u64::from(dice.below(4000)));
    }
    script
}

fn origin(dice: &mut Dice, honest: bool) -> Option<Origin> {
    if !honest && dice.one_in(3) {
        return None;
    }
    let mut origin = Origin::healthy();
    origin.plan = Some(ms(u64::from(dice.below(400))));
    origin.chunk_time = Duration::from_micros(dice.pick(&[100, 1000, 20_000]));
    // Fewer faults in a row, with the wrong chunks, than end a block's patience.
    for _ in 0..dice.below(3) {
        let pause = dice.one_in(3).then(|| Duration::from_secs(u64::from(dice.below(5))));
        let fault = OriginFault { retry_after: pause, ..fault("cut") };
        origin.faults.insert(dice.below(6), (dice.below(40), fault));
    }
    for _ in 0..dice.below(4) {
        origin.wrong.insert(dice.below(300), 1 + dice.below(2));
    }
    if !honest && dice.one_in(2) {
        let kind = if dice.one_in(2) { FaultKind::Permanent } else { FaultKind::Unreachable };
        origin.faults_from = Some((dice.below(4), OriginFault { kind, ..fault("gone for good") }));
    }
    if !honest && dice.one_in(4) {
        origin.plan = None;
    }
    Some(origin)
}

struct Case {
    world: World,
    dice: Dice,
    jobs: Vec<(JobId, Arc<File>)>,
    /// The honest source of every job: the origin, or the peer at port 1.
    by_origin: bool,
    cuts: u32,
    reopened: u32,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut config = Config::new([seed as u8; 32], PeerId([seed as u8; 20]));
        config.origin_fetches_max = dice.pick(&[1, 2, 8]);
        config.origin_fetches_limit = config.origin_fetches_max;
        config.copies_max = dice.pick(&[1, 4, 32]);
        config.origin_grace = ms(dice.pick(&[0, 20, 150]));
        config.origin_joins_below_bytes_s = dice.pick(&[0, 60_000_000, u64::MAX]);
        let by_origin = dice.one_in(2);
        let mut case =
            Self { world: World::with(config), dice, jobs: vec![], by_origin, cuts: 0, reopened: 0 };
        // A seed that is played alone tells its story.
        case.world.tracing = std::env::var("SEED").is_ok();
        for port in 2..2 + case.dice.below(6) as u16 {
            let script = anyone(&mut case.dice);
            case.world.peer(port, script);
        }
        if !by_origin {
            let script = honest(&mut case.dice);
            case.world.peer(1, script);
        }
        for _ in 0..=case.dice.below(2) {
            case.add_job();
        }
        case
    }

    fn add_job(&mut self) {
        // A peer has nothing to tell of an empty file.
        let chunks = self.dice.pick(&[u32::from(!self.by_origin), 1, 5, 64, 65, 200, 300]);
        let file = File::new(self.jobs.len() as u8 + 1, chunks);
        self.world.front = self.front();
        let origin = origin(&mut self.dice, self.by_origin);
        let job = self.world.job(&file, origin);
        let task = self.world.tasks.get_mut(&job).unwrap();
        for _ in 0..self.dice.below(3) {
            let (first, count) = (self.dice.below(chunks), self.dice.below(40));
            let good = !self.dice.one_in(4);
            task.local.extend((first..(first + count).min(chunks)).map(|index| (index, good)));
        }
        if self.dice.one_in(3) {
            task.disk.extend((0..chunks).filter(|_| self.dice.one_in(5)));
        }
        self.jobs.push((job, file));
    }

    /// Bytes that are wanted first: often none, seldom too many.
    fn front(&mut self) -> u64 {
        self.dice.pick(&[0, 0, 8, 1 << 20, 6 << 20, u64::MAX])
    }

    /// Something that nobody asked for.
    fn disturb(&mut self) {
        let (job, file) = self.dice.pick(&self.jobs);
        let links: Vec<_> =
            self.world.remotes.iter().filter(|(_, r)| r.open).map(|(link, _)| *link).collect();
        let link = (!links.is_empty()).then(|| self.dice.pick(&links));
        let of_honest = |link| !self.by_origin && self.world.remotes[&link].addr == addr(1);
        match (self.dice.below(10), link) {
            (0 | 1, Some(link)) if !of_honest(link) || self.cuts < 3 => {
                self.cuts += u32::from(of_honest(link));
                let strike = Some(PeerFault::EmptyAnswer { req: ReqId(1) });
                let fault = if self.dice.one_in(3) && !of_honest(link) { strike } else { None };
                self.world.cut(link, fault);
            }
            (2, Some(link)) if !of_honest(link) => {
                let total = self.dice.pick(&[0, 1, file.len(), u32::MAX]);
                let first = self.dice.below(300);
                let message = match self.dice.one_in(2) {
                    true => Message::Zest(ZestMessage::Have {
                        file: file.hash(),
                        total,
                        runs: vec![(first.min(total), 9)],
                    }),
                    false => Message::Zest(ZestMessage::HaveMore {
                        file: FileKey::of(&file.hash()),
                        runs: vec![(first / 2, 1), (first + 2, 30)],
                    }),
                };
                self.world.says(link, message);
            }
            (3, Some(link)) if !of_honest(link) => {
                let script = anyone(&mut self.dice);
                self.world.remotes.get_mut(&link).unwrap().script.chunks = script.chunks;
            }
            (4, _) => {
                let script = anyone(&mut self.dice);
                let port = 100 + self.dice.below(40) as u16;
                self.world.visitor(port, script);
            }
            (5, _) if !self.world.task(job).removed => {
                let mut held = BitSet::empty(file.len());
                self.world.task(job).disk.iter().for_each(|index| {
                    held.insert(*index);
                });
                let manifest = file.manifest.clone();
                self.world.handle(Event::JobManifest { job, manifest, held, local: vec![] });
            }
            (6, _) if !self.by_origin && !self.world.task(job).removed => {
                let why = OriginFault { kind: FaultKind::Permanent, ..fault("gone") };
                self.world.handle(Event::OriginGone { job, why });
            }
            (7, _) if self.jobs.len() < 6 && self.dice.one_in(3) => self.add_job(),
            (8, _) if self.jobs.len() > 1 && self.dice.one_in(4) && !self.world.task(job).removed => {
                self.world.remove(job);
            }
            (9, _) if !self.world.task(job).removed => {
                let bytes = self.front();
                self.world.handle(Event::JobFront { job, bytes });
            }
            _ => {}
        }
        let complete = self.world.task(job).complete.is_some() && !self.world.task(job).removed;
        if complete && self.reopened < 3 && file.len() > 0 && self.dice.one_in(2) {
            self.reopened += 1;
            let missing: Vec<u32> = (0..=self.dice.below(5)).map(|_| self.dice.below(file.len())).collect();
            let task = self.world.tasks.get_mut(&job).unwrap();
            task.complete = None;
            task.disk.retain(|index| !missing.contains(index));
            self.world.handle(Event::JobReopened { job, missing });
        }
    }

    fn play(mut self) {
        for _ in 0..self.dice.below(40) {
            let pause = Duration::from_micros(self.dice.pick(&[100, 3000, 50_000, 600_000]));
            self.world.run(pause, |_| false);
            self.disturb();
        }
        // Then peace: everything must come to its end.
        let trace = std::mem::take(&mut self.world.trace);
        trace.iter().for_each(|line| println!("{line}"));
        for (job, _) in self.jobs.clone() {
            let over = |w: &World| {
                w.task(job).removed || w.task(job).complete.is_some() || w.task(job).failed.is_some()
            };
            let before = self.world.timers;
            assert!(self.world.run(Duration::from_secs(300), over), "{job:?} hangs: {:#?}", self.world.node);
            assert_eq!(self.world.task(job).failed, None, "{job:?} had an honest source");
            assert!(self.world.timers - before < 20_000, "timers wake it too often");
            if !self.world.task(job).removed {
                self.world.remove(job);
            }
        }
        self.world.run(Duration::from_secs(60), |_| false);
        assert_eq!(self.world.buffers_out(), 0, "every buffer came back");
        let idle = self.world.timers;
        self.world.run(Duration::from_secs(1000), |_| false);
        assert!(self.world.timers - idle < 10, "a node without jobs sleeps");
    }
}

#[test]
fn random_swarms_always_finish() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("a number");
            seed..seed + 1
        }
        Err(_) => 0..std::env::var("SEEDS").map_or(SEEDS, |n| n.parse().expect("a number")),
    };
    for seed in seeds {
        let played = std::panic::catch_unwind(|| Case::new(seed).play());
        if let Err(panic) = played {
            eprintln!("SEED={seed} cargo test -p zest-core --test node_random_swarms_always_finish");
            std::panic::resume_unwind(panic);
        }
    }
}
