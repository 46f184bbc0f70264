//! Changes on disk, restarts, and files that share chunks.

mod server_support;

use reqwest::{Method, StatusCode};
use server_support::{foreign_bytes, header, noise, root, start, start_with, write};
use zest_hub_server::ServeConfig;

const MODEL: &str = "models/org/name/main/model.bin";

#[tokio::test]
async fn a_changed_file_gives_a_new_commit_and_the_old_one_keeps_what_is_left() {
    let dir = root(&[(MODEL, b"one"), ("models/org/name/main/keep.txt", b"kept")]);
    let lab = start(dir.path()).await;
    let old = lab.commit("org/name", "main").await;
    assert_eq!(lab.commit("org/name", "main").await, old);
    write(dir.path(), MODEL, b"another");
    let new = lab.commit("org/name", "main").await;
    assert_ne!(new, old);
    let size = async |commit: &str, file: &str| {
        let answer = lab.request(Method::HEAD, &format!("/org/name/resolve/{commit}/{file}")).send().await;
        let answer = answer.expect("an answer");
        (
            answer.status().as_u16(),
            answer.headers().get("x-linked-size").map(|size| size.to_str().expect("text").to_owned()),
        )
    };
    assert_eq!(size(&new, "model.bin").await, (302, Some("7".into())));
    assert_eq!(size(&old, "keep.txt").await, (307, Some("4".into())));
    assert_eq!(size(&old, "model.bin").await, (404, None), "what the old commit meant is gone");
    write(dir.path(), MODEL, b"one");
    assert_eq!(lab.commit("org/name", "main").await, old, "the same content again");
    assert_eq!(size(&old, "model.bin").await, (302, Some("3".into())));
}

#[tokio::test]
async fn a_file_that_changes_under_a_signed_url_is_not_sent() {
    let dir = root(&[(MODEL, &noise(1, 100_000))]);
    let lab = start(dir.path()).await;
    let plan = lab.reconstruction("org/name", lab.xet_hash("org/name", "model.bin").await).await;
    let fetch = &plan.fetches.values().next().expect("a xorb")[0];
    write(dir.path(), MODEL, &noise(2, 100_001));
    assert_eq!(lab.range(&fetch.url, 0, 99).await.status(), StatusCode::FORBIDDEN);
    let file = lab.xet_hash("org/name", "model.bin").await;
    assert!(lab.rebuild(&lab.reconstruction("org/name", file).await).await == noise(2, 100_001));
}

#[tokio::test]
async fn a_restart_reads_no_file_again_and_gives_the_same_xorbs() {
    let base = noise(1, 2_000_000);
    let dir = root(&[(MODEL, &base), ("models/org/name/main/config.json", b"{}")]);
    let before = start(dir.path()).await;
    before.hub.indexed().await;
    let file = before.xet_hash("org/name", "model.bin").await;
    let (commit, plan) =
        (before.commit("org/name", "main").await, before.reconstruction("org/name", file).await);
    assert_eq!(before.hub.stats().indexed_files, 2);
    before.hub.shutdown().await;
    // A repository that sorts before the known one must not take over its chunks.
    write(dir.path(), "models/a/copy/main/model.bin", &base);
    let after = start(dir.path()).await;
    after.hub.indexed().await;
    assert_eq!(after.hub.stats().indexed_files, 1, "only the new file was read");
    assert_eq!(after.commit("org/name", "main").await, commit);
    assert_eq!(after.reconstruction("org/name", file).await.terms, plan.terms);
    assert_eq!(after.reconstruction("a/copy", file).await.terms, plan.terms, "equal files share everything");
}

