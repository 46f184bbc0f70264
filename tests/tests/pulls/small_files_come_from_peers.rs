//! Small files outside Xet, config and vocabulary, come from peers where some pull the same repository: machines that begin together
//! take each of them from the Hub about once, and who comes later takes none.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use zest_core::link::PlainKey;
use zest_core::wire::zest;
use zest_hub_server::{LoggedRequest, Service};
use zest_runtime_tokio::{How, PullOptions, PullReport};
use zest_store::Token;
use zest_tests::caller::Caller;
use zest_tests::known::Known;
use zest_tests::peer::{Opening, Reply, Script, honest, in_time};
use zest_tests::program::{Host, Pulling, Running};
use zest_tests::speak::{self, Ask, DICT_ZEST, THEIR_ZEST, ZEST};
use zest_tests::{Kind, Machine, Site, TOKEN, assert_same_files, noise, on_every_runtime};

on_every_runtime!(a_seed_box_gives_them_too);

/// Small files of the model.
const SMALL: usize = 12;
/// What a scripted peer says that gives small files.
const DICT_GIVES: &[u8] = b"d1:md6:ut_xeti7e4:zesti9ee1:pi0e5:plaini1e4:reqqi512e1:v12:scripted/1.0e";

fn small(number: usize) -> (String, Vec<u8>) {
    // Some have more than one part.
    let len = [40, 3_000, 140_000, 400_000][number % 4];
    let line = format!("{{\"file\": {number}}}\n");
    (format!("part-{number:02}.json"), line.bytes().cycle().take(len).collect())
}

async fn site() -> Site {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(70, 3_000_000));
    for (path, content) in (0..SMALL).map(small) {
        site.add("org/model", &path, &content);
    }
    site.open().await;
    site.log_requests(100_000);
    site
}

/// How often each small file was asked of the Hub since this was last called.
fn asked_of_the_hub(site: &Site) -> BTreeMap<String, usize> {
    small_files_in(&site.take_requests())
}

fn small_files_in(requests: &[LoggedRequest]) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    for request in requests {
        let path = request.path.split("/resolve/").nth(1).and_then(|rest| rest.split_once('/'));
        if let Some((_, path)) = path.filter(|(_, path)| path.starts_with("part-")) {
            *asked.entry(path.to_owned()).or_insert(0) += 1;
        }
    }
    asked
}

/// Calls of the Hub's API but for pages of lists, and those.
fn hub_calls(requests: &[LoggedRequest]) -> (usize, usize) {
    let called = |call: &str| requests.iter().filter(|request| request.path.contains(call)).count();
    (called("/api/models/") - called("/tree/"), called("/tree/"))
}

/// Questions to the CAS.
fn layouts_asked(requests: &[LoggedRequest]) -> usize {
    requests.iter().filter(|request| request.path.contains("/reconstructions/")).count()
}

fn of_peers(report: &PullReport) -> usize {
    report.files.iter().filter(|file| file.how == How::Peers).count()
}

#[tokio::test]
async fn who_comes_later_takes_no_small_file_from_the_hub() {
    let site = site().await;
    let (a, b) = (Machine::new(&site.endpoint()).await, Machine::new(&site.endpoint()).await);
    let first = in_time(a.pull_from("org/model", &[])).await.expect("the Hub is healthy");
    assert_eq!(of_peers(&first), 0);
    assert_eq!(asked_of_the_hub(&site).values().copied().collect::<Vec<_>>(), [1; SMALL]);
    let report = in_time(b.pull_from("org/model", &[a.address()])).await.expect("the Hub is healthy");
    assert_same_files(&report.path, &site.folder("org/model"));
    let requests = site.take_requests();
    assert_eq!(small_files_in(&requests), BTreeMap::new(), "all of them are at the peer");
    assert_eq!(hub_calls(&requests), (1, 1), "which commit, and the list");
    assert_eq!(layouts_asked(&requests), 0, "nothing is to come from there");
    assert_eq!(of_peers(&report), SMALL);
    let bytes: u64 = (0..SMALL).map(|number| small(number).1.len() as u64).sum();
    assert!(report.from_peers >= bytes, "{} bytes of peers", report.from_peers);
    assert_eq!(report.total_bytes(), report.from_peers + report.from_cdn + report.from_disk);
    // Another process on the first disk has them as well.
    let (again, c) = (a.restarted().await, Machine::new(&site.endpoint()).await);
    let report = in_time(c.pull_from("org/model", &[again.address()])).await.expect("the Hub is healthy");
    assert_eq!((of_peers(&report), asked_of_the_hub(&site)), (SMALL, BTreeMap::new()));
}

/// What a call of the Hub's API is for, and whether it was made with the token.
fn calls(requests: &[LoggedRequest]) -> Vec<(&str, bool)> {
    let called = requests.iter().filter_map(|request| {
        let path = request.path.strip_prefix("/api/models/org/model/")?;
        Some((path.split('/').next()?, request.had_authorization))
    });
    called.collect()
}

