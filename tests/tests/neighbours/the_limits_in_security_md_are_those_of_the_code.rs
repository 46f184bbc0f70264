//! `SECURITY.md` shows every limit that a stranger can press on, crate by crate: its tables are made here, from the constants.
//! `ZEST_SNAPSHOT=write cargo test -p zest-tests --test neighbours -- the_limits` writes them anew.

use std::fmt::Write as _;
use zest_core::limits::{dht, discovery, link, lsd, node, pex, tracker};
use zest_daemon::limits as daemon;
use zest_hub::limits as hub;
use zest_hub_server::limits as hub_server;
use zest_runtime_glommio::limits as glommio;
use zest_runtime_tokio::limits as tokio;
use zest_send::limits as send;
use zest_store::limits as store;

/// Name, value, what it is.
type Row = (&'static str, String, &'static str);

macro_rules! count {
    ($module:ident::$name:ident, $what:literal) => {
        (stringify!($name), $module::$name.to_string(), $what)
    };
}

macro_rules! part {
    ($module:ident::$name:ident, $what:literal) => {
        (stringify!($name), format!("1/{}", $module::$name), $what)
    };
}

macro_rules! time {
    ($module:ident::$name:ident, $what:literal) => {
        (stringify!($name), time($module::$name.as_micros()), $what)
    };
}

fn time(us: impl Into<u128>) -> String {
    match us.into() {
        us if us % 1_000_000 == 0 => format!("{} s", us / 1_000_000),
        us if us % 1_000 == 0 => format!("{} ms", us / 1_000),
        us => format!("{us} µs"),
    }
}

fn section(page: &mut String, name: &str, rows: &[Row]) {
    let file = format!("{name}/src/limits.rs");
    write!(page, "\n### {name}\n\n[`{file}`]({file})\n\n| limit | value | what |\n|---|---|---|\n")
        .expect("a string grows");
    for (name, value, what) in rows {
        writeln!(page, "| `{name}` | {value} | {what} |").expect("a string grows");
    }
}

