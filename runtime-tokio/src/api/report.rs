//! What a finished pull did.

use super::{How, Notice, PulledFile};
use crate::outages::Service;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Largest file the Hub keeps outside Xet: 10 MB (its limit for plain git files). Few peers can give such files, so those that the Hub
/// gave say nothing about how well peers did.
const PLAIN_FILE_BYTES_MAX: u64 = 10_000_000;

/// Something that did not answer for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PastOutage {
    /// What.
    pub service: Service,
    /// For how long.
    pub seconds: u64,
}

/// What a finished pull did. Byte counts are of file content unless they say wire.
///
/// As a document (serde) it is what `zest pull --json` prints.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(from = "Document", into = "Document")]
pub struct PullReport {
    /// The repository, as `ORG/NAME`, with its type before it unless that is a model.
    pub repo: String,
    /// The branch, tag or commit that was asked for.
    pub revision: String,
    /// Nothing was fetched: it was only asked what would be.
    pub dry_run: bool,
    /// The snapshot folder (or the local folder).
    pub path: PathBuf,
    /// The commit.
    pub commit: String,
    /// Every selected file.
    pub files: Vec<PulledFile>,
    /// Bytes from peers.
    pub from_peers: u64,
    /// Bytes from the Hub and its CDN.
    pub from_cdn: u64,
    /// Bytes found on this machine.
    pub from_disk: u64,
    /// Bytes from peers and the CDN that were here already when they came, and count nowhere else: the end of a file is asked of several.
    pub twice: u64,
    /// Bytes of its files given to peers meanwhile.
    pub given: u64,
    /// Bytes that came over the wire from the CDN (compressed, with anything fetched twice).
    pub cdn_wire_bytes: u64,
    /// Chunks from peers, proven.
    pub chunks_from_peers: u64,
    /// Chunks from the CDN.
    pub chunks_from_cdn: u64,
    /// Chunks from this machine.
    pub chunks_from_disk: u64,
    /// Chunks that failed their proof, whoever sent them.
    pub bad_chunks: u64,
    /// Parts of files that an earlier run had fetched and that were something else when they were read again: they were
    /// fetched anew.
    pub rotten_chunks: u64,
    /// The largest number of peers linked at once that had something of its files or fetched them.
    pub peers: u32,
    /// Peers shut out for what they did to this pull.
    pub peers_banned: u64,
    /// Why peers gave nothing, where something was fetched and they did not: `switched-off`, `not-shared`, `denied`, `unasked`,
    /// `whole-files`, `budget`, `unreachable`, `none-found` or `nothing-given`.
    pub no_peers: Option<Notice>,
    /// Whether peers may be asked for these files at all (only what anyone may read).
    pub shareable: bool,
    /// What did not answer for a while.
    pub outages: Vec<PastOutage>,
    /// What changed the outcome, in order.
    pub notices: Vec<Notice>,
    /// Time from start to end.
    pub elapsed: Duration,
}

impl PullReport {
    /// Share of the fetched bytes that peers gave, 0 to 1, small plain files left out. `None` if nothing was fetched: there is
    /// no ratio then.
    #[must_use]
    pub fn p2p_ratio(&self) -> Option<f64> {
        let plain = |file: &&PulledFile| file.how == How::Hub && file.size <= PLAIN_FILE_BYTES_MAX;
        let plain_bytes: u64 = self.files.iter().filter(plain).map(|file| file.size).sum();
        let fetched = self.from_peers + self.from_cdn.saturating_sub(plain_bytes);
        (fetched > 0).then(|| self.from_peers as f64 / fetched as f64)
    }

    /// Bytes of all its files.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// The report as programs read it.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Report"))]
struct Document {
    repo: String,
    revision: String,
    commit: String,
    path: String,
    dry_run: bool,
    files: Vec<PulledFile>,
    bytes: Bytes,
    chunks: Chunks,
    p2p_ratio: Option<f64>,
    cdn_wire_bytes: u64,
    peers: u32,
    peers_banned: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    no_peers: Option<Notice>,
    shareable: bool,
    outages: Vec<PastOutage>,
    notices: Vec<Notice>,
    elapsed_s: f64,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Bytes {
    total: u64,
    from_peers: u64,
    from_cdn: u64,
    from_disk: u64,
    #[serde(default)]
    twice: u64,
    given: u64,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Chunks {
    from_peers: u64,
    from_cdn: u64,
    from_disk: u64,
    bad: u64,
    rotten: u64,
}

impl From<PullReport> for Document {
    fn from(report: PullReport) -> Self {
        Self {
            p2p_ratio: report.p2p_ratio(),
            bytes: Bytes {
                total: report.total_bytes(),
                from_peers: report.from_peers,
                from_cdn: report.from_cdn,
                from_disk: report.from_disk,
                twice: report.twice,
                given: report.given,
            },
            chunks: Chunks {
                from_peers: report.chunks_from_peers,
                from_cdn: report.chunks_from_cdn,
                from_disk: report.chunks_from_disk,
                bad: report.bad_chunks,
                rotten: report.rotten_chunks,
            },
            repo: report.repo,
            revision: report.revision,
            commit: report.commit,
            path: report.path.to_string_lossy().into_owned(),
            dry_run: report.dry_run,
            files: report.files,
            cdn_wire_bytes: report.cdn_wire_bytes,
            peers: report.peers,
            peers_banned: report.peers_banned,
            no_peers: report.no_peers,
            shareable: report.shareable,
            outages: report.outages,
            notices: report.notices,
            elapsed_s: report.elapsed.as_secs_f64(),
        }
    }
}

impl From<Document> for PullReport {
    fn from(document: Document) -> Self {
        let Document { bytes, chunks, .. } = document;
        Self {
            repo: document.repo,
            revision: document.revision,
            dry_run: document.dry_run,
            path: document.path.into(),
            commit: document.commit,
            files: document.files,
            from_peers: bytes.from_peers,
            from_cdn: bytes.from_cdn,
            from_disk: bytes.from_disk,
            twice: bytes.twice,
            given: bytes.given,
            cdn_wire_bytes: document.cdn_wire_bytes,
            chunks_from_peers: chunks.from_peers,
            chunks_from_cdn: chunks.from_cdn,
            chunks_from_disk: chunks.from_disk,
            bad_chunks: chunks.bad,
            rotten_chunks: chunks.rotten,
            peers: document.peers,
            peers_banned: document.peers_banned,
            no_peers: document.no_peers,
            shareable: document.shareable,
            outages: document.outages,
            notices: document.notices,
            elapsed: Duration::try_from_secs_f64(document.elapsed_s).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_was_written_is_read_as_it_was() {
        let file = PulledFile { path: "b \"#.json".into(), size: 12, how: How::Cached };
        let report = PullReport {
            repo: "a/b".into(),
            files: vec![file],
            from_peers: 3,
            from_cdn: 1,
            twice: 7,
            rotten_chunks: 2,
            notices: vec![Notice { kind: "waiting".into(), path: None, text: "t".into() }],
            outages: vec![PastOutage { service: Service::Hub, seconds: 4 }],
            elapsed: Duration::from_millis(1500),
            ..PullReport::default()
        };
        let value = serde_json::to_value(&report).expect("plain data");
        assert_eq!((&value["bytes"]["total"], &value["p2p_ratio"]), (&12.into(), &0.75.into()));
        assert_eq!(
            (&value["outages"][0]["service"], &value["files"][0]["how"]),
            (&"hub".into(), &"cached".into())
        );
        assert_eq!(serde_json::from_value::<PullReport>(value).expect("the same"), report);
    }
}