#[tokio::test]
async fn a_token_costs_no_call_where_everyone_may_read() {
    let site = site().await;
    let (a, b) = (Machine::new(&site.endpoint()).await, Machine::new(&site.endpoint()).await);
    let with_token = |machine: &Machine, peers: Vec<String>| {
        let mut options = PullOptions { peers, ..machine.options("org/model") };
        options.env.token = Token::new(TOKEN);
        options
    };
    in_time(a.pull(with_token(&a, Vec::new()))).await.expect("the Hub is healthy");
    let requests = site.take_requests();
    assert_eq!(calls(&requests), [("revision", false), ("tree", true), ("xet-read-token", true)]);
    let report = in_time(b.pull(with_token(&b, vec![a.address()]))).await.expect("the Hub is healthy");
    assert!(report.shareable && report.from_cdn == 0, "a stranger's answer is the proof");
    let requests = site.take_requests();
    assert_eq!(calls(&requests), [("revision", false), ("tree", true)]);
    assert_eq!(layouts_asked(&requests), 0);
    // What a stranger is refused is asked with the token, and never shared.
    for how in ["private", "gated"] {
        site.restrict("org/model", how);
        let machine = Machine::new(&site.endpoint()).await;
        let report = in_time(machine.pull(with_token(&machine, vec![a.address()]))).await;
        let report = report.expect("the token opens it");
        assert!(!report.shareable && report.from_peers == 0, "{how}");
        let requests = site.take_requests();
        let asked = calls(&requests);
        assert_eq!(asked[..2], [("revision", false), ("revision", true)], "{how}");
        assert!(asked[2..].iter().all(|(_, with_token)| *with_token), "{how}: {asked:?}");
    }
}

/// Processes that begin together, all naming all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_that_begin_together_take_each_from_the_hub_three_times_at_most() {
    const MACHINES: usize = 5;
    let site = site().await;
    site.faults().set_latency(Service::Hub, Duration::from_millis(50));
    site.faults().set_latency(Service::Cdn, Duration::from_millis(50));
    let hosts: Vec<Host> = std::iter::repeat_with(Host::default).take(MACHINES).collect();
    let pull = |number: usize| {
        let mut words = ["pull", "org/model", "--json", "--policy", "spare-origin", "--listen"]
            .map(str::to_owned)
            .to_vec();
        words.push(hosts[number].address().to_string());
        for other in hosts.iter().enumerate().filter(|(other, _)| *other != number).map(|(_, host)| host) {
            words.extend(["--peer".to_owned(), other.address().to_string()]);
        }
        Pulling::start(hosts[number].command(&site.endpoint(), &words))
    };
    let pulls: Vec<Pulling> = (0..MACHINES).map(pull).collect();
    let reports =
        tokio::task::spawn_blocking(|| pulls.into_iter().map(Pulling::report).collect::<Vec<Value>>());
    let reports = reports.await.expect("all end well");
    for report in &reports {
        assert_same_files(Path::new(report["path"].as_str().expect("a path")), &site.folder("org/model"));
    }
    let requests = site.take_requests();
    let asked = small_files_in(&requests);
    println!("each left the Hub {:?} times", asked.values().collect::<Vec<_>>());
    let (calls, pages) = hub_calls(&requests);
    assert!(calls <= 2 * MACHINES && pages <= MACHINES, "{calls} calls, {pages} pages");
    assert_eq!(asked.len(), SMALL);
    assert!(asked.values().all(|times| *times <= 3), "{asked:?}");
}

/// A seed box has one cache and gives what is in it, on either runtime.
async fn a_seed_box_gives_them_too(kind: Kind) {
    let site = site().await;
    let (a, b) = (Host::default(), Machine::new(&site.endpoint()).await);
    let words = ["pull", "org/model", "--json", "--no-p2p"].map(str::to_owned);
    let pulling = Pulling::start(a.command(&site.endpoint(), &words));
    tokio::task::spawn_blocking(|| pulling.report()).await.expect("the Hub is healthy");
    let runtime = if kind == Kind::Tokio { "tokio" } else { "glommio" };
    let command = a.seed_box(&site.endpoint(), &["--runtime", runtime, "--no-dht"], false);
    let seeding = tokio::task::spawn_blocking(move || {
        let mut seeding = Running::start(command);
        assert_eq!(seeding.event("listening")["runtime"], runtime);
        assert_eq!(seeding.event("indexed")["files_shared"], 1);
        seeding
    });
    let mut seeding = seeding.await.expect("it begins");
    drop(site.take_requests());
    let report = in_time(b.pull_from("org/model", &[a.address().to_string()])).await.expect("all is there");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert_eq!((of_peers(&report), asked_of_the_hub(&site)), (SMALL, BTreeMap::new()));
    let said = move || while seeding.event("status")["small_files_given"] != SMALL {};
    tokio::task::spawn_blocking(said).await.expect("it says so");
}

