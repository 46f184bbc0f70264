//! Two links that both speak the `zest` extension, and what one tells the other.

mod common;

use common::*;
use zest_core::link::*;
use zest_core::{FileKey, PeerId};

const OTHER_ID: PeerId = PeerId(*b"-ZT0500-otherotherot");

/// Two links of our own making, introduced to each other.
fn pair() -> (Driver, Driver) {
    let mut a = Driver::new(Role::Dial { info_hash: SWARM });
    let mut b = Driver::new(Role::Accept);
    b.link = Link::new(b.now, Config { role: Role::Accept, our_id: OTHER_ID, listen_port: 0 });
    exchange(&mut a, &mut b);
    for (driver, port) in [(&mut a, None), (&mut b, Some(6881))] {
        let steps = driver.take_steps();
        let [Step::Established { bep10: true, .. }, Step::Message(Message::ExtHandshake(seen))] = &steps[..]
        else {
            panic!("{steps:?}")
        };
        assert_eq!(
            (seen.id(Extension::UtXet), seen.id(Extension::Xet), seen.id(Extension::Zest), seen.listen_port),
            (Some(1), Some(2), Some(3), port)
        );
        assert_eq!((seen.reqq, seen.dialect_guess), (Some(512), Dialect::Chunk));
    }
    (a, b)
}

fn exchange(a: &mut Driver, b: &mut Driver) {
    while !a.sent.is_empty() || !b.sent.is_empty() {
        b.receive(&a.take_sent());
        a.receive(&b.take_sent());
    }
}

fn claim(first: u32) -> Claim {
    Claim { first, score: u64::MAX - u64::from(first), beat: Claim::RELEASED }
}

#[test]
fn every_message_arrives_as_it_was_meant() {
    let (mut a, mut b) = pair();
    let file = hash(0xf1);
    let key = FileKey::of(&file);
    let runs = vec![(0, 3), (10, 1), (500, 1000)];
    let claims = vec![claim(500), claim(0)];
    for message in [
        ZestMessage::Interest { file },
        ZestMessage::Uninterest { file },
        ZestMessage::Have { file, total: 1500, runs: runs.clone() },
        ZestMessage::HaveMore { file: key, runs },
        ZestMessage::Slot { open: false, wait_ms: 9 },
        ZestMessage::Claim { file: key, claims },
        ZestMessage::Streams { file: key, first: 7 },
        ZestMessage::Follow { file: key, first: 7, on: false },
        ZestMessage::Told { file: key, first: 7, at: 2, records: vec![] },
        ZestMessage::ManifestRequest { req: 5, file, first: 3, count: 4 },
        ZestMessage::Cancel { req: 5 },
    ] {
        a.send(Outgoing::Zest(message.clone()));
        exchange(&mut a, &mut b);
        assert_eq!(b.take_steps(), [Step::Message(Message::Zest(message))]);
    }
}

#[test]
fn lists_that_are_too_long_for_a_message_arrive_in_several() {
    let (mut a, mut b) = pair();
    let file = FileKey::of(&hash(0xf1));
    let claims: Vec<Claim> = (0..600).map(claim).collect();
    a.send(Outgoing::Zest(ZestMessage::Claim { file, claims: claims.clone() }));
    a.send(Outgoing::Zest(ZestMessage::Claim { file, claims: vec![] }));
    exchange(&mut a, &mut b);
    let part =
        |part: &[Claim]| Step::Message(Message::Zest(ZestMessage::Claim { file, claims: part.to_vec() }));
    assert_eq!(b.take_steps(), [part(&claims[..256]), part(&claims[256..512]), part(&claims[512..])]);

    // A run of two bytes and 5,457 of three fill the 16,373 bytes of the first message.
    let runs: Vec<(u32, u32)> = (0..6000).map(|n| (200 * n, 1)).collect();
    a.send(Outgoing::Zest(ZestMessage::HaveMore { file, runs: runs.clone() }));
    a.send(Outgoing::Zest(ZestMessage::HaveMore { file, runs: vec![] }));
    exchange(&mut a, &mut b);
    let [
        Step::Message(Message::Zest(ZestMessage::HaveMore { runs: one, .. })),
        Step::Message(Message::Zest(ZestMessage::HaveMore { runs: two, .. })),
    ] = &b.take_steps()[..]
    else {
        panic!("two messages")
    };
    assert_eq!((one.len(), two.len()), (5458, 542));
    assert!([&one[..], two].concat() == runs, "all of them, in order");
}

#[test]
fn a_manifest_is_fetched_in_parts() {
    let (mut a, mut b) = pair();
    a.ask_manifest(1, 2, 10);
    a.ask_manifest(2, 0, 1);
    assert_eq!(a.link.expect().head, 31);
    exchange(&mut a, &mut b);
    b.take_steps();
    let records = vec![7; 3 * 36];
    let body = b.body(&records);
    let part = ManifestPart { file_size: 1 << 40, total: 5, first: 2, count: 3 };
    b.send(Outgoing::ManifestPart { req: 1, part, body });
    b.send(Outgoing::Zest(ZestMessage::ManifestNone { req: 2 }));
    exchange(&mut a, &mut b);
    let mut expected = payload_steps(1, PayloadKind::ManifestPart(part), &records);
    expected.push(Step::Message(Message::Zest(ZestMessage::ManifestNone { req: 2 })));
    assert_eq!(a.take_steps(), expected);
    // A second "none" answers nothing and harms nobody.
    b.send(Outgoing::Zest(ZestMessage::ManifestNone { req: 2 }));
    exchange(&mut a, &mut b);
    assert_eq!(a.take_steps(), [Step::Message(Message::Ignored)]);
}

#[test]
fn nothing_of_it_goes_to_a_remote_without_it() {
    let mut us = Driver::plain();
    let file = hash(1);
    let key = FileKey::of(&file);
    let body = us.body(&[0; 36]);
    let part = ManifestPart { file_size: 1, total: 1, first: 0, count: 1 };
    for outgoing in [
        Outgoing::Zest(ZestMessage::Interest { file }),
        Outgoing::Zest(ZestMessage::Uninterest { file }),
        Outgoing::Zest(ZestMessage::Have { file, total: 1, runs: vec![] }),
        Outgoing::Zest(ZestMessage::HaveMore { file: key, runs: vec![(0, 1)] }),
        Outgoing::Zest(ZestMessage::Slot { open: true, wait_ms: 0 }),
        Outgoing::Zest(ZestMessage::Claim { file: key, claims: vec![claim(0)] }),
        Outgoing::Zest(ZestMessage::Streams { file: key, first: 0 }),
        Outgoing::Zest(ZestMessage::Follow { file: key, first: 0, on: true }),
        Outgoing::Zest(ZestMessage::Told { file: key, first: 0, at: 0, records: vec![] }),
        Outgoing::Zest(ZestMessage::ManifestNone { req: 1 }),
        Outgoing::ManifestPart { req: 1, part, body },
        Outgoing::Zest(ZestMessage::PlainNone { req: 1 }),
        Outgoing::Plain { req: 1, body },
        Outgoing::Zest(ZestMessage::Cancel { req: 1 }),
    ] {
        us.send(outgoing);
    }
    assert!(us.sent.is_empty() && us.steps.is_empty());
}
