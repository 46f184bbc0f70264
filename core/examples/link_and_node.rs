//! A node and its link on a TCP connection of this machine: the shortest run loop there is. One side has a file in memory, the
//! other one knows its hash and its size, and fetches and proves it.
//!
//! ```sh
//! cargo run -p zest-core --example link_and_node
//! ```
//! Both sides run [`Machine::run`]: bytes go into the link, its messages into the node, the node's words back into the link. A
//! real runtime reads payloads straight into buffers, proves on other threads and has many links; the order of things is the same.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Result, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use zest_core::link::{self, Body, Dialect, Link, ManifestPart, Outgoing, PayloadKind, Role};
use zest_core::node::{
    Action, BitSet, Config, Direction, Event, Found, JobSpec, ManifestPlace, Node, Source,
};
use zest_core::{BufId, FileId, Instant, JobId, LinkId, Location, PeerId, ReqId};
use zest_xet::{ChunkRef, Hash, MANIFEST_RECORD_BYTES, Manifest, chunk_hash, file_hash, verify};

const LINK: LinkId = LinkId(1);
const JOB: JobId = JobId(1);
/// What a [`Location`] names: the file, or the records of its chunk list.
const FILE: FileId = FileId(1);
const RECORDS: FileId = FileId(2);

struct Machine {
    node: Node,
    link: Link,
    stream: TcpStream,
    /// Where and by whom the connection was made.
    addr: SocketAddr,
    direction: Direction,
    start: Clock,
    /// Hash and size of the file that is fetched.
    wanted: Option<(Hash, u64)>,
    /// The list, once it is proven, and the bytes that are here.
    manifest: Option<Arc<Manifest>>,
    bytes: Vec<u8>,
    records: Vec<u8>,
    /// The payload that is coming, and those that the node knows by number.
    payload: (Option<PayloadKind>, Vec<u8>),
    bufs: BTreeMap<BufId, Vec<u8>>,
    events: Vec<Event>,
    done: bool,
}

impl Machine {
    fn new(id: [u8; 20], node: Node, stream: TcpStream, role: Role, start: Clock) -> Result<Self> {
        let config = link::Config { role, our_id: PeerId(id), listen_port: 0 };
        let dialled = matches!(role, Role::Dial { .. });
        Ok(Self {
            node,
            link: Link::new(Instant(start.elapsed().as_micros() as u64), config),
            addr: stream.peer_addr()?,
            direction: if dialled { Direction::Outbound } else { Direction::Inbound },
            stream,
            start,
            wanted: None,
            manifest: None,
            bytes: Vec::new(),
            records: Vec::new(),
            payload: (None, Vec::new()),
            bufs: BTreeMap::new(),
            events: Vec::new(),
            done: false,
        })
    }

    fn now(&self) -> Instant {
        Instant(self.start.elapsed().as_micros() as u64)
    }

