//! Who has what: every peer that can be found is asked which files of a commit it has, and nothing is fetched.

use super::{Finder, Public};
use crate::PullError;
use crate::context::Context;
use crate::engine::Engine;
use crate::pull::{Listed, PullOptions, list_for_peers};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use zest_core::endpoint::Found;
use zest_core::link::{Outgoing, ZestMessage};
use zest_core::node::Direction;
use zest_core::{JobId, LinkId, PeerId};
use zest_store::Endpoint;
use zest_xet::Hash;

/// Files that peers are asked for: 1,024. Ours; larger repositories are shown in part.
const FILES_MAX: usize = 1024;
/// Time for peers to answer once the last look has ended: 2 s. Ours.
const ANSWERS: Duration = Duration::from_secs(2);

/// One file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyFile {
    /// Its path.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

/// What one peer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyPeer {
    /// Where it listens, or where its connection comes from.
    pub addr: SocketAddr,
    /// How it was found; `None`: it found us.
    pub found: Option<Found>,
    /// The id it goes by, if a connection came about: a machine that is reached at several addresses has one.
    pub peer_id: Option<PeerId>,
    /// Its name and version, once it has said them.
    pub client: Option<String>,
    /// By index of the file: chunks it has, and chunks of the file.
    pub files: BTreeMap<usize, (u32, u32)>,
}

/// Who has what of a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The commit.
    pub commit: String,
    /// Whether anyone may read it. If not, nobody was asked.
    pub shareable: bool,
    /// The user denied sharing it; then, too, nobody was asked.
    pub denied: bool,
    /// Its files in Xet; others do not travel between peers.
    pub files: Vec<SurveyFile>,
    /// Peers, in the order of their addresses.
    pub peers: Vec<SurveyPeer>,
}

impl Survey {
    /// The same without connections from peers that were reached where they listen, too: what such a one has counts there.
    #[must_use]
    pub fn without_doubles(mut self) -> Self {
        let (found, came): (Vec<_>, Vec<_>) = self.peers.into_iter().partition(|peer| peer.found.is_some());
        self.peers = found;
        for peer in came {
            let own =
                peer.peer_id.and_then(|id| self.peers.iter_mut().find(|known| known.peer_id == Some(id)));
            let Some(own) = own else {
                self.peers.push(peer);
                continue;
            };
            own.client = own.client.take().or(peer.client);
            for (file, has) in peer.files {
                let most = own.files.entry(file).or_insert(has);
                *most = (*most).max(has);
            }
        }
        self.peers.sort_by_key(|peer| peer.addr);
        self
    }

    /// Peers and what they have, each once however many addresses it has. Of whom no connection came about every address is one.
    #[must_use]
    pub fn machines(&self) -> Vec<BTreeMap<usize, (u32, u32)>> {
        let mut known: BTreeMap<PeerId, usize> = BTreeMap::new();
        let mut machines: Vec<BTreeMap<usize, (u32, u32)>> = Vec::new();
        for peer in &self.peers {
            let new = machines.len();
            let at = peer.peer_id.map_or(new, |id| *known.entry(id).or_insert(new));
            if at == new {
                machines.push(BTreeMap::new());
            }
            for (file, &(count, total)) in &peer.files {
                let most = machines[at].entry(*file).or_insert((count, total));
                *most = (*most).max((count, total));
            }
        }
        machines
    }
}

/// What links say while a survey is on.
#[derive(Debug)]
pub(crate) enum Heard {
    /// An address.
    Peer(SocketAddr, Found),
    /// A look for peers of a job has ended.
    Searched(JobId),
    /// A connection has come about, with who goes by this id.
    Is { link: LinkId, addr: SocketAddr, peer_id: PeerId },
    /// An address is our own.
    Own(SocketAddr),
    /// A remote has said who it is.
    Hello { link: LinkId, addr: SocketAddr, direction: Direction, client: String },
    /// A remote has so many chunks of a file.
    Has { link: LinkId, file: Hash, total: u32, count: u32 },
}

/// Finds peers of a repository's files and asks them what they have, for `wait` at most. `tell` hears of each as it is found.
///
/// # Errors
/// As [`crate::pull`]: the repository cannot be listed.
pub async fn survey(
    engine: &Engine,
    options: PullOptions,
    wait: Duration,
    tell: watch::Sender<Survey>,
) -> Result<Survey, PullError> {
    engine
        .run(move |context| Box::pin(run(context, options, wait, tell)))
        .await
        .unwrap_or(Err(PullError::EngineGone))
}

