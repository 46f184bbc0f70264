//! How often what is announced, and what that costs: the arithmetic behind [`Discovery`](super::Discovery).
//!
//! Costs are packets that we send, answers not counted. A look in the DHT costs [`GET_PACKETS`], an announce
//! [`ANNOUNCE_PACKETS`] (the same look, and the announce at the 8 closest nodes); at trackers a UDP announce costs 1 and an
//! HTTP announce 6; a multicast message costs 1 per group, whatever number of files it names.
//!
//! Without a budget, f files in g groups would cost the DHT f × 28 packets per period P, 25 min to 27.5 min (1,575 s on
//! average): 3,750 files 67 packets a second, all day. With a budget B (6 packets a second):
//!
//! - the g leads go first, each every P, as long as g × 28 / P ≤ B: up to 337 groups, 2.6 TB of models of 8 GB;
//! - the others share what is left: each every (f − g) × 28 / (B − g × 28 / P);
//! - one that a peer asked for within an hour counts eight times as overdue as the others, a lead 32 times;
//! - what the DHT forgets in between (after 30 min to 45 min) is still found: through the lead of its group, through
//!   trackers, neighbours, and peers.
//!
//! So the average never exceeds B for the DHT, 3 packets a second for trackers, and 2 a minute for the local network.

use crate::lsd::message::SENT_HASHES_MAX;
use crate::lsd::{ANNOUNCE_EVERY, MESSAGE_EVERY};
use crate::tracker::INTERVAL_DEFAULT;
use crate::{Duration, lsd, tracker};
use alloc::string::String;
use core::fmt::Write as _;

/// Packets that a look in the DHT costs: 20. What well-made ones need in networks of 20 to 100 nodes, and more.
pub const GET_PACKETS: u32 = 20;
/// Packets that an announce in the DHT costs: 28, a look and 8 announces.
pub const ANNOUNCE_PACKETS: u32 = 28;
/// Time between two announces of a file in the DHT: 25 min, and up to a tenth more. Nodes forget peers after 30 min to 45
/// min.
pub const DHT_PERIOD: Duration = Duration::from_secs(25 * 60);
/// Packets that announcing leaves in the budget for those who look for peers: 60, three looks. Ours.
pub const RESERVE_PACKETS: u32 = 60;
/// How many times as overdue the lead of a group counts. Ours.
pub const WEIGHT_LEAD: u32 = 32;
/// How many times as overdue a file counts that a peer asked for lately. Ours.
pub const WEIGHT_ASKED: u32 = 8;
/// How long "lately" is: 1 h. Ours.
pub const ASKED_LIFE: Duration = Duration::from_secs(3600);

/// What a node seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Files.
    pub files: u32,
    /// Groups of files.
    pub groups: u32,
}

/// What announcing it all costs, in thousandths of a packet per second, and how often it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// What it would cost the DHT without a budget.
    pub dht_unbounded_milli: u64,
    /// What it costs.
    pub dht_milli: u64,
    /// Seconds between two announces of a lead.
    pub lead_every_s: u64,
    /// Seconds between two announces of another file.
    pub rest_every_s: u64,
    /// What one UDP tracker costs at most, with its usual interval: files that are announced together share a connection.
    pub udp_tracker_milli: u64,
    /// What one HTTP tracker costs.
    pub http_tracker_milli: u64,
    /// Seconds between two announces of a file at an HTTP tracker.
    pub http_every_s: u64,
    /// What both multicast groups cost.
    pub lan_milli: u64,
    /// Seconds between two mentions of a file in a group.
    pub lan_every_s: u64,
}

impl Plan {
    /// DHT, one UDP tracker and both multicast groups together.
    #[must_use]
    pub fn total_milli(&self) -> u64 {
        self.dht_milli + self.udp_tracker_milli + self.lan_milli
    }
}

