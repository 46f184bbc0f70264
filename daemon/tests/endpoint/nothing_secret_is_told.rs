//! What a client shows to be let in is in no answer, whoever asks for what: no state, figure, event, address or error.

use crate::common::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A token that the Hub does not know.
const WRONG: &str = "hf_wrong_token_that_must_not_leak";

/// Listens to all events until the daemon ends.
async fn listen(daemon: &Daemon) -> tokio::task::JoinHandle<Vec<u8>> {
    let addr = daemon.api.addrs()[0];
    let secret = daemon.secret.as_str();
    let ask = format!(
        "GET /v1/events HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\r\n"
    );
    let mut stream = TcpStream::connect(addr).await.expect("it accepts");
    stream.write_all(ask.as_bytes()).await.expect("it reads");
    let mut heard = vec![0; 12];
    stream.read_exact(&mut heard).await.expect("it answers");
    assert_eq!(heard, b"HTTP/1.1 200");
    tokio::spawn(async move {
        // However it ends, what was heard counts.
        let _ended = stream.read_to_end(&mut heard).await;
        heard
    })
}

#[tokio::test]
async fn no_answer_holds_a_token_or_the_secret() {
    let hub = Hub::open().await;
    let daemon = Daemon::start(&hub.endpoint).await;
    let events = listen(&daemon).await;
    let secret = format!("Bearer {}", daemon.secret.as_str());
    let mut answers: Vec<(String, Answer)> = Vec::new();
    // Pulls with a token that is good, and with one that is not; a file of each.
    for token in [TOKEN, WRONG] {
        for body in [r#"{"repo": "org/closed"}"#, r#"{"repo": "org/gated", "revision": "none"}"#] {
            let length = body.len().to_string();
            let owner = [
                ("Authorization", secret.as_str()),
                ("X-HF-Token", token),
                ("Content-Type", "application/json"),
                ("Content-Length", length.as_str()),
            ];
            let answer = daemon.send("POST /v1/pull?wait=true", &owner, body.as_bytes()).await;
            answers.push((format!("pull {body}"), answer));
        }
        let bearer = format!("Bearer {token}");
        let of = [("Authorization", bearer.as_str())];
        for what in [
            "GET /org/closed/resolve/main/config.json".to_owned(),
            format!("HEAD /org/closed/resolve/main/{FILE}"),
            format!("GET /org/gated/resolve/main/{FILE}"),
            "GET /org/closed/resolve/main/none.txt".to_owned(),
            "GET /api/models/org/closed/revision/main".to_owned(),
            "GET /api/models/org/closed/tree/main".to_owned(),
            "GET /api/models/org/closed/xet-read-token/main".to_owned(),
            "GET /api/whoami-v2".to_owned(),
            "POST /api/models/org/closed/commit/main".to_owned(),
        ] {
            let answer = daemon.ask(&what, &of).await;
            answers.push((what, answer));
        }
    }
    assert_eq!(answers[0].1.status, 200, "the good token is good: {:?}", answers[0].1);
    assert!(
        answers.iter().any(|(_, answer)| answer.status == 401 || answer.status == 403),
        "the other is not"
    );
    let main = commit(&daemon, "org/closed", &[("Authorization", &format!("Bearer {TOKEN}"))]).await;
    assert!(
        by_xet(&daemon, "org/closed", &main, "v2", &[("Authorization", &format!("Bearer {TOKEN}"))]).await
            == weights("org/closed")
    );
    // All that there is to ask, by who may.
    let owner = [("Authorization", secret.as_str())];
    let pulls = daemon.raw("GET /v1/pulls", &owner).await.json();
    let ids: Vec<u64> = pulls["pulls"]
        .as_array()
        .unwrap_or_else(|| pulls.as_array().expect("pulls"))
        .iter()
        .filter_map(|pull| pull["id"].as_u64())
        .collect();
    assert!(ids.len() >= 4, "{pulls}");
    let each =
        ids.iter().flat_map(|id| [format!("GET /v1/pulls/{id}"), format!("GET /v1/pulls/{id}/events")]);
    let all = ["status", "pulls", "models", "settings", "peers", "health", "openapi.json"];
    let all = all.iter().map(|route| format!("GET /v1/{route}")).chain(each);
    for what in
        all.chain(["GET /metrics", "GET /", "GET /v1/none", "GET /livez", "GET /readyz"].map(str::to_owned))
    {
        let answer = daemon.raw(&what, &owner).await;
        answers.push((what, answer));
    }
    assert!(
        answers.iter().filter(|(what, answer)| what.contains("/v1/") && answer.status == 200).count() >= 10
    );
    let own = daemon.secret.as_str().to_owned();
    daemon.end().await;
    let heard = events.await.expect("it ends");
    assert!(heard.len() > 500, "events: {}", String::from_utf8_lossy(&heard));
    answers.push(("GET /v1/events".to_owned(), Answer { status: 200, headers: Vec::new(), body: heard }));
    for (what, answer) in &answers {
        let head =
            answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>();
        for hidden in [TOKEN, WRONG, &own] {
            let there = head.contains(hidden)
                || answer.body.windows(hidden.len()).any(|some| some == hidden.as_bytes());
            assert!(!there, "{what} ({}) tells {hidden}", answer.status);
        }
    }
}
