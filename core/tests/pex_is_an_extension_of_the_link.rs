//! `ut_pex` on a link: on the remote's id, only if it offers it, bounded, and a wrong one is a strike.

mod common;

use common::*;
use zest_core::link::*;
use zest_core::wire::ext_handshake::Extension;
use zest_core::wire::pex::{self, PEX_BYTES_MAX, Pex};

const WITH_PEX: &[u8] = b"d1:md6:ut_pexi7e6:ut_xeti3eee";

fn sample() -> Pex {
    let added = vec![("192.0.2.1:6881".parse().unwrap(), 0x10), ("[2001:db8::1]:443".parse().unwrap(), 0)];
    Pex { added, dropped: vec!["192.0.2.2:1".parse().unwrap()] }
}

#[test]
fn it_is_sent_on_the_remotes_id_and_read_on_ours() {
    let Pex { added, dropped } = sample();
    let mut us = Driver::accepted(THEIR_ID, WITH_PEX);
    us.send(Outgoing::Pex(Pex { added: added.clone(), dropped: dropped.clone() }));
    assert_eq!(us.take_sent(), ext(7, &pex::write(&sample())));
    us.receive(&ext(Extension::UtPex.id(), &pex::write(&sample())));
    assert_eq!(us.take_steps(), [Step::Message(Message::Pex(Pex { added, dropped }))]);
}

#[test]
fn nothing_is_sent_to_a_remote_without_it() {
    let Pex { added, dropped } = sample();
    let mut us = Driver::plain();
    us.send(Outgoing::Pex(Pex { added: added.clone(), dropped: dropped.clone() }));
    assert_eq!(us.take_sent(), b"");
    let mut us = Driver::accepted(THEIR_ID, WITH_PEX);
    us.receive(&ext(0, b"d1:md6:ut_pexi0eee"));
    us.send(Outgoing::Pex(Pex { added, dropped }));
    assert_eq!(us.take_sent(), b"", "it was withdrawn");
}

#[test]
fn a_message_comes_out_however_it_is_cut_even_one_of_45_bytes() {
    // As long as the xorb request of zest 0.4, which is taken from any id by its first byte.
    let body = b"d5:added12:\xc0\x00\x02\x01\x1a\xe1\xc0\x00\x02\x02\x1a\xe17:dropped0:1:v5:xxxxxe";
    assert_eq!(body.len(), 45);
    for cut in [1, 2, 5, 7, 40] {
        let mut us = Driver::accepted(THEIR_ID, WITH_PEX);
        ext(Extension::UtPex.id(), body).chunks(cut).for_each(|part| us.receive(part));
        let steps = us.take_steps();
        assert!(
            matches!(&steps[..], [Step::Message(Message::Pex(Pex { added, .. }))] if added.len() == 2),
            "{steps:?}"
        );
    }
}

#[test]
fn a_wrong_one_ends_the_link_as_a_strike_before_it_is_kept() {
    for body in [&b""[..], b"le", b"d5:added5:12345e", b"d5:addedi1ee", b"d5:added6:12345"] {
        let mut us = Driver::accepted(THEIR_ID, WITH_PEX);
        us.receive(&ext(Extension::UtPex.id(), body));
        let fault = us.fault();
        assert_eq!(fault, PeerFault::BadPex { len: body.len() as u32 });
        assert_eq!(fault.severity(), Severity::Strike);
    }
    let mut us = Driver::accepted(THEIR_ID, WITH_PEX);
    let len = PEX_BYTES_MAX + 1;
    us.receive(&[&(len + 2).to_be_bytes()[..], &[20, Extension::UtPex.id()]].concat());
    assert_eq!(us.fault(), PeerFault::BadPex { len }, "known from its head");
}

#[test]
fn a_flood_of_it_counts_as_useless_bytes() {
    let mut us = Driver::accepted(THEIR_ID, WITH_PEX);
    let big = [b"d5:added6000:".to_vec(), vec![9; 6000], b"e".to_vec()].concat();
    let frame = ext(Extension::UtPex.id(), &big);
    let mut count = 0u64;
    while !matches!(us.steps.last(), Some(Step::Close(_))) {
        us.receive(&frame);
        count += 1;
        assert!(count * (frame.len() as u64) < 2 * CHATTER_BYTES_MAX);
    }
    assert!(matches!(us.fault(), PeerFault::Chatter { .. }));
    let messages = us
        .steps
        .iter()
        .filter(|step| matches!(step, Step::Message(Message::Pex(Pex { added, .. })) if added.len() == 100));
    assert_eq!(messages.count() as u64, count, "each was read within its bound");
}

#[test]
fn zest_0_4_never_meets_it() {
    let mut us = Driver::accepted(THEIR_ID, ORIGINAL);
    // Whatever id its answers come on, they are of ut_xet.
    us.receive(&ext(Extension::UtPex.id(), &[3, 0, 0, 0, 1]));
    assert!(
        us.steps.iter().all(|step| !matches!(step, Step::Close(PeerFault::BadPex { .. }))),
        "{:?}",
        us.steps
    );
}
