//! Disks: proofs and writes one after another, copies from other files, and what is left after a crash.

use crate::host::End;
use crate::link::{Content, List};
use crate::scenario::SEC;
use crate::world::{Happening, World};
use std::collections::VecDeque;
use zest_core::node::{BitSet, Event, Source};
use zest_core::{BufId, JobId, LinkId, Location};
use zest_xet::safetensors::LEN_BYTES;
use zest_xet::{Ballot, Checked, ChunkRef, Hash, Verdict, may_land};

/// A machine's disk and the workers before it.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Time for one chunk, proof included.
    pub(crate) write_ns: u64,
    free_at: u64,
    work: VecDeque<Work>,
    /// Nothing can be written between these times.
    pub(crate) full_ns: Option<(u64, u64)>,
    pub(crate) rotten: bool,
    pub(crate) short: bool,
}

/// Something the workers are at.
#[derive(Debug)]
enum Work {
    /// A chunk from a peer or another file.
    Chunk { job: JobId, index: u32, content: Content, source: Source },
    /// A chunk that an earlier process wrote is looked at.
    Check { job: JobId, index: u32 },
    /// A chunk that somebody streams, with what it is said to be.
    Tentative { job: JobId, block: u32, nth: u32, chunk: ChunkRef, content: Content, link: LinkId },
    /// An event that follows from earlier work.
    Tell(Event),
}

impl Disk {
    pub(crate) fn clear(&mut self) {
        self.work.clear();
    }

    fn is_full(&self, now: u64) -> Option<u64> {
        self.full_ns.filter(|(from, until)| (*from..*until).contains(&now)).map(|(_, until)| until)
    }
}

impl World {
    fn work(&mut self, host: u32, work: Work) {
        let (now, disk, epoch) = {
            let machine = &mut self.hosts[host as usize];
            (self.now, &mut machine.disk, machine.epoch)
        };
        disk.free_at = disk.free_at.max(now) + disk.write_ns;
        disk.work.push_back(work);
        let at = disk.free_at;
        self.queue.push(at, Happening::Disk { host, epoch });
    }

    /// An event that the workers bring after some work.
    pub(crate) fn tell_after_work(&mut self, host: u32, event: Event) {
        self.work(host, Work::Tell(event));
    }

    /// A worker is done.
    pub(crate) fn worked(&mut self, host: u32) {
        match self.hosts[host as usize].disk.work.pop_front() {
            Some(Work::Chunk { .. }) if self.canary.loses() => {}
            Some(Work::Chunk { job, index, content, source }) => {
                self.proven(host, job, index, content, source);
            }
            Some(Work::Check { job, index }) => self.checked(host, job, index),
            Some(Work::Tentative { job, block, nth, chunk, content, link }) => {
                self.compared(host, (job, block, nth), chunk, content, link);
            }
            Some(Work::Tell(event)) => self.feed(host, event),
            None => {}
        }
    }

    pub(crate) fn prove(
        &mut self,
        host: u32,
        (job, index): (JobId, u32),
        chunk: ChunkRef,
        offset: u64,
        buf: BufId,
        link: LinkId,
    ) {
        let Some(content) = self.buffers.take(buf) else {
            return self.fail(format!("host {host} proves {buf:?}, which it does not have"));
        };
        if self.is_to_lose(host, job) {
            return;
        }
        let Some(at) = self.hosts[host as usize].task_of(job) else {
            return self.fail(format!("host {host} proves a chunk of {job:?}, which is not its"));
        };
        let task = &self.hosts[host as usize].tasks[at];
        let file = &self.files.all[task.file as usize];
        let manifest = &file.manifest;
        if index >= manifest.len() || manifest.chunk(index) != chunk || manifest.offset(index) != offset {
            return self.fail(format!("host {host}: chunk {index} of {job:?} is not {chunk:?} at {offset}"));
        }
        if task.is_proven(index, file.block_of(index)) {
            self.totals.proved_twice += 1;
        }
        self.work(host, Work::Chunk { job, index, content, source: Source::Peer(link) });
    }

    /// A chunk is compared with what was told of it, and kept beside the file.
    pub(crate) fn prove_tentative(
        &mut self,
        host: u32,
        (job, block, nth): (JobId, u32, u32),
        chunk: ChunkRef,
        buf: BufId,
        link: LinkId,
    ) {
        let Some(content) = self.buffers.take(buf) else {
            return self.fail(format!("host {host} compares {buf:?}, which it does not have"));
        };
        if self.hosts[host as usize].task_of(job).is_some() {
            self.work(host, Work::Tentative { job, block, nth, chunk, content, link });
        }
    }