fn tables() -> String {
    let mut page = String::new();
    section(
        &mut page,
        "core",
        &[
            count!(
                link::HALF_OPEN_MAX,
                "connections without a handshake; beyond, the oldest of the party with most goes"
            ),
            time!(link::HANDSHAKE_WAIT, "for the handshake"),
            time!(link::EXT_HANDSHAKE_WAIT, "for the extension handshake"),
            time!(link::IDLE_LIMIT, "of silence on a link"),
            count!(node::PEERS_MAX, "linked peers of a process that fetches"),
            count!(node::INBOUND_MAX, "of these, incoming"),
            count!(node::PARTY_SHARE, "links of a party that make no room for parties with fewer"),
            time!(node::IDLE_GRACE, "without a request until an idle link makes room"),
            time!(node::RECORD_GRACE, "the same for a peer that uploaded or downloaded something"),
            count!(node::CLOSING_MAX, "links being closed until no more are let in"),
            count!(link::OUTSTANDING_MAX, "requests of a link that wait for their turn"),
            count!(node::UPLOAD_SLOTS, "peers sent to at a time; one party never keeps others from a place"),
            part!(node::BUDGET_SHARE, "of a day's upload budget for one party"),
            count!(node::BUDGET_PARTY_MIN, "bytes of it at least"),
            count!(node::REPEAT_TURNS, "turns for what a party was sent before, while others wait"),
            count!(node::REPEATS_FREE, "things that a party may ask for again for nothing"),
            part!(node::REPEATS_SHARE, "the same, of all that it was sent"),
            count!(node::REPEATS_SAMPLE_MAX, "things that are remembered of a party to see that"),
            time!(node::REPEATS_AGE, "until they are forgotten"),
            count!(
                node::BEHIND_MAX,
                "turns that answers out of turn may cost until they have to wait for theirs"
            ),
            count!(
                node::XORBS_AHEAD_BYTES,
                "bytes ahead of a party until xorb ranges for zest 0.4 are refused to its further links"
            ),
            time!(node::PRICE, "that a message costs a party"),
            count!(node::PRICE_PAID_BYTES, "bytes of data taken that pay for one"),
            time!(node::PRICE_BURST, "that a party may owe before its links are not read"),
            count!(node::PARTIES_PAST_MAX, "parties without a link that are remembered"),
            count!(node::INTERESTS_LINK_MIN, "files we do not fetch that a link may follow in any case"),
            count!(node::INTERESTS_PARTY_MAX, "beyond that, files that a party follows"),
            count!(node::INTERESTS_ALL_MAX, "the same of all parties"),
            count!(node::INTERESTS_MAX, "files that a link follows, those we fetch included"),
            count!(node::CANDIDATES_MAX, "addresses remembered for dialling"),
            time!(node::BAN, "that a ban lasts"),
            count!(node::BANS_MAX, "bans in each table"),
            count!(node::BANS_PER_IP_MAX, "bans that shut out an address with all its ports"),
            count!(
                node::LESSONS_MAX,
                "peers that uploaded nothing when they were asked, remembered for the links they open later"
            ),
            count!(node::AUTHORS_MAX, "peers whose word on what they stream did not hold, remembered"),
            time!(node::AUTHOR_AGE, "until they are forgotten"),
            time!(node::SUSPECT, "that such a peer is not followed"),
            count!(node::TELLERS_MAX, "parties whose claims came true or to nothing, remembered"),
            time!(node::DEAF, "that nothing is heard of who claimed what did not come, doubled each time"),
            count!(node::TENTATIVE_LIES_MAX, "lies about what it streams that get a peer banned"),
            count!(node::LET_DOWNS_MAX, "streams that come to nothing until a peer is not followed"),
            count!(node::OFFERS_MAX, "peers remembered that stream the same block"),
            count!(
                node::EARLY_OFFERS_MAX,
                "blocks that a link offers and that are remembered before the layout is known"
            ),
            count!(
                node::EARLY_CLAIMS_MAX,
                "claims that a link tells of and that are remembered before the layout is known"
            ),
            count!(node::EARLY_CLAIMS_JOB_MAX, "the same of all links, for one file"),
            count!(
                node::FOLLOWS_MAX,
                "times that somebody is followed in the same block; then it is fetched from the origin"
            ),
            count!(
                node::BRIEFS_MAX,
                "and so many more times where whoever it was leaves it to another at once"
            ),
            count!(node::TENTATIVE_PARTY_BYTES_MAX, "bytes kept of a party that nothing proves"),
            count!(node::TENTATIVE_BYTES_MAX, "the same of all parties"),
            count!(link::PLAIN_BYTES_MAX, "bytes of a small file that peers are asked for"),
            count!(node::PLAIN_HELD_MAX, "questions of a link that wait until such a file is here"),
            count!(node::PLAIN_HELD_ALL_MAX, "the same of all links"),
            count!(
                node::PARTNERS_MAX,
                "links remembered for having had something of a file that was fetched"
            ),
            count!(link::CONTROL_FRAME_BYTES_MAX, "bytes of a frame without data we asked for"),
            count!(link::CHATTER_BYTES_MAX, "useless bytes within the limit of silence"),
            count!(link::LATE_BYTES_MAX, "bytes of late answers in a row"),
            count!(link::EXT_HANDSHAKES_MAX, "extension handshakes of a link"),
            count!(node::TOLD_DIALS_PER_S, "dials a second on the word of trackers and peers, together"),
            count!(node::DHT_DIALS_PER_S, "the same on that of the DHT"),
            time!(
                node::TOLD_AGAIN,
                "until an address that strangers named is dialled again, whatever the port"
            ),
            count!(node::DIALS_NETWORK_MAX, "links we open into one network of the internet (/24, /56)"),
            time!(node::DIAL_HOLDS, "that a dial without an outcome holds a place"),
            count!(link::FRAME_BYTES_MAX, "bytes of any frame"),
            count!(link::EXT_HANDSHAKE_BYTES_MAX, "bytes of an extension handshake"),
            count!(link::DEPTH_MAX, "levels of bencode"),
            count!(link::TOKENS_MAX, "values of bencode in one message"),
            count!(link::CLIENT_BYTES_MAX, "bytes that are kept of the name of a client"),
            count!(link::ERROR_TEXT_CHARS_MAX, "characters that are kept of an error"),
            count!(link::AVAILABILITY_BYTES_MAX, "bytes of one message of what a peer has"),
            count!(link::CLAIMS_MAX, "claims in one message"),
            count!(link::MANIFEST_PART_RECORDS_MAX, "records of a part of a chunk list"),
            count!(link::FORGOTTEN_MAX, "requests given up that a link remembers, to know a late answer"),
            count!(link::ACTIONS_KEEP, "things to do whose room a link keeps when they are done"),
            count!(link::IDLE_BYTES_MAX, "bytes of room that a link keeps after a while of silence"),
            count!(pex::PEX_BYTES_MAX, "bytes of a message of peer exchange"),
            count!(pex::PEX_READ_MAX, "addresses of one that are looked at"),
            time!(pex::HEARD_EVERY, "between two of them from one address"),
            count!(pex::HEARD_FIRST, "of them at once from a new address"),
            count!(pex::SPEAKERS_MAX, "addresses that are counted for that"),
            count!(discovery::KNOWN_MAX, "swarms whose peers are remembered"),
            count!(discovery::KNOWN_PEERS_MAX, "peers of each"),
            count!(tracker::REPLY_BYTES_MAX, "bytes of a tracker's answer over HTTP"),
            count!(tracker::REPLY_PEERS_MAX, "peers of one answer that are used"),
            time!(tracker::INTERVAL_MIN, "between two announces of a swarm at one tracker, whatever it says"),
            time!(tracker::INTERVAL_MAX, "the longest that a tracker can ask for"),
            count!(tracker::REASON_CHARS_MAX, "characters of a tracker's words that are kept"),
            count!(lsd::READ_BYTES_MAX, "bytes of a multicast message"),
            count!(lsd::READ_HASHES_MAX, "swarms of one that are looked at"),
            count!(lsd::SOURCE_MESSAGES_MAX, "messages of one source that are read in a minute"),
            count!(lsd::MESSAGES_MAX, "the same of all sources"),
            count!(lsd::SOURCES_MAX, "sources that are counted apart"),
            count!(dht::DATAGRAM_BYTES_MAX, "bytes of a DHT message that is looked at"),
            count!(dht::REPLY_BYTES_MAX, "bytes of our answer"),
            count!(
                dht::REPLY_FACTOR,
                "times as long as the question an answer may be until the asker has proven its address"
            ),
            count!(dht::TID_BYTES_MAX, "bytes of a transaction id"),
            count!(dht::NODES_READ_MAX, "nodes of one answer that are looked at"),
            time!(dht::PEER_LIFE, "until an announced peer is forgotten"),
            time!(
                dht::TOKEN_SECRET_LIFE,
                "that a secret of announce tokens is used; the one before counts, too"
            ),
        ],
    );
    section(
        &mut page,
        "runtime-tokio",
        &[
            count!(tokio::LINKED_MAX, "peers linked at once"),
            count!(tokio::BACKLOG, "connections that wait to be accepted"),
            time!(tokio::DIAL, "for a dial"),
            time!(tokio::SEND_STALL, "in which a peer that is answered must take something"),
            count!(tokio::HEAD_BYTES, "bytes that all links are read into, where no payload is foreseen"),
            count!(tokio::QUEUE_MAX, "answers of a link that are queued until no more of it is read"),
            count!(tokio::BUFFERS_MAX, "buffers for payloads, all links together"),
            count!(tokio::BUFFER_BYTES, "bytes of each"),
            count!(tokio::DECODES_MAX, "packed chunks on their way to be proven"),
            count!(tokio::READING_MAX, "chunks that are being read to be kept in memory"),
            count!(
                tokio::DOUBTS_MAX,
                "unproven ranges of xorbs that a job remembers until its list is known"
            ),
            count!(tokio::REDIRECTS_MAX, "redirects of a tracker over HTTP that are followed"),
        ],
    );
    section(
        &mut page,
        "runtime-glommio",
        &[
            count!(glommio::LINKS_MAX, "connections of a core, unless it is told otherwise"),
            count!(glommio::BACKLOG, "connections that wait for a core"),
            count!(glommio::INPUT_BYTES, "bytes that all links of a core are read into"),
            count!(
                glommio::INTAKE_MAX,
                "answers of a link, queued or looked up, until no more of it is read"
            ),
            count!(glommio::XORBS_BELOW, "of these up to which its next xorb range is looked up"),
            time!(glommio::SEND_STALL, "in which a peer that is answered must take something"),
            count!(glommio::PARK_BYTES, "bytes handed over when a socket is full"),
            count!(glommio::STAGED_BYTES_MAX, "bytes read from disk and not sent, all links of a core"),
            count!(glommio::OPEN_FILES_MAX, "files that a core keeps open"),
        ],
    );
    section(
        &mut page,
        "hub/client",
        &[
            count!(hub::REDIRECTS_MAX, "redirects of one request of ours"),
            count!(hub::ERROR_BODY_BYTES_MAX, "bytes that are read of an error"),
            count!(hub::ORIGINS_MAX, "servers that are remembered to have answered"),
            count!(hub::TOKEN_BYTES_MAX, "bytes of the answer to a call for a token"),
            count!(hub::TOKENS_MAX, "tokens that are kept"),
            count!(hub::FIELD_BYTES_MAX, "bytes of a field that is wanted of a JSON answer"),
            count!(hub::PAGES_MAX, "pages of a listing"),
            count!(hub::PAGE_BYTES_MAX, "bytes of one"),
            count!(hub::ENTRIES_MAX, "files of a listing"),
            count!(hub::FILE_BYTES_MAX, "bytes of a file"),
            count!(hub::RECONSTRUCTION_BYTES_MAX, "bytes of a file's reconstruction"),
            count!(hub::TRICKLE_BYTES_S, "bytes a second that a body has to bring, else it is left"),
            count!(hub::ZSTD_WINDOW_BYTES_MAX, "bytes that unpacking zstd may hold"),
            count!(hub::GZIP_HEADER_BYTES_MAX, "bytes of the header of gzip"),
        ],
    );
    section(
        &mut page,
        "hub/server",
        &[
            count!(
                hub_server::CONNECTIONS_MAX,
                "connections of an HTTP listener, fewer with few descriptors; one address has three quarters of them at most"
            ),
            count!(hub_server::BODIES_MAX, "bodies on their way"),
            count!(
                hub_server::FORMS_BYTES_MAX,
                "bytes of bodies sent to us that are held, over all connections"
            ),
            time!(hub_server::HEAD_WAIT, "for the head of a request"),
            time!(hub_server::FORM_WAIT, "for its body"),
            time!(hub_server::WRITE_WAIT, "in which a reader must take something"),
            time!(hub_server::STALLED, "of a silent reader until others may have its place"),
            count!(hub_server::BUFFER_BYTES, "bytes read and held of one connection; the longest head"),
            count!(hub_server::TARGET_BYTES_MAX, "bytes of path and query"),
            count!(hub_server::HOST_BYTES_MAX, "bytes of `Host`"),
            count!(hub_server::FORM_BYTES_MAX, "bytes of `paths-info`"),
            count!(hub_server::IGNORED_BYTES_MAX, "bytes of any other body"),
            count!(hub_server::ASKED_RANGES_MAX, "ranges of one request"),
        ],
    );
    section(
        &mut page,
        "daemon",
        &[
            count!(daemon::CONNECTIONS_MAX, "connections of the API"),
            count!(daemon::TARGET_BYTES_MAX, "bytes of path and query"),
            count!(daemon::BODY_BYTES_MAX, "bytes of a body"),
            count!(daemon::PULLS_MAX, "pulls under way"),
            count!(daemon::LISTENERS_MAX, "who listens to events"),
            count!(daemon::EVENTS_KEPT_MAX, "events that are kept for who comes late"),
            count!(daemon::CODES_MAX, "codes of the dashboard that are good"),
            time!(daemon::CODE_FOR, "that each is good"),
            count!(daemon::ENDPOINT_TARGET_BYTES_MAX, "bytes of path and query at the local endpoint"),
            count!(daemon::FORM_BYTES_MAX, "bytes of a body there"),
            count!(daemon::TURNS_MAX, "different questions to the Hub at once, each asked once"),
            count!(daemon::KEPT_BYTES_MAX, "bytes of an answer that is kept"),
            count!(daemon::ALL_BYTES_MAX, "bytes of all of them"),
            count!(daemon::ALL_MAX, "answers that are kept"),
            count!(daemon::REMEMBERED_MAX, "answers about what may be read that are remembered"),
            count!(daemon::GRANTS_MAX, "addresses of files that are good"),
            count!(daemon::FRAMED_MAX, "files laid out for Xet clients"),
            count!(daemon::RANGES_MAX, "ranges of one request"),
            time!(daemon::UNREAD_FOR, "that a file goes on coming which nobody reads any more"),
            count!(daemon::AHEAD_BYTES, "bytes that are asked for ahead of a reader"),
            count!(daemon::LISTS_MAX, "listings that are kept"),
            count!(daemon::PAGES_MAX, "pages of one"),
            count!(daemon::PAGE_BYTES_MAX, "bytes of a page"),
            count!(daemon::RUNS_MAX, "commands below `zest run` whose figures are remembered"),
            count!(daemon::RUN_PULLS_MAX, "pulls of one of them"),
            count!(daemon::IMAGES_MAX, "blobs and manifests of images that are known by their hash"),
            count!(daemon::EXTRA_BYTES_MAX, "bytes of a template, system prompt or set of parameters"),
            count!(daemon::UNKEPT_MAX, "files remembered that this machine could not keep"),
        ],
    );
    section(
        &mut page,
        "store",
        &[
            count!(store::CANDIDATES_MAX, "places that are tried for one chunk"),
            count!(store::OPEN_FILES_MAX, "files that the catalog keeps open"),
            count!(store::LISTS_KEPT_MAX, "lists of commits whose small files are known by heart"),
            count!(store::LIST_ROWS_KEPT_MAX, "small files of such a list"),
            count!(store::DENIED_MAX, "repositories noted as not to be shared"),
            time!(store::PROOF_LASTS, "that the word of a Hub counts that anyone may read a commit"),
            time!(store::PROOF_LASTS_AT_MOST, "the same while it cannot be asked"),
            time!(store::CLOCK_SLACK, "that such a word may be dated ahead"),
            time!(store::LOCK_PATIENCE, "that a lock of the shared store is waited for"),
            count!(store::REFS_BYTES_MAX, "bytes of the list of users of a shared file"),
            count!(store::REF_BYTES_MAX, "bytes of a ref"),
            count!(store::TREE_BYTES_MAX, "bytes of a kept listing"),
            count!(store::PLACES_BYTES_MAX, "bytes of a list of places"),
            count!(store::METADATA_BYTES_MAX, "bytes of the note beside a file of a local folder"),
            count!(store::DENIED_MAX, "repositories noted as not to be shared"),
            count!(store::FOLDERS_MAX, "local folders that are looked through"),
            count!(store::DEPTH_MAX, "folders inside folders of a snapshot"),
            count!(store::REMARKS_MAX, "remarks that are kept until somebody asks"),
        ],
    );
    section(
        &mut page,
        "runtime-send",
        &[
            count!(send::SEGMENT_BYTES, "bytes by which the cache of chunks grows and lets go"),
            count!(send::GATHER_MAX, "chunks sent in one go"),
            count!(send::READ_BYTES_MAX, "bytes read in one go"),
            count!(send::QUEUE_KEEP, "answers of a link whose room is kept when they are sent"),
            count!(
                send::SMALL_KEPT_BYTES_MAX,
                "bytes of small files outside Xet kept in memory to be given; on a seed box once for all cores and for each"
            ),
            count!(send::SMALL_KEPT_MAX, "small files kept so"),
        ],
    );
    page
}

#[test]
fn the_limits_in_security_md_are_those_of_the_code() {
    const HEAD: &str = "## Limits that a stranger can press on\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../SECURITY.md");
    let page = std::fs::read_to_string(path).expect("it is there");
    let tables = tables();
    if std::env::var_os("ZEST_SNAPSHOT").is_some_and(|value| value == "write") {
        let (text, rest) = page.split_once("\n### ").expect("tables");
        assert!(text.contains(HEAD) && !rest.contains("\n## "), "the tables are the end of the page");
        std::fs::write(path, format!("{text}{tables}")).expect("written");
        return;
    }
    assert!(page.contains(HEAD) && page.ends_with(&tables), "SECURITY.md ends with these tables:\n{tables}");
}
