//! Many pulls in one session: each has its own figures, its own end, its own pauses, and a file that two of them want is fetched
//! once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use zest_hub_server::Service;
use zest_runtime_tokio::{
    Giving, Limits, Phase, Priority, Progress, PullError, PullErrorKind, PullHandle, PullRequest, PullState,
    Session, SessionConfig,
};
use zest_store::Token;
use zest_tests::known::Known;
use zest_tests::peer::{Reply, Script, in_time};
use zest_tests::speak;
use zest_tests::{Machine, Site, TOKEN, assert_same_files, environment, noise};

const BYTES: usize = 3_000_000;

async fn session(dir: &Path, endpoint: &str) -> Session {
    let config = SessionConfig::new(environment(dir, endpoint)).expect("the caches open");
    let listen = "127.0.0.1:0".parse().expect("an address");
    Session::start(config.engine(|engine| engine.listen = vec![listen])).await.expect("the session starts")
}

fn request(repo: &str) -> PullRequest {
    PullRequest::model(repo).expect("a good name")
}

/// Waits until a picture of the pull is as wanted.
async fn until(pull: &PullHandle, is: impl Fn(&Progress) -> bool) -> Progress {
    let mut pictures = pull.snapshots();
    in_time(pictures.wait_for(|now| is(now))).await.expect("the pull goes on").clone()
}

