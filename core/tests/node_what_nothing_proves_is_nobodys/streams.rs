//! The other side: who streams tells and gives, to those who follow.

use crate::bench::{BLOCKS, Bench, CHUNKS, FILE, JOB, LEN, chunk, list};
use std::sync::Arc;
use zest_core::link::{Claim, Dialect, Message, Outgoing, ZestMessage};
use zest_core::node::limits::LET_DOWNS_MAX;
use zest_core::node::{Action, BitSet, Event, Policy, Source, claim_score};
use zest_core::{Duration, FileId, FileKey, LinkId, Location, PeerId};
use zest_xet::{ChunkRef, Manifest, file_hash};

#[test]
fn who_streams_gives_to_those_who_follow_and_to_nobody_else() {
    let mut bench = Bench::new(Policy::Fastest, 2);
    bench.wait(Duration::from_secs(3));
    let block = *bench.fetched().first().expect("the origin is asked");
    bench.done.clear();
    for nth in 0..3 {
        bench.tell(Event::ChunkHashed { job: JOB, block, nth, chunk: chunk(block, nth) });
        bench.tell(Event::ChunkDone { job: JOB, index: block * CHUNKS + nth, source: Source::Origin });
    }
    assert_eq!(
        bench.count(|a| matches!(
            a,
            Action::Send { message: Outgoing::Zest(ZestMessage::Streams { .. }), .. }
        )),
        2
    );
    bench.hears(LinkId(1), ask(block, 0));
    assert_eq!(bench.count(|a| matches!(a, Action::LookupChunk { .. })), 1, "it does not follow");
    bench.hears(
        LinkId(1),
        Message::Zest(ZestMessage::Follow { file: FileKey::of(&FILE), first: block * CHUNKS, on: true }),
    );
    bench.hears(LinkId(1), ask(block, 1));
    let place = Location { file: FileId(7), offset: u64::from((block * CHUNKS + 1) * LEN), len: LEN };
    let given = |a: &Action| matches!(a, Action::Send { message: Outgoing::Chunk { body: zest_core::link::Body::File(at), .. }, .. } if *at == place);
    assert_eq!(bench.count(given), 1);
    bench.tell(Event::BlockListed { job: JOB, block, list: list(block).into(), wrong: vec![] });
    let told: Vec<ChunkRef> = bench
        .done
        .iter()
        .filter_map(|action| match action {
            Action::Send { link: LinkId(1), message: Outgoing::Zest(ZestMessage::Told { records, .. }) } => {
                Some(records.clone())
            }
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(told, list(block), "to the last record, so that it proves");
    assert_eq!(
        bench.count(|a| matches!(
            a,
            Action::Send { link: LinkId(2), message: Outgoing::Zest(ZestMessage::Told { .. }) }
        )),
        0
    );
}

/// Two stream the same, and one of them is done: those who followed the other have the list and follow nobody. Unless the other asks for
/// it as well it gives nothing of what it streams before its end.
#[test]
fn who_streams_what_another_has_by_now_asks_it_for_the_list() {
    let mut bench = Bench::new(Policy::Fastest, 2);
    (1..=2).for_each(|link| bench.has_no_list(link));
    bench.wait(Duration::from_secs(3));
    let block = *bench.fetched().first().expect("the origin is asked");
    for nth in 0..3 {
        bench.tell(Event::ChunkHashed { job: JOB, block, nth, chunk: chunk(block, nth) });
        bench.tell(Event::ChunkDone { job: JOB, index: block * CHUNKS + nth, source: Source::Origin });
    }
    bench.done.clear();
    let has = ZestMessage::Have { file: FILE, total: BLOCKS * CHUNKS, runs: vec![(block * CHUNKS, CHUNKS)] };
    bench.hears(LinkId(1), Message::Zest(has));
    bench.wait(Duration::from_millis(300));
    let xorb = bench.xorb(block);
    let asks = |a: &Action| matches!(a, Action::Send { link: LinkId(1), message: Outgoing::Zest(ZestMessage::ManifestRequest { file, .. }) } if *file == xorb);
    assert_eq!(bench.count(asks), 1);
    bench.tell(Event::BlockListed { job: JOB, block, list: list(block).into(), wrong: vec![] });
    bench.wait(Duration::from_secs(1));
    let gives = |a: &Action| match a {
        Action::Send { link: LinkId(2), message: Outgoing::Zest(ZestMessage::HaveMore { runs, .. }) } => {
            runs.contains(&(block * CHUNKS, 3))
        }
        _ => false,
    };
    assert_eq!(bench.count(gives), 1, "what it streamed is good for others at once");
}

#[test]
fn who_has_all_tells_the_rest_of_the_list_before_it_ends() {
    let mut bench = Bench::new(Policy::Fastest, 1);
    bench.wait(Duration::from_secs(3));
    let first = |block: u32| {
        Message::Zest(ZestMessage::Follow { file: FileKey::of(&FILE), first: block * CHUNKS, on: true })
    };
    for number in 0..BLOCKS {
        let block = *bench.fetched().last().expect("one after the other");
        assert_eq!(bench.fetched().len() as u32, number + 1);
        bench.done.retain(|action| matches!(action, Action::OriginFetch { .. }));
        for nth in 0..CHUNKS {
            let index = block * CHUNKS + nth;
            bench.tell(Event::ChunkHashed { job: JOB, block, nth, chunk: chunk(block, nth) });
            bench.tell(Event::ChunkDone { job: JOB, index, source: Source::Origin });
            if nth == 0 {
                bench.hears(LinkId(1), first(block));
            }
        }
        if number + 1 < BLOCKS {
            bench.tell(Event::BlockListed { job: JOB, block, list: list(block).into(), wrong: vec![] });
            bench.tell(Event::OriginEnded { job: JOB, block, fault: None });
            continue;
        }
        // The file's last chunk ends the job before its fetch ends; its list is not waited for.
        assert_eq!(bench.count(|a| matches!(a, Action::Complete { .. })), 1);
        bench.adopts(block);
        let told = bench.told();
        assert!(told.iter().all(|records| !records.is_empty()), "nothing is taken back");
        assert_eq!(told.concat(), list(block), "to the last record, so that it proves");
        // What was told is given, before the runtime has the whole file in its index.
        bench.hears(LinkId(1), ask(block, CHUNKS - 1));
        assert_eq!(bench.count(is_given), 1);
        assert_eq!(bench.count(|a| matches!(a, Action::LookupChunk { .. })), 0);
    }
}

fn ask(block: u32, nth: u32) -> Message {
    Message::ChunkRequest { req: nth, hash: chunk(block, nth).hash, dialect: Dialect::Chunk }
}

fn is_given(action: &Action) -> bool {
    matches!(action, Action::Send { message: Outgoing::Chunk { .. }, .. })
}

#[test]
fn who_is_done_says_so_of_what_it_claimed_and_takes_nothing_back() {
    let mut bench = Bench::new(Policy::SpareOrigin, 1);
    for _ in 0..BLOCKS {
        while bench.fetched().is_empty() {
            bench.wait(Duration::from_secs(1));
        }
        let block = bench.fetched()[0];
        bench.done.clear();
        for nth in 0..CHUNKS {
            bench.tell(Event::ChunkHashed { job: JOB, block, nth, chunk: chunk(block, nth) });
            bench.tell(Event::ChunkDone { job: JOB, index: block * CHUNKS + nth, source: Source::Origin });
        }
        bench.adopts(block);
        bench.tell(Event::OriginEnded { job: JOB, block, fault: None });
    }
    assert_eq!(bench.count(|a| matches!(a, Action::Complete { .. })), 1);
    bench.wait(Duration::from_secs(1));
    let beats: Vec<u16> = bench
        .done
        .iter()
        .filter_map(|action| match action {
            Action::Send { message: Outgoing::Zest(ZestMessage::Claim { claims, .. }), .. } => Some(claims),
            _ => None,
        })
        .flatten()
        .map(|claim| claim.beat)
        .collect();
    assert!(!beats.contains(&u16::MAX) && beats.iter().any(|beat| *beat >= 32_768), "{beats:?}");
}

/// What peers gave of it says nothing of how far the stream is: all have half of what two stream soon, and both would go on to the end.
#[test]
fn a_stream_that_has_hardly_begun_is_left_though_most_of_it_came_from_others() {
    let mut left = 0;
    for link in 2..10 {
        let mut bench = Bench::new(Policy::SpareOrigin, 1);
        bench.has_no_list(1);
        bench.wait(Duration::from_secs(3));
        let [block, ..] = bench.fetched()[..] else { panic!("it is nobody's but ours") };
        bench.come(LinkId(link));
        bench.tell(Event::BlockListed { job: JOB, block, list: list(block).into(), wrong: vec![] });
        bench.tell(Event::ChunkDone { job: JOB, index: block * CHUNKS, source: Source::Origin });
        for nth in 2..CHUNKS - 1 {
            let source = Source::Peer(LinkId(1));
            bench.tell(Event::ChunkDone { job: JOB, index: block * CHUNKS + nth, source });
        }
        bench.done.clear();
        let theirs = claiming(vec![claim(&bench, block, 0, link)]);
        bench.hears(LinkId(link), theirs);
        left += bench.count(|a| matches!(a, Action::OriginStop { block: at, .. } if *at == block));
    }
    assert!((1..8).contains(&left), "it is left by lot, {left} times of 8");
}

/// Where more are known than everybody is linked with, who gives way to somebody it hears of through a third tells those to whom it had
/// said that it does it itself: they would wait for it, and then all begin the same.
#[test]
fn who_gives_way_says_to_whom() {
    let mut bench = Bench::new(Policy::SpareOrigin, 14);
    // Not in the first seconds, when everybody passes on everything.
    bench.wait(Duration::from_secs(6));
    let [block, ..] = bench.fetched()[..] else { panic!("it is nobody's but ours") };
    bench.done.clear();
    let better = Claim { first: block * CHUNKS, score: u64::MAX, beat: 0 };
    bench.hears(LinkId(2), claiming(vec![better]));
    bench.wait(Duration::from_millis(200));
    let stops = bench.count(|a| matches!(a, Action::OriginStop { block: at, .. } if *at == block));
    assert_eq!(stops, 1, "it is left to whoever has drawn more");
    let told = |action: &Action| {
        matches!(action, Action::Send { link: LinkId(1), message: Outgoing::Zest(ZestMessage::Claim { claims, .. }) }
            if claims.iter().any(|claim| claim.score == better.score))
    };
    assert_eq!(bench.count(told), 1, "and the others hear who that is");
}

fn claim(bench: &Bench, block: u32, beat: u16, of: u64) -> Claim {
    let score = claim_score(&bench.xorb(block), &PeerId([of as u8; 20]));
    Claim { first: block * CHUNKS, score, beat }
}

fn claims(bench: &Bench, beat: u16, of: u64) -> Message {
    claiming((0..BLOCKS).map(|block| claim(bench, block, beat, of)).collect())
}

fn claiming(claims: Vec<Claim>) -> Message {
    Message::Zest(ZestMessage::Claim { file: FileKey::of(&FILE), claims })
}

fn claims_to(link: u64) -> impl Fn(&Action) -> bool {
    move |action| matches!(action, Action::Send { link: to, message: Outgoing::Zest(ZestMessage::Claim { .. }) } if to.0 == link)
}

/// Whoever comes later is told at once who streams what, and knows only a moment after that what the file is made of.
#[test]
fn what_was_claimed_before_the_layout_is_known_is_claimed() {
    let passed_on = |said: &[u16]| {
        let mut bench = Bench::idle(Policy::SpareOrigin);
        bench.come(LinkId(2));
        bench.add();
        for beat in said {
            let claims = claims(&bench, *beat, 2);
            bench.hears(LinkId(2), claims);
        }
        bench.plan();
        bench.come(LinkId(3));
        bench.count(claims_to(3))
    };
    assert_eq!(passed_on(&[]), 0);
    assert_eq!(passed_on(&[0]), 1, "who comes next is told whose work it is");
    assert_eq!(passed_on(&[0, Claim::RELEASED]), 0, "who takes that back is at nothing");
}

/// Others hold the claim that was taken back for dead: one of the same beat would be no news to them.
#[test]
fn what_is_claimed_again_is_news_though_another_claimed_it_meanwhile() {
    let mut bench = Bench::new(Policy::SpareOrigin, 2);
    bench.wait(Duration::from_secs(3));
    let [block, ..] = bench.fetched()[..] else { panic!("it is nobody's but ours") };
    bench.tell(Event::JobPaused { job: JOB, paused: true });
    bench.tell(Event::OriginEnded { job: JOB, block, fault: None });
    let theirs = claims(&bench, 0, 2);
    bench.hears(LinkId(2), theirs);
    bench.tell(Event::JobPaused { job: JOB, paused: false });
    bench.done.clear();
    // Nothing is seen of it.
    bench.wait(Duration::from_secs(30));
    let ours = claim(&bench, block, 0, 1);
    let of = |action: &Action| match action {
        Action::Send { link: LinkId(1), message: Outgoing::Zest(ZestMessage::Claim { claims, .. }) } => {
            claims.iter().find(|claim| claim.score == ours.score).map(|claim| claim.beat)
        }
        _ => None,
    };
    let again: Vec<u16> = bench.done.iter().filter_map(of).collect();
    assert_eq!(again.first(), Some(&1), "{again:?}");
}

/// The last block's xorb goes on with another file: its chunks are all that the file has, and do not hash to the xorb.
fn with_a_tail(bench: &mut Bench) -> u32 {
    bench.goes_on = true;
    bench.start();
    BLOCKS - 1
}

#[test]
fn of_a_tail_whose_xorb_goes_on_all_is_told_but_the_last_chunk() {
    let mut bench = Bench::idle(Policy::Fastest);
    bench.come(LinkId(1));
    let tail = with_a_tail(&mut bench);
    loop {
        while bench.fetched().is_empty() {
            bench.wait(Duration::from_secs(1));
        }
        let block = bench.fetched()[0];
        bench.done.clear();
        for nth in 0..CHUNKS {
            bench.tell(Event::ChunkHashed { job: JOB, block, nth, chunk: chunk(block, nth) });
            bench.tell(Event::ChunkDone { job: JOB, index: block * CHUNKS + nth, source: Source::Origin });
            if nth == 0 {
                let file = FileKey::of(&FILE);
                bench.hears(
                    LinkId(1),
                    Message::Zest(ZestMessage::Follow { file, first: block * CHUNKS, on: true }),
                );
            }
        }
        if block == tail {
            break;
        }
        bench.adopts(block);
        bench.tell(Event::OriginEnded { job: JOB, block, fault: None });
    }
    assert_eq!(bench.count(|a| matches!(a, Action::AdoptBlockList { .. })), 0);
    bench.tell(Event::OriginEnded { job: JOB, block: tail, fault: None });
    bench.wait(Duration::from_secs(1));
    let told = bench.told();
    assert_eq!(
        told.concat(),
        list(tail)[..CHUNKS as usize - 1],
        "a complete list that does not prove is a lie"
    );
    bench.hears(LinkId(1), ask(tail, 0));
    assert_eq!(bench.count(is_given), 1, "what was told is given on");
}

#[test]
fn a_tail_waits_for_the_files_own_list_and_its_author_is_not_to_blame() {
    for proven in [true, false] {
        let mut bench = Bench::idle(Policy::Fastest);
        bench.come(LinkId(1));
        let tail = with_a_tail(&mut bench);
        bench.offers(1, tail);
        assert_eq!(bench.follows(1), [(tail, true)]);
        bench.has_no_list(1);
        let other = *bench.fetched().last().expect("the rest is fetched meanwhile");
        bench.tells(1, tail, 0, &list(tail)[..CHUNKS as usize - 1]);
        assert_eq!(bench.gives(1, true), CHUNKS - 1);
        // As long as that comes.
        for nth in 0..4 {
            bench.tell(Event::ChunkDone { job: JOB, index: other * CHUNKS + nth, source: Source::Origin });
            bench.wait(Duration::from_secs(2));
            bench.has_no_list(1);
        }
        assert!(!bench.dropped(tail));
        if proven {
            let chunks: Vec<ChunkRef> = (0..BLOCKS).flat_map(list).collect();
            let size = u64::from(BLOCKS * CHUNKS * LEN);
            let manifest = Arc::new(Manifest::prove(file_hash(&chunks), size, chunks).expect("a list"));
            let held = BitSet::empty(BLOCKS * CHUNKS);
            bench.tell(Event::JobManifest { job: JOB, manifest, held, local: vec![] });
            assert!(!bench.dropped(tail) && bench.used() > 0, "what was kept is used");
        } else {
            for _ in 0..4 {
                bench.wait(Duration::from_secs(2));
                bench.has_no_list(1);
            }
            assert!(bench.dropped(tail), "the rest does not come either");
            for block in 0..LET_DOWNS_MAX {
                bench.offers(1, block);
            }
            assert!(bench.follows(1).iter().any(|(block, on)| *on && *block != tail), "it is believed");
        }
    }
}

#[test]
fn a_stream_that_was_left_and_goes_on_is_told_from_its_begin() {
    let mut told = 0;
    for link in 2..10 {
        let mut bench = Bench::idle(Policy::Fastest);
        bench.start();
        bench.wait(Duration::from_secs(1));
        let [block] = bench.fetched()[..] else { panic!("one block at a time: {:?}", bench.fetched()) };
        bench.come(LinkId(link));
        let stream = |bench: &mut Bench, nth| {
            bench.tell(Event::ChunkHashed { job: JOB, block, nth, chunk: chunk(block, nth) });
            bench.tell(Event::ChunkDone { job: JOB, index: block * CHUNKS + nth, source: Source::Origin });
        };
        stream(&mut bench, 0);
        bench.done.clear();
        bench.offers(link, block);
        if bench.count(|a| matches!(a, Action::OriginStop { .. })) == 0 {
            continue;
        }
        bench.done.clear();
        bench.tell(Event::OriginEnded { job: JOB, block, fault: None });
        bench.tell(Event::LinkDown { link: LinkId(link), fault: None });
        bench.come(LinkId(20));
        bench.wait(Duration::from_secs(1));
        while !bench.fetched().contains(&block) {
            let at = *bench.fetched().last().expect("the origin gives one after the other");
            (0..CHUNKS).for_each(|nth| {
                bench.tell(Event::ChunkDone { job: JOB, index: at * CHUNKS + nth, source: Source::Origin });
            });
            bench.tell(Event::OriginEnded { job: JOB, block: at, fault: None });
        }
        stream(&mut bench, 1);
        let offered = |a: &Action| {
            let first = block * CHUNKS;
            matches!(a, Action::Send { link: LinkId(20), message: Outgoing::Zest(ZestMessage::Streams { first: at, .. }) } if *at == first)
        };
        assert_eq!(bench.count(offered), 1, "it is on its way again");
        let (file, first) = (FileKey::of(&FILE), block * CHUNKS);
        bench.hears(LinkId(20), Message::Zest(ZestMessage::Follow { file, first, on: true }));
        assert_eq!(bench.told(), [list(block)[..2].to_vec()]);
        told += 1;
    }
    assert!(told > 0);
}
