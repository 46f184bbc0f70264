//! Chunks of a xorb that a peer streams come before anything proves them: they are kept beside the file, and nothing of them is used,
//! landed or served until the whole list proves. A lie has one author, and costs one block.

mod bench;
mod streams;

use bench::{BLOCKS, Bench, CHUNKS, FILE, JOB, LEN, chunk, list};
use std::sync::Arc;
use zest_core::link::{Dialect, Message, Outgoing, ZestMessage};
use zest_core::node::limits::{BRIEFS_MAX, FOLLOWS_MAX, LET_DOWNS_MAX, SUSPECT};
use zest_core::node::{Action, BitSet, Event, Policy, Source, claim_score};
use zest_core::{Duration, FileKey, LinkId, PeerId};
use zest_xet::{ChunkRef, Hash, Manifest, file_hash};

#[test]
fn what_is_told_is_used_once_the_whole_list_proves_and_not_before() {
    let mut bench = Bench::new(Policy::SpareOrigin, 2);
    bench.offers(1, 0);
    assert_eq!(bench.follows(1), [(0, true)]);
    bench.tells(1, 0, 0, &list(0)[..5]);
    assert_eq!(bench.gives(1, true), 5, "each is asked for once");
    for nth in 0..5 {
        assert!(bench.node.needs(JOB, nth), "what nothing proves is not held");
        // Nobody else has it from us.
        let message = Message::ChunkRequest { req: nth, hash: chunk(0, nth).hash, dialect: Dialect::Chunk };
        bench.hears(LinkId(2), message);
    }
    assert_eq!(bench.used(), 0);
    assert_eq!(bench.count(|a| matches!(a, Action::LookupChunk { .. })), 5, "we do not give it");
    bench.tells(1, 0, 5, &list(0)[5..]);
    let adopted =
        bench.count(|a| matches!(a, Action::AdoptBlockList { block: 0, list: l, .. } if **l == *list(0)));
    assert_eq!((adopted, bench.used()), (1, 0));
    bench.gives(1, true);
    bench.tell(Event::BlockListed { job: JOB, block: 0, list: list(0).into(), wrong: vec![] });
    assert_eq!(bench.count(|a| matches!(a, Action::CopyLocal { .. })), 8, "all of it is proven at once");
    for index in 0..CHUNKS {
        bench.tell(Event::ChunkDone { job: JOB, index, source: Source::Disk });
        assert!(!bench.node.needs(JOB, index));
    }
}

#[test]
fn a_list_from_elsewhere_proves_what_was_kept() {
    let mut bench = Bench::new(Policy::SpareOrigin, 2);
    bench.offers(1, 3);
    bench.tells(1, 3, 0, &list(3)[..3]);
    bench.gives(1, true);
    bench.tell(Event::BlockListed { job: JOB, block: 3, list: list(3).into(), wrong: vec![] });
    assert_eq!(bench.count(|a| matches!(a, Action::CopyLocal { .. })), 3);
    assert_eq!(bench.follows(1), [(3, false)]);
}

/// Lies about a block in some way, and sees all of it dropped.
fn lies(lie: impl Fn(&mut Bench, u64, u32)) {
    let mut bench = Bench::new(Policy::SpareOrigin, 2);
    bench.offers(1, 0);
    lie(&mut bench, 1, 0);
    assert!(bench.dropped(0), "all of it is dropped");
    assert_eq!(bench.used(), 0);
    assert_eq!(bench.count(|a| matches!(a, Action::Banned { .. })), 0, "it may have been misled itself");
    bench.done.clear();
    bench.offers(1, 1);
    assert_eq!(bench.follows(1), [], "who lied is not followed");
    bench.offers(2, 1);
    assert_eq!(bench.follows(2), [(1, true)], "others are");
    bench.tells(2, 1, 0, &list(1));
    bench.tell(Event::JobRemoved { job: JOB });
    bench.wait(SUSPECT + Duration::from_secs(1));
    bench.start();
    bench.done.clear();
    bench.offers(1, 0);
    assert_eq!(bench.follows(1), [(0, true)], "for ten minutes");
    lie(&mut bench, 1, 0);
    assert!(bench.dropped(0));
    assert_eq!(bench.count(|a| matches!(a, Action::Banned { .. })), 1, "the second lie is one too many");
    assert_eq!(bench.used(), 0);
}

