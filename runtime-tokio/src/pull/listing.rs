//! What there is to pull: the commit, its files, and whether anyone may read them.

use super::PullOptions;
use super::destination::Destination;
use crate::PullError;
use crate::error::FailedFile;
use crate::fnmatch::{self, Literal};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;
use zest_hub::{ErrorKind, Hub, HubError, RefusedRow, RevisionInfo, Tree};
use zest_store::{Commit, Endpoint, PROOF_LASTS, StoreError, TreeEntry, check_name, is_commit};

/// Folders that are listed each by itself: 16; of more the whole is cheaper.
const FOLDERS_MAX: usize = 16;
/// Files that are asked for by name: 5,000, ten requests.
const FILES_MAX: usize = 5_000;

/// Kind of the remark that the Hub did not say who may read it.
pub(crate) const UNASKED: &str = "unasked";

/// The answer.
#[derive(Default)]
pub(crate) struct Listing {
    pub(crate) commit: String,
    pub(crate) entries: Vec<TreeEntry>,
    /// An anonymous request for this commit was answered, which counts until then: peers may be asked, and may ask us.
    pub(crate) public_until: Option<SystemTime>,
    /// The answer is the cache's, as the Hub could not be asked: why, if it was to be.
    pub(crate) hub_gone: Option<HubError>,
    /// The answer is what lies there, as nobody knows the list: files may be missing of which nothing is known.
    pub(crate) as_found: bool,
    /// The Hub we are configured for gave the list, now or before. Else it is nobody's word on whose files these are.
    pub(crate) listed: bool,
    /// Rows that name no file that could be had.
    pub(crate) refused: Vec<FailedFile>,
    /// The user does not want it shared, so peers are not asked either: they would learn of it.
    pub(crate) denied: bool,
    /// Nothing that is wanted is in Xet, so it was not asked who may read it.
    pub(crate) all_whole: bool,
    /// The Hub has spoken of it just now.
    pub(crate) asked: bool,
    /// What changes the outcome: kind and sentence.
    pub(crate) remarks: Vec<(&'static str, String)>,
}

/// Whether the cache knows the revision, so that nobody has to wait for a Hub that is out.
pub(crate) fn is_cached(destination: &Destination, options: &PullOptions) -> bool {
    let (repo, revision) = (&options.repo, &options.revision);
    let commit = match is_commit(revision) {
        true => Some(revision.clone()),
        false => destination.resolve_ref(repo, revision),
    };
    commit.is_some_and(|commit| destination.read_tree(repo, &commit).is_some())
}

pub(crate) async fn list(
    destination: &Destination,
    hub: Option<&Hub>,
    options: &PullOptions,
) -> Result<Listing, PullError> {
    let repo = &options.repo;
    let denied = destination.is_denied(repo);
    let cached = |hub_gone: Option<&HubError>| {
        let unknown =
            || PullError::OfflineRevision { repo: repo.name.clone(), revision: options.revision.clone() };
        let known = match is_commit(&options.revision) {
            true => Some(options.revision.clone()),
            false => destination.resolve_ref(repo, &options.revision),
        };
        let (commit, entries, as_found) = destination.as_known_here(repo, known).ok_or_else(unknown)?;
        let of = of(options, &commit);
        let listed = !as_found && destination.knows_list(&of, &entries);
        let public_until = if listed && !denied { destination.stretch_public(&of) } else { None };
        let hub_gone = hub_gone.cloned();
        let rest = Listing::default();
        Ok::<_, PullError>(Listing {
            commit,
            entries,
            public_until,
            hub_gone,
            as_found,
            listed,
            denied,
            ..rest
        })
    };
    let Some(hub) = hub else { return cached(None) };
    match ask(destination, hub, options, denied).await {
        // It said nothing of the repository.
        Err(PullError::Hub(error)) if error.is_transient() => cached(Some(&error)).or(Err(error.into())),
        listing => listing,
    }
}

/// A commit of the Hub we are configured for.
fn of(options: &PullOptions, commit: &str) -> Commit {
    let hub = Some(Endpoint::new(&options.env.endpoint));
    Commit { hub, repo: options.repo.clone(), commit: commit.to_owned() }
}

async fn ask(
    destination: &Destination,
    hub: &Hub,
    options: &PullOptions,
    denied: bool,
) -> Result<Listing, PullError> {
    let repo = &options.repo;
    // A commit never changes: with its tree in the cache nothing has to be asked, if it is this Hub's. Whose it is only matters
    // where something is shared.
    // When the Hub was asked by a stranger: that it answers is what everyone's reading it shows.
    let mut told = None;
    let (commit, open) = if is_commit(&options.revision) {
        (options.revision.clone(), true)
    } else {
        let asked = zest_store::aging_now();
        let (info, as_stranger) = revision(hub, options, denied).await?;
        told = as_stranger.then_some(asked);
        if info.private || info.gated {
            // It may have been open when it was asked about.
            destination.revoke_public(&of(options, &info.commit));
        }
        (info.commit, !info.private && !info.gated)
    };
    let mut asked_hub = !is_commit(&options.revision);
    let mut remarks = Vec::new();
    let mut may_share = open && options.p2p && !denied;
    let mut all_whole = false;
    let whose = of(options, &commit);
    let kept = destination.read_tree(repo, &commit);
    let known = kept.as_ref().is_some_and(|entries| destination.knows_list(&whose, entries));
    let mut listed = known || kept.is_none() || may_share;
    let (entries, refused) = match kept {
        Some(entries) if known || !may_share => (entries, Vec::new()),
        kept => {
            asked_hub = true;
            let part = part(options);
            let asked = match &part {
                Some((files, folders)) => hub.part(repo, &commit, files, folders).await,
                None => hub.listing(repo, &commit).await,
            };
            let Tree { entries, refused } = match (asked, kept) {
                (Ok(tree), _) => tree,
                // Of a list that somebody else gave the files may be had, and nothing of them is shared.
                (Err(error), Some(entries)) if !error.is_transient() => {
                    let text = format!(
                        "this Hub does not say what files these are, so peers are not asked: {error}"
                    );
                    remarks.push(("not-shared", text));
                    (listed, may_share) = (false, false);
                    Tree { entries, refused: Vec::new() }
                }
                (Err(error), _) => return Err(lost_commit(options, &commit, error)),
            };
            // A list that lacks files is not kept: whoever reads it would take it for whole.
            if listed && !options.dry_run && refused.is_empty() && part.is_none() {
                destination.note_list(&whose, &entries);
                match destination.write_tree(repo, &commit, &entries) {
                    // Another user's cache may be closed to us and complete all the same.
                    Err(error @ StoreError::ReadOnly { .. }) => {
                        let text =
                            format!("the list of files is not kept, so it is not known offline: {error}");
                        remarks.push(("not-kept", text));
                    }
                    written => written?,
                }
            }
            if part.is_some() {
                // Small files alone are not worth a call of their own to find out whether peers may be asked.
                all_whole =
                    may_share && told.is_none() && entries.iter().all(|entry| entry.xet_hash.is_none());
                may_share &= !all_whole;
            }
            let refused = refused
                .into_iter()
                .map(|RefusedRow { path, error }| FailedFile { path, error: Arc::new(error.into()) });
            (entries, refused.collect())
        }
    };
    let public_until = match may_share {
        true => public_until(destination, hub, options, &commit, told, &mut remarks).await,
        false => None,
    };
    let rest = Listing::default();
    let asked = asked_hub;
    Ok(Listing { commit, entries, public_until, listed, refused, denied, all_whole, asked, remarks, ..rest })
}

/// What the revision stands for, and whether everyone is told so. A stranger is asked first: where the answer is open to all, it is the
/// proof that sharing needs as well, and one call in place of two. Else it is as the token sees it.
async fn revision(hub: &Hub, options: &PullOptions, denied: bool) -> Result<(RevisionInfo, bool), PullError> {
    let (repo, revision) = (&options.repo, &options.revision);
    let may_share = options.p2p && !denied;
    if hub.asks_as_stranger() || !may_share {
        return Ok((hub.revision(repo, revision).await?, hub.asks_as_stranger()));
    }
    let (private, gated) = match hub.revision_as_stranger(repo, revision).await {
        Ok(info) if !info.private && !info.gated => return Ok((info, true)),
        Ok(info) => (info.private, info.gated),
        // Nobody answers, whoever asks. An address that has asked too often may still be answered with a token.
        Err(error) if error.is_transient() && !matches!(error, HubError::RateLimited { .. }) => {
            return Err(error.into());
        }
        Err(error) => {
            (matches!(error.kind(), ErrorKind::Auth | ErrorKind::Gated | ErrorKind::RepoNotFound), false)
        }
    };
    let info = hub.revision(repo, revision).await?;
    // What a stranger was told to be closed is not open because the token's owner may read it.
    let (private, gated) = (private || info.private, gated || info.gated);
    Ok((RevisionInfo { private, gated, ..info }, false))
}

/// Files and folders that hold all that is selected, where names and patterns say so: of a large repository that is little.
fn part(options: &PullOptions) -> Option<(Vec<String>, Vec<String>)> {
    if options.files.is_empty() && options.include.is_empty() {
        return None;
    }
    let mut files = options.files.clone();
    let mut folders = BTreeSet::new();
    for pattern in &options.include {
        match fnmatch::literal(pattern)? {
            Literal::File(path) => files.push(path.to_owned()),
            Literal::Folder(path) => {
                // A name that is none would be another address.
                check_name(path).ok()?;
                folders.insert(path.to_owned());
            }
        }
    }
    // What lies below another one of them is listed with it.
    let below_another = |folder: &str| {
        folders
            .iter()
            .any(|other| folder.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('/')))
    };
    let folders: Vec<String> = folders.iter().filter(|folder| !below_another(folder)).cloned().collect();
    (folders.len() <= FOLDERS_MAX && files.len() <= FILES_MAX).then_some((files, folders))
}

