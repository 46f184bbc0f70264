//! Names that come from outside (repositories, revisions, commits, files) and the rules they must keep before
//! they may become paths. The rules are the same on every platform, so that a tree landed on one can be read
//! on another.

use std::fmt;

/// Bytes in the longest file name or revision we accept: Linux' PATH_MAX less room for the cache's own folders.
const NAME_BYTES_MAX: usize = 3_072;
/// Bytes in the longest repository name: the Hub allows 96 for each half.
const REPO_NAME_BYTES_MAX: usize = 193;

/// What kind of repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RepoType {
    /// A model.
    Model,
    /// A dataset.
    Dataset,
    /// A space.
    Space,
}

impl RepoType {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Model, Self::Dataset, Self::Space];

    /// "model".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
            Self::Space => "space",
        }
    }

    /// "models", as in API paths and folder names.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
            Self::Space => "spaces",
        }
    }
}

impl fmt::Display for RepoType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A repository: kind and "org/name" (or "name" alone for the old canonical ones). Its name has passed
/// [`RepoId::new`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct RepoId {
    /// Model, dataset or space.
    pub kind: RepoType,
    /// "org/name" or "name".
    pub name: String,
}

impl RepoId {
    /// Checks a name: one or two parts of `[A-Za-z0-9._-]`, none of them beginning or ending with `.` or `-`,
    /// without `--` (the cache's separator) and `..`. These are the rules of the Hub and its client.
    ///
    /// # Errors
    /// [`NameError`] with the rule that is broken.
    pub fn new(kind: RepoType, name: &str) -> Result<Self, NameError> {
        let refuse = |why| Err(NameError { name: shorten(name), why });
        if name.is_empty() {
            return refuse("a repository name cannot be empty");
        }
        if name.len() > REPO_NAME_BYTES_MAX {
            return refuse("a repository name has at most 193 bytes");
        }
        if name.split('/').count() > 2 {
            return refuse("a repository is named ORG/NAME or NAME");
        }
        for part in name.split('/') {
            if part.is_empty() {
                return refuse("a repository is named ORG/NAME or NAME");
            }
            if !part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
                return refuse("a repository name has only letters, digits, '-', '_' and '.'");
            }
            if part.starts_with(['.', '-']) || part.ends_with(['.', '-']) {
                return refuse("no part of a repository name begins or ends with '.' or '-'");
            }
            if part.contains("--") || part.contains("..") {
                return refuse("a repository name cannot contain '--' or '..'");
            }
        }
        Ok(Self { kind, name: name.to_owned() })
    }

    /// The folder in the HF cache: `models--org--name`.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}--{}", self.kind.plural(), self.name.replace('/', "--"))
    }

    /// The inverse of [`RepoId::folder`]; `None` for a folder that is not a repository of the cache.
    #[must_use]
    pub fn from_folder(folder: &str) -> Option<Self> {
        let (plural, name) = folder.split_once("--")?;
        let kind = RepoType::ALL.into_iter().find(|kind| kind.plural() == plural)?;
        Self::new(kind, &name.replacen("--", "/", 1)).ok()
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RepoType::Model => f.write_str(&self.name),
            kind => write!(f, "{}/{}", kind.plural(), self.name),
        }
    }
}

/// A name that must not reach the file system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unsafe or invalid name {name:?}: {why}")]
pub struct NameError {
    /// The name, shortened if it is very long.
    pub name: String,
    /// The rule it breaks.
    pub why: &'static str,
}

/// Checks the path of a file inside a repository. It must be relative, `/`-separated, and must mean the same
/// file below the same folder under Unix and Windows rules: no empty, `.` or `..` segment, no backslash, no
/// drive, no NUL. Spaces, `#`, quotes and any other Unicode are fine.
///
/// # Errors
/// [`NameError`] with the rule that is broken.
pub fn check_name(path: &str) -> Result<(), NameError> {
    let refuse = |why| Err(NameError { name: shorten(path), why });
    if path.is_empty() {
        return refuse("a file name cannot be empty");
    }
    if path.len() > NAME_BYTES_MAX {
        return refuse("a file name has at most 3072 bytes");
    }
    if path.contains('\0') {
        return refuse("a file name cannot contain NUL");
    }
    if path.starts_with('/') {
        return refuse("a file name cannot be an absolute path");
    }
    if path.contains('\\') {
        return refuse("a file name cannot contain a backslash (a separator on Windows)");
    }
    for segment in path.split('/') {
        match segment {
            "" => return refuse("a file name cannot contain an empty segment"),
            "." | ".." => return refuse("a file name cannot contain a '.' or '..' segment"),
            _ => {}
        }
        if let [letter, b':', ..] = segment.as_bytes()
            && letter.is_ascii_alphabetic()
        {
            return refuse("a file name cannot begin with a drive letter");
        }
    }
    Ok(())
}

/// Bytes in the longest part of a path that file systems take (Linux, macOS; NTFS counts characters).
pub(crate) const PART_BYTES_MAX: usize = 255;

