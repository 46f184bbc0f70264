//! One end of a connection in message mode: what the real `Link` enforces, without its bytes.

use crate::bytes::ByteEnd;
use crate::file::ChunkId;
use crate::pool::{Line, Pool};
use std::collections::VecDeque;
use zest_core::ReqId;
use zest_core::link::{FORGOTTEN_MAX, OUTSTANDING_MAX, Outgoing, ZestMessage};
use zest_core::wire::zest::{MANIFEST_PART_RECORDS_MAX, MANIFEST_RECORD_BYTES, plain_part_len};
use zest_xet::Hash;

/// Bulk bytes, as far as the world cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// A chunk; not good if a byte of it is wrong.
    Chunk { id: ChunkId, good: bool },
    /// Records of a chunk list.
    Records { list: List, first: u32, count: u32, good: bool },
    /// A part of a small file; not good if a byte of it is wrong.
    Plain { file: u32, nth: u32, good: bool },
    /// Anything else.
    Junk,
}

/// A chunk list of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// Of a file.
    File(u32),
    /// Of the xorb of a file's block.
    Xorb(u32, u32),
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Chunk(Hash),
    Xorb(Hash),
    Records { first: u32, count: u32 },
    Plain,
}

/// A request on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) req: ReqId,
    pub(crate) len_max: u32,
    pub(crate) wanted: Wanted,
}

impl Asked {
    /// The request in a message, if it is one.
    pub(crate) fn of(message: &Outgoing) -> Option<Self> {
        Some(match *message {
            Outgoing::ChunkRequest { req, hash, len_max } => {
                Self { req, len_max, wanted: Wanted::Chunk(hash) }
            }
            Outgoing::XorbRequest { req, xorb, len_max, .. } => {
                Self { req, len_max, wanted: Wanted::Xorb(xorb) }
            }
            Outgoing::Zest(ZestMessage::ManifestRequest { req, first, count, .. }) => {
                let len_max = count.min(MANIFEST_PART_RECORDS_MAX) * MANIFEST_RECORD_BYTES;
                Self { req: ReqId(req), len_max, wanted: Wanted::Records { first, count } }
            }
            Outgoing::Zest(ZestMessage::PlainRequest { req, size, offset, .. }) => {
                Self { req: ReqId(req), len_max: plain_part_len(size, offset)?, wanted: Wanted::Plain }
            }
            _ => return None,
        })
    }
}

/// How an answer stands to what was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answered {
    /// It was waited for.
    InTime(Asked),
    /// Its request had been given up.
    Late,
    /// Nobody asked.
    Never,
}

/// Requests of one end that may still be answered.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    live: VecDeque<Asked>,
    forgotten: VecDeque<Asked>,
}

impl Requests {
    /// Notes a request; says why the node may not send it.
    pub(crate) fn add(&mut self, asked: Asked) -> Result<(), String> {
        if self.live.len() >= OUTSTANDING_MAX {
            return Err(format!("more than {OUTSTANDING_MAX} requests on one link"));
        }
        if self.live.iter().any(|a| a.req == asked.req) {
            return Err(format!("request id {:08x} is outstanding already", asked.req.0));
        }
        self.forgotten.retain(|a| a.req != asked.req);
        self.live.push_back(asked);
        Ok(())
    }

    /// Gives a request up; false if it is not outstanding.
    pub(crate) fn forget(&mut self, req: ReqId) -> bool {
        let Some(at) = self.live.iter().position(|a| a.req == req) else { return false };
        if self.forgotten.len() >= FORGOTTEN_MAX {
            self.forgotten.pop_front();
        }
        self.forgotten.extend(self.live.remove(at));
        true
    }

    /// Takes the request that is answered.
    pub(crate) fn take(&mut self, req: u32) -> Answered {
        let same = |a: &Asked| a.req.0 == req;
        if let Some(at) = self.live.iter().position(same) {
            return self.live.remove(at).map_or(Answered::Never, Answered::InTime);
        }
        match self.forgotten.iter().position(same) {
            Some(at) => {
                self.forgotten.remove(at);
                Answered::Late
            }
            None => Answered::Never,
        }
    }
}

/// Something on its way through a pipe.
#[derive(Debug)]
pub(crate) struct Item {
    /// Bytes apart from bulk data.
    pub(crate) control: u32,
    /// Bytes of bulk data.
    pub(crate) payload: u32,
    /// What the bulk data is.
    pub(crate) content: Content,
    pub(crate) what: What,
}

impl Item {
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.control) + u64::from(self.payload)
    }
}

/// What travels.
#[derive(Debug)]
pub(crate) enum What {
    /// The rest of the handshakes.
    Hello,
    /// A message.
    Message(Outgoing),
    /// Bytes of a real link (byte mode); `payload` bytes of bulk data follow them.
    Bytes(Vec<u8>),
}

/// One direction of a connection: a queue of the node, a socket, the wire.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// What the socket has not taken.
    pub(crate) queue: Line,
    /// What it has taken and not transmitted.
    pub(crate) socket: Line,
    /// Bytes in the socket, transmitted but unacknowledged ones included.
    pub(crate) socket_bytes: u64,
    /// When transmitted bytes are acknowledged.
    pub(crate) acks: VecDeque<(u64, u64)>,
    /// Transmitted, not yet delivered.
    pub(crate) wire: Line,
    /// When the last of them is delivered: order is kept.
    pub(crate) last_at: u64,
    /// Whether the uplink has it in its round.
    pub(crate) in_round: bool,
    /// Bytes transmitted in its turn.
    pub(crate) in_turn: u64,
    /// Whether the next acknowledgement is looked at.
    pub(crate) waking: bool,
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) host: u32,
    /// The process that holds it: a machine that restarted knows nothing of it.
    pub(crate) epoch: u32,
    /// Whether its node was told of it, and not of its end.
    pub(crate) up: bool,
    /// Nothing is delivered here any more.
    pub(crate) over: bool,
    /// Whether the remote's extension handshake is here.
    pub(crate) known: bool,
    pub(crate) dialled: bool,
    pub(crate) asked: Requests,
    pub(crate) out: Pipe,
    /// Nothing arrives at this end before.
    pub(crate) clogged_until: u64,
    pub(crate) bytes: Option<Box<ByteEnd>>,
}

impl End {
    pub(crate) fn new(host: u32, epoch: u32, dialled: bool) -> Self {
        Self {
            host,
            epoch,
            up: false,
            over: false,
            known: false,
            dialled,
            asked: Requests::default(),
            out: Pipe::default(),
            clogged_until: 0,
            bytes: None,
        }
    }

    /// Nothing goes out of here any more, nothing comes in.
    pub(crate) fn end(&mut self, items: &mut Pool<Item>) {
        self.up = false;
        self.over = true;
        self.asked = Requests::default();
        items.clear(&mut self.out.queue);
        items.clear(&mut self.out.socket);
    }
}

/// The other end of the same connection.
pub(crate) fn other(end: u32) -> u32 {
    end ^ 1
}
