//! What a request below `/hf/KEY` is about.

use axum::http::Uri;
use percent_encoding::percent_decode_str;
use zest_hub_server::parts::{escape_path, escape_segment};
use zest_store::{RepoId, RepoType, is_commit};

/// A question about a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// A file.
    Resolve { repo: RepoId, revision: String, path: String },
    /// What a revision is.
    Revision { repo: RepoId, revision: String },
    /// Files of a revision: a listing, or rows that are named in a form.
    Tree {
        repo: RepoId,
        revision: String,
        /// All of it on one page, as far as the question goes.
        whole: bool,
    },
    /// Branches and tags.
    Refs { repo: RepoId },
    /// A token for the CAS.
    XetToken { repo: RepoId, revision: String },
    /// Anything else: it is passed on.
    Other,
}

/// The revision where none is named.
const MAIN: &str = "main";

/// Reads path and query below the endpoint.
pub(super) fn route(target: &Uri) -> Route {
    let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    let Some(all) = target.path().trim_start_matches('/').split('/').map(decode).collect::<Option<Vec<_>>>()
    else {
        return Route::Other;
    };
    let parts: Vec<&str> = all.iter().map(String::as_str).collect();
    let found = match &parts[..] {
        ["api", "resolve-cache", kind, rest @ ..] => resolve_cache(kind, rest),
        ["api", kind, rest @ ..] => api(kind, rest, target.query().unwrap_or_default()),
        [kind @ ("datasets" | "spaces"), rest @ ..] => kind_of(kind).and_then(|kind| resolve(kind, rest)),
        rest => resolve(RepoType::Model, rest),
    };
    found.unwrap_or(Route::Other)
}

fn kind_of(plural: &str) -> Option<RepoType> {
    RepoType::ALL.into_iter().find(|kind| kind.plural() == plural)
}

/// `ORG/NAME` or `NAME`, each part one segment of the path.
fn repo_of(kind: RepoType, parts: &[&str]) -> Option<RepoId> {
    let is_one = |part: &&str| !part.contains('/');
    parts.iter().all(is_one).then(|| RepoId::new(kind, &parts.join("/")).ok()).flatten()
}

