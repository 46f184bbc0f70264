//! A repository's files at one commit, and the JSON in which huggingface_hub 2.4 keeps them
//! (`trees/<commit>.json`, format version 1). Reading and writing agree with it byte for byte.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use zest_xet::Hash;

use crate::names::{NameError, PART_BYTES_MAX, check_etag, check_storable};

/// Version of the tree file's format that huggingface_hub 2.4 writes and reads.
const FORMAT_VERSION: u64 = 1;

/// What the Hub's tree call gives for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Path in the repository, `/`-separated.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Git blob id: of the content for a small file, of the pointer for an LFS file.
    pub blob_id: String,
    /// SHA-256 of an LFS file's content, as hex.
    pub lfs_sha256: Option<String>,
    /// Bytes of an LFS file's content.
    pub lfs_size: Option<u64>,
    /// Xet file hash, for files in Xet storage.
    pub xet_hash: Option<Hash>,
}

impl TreeEntry {
    /// The name of the file's blob in the cache: sha256 for LFS, git blob id otherwise.
    #[must_use]
    pub fn etag(&self) -> &str {
        self.lfs_sha256.as_deref().unwrap_or(&self.blob_id)
    }

    /// Bytes of the content.
    #[must_use]
    pub fn content_size(&self) -> u64 {
        match (&self.lfs_sha256, self.lfs_size) {
            (Some(_), Some(size)) => size,
            _ => self.size,
        }
    }

    /// Whether any hash of its content is known. It is not for a file that was found in a snapshot without links and without a
    /// listing: such a file can be used as it is, and not be proven.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.lfs_sha256.is_some()
            || self.xet_hash.is_some()
            || self.blob_id.bytes().any(|digit| digit != b'0')
    }

    /// Whether path and ids may become paths in the cache.
    ///
    /// # Errors
    /// [`NameError`] with the name and the rule that is broken.
    pub fn check(&self) -> Result<(), NameError> {
        check_storable(&self.path)?;
        check_etag(&self.blob_id)?;
        self.lfs_sha256.as_deref().map_or(Ok(()), check_etag)
    }

    /// As [`TreeEntry::check`], and whether file systems have room for the name.
    ///
    /// # Errors
    /// [`NameError`] with the name and the rule that is broken.
    pub fn check_fits(&self) -> Result<(), NameError> {
        self.check()?;
        match self.path.split('/').find(|part| part.len() > PART_BYTES_MAX) {
            Some(part) => {
                let name = part.chars().take(60).collect::<String>() + "…";
                Err(NameError { name, why: "a part of a path has at most 255 bytes here" })
            }
            None => Ok(()),
        }
    }
}

/// One file in the JSON, as it stands there.
#[derive(serde::Deserialize)]
struct JsonEntry {
    size: u64,
    blob_id: String,
    lfs_sha256: Option<String>,
    lfs_size: Option<u64>,
    xet_hash: Option<String>,
}

#[derive(serde::Deserialize)]
struct JsonTree {
    format_version: u64,
    files: BTreeMap<String, JsonEntry>,
}

/// Reads a tree file. `None` for another format version, a broken file, or one that names something unsafe:
/// the tree is then fetched again.
#[must_use]
pub fn parse_tree(json: &[u8]) -> Option<Vec<TreeEntry>> {
    let tree: JsonTree = serde_json::from_slice(json).ok()?;
    if tree.format_version != FORMAT_VERSION {
        return None;
    }
    let mut entries = Vec::with_capacity(tree.files.len());
    for (path, file) in tree.files {
        let xet_hash = match file.xet_hash {
            Some(hash) => Some(hash.parse().ok()?),
            None => None,
        };
        let entry = TreeEntry {
            path,
            size: file.size,
            blob_id: file.blob_id,
            lfs_sha256: file.lfs_sha256,
            lfs_size: file.lfs_size,
            xet_hash,
        };
        entry.check().ok()?;
        entries.push(entry);
    }
    Some(entries)
}