    /// Until the job is done, or the other side is gone.
    fn run(&mut self) -> Result<()> {
        self.follow(&[])?;
        let mut input = vec![0; 64 << 10];
        while !self.done {
            let due =
                [self.link.poll_timeout().map(|(at, _)| at), self.node.poll_timeout().map(|(at, _)| at)];
            let wait = due.into_iter().flatten().min().map(|at| at.since(self.now()));
            self.stream.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
            match self.stream.read(&mut input) {
                Ok(0) => break,
                Ok(read) => {
                    self.link.handle(self.now(), link::Event::Received(&input[..read]));
                    self.follow(&input[..read])?;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    self.link.handle(self.now(), link::Event::Timer);
                    self.events.push(Event::Timer);
                    self.follow(&[])?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Does what the link and the node want, until neither wants anything. `input` is what the link was just given.
    fn follow(&mut self, input: &[u8]) -> Result<()> {
        loop {
            while let Some(action) = self.link.poll_action() {
                self.of_link(action, input)?;
            }
            if self.events.is_empty() {
                return Ok(());
            }
            self.node.handle(self.now(), self.events.remove(0));
            while let Some(action) = self.node.poll_action() {
                self.of_node(action);
            }
        }
    }

    fn of_link(&mut self, action: link::Action, input: &[u8]) -> Result<()> {
        match action {
            link::Action::Transmit { head, body, .. } => {
                self.stream.write_all(head.as_bytes())?;
                if let Some(body) = body {
                    let Body::File(Location { file, offset, len }) = body else {
                        unreachable!("nothing is lent")
                    };
                    let from = if file == FILE { &self.bytes } else { &self.records };
                    self.stream.write_all(&from[offset as usize..][..len as usize])?;
                    self.events.push(Event::Sent { link: LINK, bytes: len.into() });
                }
            }
            link::Action::Established { peer_id, .. } => {
                let (addr, direction) = (self.addr, self.direction);
                self.events.push(Event::LinkUp { link: LINK, addr, direction, peer_id });
            }
            link::Action::Message(message) => self.events.push(Event::Message { link: LINK, message }),
            link::Action::PayloadStart { kind, .. } => self.payload = (Some(kind), Vec::new()),
            link::Action::PayloadBytes { at, len } => {
                self.payload.1.extend_from_slice(&input[at as usize..][..len as usize]);
            }
            link::Action::PayloadEnd { req } => {
                let (kind, bytes) = std::mem::take(&mut self.payload);
                let (kind, buf) =
                    (kind.expect("it has begun"), BufId(self.start.elapsed().as_nanos() as u64));
                let len = bytes.len() as u32;
                self.bufs.insert(buf, bytes);
                self.events.push(Event::Payload { link: LINK, req, kind, buf, len });
            }
            link::Action::Close { why } => {
                println!("the other side broke the protocol: {why}");
                self.done = true;
            }
        }
        Ok(())
    }

    fn of_node(&mut self, action: Action) {
        let (link, share) = (LINK, self.manifest.clone());
        match action {
            Action::Send { message, .. } => self.link.handle(self.now(), link::Event::Send(message)),
            Action::Close { .. } | Action::Failed { .. } => self.done = true,
            Action::Complete { .. } => self.done = true,
            Action::Free { buf } => drop(self.bufs.remove(&buf)),
            // What somebody asks us for.
            Action::LookupChunk { req, hash, dialect, .. } => {
                let place = share.and_then(|list| place_of(&list, &hash));
                self.events.push(Event::ChunkLocated { link, req, hash, dialect, place });
            }
            Action::LookupManifest { req, file, first, count, .. } => {
                let place = share.filter(|list| list.file() == file).map(|list| {
                    let (offset, len) =
                        (first as usize * MANIFEST_RECORD_BYTES, MANIFEST_RECORD_BYTES as u32);
                    let count = count.min(list.len() - first);
                    ManifestPlace {
                        part: ManifestPart { file_size: list.size(), total: list.len(), first, count },
                        records: Body::File(Location {
                            file: RECORDS,
                            offset: offset as u64,
                            len: count * len,
                        }),
                    }
                });
                self.events.push(Event::ManifestLocated { link, req, place });
            }
            Action::LookupFile { file, .. } => {
                let total = share.filter(|list| list.file() == file).map_or(0, |list| list.len());
                let runs = if total > 0 { vec![(0, total)] } else { Vec::new() };
                self.events.push(Event::FileLocated { link, file, total, runs });
            }
            Action::LookupXorb { req: ReqId(req), xorb, .. } => {
                let answer = Outgoing::NotFound { req, hash: xorb, dialect: Dialect::Range };
                self.events.push(Event::XorbLocated { link, answer });
            }
            // What we fetch.
            Action::KeepManifestPart { buf, last, .. } => {
                self.records.extend(self.bufs.remove(&buf).unwrap_or_default());
                if last {
                    self.adopt();
                }
            }
            Action::Prove { job, index, chunk, offset, buf, .. } => {
                let bytes = self.bufs.remove(&buf).unwrap_or_default();
                let source = Source::Peer(LINK);
                self.events.push(match verify(bytes, chunk) {
                    Ok(proven) => {
                        let to = offset as usize..offset as usize + chunk.len as usize;
                        self.bytes[to].copy_from_slice(proven.bytes());
                        Event::ChunkDone { job, index, source }
                    }
                    Err(_) => Event::ChunkBad { job, index, source },
                });
            }
            // There is one connection and no origin here.
            other => println!("not needed here: {other:?}"),
        }
    }

    /// The list is here: it proves itself by the file's hash, or it is none.
    fn adopt(&mut self) {
        let Some((file, size)) = self.wanted else { return };
        match Manifest::parse(file, size, &self.records) {
            Ok(manifest) => {
                let manifest = Arc::new(manifest);
                self.bytes = vec![0; size as usize];
                let held = BitSet::empty(manifest.len());
                self.manifest = Some(manifest.clone());
                self.events.push(Event::JobManifest { job: JOB, manifest, held, local: Vec::new() });
            }
            Err(_) => self.events.push(Event::ManifestBad { job: JOB, link: LINK }),
        }
    }
}

/// Where a chunk of the file lies.
fn place_of(list: &Manifest, hash: &Hash) -> Option<Location> {
    let index = (0..list.len()).find(|index| list.chunk(*index).hash == *hash)?;
    Some(Location { file: FILE, offset: list.offset(index), len: list.chunk(index).len })
}

/// Some bytes, and the list of the chunks they are cut into.
fn sample() -> (Vec<u8>, Manifest) {
    let bytes: Vec<u8> = (0..40_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let chunks: Vec<ChunkRef> = bytes
        .chunks(64 << 10)
        .map(|chunk| ChunkRef { hash: chunk_hash(chunk), len: chunk.len() as u32 })
        .collect();
    let list =
        Manifest::prove(file_hash(&chunks), bytes.len() as u64, chunks).expect("a list makes its own hash");
    (bytes, list)
}

/// Takes one connection, and gives what is asked for until it ends.
fn give(listener: &TcpListener, bytes: Vec<u8>, list: Manifest, start: Clock) -> Result<()> {
    let (stream, _) = listener.accept()?;
    let id = *b"-ZT0500-who-gives-it";
    let node = Node::new(Config::new([1; 32], PeerId(id)));
    let mut machine = Machine::new(id, node, stream, Role::Accept, start)?;
    for chunk in list.chunks() {
        machine.records.extend_from_slice(chunk.hash.as_bytes());
        machine.records.extend_from_slice(&chunk.len.to_be_bytes());
    }
    (machine.bytes, machine.manifest) = (bytes, Some(Arc::new(list)));
    machine.run()
}

fn main() -> Result<()> {
    let start = Clock::now();
    let (bytes, list) = sample();
    let (file, size) = (list.file(), list.size());
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let expected = bytes.clone();
    let giver = std::thread::spawn(move || give(&listener, bytes, list, start));

    // The node is told of the file and of an address; it says whom to dial for which swarm.
    let id = *b"-ZT0500-who-takes-it";
    let mut node = Node::new(Config::new([2; 32], PeerId(id)));
    let spec = JobSpec { origin: false, ..JobSpec::new(file, size, FILE) };
    node.handle(Instant(0), Event::JobAdded { job: JOB, spec });
    node.handle(Instant(0), Event::PeerFound { addr, how: Found::Named });
    let dial = std::iter::from_fn(|| node.poll_action()).find_map(|action| match action {
        Action::Dial { addr, info_hash } => Some((addr, info_hash)),
        _ => None,
    });
    let (addr, info_hash) = dial.expect("who has a job dials whom the user named");
    let mut machine = Machine::new(id, node, TcpStream::connect(addr)?, Role::Dial { info_hash }, start)?;
    machine.wanted = Some((file, size));
    machine.run()?;
    assert!(machine.bytes == expected, "every byte is here, and proven");
    println!(
        "{} bytes in {} chunks, proven, in {:?}",
        size,
        machine.node.stats().chunks_asked,
        start.elapsed()
    );
    drop(machine);
    giver.join().expect("the giver has ended")
}
