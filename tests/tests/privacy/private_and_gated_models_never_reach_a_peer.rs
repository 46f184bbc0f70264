//! What an anonymous request cannot read is neither served to a peer nor asked of one, and the token is seen by nobody but
//! the Hub.

use std::path::Path;
use std::sync::Arc;
use zest_runtime_tokio::PullOptions;
use zest_store::Token;
use zest_tests::caller::Caller;
use zest_tests::known::{Known, Xorb, xorbs_of};
use zest_tests::peer::{Peer, Script, honest, in_time};
use zest_tests::speak::{self, DICT_ZEST, THEIR_XET, THEIR_ZEST, UT_XET, ZEST};
use zest_tests::{Machine, Site, TOKEN, assert_same_files, noise};

struct World {
    site: Site,
    closed: Arc<Known>,
    open: Arc<Known>,
    /// The closed model's xorbs.
    xorbs: Vec<Xorb>,
}

async fn world(how: &str) -> World {
    let mut site = Site::new();
    let closed = Arc::new(Known::new(noise(67, 800_000)));
    let open = Arc::new(Known::new(noise(68, 800_000)));
    site.add("org/closed", "model.safetensors", &closed.bytes);
    site.add("org/closed", "config.json", b"{\"a\": 1}");
    site.add("org/open", "model.safetensors", &open.bytes);
    site.open().await;
    let (xorbs, _) = xorbs_of(&site, "org/closed", &closed).await;
    site.restrict("org/closed", how);
    World { site, closed, open, xorbs }
}

impl World {
    /// Pulls the closed model with the token, naming these peers.
    async fn pull_closed(&self, machine: &Machine, peers: &[String]) {
        let mut options = PullOptions { peers: peers.to_vec(), ..machine.options("org/closed") };
        options.env.token = Token::new(TOKEN);
        let report = in_time(machine.pull(options)).await.expect("the token opens it");
        assert_same_files(&report.path, &self.site.folder("org/closed"));
        assert_eq!((report.shareable, report.from_peers), (false, 0));
    }

    /// A peer that would give both models.
    async fn peer(&self) -> Peer {
        let (closed, open) = (self.closed.clone(), self.open.clone());
        let of_closed = move |ask: &speak::Ask| match ask {
            speak::Ask::Chunk { hash, .. } => closed.chunk(hash).is_some(),
            speak::Ask::Manifest { file, .. } | speak::Ask::Interest { file } => *file == closed.file(),
            _ => false,
        };
        let closed = self.closed.clone();
        Script::zest(move |ask| honest(if of_closed(ask) { &closed } else { &open }, ask)).start().await
    }

    /// Whether these bytes name anything of the closed model: its file, a chunk, a xorb.
    fn is_named_in(&self, bytes: &[u8]) -> bool {
        let chunks = self.closed.manifest.chunks().iter().map(|chunk| chunk.hash);
        let xorbs = self.xorbs.iter().map(|xorb| xorb.hash);
        let mut names = chunks.chain(xorbs).chain([self.closed.file()]);
        names.any(|name| contains(bytes, name.as_bytes()))
    }
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// Fails if any file below the folder has the token in its content or name.
fn assert_no_token_below(folder: &Path) {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder").flatten() {
            let path = entry.path();
            assert!(!path.to_string_lossy().contains(TOKEN), "{}", path.display());
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).expect("a readable file");
                assert!(!contains(&bytes, TOKEN.as_bytes()), "the token is in {}", path.display());
            }
        }
    }
}

async fn is_never_served(how: &str) {
    let world = world(how).await;
    let machine = Machine::new(&world.site.endpoint()).await;
    machine.pull_from("org/open", &[]).await.expect("the open model");
    world.pull_closed(&machine, &[]).await;
    // Neither right away nor after the index was brought up to date, nor after a restart.
    asks_in_vain(&world, &machine).await;
    let progress = machine.index().await;
    assert_eq!((progress.public, progress.not_public), (1, 1));
    asks_in_vain(&world, &machine).await;
    let machine = machine.restarted().await;
    asks_in_vain(&world, &machine).await;
}

