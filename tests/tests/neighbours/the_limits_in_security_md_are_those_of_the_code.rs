//! `SECURITY.md` shows every limit that a stranger can press on: its table is made here, from the constants.

use std::fmt::Write as _;
use zest_core::Duration;
use zest_core::link;
use zest_core::lobby;
use zest_core::node::limits as node;

fn table() -> String {
    let count = |number: u64| number.to_string();
    let time = |time: Duration| match time.as_micros() {
        us if us % 1_000_000 == 0 => format!("{} s", us / 1_000_000),
        us => format!("{us} µs"),
    };
    let rows = [
        (
            "HALF_OPEN_MAX",
            count(lobby::HALF_OPEN_MAX as u64),
            "connections without a handshake; beyond, the oldest of the party with most goes",
        ),
        ("HANDSHAKE_WAIT", time(link::HANDSHAKE_WAIT), "for the handshake"),
        ("EXT_HANDSHAKE_WAIT", time(link::EXT_HANDSHAKE_WAIT), "for the extension handshake"),
        ("IDLE_LIMIT", time(link::IDLE_LIMIT), "of silence on a link"),
        ("PEERS_MAX", count(node::PEERS_MAX as u64), "linked peers of a process that fetches"),
        ("INBOUND_MAX", count(node::INBOUND_MAX as u64), "of these that came to us"),
        (
            "PARTY_SHARE",
            count(node::PARTY_SHARE.into()),
            "links of a party that make no room for parties with fewer",
        ),
        ("IDLE_GRACE", time(node::IDLE_GRACE), "without a request until an idle link makes room"),
        ("RECORD_GRACE", time(node::RECORD_GRACE), "the same for a peer that gave or took something"),
        ("CLOSING_MAX", count(node::CLOSING_MAX as u64), "links being closed until no more are let in"),
        (
            "OUTSTANDING_MAX",
            count(link::OUTSTANDING_MAX as u64),
            "requests of a link that wait for their turn",
        ),
        (
            "UPLOAD_SLOTS",
            count(node::UPLOAD_SLOTS as u64),
            "peers sent to at a time; one party never keeps others from a place",
        ),
        ("BUDGET_SHARE", format!("1/{}", node::BUDGET_SHARE), "of a day's upload budget for one party"),
        ("BUDGET_PARTY_MIN", count(node::BUDGET_PARTY_MIN), "bytes of it at least"),
        (
            "REPEAT_TURNS",
            count(node::REPEAT_TURNS),
            "turns for what a party was given before, while others wait",
        ),
        ("REPEATS_FREE", count(node::REPEATS_FREE), "things that a party may ask for again for nothing"),
        ("REPEATS_SHARE", format!("1/{}", node::REPEATS_SHARE), "the same, of all that it was given"),
        (
            "REPEATS_SAMPLE_MAX",
            count(node::REPEATS_SAMPLE_MAX as u64),
            "things that are remembered of a party to see that",
        ),
        ("REPEATS_AGE", time(node::REPEATS_AGE), "until they are forgotten"),
        (
            "BEHIND_MAX",
            count(node::BEHIND_MAX),
            "turns that answers out of turn may cost until they have to wait for theirs",
        ),
        ("PRICE", time(node::PRICE), "that a message costs a party"),
        ("PRICE_PAID_BYTES", count(node::PRICE_PAID_BYTES), "bytes of data taken that pay for one"),
        ("PRICE_BURST", time(node::PRICE_BURST), "that a party may owe before its links are not read"),
        (
            "PARTIES_PAST_MAX",
            count(node::PARTIES_PAST_MAX as u64),
            "parties without a link that are remembered",
        ),
        (
            "INTERESTS_LINK_MIN",
            count(node::INTERESTS_LINK_MIN as u64),
            "files we do not fetch that a link may follow in any case",
        ),
        (
            "INTERESTS_PARTY_MAX",
            count(node::INTERESTS_PARTY_MAX.into()),
            "beyond that, files that a party follows",
        ),
        ("INTERESTS_ALL_MAX", count(node::INTERESTS_ALL_MAX.into()), "the same of all parties"),
        (
            "INTERESTS_MAX",
            count(node::INTERESTS_MAX as u64),
            "files that a link follows, those we fetch included",
        ),
        ("CANDIDATES_MAX", count(node::CANDIDATES_MAX as u64), "addresses remembered for dialling"),
        ("BAN", time(node::BAN), "that a ban lasts"),
        ("BANS_MAX", count(node::BANS_MAX as u64), "bans in each table"),
        (
            "BANS_PER_IP_MAX",
            count(node::BANS_PER_IP_MAX.into()),
            "bans that shut out an address with all its ports",
        ),
        (
            "LESSONS_MAX",
            count(node::LESSONS_MAX as u64),
            "peers that gave nothing when they were asked, remembered for the links they open later",
        ),
        (
            "CONTROL_FRAME_BYTES_MAX",
            count(link::CONTROL_FRAME_BYTES_MAX.into()),
            "bytes of a frame without data we asked for",
        ),
        ("CHATTER_BYTES_MAX", count(link::CHATTER_BYTES_MAX), "useless bytes within the limit of silence"),
        ("LATE_BYTES_MAX", count(link::LATE_BYTES_MAX), "bytes of late answers in a row"),
        ("EXT_HANDSHAKES_MAX", count(link::EXT_HANDSHAKES_MAX.into()), "extension handshakes of a link"),
    ];
    let mut table = String::from("| limit | value | what |\n|---|---|---|\n");
    for (name, value, what) in rows {
        writeln!(table, "| `{name}` | {value} | {what} |").expect("a string grows");
    }
    table
}

#[test]
fn the_limits_in_security_md_are_those_of_the_code() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../SECURITY.md")).expect("it is there");
    let table = table();
    assert!(page.ends_with(&table), "SECURITY.md ends with this table:\n{table}");
}