#[tokio::test]
async fn equal_content_has_equal_commits_on_every_machine_and_without_a_cache_folder() {
    let files: &[(&str, &[u8])] = &[(MODEL, b"weights"), ("models/org/name/main/a.txt", b"a")];
    let (one, two) = (root(files), root(files));
    let first = start(one.path()).await;
    let mut config = ServeConfig::new(two.path(), ([127, 0, 0, 1], 0).into());
    // A file where the cache folder should be.
    config.cache_dir = Some(two.path().join(MODEL).join("cache"));
    let second = start_with(config).await;
    assert_eq!(first.commit("org/name", "main").await, second.commit("org/name", "main").await);
    assert!(!two.path().join(".zest-hub").exists());
    let file = second.xet_hash("org/name", "model.bin").await;
    assert_eq!(second.rebuild(&second.reconstruction("org/name", file).await).await, b"weights");
}

#[tokio::test]
async fn a_fine_tune_shares_the_xorbs_of_its_base_until_the_base_goes() {
    let base = noise(1, 4_000_000);
    let mut tuned = base.clone();
    tuned[1_500_000..2_000_000].copy_from_slice(&noise(2, 500_000));
    let dir = root(&[(MODEL, &base), ("models/org/tuned/main/model.bin", &tuned)]);
    let lab = start(dir.path()).await;
    lab.hub.indexed().await;
    let (base_file, tuned_file) =
        (lab.xet_hash("org/name", "model.bin").await, lab.xet_hash("org/tuned", "model.bin").await);
    let base_plan = lab.reconstruction("org/name", base_file).await;
    let tuned_plan = lab.reconstruction("org/tuned", tuned_file).await;
    let changed = foreign_bytes(&tuned_plan, &base_plan);
    assert!((500_000..900_000).contains(&changed), "{changed} bytes of new xorbs for 500,000 changed bytes");
    assert!(lab.rebuild(&tuned_plan).await == tuned);

    std::fs::remove_file(dir.path().join(MODEL)).expect("removed");
    let alone = lab.reconstruction("org/tuned", tuned_file).await;
    assert!(alone.fetches.keys().all(|xorb| !base_plan.fetches.contains_key(xorb)));
    assert!(lab.rebuild(&alone).await == tuned);
    let gone = lab.get("/org/name/resolve/main/model.bin").await;
    assert_eq!(header(&gone, "x-error-code"), "EntryNotFound");
}

#[tokio::test]
async fn files_that_repeat_data_are_rebuilt() {
    let block = noise(3, 1_500_000);
    let mut data = vec![0; 2_500_000];
    data.extend(&block);
    data.extend(&block);
    data.extend(vec![0; 700_000]);
    let dir = root(&[(MODEL, &data)]);
    let lab = start(dir.path()).await;
    let plan = lab.reconstruction("org/name", lab.xet_hash("org/name", "model.bin").await).await;
    assert!(lab.rebuild(&plan).await == data);
    let stored: u64 =
        plan.fetches.values().flatten().flat_map(|f| &f.ranges).map(|r| r.bytes.end - r.bytes.start).sum();
    assert!(stored < 4_000_000, "{stored} bytes stored for {} with repeats", data.len());
}

#[tokio::test]
async fn who_has_a_base_has_all_of_the_xorbs_that_its_fine_tune_shares_with_it_whatever_their_names() {
    let base = noise(7, 4_000_000);
    let mut tuned = base.clone();
    tuned[2_000_000..2_100_000].copy_from_slice(&noise(8, 100_000));
    let files: [(&str, &[u8]); 2] =
        [("models/org/base/main/model.bin", &base), ("models/org/a-tune/main/model.bin", &tuned)];
    let dir = root(&files);
    // A day before.
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
    let older = std::fs::File::options().write(true).open(dir.path().join(files[0].0)).expect("ours");
    older.set_modified(then).expect("ours");
    let lab = start(dir.path()).await;
    lab.hub.indexed().await;
    let plan = async |repo: &str| lab.reconstruction(repo, lab.xet_hash(repo, "model.bin").await).await;
    let (base, tuned) = (plan("org/base").await, plan("org/a-tune").await);
    assert_eq!(base.terms.len(), 1, "it was laid out first, in xorbs of its own");
    assert_eq!(tuned.terms.len(), 3);
    let fetched = foreign_bytes(&tuned, &base);
    assert!((100_000..600_000).contains(&fetched), "{fetched} bytes");
}