async fn asks_in_vain(world: &World, machine: &Machine) {
    let mut caller = Caller::dial(&machine.address(), b"-SC0100-curious00000", DICT_ZEST).await;
    let (file, chunk) = (world.closed.file(), world.closed.manifest.chunk(2).hash);
    let xorb = &world.xorbs[0];

    caller.send(&speak::ext(UT_XET, &[&[1, 0, 0, 0, 1][..], chunk.as_bytes()].concat())).await;
    let (id, body) = caller.message().await.expect("an answer");
    assert_eq!((id, &body[..5]), (THEIR_XET, &[3, 0, 0, 0, 1][..]), "no chunk");

    let range =
        [&[1, 0, 0, 0, 2][..], xorb.hash.as_bytes(), &0u32.to_be_bytes(), &2u32.to_be_bytes()].concat();
    caller.send(&speak::ext(UT_XET, &range)).await;
    let (id, body) = caller.message().await.expect("an answer");
    assert_eq!((id, &body[..5]), (THEIR_XET, &[3, 0, 0, 0, 2][..]), "no xorb range");

    let list = [&[1, 0, 0, 0, 3][..], file.as_bytes(), &0u32.to_be_bytes(), &9u32.to_be_bytes()].concat();
    caller.send(&speak::ext(ZEST, &list)).await;
    assert_eq!(caller.message().await, Some((THEIR_ZEST, vec![3, 0, 0, 0, 3])), "no chunk list");

    caller.send(&speak::ext(ZEST, &[&[4][..], file.as_bytes()].concat())).await;
    let none = [&[6][..], file.as_bytes(), &[0; 6]].concat();
    assert_eq!(caller.message().await, Some((THEIR_ZEST, none)), "nothing of it is here");

    // The same questions about the open model are answered.
    let chunk = world.open.manifest.chunk(2).hash;
    caller.send(&speak::ext(UT_XET, &[&[1, 0, 0, 0, 4][..], chunk.as_bytes()].concat())).await;
    let (_, body) = caller.message().await.expect("an answer");
    assert_eq!(&body[9..], world.open.chunk(&chunk).expect("its chunk"));
}

async fn is_never_asked_for(how: &str) {
    let world = world(how).await;
    let peer = world.peer().await;
    let machine = Machine::new(&world.site.endpoint()).await;
    let named = std::slice::from_ref(&peer.address);
    // First while nothing links the two, then while a pull of an open model has them linked.
    world.pull_closed(&machine, named).await;
    assert_eq!(peer.connections(), 0, "not even dialled");
    let report = in_time(machine.pull_from("org/open", named)).await.expect("the open model");
    assert!(report.from_peers > 0, "the peer is used for what is open");
    let asked = peer.asks().len();
    assert!(asked > 0 && !world.is_named_in(&peer.received()));
    std::fs::remove_dir_all(&machine.env.hub_cache).expect("the cache can be removed");
    world.pull_closed(&machine, named).await;
    assert!(!world.is_named_in(&peer.received()), "nothing of it is named to a peer");
    // A peer that comes by itself is told nothing either.
    let mut caller = Caller::dial(&machine.address(), b"-SC0100-curious00000", DICT_ZEST).await;
    std::fs::remove_dir_all(&machine.env.hub_cache).expect("the cache can be removed");
    world.pull_closed(&machine, named).await;
    caller.send(&speak::ext(ZEST, &[&[4][..], world.open.file().as_bytes()].concat())).await;
    let (_, first) = caller.message().await.expect("an answer");
    assert_eq!(first[0], 6, "the answer to its own question comes first: it was asked nothing");

    assert!(!contains(&peer.received(), TOKEN.as_bytes()), "the token is for the Hub alone");
    assert_no_token_below(machine.dir());
}

#[tokio::test]
async fn a_private_model_is_never_served() {
    is_never_served("private").await;
}

#[tokio::test]
async fn a_gated_model_is_never_served() {
    is_never_served("gated").await;
}

#[tokio::test]
async fn a_private_model_is_never_asked_for() {
    is_never_asked_for("private").await;
}

#[tokio::test]
async fn a_gated_model_is_never_asked_for() {
    is_never_asked_for("gated").await;
}

#[tokio::test]
async fn a_commit_named_by_its_hash_is_not_taken_for_open() {
    let world = world("private").await;
    let peer = world.peer().await;
    let machine = Machine::new(&world.site.endpoint()).await;
    world.pull_closed(&machine, &[]).await;
    let refs = std::fs::read_to_string(machine.env.hub_cache.join("models--org--closed/refs/main"));
    let commit = refs.expect("the ref of the branch");
    std::fs::remove_dir_all(&machine.env.hub_cache).expect("the cache can be removed");
    let mut options = machine.options("org/closed");
    options.env.token = Token::new(TOKEN);
    options.revision = commit.trim().to_owned();
    options.peers = vec![peer.address.clone()];
    let report = in_time(machine.pull(options)).await.expect("the token opens it");
    assert!(!report.shareable);
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn the_token_is_not_told_to_the_peers_of_an_open_model() {
    let world = world("private").await;
    let peer = world.peer().await;
    let machine = Machine::new(&world.site.endpoint()).await;
    let mut options = PullOptions { peers: vec![peer.address.clone()], ..machine.options("org/open") };
    options.env.token = Token::new(TOKEN);
    let report = in_time(machine.pull(options)).await.expect("the open model");
    assert!(report.shareable && report.from_peers > 0);
    assert!(!contains(&peer.received(), TOKEN.as_bytes()));
    assert_no_token_below(machine.dir());
}
