//! `/v2/`: what Ollama, skopeo and the like ask, asked as they do.

use crate::common::*;
use serde_json::Value;
use std::sync::Arc;

#[tokio::test]
async fn ollama_and_oci_clients_pull_gguf_models_that_everybody_may_read() {
    let model = noise(77, 2_000_000);
    let more = [
        ("tiny-Q4_K_M.gguf", model.clone()),
        ("tiny-Q8_0.gguf", noise(78, 1_000_000)),
        ("template", b"{{ .Prompt }}".to_vec()),
    ];
    let mut hub = Hub::with(&more).await;
    let dir = Arc::new(tempfile::tempdir().expect("a folder"));
    let without = Daemon::start(&hub.endpoint).await;
    assert_eq!(without.raw("GET /v2/", &[]).await.status, 401, "nobody has asked for a registry");
    without.end().await;
    let daemon = Daemon::with(dir, &hub.endpoint, &[], true).await;
    assert_eq!(daemon.raw("GET /v2/", &[]).await.status, 200);
    let wanted = [("Accept", "application/vnd.docker.distribution.manifest.v2+json")];
    let manifest = daemon.raw("GET /v2/org/open/manifests/latest", &wanted).await;
    assert_eq!(manifest.status, 200, "{manifest:?}");
    assert_eq!(manifest.header("content-type"), wanted[0].1);
    assert_eq!(manifest.header("docker-content-digest").len(), 71);
    let by_hash = format!("GET /v2/org/open/manifests/{}", manifest.header("docker-content-digest"));
    assert_eq!(daemon.raw(&by_hash, &wanted).await.body, manifest.body);
    let said = manifest.json();
    let layers = said["layers"].as_array().expect("layers");
    assert_eq!(layers[0]["mediaType"], "application/vnd.ollama.image.model");
    assert_eq!(layers[0]["size"], model.len());
    assert_eq!(layers[1]["mediaType"], "application/vnd.ollama.image.template");
    // As Ollama asks: HEAD, GET without following, then ranges. A plain 200 without a Location fails there.
    let blob = |layer: &Value| format!("/v2/org/open/blobs/{}", layer["digest"].as_str().expect("a hash"));
    let path = blob(&layers[0]);
    let head = daemon.raw(&format!("HEAD {path}"), &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, model.len().to_string().as_str()));
    assert_eq!(head.header("location"), format!("http://{}{path}", daemon.api.addrs()[0]));
    let whole = daemon.raw(&format!("GET {path}"), &[]).await;
    assert_eq!((whole.status, whole.body == model), (200, true));
    assert!(whole.header("location").ends_with(&path));
    let part = daemon.raw(&format!("GET {path}"), &[("Range", "bytes=1000000-1999999")]).await;
    assert_eq!((part.status, part.body == model[1_000_000..]), (206, true));
    assert_eq!(daemon.raw(&format!("GET {}", blob(&layers[1])), &[]).await.body, b"{{ .Prompt }}");
    let config = daemon.raw(&format!("GET {}", blob(&said["config"])), &[]).await;
    assert_eq!(config.json()["file_type"], "Q4_K_M");
    let other = daemon.raw("GET /v2/org/open/manifests/Q8_0", &[]).await.json();
    assert_eq!(other["layers"][0]["size"], 1_000_000);
    let tags = daemon.raw("GET /v2/org/open/tags/list", &[]).await.json();
    assert_eq!(tags["tags"], serde_json::json!(["Q4_K_M", "Q8_0"]));
    let none = daemon.raw("GET /v2/org/open/manifests/Q2_K", &[]).await;
    assert_eq!((none.status, none.json()["errors"][0]["code"].as_str()), (404, Some("MANIFEST_UNKNOWN")));
    // What not everybody may read is not there, whoever asks and with whatever; and nothing is written.
    let good = format!("Bearer {TOKEN}");
    for path in [
        "manifests/latest".to_owned(),
        path.rsplit_once("/blobs/").map(|(_, hash)| format!("blobs/{hash}")).expect("a hash"),
        "tags/list".to_owned(),
    ] {
        let closed = daemon.raw(&format!("GET /v2/org/closed/{path}"), &[("Authorization", &good)]).await;
        assert_eq!(closed.status, 404, "{path}: {closed:?}");
    }
    assert_eq!(daemon.raw("POST /v2/org/open/blobs/uploads/", &[]).await.status, 405);
    let foreign = daemon.raw("GET /v2/", &[("Origin", "https://evil.example")]).await;
    assert_eq!(foreign.status, 403);
    // With the Hub gone, a new daemon gives what it has.
    hub.close().await;
    let daemon = Daemon::with(daemon.end().await, &hub.endpoint, &[], true).await;
    assert_eq!(daemon.raw("GET /v2/org/open/manifests/latest", &wanted).await.body, manifest.body);
    assert!(daemon.raw(&format!("GET {path}"), &[]).await.body == model);
}