async fn run(
    context: Rc<Context>,
    options: PullOptions,
    wait: Duration,
    tell: watch::Sender<Survey>,
) -> Result<Survey, PullError> {
    let Listed { commit, entries, public_until, peers } = list_for_peers(&context, &options).await?;
    let mut files: Vec<(SurveyFile, Hash)> = entries
        .into_iter()
        .filter_map(|entry| {
            let (size, hash) = (entry.content_size(), entry.xet_hash?);
            Some((SurveyFile { path: entry.path, size }, hash))
        })
        .collect();
    files.truncate(FILES_MAX);
    let mut survey = Survey {
        commit: commit.clone(),
        shareable: public_until.is_some(),
        denied: context.disk.store.catalog.is_denied(&options.repo),
        files: files.iter().map(|(file, _)| file.clone()).collect(),
        peers: Vec::new(),
    };
    tell.send_replace(survey.clone());
    let (Some(until), Some(finder)) = (public_until, context.finder.get()) else { return Ok(survey) };
    if files.is_empty() {
        return Ok(survey);
    }
    let mut heard = finder.listen();
    context.event(zest_core::node::Event::Seeking { on: true });
    let hub = Endpoint::new(&options.env.endpoint);
    let near = !context.disk.store.catalog.is_public_hub(&hub);
    let public = Public { repo: options.repo.clone(), commit, until, near };
    let mut jobs = BTreeSet::new();
    for (file, hash) in &files {
        let job = context.jobs.number();
        jobs.insert(job);
        finder.want(job, *hash, file.size, &public);
    }
    peers.into_iter().for_each(|addr| context.name_peer(addr));
    let mut known = Known {
        context: &context,
        finder,
        files: &files,
        near,
        peers: BTreeMap::new(),
        links: BTreeMap::new(),
        ids: Ids::default(),
        own: BTreeSet::new(),
        answers: BTreeMap::new(),
    };
    let end = Instant::now() + wait;
    let mut waiting = jobs.clone();
    // With nothing to look with, only peers that were named can answer.
    let mut quiet = (!finder.can_search()).then(|| Instant::now() + ANSWERS);
    loop {
        let until = quiet.map_or(end, |quiet| quiet.min(end));
        match tokio::time::timeout_at(until, heard.recv()).await {
            Ok(Some(Heard::Searched(job))) => {
                waiting.remove(&job);
                if waiting.is_empty() {
                    quiet = Some(Instant::now() + ANSWERS);
                }
            }
            Ok(Some(event)) => {
                known.note(event);
                tell.send_modify(|told| told.peers = known.peers.values().cloned().collect());
            }
            Ok(None) | Err(_) => break,
        }
        // Who cannot look for anybody waits for those who may come, and a tracker may take longer than a look.
        let looked = waiting.is_empty() && finder.trackers_have_spoken();
        let cannot = !finder.can_search() && !known.peers.is_empty();
        if (looked || cannot) && known.all_have_answered() {
            break;
        }
    }
    survey.peers = known.peers.into_values().collect();
    finder.listen_no_more();
    context.event(zest_core::node::Event::Seeking { on: false });
    jobs.into_iter().for_each(|job| finder.job_over(job, false));
    Ok(survey)
}

/// What was heard so far.
struct Known<'a> {
    context: &'a Rc<Context>,
    finder: &'a Rc<Finder>,
    files: &'a [(SurveyFile, Hash)],
    /// Only those are asked who speak of the same Hub.
    near: bool,
    peers: BTreeMap<SocketAddr, SurveyPeer>,
    links: BTreeMap<LinkId, SocketAddr>,
    ids: Ids,
    /// Addresses that led back to us, who are nobody's peer.
    own: BTreeSet<SocketAddr>,
    /// Files of which a link has said what it has.
    answers: BTreeMap<LinkId, BTreeSet<Hash>>,
}

/// Who is behind links and addresses.
#[derive(Debug, Default)]
struct Ids {
    links: BTreeMap<LinkId, PeerId>,
    addrs: BTreeMap<SocketAddr, PeerId>,
}

impl Ids {
    fn note(&mut self, link: LinkId, addr: SocketAddr, peer_id: PeerId) {
        self.links.insert(link, peer_id);
        self.addrs.insert(addr, peer_id);
    }

    /// Who is behind a link, or else at an address.
    fn of(&self, link: Option<LinkId>, addr: SocketAddr) -> Option<PeerId> {
        link.and_then(|link| self.links.get(&link)).or_else(|| self.addrs.get(&addr)).copied()
    }
}

