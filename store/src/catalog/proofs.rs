//! Which commits anybody may read: what a Hub answered to an anonymous request about a commit of its own, when, and how long
//! that counts (`proofs/<Hub>/<repo folder>/<commit>.json`). Earlier versions kept `public/<repo folder>/<commit>.json`, which
//! does not say whose word it is: it proves nothing here.
//!
//! Memory decides, the disk only remembers: a proof that was taken back stays so in this process whatever lies on a disk
//! that is full, read-only or written by others meanwhile.

use crate::limits::CLOCK_SLACK;
pub use crate::limits::{PROOF_LASTS, PROOF_LASTS_AT_MOST};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zest_xet::chunk_hash;

use super::places::{Member, from_seconds, now_seconds, subdirs, to_seconds};
use crate::endpoint::Endpoint;
use crate::error::{Context as _, StoreError};
use crate::names::is_commit;
use crate::os;

/// Version of the format.
const FORMAT: u32 = 2;
/// Digits of its hash that name a Hub's folder: 16. Ours; what is in it says whose it is.
const HUB_DIGITS: usize = 16;

/// An anonymous request for a commit was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicProof {
    /// When it was sent.
    pub asked: SystemTime,
    /// Until when that counts.
    pub until: SystemTime,
}

/// The same in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proof {
    asked: u64,
    until: u64,
    /// Whether the disk has it.
    saved: bool,
}

impl Proof {
    pub(super) fn new(asked: SystemTime) -> Self {
        let asked = to_seconds(asked);
        Self { asked, until: asked + PROOF_LASTS.as_secs(), saved: false }
    }

    /// Dated ahead of the clock it proves nothing: nobody knows when it was made.
    fn is_sound(self, now: u64) -> bool {
        self.asked > 0 && self.asked <= now + CLOCK_SLACK.as_secs()
    }
}

/// Whether something may be shared at this time that may be until then. A term that is farther away than any can be means
/// that the clock was set back since.
pub(super) fn is_current(until: u64, now: u64) -> bool {
    until > now && until - now <= (PROOF_LASTS_AT_MOST + CLOCK_SLACK).as_secs()
}

/// All proofs, and what was taken back.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    known: BTreeMap<Member, Proof>,
    /// When a proof was taken back, in seconds since 1970: what was asked before that does not count any more.
    withdrawn: BTreeMap<Member, u64>,
}

impl Proofs {
    /// Until when the commit may be shared, in seconds since 1970; 0 if there is no proof.
    pub(super) fn until(&self, member: &Member) -> u64 {
        self.known.get(member).map_or(0, |proof| proof.until)
    }

    pub(super) fn get(&self, member: &Member) -> Option<PublicProof> {
        let proof = self.known.get(member).filter(|proof| is_current(proof.until, now_seconds()))?;
        Some(PublicProof { asked: from_seconds(proof.asked), until: from_seconds(proof.until) })
    }

    /// Takes in what this process was answered.
    pub(super) fn grant(&mut self, member: Member, proof: Proof) {
        self.withdrawn.remove(&member);
        if proof.is_sound(now_seconds()) {
            self.known.insert(member, proof);
        }
    }

    pub(super) fn saved(&mut self, member: &Member) {
        if let Some(proof) = self.known.get_mut(member) {
            proof.saved = true;
        }
    }

    pub(super) fn withdraw(&mut self, member: &Member) {
        self.known.remove(member);
        self.withdrawn.insert(member.clone(), now_seconds());
    }

    /// The Hub cannot be asked: an answer counts as long as it can.
    pub(super) fn stretch(&mut self, member: &Member) {
        if let Some(proof) = self.known.get_mut(member) {
            proof.until = proof.until.max(proof.asked + PROOF_LASTS_AT_MOST.as_secs());
        }
    }

    /// Takes in one proof from the disk. False if it was taken back here, so that it should not be there.
    pub(super) fn take_in(&mut self, member: &Member, proof: Proof) -> bool {
        if self.withdrawn.get(member).is_some_and(|at| proof.asked <= *at) {
            return false;
        }
        let older = |known: &&mut Proof| known.asked >= proof.asked;
        if let Some(known) = self.known.get_mut(member).filter(older) {
            known.saved |= known.asked == proof.asked;
        } else if proof.is_sound(now_seconds()) {
            self.known.insert(member.clone(), proof);
        }
        true
    }

    /// Takes in all of the disk: what another process took back goes. Says which proofs should not be there.
    pub(super) fn take_in_all(&mut self, on_disk: &BTreeMap<Member, Proof>) -> Vec<Member> {
        self.known.retain(|member, proof| !proof.saved || on_disk.contains_key(member));
        let stale = on_disk.iter().filter(|(member, proof)| !self.take_in(member, **proof));
        stale.map(|(member, _)| member.clone()).collect()
    }

