//! What peers say they are interested in is remembered up to bounds per link, per party and in all: measured, not estimated.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use zest_core::link::{Message, ZestMessage};
use zest_core::node::{Action, Config, Direction, Event, Node};
use zest_core::{Instant, LinkId, PeerId};
use zest_xet::Hash;

struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system's; only numbers are added and taken away beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Links of the attack.
const LINKS: u64 = 505;

fn handle(node: &mut Node, event: Event) {
    node.handle(Instant(5_000_000), event);
    while let Some(action) = node.poll_action() {
        if let Action::LookupFile { link, file } = action {
            let event = Event::FileLocated { link, file, total: 0, runs: vec![] };
            node.handle(Instant(5_000_000), event);
            while node.poll_action().is_some() {}
        }
    }
}

#[test]
fn four_thousand_interests_on_each_of_five_hundred_links_take_a_few_megabytes() {
    for alike in [true, false] {
        let mut config = Config::new([3; 32], PeerId(*b"-ZT0500-abcdefghijkl"));
        (config.peers_max, config.inbound_max) = (512, 512);
        let mut node = Node::new(config);
        for link in 0..LINKS {
            let mut id = *b"-XX0000-000000000000";
            id[12..].copy_from_slice(&link.to_be_bytes());
            let ip = if alike { [203, 0, 113, 1] } else { [203, 1, (link >> 8) as u8, link as u8] };
            let (link, addr) = (LinkId(link), SocketAddr::from((ip, 10_000 + link as u16)));
            let direction = Direction::Inbound;
            handle(&mut node, Event::LinkUp { link, addr, direction, peer_id: PeerId(id) });
        }
        let before = TAKEN.load(Ordering::Relaxed);
        for link in 0..LINKS {
            for n in 0..4096u64 {
                let mut bytes = [0; 32];
                bytes[..8].copy_from_slice(&link.to_be_bytes());
                bytes[8..16].copy_from_slice(&n.to_be_bytes());
                let message = Message::Zest(ZestMessage::Interest { file: Hash::from_bytes(bytes) });
                handle(&mut node, Event::Message { link: LinkId(link), message });
            }
        }
        node.check_invariants();
        let kept = TAKEN.load(Ordering::Relaxed).saturating_sub(before);
        assert!(kept <= 4 << 20, "{kept} bytes (one address: {alike})");
        for link in 0..LINKS {
            handle(&mut node, Event::LinkDown { link: LinkId(link), fault: None });
        }
        node.check_invariants();
        let kept = TAKEN.load(Ordering::Relaxed).saturating_sub(before);
        assert!(kept <= 1 << 20, "{kept} bytes after they left (one address: {alike})");
    }
}
