//! Every bound and period of the DHT, in one place. A stranger can make a node hold, send or do only what these say.

use crate::Duration;

/// Nodes in a bucket, nodes in an answer, and nodes that a key is announced to: 8 (BEP 5).
pub const K: usize = 8;

/// Longest datagram that is read: 1,500 bytes. Ours; what an Ethernet frame carries.
pub const DATAGRAM_BYTES_MAX: usize = 1500;

/// Longest datagram that is written: 1,200 bytes. Ours; passes every path, IPv6 tunnels included (minimum MTU 1,280).
pub const REPLY_BYTES_MAX: usize = 1200;

/// No reply is longer than this many times its request: 5. Ours. Eight nodes, a token and our bytes come to about three
/// times the shortest request of BEP 5, so strict equality is not to be had; values fill what is left.
pub const REPLY_FACTOR: usize = 5;

/// Longest transaction id that is echoed: 32 bytes. Ours; clients use 2 to 8.
pub const TID_BYTES_MAX: usize = 32;

/// Longest token that is kept for an announcement: 64 bytes. Ours; clients use 4 to 20.
pub const TOKEN_BYTES_MAX: usize = 64;

/// Nodes taken from one answer: 32. Some clients send 20 (k = 20).
pub const NODES_READ_MAX: usize = 32;

/// Silence after which a node is questionable and is pinged: 15 min (BEP 5).
pub const QUESTIONABLE_AFTER: Duration = Duration::from_secs(15 * 60);

/// Silence after which a node that has answered only once is pinged: 5 min. Ours; longer than a NAT keeps a hole open
/// for us (RFC 4787 asks for 2), so a node that cannot be reached is found out before it was told to many.
pub const PROBATION: Duration = Duration::from_secs(5 * 60);

/// Time without an answer after which a node is pinged even if queries come from it: 30 min. Ours; a query is easily
/// forged, an answer is not.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30 * 60);

/// A node that did not answer is asked again after this: 30 s. Ours.
pub const PROBE_AGAIN: Duration = Duration::from_secs(30);

/// Probes of the table come at least this far apart: 1 s. Ours; after a long sleep every node is due, and a burst would
/// look like an attack to routers and to us.
pub const PROBE_SPACING: Duration = Duration::from_secs(1);

/// Failures in a row after which a node is dropped: 3; one less if a spare waits, one if it has answered only once.
pub const FAILS_MAX: u8 = 3;

/// Silence of everybody after which failures are blamed on our own line: 60 s. Ours; two probes of one node, so that none
/// is dropped by a short break.
pub const LINE_UP: Duration = Duration::from_secs(60);

/// A node looks for its own id this often: 12 min. Ours; Crosby and Wallach (2007) trace bad lookups to neighbourhoods
/// that nobody refreshes.
pub const SELF_LOOKUP: Duration = Duration::from_secs(12 * 60);

/// At random up to this much later: 6 min, so that nodes which started together do not stay together. Ours.
pub const SELF_LOOKUP_SPREAD: Duration = Duration::from_secs(6 * 60);

/// First and longest pause between attempts to join: 1 s, doubling to 5 min. Ours; where many machines start at once the
/// first answer of their bootstrap node is empty, and the second is not.
pub const JOIN_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Longest pause while somebody waits for it, that is after a key was looked up or announced and nobody at all answered: 5 s.
/// Ours; with the 2 s that a first question waits for its answer, a bootstrap node that starts after us is found within 10.
pub const JOIN_PAUSE_WANTED: Duration = Duration::from_secs(5);

/// A key waits this long for a first node to ask: 10 s. Ours; names of bootstrap nodes have to be resolved first.
pub const NODES_WAIT: Duration = Duration::from_secs(10);

/// A lookup ends after this, whatever it has: 30 s. Ours; libtorrent gives a single node 15.
pub const LOOKUP_TIME_MAX: Duration = Duration::from_secs(30);

/// Least, first and longest time before a query counts as slow and another node is asked beside it: 50 ms, 500 ms,
/// 1.5 s; between them the measured round trip plus four deviations (RFC 6298).
pub const SLOW_AFTER: (Duration, Duration, Duration) =
    (Duration::from_millis(50), Duration::from_millis(500), Duration::from_millis(1500));

/// A query is given up after four times the time that makes it slow, within 2 to 6 s. Ours.
pub const GIVE_UP_AFTER: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(6));

/// Life of a token secret: 5 min, and as long again while it is the previous one (BEP 5).
pub const TOKEN_SECRET_LIFE: Duration = Duration::from_secs(5 * 60);

/// A stored peer is forgotten after this: 45 min, as in libtorrent; announcements come every 15 to 30.
pub const PEER_LIFE: Duration = Duration::from_secs(45 * 60);

/// Stored peers are swept, and the table is offered for saving, this often: 5 min. Ours.
pub const SWEEP: Duration = Duration::from_secs(5 * 60);