#[test]
fn a_wrong_list_costs_its_author_his_word_and_then_his_link() {
    lies(|bench, link, block| {
        let mut wrong = list(block);
        wrong[6].hash = Hash::from_bytes([0xee; 32]);
        bench.tells(link, block, 0, &wrong[..7]);
        assert!(bench.gives(link, true) > 0);
        bench.tells(link, block, 7, &wrong[7..]);
    });
}

#[test]
fn a_wrong_chunk_does_as_well() {
    lies(|bench, link, block| {
        bench.tells(link, block, 0, &list(block)[..2]);
        assert!(bench.gives_bad(link));
    });
}

#[test]
fn so_does_a_list_without_end() {
    lies(|bench, link, block| {
        bench.tells(link, block, 0, &list(block)[..7]);
        bench.tells(link, block, 7, &list(block)[..2]);
    });
}

#[test]
fn so_does_a_change_of_mind() {
    lies(|bench, link, block| {
        bench.tells(link, block, 0, &list(block)[..4]);
        bench.tells(link, block, 2, &list(block)[4..6]);
    });
}

#[test]
fn so_do_chunks_that_cannot_be() {
    lies(|bench, link, block| bench.tells(link, block, 0, &[ChunkRef { len: u32::MAX, ..chunk(block, 0) }]));
}

#[test]
fn a_block_has_one_author_and_another_one_only_after_him() {
    let mut bench = Bench::new(Policy::SpareOrigin, 3);
    bench.offers(1, 2);
    bench.offers(2, 2);
    assert_eq!((bench.follows(1), bench.follows(2)), (vec![(2, true)], vec![]));
    // What the other one says is not heard.
    bench.tells(2, 2, 0, &list(2));
    assert_eq!(bench.count(|a| matches!(a, Action::AdoptBlockList { .. })), 0);
    bench.tells(1, 2, 0, &list(2)[..3]);
    bench.gives(1, true);
    bench.tell(Event::LinkDown { link: LinkId(1), fault: None });
    assert!(bench.dropped(2), "its bytes go with it");
    bench.wait(Duration::from_millis(600));
    assert_eq!(bench.follows(2), [(2, true)]);
    assert_eq!(bench.used(), 0);
}

#[test]
fn who_takes_back_or_falls_silent_is_not_waited_for() {
    let mut bench = Bench::new(Policy::SpareOrigin, 1);
    bench.offers(1, 0);
    bench.tells(1, 0, 0, &list(0)[..4]);
    bench.tells(1, 0, 0, &[]);
    assert!(bench.dropped(0));
    bench.offers(1, 1);
    bench.tells(1, 1, 0, &list(1)[..1]);
    bench.done.clear();
    bench.wait(Duration::from_secs(4));
    assert!(bench.dropped(1) || bench.follows(1).contains(&(1, false)), "three seconds of silence");
    assert!(bench.count(|a| matches!(a, Action::OriginFetch { .. })) > 0, "the origin is asked");
    const { assert!(LET_DOWNS_MAX > 2, "it may try once more") };
    assert_eq!(bench.count(|a| matches!(a, Action::Banned { .. })), 0);
}

#[test]
fn what_was_told_and_proves_otherwise_is_taken_back() {
    let mut bench = Bench::new(Policy::Fastest, 1);
    bench.wait(Duration::from_secs(3));
    let block = *bench.fetched().first().expect("the origin is asked");
    // The origin, or somebody before it, gave a wrong byte.
    let wrong = ChunkRef { hash: Hash::from_bytes([0xee; 32]), len: LEN };
    bench.tell(Event::ChunkHashed { job: JOB, block, nth: 0, chunk: wrong });
    bench.tell(Event::ChunkDone { job: JOB, index: block * CHUNKS, source: Source::Origin });
    bench.hears(
        LinkId(1),
        Message::Zest(ZestMessage::Follow { file: FileKey::of(&FILE), first: block * CHUNKS, on: true }),
    );
    bench.done.clear();
    let list: Arc<[ChunkRef]> = list(block).into();
    bench.tell(Event::BlockListed { job: JOB, block, list, wrong: vec![block * CHUNKS] });
    let back = |a: &Action| matches!(a, Action::Send { message: Outgoing::Zest(ZestMessage::Told { records, .. }), .. } if records.is_empty());
    assert_eq!(bench.count(back), 1);
}

