//! How a remote of [`super`] plays its script.

use super::*;
use zest_core::link::{ManifestPart, ZestMessage};

impl World {
    /// A message of the node arrives at a remote.
    pub(super) fn received(&mut self, link: LinkId, message: Outgoing) {
        self.sent.push((link, message.clone()));
        let now = self.now;
        let Some(remote) = self.remotes.get_mut(&link).filter(|r| r.open) else { return };
        let script = remote.script.clone();
        let round = script.latency * 2;
        match message {
            Outgoing::Zest(ZestMessage::Interest { file }) => {
                remote.interested.insert(file);
                let Some((total, runs)) = script.has else { return };
                let Some(len) = self.tasks.values().find(|t| t.file.hash() == file).map(|t| t.file.len())
                else {
                    return;
                };
                let total = total.unwrap_or(len);
                let runs = runs
                    .iter()
                    .map(|&(first, count)| (first, count.min(total.saturating_sub(first))))
                    .filter(|(_, count)| *count > 0)
                    .collect();
                let message = Message::Zest(ZestMessage::Have { file, total, runs });
                self.later(round, Happening::Link(link, Event::Message { link, message }));
            }
            Outgoing::Zest(ZestMessage::Uninterest { file }) => {
                remote.interested.remove(&file);
            }
            Outgoing::Zest(ZestMessage::ManifestRequest { req, file, first, count }) => {
                remote.manifests_asked += 1;
                let asked = remote.manifests_asked;
                let part = match script.manifests {
                    Manifests::Silent => return,
                    Manifests::SilentAfter(n) if asked > n => return,
                    Manifests::Refused => None,
                    Manifests::InParts(n) => Some((n.min(count), true)),
                    Manifests::Wrong => Some((count, false)),
                    Manifests::Nonsense => Some((0, false)),
                    Manifests::Given | Manifests::SilentAfter(_) => Some((count, true)),
                };
                let file = self.tasks.values().find(|t| t.file.hash() == file).map(|t| t.file.clone());
                let answer = match (part, file) {
                    (Some((count, good)), Some(file)) if first < file.len() => {
                        let (file_size, total) = (file.manifest.size(), file.len());
                        let count = count.min(total - first);
                        let kind = PayloadKind::ManifestPart(ManifestPart { file_size, total, first, count });
                        Answer::Payload { kind, len: count * 36, buf: Buf::Part { good } }
                    }
                    _ => Answer::Message(Message::Zest(ZestMessage::ManifestNone { req })),
                };
                let req = ReqId(req);
                remote.due.insert(req, now + round);
                self.later(round, Happening::Answer { link, req, answer });
            }
            Outgoing::ChunkRequest { req, hash, .. } => {
                remote.asked += 1;
                let asked = remote.asked;
                let index = self.tasks.values().find_map(|t| t.file.index.get(&hash).copied());
                let (mut good, mut found) = (true, index.is_some());
                match script.chunks {
                    Chunks::Good => {}
                    Chunks::Mute => return,
                    Chunks::NotFound => found = false,
                    Chunks::WrongEvery(n) => good = asked % n != 0,
                    Chunks::SilentAfter(n) if asked > n => return,
                    Chunks::SilentAfter(_) => {}
                    Chunks::Only(runs) => {
                        found =
                            index.is_some_and(|i| runs.iter().any(|&(first, n)| i >= first && i - first < n));
                    }
                }
                let pause = if found {
                    // The line carries one chunk after the other.
                    remote.free_at = remote.free_at.max(now + script.latency) + script.chunk_time;
                    (remote.free_at + script.latency) - now
                } else {
                    round
                };
                remote.due.insert(req, now + (pause - script.chunk_time.min(pause)));
                let answer = match found {
                    true => {
                        Answer::Payload { kind: PayloadKind::Chunk, len: CHUNK, buf: Buf::Chunk { good } }
                    }
                    false => Answer::Message(Message::NotFound { req }),
                };
                self.later(pause, Happening::Answer { link, req, answer });
            }
            Outgoing::XorbRequest { req, xorb, .. } => {
                remote.asked += 1;
                let Some((job, block)) = self.node.block_request(link, req) else { panic!("{req:?} is out") };
                let wire = self.tasks[&job].file.blocks()[block as usize].clone();
                assert_eq!(wire.xorb, xorb);
                let answer = match script.blocks {
                    Chunks::Mute => return,
                    Chunks::NotFound => Answer::Message(Message::NotFound { req }),
                    Chunks::Good => Answer::Block { job, block, good: true },
                    _ => Answer::Block { job, block, good: false },
                };
                let pause = round + script.chunk_time * wire.runs[0].count;
                remote.due.insert(req, now + round);
                self.later(pause, Happening::Answer { link, req, answer });
            }
            Outgoing::Zest(ZestMessage::Cancel { req }) => {
                // What has begun to come comes.
                let req = ReqId(req);
                let begun = remote.due.remove(&req).filter(|begins| *begins <= now);
                remote.due.extend(begun.map(|begins| (req, begins)));
            }
            _ => {}
        }
    }

    pub(super) fn answer(&mut self, link: LinkId, req: ReqId, answer: Answer) {
        let Some(remote) = self.remotes.get_mut(&link).filter(|r| r.open) else { return };
        if remote.due.remove(&req).is_none() {
            return;
        }
        match answer {
            Answer::Message(message) => self.handle(Event::Message { link, message }),
            Answer::Payload { kind, len, buf } => {
                remote.given += 1;
                let id = BufId(self.next_number());
                self.bufs.insert(id, buf);
                self.handle(Event::Payload { link, req, kind, buf: id, len: len.max(1) });
            }
            Answer::Block { job, block, good } => {
                remote.given += 1;
                let runs = self.tasks[&job].file.blocks()[block as usize].runs.clone();
                for index in runs.iter().flat_map(|run| run.indices()) {
                    if good && self.node.needs(job, index) {
                        let event = Event::ChunkDone { job, index, source: Source::Peer(link) };
                        self.happen(Happening::Disk { job, event });
                    }
                }
                self.handle(Event::BlockFromPeer { link, req, good });
            }
        }
    }
}