/// Waking this much later than asked means that the machine slept: 60 s. Ours.
pub const ASLEEP: Duration = Duration::from_secs(60);

/// A node tries this long whether strangers reach it: 20 min. Ours; its neighbours look around every 15.
pub const TRIAL: Duration = Duration::from_secs(20 * 60);

/// First and longest pause between trials: 30 min, doubling to 6 h. Ours.
pub const TRIAL_PAUSE: (Duration, Duration) = (Duration::from_secs(30 * 60), Duration::from_secs(6 * 3600));

/// Without a stranger's query for this long a node is on trial again: 60 min. Ours.
pub const REACHED_LIFE: Duration = Duration::from_secs(60 * 60);

/// Strangers are addresses to which nothing was sent for at least this long, and at most twice: 5 min, longer than a
/// NAT keeps a hole open.
pub const STRANGER_AFTER: Duration = Duration::from_secs(5 * 60);

/// A network of fewer known nodes than this has no strangers to be reached by: 16, two buckets. Nobody retires from it.
pub const SMALL_NETWORK: usize = 2 * K;

/// Votes of distinct sites that an external address needs: 4, and more than half of all. Ours.
pub const VOTES_NEEDED: usize = 4;

/// What one node may hold and do at most. All have a default with its reason; a test runs with each at 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Queries of one lookup under way at once (α): 4. BEP 5 leaves it open; libtorrent has 5, Kademlia 3.
    pub lookup_parallel: u32,
    /// Nodes one lookup remembers: 64.
    pub lookup_nodes: u32,
    /// Queries one lookup sends: 80. On the internet 20 to 40 are usual.
    pub lookup_queries: u32,
    /// Peers one lookup gives: 2,000.
    pub lookup_peers: u32,
    /// Keys looked up at once: 16.
    pub lookups: u32,
    /// Keys that wait for their turn: 1,024; more are refused.
    pub lookups_waiting: u32,
    /// Queries of ours under way at once: 256.
    pub calls: u32,
    /// Queries of lookups, per second: 100.
    pub queries_per_s: u32,
    /// Queries of lookups, at once after a pause: 200.
    pub queries_burst: u32,
    /// Nodes met by chance (they asked us, or were named) that are pinged, per second: 2.
    pub meets_per_s: u32,
    /// The same, at once after a pause: 16.
    pub meets_burst: u32,
    /// Spares kept per bucket: 8.
    pub bucket_spares: u32,
    /// Nodes of one /24 or /64 in a bucket, spares included: 1, as in libtorrent.
    pub bucket_subnet: u32,
    /// Nodes of one /24 or /48 in a table, spares included: 4.
    pub table_site: u32,
    /// Nodes of one /24 or /64 in a lookup: 2.
    pub lookup_subnet: u32,
    /// Packets of one address that are looked at, per second: 10. libtorrent bans at 5 per second over 10 s.
    pub source_packets_per_s: u32,
    /// The same, at once after a pause: 50.
    pub source_packets_burst: u32,
    /// Counters for addresses: 512. An address has its counter by a keyed hash; those that share one share its allowance.
    pub source_counters: u32,
    /// Reply bytes, per second: 65,536. libtorrent sends 8,000.
    pub reply_bytes_per_s: u32,
    /// The same, at once after a pause: 262,144.
    pub reply_bytes_burst: u32,
    /// Keys stored: 2,000, as in libtorrent and mainline.
    pub stored_keys: u32,
    /// Peers stored for one key: 200.
    pub stored_key_peers: u32,
    /// Peers stored in all: 20,000 (about 2 MiB).
    pub stored_peers: u32,
    /// Peers stored that one address announced: 100.
    pub stored_source_peers: u32,
    /// Peers stored that one /24 or /48 announced: 400.
    pub stored_site_peers: u32,
    /// Peers stored for one key that one address announced: 4 (several ports behind one NAT).
    pub stored_key_source_peers: u32,
    /// Bootstrap addresses kept per family: 16.
    pub routers: u32,
    /// Votes on our external address that are remembered: 24.
    pub votes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lookup_parallel: 4,
            lookup_nodes: 64,
            lookup_queries: 80,
            lookup_peers: 2000,
            lookups: 16,
            lookups_waiting: 1024,
            calls: 256,
            queries_per_s: 100,
            queries_burst: 200,
            meets_per_s: 2,
            meets_burst: 16,
            bucket_spares: 8,
            bucket_subnet: 1,
            table_site: 4,
            lookup_subnet: 2,
            source_packets_per_s: 10,
            source_packets_burst: 50,
            source_counters: 512,
            reply_bytes_per_s: 65_536,
            reply_bytes_burst: 262_144,
            stored_keys: 2000,
            stored_key_peers: 200,
            stored_peers: 20_000,
            stored_source_peers: 100,
            stored_site_peers: 400,
            stored_key_source_peers: 4,
            routers: 16,
            votes: 24,
        }
    }
}
