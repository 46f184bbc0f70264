//! What the demo tells when it is done.

use super::check::Checked;
use crate::engine::PullReport;
use crate::ui::units;
use serde_json::{Value, json};
use std::time::Duration;
use zest_hub_server::Stats;

/// One pull of the demo.
pub(super) struct Transfer {
    pub(super) report: PullReport,
    /// What the hub did meanwhile.
    pub(super) hub: Stats,
}

impl Transfer {
    fn bytes(&self) -> u64 {
        self.report.files.iter().map(|file| file.size).sum()
    }

    /// Chunks that were fetched; every one of them was proven before it counted.
    fn chunks(&self) -> u64 {
        self.report.chunks_from_peers + self.report.chunks_from_cdn
    }

    fn bytes_per_second(&self) -> f64 {
        self.bytes() as f64 / self.report.elapsed.as_secs_f64().max(1e-9)
    }

    pub(super) fn line(&self) -> String {
        format!(
            "{} in {} ({}), {} proven",
            units::bytes(self.bytes()),
            units::duration(self.report.elapsed),
            units::rate(self.bytes_per_second()),
            units::counted(self.chunks(), "chunk")
        )
    }

    fn to_json(&self) -> Value {
        json!({
            "elapsed_s": self.report.elapsed.as_secs_f64(),
            "bytes": self.bytes(),
            "bytes_per_second": self.bytes_per_second(),
            "from_peers": self.report.from_peers,
            "from_cdn": self.report.from_cdn,
            "from_disk": self.report.from_disk,
            "p2p_ratio": self.report.p2p_ratio(),
            "chunks_proven": self.chunks(),
            "bad_chunks": self.report.bad_chunks,
            "hub_cdn_bytes": self.hub.cdn_bytes,
        })
    }
}

/// The whole demo.
pub(super) struct Account {
    pub(super) bytes: u64,
    pub(super) files: u64,
    pub(super) a: Transfer,
    pub(super) b: Transfer,
    pub(super) checked: Checked,
    pub(super) elapsed: Duration,
}

impl Account {
    pub(super) fn to_json(&self) -> String {
        json!({
            "sample": {"bytes": self.bytes, "files": self.files},
            "node_a": self.a.to_json(),
            "node_b": self.b.to_json(),
            "checked": {
                "files_equal": self.checked.files,
                "bytes_equal": self.checked.bytes,
                "files_verified": self.checked.verified,
            },
            "elapsed_s": self.elapsed.as_secs_f64(),
        })
        .to_string()
    }

    pub(super) fn closing_line(&self, kept: bool) -> String {
        let rest = if kept { "" } else { "; nothing is left behind" };
        format!("   done  in {}{rest}", units::duration(self.elapsed))
    }
}
