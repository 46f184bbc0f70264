//! What the Hub means by its statuses and error codes, with and without a token.

use zest_hub::{ErrorKind, HubError};

use super::support::*;

async fn refusal(token: Option<&str>, status: u16, code: &'static str) -> HubError {
    let hub = Server::start(move |_, _| {
        let reply = Reply::new(status).body(r#"{"error":"the Hub's words"}"#);
        if code.is_empty() { reply } else { reply.header("x-error-code", code) }
    })
    .await;
    let error = hub.hub(token).small_file(&repo(), COMMIT, "dir/f").await.unwrap_err();
    assert_eq!(hub.seen().len(), 1, "a refusal is not repeated");
    error
}

#[tokio::test]
async fn without_a_token_401_means_private_gated_or_missing() {
    for code in ["RepoNotFound", ""] {
        let error = refusal(None, 401, code).await;
        assert_eq!(error.kind(), ErrorKind::Auth);
        let text = error.to_string();
        for part in ["model lab/tiny", "private", "gated", "does not exist", "the Hub's words"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[tokio::test]
async fn a_gate_names_the_page_where_access_is_asked_for() {
    let without = refusal(None, 401, "GatedRepo").await;
    let with = refusal(Some(HUB_TOKEN), 403, "GatedRepo").await;
    assert_eq!((without.kind(), with.kind()), (ErrorKind::Gated, ErrorKind::Gated));
    assert!(without.to_string().ends_with("/lab/tiny"), "{without}");
    assert!(with.to_string().contains("not on its list"), "{with}");
}

#[tokio::test]
async fn a_refused_token_is_not_a_missing_repository() {
    assert!(matches!(refusal(Some(HUB_TOKEN), 401, "").await, HubError::TokenRefused { .. }));
    assert!(matches!(refusal(Some(HUB_TOKEN), 403, "").await, HubError::Forbidden { .. }));
    let hidden = refusal(Some(HUB_TOKEN), 404, "RepoNotFound").await;
    assert_eq!(hidden.kind(), ErrorKind::RepoNotFound);
    assert!(hidden.to_string().contains("may not see it"), "{hidden}");
}

#[tokio::test]
async fn missing_revisions_and_files_are_named() {
    let revision = refusal(None, 404, "RevisionNotFound").await;
    assert_eq!(revision.kind(), ErrorKind::RevisionNotFound);
    assert!(revision.to_string().contains(COMMIT), "{revision}");
    for code in ["EntryNotFound", ""] {
        let entry = refusal(None, 404, code).await;
        assert_eq!(entry.kind(), ErrorKind::EntryNotFound);
        assert!(entry.to_string().contains("\"dir/f\""), "{entry}");
    }
}

#[tokio::test]
async fn a_status_nobody_explains_is_reported_as_it_is() {
    let error = refusal(None, 418, "").await;
    assert!(matches!(error, HubError::Status { status: 418, .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn names_that_mean_something_else_are_not_sent() {
    let hub = Server::start(|_, _| Reply::ok("")).await;
    let client = hub.hub(None);
    for rev in ["", ".", "..", "a/../b"] {
        assert_eq!(client.revision(&repo(), rev).await.unwrap_err().kind(), ErrorKind::RevisionNotFound);
    }
    for path in ["", "..", "a/../b", "/etc/passwd"] {
        assert!(matches!(client.small_file(&repo(), COMMIT, path).await, Err(HubError::UnsafeName { .. })));
    }
    assert_eq!(hub.seen().len(), 0);
}

#[tokio::test]
async fn a_repository_whose_access_is_not_told_counts_as_private() {
    let hub = Server::start(|_, _| Reply::ok(format!(r#"{{"sha":"{COMMIT}"}}"#))).await;
    let info = hub.hub(None).revision(&repo(), "main").await.unwrap();
    assert!(info.private && info.gated);
}

#[tokio::test]
async fn a_commit_that_could_not_be_a_folder_is_malformed() {
    let hub = Server::start(|_, _| Reply::ok(r#"{"sha":"../../x","private":false,"gated":false}"#)).await;
    let error = hub.hub(None).revision(&repo(), "main").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn redirects_in_circles_and_to_odd_places_are_given_up() {
    for location in ["/lab/again", "ftp://127.0.0.1/x", "http://me:pw@127.0.0.1/"] {
        let hub = Server::start(move |_, _| Reply::new(302).header("location", location)).await;
        let error = hub.hub(None).small_file(&repo(), COMMIT, "f").await.unwrap_err();
        assert!(matches!(error, HubError::Redirect { .. }), "{error:?}");
        assert!(hub.seen().len() <= 11 && !error.to_string().contains("pw"), "{error}");
    }
}
