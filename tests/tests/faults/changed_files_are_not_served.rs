//! A file that changed after it was proven is found out before a byte of it goes to a peer.

use std::fs::{File, FileTimes, OpenOptions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use zest_tests::caller::Caller;
use zest_tests::known::Known;
use zest_tests::peer::in_time;
use zest_tests::speak::{self, DICT_ZEST, UT_XET};
use zest_tests::{Kind, Machine, Site, assert_same_files, noise};

struct World {
    site: Site,
    known: Arc<Known>,
    machine: Machine,
    caller: Caller,
    /// The file itself, where the links of the cache lead.
    path: PathBuf,
}

/// A machine that has the file, and a peer that just got a chunk of it.
async fn world(kind: Kind) -> World {
    let mut site = Site::new();
    let known = Arc::new(Known::new(noise(77, 1_000_000)));
    site.add("org/model", "model.safetensors", &known.bytes);
    let machine = Machine::new(&site.open().await).await;
    let report = machine.pull_from("org/model", &[]).await.expect("the pull");
    let path = std::fs::canonicalize(report.path.join("model.safetensors")).expect("it landed");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("our own file");
    // The change of mode shows in the file's times too; that is a new state, proven anew.
    let machine = machine.seed_on(kind).await.restarted().await;
    machine.index().await;
    let caller = Caller::dial(&machine.address(), b"-SC0100-leech0000000", DICT_ZEST).await;
    let mut world = World { site, known, machine, caller, path };
    assert_eq!(
        world.ask(0).await.as_deref(),
        Some(&world.known.bytes[..world.len(0)]),
        "served while it is whole"
    );
    world
}

impl World {
    fn len(&self, index: u32) -> usize {
        self.known.manifest.chunk(index).len as usize
    }

    /// Asks for a chunk; `None` for NOT_FOUND.
    async fn ask(&mut self, index: u32) -> Option<Vec<u8>> {
        let hash = self.known.manifest.chunk(index).hash;
        self.caller.send(&speak::ext(UT_XET, &[&[1, 0, 0, 0, 1][..], hash.as_bytes()].concat())).await;
        let (_, body) = self.caller.message().await.expect("an answer");
        match body[0] {
            2 => Some(body[9..].to_vec()),
            3 => None,
            other => panic!("type {other}"),
        }
    }

    /// Waits until the machine has sent what the system takes: the same count of bytes, five looks in a row.
    async fn until_nothing_moves(&self) {
        let (mut sent, mut same) = (0, 0);
        while same < 5 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            let now = self.machine.uploaded().await;
            same = if now == sent { same + 1 } else { 0 };
            sent = now;
        }
    }

    /// Nothing of the file is served any more, and a leech gets all of it from the CDN without blaming the machine.
    async fn assert_not_served(mut self) {
        for index in 0..self.known.manifest.len() {
            assert_eq!(self.ask(index).await, None, "chunk {index}");
        }
        let leech = Machine::new(&self.site.endpoint()).await;
        let report = in_time(leech.pull_from("org/model", &[self.machine.address()]))
            .await
            .expect("the CDN is healthy");
        assert_same_files(&report.path, &self.site.folder("org/model"));
        assert_eq!((report.from_peers, report.bad_chunks, report.peers_banned), (0, 0, 0));
    }
}

async fn a_truncated_file(kind: Kind) {
    let world = world(kind).await;
    let file = OpenOptions::new().write(true).open(&world.path).expect("our own file");
    file.set_len(999_999).expect("it can be cut");
    world.assert_not_served().await;
}

async fn a_file_that_grew(kind: Kind) {
    let world = world(kind).await;
    let file = OpenOptions::new().write(true).open(&world.path).expect("our own file");
    file.set_len(1_000_001).expect("it can grow");
    world.assert_not_served().await;
}

async fn a_replaced_file(kind: Kind) {
    let world = world(kind).await;
    let other = world.path.with_extension("other");
    std::fs::write(&other, noise(78, 1_000_000)).expect("write");
    std::fs::rename(&other, &world.path).expect("rename");
    world.assert_not_served().await;
}

async fn a_removed_file(kind: Kind) {
    let world = world(kind).await;
    std::fs::remove_file(&world.path).expect("our own file");
    world.assert_not_served().await;
}

async fn one_overwritten_byte(kind: Kind) {
    let world = world(kind).await;
    let file = OpenOptions::new().write(true).open(&world.path).expect("our own file");
    file.write_all_at(&[world.known.bytes[500] ^ 1], 500).expect("write");
    world.assert_not_served().await;
}

async fn one_overwritten_byte_with_the_old_time_put_back(kind: Kind) {
    let world = world(kind).await;
    let before = std::fs::metadata(&world.path).expect("its times").modified().expect("a time");
    let file = OpenOptions::new().write(true).open(&world.path).expect("our own file");
    file.write_all_at(&[world.known.bytes[500] ^ 1], 500).expect("write");
    file.set_times(FileTimes::new().set_modified(before)).expect("its times");
    world.assert_not_served().await;
}

