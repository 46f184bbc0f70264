//! What happened: a rolling hash always, the last lines when asked for.

use crate::rng::mix;
use std::collections::VecDeque;
use std::fmt::Write as _;
use zest_core::node::{Action, Event, Source};

/// Lines kept for a failure.
pub(crate) const LINES: usize = 400;

/// The hash of everything that was told to a node, in order, and the last lines of it in words.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    events: u64,
    lines: Option<VecDeque<String>>,
    prints: bool,
}

impl Trace {
    /// A trace that keeps its last lines, and prints all of them if `prints`.
    #[must_use]
    pub fn with_lines(prints: bool) -> Self {
        Self { lines: Some(VecDeque::new()), prints, ..Self::default() }
    }

    /// The hash so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        mix(self.hash ^ self.events)
    }

    /// Events told to nodes so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The last lines, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }

    pub(crate) fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    pub(crate) fn event(&mut self, now: u64, host: u32, event: &Event) {
        self.events += 1;
        let code = code(event) ^ u64::from(host) << 48;
        self.hash = (self.hash.rotate_left(7) ^ now ^ code).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if self.is_on() {
            self.line(now, host, '<', &format!("{event:?}"));
        }
    }

    pub(crate) fn action(&mut self, now: u64, host: u32, action: &Action) {
        if self.is_on() {
            self.line(now, host, '>', &format!("{action:?}"));
        }
    }

    /// Something that is no node's event or action.
    pub(crate) fn note(&mut self, now: u64, host: u32, what: &str) {
        self.line(now, host, '*', what);
    }

    fn line(&mut self, now: u64, host: u32, mark: char, what: &str) {
        let Some(lines) = &mut self.lines else { return };
        let (name, rest) = what.split_once([' ', '{']).unwrap_or((what, ""));
        let mut line = String::new();
        let (seconds, micros) = (now / 1_000_000_000, now / 1000 % 1_000_000);
        let rest = shorten(rest);
        let _ = write!(line, "{seconds:>5}.{micros:06} {host:>5} {mark} {name:<16} {rest}");
        if self.prints {
            println!("{line}");
        }
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// Cuts what makes lines unreadable: long hashes and lists. Numbers stay whole.
fn shorten(text: &str) -> String {
    let mut out = String::new();
    let mut words = text.split_inclusive(|c: char| !c.is_ascii_hexdigit());
    while let Some(word) = words.next().filter(|_| out.len() < 200) {
        let digits = word.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        let is_hash = digits.len() > 8 && !digits.bytes().all(|digit| digit.is_ascii_digit());
        out.push_str(if is_hash { &digits[..8] } else { digits });
        out.push_str(&word[digits.len()..]);
    }
    if words.next().is_some() {
        out.push('…');
    }
    out
}

fn source(source: &Source) -> u64 {
    match source {
        Source::Disk => 1,
        Source::Peer(link) => 2 + link.0,
        Source::Origin => 0,
    }
}

/// A number for each event that tells it from its like.
fn code(event: &Event) -> u64 {
    match event {
        Event::PeerFound { addr, .. } => 1 << 40 | u64::from(addr.port()),
        Event::DialFailed { addr } => 2 << 40 | u64::from(addr.port()),
        Event::LinkUp { link, .. } => 3 << 40 | link.0,
        Event::LinkDown { link, .. } => 4 << 40 | link.0,
        Event::Message { link, .. } => 5 << 40 | link.0,
        Event::Payload { req, .. } => 6 << 40 | u64::from(req.0),
        Event::BlockFromPeer { req, .. } => 7 << 40 | u64::from(req.0),
        Event::Sent { link, bytes } => 8 << 40 | link.0 ^ bytes << 8,
        Event::UploadBudget { bytes } => 9 << 40 | bytes.unwrap_or(0),
        Event::ChunkLocated { req, .. } => 10 << 40 | u64::from(req.0),
        Event::ManifestLocated { req, .. } => 11 << 40 | u64::from(req.0),
        Event::FileLocated { link, .. } => 12 << 40 | link.0,
        Event::XorbLocated { link, .. } => 13 << 40 | link.0,
        Event::JobAdded { job, .. } => 14 << 40 | u64::from(job.0),
        Event::JobPlanned { job, .. } => 15 << 40 | u64::from(job.0),
        Event::JobManifest { job, .. } => 16 << 40 | u64::from(job.0),
        Event::BlockListed { block, .. } => 17 << 40 | u64::from(*block),
        Event::BlockListBad { block, .. } => 18 << 40 | u64::from(*block),
        Event::JobPaused { job, .. } => 19 << 40 | u64::from(job.0),
        Event::ManifestBad { job, .. } => 20 << 40 | u64::from(job.0),
        Event::OriginGone { job, .. } => 21 << 40 | u64::from(job.0),
        Event::OriginHeard { block, .. } => 43 << 40 | u64::from(*block),
        Event::OriginEnded { block, .. } => 22 << 40 | u64::from(*block),
        Event::ChunkDone { index, source: from, .. } => 23 << 40 | u64::from(*index) ^ source(from) << 20,
        Event::ChunkBad { index, source: from, .. } => 24 << 40 | u64::from(*index) ^ source(from) << 20,
        Event::JobReopened { job, .. } => 25 << 40 | u64::from(job.0),
        Event::JobRemoved { job } => 26 << 40 | u64::from(job.0),
        Event::Timer => 27 << 40,
        Event::PlainWanted { plain, .. } => 47 << 40 | u64::from(plain.0),
        Event::PlainBad { plain, .. } => 48 << 40 | u64::from(plain.0),
        Event::PlainOver { plain } => 49 << 40 | u64::from(plain.0),
        Event::PlainLocated { req, .. } => 50 << 40 | u64::from(req.0),
        Event::OwnAddress { addr } => 28 << 40 | u64::from(addr.port()),
        Event::Networks { ours } => 41 << 40 | ours.len() as u64,
        Event::ChunkHashed { block, nth, .. } => 42 << 40 | u64::from(*block) << 20 ^ u64::from(*nth),
        Event::TentativeKept { block, nth, .. } => 43 << 40 | u64::from(*block) << 20 ^ u64::from(*nth),
        Event::TentativeBad { block, nth, .. } => 44 << 40 | u64::from(*block) << 20 ^ u64::from(*nth),
        Event::TentativeLost { block, .. } => 45 << 40 | u64::from(*block),
        Event::Seeking { on } => 40 << 40 | u64::from(*on),
        Event::JobLooking { job, .. } => 29 << 40 | u64::from(job.0),
        Event::JobFront { job, .. } => 30 << 40 | u64::from(job.0),
        Event::JobAwaited { job, .. } => 42 << 40 | u64::from(job.0),
        Event::Intake { link, .. } => 31 << 40 | link.0,
        Event::JobPriority { job, .. } => 32 << 40 | u64::from(job.0),
        Event::JobPolicy { job, .. } => 46 << 40 | u64::from(job.0),
        Event::Settings { upload_bytes_s, .. } => 33 << 40 | upload_bytes_s.unwrap_or(0),
    }
}
