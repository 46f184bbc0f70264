//! Listing a commit: pages of JSON into checked entries. Names and hashes become paths on disk, so nothing odd passes.

use crate::limits::{ENTRIES_MAX, FILE_BYTES_MAX, PAGE_BYTES_MAX, PAGES_MAX};
use std::collections::{BTreeMap, BTreeSet};

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};
use serde::Deserialize;
use zest_store::{RepoId, TreeEntry, check_storable};

use super::address::{encode_path, shown, shown_repo};
use super::ask::{About, Ask, Party};
use super::http::Transport;
use super::text::shorter;
use crate::error::HubError;

/// Names in one `paths-info` call: 500.
const PATHS_MAX: usize = 500;

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Lfs>,
    #[serde(rename = "xetHash")]
    xet_hash: Option<String>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: Option<u64>,
}

/// A row as it came: one that cannot be understood must not cost the others.
#[derive(Deserialize)]
#[serde(untagged)]
enum AnyRow {
    Good(Row),
    Bad { path: String },
}

/// What a commit's listing holds.
#[derive(Debug, Default)]
pub struct Tree {
    /// Files with names and hashes that are safe to use as paths, in the Hub's order; folders left out.
    pub entries: Vec<TreeEntry>,
    /// Rows that name no such file.
    pub refused: Vec<RefusedRow>,
}

/// A row of a listing that cannot be used.
#[derive(Debug)]
pub struct RefusedRow {
    /// The path, as the Hub gave it. It must not become a path here.
    pub path: String,
    /// What is wrong with the row.
    pub error: HubError,
}

/// The files on one page of a commit's listing, as [`Hub::listing`](super::Hub::listing) would give them.
///
/// # Errors
/// `Malformed` if it is no such page.
pub fn read_page(repo: &RepoId, body: &[u8]) -> Result<Tree, HubError> {
    let mut entries = Entries::default();
    let url = Url::parse(zest_store::ENDPOINT_DEFAULT).expect("the default endpoint is an address");
    entries.add_page(repo, &url, body)?;
    Ok(entries.into_tree())
}

/// All files of `commit`.
pub(super) async fn list(transport: &Transport, repo: &RepoId, commit: &str) -> Result<Tree, HubError> {
    let mut entries = Entries::default();
    walk(transport, repo, commit, "", &mut entries).await?;
    Ok(entries.into_tree())
}

