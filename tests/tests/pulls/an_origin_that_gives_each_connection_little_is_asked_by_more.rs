//! A CDN that gives each connection so much gives more to more of them: their number is found by what they bring.

use zest_tests::{Machine, Site, assert_same_files, noise};

const FILES: usize = 64;
const FILE_BYTES: usize = 600_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_each_gets_little_there_are_many() {
    let mut site = Site::new();
    for number in 0..FILES {
        site.add("org/model", &format!("{number:02}.safetensors"), &noise(400 + number as u64, FILE_BYTES));
    }
    site.open().await;
    site.faults().set_cdn_body_rate(Some(150_000));
    let machine = Machine::new(&site.endpoint()).await;
    let report = machine.pull(machine.options("org/model")).await.expect("it comes");
    assert_same_files(&report.path, &site.folder("org/model"));
    let most = site.stats().cdn_bodies_most;
    println!("{most} connections at once");
    assert!(most > 12, "{most} connections at once");
    machine.shut_down().await;
}