    fn compared(
        &mut self,
        host: u32,
        (job, block, nth): (JobId, u32, u32),
        chunk: ChunkRef,
        content: Content,
        link: LinkId,
    ) {
        let Some(at) = self.hosts[host as usize].task_of(job) else { return };
        let task = &self.hosts[host as usize].tasks[at];
        if !task.running {
            return;
        }
        let number = task.file;
        let Content::Chunk { id, good } = content else {
            return self.feed(host, Event::TentativeBad { job, block, nth, link });
        };
        let true_hash = self.files.chunk(id).hash;
        let hash = if good { true_hash } else { crate::file::Files::twisted(&true_hash) };
        if hash != chunk.hash {
            self.totals.bad += 1;
            return self.feed(host, Event::TentativeBad { job, block, nth, link });
        }
        let index = self.files.all[number as usize].blocks[block as usize].runs[0].first + nth;
        let right = good && id == crate::file::ChunkId::new(number, index);
        self.hosts[host as usize].tasks[at].tentative.insert(index, right);
        let from = self.tentative_place(number, index);
        self.feed(host, Event::TentativeKept { job, block, nth, link, from });
    }

    fn tentative_place(&self, file: u32, index: u32) -> Location {
        let len = self.files.all[file as usize].chunk_bytes(index);
        let place = zest_core::FileId(crate::receive::TENTATIVES + file);
        Location { file: place, offset: u64::from(index) << 17, len }
    }

    pub(crate) fn drop_tentative(&mut self, host: u32, job: JobId, block: u32) {
        let Some(at) = self.hosts[host as usize].task_of(job) else { return };
        let task = &mut self.hosts[host as usize].tasks[at];
        let file = &self.files.all[task.file as usize];
        task.tentative.retain(|index, _| file.block_of(*index) != block);
    }

    /// A list that was told proved itself.
    pub(crate) fn adopt_told(&mut self, host: u32, job: JobId, block: u32, list: &[ChunkRef]) {
        let Some(at) = self.hosts[host as usize].task_of(job) else { return };
        let file = self.hosts[host as usize].tasks[at].file;
        if *self.files.all[file as usize].lists[block as usize] != *list {
            return self.fail(format!("host {host} takes a list for that of block {block} which is not"));
        }
        let (epoch, task) = (self.hosts[host as usize].epoch, at as u32);
        self.later(self.scenario.disk.write_ns, Happening::Listed { host, epoch, task, block });
    }

    pub(crate) fn copy_local(&mut self, host: u32, job: JobId, index: u32, from: Location) {
        if self.is_to_lose(host, job) {
            return;
        }
        let Some(at) = self.hosts[host as usize].task_of(job) else {
            return self.fail(format!("host {host} copies for {job:?}, which is not its"));
        };
        let task = &self.hosts[host as usize].tasks[at];
        let number = task.file;
        if from == self.tentative_place(number, index) {
            let task = &self.hosts[host as usize].tasks[at];
            let block = self.files.all[number as usize].block_of(index);
            if task.named(block).is_none() {
                return self.fail(format!("host {host} uses chunk {index}, which nothing proves"));
            }
            let Some(&good) = task.tentative.get(&index) else {
                return self.fail(format!("host {host} uses chunk {index}, which it dropped"));
            };
            let content = Content::Chunk { id: crate::file::ChunkId::new(number, index), good };
            return self.work(host, Work::Chunk { job, index, content, source: Source::Disk });
        }
        let task = &self.hosts[host as usize].tasks[at];
        if from.file == zest_core::FileId(number) {
            return self.work(host, Work::Check { job, index });
        }
        let Some(&good) = task.local.get(&index) else {
            return self.fail(format!("host {host} copies chunk {index} from {from:?}, where nothing lies"));
        };
        let content = Content::Chunk { id: crate::file::ChunkId::new(task.file, index), good };
        self.work(host, Work::Chunk { job, index, content, source: Source::Disk });
    }

