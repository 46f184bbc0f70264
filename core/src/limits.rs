//! Every limit of this crate that a stranger can press on, in one place, by what it presses with. `SECURITY.md` shows them as a table,
//! and a test compares the two.

pub use crate::dht::limits as dht;
pub use crate::node::limits as node;

/// One link, and connections that are none yet.
pub mod link {
    pub use crate::bencode::{DEPTH_MAX, TOKENS_MAX};
    pub use crate::link::{
        ACTIONS_KEEP, CHATTER_BYTES_MAX, CONTROL_FRAME_BYTES_MAX, ERROR_TEXT_CHARS_MAX, EXT_HANDSHAKE_WAIT,
        EXT_HANDSHAKES_MAX, FORGOTTEN_MAX, FRAME_BYTES_MAX, HANDSHAKE_WAIT, IDLE_BYTES_MAX, IDLE_LIMIT,
        KEEP_ALIVE_AFTER, LATE_BYTES_MAX, OUTSTANDING_MAX,
    };
    pub use crate::lobby::HALF_OPEN_MAX;
    pub use crate::wire::client_name::CLIENT_BYTES_MAX;
    pub use crate::wire::ext_handshake::EXT_HANDSHAKE_BYTES_MAX;
    pub use crate::wire::zest::{
        AVAILABILITY_BYTES_MAX, CLAIMS_MAX, MANIFEST_PART_RECORDS_MAX, PLAIN_BYTES_MAX,
    };
}

/// What peers tell of peers.
pub mod pex {
    pub use crate::pex::{HEARD_EVERY, HEARD_FIRST, KNOWN_MAX, SPEAKERS_MAX};
    pub use crate::wire::pex::{PEX_BYTES_MAX, PEX_READ_MAX};
}

/// What trackers answer.
pub mod tracker {
    pub use crate::tracker::announce::{REASON_CHARS_MAX, REPLY_PEERS_MAX, TRACKER_ID_BYTES_MAX};
    pub use crate::tracker::http::REPLY_BYTES_MAX;
    pub use crate::tracker::{INTERVAL_MAX, INTERVAL_MIN};
}

/// What is heard on this network.
pub mod lsd {
    pub use crate::lsd::message::{READ_BYTES_MAX, READ_HASHES_MAX};
    pub use crate::lsd::{MESSAGES_MAX, SOURCE_MESSAGES_MAX, SOURCES_MAX, WINDOW};
}

/// What is remembered of what was found.
pub mod discovery {
    pub use crate::discovery::{KNOWN_MAX, KNOWN_PEERS_MAX};
}
