//! A library that is no folder tree: files that lie anywhere, under names that only the library knows.

mod server_support;

use futures_util::future::BoxFuture;
use reqwest::StatusCode;
use server_support::{Lab, TOKEN, noise};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use zest_hub_server::guard::Limits;
use zest_hub_server::parts::{Layout, PlacedTerm, Xorb};
use zest_hub_server::{
    Access, DiskFile, Entry, Freshness, Library, Listen, Missing, Snapshot, serve_library,
};
use zest_store::{RepoId, RepoType};
use zest_xet::{Hash, Manifest};

/// One repository with one revision, of files that are called otherwise where they lie: a cache of blobs has such.
#[derive(Debug)]
struct Blobs {
    repo: RepoId,
    access: Mutex<Access>,
    snapshot: Arc<Snapshot>,
    layout: Layout,
}

impl Blobs {
    fn new(folder: &Path, files: &[(&str, PathBuf)]) -> Self {
        let mut layout = Layout::default();
        let folder = folder.canonicalize().expect("it exists");
        let entries = files.iter().map(|(path, place)| {
            let disk = DiskFile::look(&folder, place).expect("a file");
            let (entry, manifest) = Entry::read((*path).to_owned(), disk).expect("read");
            if let Some(manifest) = manifest {
                layout.add(&manifest);
            }
            entry
        });
        let snapshot = Arc::new(Snapshot::new(entries.collect()));
        let repo = RepoId::new(RepoType::Model, "far/away").expect("a name");
        Self { repo, access: Mutex::new(Access::Public), snapshot, layout }
    }

    fn has(&self, content: &Hash) -> bool {
        self.snapshot.holds(content)
    }
}

impl Library for Blobs {
    fn repos(&self) -> BoxFuture<'_, Vec<(RepoId, Access)>> {
        let access = *self.access.lock().expect("nobody panicked");
        Box::pin(async move { vec![(self.repo.clone(), access)] })
    }

    fn access<'a>(&'a self, repo: &'a RepoId) -> BoxFuture<'a, Option<Access>> {
        let access = *self.access.lock().expect("nobody panicked");
        Box::pin(async move { (*repo == self.repo).then_some(access) })
    }

    fn revisions<'a>(&'a self, _: &'a RepoId) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async { vec!["main".to_owned()] })
    }

    fn snapshot<'a>(
        &'a self,
        repo: &'a RepoId,
        revision: &'a str,
        _: Freshness,
    ) -> BoxFuture<'a, Result<Arc<Snapshot>, Missing>> {
        let known = *repo == self.repo && (revision == "main" || revision == self.snapshot.commit);
        Box::pin(async move { if known { Ok(self.snapshot.clone()) } else { Err(Missing) } })
    }

    fn terms(&self, content: &Hash) -> Option<(Arc<Manifest>, Vec<PlacedTerm>)> {
        self.has(content).then(|| self.layout.terms(content))?
    }

    fn open_xorb(&self, hash: &Hash) -> Option<(Arc<Xorb>, std::fs::File)> {
        let xorb = self.layout.xorb(hash)?;
        let home = self.snapshot.files.iter().find(|file| file.digest.xet() == Some(xorb.home()))?;
        Some((xorb, std::fs::File::open(&home.disk.path).ok()?))
    }

    fn warm_up<'a>(&'a self, laid_out: Box<dyn FnOnce() + Send + 'a>) -> BoxFuture<'a, ()> {
        laid_out();
        Box::pin(async {})
    }
}

#[tokio::test]
async fn files_that_lie_anywhere_come_through_xet_and_plain_http_and_closed_ones_do_not() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().expect("temporary folder");
    let weights = noise(7, 1_500_000);
    let place = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    };
    let files =
        [("model.safetensors", place("5f1a", &weights)), ("sub/config.json", place("09bb", b"{\"a\": 1}\n"))];
    let blobs = Arc::new(Blobs::new(dir.path(), &files));
    let listen = Listen {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        tokens: vec![TOKEN.to_owned()],
        public_url: None,
        limits: Limits::for_this_process(),
    };
    let hub = serve_library(blobs.clone(), listen).await.expect("hub started");
    hub.indexed().await;
    let http = reqwest::Client::builder().no_proxy().build().expect("client made");
    let lab = Lab { hub, http, root: dir.path().to_owned() };

    assert_eq!(lab.commit("far/away", "main").await, blobs.snapshot.commit);
    let file = lab.xet_hash("far/away", "model.safetensors").await;
    let plan = lab.reconstruction("far/away", file).await;
    assert!(lab.rebuild(&plan).await == weights);
    for (path, want) in [("model.safetensors", &weights[..]), ("sub/config.json", b"{\"a\": 1}\n")] {
        let answer = lab.get(&format!("/far/away/resolve/main/{path}")).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert!(answer.bytes().await.expect("a body") == want, "{path}");
    }
    assert_eq!(lab.get("/api/models/near/by/revision/main").await.status(), StatusCode::UNAUTHORIZED);

    // Who may read it is asked with each request, and judged by the server.
    *blobs.access.lock().expect("nobody panicked") = Access::Private;
    let path = "/far/away/resolve/main/sub/config.json";
    assert_eq!(lab.get(path).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(lab.get_as(path, TOKEN).await.status(), StatusCode::OK);
}
