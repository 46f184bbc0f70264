//! With a block cache in between, a chunk is proven before it is kept: whatever happens to its file afterwards, right
//! bytes go out or none.

#![cfg(target_os = "linux")]

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::sync::Arc;
use zest_tests::caller::Caller;
use zest_tests::known::Known;
use zest_tests::peer::in_time;
use zest_tests::speak::{self, DICT_ZEST, UT_XET};
use zest_tests::{Kind, Machine, Seedbox, Site, noise};

#[tokio::test]
async fn a_file_that_changes_under_a_warm_cache() {
    if !Kind::Glommio.is_here() {
        return;
    }
    let mut site = Site::new();
    let known = Arc::new(Known::new(noise(93, 2_000_000)));
    site.add("org/model", "model.safetensors", &known.bytes);
    let machine = Machine::new(&site.open().await).await;
    let report = machine.pull_from("org/model", &[]).await.expect("the pull");
    let path = std::fs::canonicalize(report.path.join("model.safetensors")).expect("it landed");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("our own file");
    let machine = machine.restarted().await;
    machine.index().await;
    let seedbox = Seedbox::start(Kind::Glommio, &machine.store().catalog, 16 << 20).await.expect("it is one");

    let chunks = known.manifest.len();
    let mut caller = Caller::dial(&seedbox.address(), b"-SC0100-warm00000000", DICT_ZEST).await;
    // The first half comes often enough to be kept.
    for round in 0..4u32 {
        for index in 0..chunks / 2 {
            assert!(ask(&mut caller, &known, round, index).await, "chunk {index}");
        }
    }
    let reads = seedbox.disk_reads();
    for index in 0..chunks / 2 {
        assert!(ask(&mut caller, &known, 9, index).await);
    }
    assert_eq!(seedbox.disk_reads(), reads, "all of it from memory");

    let file = std::fs::File::options().write(true).open(&path).expect("our own file");
    for index in 0..chunks {
        let offset = known.manifest.offset(index);
        file.write_all_at(&[known.bytes[offset as usize] ^ 1], offset).expect("write");
    }
    let mut refused = 0;
    for index in 0..chunks {
        refused += u32::from(!ask(&mut caller, &known, 10, index).await);
    }
    assert!(
        refused >= chunks - chunks / 2,
        "nothing of the changed file goes out: {refused} of {chunks} refused"
    );
}

/// Asks for a chunk; true if it came and is right, false for NOT_FOUND.
async fn ask(caller: &mut Caller, known: &Known, req: u32, index: u32) -> bool {
    let hash = known.manifest.chunk(index).hash;
    caller.send(&speak::ext(UT_XET, &[&[1][..], &req.to_be_bytes(), hash.as_bytes()].concat())).await;
    let (_, body) = in_time(caller.message()).await.expect("an answer");
    match body[0] {
        2 => {
            assert!(body[9..] == *known.chunk(&hash).expect("its chunk"), "wrong bytes of chunk {index}");
            true
        }
        3 => false,
        other => panic!("type {other}"),
    }
}