/// Waits until something holds that nobody tells of.
async fn poll(is: impl AsyncFn() -> bool) {
    in_time(async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn three_at_once_one_rests_one_is_cancelled_and_each_has_its_own_figures() {
    let mut site = Site::new();
    let lied = Arc::new(Known::new(noise(51, BYTES)));
    site.add("org/lied", "model.safetensors", &lied.bytes);
    site.add("org/rests", "model.safetensors", &noise(52, BYTES));
    site.add("org/rests", "config.json", b"{}");
    site.add("org/cancelled", "model.safetensors", &noise(53, 4 * BYTES));
    site.open().await;
    // Slow as long as it matters who is at what: no machine is so busy that ten seconds pass in between.
    site.faults().set_cdn_rate(Some(300_000));
    let liar = Script::lying(&lied, |req, bytes| Reply::Bytes(speak::chunk(req, &bytes[1..]))).start().await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(dir.path(), &site.endpoint()).await;

    let rests = session.pull(request("org/rests"));
    let cancelled = session.pull(request("org/cancelled").priority(Priority::Low));
    until(&rests, |now| now.from_cdn > 0).await;
    until(&cancelled, |now| now.from_cdn > 0).await;
    rests.pause();
    until(&rests, |now| now.paused).await;
    assert_eq!(rests.status().state, PullState::Paused);
    let lying = session.pull(request("org/lied").peers(vec![liar.address.clone()]));
    until(&lying, |now| now.from_cdn > 0).await;
    poll(async || session.stats().await.banned == 1).await;
    cancelled.cancel();
    let error = in_time(cancelled.wait()).await.expect_err("it was cancelled");
    assert!(matches!(*error, PullError::Interrupted));
    assert_eq!(cancelled.status().state, PullState::Cancelled);
    site.faults().clear();
    let report = in_time(lying.wait()).await.expect("the CDN has it");
    assert_same_files(&report.path, &site.folder("org/lied"));
    assert_eq!((report.from_peers, report.from_cdn, report.from_disk), (0, BYTES as u64, 0));
    assert_eq!((report.peers_banned, report.bad_chunks > 0), (1, true), "the liar was its own");

    // What rests gets nothing while the others get all.
    assert_eq!(rests.status().state, PullState::Paused);
    let before = rests.status().progress;
    assert!(before.bytes_done < BYTES as u64 && before.phase == Phase::Fetching, "{before:?}");
    rests.resume();
    let report = in_time(rests.wait()).await.expect("the CDN has it");
    assert_same_files(&report.path, &site.folder("org/rests"));
    assert_eq!(report.from_peers + report.from_cdn + report.from_disk, BYTES as u64 + 2, "each byte once");
    assert_eq!((report.from_peers, report.given), (0, 0));
    assert_eq!((report.peers_banned, report.bad_chunks, report.peers), (0, 0, 0), "another one's liar");
    assert_eq!(session.stats().await.banned, 1);

    // What was cancelled goes on where it was.
    let again = session.pull(request("org/cancelled"));
    let report = in_time(again.wait()).await.expect("the CDN has it");
    assert!(report.from_disk > 0, "what was proven was kept");
    assert_same_files(&report.path, &site.folder("org/cancelled"));
    let states: Vec<PullState> = session.pulls().iter().map(|pull| pull.state).collect();
    assert_eq!(states, [PullState::Done, PullState::Cancelled, PullState::Done, PullState::Done]);
    session.shutdown().await;
}

#[tokio::test]
async fn what_is_given_counts_for_the_pull_whose_file_it_is() {
    let mut site = Site::new();
    site.add("org/wanted", "model.safetensors", &noise(61, BYTES));
    site.add("org/other", "model.safetensors", &noise(62, BYTES));
    site.open().await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(dir.path(), &site.endpoint()).await;
    let wanted = in_time(session.pull(request("org/wanted")).wait()).await.expect("the CDN has it");
    assert_eq!(wanted.given, 0);
    // A pull that is not over when another machine takes the other model.
    site.faults().set_cdn_rate(Some(200_000));
    let other = session.pull(request("org/other"));
    until(&other, |now| now.from_cdn > 0).await;
    let machine = Machine::new(&site.endpoint()).await;
    site.faults().set_latency(Service::Cdn, Duration::from_secs(5));
    let address = session.local_addrs()[0].to_string();
    let taken = in_time(machine.pull_from("org/wanted", &[address])).await.expect("the session has it");
    assert_eq!(taken.from_peers, BYTES as u64);
    site.faults().clear();
    let report = in_time(other.wait()).await.expect("the CDN has it");
    assert_eq!((report.given, report.from_cdn), (0, BYTES as u64), "it gave nothing of its own");
    assert!(session.stats().await.uploaded >= BYTES as u64);
    session.shutdown().await;
}

#[tokio::test]
async fn a_file_that_two_want_comes_once_and_the_end_of_one_is_not_the_end_of_the_other() {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(71, BYTES));
    site.add("org/model", "config.json", b"{}");
    site.open().await;
    site.faults().set_cdn_rate(Some(300_000));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(dir.path(), &site.endpoint()).await;
    let first = session.pull(request("org/model"));
    until(&first, |now| now.from_cdn > 100_000).await;
    let second = session.pull(request("org/model"));
    let third = session.pull(request("org/model"));
    for pull in [&second, &third] {
        until(pull, |now| !now.current.is_empty()).await;
    }
    // It goes on for the others, whatever the one that began it does.
    first.pause();
    until(&second, |now| now.from_cdn > 300_000).await;
    first.cancel();
    in_time(first.wait()).await.expect_err("it was cancelled");
    site.faults().clear();
    let (second, third) =
        (in_time(second.wait()).await.expect("it came"), in_time(third.wait()).await.expect("it came"));
    for report in [&second, &third] {
        assert_same_files(&report.path, &site.folder("org/model"));
        let all = report.from_peers + report.from_cdn + report.from_disk;
        assert_eq!(all, BYTES as u64 + 2, "each byte once: {report:?}");
        assert!(report.notices.is_empty(), "nobody waited for a lock: {:?}", report.notices);
    }
    let wire = site.stats().cdn_bytes;
    assert!(wire < 2 * BYTES as u64, "{wire} bytes left the CDN for one file");
    session.shutdown().await;
}

#[tokio::test]
async fn tokens_and_hubs_of_pulls_are_kept_apart() {
    let mut site = Site::new();
    site.add("org/private", "model.safetensors", &noise(81, 300_000));
    site.restrict("org/private", "private");
    site.open().await;
    let mut other = Site::new();
    other.add("org/private", "model.safetensors", &noise(82, 300_000));
    other.open().await;
    other.log_requests(100);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(dir.path(), &site.endpoint()).await;
    let with_token = session.pull(request("org/private").token(Token::new(TOKEN)));
    let without = session.pull(request("org/private"));
    let error = in_time(without.wait()).await.expect_err("nobody may read it");
    assert!(matches!(error.kind(), PullErrorKind::Auth | PullErrorKind::NotFound), "{error}");
    let report = in_time(with_token.wait()).await.expect("the refusal was another one's");
    assert!(!report.shareable);
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let elsewhere =
        request("org/private").endpoint(Some(other.endpoint())).local_dir(Some(elsewhere.path().into()));
    let report = in_time(session.pull(elsewhere).wait()).await.expect("there it is open");
    assert!(report.shareable);
    let requests = other.take_requests();
    assert!(!requests.is_empty() && requests.iter().all(|request| !format!("{request:?}").contains(TOKEN)));
    session.shutdown().await;
}

#[tokio::test]
async fn the_last_handle_ends_it_and_what_is_proven_stays() {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(91, 4 * BYTES));
    site.open().await;
    site.faults().set_cdn_rate(Some(600_000));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let first = session(dir.path(), &site.endpoint()).await;
    let clone = first.clone();
    let pull = first.pull(request("org/model"));
    until(&pull, |now| now.from_cdn > 1_000_000).await;
    drop(first);
    assert_eq!(pull.status().state, PullState::Running, "a clone is left");
    drop(clone);
    let error = in_time(pull.wait()).await.expect_err("nobody is left");
    assert!(matches!(*error, PullError::EngineGone));
    site.faults().clear();
    let second = session(dir.path(), &site.endpoint()).await;
    let report = in_time(second.pull(request("org/model")).wait()).await.expect("the CDN has it");
    assert!(report.from_disk >= 1_000_000, "{} bytes were kept", report.from_disk);
    assert_same_files(&report.path, &site.folder("org/model"));
    second.shutdown().await;
}