    /// The outcome of a proof.
    fn proven(&mut self, host: u32, job: JobId, index: u32, content: Content, source: Source) {
        let now = self.now;
        let machine = &mut self.hosts[host as usize];
        let Some(at) = machine.task_of(job) else { return };
        let full = machine.disk.is_full(now);
        let task = &mut machine.tasks[at];
        if !task.running {
            return;
        }
        let id = crate::file::ChunkId::new(task.file, index);
        let right = matches!(content, Content::Chunk { id: got, good: true } if got == id);
        let file = &self.files.all[task.file as usize];
        let (bytes, block) = (u64::from(file.chunk_bytes(index)), file.block_of(index));
        // What peers give is compared with a proven list. A copy of another file's chunk is, if there is one.
        let named = if source == Source::Disk { task.named(block) } else { Some(true) };
        let blind = self.canary.lets_through() || source == Source::Disk && self.canary.believes();
        let passes = blind || may_land(right, named);
        if let (true, Some(until)) = (passes, full) {
            return self.disk_full(host, at, until);
        }
        let task = &mut self.hosts[host as usize].tasks[at];
        let is_new = passes && !task.holds(index, block);
        if passes {
            task.keep(index, right, right || blind);
        }
        let traffic = &mut self.hosts[host as usize].traffic;
        if matches!(source, Source::Peer(_)) {
            if is_new {
                traffic.peer_new += bytes;
                self.totals.payload += bytes;
            } else if passes {
                traffic.peer_double += bytes;
            } else {
                traffic.peer_wrong += bytes;
            }
        }
        if !passes {
            self.totals.bad += 1;
        }
        match passes {
            true => self.chunk_done(host, job, index, source),
            false => self.feed(host, Event::ChunkBad { job, index, source }),
        }
    }

    /// A chunk is proven and kept. The first one tells how long the header is.
    pub(crate) fn chunk_done(&mut self, host: u32, job: JobId, index: u32, source: Source) {
        self.feed(host, Event::ChunkDone { job, index, source });
        let bytes = self.scenario.header_bytes;
        if index == 0 && bytes > LEN_BYTES as u64 {
            self.feed(host, Event::JobFront { job, bytes });
        }
    }

    /// A chunk of an earlier process was read.
    fn checked(&mut self, host: u32, job: JobId, index: u32) {
        let believes = self.canary.believes();
        let machine = &mut self.hosts[host as usize];
        let Some(at) = machine.task_of(job) else { return };
        let task = &mut machine.tasks[at];
        if !task.running {
            return;
        }
        let holds = believes || !task.rotten.contains(&index);
        let source = Source::Disk;
        let named = task.named(self.files.all[task.file as usize].block_of(index));
        match task.table.check(index, holds, named) {
            Checked::Good => self.chunk_done(host, job, index, source),
            Checked::Rotten | Checked::Wrong | Checked::Overtaken => {
                self.feed(host, Event::ChunkBad { job, index, source });
            }
        }
    }

    /// Nothing can be written: the job ends, its partial file stays. It is tried again when there is room.
    pub(crate) fn disk_full(&mut self, host: u32, at: usize, until: u64) {
        self.stop_job(host, at, None);
        let epoch = self.hosts[host as usize].epoch;
        self.queue.push(until + SEC, Happening::Again { host, epoch, task: at as u32 });
    }

    /// Collects a chunk list that comes in parts.
    pub(crate) fn keep_part(
        &mut self,
        host: u32,
        job: JobId,
        link: LinkId,
        buf: BufId,
        (first, last): (u32, bool),
    ) {
        let Some(content) = self.buffers.take(buf) else {
            return self.fail(format!("host {host} keeps {buf:?}, which it does not have"));
        };
        let Some(at) = self.hosts[host as usize].task_of(job) else { return };
        let task = &mut self.hosts[host as usize].tasks[at];
        let (list, count, fits) = match content {
            Content::Records { list, first: f, count, good } => (Some(list), count, good && f == first),
            _ => (None, 0, false),
        };
        let is_ours = list == Some(List::File(task.file));
        let (next, good) = match task.parts {
            Some((from, next, good)) if first > 0 && from == link => (next, good && next == first),
            _ => (0, first == 0),
        };
        let good = good && fits && is_ours;
        let next = next + count;
        task.parts = (!last).then_some((link, next, good));
        if !last {
            return;
        }
        let file = task.file;
        if good && next == self.files.all[file as usize].len() {
            self.hosts[host as usize].tasks[at].parts = None;
            let epoch = self.hosts[host as usize].epoch;
            self.later(self.scenario.disk.write_ns, Happening::Manifest { host, epoch, task: at as u32 });
        } else {
            self.totals.bad += 1;
            self.tell_after_work(host, Event::ManifestBad { job, link });
        }
    }

    /// The manifest of a task is proven: what is in the partial file is measured by it.
    pub(crate) fn adopt_manifest(&mut self, host: u32, at: usize) {
        let task = &mut self.hosts[host as usize].tasks[at];
        if !task.running || task.manifest && task.end.is_some() {
            return;
        }
        task.manifest = true;
        let (job, file) = (task.job, task.file);
        let held = task.held(&self.files.all[file as usize]);
        let local = self.local_places(host, at);
        let manifest = self.files.all[file as usize].manifest.clone();
        self.feed(host, Event::JobManifest { job, manifest, held, local });
    }

