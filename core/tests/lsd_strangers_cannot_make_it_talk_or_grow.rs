//! Anybody on the network can send to the group: floods, forgeries and nonsense cost a bounded amount and reveal nothing.

use std::net::SocketAddr;
use zest_core::lsd::*;
use zest_core::{Duration, InfoHash, Instant};

const OURS: InfoHash = InfoHash([0x11; 20]);

fn lsd() -> Lsd {
    let mut lsd = Lsd::new(Config { seed: [1; 32], port: 7000 });
    lsd.handle(Instant(0), Event::Group { group: Group::V4, up: true });
    lsd.handle(Instant(0), Event::Add { swarm: OURS, wanted: false });
    lsd
}

fn hear(lsd: &mut Lsd, now: Instant, from: &str, bytes: &[u8]) -> usize {
    let from: SocketAddr = from.parse().unwrap();
    lsd.handle(now, Event::Datagram { group: Group::V4, from, bytes });
    lsd.check_invariants();
    std::iter::from_fn(|| lsd.poll_action()).filter(|action| matches!(action, Action::Found { .. })).count()
}

fn search(port: u16) -> Vec<u8> {
    message::write(Group::V4, port, &[OURS], "other")
}

#[test]
fn a_flood_from_one_source_leaves_the_others_heard() {
    let mut lsd = lsd();
    let found: usize =
        (0..100_000).map(|_| hear(&mut lsd, Instant(1), "192.168.1.66:6771", &search(1))).sum();
    assert_eq!(found as u32, SOURCE_MESSAGES_MAX);
    assert_eq!(hear(&mut lsd, Instant(2), "192.168.1.2:6771", &search(1)), 1);
    let later = Instant(2) + WINDOW;
    assert_eq!(hear(&mut lsd, later, "192.168.1.66:6771", &search(1)), 1, "and is heard again later");
}

#[test]
fn a_flood_from_forged_sources_is_bounded_in_all() {
    let mut lsd = lsd();
    let mut found = 0;
    for n in 0..20_000u32 {
        let [_, b, c, d] = n.to_be_bytes();
        found += hear(&mut lsd, Instant(1), &format!("10.{b}.{c}.{d}:6771"), &search(1));
    }
    assert_eq!(found as u32, MESSAGES_MAX);
    assert_eq!(hear(&mut lsd, Instant(1) + WINDOW, "192.168.1.2:6771", &search(1)), 1);
}

#[test]
fn questions_make_no_more_messages_than_silence_would_allow() {
    let mut lsd = lsd();
    let mut now = Instant(0);
    let mut sent = vec![];
    // A new source asks every 100 ms, for an hour.
    for n in 0..36_000u32 {
        now = now + Duration::from_millis(100);
        while lsd.poll_timeout().is_some_and(|(at, _)| at <= now) {
            lsd.handle(now, Event::Timer);
        }
        let [_, b, c, d] = n.to_be_bytes();
        let from: SocketAddr = format!("10.{b}.{c}.{d}:6771").parse().unwrap();
        lsd.handle(now, Event::Datagram { group: Group::V4, from, bytes: &search(1) });
        while let Some(action) = lsd.poll_action() {
            if let Action::Send { bytes, .. } = action {
                sent.push(bytes.len());
            }
        }
    }
    assert!(sent.len() <= 60, "{} messages in an hour", sent.len());
    assert!(sent.iter().all(|len| *len < 200), "one swarm, whatever was asked");
}

#[test]
fn nonsense_and_addresses_that_are_none_find_nothing() {
    let mut lsd = lsd();
    let whole = search(9);
    for len in 0..whole.len() {
        let cut = &whole[..len];
        let ends_in_hash = len >= whole.iter().position(|b| *b == b'c').unwrap_or(0) - 2;
        let found = hear(&mut lsd, Instant(len as u64 * 60_000_000), "192.168.1.2:6771", cut);
        assert!(found == 0 || ends_in_hash, "{len} bytes");
    }
    let far = Instant(u64::MAX / 2);
    for bytes in
        [&b""[..], b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:ping1:t2:aa1:y1:qe", &[0xff; 5000], &[b'\n'; 4096]]
    {
        assert_eq!(hear(&mut lsd, far, "192.168.1.3:6771", bytes), 0);
    }
    for from in ["0.0.0.0:6771", "239.192.152.143:6771", "255.255.255.255:1"] {
        assert_eq!(hear(&mut lsd, far, from, &whole), 0, "{from}");
    }
    let not_ours = message::write(Group::V4, 9, &[InfoHash([0x22; 20])], "other");
    assert_eq!(hear(&mut lsd, far, "192.168.1.4:6771", &not_ours), 0);
}

#[test]
fn a_replay_of_our_own_words_is_not_taken_for_a_neighbour() {
    let mut lsd = lsd();
    let (at, _) = lsd.poll_timeout().unwrap();
    lsd.handle(at, Event::Timer);
    let Some(Action::Send { bytes, .. }) = lsd.poll_action() else { panic!("a message") };
    assert_eq!(hear(&mut lsd, at, "192.168.1.1:6771", &bytes), 0);
    assert_eq!(hear(&mut lsd, at, "192.168.1.66:6771", &bytes), 0, "whoever sends it");
}

#[test]
fn a_clock_that_jumps_keeps_the_distance_between_messages() {
    let mut lsd = lsd();
    let mut now = Instant(0);
    let mut count = 0;
    for jump in [0, 86_400_000_000u64, 0, 7, 500_000_000_000] {
        now = Instant(jump + 1_000_000);
        lsd.handle(now, Event::Timer);
        lsd.handle(now, Event::Timer);
        lsd.check_invariants();
        let sent = std::iter::from_fn(|| lsd.poll_action()).count();
        assert!(sent <= 1);
        count += sent;
    }
    assert!(count >= 2 && lsd.poll_timeout().is_some_and(|(at, _)| at > now));
}