#[test]
fn a_list_vouches_for_what_is_asked_for_again() {
    let mut bench = Bench::new(Policy::SpareOrigin, 1);
    let (block, total) = (3, BLOCKS * CHUNKS);
    bench.hears(LinkId(1), Message::Zest(ZestMessage::Have { file: FILE, total, runs: vec![(0, total)] }));
    bench.tell(Event::BlockListed { job: JOB, block, list: list(block).into(), wrong: vec![] });
    let asked = |a: &Action| matches!(a, Action::Send { message: Outgoing::ChunkRequest { .. }, .. });
    assert!(bench.count(asked) > 0, "the list says what to ask for");
    // What lay there all the time is what the file's own list names: the answers are nothing any more.
    let all: Vec<ChunkRef> = (0..BLOCKS).flat_map(list).collect();
    let manifest = Manifest::prove(file_hash(&all), u64::from(total * LEN), all).unwrap();
    let mut held = BitSet::empty(total);
    (0..CHUNKS).for_each(|nth| {
        held.insert(block * CHUNKS + nth);
    });
    bench.tell(Event::JobManifest { job: JOB, manifest: Arc::new(manifest), held, local: vec![] });
    assert!((0..CHUNKS).all(|nth| !bench.node.needs(JOB, block * CHUNKS + nth)));
}

#[test]
fn what_is_offered_before_the_layout_is_known_is_followed() {
    let mut bench = Bench::idle(Policy::Fastest);
    bench.come(LinkId(2));
    bench.add();
    (0..BLOCKS).for_each(|block| bench.offers(2, block));
    assert_eq!(bench.follows(2), [], "nobody knows yet what that is");
    bench.plan();
    assert_eq!(bench.follows(2), (0..BLOCKS).map(|block| (block, true)).collect::<Vec<_>>());
    bench.wait(Duration::from_secs(1));
    assert!(bench.fetched().is_empty(), "the origin is asked for none of it");
}

#[test]
fn whose_list_was_proven_has_a_moment_to_say_what_it_has() {
    let mut bench = Bench::idle(Policy::Fastest);
    bench.come(LinkId(2));
    bench.add();
    (0..BLOCKS).for_each(|block| bench.offers(2, block));
    bench.plan();
    bench.has_no_list(2);
    // Longer than what is another's turn is left to it.
    bench.wait(Duration::from_millis(1500));
    bench.tells(2, 0, 0, &list(0));
    bench.adopts(0);
    bench.wait(Duration::from_millis(400));
    assert!(bench.fetched().is_empty(), "what it has whole comes from it: {:?}", bench.fetched());
    bench.wait(Duration::from_millis(600));
    assert_eq!(bench.fetched(), [0], "if it says nothing the origin is asked");
}

#[test]
fn of_two_that_stream_the_same_block_one_leaves_it_to_the_other() {
    let mut left = 0;
    for link in 2..10 {
        let mut bench = Bench::idle(Policy::Fastest);
        bench.start();
        bench.wait(Duration::from_secs(1));
        let [block] = bench.fetched()[..] else { panic!("one block at a time: {:?}", bench.fetched()) };
        bench.come(LinkId(link));
        bench.done.clear();
        bench.offers(link, block);
        let stops = bench.count(|a| matches!(a, Action::OriginStop { block: at, .. } if *at == block));
        assert_eq!(bench.follows(link), [], "never two at it");
        if stops == 1 {
            bench.tell(Event::OriginEnded { job: JOB, block, fault: None });
            assert_eq!(bench.follows(link), [(block, true)]);
            assert!(!bench.fetched().contains(&block), "{:?}", bench.fetched());
            left += 1;
        }
    }
    assert!((1..8).contains(&left), "it is left by lot, {left} times of 8");
}

