//! Every limit of the node that a stranger can press on, in one place. Those of one link are in [`crate::link`]; all of them in
//! [`crate::limits`].

use crate::Duration;

pub use super::authors::{AUTHOR_AGE, AUTHORS_MAX, LET_DOWNS_MAX, SUSPECT, TENTATIVE_LIES_MAX};
pub use super::ban::{BAN, BANS_MAX, BANS_PER_IP_MAX};
pub use super::dials::{DHT_DIALS_PER_S, DIAL_HOLDS, DIALS_NETWORK_MAX, TOLD_AGAIN, TOLD_DIALS_PER_S};
pub use super::lessons::LESSONS_MAX;
pub use super::links::{CLOSING_MAX, IDLE_GRACE, PARTY_SHARE, RECORD_GRACE};
pub use super::offers::{EARLY_OFFERS_MAX, FOLLOWS_MAX, OFFERS_MAX};
pub use super::peer::INTERESTS_MAX;
pub use super::plain::PARTNERS_MAX;
pub use super::plain_held::{PLAIN_HELD_ALL_MAX, PLAIN_HELD_MAX};
pub use super::tell::{INTERESTS_ALL_MAX, INTERESTS_LINK_MIN, INTERESTS_PARTY_MAX};
pub use super::tellers::{DEAF, TELLERS_MAX};
pub use super::tentative::{BRIEFS_MAX, TENTATIVE_BYTES_MAX, TENTATIVE_PARTY_BYTES_MAX};
pub use super::unit_claims::{EARLY_CLAIMS_JOB_MAX, EARLY_CLAIMS_MAX};
pub use super::{CANDIDATES_MAX, INBOUND_MAX, PEERS_MAX, UPLOAD_SLOTS};

/// Different things given to a party that are remembered to see whether it asks for them again: 256, 2 KiB. Ours; of more than
/// that a sample is kept.
pub const REPEATS_SAMPLE_MAX: usize = 256;
/// So many things a party may ask for again for nothing: 64. Ours; links break, and what was under way is asked for anew.
pub const REPEATS_FREE: u64 = 64;
/// And so much of all that it was given: an eighth. Ours.
pub const REPEATS_SHARE: u64 = 8;
/// What a party was given is forgotten after this: 1 h. Ours; who deletes what it fetched may fetch it again.
pub const REPEATS_AGE: Duration = Duration::from_secs(3600);
/// Who asks again for what it was given waits so many turns for each, while others want something: 16. Ours; others get fifteen
/// sixteenths of what there is, which slows them by less than 1.1.
pub const REPEAT_TURNS: u64 = 16;
/// Turns that a party may be behind until answers that do not stand in line have to: 64, about 4 MiB. Ours.
pub const BEHIND_MAX: u64 = 64;
/// Xorb ranges for zest 0.4 are refused to further links of a party ahead of which so many bytes lie: 64 MiB, the longest xorb. Ours; they do not
/// stand in line, and what lies in many sockets keeps whoever comes next waiting.
pub const XORBS_AHEAD_BYTES: u64 = 64 << 20;
/// Parties without a link that are remembered, so that hanging up and coming back makes nobody a newcomer: 1,024. Ours.
pub const PARTIES_PAST_MAX: usize = 1024;
/// What it costs a party to say something that we have to look at: 500 µs, 2,000 messages a second in the long run. Ours.
pub const PRICE: Duration = Duration::from_micros(500);
/// Payload that pays for one message: 4 KiB. Ours; the shortest chunk pays for two, so whoever fetches pays nothing.
pub const PRICE_PAID_BYTES: u64 = 4 << 10;
/// What a party may owe before its links are no longer read: 4 s, 8,000 messages. Ours; many links that all ask for the first
/// time owe less.
pub const PRICE_BURST: Duration = Duration::from_secs(4);
/// One party gets so much of a day's budget at most: a quarter. Ours; who has one address must not be all who is served today.
pub const BUDGET_SHARE: u64 = 4;
/// But so many bytes at least, where a budget is small: 16 MiB. Ours.
pub const BUDGET_PARTY_MIN: u64 = 16 << 20;