/// A repository's name, which has one or two parts, and what comes after it: the first that `is_next` knows.
fn split<'a>(rest: &'a [&'a str], is_next: impl Fn(&str) -> bool) -> Option<(&'a [&'a str], &'a [&'a str])> {
    [2, 1].into_iter().find(|at| rest.get(*at).is_some_and(|word| is_next(word))).map(|at| rest.split_at(at))
}

fn resolve(kind: RepoType, rest: &[&str]) -> Option<Route> {
    let (name, after) = split(rest, |word| word == "resolve")?;
    let (revision, path) = after.get(1..)?.split_first()?;
    file(repo_of(kind, name)?, revision, path)
}

fn resolve_cache(kind: &str, rest: &[&str]) -> Option<Route> {
    let (name, after) = split(rest, is_commit)?;
    let (revision, path) = after.split_first()?;
    file(repo_of(kind_of(kind)?, name)?, revision, path)
}

fn file(repo: RepoId, revision: &str, path: &[&str]) -> Option<Route> {
    let path = path.join("/");
    (!path.is_empty()).then(|| Route::Resolve { repo, revision: revision.to_owned(), path })
}

fn api(kind: &str, rest: &[&str], query: &str) -> Option<Route> {
    const CALLS: [&str; 5] = ["revision", "tree", "refs", "paths-info", "xet-read-token"];
    let kind = kind_of(kind)?;
    let Some((name, after)) = split(rest, |word| CALLS.contains(&word)) else {
        let repo = repo_of(kind, rest).filter(|_| rest.len() <= 2)?;
        return Some(Route::Revision { repo, revision: MAIN.to_owned() });
    };
    let repo = repo_of(kind, name)?;
    let (call, after) = after.split_first()?;
    let revision = after.first().copied().filter(|text| !text.is_empty()).unwrap_or(MAIN).to_owned();
    let below = after.get(1..).unwrap_or_default();
    Some(match *call {
        "revision" if below.is_empty() => Route::Revision { repo, revision },
        "refs" if after.is_empty() => Route::Refs { repo },
        "tree" => {
            let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
            let recursive = query.split('&').any(|pair| pair.eq_ignore_ascii_case("recursive=true"));
            let whole =
                recursive && !has("cursor") && !has("limit") && below.iter().all(|part| part.is_empty());
            Route::Tree { repo, revision, whole }
        }
        "paths-info" if below.is_empty() => Route::Tree { repo, revision, whole: false },
        "xet-read-token" if below.is_empty() => Route::XetToken { repo, revision },
        _ => return None,
    })
}

/// The repository's place in the Hub's API.
pub(super) fn api_of(repo: &RepoId) -> String {
    format!("/api/{}/{}", repo.kind.plural(), escape_path(&repo.name))
}

/// What a revision is, as the Hub is asked.
pub(super) fn revision_of(repo: &RepoId, revision: &str) -> String {
    format!("{}/revision/{}", api_of(repo), escape_segment(revision))
}

/// A file's place at the Hub.
pub(super) fn resolve_of(repo: &RepoId, commit: &str, path: &str) -> String {
    let before = match repo.kind {
        RepoType::Model => String::new(),
        kind => format!("{}/", kind.plural()),
    };
    format!("/{before}{}/resolve/{commit}/{}", escape_path(&repo.name), escape_path(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: &str) -> Route {
        route(&target.parse().expect("an address"))
    }

    fn repo(kind: RepoType, name: &str) -> RepoId {
        RepoId::new(kind, name).expect("a name")
    }

    #[test]
    fn names_of_one_and_of_two_parts_are_read_in_every_route() {
        use RepoType::{Dataset, Model};
        let commit = "0123456789012345678901234567890123456789";
        for (name, text) in [("gpt2", "gpt2"), ("org/name", "org/name")] {
            let repo = repo(Model, name);
            let file = |revision: &str, path: &str| Route::Resolve {
                repo: repo.clone(),
                revision: revision.into(),
                path: path.into(),
            };
            assert_eq!(of(&format!("/{text}/resolve/main/a/b%20c.txt")), file("main", "a/b c.txt"));
            assert_eq!(of(&format!("/{text}/resolve/refs%2Fpr%2F1/x")), file("refs/pr/1", "x"));
            assert_eq!(of(&format!("/api/resolve-cache/models/{text}/{commit}/x")), file(commit, "x"));
            let revision = |of: &str| Route::Revision { repo: repo.clone(), revision: of.into() };
            assert_eq!(of(&format!("/api/models/{text}")), revision("main"));
            assert_eq!(of(&format!("/api/models/{text}/revision/v1")), revision("v1"));
            assert_eq!(of(&format!("/api/models/{text}/refs")), Route::Refs { repo: repo.clone() });
            let tree = |whole| Route::Tree { repo: repo.clone(), revision: "main".into(), whole };
            assert_eq!(of(&format!("/api/models/{text}/tree/main?recursive=True&expand=False")), tree(true));
            assert_eq!(of(&format!("/api/models/{text}/tree/main?recursive=true&cursor=x")), tree(false));
            assert_eq!(of(&format!("/api/models/{text}/tree/main/folder?recursive=true")), tree(false));
            assert_eq!(of(&format!("/api/models/{text}/paths-info/main")), tree(false));
            let token = Route::XetToken { repo: repo.clone(), revision: commit.into() };
            assert_eq!(of(&format!("/api/models/{text}/xet-read-token/{commit}")), token);
        }
        let data = Route::Resolve { repo: repo(Dataset, "o/d"), revision: "main".into(), path: "x".into() };
        assert_eq!(of("/datasets/o/d/resolve/main/x"), data);
    }

    #[test]
    fn all_else_is_passed_on() {
        for target in [
            "/api/whoami-v2",
            "/api/models?search=x",
            "/api/models/o/n/commit/main",
            "/api/models/o/n/preupload/main",
            "/api/models/o/n/xet-write-token/main",
            "/o/n.git/info/lfs/objects/batch",
            "/api/agent-harnesses",
            "/o/n/resolve/main/",
            "/a%2Fb/n/resolve/main/x",
            "/o/n/raw/main/x",
            "/",
        ] {
            assert_eq!(of(target), Route::Other, "{target}");
        }
    }

    #[test]
    fn what_is_asked_of_the_hub_is_escaped() {
        let data = repo(RepoType::Dataset, "o/d");
        assert_eq!(revision_of(&data, "refs/pr/1"), "/api/datasets/o/d/revision/refs%2Fpr%2F1");
        assert_eq!(resolve_of(&data, "c", "a b/#"), "/datasets/o/d/resolve/c/a%20b/%23");
    }
}
