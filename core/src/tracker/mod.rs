//! Trackers (BEP 3, 7, 12, 15, 23, 24, 31, 41, 48): formats, and the machine that announces at them.
//!
//! [`Trackers`] owns the list of trackers, which of them answer, and when which swarm is announced where. It never resolves
//! a name, opens a socket or waits: HTTP is [`Action::HttpGet`], names are [`Action::Resolve`], datagrams are
//! [`Action::SendTo`]. Answers are believed only if they come for a request that is open, over UDP also only from the
//! address it went to; everything else changes nothing.
//!
//! # Order of trackers
//! Trackers come in tiers (BEP 12). Each tier is shuffled once; in a tier the first one that answers is asked, and moves to
//! its front. With [`Config::every_tier`] each tier goes its own way, so that peers who know different trackers meet; without
//! it the tiers are one list, as BEP 12 wrote it. A tracker that does not answer within [`ANSWER_WAIT`] costs its
//! swarm that time once: the next one is asked, and the mute one is tried again after 15 s × 2ⁿ by one swarm at a time.
//!
//! # Times
//! A tracker's interval is obeyed between [`INTERVAL_MIN`] and [`INTERVAL_MAX`], plus up to a tenth at random. Whatever it
//! says, all announces together stay within [`Config::milli_packets_per_s`].
//!
//! ```
//! use zest_core::tracker::{Action, Config, Event, Rank, Trackers};
//! use zest_core::{InfoHash, Instant, PeerId};
//!
//! let tiers = vec![vec!["http://tracker.example/announce".parse().unwrap()]];
//! let mut trackers = Trackers::new(Instant::ZERO, Config::new([7; 32], PeerId(*b"-ZT0500-abcdefghijkl"), 6881, tiers));
//! let now = Instant::ZERO;
//! trackers.handle(now, Event::Add { swarm: InfoHash([1; 20]), rank: Rank::Wanted, left: 1000 });
//! let Some(Action::HttpGet { id, url }) = trackers.poll_action() else { panic!() };
//! assert!(url.contains("event=started"));
//! let body = b"d8:intervali1800e5:peers6:\xc0\x00\x02\x01\x1a\xe1e";
//! trackers.handle(now, Event::HttpReply { id, status: 200, body });
//! let found = std::iter::from_fn(|| trackers.poll_action()).find_map(|action| match action {
//!     Action::Peers { peers, .. } => Some(peers),
//!     _ => None,
//! });
//! assert_eq!(found, Some(vec!["192.0.2.1:6881".parse().unwrap()]));
//! assert!(trackers.poll_timeout().is_some(), "the next announce");
//! ```

pub mod announce;
mod answers;
mod event;
pub mod http;
mod machine;
mod over_udp;
mod server;
mod swarm;
pub mod udp;
pub mod url;

pub use announce::{Announce, AnnounceEvent, AnnounceReply, Scraped};
pub use event::{Action, Config, Event, Rank, RequestId, Standing, Timer, TrackerId};
pub use machine::Trackers;
pub use url::{TrackerUrl, Transport, UrlError};

use crate::Duration;

/// Shortest time between two regular announces of a swarm at a tracker: 60 s. Ours; whatever the tracker says.
pub const INTERVAL_MIN: Duration = Duration::from_secs(60);
/// Longest: 2 h. Ours; a tracker cannot make us fall silent.
pub const INTERVAL_MAX: Duration = Duration::from_secs(2 * 3600);
/// If the tracker says nothing: 30 min, what most of them say.
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(1800);
/// How long an answer is waited for before the next tracker is asked: 15 s (BEP 15's first time-out).
pub const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// First pause of a tracker that does not answer: 15 s, doubles (BEP 15).
pub const RETRY: Duration = Duration::from_secs(15);
/// Longest pause of a tracker that does not answer: 15 s × 2⁸ = 3,840 s (BEP 15).
pub const RETRY_MAX: Duration = Duration::from_secs(3840);
/// First pause of a swarm at a tracker that refuses it: 5 min, doubles up to [`INTERVAL_MAX`]. Ours.
pub const REFUSED_RETRY: Duration = Duration::from_secs(300);
/// How long a connection id is used: 60 s (BEP 15).
pub const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// How long a resolved name is used: 30 min. Ours.
pub const RESOLVED_LIFE: Duration = Duration::from_secs(1800);
/// Trackers in all tiers: 64. Ours; the rest of a longer list is left out.
pub const TRACKERS_MAX: usize = 64;
/// Swarms announced: 65,536. Ours; further ones are not announced.
pub const SWARMS_MAX: usize = 65_536;
/// Requests open at one tracker: 8. Ours; one at a tracker that has not answered yet, or not lately.
pub const OPEN_MAX: usize = 8;
/// Farewells sent when the process ends: 200. Ours; trackers forget the others by themselves.
pub const FAREWELLS_MAX: usize = 200;
/// A farewell over UDP, or the connect request it waits for, is sent again after this without an answer: 500 ms. Ours; the
/// process is about to end, and BEP 15's 15 s are not to be had.
pub const FAREWELL_AGAIN: Duration = Duration::from_millis(500);
/// When the process ends, a farewell that waits for the end of an earlier request over HTTP waits no longer than this: 1 s.
/// Ours; by then a slow tracker has read the earlier one, too.
pub const FAREWELL_HOLD: Duration = Duration::from_secs(1);
/// Packets that one HTTP request costs us: 6 (SYN, ACK, request, ACK of the answer, FIN, ACK). Ours, an estimate.
pub const HTTP_PACKETS: u32 = 6;
/// Packets that one UDP request costs us: 1. The connect request is shared by all of a minute.
pub const UDP_PACKETS: u32 = 1;