/// A branch was asked for, and the Hub does not have the commit that it gave for it: after a force push, while some cache on the
/// way still has the old answer.
fn lost_commit(options: &PullOptions, commit: &str, error: HubError) -> PullError {
    let lost = matches!(error.kind(), ErrorKind::RevisionNotFound | ErrorKind::EntryNotFound)
        || matches!(error, HubError::Status { status: 404, .. });
    if !lost || is_commit(&options.revision) {
        return error.into();
    }
    let (repo, revision) = (options.repo.name.clone(), options.revision.clone());
    PullError::LostCommit { repo, revision, commit: commit.to_owned() }
}

/// Until when a stranger may read the commit: as one was told just now, as noted, else as an anonymous request shows. Doubt means not at
/// all.
async fn public_until(
    destination: &Destination,
    hub: &Hub,
    options: &PullOptions,
    commit: &str,
    told: Option<SystemTime>,
    remarks: &mut Vec<(&'static str, String)>,
) -> Option<SystemTime> {
    let of = of(options, commit);
    if let Some(asked) = told {
        if !options.dry_run {
            destination.prove_public(&of, asked);
        }
        return Some(asked + PROOF_LASTS);
    }
    if let Some(until) = destination.public_until(&of) {
        return Some(until);
    }
    let asked = zest_store::aging_now();
    match hub.is_public(&of.repo, commit).await {
        Ok(true) => {
            if !options.dry_run {
                destination.prove_public(&of, asked);
            }
            Some(asked + PROOF_LASTS)
        }
        Ok(false) => None,
        Err(error) => {
            let until = destination.stretch_public(&of);
            if until.is_none() {
                let text = format!("the Hub could not be asked whether everyone may read it: {error}");
                remarks.push((UNASKED, text));
            }
            until
        }
    }
}