/// Checks the path of a file inside a repository before it becomes a path on this machine. Less strict than [`check_name`],
/// which asks what every system can hold: here a backslash inside a part and a colon are characters like any other. Refused
/// stays what leaves its folder by the rules of any system, as such a tree may be read elsewhere.
///
/// # Errors
/// [`NameError`] with the rule that is broken.
pub fn check_storable(path: &str) -> Result<(), NameError> {
    if cfg!(windows) {
        return check_name(path);
    }
    let refuse = |why| Err(NameError { name: shorten(path), why });
    for part in path.split('/') {
        if part.starts_with('\\') || part.split('\\').any(|piece| piece == "..") {
            return refuse("a file name cannot leave its folder on any system");
        }
        if let [letter, b':', b'\\', ..] = part.as_bytes()
            && letter.is_ascii_alphabetic()
        {
            return refuse("a file name cannot be an absolute path on any system");
        }
    }
    // What is left of the rules knows neither of the two characters.
    check_name(&path.replace(['\\', ':'], "_"))
        .map_err(|error| NameError { name: shorten(path), why: error.why })
}

/// Checks a revision (branch, tag, `refs/pr/N`, commit): the rules of [`check_name`], as it becomes
/// `refs/<revision>`.
///
/// # Errors
/// [`NameError`] with the rule that is broken.
pub fn check_revision(revision: &str) -> Result<(), NameError> {
    check_name(revision)
}

/// Whether a revision is a full commit id: 40 lower-case hex digits. Such a revision needs no call to the Hub
/// and writes no ref.
#[must_use]
pub fn is_commit(revision: &str) -> bool {
    is_hex(revision, 40)
}

/// Whether `s` is exactly `digits` lower-case hex digits.
pub(crate) fn is_hex(s: &str, digits: usize) -> bool {
    s.len() == digits && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Checks a commit id before it becomes a folder name.
pub(crate) fn check_commit(commit: &str) -> Result<(), NameError> {
    if is_commit(commit) {
        return Ok(());
    }
    Err(NameError { name: shorten(commit), why: "a commit id is 40 lower-case hex digits" })
}

/// Checks a blob's name (git id or sha256) before it becomes a file name.
pub(crate) fn check_etag(etag: &str) -> Result<(), NameError> {
    if is_hex(etag, 40) || is_hex(etag, 64) {
        return Ok(());
    }
    Err(NameError { name: shorten(etag), why: "a blob id is 40 or 64 lower-case hex digits" })
}

/// At most 200 characters of a name, for error texts.
fn shorten(name: &str) -> String {
    let mut short: String = name.chars().take(200).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_their_folder_are_refused() {
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/..",
            "a//b",
            "a/",
            "./a",
            "a/./b",
            "C:",
            "C:x",
            "c:/x",
            "a/D:/b",
            "\\x",
            "\\\\host\\share",
            "a\\..\\b",
            "a\\b",
            "//host/share",
            "a\0b",
        ] {
            assert!(check_name(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(check_name(&"a/".repeat(2_000)).is_err());
    }

    #[test]
    fn odd_but_harmless_names_are_accepted() {
        for good in [
            "config.json",
            ".gitattributes",
            "sub dir/deeper/café #1.txt",
            "a:b/..c",
            "ab:c",
            "模型.bin",
            "...",
            "a b'\"%?*",
            "-rf",
            "~",
            "$HOME",
        ] {
            let expected = if good == "a:b/..c" { "refused" } else { "accepted" };
            assert_eq!(if check_name(good).is_ok() { "accepted" } else { "refused" }, expected, "{good:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_can_be_stored_here_is_stored() {
        for good in ["a\\b", "A: x", "C:", "C:x", "a/D:/b", "q\\a: why?.md", "a:b/..c"] {
            assert_eq!(check_storable(good), Ok(()), "{good:?}");
        }
        for bad in [
            "",
            "/a",
            "..",
            "../x",
            "a/../b",
            "a//b",
            "./a",
            "a\0b",
            "\\x",
            "\\\\host\\share",
            "a\\..\\b",
            "C:\\x",
            "a/\\x",
            "..\\..\\x",
        ] {
            let error = check_storable(bad).expect_err(bad);
            assert_eq!(error.name, bad);
        }
    }

    #[test]
    fn repository_names_follow_the_rules_of_the_hub() {
        for good in ["gpt2", "org/name", "Org_1/n.a-m_e", "a/b"] {
            let repo = RepoId::new(RepoType::Model, good).unwrap();
            assert_eq!(RepoId::from_folder(&repo.folder()), Some(repo));
        }
        for bad in [
            "", "/", "a/", "/a", "a/b/c", "a--b/c", "../x", "a/..", ".a/b", "a/b.", "-a/b", "a b/c", "a/é",
            "a\\b",
        ] {
            assert!(RepoId::new(RepoType::Model, bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(RepoId::new(RepoType::Dataset, "lab/table").unwrap().folder(), "datasets--lab--table");
        assert_eq!(RepoId::from_folder("blobs"), None);
        assert_eq!(RepoId::from_folder("kernels--a--b"), None);
    }

    #[test]
    fn only_a_full_lower_case_id_is_a_commit() {
        assert!(is_commit("46419508aa93b233602f04008333d945f9b77530"));
        assert!(!is_commit("46419508AA93b233602f04008333d945f9b77530"));
        assert!(!is_commit("46419508"));
        assert!(!is_commit("main"));
    }
}
