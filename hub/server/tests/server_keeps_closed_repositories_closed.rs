//! Private and gated repositories, Xet tokens, and the names of things that must not leak.

mod server_support;

use reqwest::StatusCode;
use server_support::{Lab, TOKEN, header, noise, root, start};
use zest_hub_server::ServeConfig;

fn closed() -> tempfile::TempDir {
    let weights = noise(1, 200_000);
    root(&[
        ("models/org/open/main/model.bin", b"open weights"),
        ("models/org/gated/access", b"gated\n"),
        ("models/org/gated/main/model.bin", &weights),
        ("models/org/private/access", b"private\n"),
        ("models/org/private/main/model.bin", &weights),
        ("models/org/private/main/note.txt", b"secret"),
    ])
}

/// Status and error code of a request without a token, with a stranger's and with a member's.
async fn answers(lab: &Lab, path: &str) -> [(u16, String); 3] {
    let code = |answer: reqwest::Response| {
        let code = answer.headers().get("x-error-code").map_or("", |code| code.to_str().expect("text"));
        (answer.status().as_u16(), code.to_owned())
    };
    [
        code(lab.get(path).await),
        code(lab.get_as(path, "hf_stranger").await),
        code(lab.get_as(path, TOKEN).await),
    ]
}

fn expected(answers: [(u16, &str); 3]) -> [(u16, String); 3] {
    answers.map(|(status, code)| (status, code.to_owned()))
}

#[tokio::test]
async fn a_private_repository_does_not_exist_for_strangers() {
    let dir = closed();
    let lab = start(dir.path()).await;
    let hidden = |ok: u16| expected([(401, "RepoNotFound"), (404, "RepoNotFound"), (ok, "")]);
    for call in ["revision/main", "tree/main", "refs", "xet-read-token/main"] {
        assert_eq!(answers(&lab, &format!("/api/models/org/private/{call}")).await, hidden(200), "{call}");
    }
    assert_eq!(answers(&lab, "/org/private/resolve/main/model.bin").await, hidden(302));
    assert_eq!(answers(&lab, "/org/private/resolve/main/note.txt").await, hidden(307));
    let names = async |token: &str| {
        let list = lab.get_as("/api/models", token).await.text().await.expect("a body");
        let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
        list.as_array().expect("rows").len()
    };
    assert_eq!((names("hf_stranger").await, names(TOKEN).await), (2, 3));
}

#[tokio::test]
async fn a_gated_repository_shows_its_list_but_not_its_files() {
    let dir = closed();
    let lab = start(dir.path()).await;
    let listed = expected([(200, ""), (200, ""), (200, "")]);
    assert_eq!(answers(&lab, "/api/models/org/gated/tree/main").await, listed);
    assert_eq!(lab.json("/api/models/org/gated/revision/main").await["gated"], "manual");
    let closed = |ok: u16| expected([(401, "GatedRepo"), (403, "GatedRepo"), (ok, "")]);
    assert_eq!(answers(&lab, "/api/models/org/gated/xet-read-token/main").await, closed(200));
    assert_eq!(answers(&lab, "/org/gated/resolve/main/model.bin").await, closed(302));
}

#[tokio::test]
async fn closing_a_repository_works_at_once() {
    let dir = closed();
    let lab = start(dir.path()).await;
    assert_eq!(lab.get("/api/models/org/open/revision/main").await.status(), StatusCode::OK);
    server_support::write(dir.path(), "models/org/open/access", b"privat");
    assert_eq!(lab.get("/api/models/org/open/revision/main").await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_xet_token_opens_its_own_revision_only() {
    let dir = closed();
    let lab = start(dir.path()).await;
    let secret: zest_xet::Hash = {
        let answer = lab.get_as("/org/private/resolve/main/model.bin", TOKEN).await;
        header(&answer, "x-xet-hash").parse().expect("a hash")
    };
    let open = lab.xet_token("org/open").await;
    let path = format!("/api/cas/v2/reconstructions/{secret}");
    assert_eq!(lab.get_as(&path, &open).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(lab.get(&path).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        lab.get_as(&path, TOKEN).await.status(),
        StatusCode::UNAUTHORIZED,
        "a Hub token is no Xet token"
    );

    let answer = lab.get_as("/api/models/org/private/xet-read-token/main", TOKEN).await;
    let good = header(&answer, "x-xet-access-token").to_owned();
    assert_eq!(lab.get_as(&path, &good).await.status(), StatusCode::OK);
    let forged = open.replace("org~open", "org~private");
    assert_ne!(forged, open);
    assert_eq!(lab.get_as(&path, &forged).await.status(), StatusCode::UNAUTHORIZED);
    let later = good.replacen("xet_1", "xet_2", 1);
    assert_eq!(lab.get_as(&path, &later).await.status(), StatusCode::UNAUTHORIZED);

    lab.hub.faults().set_token_ttl(Some(0));
    let expired = lab.xet_token("org/open").await;
    let open_file = lab.xet_hash("org/open", "model.bin").await;
    let path = format!("/api/cas/v2/reconstructions/{open_file}");
    assert_eq!(lab.get_as(&path, &expired).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(lab.get_as(&path, &open).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn neither_log_nor_debug_output_holds_a_token() {
    let dir = closed();
    let lab = start(dir.path()).await;
    lab.hub.log_requests(10);
    let _ = lab.get_as("/api/models/org/private/revision/main?token=x", TOKEN).await;
    let _ = lab.get("/api/whoami-v2").await;
    let log = lab.hub.take_requests();
    assert_eq!(log.len(), 2);
    assert_eq!((log[0].had_authorization, log[1].had_authorization), (true, false));
    assert_eq!(log[0].path, "/api/models/org/private/revision/main");
    assert!(!format!("{log:?} {:?}", lab.hub).contains(TOKEN));
    let mut config = ServeConfig::new(dir.path(), ([127, 0, 0, 1], 0).into());
    config.tokens = vec![TOKEN.to_owned()];
    assert!(!format!("{config:?}").contains(TOKEN));
}
