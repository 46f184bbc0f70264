//! The caps of the command line, on real sockets.

use std::time::Duration;
use tempfile::TempDir;
use zest_runtime_tokio::{EngineConfig, UploadBudget};
use zest_tests::peer::in_time;
use zest_tests::{Machine, Site, assert_same_files, noise};

const MODEL: usize = 3_000_000;

async fn site() -> Site {
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(51, MODEL));
    site.add("org/model", "config.json", b"{}");
    site.open().await;
    site
}

#[tokio::test]
async fn a_download_cap_holds_for_peers_and_cdn_together_and_harms_no_peer() {
    let site = site().await;
    let warm = Machine::new(&site.endpoint()).await;
    warm.pull_from("org/model", &[]).await.expect("the first pull");
    let cap = 2 << 20;
    let capped =
        Machine::with(&site.endpoint(), |config: &mut EngineConfig| config.download_bytes_s = Some(cap))
            .await;
    let report = in_time(capped.pull_from("org/model", &[warm.address()])).await.expect("the pull");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert_eq!((report.bad_chunks, report.peers_banned), (0, 0));
    // However slow the machine: it cannot be faster than the cap. What may be caught up at the beginning is less than a
    // tenth of a second.
    let least = Duration::from_secs_f64(MODEL as f64 / cap as f64 - 0.1);
    assert!(report.elapsed >= least, "{:?} for {MODEL} bytes", report.elapsed);
}

#[tokio::test]
async fn peers_that_fill_a_capped_line_are_not_called_slow() {
    let mut site = Site::new();
    let model = 12_000_000;
    site.add("org/model", "model.safetensors", &noise(52, model));
    site.open().await;
    let warm = Machine::new(&site.endpoint()).await;
    warm.pull_from("org/model", &[]).await.expect("the first pull");
    let cap = |config: &mut EngineConfig| config.download_bytes_s = Some(4_000_000);
    let capped = Machine::with(&site.endpoint(), cap).await;
    let report = in_time(capped.pull_from("org/model", &[warm.address()])).await.expect("the pull");
    // Four fifths came from the CDN, which is asked where peers give less than 60 MB/s.
    assert!(report.from_peers >= model as u64 * 9 / 10, "{} bytes of {model}", report.from_peers);
}

#[tokio::test]
async fn what_does_not_come_over_the_line_is_not_held_up_for_it() {
    let site = site().await;
    let warm = Machine::new(&site.endpoint()).await;
    warm.pull_from("org/model", &[]).await.expect("the first pull");
    for peers in [vec![], vec![warm.address()]] {
        let nice = Machine::with(&site.endpoint(), |config: &mut EngineConfig| config.nice = true).await;
        let report = in_time(nice.pull_from("org/model", &peers)).await.expect("the pull");
        assert_same_files(&report.path, &site.folder("org/model"));
        // All of it came from this machine: nothing is known of a line, and nothing was looked for.
        let line = nice.engine().stats().await.nice.expect("it is on");
        assert_eq!((line.rate, line.queueing_us), (zest_core::nice::RATE_FIRST, None));
    }
}

#[tokio::test]
async fn a_budget_of_a_day_is_one_for_all_programs_and_then_nothing_is_given() {
    let site = site().await;
    let account = TempDir::new().expect("a temporary folder");
    let budget = UploadBudget { bytes: 1 << 20, account: account.path().join("uploads.json") };
    let mut given = 0;
    for round in 0..2 {
        let limited = |config: &mut EngineConfig| config.upload_budget = Some(budget.clone());
        let giver = Machine::with(&site.endpoint(), limited).await;
        giver.pull_from("org/model", &[]).await.expect("the hub gives it");
        let taker = Machine::new(&site.endpoint()).await;
        let report = in_time(taker.pull_from("org/model", &[giver.address()])).await.expect("the pull");
        assert_same_files(&report.path, &site.folder("org/model"));
        assert_eq!(report.peers_banned, 0, "who has nothing left to give did nothing wrong");
        given += report.from_peers;
        let in_all = giver.engine().stats().await.uploaded;
        if round == 0 {
            assert!(given > 0, "some of it");
        } else {
            assert!(report.from_peers <= zest_xet::CHUNK_BYTES_MAX as u64, "used up: {in_all} bytes");
        }
        drop(giver.restarted().await);
    }
    // The list of chunks counts too; the chunk that crosses the line is still given.
    assert!(given <= budget.bytes + zest_xet::CHUNK_BYTES_MAX as u64, "{given} bytes");
}

/// A giver that has `left` bytes of today's budget, and why a pull from it got nothing.
async fn why_nothing_came_with(left: u64) -> (Machine, Option<String>, TempDir) {
    // A small file would be given of what is left.
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &noise(51, MODEL));
    site.open().await;
    let account = TempDir::new().expect("a temporary folder");
    let budget = UploadBudget { bytes: 1 << 20, account: account.path().join("uploads.json") };
    let day = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() / 86_400;
    let noted = format!(r#"{{"day":{day},"bytes":{}}}"#, budget.bytes - left);
    std::fs::write(&budget.account, noted).expect("written");
    let limited = |config: &mut EngineConfig| config.upload_budget = Some(budget.clone());
    let giver = Machine::with(&site.endpoint(), limited).await;
    giver.pull_from("org/model", &[]).await.expect("the hub gives it");
    // Slowly enough for the giver to be asked before the CDN is done.
    let slow = |config: &mut EngineConfig| config.download_bytes_s = Some(2 << 20);
    let taker = Machine::with(&site.endpoint(), slow).await;
    let report = in_time(taker.pull_from("org/model", &[giver.address()])).await.expect("the pull");
    assert_eq!((report.from_peers, report.peers_banned), (0, 0));
    (giver, report.no_peers.map(|why| why.kind.into_owned()), account)
}

#[tokio::test]
async fn a_peer_whose_budget_is_used_up_is_named_as_the_reason_why_peers_gave_nothing() {
    // Others have given so much today that what is left is enough for the list of chunks, and for none of them.
    let (giver, why, _account) = why_nothing_came_with((128 << 10) + 1_000).await;
    assert_eq!(why.as_deref(), Some("budget"));
    // Less is left than a chunk may have, and that is said once the account is settled.
    in_time(async {
        while !giver.engine().stats().await.budget_spent {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_whose_budget_was_used_up_before_it_was_asked_is_named_as_well() {
    let (_giver, why, _account) = why_nothing_came_with(0).await;
    assert_eq!(why.as_deref(), Some("budget"), "not even the list of chunks was given");
}