#[test]
fn what_has_come_in_part_is_left_to_nobody() {
    for link in 2..10 {
        let mut bench = Bench::idle(Policy::Fastest);
        bench.start();
        bench.wait(Duration::from_secs(1));
        let [block] = bench.fetched()[..] else { panic!("one block at a time: {:?}", bench.fetched()) };
        for index in block * CHUNKS..block * CHUNKS + CHUNKS / 4 {
            bench.tell(Event::ChunkDone { job: JOB, index, source: Source::Origin });
        }
        bench.come(LinkId(link));
        bench.offers(link, block);
        assert_eq!(bench.count(|a| matches!(a, Action::OriginStop { .. })), 0);
    }
}

#[test]
fn a_block_that_comes_from_nobody_in_the_end_is_the_origins() {
    let mut bench = Bench::new(Policy::SpareOrigin, u64::from(FOLLOWS_MAX) + 2);
    let mut followed = 0;
    for link in 1..=u64::from(FOLLOWS_MAX) + 2 {
        bench.offers(link, 0);
        followed += bench.follows(link).len();
        bench.tell(Event::LinkDown { link: LinkId(link), fault: None });
    }
    assert_eq!(followed, usize::from(FOLLOWS_MAX));
    bench.wait(Duration::from_secs(3));
    assert!(bench.fetched().contains(&0));
}

#[test]
fn who_leaves_a_block_to_another_at_once_holds_it_up_a_few_times_more() {
    let mut bench = Bench::new(Policy::SpareOrigin, 2);
    let mut followed = 0;
    for _ in 0..40 {
        bench.offers(1, 0);
        followed += bench.follows(1).iter().filter(|(_, on)| *on).count();
        bench.tells(1, 0, 0, &list(0)[..1]);
        bench.tells(1, 0, 1, &[]);
        bench.done.clear();
    }
    assert_eq!(followed, usize::from(FOLLOWS_MAX + BRIEFS_MAX), "and not for ever");
    assert_eq!(bench.count(|a| matches!(a, Action::Banned { .. })), 0, "nobody lied");
}

#[test]
fn where_nothing_can_be_kept_nobody_is_to_blame() {
    let mut bench = Bench::new(Policy::SpareOrigin, 2);
    bench.offers(1, 0);
    bench.tells(1, 0, 0, &list(0)[..3]);
    bench.tell(Event::TentativeLost { job: JOB, block: 0, link: LinkId(1) });
    assert!(bench.dropped(0));
    bench.offers(2, 1);
    assert_eq!(bench.follows(2), [], "the job goes on without");
    assert_eq!(bench.count(|a| matches!(a, Action::Banned { .. } | Action::Close { .. })), 0);
    bench.wait(Duration::from_secs(3));
    assert!(!bench.fetched().is_empty());
}

/// Machines that begin at once all offer the same block, and a moment later all but one have left it. That one is followed then, though it
/// was the last to offer it.
#[test]
fn of_many_that_offer_a_block_the_one_that_keeps_it_is_remembered() {
    let mut bench = Bench::new(Policy::Fastest, 12);
    let mut links: Vec<u64> = (1..=12).collect();
    links.sort_by_key(|link| claim_score(&bench.xorb(0), &PeerId([*link as u8; 20])));
    links.iter().for_each(|link| bench.offers(*link, 0));
    let (first, best) = (links[0], links[11]);
    assert_eq!((bench.follows(first), bench.follows(best)), (vec![(0, true)], vec![]));
    bench.tells(first, 0, 0, &[]);
    assert_eq!(bench.follows(best), [(0, true)]);
}

/// Who offers it in many ids of one address leaves room for others.
#[test]
fn the_ids_of_one_address_do_not_crowd_out_who_offers_the_same() {
    let mut bench = Bench::new(Policy::Fastest, 4);
    (5..=30).for_each(|link| bench.come_from(LinkId(link), [198, 51, 100, 1]));
    (1..=30).for_each(|link| bench.offers(link, 0));
    let mut followed = Vec::new();
    while let Some(link) = (1..=30).find(|link| bench.follows(*link).last() == Some(&(0, true))) {
        followed.push(link);
        bench.tells(link, 0, 0, &[]);
    }
    assert!((1..=4).all(|link| followed.contains(&link)), "{followed:?}");
}
