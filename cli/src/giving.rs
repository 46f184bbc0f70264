//! What `zest serve`, `zest seed` and `zest-seed` say while they give.

use crate::failure::Failure;
use crate::sharing;
use crate::ui::{Ui, units};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tokio::sync::watch;
use zest_runtime_tokio::{DiscoveryConfig, GivingStatus, IndexProgress, Shared};

/// Says what is shared and what is not, as that changes. Ends only if standard output is gone.
pub(crate) async fn tell(mut status: watch::Receiver<GivingStatus>, ui: &Ui) -> Result<(), Failure> {
    let mut told = Told::default();
    let mut looks = 0;
    status.mark_changed();
    while status.changed().await.is_ok() {
        let now = status.borrow_and_update().clone();
        let mut lines = told.sharing(&now.shared);
        let is_new = !lines.is_empty();
        let looked = std::mem::replace(&mut looks, now.looks) != now.looks;
        if looked {
            lines.extend(told.news(&now.index));
        }
        lines.iter().for_each(|line| ui.say(line));
        if !ui.json() || now.looks == 0 {
            continue;
        }
        if looked && now.looks == 1 {
            let event = json!({
                "event": "indexed",
                "files_shared": now.files,
                "bytes_shared": now.bytes,
                "shared": now.shared,
            });
            ui.data(&event.to_string())?;
        } else if is_new {
            ui.data(&json!({"event": "shared", "shared": now.shared}).to_string())?;
        }
    }
    std::future::pending().await
}

/// What was said already: a file that stays wrong is named once.
#[derive(Default)]
pub(crate) struct Told {
    mismatches: BTreeSet<PathBuf>,
    hub_error: Option<String>,
    /// What is shared.
    shared: Shared,
}

impl Told {
    /// All there is to say.
    pub(crate) fn all(&mut self, now: &GivingStatus) -> Vec<String> {
        let mut lines = self.sharing(&now.shared);
        lines.extend(self.news(&now.index));
        lines
    }

    /// What has changed about what is shared, by name.
    fn sharing(&mut self, shared: &Shared) -> Vec<String> {
        let before = std::mem::replace(&mut self.shared, shared.clone());
        sharing::news(shared, &before)
    }

    fn news(&mut self, progress: &IndexProgress) -> Vec<String> {
        let mut lines = Vec::new();
        for path in &progress.mismatches {
            if self.mismatches.insert(path.clone()) {
                lines.push(format!(
                    "not shared: {} is not what its name says (see `zest verify`)",
                    path.display()
                ));
            }
        }
        if progress.hub_error != self.hub_error {
            if let Some(error) = &progress.hub_error {
                lines.push(format!("not shared until the Hub says what is public: {error}"));
            }
            self.hub_error.clone_from(&progress.hub_error);
        }
        lines
    }
}

/// Who learns of it, in one sentence.
pub(crate) fn who_hears(discovery: Option<&DiscoveryConfig>) -> String {
    let Some(discovery) = discovery else { return "announcing nowhere".to_owned() };
    let mut ways = Vec::new();
    if discovery.lan {
        ways.push("on this network".to_owned());
    }
    if discovery.dht.is_some() && !discovery.catalog_near {
        ways.push("in the DHT".to_owned());
    }
    if !discovery.trackers.is_empty() {
        ways.push(format!("at {}", units::counted(discovery.trackers.len() as u64, "tracker")));
    }
    match ways.is_empty() {
        true => "announcing nowhere: others have to know this address".to_owned(),
        false => format!("announcing {}", ways.join(", ")),
    }
}

/// How far the index is and what it could not share, for the end of a status line.
pub(crate) fn index_words(progress: &IndexProgress) -> Vec<String> {
    let mut parts = Vec::new();
    if progress.files_done < progress.files_total {
        parts.push(format!("indexing {} of {}", progress.files_done + 1, progress.files_total));
    }
    let closed = progress.not_public.saturating_sub(progress.unasked);
    if closed > 0 {
        parts.push(format!("{} not public", units::counted(closed as u64, "revision")));
    }
    if progress.denied > 0 {
        parts.push(format!("{} denied", units::counted(progress.denied as u64, "revision")));
    }
    if progress.unasked > 0 {
        let unasked = units::counted(progress.unasked as u64, "revision");
        let why = if progress.hub_error.is_some() {
            "the Hub cannot be asked about"
        } else {
            "still to be asked about"
        };
        parts.push(format!("{unasked} {why}"));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_hub_was_not_asked_about_is_not_called_closed() {
        let progress = IndexProgress {
            not_public: 3,
            unasked: 2,
            hub_error: Some("no route".to_owned()),
            ..IndexProgress::default()
        };
        let words = ["1 revision not public", "2 revisions the Hub cannot be asked about"];
        assert_eq!(index_words(&progress), words);
        assert_eq!(index_words(&IndexProgress { not_public: 1, unasked: 1, ..progress }).len(), 1);
    }

    #[test]
    fn a_wrong_file_and_a_silent_hub_are_mentioned_once() {
        let mut told = Told::default();
        let progress = IndexProgress {
            mismatches: vec![PathBuf::from("/cache/x")],
            hub_error: Some("no route".to_owned()),
            ..IndexProgress::default()
        };
        assert_eq!(told.news(&progress).len(), 2);
        assert_eq!(told.news(&progress).len(), 0);
        let healed = IndexProgress::default();
        assert_eq!(told.news(&healed).len(), 0);
        assert_eq!(told.news(&progress).len(), 1, "the Hub went silent again");
    }
}