/// The files of `commit` named, and those below the folders named, as far as they are there.
pub(super) async fn part(
    transport: &Transport,
    repo: &RepoId,
    commit: &str,
    files: &[String],
    folders: &[String],
) -> Result<Tree, HubError> {
    let mut entries = Entries::default();
    for paths in files.chunks(PATHS_MAX) {
        match paths_info(transport, repo, commit, paths, &mut entries).await {
            Ok(()) => {}
            // A mirror that does not know the call, or does not take what is posted.
            Err(
                HubError::Status { status: 400 | 403..=405 | 410 | 415 | 501, .. }
                | HubError::UrlExpired { .. },
            ) => {
                return list(transport, repo, commit).await;
            }
            Err(error) => return Err(error),
        }
    }
    for folder in folders {
        match walk(transport, repo, commit, folder, &mut entries).await {
            // There is none: a pattern may match nothing.
            Ok(()) | Err(HubError::EntryNotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(entries.into_tree())
}

/// Asks for rows of these paths.
async fn paths_info(
    transport: &Transport,
    repo: &RepoId,
    commit: &str,
    paths: &[String],
    entries: &mut Entries,
) -> Result<(), HubError> {
    let url =
        transport.endpoint.api(repo, &format!("paths-info/{}", super::address::encode_segment(commit)))?;
    let form = serde_json::json!({"paths": paths, "expand": false}).to_string();
    let party = Party::Hub { repo, revision: commit, about: About::Rows, anonymous: false };
    let ask = Ask { url, party, range: None, form: Some(&form), stall: transport.config.api_stall };
    let (_, body) = transport.fetch(&ask, PAGE_BYTES_MAX).await?;
    entries.add_page(repo, &ask.url, &body)
}

/// Takes in all pages of the listing of `folder`, or of everything if that is empty.
async fn walk(
    transport: &Transport,
    repo: &RepoId,
    commit: &str,
    folder: &str,
    entries: &mut Entries,
) -> Result<(), HubError> {
    let commit_part = super::address::encode_segment(commit);
    let below = if folder.is_empty() { String::new() } else { format!("/{}", encode_path(folder)) };
    let rest = format!("tree/{commit_part}{below}?recursive=true&expand=false");
    let mut next = vec![transport.endpoint.api(repo, &rest)?];
    let mut seen = BTreeSet::new();
    while !next.is_empty() {
        let (url, headers, body) = page(transport, repo, commit, folder, next, &mut seen).await?;
        let too_large = |what, limit| HubError::TooLarge { url: shown(&url), what, limit };
        if seen.len() > PAGES_MAX {
            return Err(too_large("file list (pages)", PAGES_MAX as u64));
        }
        entries.add_page(repo, &url, &body)?;
        if entries.list.len() + entries.refused.len() > ENTRIES_MAX {
            return Err(too_large("file list (files)", ENTRIES_MAX as u64));
        }
        next = match next_link(&headers) {
            Some(link) => transport.endpoint.next_pages(&url, link)?,
            None => Vec::new(),
        };
    }
    Ok(())
}

/// The first of `places` that gives a page, and where that was. Places that were asked before are passed over.
async fn page(
    transport: &Transport,
    repo: &RepoId,
    commit: &str,
    folder: &str,
    places: Vec<Url>,
    seen: &mut BTreeSet<String>,
) -> Result<(Url, HeaderMap, Vec<u8>), HubError> {
    let mut outcome = None;
    let sure = places.len() == 1;
    for url in places {
        if !seen.insert(url.to_string()) {
            let reason = "the listing's next page is one we had".to_owned();
            outcome.get_or_insert(HubError::Redirect { url: shown(&url), reason });
            continue;
        }
        let about = match sure {
            false => About::Rows,
            true if folder.is_empty() => About::Revision,
            true => About::Folder(folder),
        };
        let party = Party::Hub { repo, revision: commit, about, anonymous: false };
        let ask = Ask { url, party, range: None, form: None, stall: transport.config.api_stall };
        match transport.fetch(&ask, PAGE_BYTES_MAX).await {
            Ok((headers, body)) => return Ok((ask.url, headers, body)),
            Err(error) => outcome = Some(outcome.unwrap_or(error)),
        }
    }
    Err(outcome.unwrap_or_else(|| HubError::Redirect {
        url: shown_repo(repo),
        reason: "a listing's next page without an address".to_owned(),
    }))
}

#[derive(Default)]
pub(super) struct Entries {
    list: Vec<TreeEntry>,
    /// Path → place in `list`.
    places: BTreeMap<String, usize>,
    refused: Vec<RefusedRow>,
}

impl Entries {
    pub(super) fn add_page(&mut self, repo: &RepoId, url: &Url, body: &[u8]) -> Result<(), HubError> {
        let malformed = |reason: String| HubError::Malformed {
            url: shown(url),
            what: "file list",
            reason: shorter(&reason),
        };
        let rows: Vec<AnyRow> = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
        for row in rows {
            let row = match row {
                AnyRow::Good(row) => row,
                AnyRow::Bad { path } => {
                    let error = malformed(format!("the row of {path:?} is no file's"));
                    self.refused.push(RefusedRow { path, error });
                    continue;
                }
            };
            if row.kind != "file" {
                continue;
            }
            let path = row.path.clone();
            let entry = match entry(row, repo, &malformed) {
                Ok(entry) => entry,
                Err(error) => {
                    self.refused.push(RefusedRow { path, error });
                    continue;
                }
            };
            match self.places.get(&path) {
                // A page boundary may repeat an entry; two files of one name may not be.
                Some(&place) if self.list[place] == entry => {}
                Some(_) => {
                    let error = malformed(format!("{path:?} is listed twice, differently"));
                    self.refused.push(RefusedRow { path, error });
                }
                None => {
                    self.places.insert(path, self.list.len());
                    self.list.push(entry);
                }
            }
        }
        Ok(())
    }

    pub(super) fn into_tree(self) -> Tree {
        let Self { list: mut entries, refused, .. } = self;
        // Of two files of one name neither is the right one.
        let bad: BTreeSet<&str> = refused.iter().map(|row| row.path.as_str()).collect();
        if !bad.is_empty() {
            entries.retain(|entry| !bad.contains(entry.path.as_str()));
        }
        Tree { entries, refused }
    }
}

impl Tree {
    /// The entries of a listing without a fault.
    ///
    /// # Errors
    /// That of the first row that cannot be used.
    pub(super) fn whole(self) -> Result<Vec<TreeEntry>, HubError> {
        self.refused.into_iter().next().map_or(Ok(self.entries), |row| Err(row.error))
    }
}

fn entry(row: Row, repo: &RepoId, malformed: &dyn Fn(String) -> HubError) -> Result<TreeEntry, HubError> {
    check_storable(&row.path).map_err(|error| HubError::UnsafeName {
        repo: shown_repo(repo),
        reason: shorter(&format!("{error} ({:?})", row.path)),
    })?;
    let path = &row.path;
    if !is_hex(&row.oid, &[40, 64]) {
        return Err(malformed(format!("{path:?} has blob id {:?}", row.oid)));
    }
    if let Some(lfs) = row.lfs.as_ref().filter(|lfs| !is_hex(&lfs.oid, &[64])) {
        return Err(malformed(format!("{path:?} has sha256 {:?}", lfs.oid)));
    }
    let lfs_size = row.lfs.as_ref().and_then(|lfs| lfs.size);
    if row.size.max(lfs_size.unwrap_or(0)) > FILE_BYTES_MAX {
        return Err(malformed(format!("{path:?} has {} bytes, limit {FILE_BYTES_MAX}", row.size)));
    }
    let xet_hash = match &row.xet_hash {
        Some(text) => match text.parse() {
            Ok(hash) => Some(hash),
            Err(_) => return Err(malformed(format!("{path:?} has xetHash {text:?}"))),
        },
        None => None,
    };
    let lfs_sha256 = row.lfs.map(|lfs| lfs.oid);
    Ok(TreeEntry { path: row.path, size: row.size, blob_id: row.oid, lfs_sha256, lfs_size, xet_hash })
}

/// Lower-case hex of one of the given lengths: what may become a file name.
fn is_hex(text: &str, lengths: &[usize]) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The target of `rel="next"` among the `Link` headers (RFC 8288).
pub(super) fn next_link(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(links).find_map(|(target, parameters)| {
        let is_next = parameters.split(';').filter_map(|p| p.trim().strip_prefix("rel=")).any(|rel| {
            rel.trim_matches('"').split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("next"))
        });
        is_next.then_some(target)
    })
}

/// `<target>; parameters, <target>; …` as pairs. A comma inside a target does not split it.
fn links(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value.split('<').skip(1).filter_map(|part| part.split_once('>'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_store::RepoType;

    fn page(body: &str) -> Result<Vec<TreeEntry>, HubError> {
        let repo = RepoId::new(RepoType::Model, "lab/tiny").unwrap();
        let mut entries = Entries::default();
        entries.add_page(&repo, &Url::parse("http://hub.example/api").unwrap(), body.as_bytes())?;
        entries.into_tree().whole()
    }

    #[test]
    fn a_bad_row_costs_no_other() {
        let repo = RepoId::new(RepoType::Model, "lab/tiny").unwrap();
        let oid = "a".repeat(40);
        let rows = [
            row("good", &oid, ""),
            row("../x", &oid, ""),
            row("no hash", "zz", ""),
            row("big", &oid, "").replace(":3", ":-3"),
            row("two", &oid, ""),
            row("two", &"b".repeat(40), ""),
            row("q\\a: x", &oid, ""),
            r#"{"type":"symlink","path":"newer","target":"good"}"#.to_owned(),
        ];
        let mut entries = Entries::default();
        let body = format!("[{}]", rows.join(","));
        entries.add_page(&repo, &Url::parse("http://hub.example/api").unwrap(), body.as_bytes()).unwrap();
        let tree = entries.into_tree();
        let good: Vec<&str> = tree.entries.iter().map(|entry| entry.path.as_str()).collect();
        let bad: Vec<&str> = tree.refused.iter().map(|row| row.path.as_str()).collect();
        assert_eq!((good, bad), (vec!["good", "q\\a: x"], vec!["../x", "no hash", "big", "two"]));
    }

    fn row(path: &str, oid: &str, more: &str) -> String {
        format!(r#"{{"type":"file","path":{path:?},"oid":"{oid}","size":3{more}}}"#)
    }

    #[test]
    fn links_are_found_among_others_and_with_commas_in_them() {
        let next = |text: &'static str| {
            next_link(&[(LINK, text.parse().unwrap())].into_iter().collect()).map(str::to_owned)
        };
        assert_eq!(next(r#"<https://h/a?x=1,2>; rel="next""#).unwrap(), "https://h/a?x=1,2");
        assert_eq!(next(r#"<https://h/0>; rel="prev", <https://h/2>; rel="next""#).unwrap(), "https://h/2");
        assert_eq!(next(r#"<https://h/2>; title="x"; rel=next"#).unwrap(), "https://h/2");
        assert_eq!(next(r#"<https://h/0>; rel="prev""#), None);
        assert_eq!(next("garbage"), None);
    }

    #[test]
    fn folders_are_left_out_and_repeated_rows_count_once() {
        let oid = "a".repeat(40);
        let file = row("d/f", &oid, "");
        let body = format!(r#"[{{"type":"directory","path":"d","oid":"x","size":0}},{file},{file}]"#);
        let entries = page(&body).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].path.as_str(), entries[0].size), ("d/f", 3));
    }

    #[test]
    fn what_could_become_a_bad_path_is_refused() {
        let (oid, bad) = ("a".repeat(40), "../../../../../../../../../../../../x..");
        assert_eq!(bad.len(), 39);
        for body in [
            row("f", &format!("{bad}/"), ""),
            row("f", "", ""),
            row("f", &oid, r#","lfs":{"oid":"../x","size":1}"#),
            row("f", &oid, r#","xetHash":"../x""#),
            format!("{},{}", row("f", &oid, ""), row("f", &"b".repeat(40), "")),
            row("f", &oid, "").replace(":3", ":99999999999999999"),
        ] {
            assert!(matches!(page(&format!("[{body}]")), Err(HubError::Malformed { .. })), "{body}");
        }
        for path in ["../f", "/f", "a/../../f", ""] {
            let result = page(&format!("[{}]", row(path, &oid, "")));
            assert!(matches!(result, Err(HubError::UnsafeName { .. })), "{path}");
        }
    }
}