    /// A chunk list that a peer sent for a xorb is complete.
    pub(crate) fn prove_list(&mut self, host: u32, job: JobId, block: u32, link: LinkId, buf: BufId) {
        let Some(content) = self.buffers.take(buf) else {
            return self.fail(format!("host {host} proves {buf:?}, which it does not have"));
        };
        let Some(at) = self.hosts[host as usize].task_of(job) else { return };
        let file = self.hosts[host as usize].tasks[at].file;
        let total = self.files.all[file as usize].lists[block as usize].len() as u32;
        let list = List::Xorb(file, block);
        if content == (Content::Records { list, first: 0, count: total, good: true }) {
            let (epoch, task) = (self.hosts[host as usize].epoch, at as u32);
            self.later(self.scenario.disk.write_ns, Happening::Listed { host, epoch, task, block });
        } else {
            self.totals.bad += 1;
            self.tell_after_work(host, Event::BlockListBad { job, block, link });
        }
    }

    /// A block's chunk list is proven.
    pub(crate) fn adopt_list(&mut self, host: u32, at: usize, block: u32) {
        let task = &mut self.hosts[host as usize].tasks[at];
        if !task.running || !task.listed.insert(block) {
            return;
        }
        let file = &self.files.all[task.file as usize];
        let indices = file.blocks[block as usize].runs.iter().flat_map(|run| run.indices());
        let wrong = task.table.wrong(indices, |_| task.named(block));
        let list = file.lists[block as usize].clone();
        let job = task.job;
        self.feed(host, Event::BlockListed { job, block, list, wrong });
    }

    pub(crate) fn local_places(&self, host: u32, at: usize) -> Vec<(u32, Location)> {
        let task = &self.hosts[host as usize].tasks[at];
        let of = &self.files.all[task.file as usize];
        let place = |index: u32| {
            let named = task.named(of.block_of(index));
            let is_ours = task.table.unchecked(index).is_some_and(|seen| may_land(seen.chunk, named));
            if !is_ours && (!task.local.contains_key(&index) || task.table.holds(index, named)) {
                return None;
            }
            let file = zest_core::FileId(if is_ours { 0 } else { crate::receive::LOCALS } + task.file);
            let offset = if is_ours { of.manifest.offset(index) } else { u64::from(index) << 17 };
            Some((index, Location { file, offset, len: of.chunk_bytes(index) }))
        };
        (0..task.chunks).filter_map(place).collect()
    }

    /// Everything is in the partial file: it is proven as a whole and lands.
    pub(crate) fn seal(&mut self, host: u32, at: usize, job: JobId) {
        let now = self.now;
        let task = &mut self.hosts[host as usize].tasks[at];
        if !task.running || task.job != job {
            return;
        }
        // A list that came in the meantime may have shown that chunks were wrong.
        let file = &self.files.all[task.file as usize];
        let missing = task.table.lacking(task.chunks, |index| task.named(file.block_of(index)));
        if !missing.is_empty() {
            return self.feed(host, Event::JobReopened { job, missing });
        }
        let proven_wrong =
            (0..task.chunks).find(|&i| !task.good.contains(i) && task.is_proven(i, file.block_of(i)));
        if let Some(index) = proven_wrong {
            return self.fail(format!("host {host}: chunk {index} of {job:?} is wrong and counts as proven"));
        }
        if task.table.list(task.chunks).is_none_or(|list| list.contains(&false)) {
            // A stream of the origin was wrong, and no list was there to tell where: a vote tells. No wrong chunk comes twice.
            let round = task.ballot.rounds();
            let wrong = |index: u32| {
                let mut hash = [0xee; 32];
                hash[..4].copy_from_slice(&index.to_be_bytes());
                hash[4..8].copy_from_slice(&round.to_be_bytes());
                ChunkRef { hash: Hash::from_bytes(hash), len: file.chunk_bytes(index) }
            };
            let table = &task.table;
            let is_right = |index| table.get(index).is_some_and(|seen| seen.chunk);
            let seen = |index| Some(if is_right(index) { file.manifest.chunk(index) } else { wrong(index) });
            let doubtful = match task.ballot.count(&file.plan, file.hash, seen) {
                Verdict::Proven(_) => return self.adopt_manifest(host, at),
                Verdict::Again(doubtful) => doubtful,
                // The program would say so and end; its next run has what is not doubtful, and no votes.
                Verdict::Hopeless(doubtful) => {
                    task.ballot = Ballot::default();
                    doubtful.iter().for_each(|index| task.lose(*index));
                    doubtful
                }
            };
            return self.feed(host, Event::JobReopened { job, missing: doubtful });
        }
        task.end = Some(End::Complete);
        task.over_at = now;
        task.manifest = true;
        task.running = false;
        task.listed = BitSet::full(task.listed.len());
        self.job_over(host, at);
        self.feed(host, Event::JobRemoved { job });
    }
}