async fn a_change_while_answers_wait_for_a_slow_reader(kind: Kind) {
    let mut world = world(kind).await;
    let index = 3;
    let hash = world.known.manifest.chunk(index).hash;
    let offset = world.known.manifest.offset(index);
    // More than the system's socket buffers hold, so that most answers wait in the machine.
    let asked = 400;
    let ask = speak::ext(UT_XET, &[&[1, 0, 0, 0, 1][..], hash.as_bytes()].concat());
    world.caller.send(&ask.repeat(asked)).await;
    assert!(world.caller.message().await.is_some());
    // The change comes while the answers wait.
    world.until_nothing_moves().await;
    let file = File::options().write(true).open(&world.path).expect("our own file");
    file.write_all_at(&[world.known.bytes[offset as usize] ^ 1], offset).expect("write");
    // What the system holds already still comes: it refers to the file's own pages, so it may show the change, and the
    // receiver's proof stands guard. What waits in the machine must not go out.
    let mut came = 1;
    while let Some((_, body)) = world.caller.message().await {
        came += usize::from(body[0] == 2);
    }
    assert!(came < asked, "the link ends instead");
}

/// Two copies of the file, in two repositories, and one of them changes while answers wait: what goes out from then on is of
/// the other one.
async fn of_two_copies_one_changes(which: usize) {
    let mut site = Site::new();
    let known = Arc::new(Known::new(noise(77, 1_000_000)));
    let repos = ["org/model", "org/other"];
    for repo in repos {
        site.add(repo, "model.safetensors", &known.bytes);
    }
    let machine = Machine::new(&site.open().await).await;
    let mut copies = Vec::new();
    for repo in repos {
        let report = machine.pull_from(repo, &[]).await.expect("the pull");
        // A file of its own, where the cache has a link to what both share.
        let path = report.path.join("model.safetensors");
        std::fs::remove_file(&path).expect("our own link");
        std::fs::write(&path, &known.bytes).expect("write");
        copies.push(path);
    }
    let machine = machine.restarted().await;
    machine.index().await;
    let caller = Caller::dial(&machine.address(), b"-SC0100-leech0000000", DICT_ZEST).await;
    let mut world = World { site, known, machine, caller, path: copies[which].clone() };
    let index = 3;
    let chunk = world.known.manifest.chunk(index);
    let offset = world.known.manifest.offset(index);
    let right = world.known.bytes[offset as usize..][..chunk.len as usize].to_vec();
    let asked = 400;
    let ask = speak::ext(UT_XET, &[&[1, 0, 0, 0, 1][..], chunk.hash.as_bytes()].concat());
    world.caller.send(&ask.repeat(asked)).await;
    let (_, body) = world.caller.message().await.expect("an answer");
    assert!(body[9..] == right[..], "it is whole");
    world.until_nothing_moves().await;
    let file = File::options().write(true).open(&world.path).expect("our own file");
    file.write_all_at(&[right[0] ^ 1], offset).expect("write");
    let (mut came, mut last_is_right) = (1, false);
    while came < asked {
        let Some((_, body)) = world.caller.message().await else { break };
        assert_eq!(body[0], 2, "an answer");
        (came, last_is_right) = (came + 1, body[9..] == right[..]);
    }
    assert_eq!((came, last_is_right), (asked, true), "copy {which} has changed, the other one has not");
}

#[tokio::test]
async fn what_waits_for_a_slow_reader_is_of_the_copy_that_was_looked_at() {
    for which in 0..2 {
        of_two_copies_one_changes(which).await;
    }
}

async fn a_damaged_chunk_list_is_not_served_for_a_good_one(kind: Kind) {
    let world = world(kind).await;
    let name = world.known.file().to_string();
    let list = world.machine.env.zest_cache.join("files").join(&name[..2]).join(&name);
    let mut bytes = std::fs::read(&list).expect("the catalog's list");
    let record = world.known.records()[..32].to_vec();
    let at = bytes.windows(32).position(|window| window == record).expect("the first record");
    bytes[at] ^= 1;
    std::fs::write(&list, &bytes).expect("write");
    let leech = Machine::new(&world.site.endpoint()).await;
    let report =
        in_time(leech.pull_from("org/model", &[world.machine.address()])).await.expect("the CDN is healthy");
    assert_same_files(&report.path, &world.site.folder("org/model"));
    assert_eq!(report.peers_banned, 0, "rot on a disk must not look like a lie");
}

zest_tests::on_every_runtime!(
    a_truncated_file,
    a_file_that_grew,
    a_replaced_file,
    a_removed_file,
    one_overwritten_byte,
    one_overwritten_byte_with_the_old_time_put_back,
    a_change_while_answers_wait_for_a_slow_reader,
    a_damaged_chunk_list_is_not_served_for_a_good_one,
);