/// Writes a tree file: sorted by path (code points), one space of indentation, everything outside ASCII
/// escaped, no newline at the end.
#[must_use]
pub fn format_tree(entries: &[TreeEntry]) -> String {
    let sorted: BTreeMap<&str, &TreeEntry> =
        entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    let mut out = format!("{{\n \"format_version\": {FORMAT_VERSION},\n \"files\": {{");
    for (i, (path, entry)) in sorted.iter().enumerate() {
        out.push_str(if i == 0 { "\n  " } else { ",\n  " });
        push_string(&mut out, path);
        let _ = write!(out, ": {{\n   \"size\": {},\n   \"blob_id\": ", entry.size);
        push_string(&mut out, &entry.blob_id);
        if let Some(sha256) = &entry.lfs_sha256 {
            out.push_str(",\n   \"lfs_sha256\": ");
            push_string(&mut out, sha256);
            out.push_str(",\n   \"lfs_size\": ");
            match entry.lfs_size {
                Some(size) => {
                    let _ = write!(out, "{size}");
                }
                None => out.push_str("null"),
            }
        }
        if let Some(hash) = entry.xet_hash {
            let _ = write!(out, ",\n   \"xet_hash\": \"{hash}\"");
        }
        out.push_str("\n  }");
    }
    out.push_str(if sorted.is_empty() { "}\n}" } else { "\n }\n}" });
    out
}

/// A JSON string with everything outside printable ASCII escaped, in the short forms where JSON has them.
fn push_string(out: &mut String, s: &str) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, size: u64, blob: char) -> TreeEntry {
        let blob_id = blob.to_string().repeat(40);
        TreeEntry { path: path.into(), size, blob_id, lfs_sha256: None, lfs_size: None, xet_hash: None }
    }

    /// Written by huggingface_hub 2.4.0 for such a tree (ids shortened to one repeated digit).
    const REFERENCE: &str = concat!(
        "{\n \"format_version\": 1,\n \"files\": {\n  \".gitattributes\": {\n   \"size\": 50,\n   \"blob_id\": \"",
        "5555555555555555555555555555555555555555\"\n  },\n  \"model.safetensors\": {\n   \"size\": 22982960,\n   \"blob_id\": \"",
        "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\",\n   \"lfs_sha256\": \"",
        "0000000000000000000000000000000000000000000000000000000000000000\",\n   \"lfs_size\": 22982960,\n   \"xet_hash\": \"",
        "8ec9447cbb4c2f86c5b1c0b23d5d5bb27f92dd3c74fbb0d5dd483f7b2c913dee\"\n  },\n  \"sub dir/caf\\u00e9 #1.txt\": {\n   \"size\": 32,\n",
        "   \"blob_id\": \"7777777777777777777777777777777777777777\"\n  }\n }\n}"
    );

    #[test]
    fn the_tree_file_equals_that_of_the_official_client() {
        let mut model = entry("model.safetensors", 22_982_960, 'b');
        model.lfs_sha256 = Some("0".repeat(64));
        model.lfs_size = Some(22_982_960);
        model.xet_hash =
            Some("8ec9447cbb4c2f86c5b1c0b23d5d5bb27f92dd3c74fbb0d5dd483f7b2c913dee".parse().unwrap());
        let entries = vec![entry(".gitattributes", 50, '5'), model, entry("sub dir/café #1.txt", 32, '7')];
        let mut shuffled = entries.clone();
        shuffled.reverse();
        assert_eq!(format_tree(&shuffled), REFERENCE);
        assert_eq!(parse_tree(REFERENCE.as_bytes()), Some(entries));
        assert_eq!(format_tree(&[]), "{\n \"format_version\": 1,\n \"files\": {}\n}");
    }

    #[test]
    fn names_outside_the_basic_plane_and_control_characters_survive() {
        let entries = vec![entry("a\tb\u{7f}\u{1}\"/😀", 1, 'a')];
        let json = format_tree(&entries);
        assert!(json.is_ascii());
        assert!(json.contains(r#""a\tb\u007f\u0001\"/\ud83d\ude00""#), "{json}");
        assert_eq!(parse_tree(json.as_bytes()), Some(entries));
    }

    #[test]
    fn broken_foreign_and_unsafe_trees_are_ignored() {
        let json = format_tree(&[entry("a", 1, 'a')]);
        for bad in [
            json.replace("\"format_version\": 1", "\"format_version\": 2"),
            json.replace("\"a\"", "\"../a\""),
            json.replace(&"a".repeat(40), "../../../../x"),
            json.replace("\"size\": 1", "\"size\": -1"),
            json[..json.len() / 2].to_owned(),
            String::new(),
            "[".repeat(100_000),
        ] {
            assert_eq!(parse_tree(bad.as_bytes()), None, "{}", &bad[..bad.len().min(80)]);
        }
    }
}