#[tokio::test]
async fn what_is_fetched_after_a_look_is_counted_before_the_next_one() {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(101, BYTES));
    site.open().await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(dir.path(), &site.endpoint()).await;
    session.keep_index().expect("a good endpoint");
    let mut giving = session.giving();
    in_time(giving.wait_for(|status| status.looks > 0)).await.expect("it looks");
    assert_eq!(giving.borrow().files, 0, "nothing is here");
    in_time(session.pull(request("org/model")).wait()).await.expect("the CDN has it");
    let now = in_time(giving.wait_for(|status| status.files > 0 || status.looks > 1)).await;
    let now = now.expect("it is counted").clone();
    assert_eq!((now.files, now.bytes, now.looks), (1, BYTES as u64, 1));
    assert_eq!(now.shared.iter().count(), 1, "by commit, too");
    session.shutdown().await;
}

#[tokio::test]
async fn who_is_given_to_and_the_caps_change_while_it_runs() {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(101, BYTES));
    site.open().await;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = session(dir.path(), &site.endpoint()).await;
    in_time(session.pull(request("org/model")).wait()).await.expect("the CDN has it");
    session.keep_index().expect("a good endpoint");
    in_time(session.giving().wait_for(|status| status.looks > 0)).await.expect("it looks");
    assert_eq!(session.giving().borrow().files, 1);
    let address = session.local_addrs()[0].to_string();

    session.give(Giving::Nobody);
    let machine = Machine::new(&site.endpoint()).await;
    let report = in_time(machine.pull_from("org/model", std::slice::from_ref(&address))).await;
    assert_eq!(report.expect("the CDN has it").from_peers, 0, "nothing is given");
    session.give(Giving::Network);
    site.faults().set_latency(Service::Cdn, Duration::from_secs(20));
    let machine = Machine::new(&site.endpoint()).await;
    let report = in_time(machine.pull_from("org/model", &[address])).await;
    assert_eq!(report.expect("the session has it").from_peers, BYTES as u64, "this machine is near");

    assert_eq!(session.stats().await.nice, None);
    let limits =
        Limits { max_upload: Some(1 << 20), max_download: Some(1 << 20), nice: true, ..session.limits() };
    session.set_limits(limits).expect("high enough");
    assert_eq!(session.status().await.limits, limits);
    assert!(session.set_limits(Limits { max_upload: Some(1), ..limits }).is_err());
    assert!(session.stats().await.nice.is_some());
    session.set_limits(Limits { nice: false, ..limits }).expect("high enough");
    assert_eq!(session.stats().await.nice, None);
    poll(async || session.peers().await.iter().all(|peer| peer.addr.ip().is_loopback())).await;
    let status = serde_json::to_value(session.status().await).expect("plain data");
    assert_eq!((&status["max_upload"], &status["giving"]), (&(1 << 20).into(), &"network".into()));
    session.shutdown().await;
}

#[test]
fn a_session_serves_any_runtime_and_thread() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(111, 400_000));
    let hub =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("one");
    hub.block_on(site.open());
    let dir = tempfile::tempdir().expect("a temporary folder");
    let session = runtime().block_on(session(dir.path(), &site.endpoint()));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let session = session.clone();
            std::thread::spawn(move || {
                let pull = session.pull(request("org/model"));
                runtime().block_on(in_time(pull.wait())).expect("the CDN has it").path
            })
        })
        .collect();
    for thread in threads {
        let path = thread.join().expect("no panic");
        assert_same_files(&path, &site.folder("org/model"));
    }
    runtime().block_on(session.shutdown());
    hub.block_on(site.close());
}