fn git_blob(content: &[u8]) -> PlainKey {
    use sha1::Digest as _;
    let mut sha = sha1::Sha1::new();
    sha.update(format!("blob {}\0", content.len()));
    sha.update(content);
    PlainKey::git_blob(&sha.finalize().into())
}

#[tokio::test]
async fn what_not_everyone_may_read_is_given_to_nobody() {
    let mut site = Site::new();
    let (open, closed) = (small(0), small(5));
    for (repo, (path, content)) in [("org/open", &open), ("org/closed", &closed)] {
        site.add(repo, "model.safetensors", &noise(71, 300_000));
        site.add(repo, path, content);
    }
    site.open().await;
    site.restrict("org/closed", "private");
    let machine = Machine::new(&site.endpoint()).await;
    in_time(machine.pull_from("org/open", &[])).await.expect("the open model");
    let mut options = machine.options("org/closed");
    options.env.token = Token::new(TOKEN);
    in_time(machine.pull(options)).await.expect("the token opens it");
    let mut caller = Caller::dial(&machine.address(), b"-SC0100-curious00000", DICT_ZEST).await;
    let mut ask = async |req: u32, content: &[u8]| {
        let key = git_blob(content);
        let size = content.len() as u32;
        let message = zest::plain_request(ZEST, req, &key, size, 0, true);
        caller.send(message.as_bytes()).await;
        caller.message().await.expect("an answer")
    };
    assert_eq!(ask(1, &closed.1).await, (THEIR_ZEST, [&[16][..], &1u32.to_be_bytes()].concat()));
    assert_eq!(ask(2, b"nobody has this").await, (THEIR_ZEST, [&[16][..], &2u32.to_be_bytes()].concat()));
    let part = [&[15][..], &3u32.to_be_bytes(), &open.1].concat();
    assert_eq!(ask(3, &open.1).await, (THEIR_ZEST, part));
}

#[tokio::test]
async fn nobody_is_asked_for_what_not_everyone_may_read() {
    let site = site().await;
    site.restrict("org/model", "private");
    let peer = Script {
        opening: Opening::Full(DICT_GIVES.to_vec(), Vec::new()),
        ..Script::zest(|_| Reply::Nothing)
    };
    let peer = peer.start().await;
    let machine = Machine::new(&site.endpoint()).await;
    let mut options = PullOptions { peers: vec![peer.address.clone()], ..machine.options("org/model") };
    options.env.token = Token::new(TOKEN);
    let report = in_time(machine.pull(options)).await.expect("the token opens it");
    assert_eq!((of_peers(&report), report.from_peers), (0, 0));
    assert!(peer.received().is_empty(), "not a byte");
}

/// A peer with the whole model that answers each question for a small file like this.
async fn pull_beside(answer: impl Fn(u32, u32) -> Reply + Send + Sync + 'static) -> (Site, PullReport) {
    let site = site().await;
    let known = Known::new(noise(70, 3_000_000));
    let script = Script::zest(move |ask| match ask {
        Ask::Other(20, body) if body.starts_with(&[THEIR_ZEST, 14]) => {
            let word = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().expect("four bytes"));
            let (size, offset) = (word(39), word(43));
            answer(word(2), zest::plain_part_len(size, offset).expect("a part that there is"))
        }
        ask => honest(&known, ask),
    });
    let script = Script { opening: Opening::Full(DICT_GIVES.to_vec(), Vec::new()), ..script };
    let peer = script.start().await;
    let machine = Machine::new(&site.endpoint()).await;
    let report = in_time(machine.pull_from("org/model", std::slice::from_ref(&peer.address))).await;
    let report = report.expect("the Hub is healthy");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert_eq!(of_peers(&report), 0, "nothing of it is right");
    (site, report)
}

#[tokio::test]
async fn wrong_bytes_are_dropped_and_shut_their_sender_out() {
    let wrong = |req: u32, len: u32| {
        let head = zest::plain_part_head(ZEST, req, len);
        Reply::Bytes([head.as_bytes(), &vec![7; len as usize]].concat())
    };
    let (site, report) = pull_beside(wrong).await;
    assert_eq!(report.peers_banned, 1);
    assert!(asked_of_the_hub(&site).values().all(|times| *times == 1));
}

#[tokio::test]
async fn who_has_none_or_says_nothing_holds_a_pull_up_for_a_bounded_time() {
    let none = |req: u32, _| Reply::Bytes(zest::plain_none(ZEST, req).as_bytes().to_vec());
    let (_, report) = pull_beside(none).await;
    assert_eq!(report.peers_banned, 0);
    // In time says how long is too long.
    let (_, report) = pull_beside(|_, _| Reply::Nothing).await;
    assert_eq!(report.peers_banned, 0);
}

#[tokio::test]
async fn a_part_of_another_length_ends_the_link() {
    let long = |req: u32, len: u32| {
        Reply::Bytes(speak::ext(ZEST, &[&[15][..], &req.to_be_bytes(), &vec![7; len as usize + 1]].concat()))
    };
    let (_, report) = pull_beside(long).await;
    assert_eq!(report.peers_banned, 1);
}