/// The cost of a load under a budget for the DHT and one for trackers, both in thousandths of a packet per second.
#[must_use]
pub fn plan(load: Load, dht_milli: u32, tracker_milli: u32) -> Plan {
    let (files, groups) = (u64::from(load.files), u64::from(load.groups.min(load.files)));
    let (dht, trackers) = (u64::from(dht_milli), u64::from(tracker_milli));
    let per_s =
        |count: u64, packets: u32, every_s: u64| (count * u64::from(packets) * 1000).div_ceil(every_s.max(1));
    // Periods are lengthened by up to a tenth at random: by a twentieth on average.
    let period_s = DHT_PERIOD.as_secs() * 21 / 20;
    let leads = per_s(groups, ANNOUNCE_PACKETS, period_s);
    let unbounded = per_s(files, ANNOUNCE_PACKETS, period_s);
    let every =
        |count: u64, packets: u32, milli: u64| (count * u64::from(packets) * 1000).div_ceil(milli.max(1));
    let lead_every_s = period_s.max(every(groups, ANNOUNCE_PACKETS, dht));
    let rest_every_s = period_s.max(every(files - groups, ANNOUNCE_PACKETS, dht.saturating_sub(leads)));
    let interval_s = INTERVAL_DEFAULT.as_secs() * 21 / 20;
    // The connect request, at most once a minute.
    let connects = per_s(files.min(interval_s / 60), 1, interval_s);
    let messages = files.div_ceil(SENT_HASHES_MAX as u64);
    let lan_every_s = ANNOUNCE_EVERY.as_secs().max(messages * MESSAGE_EVERY.as_secs());
    let lan = lsd::Group::ALL.len() as u64 * per_s(messages, 1, lan_every_s);
    Plan {
        dht_unbounded_milli: unbounded,
        dht_milli: unbounded.min(dht),
        lead_every_s,
        rest_every_s: if files == groups { lead_every_s } else { rest_every_s },
        udp_tracker_milli: (per_s(files, tracker::UDP_PACKETS, interval_s) + connects).min(trackers),
        http_tracker_milli: per_s(files, tracker::HTTP_PACKETS, interval_s).min(trackers),
        http_every_s: interval_s.max(every(files, tracker::HTTP_PACKETS, trackers)),
        lan_milli: if files == 0 { 0 } else { lan },
        lan_every_s,
    }
}

/// The loads of the table in the protocol document: a file, a model of 30 files, 1 TB as 125 models of 8 GB in 30 files.
pub const LOADS: [(&str, Load); 3] = [
    ("1 file", Load { files: 1, groups: 1 }),
    ("1 model, 30 files", Load { files: 30, groups: 1 }),
    ("1 TB, 125 models, 3,750 files", Load { files: 3750, groups: 125 }),
];

/// The table of the protocol document, in Markdown, computed from the constants and the default budgets.
#[must_use]
pub fn table() -> String {
    let mut out = String::from(
        "| seeded | DHT, unbounded | DHT | a lead every | another file every | UDP tracker | LAN | all |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let config = super::Config::new([0; 32], crate::PeerId([0; 20]), 0);
    for (name, load) in LOADS {
        let plan = plan(load, config.dht_milli_packets_per_s, config.tracker_milli_packets_per_s);
        let rate = |milli: u64| alloc::format!("{}.{:03}/s", milli / 1000, milli % 1000);
        let time = |s: u64| {
            if s < 7200 { alloc::format!("{} min", s / 60) } else { alloc::format!("{} h", s / 3600) }
        };
        let _ = writeln!(
            out,
            "| {name} | {} | {} | {} | {} | {} | {} | {} |",
            rate(plan.dht_unbounded_milli),
            rate(plan.dht_milli),
            time(plan.lead_every_s),
            if load.files == load.groups { "–".into() } else { time(plan.rest_every_s) },
            rate(plan.udp_tracker_milli),
            rate(plan.lan_milli),
            rate(plan.total_milli()),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_costs_next_to_nothing_and_a_terabyte_stays_below_its_budget() {
        let one = plan(LOADS[0].1, 6000, 3000);
        assert_eq!((one.dht_milli, one.lead_every_s, one.lan_milli), (18, 1575, 8));
        let tb = plan(LOADS[2].1, 6000, 3000);
        assert_eq!((tb.dht_unbounded_milli, tb.dht_milli, tb.lead_every_s), (66_667, 6000, 1575));
        assert!(tb.rest_every_s > 7 * 3600 && tb.rest_every_s < 8 * 3600, "{tb:?}");
        assert!(tb.total_milli() < 10_000, "{tb:?}");
        let groups = Load { files: 337, groups: 337 };
        assert_eq!(plan(groups, 6000, 3000).lead_every_s, 1575, "as the text says");
        assert!(plan(Load { files: 340, groups: 340 }, 6000, 3000).lead_every_s > 1575);
    }

    #[test]
    fn no_load_makes_a_number_overflow() {
        let all = plan(Load { files: u32::MAX, groups: u32::MAX }, u32::MAX, u32::MAX);
        assert!(all.dht_milli <= u64::from(u32::MAX));
        let none = plan(Load { files: 0, groups: 5 }, 1, 1);
        assert_eq!(none.total_milli(), 0);
    }
}
