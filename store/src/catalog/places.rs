//! The small JSON files beside the manifests: where a file's copies are (`places/<2 hex>/<file hash>.json`).

use crate::limits::PLACES_BYTES_MAX;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zest_xet::Hash;

use super::Commit;
use crate::endpoint::Endpoint;
use crate::error::{Context as _, StoreError};
use crate::names::RepoId;
use crate::os::{self, Identity};

/// Version of the format.
const FORMAT: u32 = 1;

/// A copy on disk, as it was when its bytes were hashed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Copy {
    #[serde(with = "os::path_bytes")]
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
}

/// A repository's commit that a file belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(super) struct Member {
    /// Whose repository it is. `None`: found in a cache, and nobody says where it came from; so are all notes of versions
    /// before this was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hub: Option<Endpoint>,
    /// Folder name of the repository.
    pub(super) repo: String,
    pub(super) commit: String,
}

impl Member {
    pub(super) fn new(hub: Option<&Endpoint>, repo: &RepoId, commit: &str) -> Self {
        Self { hub: hub.cloned(), repo: repo.folder(), commit: commit.to_owned() }
    }

    pub(super) fn commit(&self) -> Option<Commit> {
        let repo = RepoId::from_folder(&self.repo)?;
        Some(Commit { hub: self.hub.clone(), repo, commit: self.commit.clone() })
    }

    /// Whether it is the same commit, whosever.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.repo == other.repo && self.commit == other.commit
    }
}

/// What is known about one file's whereabouts.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Places {
    format: u32,
    pub(super) copies: Vec<Copy>,
    pub(super) members: Vec<Member>,
    /// Copies whose bytes are not what their name says; kept so that they are not hashed again and again.
    pub(super) rejected: Vec<Copy>,
}

impl Places {
    fn path(root: &Path, file: &Hash) -> PathBuf {
        let name = file.to_string();
        root.join("places").join(&name[..2]).join(format!("{name}.json"))
    }

    /// Nothing known if there is no such file, or none that we can read.
    pub(super) fn read(root: &Path, file: &Hash) -> Self {
        use std::io::Read as _;
        let mut json = Vec::new();
        let read = fs::File::open(Self::path(root, file))
            .and_then(|file| file.take(PLACES_BYTES_MAX).read_to_end(&mut json));
        match read.ok().and_then(|_| serde_json::from_slice::<Self>(&json).ok()) {
            Some(places) if places.format == FORMAT => places,
            _ => Self::default(),
        }
    }

    pub(super) fn write(&self, root: &Path, file: &Hash) -> Result<(), StoreError> {
        let path = Self::path(root, file);
        let dir = path.parent().expect("places lie in a folder");
        fs::create_dir_all(dir).at("create directory", dir)?;
        let json = serde_json::to_vec(&Self { format: FORMAT, ..self.clone() }).map_err(|error| {
            StoreError::Malformed { path: path.clone(), what: "places file", why: error.to_string() }
        })?;
        os::write_atomically(&path, ".tmp", 0o600, &json).at("write", &path)
    }

    /// Notes a copy, instead of an older one at the same path. Says whether anything is new.
    pub(super) fn add_copy(&mut self, copy: &Copy) -> bool {
        if self.copies.contains(copy) {
            return false;
        }
        self.copies.retain(|known| known.path != copy.path);
        self.rejected.retain(|known| known.path != copy.path);
        self.copies.push(copy.clone());
        true
    }

    pub(super) fn add_members(&mut self, members: impl IntoIterator<Item = Member>) -> bool {
        // All of them, also after the first that is new.
        members.into_iter().filter(|member| add_member(&mut self.members, member.clone())).count() > 0
    }
}

/// Notes whose a file is. Where that was not known it is now; what is known already stays. Says whether anything is new.
pub(super) fn add_member(members: &mut Vec<Member>, member: Member) -> bool {
    if members.contains(&member) || member.hub.is_none() && members.iter().any(|known| known.is_like(&member))
    {
        return false;
    }
    match members.iter_mut().find(|known| known.hub.is_none() && known.is_like(&member)) {
        Some(known) => *known = member,
        None => members.push(member),
    }
    true
}

/// Names in a folder, sorted.
pub(super) fn subdirs(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

pub(super) fn to_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(super) fn from_seconds(seconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}

pub(super) fn now_seconds() -> u64 {
    to_seconds(crate::aging_now())
}