impl Known<'_> {
    /// Whether everybody who was found is linked and has said what it has of each file: nothing more comes.
    fn all_have_answered(&self) -> bool {
        let wanted: BTreeSet<Hash> = self.files.iter().map(|(_, hash)| *hash).collect();
        let done = self.answers.iter().filter(|(_, files)| files.is_superset(&wanted));
        let done: BTreeSet<&SocketAddr> = done.filter_map(|(link, _)| self.links.get(link)).collect();
        self.peers.keys().all(|addr| done.contains(addr))
    }

    fn peer(&mut self, addr: SocketAddr) -> &mut SurveyPeer {
        let found = self.finder.notes.how(&addr);
        let peer = SurveyPeer {
            addr,
            found,
            peer_id: self.ids.of(None, addr),
            client: None,
            files: BTreeMap::new(),
        };
        self.peers.entry(addr).or_insert(peer)
    }

    fn note(&mut self, heard: Heard) {
        match heard {
            Heard::Peer(addr, _) if self.own.contains(&addr) => {}
            Heard::Peer(addr, how) => self.peer(addr).found = Some(how),
            Heard::Own(addr) => {
                self.own.insert(addr);
                self.peers.remove(&addr);
            }
            Heard::Is { link, addr, peer_id } => {
                self.ids.note(link, addr, peer_id);
                self.peers.entry(addr).and_modify(|peer| peer.peer_id = Some(peer_id));
            }
            Heard::Hello { link, addr, direction, client } => {
                self.links.insert(link, addr);
                // Who came says here where it listens, and was known by where its connection comes from.
                let peer_id = self.ids.of(Some(link), addr);
                let peer = self.peer(addr);
                (peer.client, peer.peer_id) = (Some(client), peer_id);
                if direction == Direction::Outbound && peer.found.is_none() {
                    peer.found = Some(Found::Named);
                }
                let io = self.context.transport.get(link);
                let Some(io) = io.filter(|_| !self.near || self.context.machine.node().is_near(link)) else {
                    return;
                };
                for (_, file) in self.files {
                    io.send(self.context, Outgoing::Zest(ZestMessage::Interest { file: *file }));
                }
            }
            Heard::Has { link, file, total, count } => {
                let Some(addr) = self.links.get(&link).copied() else { return };
                self.answers.entry(link).or_default().insert(file);
                let here: Vec<usize> =
                    (0..self.files.len()).filter(|&index| self.files[index].1 == file).collect();
                let peer = self.peer(addr);
                // Nothing of a file, or nothing it may share: both are a total of 0.
                here.into_iter().filter(|_| count > 0).for_each(|index| {
                    peer.files.insert(index, (count, total));
                });
            }
            Heard::Searched(_) => {}
        }
    }
}

impl Finder {
    /// Tells whoever listens what links say and what is found.
    pub(super) fn listen(&self) -> mpsc::UnboundedReceiver<Heard> {
        let (to, from) = mpsc::unbounded_channel();
        self.notes.listener.replace(Some(to));
        from
    }

    fn listen_no_more(&self) {
        self.notes.listener.replace(None);
    }

    pub(super) fn tell_listener(&self, heard: impl FnOnce() -> Heard) {
        if let Some(listener) = &*self.notes.listener.borrow() {
            let _ = listener.send(heard());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_was_reached_and_came_itself_is_one() {
        let peer = |addr: &str, found, id: Option<u8>, files: &[(usize, (u32, u32))]| SurveyPeer {
            addr: addr.parse().unwrap(),
            found,
            peer_id: id.map(|id| PeerId([id; 20])),
            client: Some("zest/0.5.0".to_owned()),
            files: files.iter().copied().collect(),
        };
        let peers = vec![
            peer("10.0.0.1:40000", None, Some(1), &[(0, (9, 9)), (1, (1, 4))]),
            peer("10.0.0.1:6881", Some(Found::Lan), Some(1), &[(1, (3, 4))]),
            peer("10.0.0.2:40001", None, Some(2), &[]),
            peer("10.0.0.3:6881", Some(Found::Dht), None, &[]),
            peer("10.0.0.3:40002", None, None, &[]),
        ];
        let one = Survey { peers, ..Survey::default() }.without_doubles();
        let addrs: Vec<String> = one.peers.iter().map(|peer| peer.addr.to_string()).collect();
        assert_eq!(addrs, ["10.0.0.1:6881", "10.0.0.2:40001", "10.0.0.3:6881", "10.0.0.3:40002"]);
        assert_eq!(one.peers[0].files, [(0, (9, 9)), (1, (3, 4))].into());
    }
}