    /// Whether the Hub's last word was yes, however long ago.
    pub(super) fn is_open(&self, member: &Member) -> bool {
        self.known.contains_key(member)
    }

    /// All of which the Hub's last word was yes, however long ago.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.known.keys()
    }

    /// Those of a repository.
    pub(super) fn of(&self, hub: &Endpoint, repo: &str) -> Vec<Member> {
        let same = |member: &&Member| member.repo == repo && member.hub.as_ref() == Some(hub);
        self.known.keys().filter(same).cloned().collect()
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct OnDisk {
    format: u32,
    hub: Endpoint,
    /// Seconds since 1970.
    asked: u64,
    /// Seconds since 1970.
    until: u64,
}

pub(super) fn folder_of(root: &Path, hub: &Endpoint) -> PathBuf {
    let name = chunk_hash(hub.as_str().as_bytes()).to_plain_hex();
    root.join("proofs").join(&name[..HUB_DIGITS])
}

fn path_of(root: &Path, member: &Member) -> Option<PathBuf> {
    let folder = folder_of(root, member.hub.as_ref()?);
    Some(folder.join(&member.repo).join(format!("{}.json", member.commit)))
}

/// Where it is noted which files a Hub named as those of a commit: see `lists.rs`.
pub(super) fn list_path(root: &Path, member: &Member) -> Option<PathBuf> {
    path_of(root, member).map(|path| path.with_extension("list"))
}

/// A proof on disk, whether or not it still counts. However far ahead its end is dated, it is no farther than it can be.
pub(super) fn read(root: &Path, member: &Member) -> Option<Proof> {
    let noted: OnDisk = serde_json::from_slice(&fs::read(path_of(root, member)?).ok()?).ok()?;
    let until = noted.until.min(noted.asked.saturating_add(PROOF_LASTS.as_secs()));
    let right = noted.format == FORMAT && Some(&noted.hub) == member.hub.as_ref();
    right.then_some(Proof { asked: noted.asked, until, saved: true })
}

pub(super) fn write(root: &Path, member: &Member, proof: Proof) -> Result<(), StoreError> {
    let (Some(path), Some(hub)) = (path_of(root, member), member.hub.clone()) else { return Ok(()) };
    let dir = path.parent().expect("proofs lie in a folder");
    fs::create_dir_all(dir).at("create directory", dir)?;
    let noted = OnDisk { format: FORMAT, hub, asked: proof.asked, until: proof.until };
    let json = serde_json::to_vec(&noted).map_err(|error| StoreError::Malformed {
        path: path.clone(),
        what: "public proof",
        why: error.to_string(),
    })?;
    os::write_atomically(&path, ".tmp", 0o600, &json).at("write", &path)
}

pub(super) fn remove(root: &Path, member: &Member) -> Result<(), StoreError> {
    // Programs of an earlier version look there.
    let old = root.join("public").join(&member.repo).join(format!("{}.json", member.commit));
    let removed =
        [Some(old), path_of(root, member)].into_iter().flatten().map(|path| match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", &path),
            _ => Ok(()),
        });
    // Both of them, whatever goes wrong with one.
    removed.collect::<Vec<_>>().into_iter().collect()
}

/// All proofs on disk, expired or not.
pub(super) fn read_all(root: &Path) -> BTreeMap<Member, Proof> {
    let mut proofs = BTreeMap::new();
    for folder in subdirs(&root.join("proofs")) {
        let folder = root.join("proofs").join(folder);
        for repo in subdirs(&folder) {
            proofs.extend(read_below(root, &folder, &repo));
        }
    }
    proofs
}

/// Those of a repository.
pub(super) fn read_of(root: &Path, hub: &Endpoint, repo: &str) -> Vec<(Member, Proof)> {
    read_below(root, &folder_of(root, hub), repo)
}

fn read_below(root: &Path, folder: &Path, repo: &str) -> Vec<(Member, Proof)> {
    let dir = folder.join(repo);
    let members = subdirs(&dir).into_iter().filter_map(|name| {
        let commit = name.strip_suffix(".json").filter(|commit| is_commit(commit))?;
        let noted: OnDisk = serde_json::from_slice(&fs::read(dir.join(&name)).ok()?).ok()?;
        Some(Member { hub: Some(noted.hub), repo: repo.to_owned(), commit: commit.to_owned() })
    });
    // One that lies in another Hub's folder is not found under its name.
    members.filter_map(|member| read(root, &member).map(|proof| (member, proof))).collect()
}
