//! What lay on disk while no process watched is proven again before it counts: a partial file that has rotted since the last
//! run is mended, whether its chunk list is known or not, and nobody is given a rotten chunk of it meanwhile.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use tokio::sync::watch;
use zest_runtime_tokio::{CancelToken, EngineConfig, Progress, PullError, PullOptions, pull};
use zest_tests::peer::in_time;
use zest_tests::{Machine, Site, assert_same_files, noise};

const MODEL: usize = 6_000_000;
/// Between two rotten bytes. No chunk is longer, so that hardly one is whole.
const STEP: usize = 100_000;

async fn site() -> (Site, Vec<u8>) {
    let mut site = Site::new();
    let content = noise(77, MODEL);
    site.add("org/model", "model.bin", &content);
    site.open().await;
    (site, content)
}

async fn slow(site: &Site) -> Machine {
    Machine::with(&site.endpoint(), |config: &mut EngineConfig| config.download_bytes_s = Some(4 << 20)).await
}

/// Pulls until half of it is there, and stops as Ctrl-C does: everything is durable. Gives the bytes that were in place.
async fn pull_half(machine: &Machine, options: PullOptions) -> u64 {
    let (progress, mut seen) = watch::channel(Progress::default());
    let cancel = CancelToken::new();
    let watching = async {
        let half = seen.wait_for(|now| now.bytes_done >= MODEL as u64 / 2).await.map(|now| now.bytes_done);
        cancel.cancel();
        half.expect("the pull outlasts half of its bytes")
    };
    let (outcome, half) =
        in_time(async { tokio::join!(pull(machine.engine(), options, progress, cancel.clone()), watching) })
            .await;
    assert!(matches!(outcome, Err(PullError::Interrupted)), "{outcome:?}");
    half
}

fn data_file(machine: &Machine) -> PathBuf {
    let partials = machine.store().cache.partials();
    let data = partials.iter().find(|p| p.path.to_string_lossy().ends_with(".zest-partial"));
    data.expect("a partial file is left").path.clone()
}

/// Changes single bytes of what was fetched, all over the file, as long as `leave` allows.
fn rot(path: &PathBuf, content: &[u8], leave: impl Fn(usize) -> bool) -> u64 {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the partial file");
    let mut rotten = 0;
    for at in (0..content.len()).step_by(STEP).filter(|at| !leave(*at)) {
        let mut window = [0; 64];
        let len = window.len().min(content.len() - at);
        file.read_exact_at(&mut window[..len], at as u64).expect("it has its whole length");
        if window[..len] == content[at..at + len] {
            file.write_all_at(&[!window[0]], at as u64).expect("a byte is changed");
            rotten += 1;
        }
    }
    rotten
}

#[tokio::test]
async fn without_a_list() {
    let (site, content) = site().await;
    let machine = slow(&site).await;
    let had = pull_half(&machine, machine.options("org/model")).await;
    let path = data_file(&machine);
    // Only the first and third quarter rot: the rest is not fetched again.
    let rotten = rot(&path, &content, |at| at / (MODEL / 4) % 2 == 1);
    assert!(rotten > 0, "something was there to rot");
    let machine = machine.restarted().await;
    let report = in_time(machine.pull_from("org/model", &[])).await.expect("the rest comes, too");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert!(
        report.rotten_chunks > 0 && report.rotten_chunks <= rotten,
        "{} of {rotten}",
        report.rotten_chunks
    );
    let named = report.notices.iter().find(|notice| notice.kind == "rotten").expect("it is said");
    assert_eq!(named.path.as_deref(), Some("model.bin"), "{named:?}");
    assert!(report.from_disk > 0 && report.from_disk < had, "{} of {had} held", report.from_disk);
    assert!(machine.store().cache.partials().is_empty(), "nothing is left over");
}

#[tokio::test]
async fn what_did_not_rot_is_from_disk_to_the_byte() {
    let (site, _) = site().await;
    let machine = slow(&site).await;
    let had = pull_half(&machine, machine.options("org/model")).await;
    let machine = machine.restarted().await;
    let report = in_time(machine.pull_from("org/model", &[])).await.expect("the rest comes, too");
    assert_same_files(&report.path, &site.folder("org/model"));
    assert_eq!(report.rotten_chunks, 0);
    assert!(report.from_disk >= had, "{} of {had}", report.from_disk);
    assert_eq!(report.from_disk + report.from_cdn, MODEL as u64, "each byte came once");
}

#[tokio::test]
async fn with_a_list_and_a_peer_that_asks_meanwhile() {
    let (site, content) = site().await;
    let warm = Machine::new(&site.endpoint()).await;
    warm.pull_from("org/model", &[]).await.expect("the first pull");
    let machine = slow(&site).await;
    let from_warm =
        |machine: &Machine| PullOptions { peers: vec![warm.address()], ..machine.options("org/model") };
    pull_half(&machine, from_warm(&machine)).await;
    let path = data_file(&machine);
    let rotten = rot(&path, &content, |_| false);
    assert!(rotten > 0, "something was there to rot");
    let machine = machine.restarted().await;
    let third = Machine::new(&site.endpoint()).await;
    let peers = [machine.address()];
    site.faults().set_cdn_off(true);
    let (resumed, asked) = in_time(async {
        tokio::join!(machine.pull(from_warm(&machine)), third.pull_from("org/model", &peers))
    })
    .await;
    let (resumed, asked) = (resumed.expect("the peer has the rest"), asked.expect("it comes by and by"));
    assert_same_files(&resumed.path, &site.folder("org/model"));
    assert_same_files(&asked.path, &site.folder("org/model"));
    assert!(resumed.rotten_chunks > 0, "it is said");
    assert_eq!((asked.bad_chunks, asked.peers_banned), (0, 0), "nothing rotten was given");
}
