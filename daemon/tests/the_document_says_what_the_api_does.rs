//! The document at `/v1/openapi.json` against a real daemon: every operation is called, and every answer is what is written there.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use zest_daemon::{About, Api, Doors, Environment, Instance, Places, Secret, Socket, Stop, Ways};
use zest_hub_server::{ServeConfig, Served, serve};
use zest_runtime_tokio::{Session, SessionConfig};
use zest_store::Env;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a value is what a schema says (JSON Schema 2020-12, as far as the document uses it); else where it is not.
fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fail = |why: String| Err(format!("{at}: {why}: {value}"));
    let Some(rules) = schema.as_object() else {
        return if schema == &json!(false) { fail("nothing may be here".into()) } else { Ok(()) };
    };
    for (rule, what) in rules {
        let all = || what.as_array().expect("a list of schemas").iter();
        let fits = |schema: &Value| check(document, schema, value, at);
        match rule.as_str() {
            "$ref" => {
                let path =
                    what.as_str().and_then(|path| path.strip_prefix('#')).expect("a place in the document");
                fits(document.pointer(path).unwrap_or_else(|| panic!("{path} is not in the document")))?;
            }
            "allOf" => all().try_for_each(fits)?,
            "anyOf" if all().all(|schema| fits(schema).is_err()) => {
                return fail(format!(
                    "none of {} fits: {:?}",
                    all().len(),
                    all().map(fits).collect::<Vec<_>>()
                ));
            }
            "oneOf" if all().filter(|schema| fits(schema).is_ok()).count() != 1 => {
                return fail(format!("not one of {what}: {:?}", all().map(fits).collect::<Vec<_>>()));
            }
            "enum" if !all().any(|one| one == value) => return fail(format!("none of {what}")),
            "const" if what != value => return fail(format!("not {what}")),
            "type" => {
                let is = |kind: &Value| match kind.as_str().expect("a type") {
                    "null" => value.is_null(),
                    "boolean" => value.is_boolean(),
                    "string" => value.is_string(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "number" => value.is_number(),
                    other => panic!("what is {other}?"),
                };
                if !what.as_array().map_or_else(|| is(what), |kinds| kinds.iter().any(is)) {
                    return fail(format!("no {what}"));
                }
            }
            "minimum" if value.as_f64() < what.as_f64() && value.is_number() => {
                return fail(format!("below {what}"));
            }
            "maximum" if value.as_f64() > what.as_f64() && value.is_number() => {
                return fail(format!("above {what}"));
            }
            "required" => {
                let Some(object) = value.as_object() else { continue };
                if let Some(name) = all().find(|name| !object.contains_key(name.as_str().expect("a name"))) {
                    return fail(format!("{name} is missing"));
                }
            }
            "properties" => {
                let (Some(object), Some(schemas)) = (value.as_object(), what.as_object()) else { continue };
                for (name, schema) in schemas {
                    if let Some(value) = object.get(name) {
                        check(document, schema, value, &format!("{at}.{name}"))?;
                    }
                }
            }
            "additionalProperties" | "unevaluatedProperties" => {
                let known = rules.get("properties").and_then(Value::as_object);
                for (name, value) in value.as_object().into_iter().flatten() {
                    if known.is_none_or(|known| !known.contains_key(name)) {
                        check(document, what, value, &format!("{at}.{name}"))?;
                    }
                }
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, what, value, &format!("{at}[{index}]"))?;
                }
            }
            "anyOf" | "oneOf" | "enum" | "const" | "minimum" | "maximum" => {}
            "description" | "title" | "format" | "default" | "examples" | "$defs" | "deprecated" => {}
            other => panic!("{at}: the test does not know {other}"),
        }
    }
    Ok(())
}

/// An answer's status, type and body.
struct Answer {
    status: u16,
    kind: String,
    body: Vec<u8>,
}

/// An answer whose first bytes have come.
struct Begun {
    stream: UnixStream,
    bytes: Vec<u8>,
}

impl Begun {
    async fn end(self) -> Answer {
        let Self { mut stream, bytes: mut answer } = self;
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        read.expect("an answer in time").expect("an answer");
        let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&answer[..at]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().to_owned();
        let mut body = answer.split_off(at + 4);
        if head.contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        Answer { status, kind, body }
    }
}

struct Caller {
    socket: std::path::PathBuf,
    document: Value,
    /// Operations and statuses that were seen.
    seen: BTreeSet<(String, String, u16)>,
}

impl Caller {
    async fn ask(&self, method: &str, path: &str, headers: &str, body: Option<&Value>) -> Answer {
        self.begin(method, path, headers, body).await.end().await
    }

    /// Asks, and returns as soon as the answer has begun.
    async fn begin(&self, method: &str, path: &str, headers: &str, body: Option<&Value>) -> Begun {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = UnixStream::connect(&self.socket).await.expect("it accepts");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut bytes = Vec::new();
        let first = tokio::time::timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
        first.expect("an answer in time").expect("an answer");
        Begun { stream, bytes }
    }

    /// Asks, and looks whether the answer is written in the document.
    async fn call(
        &mut self,
        method: &str,
        template: &str,
        path: &str,
        headers: &str,
        body: Option<Value>,
    ) -> Answer {
        let answer = self.ask(&method.to_uppercase(), path, headers, body.as_ref()).await;
        let operation = &self.document["paths"][template][method];
        assert!(operation.is_object(), "{method} {template} is not in the document");
        if let Some(body) = body.as_ref().filter(|_| answer.status < 300) {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            check(&self.document, schema, body, "request")
                .unwrap_or_else(|why| panic!("{method} {template}: {why}"));
        }
        let written = &operation["responses"];
        let status = answer.status.to_string();
        let response = written.get(&status).unwrap_or(&written["default"]);
        assert!(
            answer.status >= 300 || written.get(&status).is_some(),
            "{method} {template}: {status} is not written"
        );
        match response["content"].as_object() {
            None => assert!(answer.body.is_empty(), "{method} {template}: a body where none is written"),
            Some(kinds) => {
                let schema = kinds.get(&answer.kind);
                let schema =
                    schema.unwrap_or_else(|| panic!("{method} {template}: {:?} in {kinds:?}", answer.kind));
                if answer.kind == "application/json" {
                    let value: Value = serde_json::from_slice(&answer.body).expect("JSON");
                    check(&self.document, &schema["schema"], &value, "answer")
                        .unwrap_or_else(|why| panic!("{method} {template} {status}: {why}"));
                }
            }
        }
        self.seen.insert((method.to_owned(), template.to_owned(), answer.status));
        answer
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = body.windows(2).position(|two| two == b"\r\n") {
        let len =
            usize::from_str_radix(std::str::from_utf8(&body[..at]).expect("a length"), 16).expect("a length");
        out.extend_from_slice(&body[at + 2..at + 2 + len]);
        body = &body[(at + 4 + len).min(body.len())..];
    }
    out
}

async fn what_has_come_is_told_while_nothing_can_be_given(caller: &mut Caller, hub: &Served) {
    hub.faults().set_cdn_off(true);
    let name = "00112233445566778899aabbccddeeff";
    let (template, path) = ("/v1/reads/{name}", format!("/v1/reads/{name}"));
    assert_eq!(caller.call("get", template, &path, "", None).await.status, 404);
    let body = json!({"repo": "org/slow", "path": "slow.safetensors"});
    let waiting = Caller { document: Value::Null, seen: BTreeSet::new(), socket: caller.socket.clone() };
    let headers = format!("X-Zest-Read: {name}\r\n");
    let waiting = tokio::spawn(async move { waiting.ask("POST", "/v1/files", &headers, Some(&body)).await });
    // The Hub has answered, and gave nothing of the file.
    let came = loop {
        let answer = caller.call("get", template, &path, "", None).await;
        let came: Value = serde_json::from_slice(&answer.body).expect("JSON");
        if answer.status == 200 && came["signs"].as_u64() > Some(0) {
            break came;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(came["bytes"], 0);
    let taken = json!({"repo": "org/slow", "path": "slow.safetensors"});
    let taken = caller.ask("POST", "/v1/files", &format!("X-Zest-Read: {name}\r\n"), Some(&taken)).await;
    assert_eq!(taken.status, 400, "a name is one reader's");
    hub.faults().clear();
    assert_eq!(waiting.await.expect("no panic").body.len(), 400_000);
    while caller.call("get", template, &path, "", None).await.status != 404 {
        tokio::task::yield_now().await;
    }
}

/// So large that it need not be sent.
fn large() -> Vec<u8> {
    (0..9_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

async fn bytes_are_where_the_answer_says(caller: &mut Caller) {
    let schemas = caller.document["components"]["schemas"].clone();
    let (lies, landed) = (&schemas["Lies"], &schemas["Landed"]);
    let asked = json!({"repo": "org/model", "path": "large.safetensors"});
    let mut names = 0;
    // While it comes, from its beginning; and once it is whole, from its midst.
    for (from, range) in [(0, ""), (4_000_000, "Range: bytes=4000000-\r\n")] {
        // Of a part nobody waits for the name.
        let headers = format!("X-Zest-In-Place: 1\r\nX-Zest-Landed: 1\r\n{range}");
        let answer = caller.call("post", "/v1/files", "/v1/files", &headers, Some(asked.clone())).await;
        assert_eq!(
            (answer.status, answer.kind.as_str()),
            (if from == 0 { 200 } else { 206 }, "application/x-ndjson")
        );
        let mut at = from;
        for line in String::from_utf8(answer.body).expect("text").lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            if let Some(path) = line["landed"].as_str() {
                check(&caller.document, landed, &line, "line").unwrap_or_else(|why| panic!("{why}"));
                assert!(from == 0 && at == large().len() && std::fs::read(path).expect("landed") == large());
                names += 1;
                continue;
            }
            check(&caller.document, lies, &line, "line").unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(line["from"], at);
            let to = line["to"].as_u64().expect("a number") as usize;
            // It may have another name by now.
            let path = line["path"].as_str().expect("a path");
            match std::fs::read(path) {
                Ok(bytes) => assert!(bytes[at..to] == large()[at..to], "{path}: {at} to {to}"),
                Err(error) => assert!(from == 0, "{path}: {error}"),
            }
            at = to;
        }
        assert_eq!((at, names), (large().len(), 1));
    }
    // What is small by then has another name: it is sent.
    let small = json!({"repo": "org/model", "path": "model.safetensors"});
    let small = caller.call("post", "/v1/files", "/v1/files", "X-Zest-In-Place: 1\r\n", Some(small)).await;
    assert_eq!((small.kind.as_str(), small.body.len()), ("application/octet-stream", 300_000));
}

#[tokio::test]
async fn every_operation_answers_as_it_is_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let files = dir.path().join("hub/models/org/model/main");
    std::fs::create_dir_all(&files).expect("made");
    std::fs::write(files.join("config.json"), b"{}").expect("written");
    std::fs::write(files.join("model.safetensors"), vec![7; 300_000]).expect("written");
    // Of a repository that no pull brings before.
    let slow = dir.path().join("hub/models/org/slow/main");
    std::fs::create_dir_all(&slow).expect("made");
    std::fs::write(slow.join("slow.safetensors"), vec![8; 400_000]).expect("written");
    std::fs::write(files.join("large.safetensors"), large()).expect("written");
    let hub =
        serve(ServeConfig::new(dir.path().join("hub"), ([127, 0, 0, 1], 0).into())).await.expect("it starts");
    let home = dir.path().to_str().expect("UTF-8").to_owned();
    let vars = [("HOME".to_owned(), home), ("HF_ENDPOINT".to_owned(), hub.endpoint())];
    let env = Env::from_map(&vars.into());
    let places = Places::new(&env.zest_cache);
    let _instance = Instance::claim(&places).expect("nobody has it");
    let secret = Secret::read_or_make(&places).expect("made");
    let opened = Doors::Port(0).open().await.expect("a free port");
    let socket = Socket::open(&places, Some(dir.path())).expect("a folder of ours");
    let session = Session::start(SessionConfig::new(env.clone()).expect("caches")).await.expect("it starts");
    let path = socket.path().to_owned();
    let about = About {
        http: opened.addrs().to_vec(),
        socket: Some(path.clone()),
        zest_cache: env.zest_cache.clone(),
        environment: Environment::of(&env),
        ways: Ways::default(),
        started: 1,
        on_demand: false,
    };
    let api =
        Api::start(opened, Some(socket), session.clone(), secret, about, Stop::default()).expect("it starts");

    let mut caller = Caller { socket: path, document: Value::Null, seen: BTreeSet::new() };
    let document = caller.ask("GET", "/v1/openapi.json", "", None).await;
    caller.document = serde_json::from_slice(&document.body).expect("JSON");
    assert_eq!(caller.document["openapi"], "3.1.0");

    for path in [
        "/livez",
        "/readyz",
        "/v1/status",
        "/v1/pulls",
        "/v1/models",
        "/v1/settings",
        "/v1/peers",
        "/metrics",
    ] {
        assert_eq!(caller.call("get", path, path, "", None).await.status, 200, "{path}");
    }
    caller.call("get", "/v1/openapi.json", "/v1/openapi.json", "", None).await;
    caller.call("get", "/v1/runs/{name}", "/v1/runs/0123456789abcdef", "", None).await;
    caller.call("get", "/v1/health", "/v1/health?nonce=0123456789abcdef", "", None).await;
    caller.call("get", "/v1/health", "/v1/health?nonce=x", "", None).await;
    let body = json!({"repo": "org/model", "type": "model", "policy": "spare-origin", "priority": "high"});
    assert_eq!(
        caller.call("post", "/v1/pull", "/v1/pull?wait=true", "", Some(body.clone())).await.status,
        200
    );
    assert_eq!(caller.call("post", "/v1/pull", "/v1/pull", "X-HF-Token: \r\n", Some(body)).await.status, 202);
    let none = json!({"repo": "org/model", "files": ["none.bin"]});
    assert_eq!(caller.call("post", "/v1/pull", "/v1/pull?wait=1", "", Some(none)).await.status, 404);
    let file = json!({"repo": "org/model", "path": "model.safetensors", "link": false, "size": 300_000});
    assert_eq!(
        caller.call("post", "/v1/files", "/v1/files", "", Some(file.clone())).await.body.len(),
        300_000
    );
    assert_eq!(
        caller.call("post", "/v1/files", "/v1/files", "Range: bytes=0-9\r\n", Some(file)).await.status,
        206
    );
    what_has_come_is_told_while_nothing_can_be_given(&mut caller, &hub).await;
    bytes_are_where_the_answer_says(&mut caller).await;
    let linked = json!({"repo": "org/model", "path": "config.json", "link": true});
    let linked = caller.call("post", "/v1/files", "/v1/files", "", Some(linked)).await;
    assert_eq!(linked.kind, "application/json");
    assert_eq!(
        caller.call("post", "/v1/files", "/v1/files", "", Some(json!({"repo": "x"}))).await.status,
        400
    );
    for (template, path) in [
        ("/v1/pulls/{id}", "/v1/pulls/1"),
        ("/v1/pulls/{id}/events", "/v1/pulls/1/events"),
        ("/v1/pulls", "/v1/pulls"),
        ("/v1/models", "/v1/models"),
        ("/v1/status", "/v1/status"),
        ("/v1/pulls/{id}", "/v1/pulls/99"),
    ] {
        caller.call("get", template, path, "", None).await;
    }
    for verb in ["pause", "resume", "cancel"] {
        let template = format!("/v1/pulls/{{id}}/{verb}");
        assert_eq!(
            caller.call("post", &template, &format!("/v1/pulls/1/{verb}"), "", None).await.status,
            200
        );
    }
    let page = caller.call("get", "/", "/", "", None).await;
    assert_eq!(page.kind, "text/html");
    let code = caller.call("post", "/v1/codes", "/v1/codes", "", None).await;
    let code: Value = serde_json::from_slice(&code.body).expect("JSON");
    let code = json!({"code": code["code"]});
    assert_eq!(caller.call("post", "/v1/login", "/v1/login", "", Some(code.clone())).await.status, 200);
    assert_eq!(caller.call("post", "/v1/login", "/v1/login", "", Some(code)).await.status, 403);
    let patch = json!({"max_upload": 1_000_000, "max_download": null, "nice": true, "policy": "spare-origin", "giving": "network"});
    assert_eq!(caller.call("patch", "/v1/settings", "/v1/settings", "", Some(patch)).await.status, 200);
    assert_eq!(caller.call("delete", "/v1/pulls/{id}", "/v1/pulls/1", "", None).await.status, 204);
    let events = caller.document["components"]["schemas"]["Event"].clone();
    let told = caller.ask("GET", "/v1/pulls/2/events", "", None).await;
    let text = String::from_utf8(told.body).expect("text");
    let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert!(data.len() > 1, "{text}");
    for data in data {
        let value: Value = serde_json::from_str(data).expect("JSON");
        check(&caller.document, &events, &value, "event").unwrap_or_else(|why| panic!("{why}"));
    }
    assert_eq!(caller.call("post", "/v1/stop", "/v1/stop", "", None).await.status, 202);
    assert_eq!(caller.call("get", "/readyz", "/readyz", "", None).await.status, 503);
    // A stream that follows all pulls ends with the daemon alone.
    let following = caller.begin("GET", "/v1/events", "", None).await;
    let following = tokio::spawn(following.end());
    session.shutdown().await;
    api.shutdown().await;
    let followed = following.await.expect("it does not panic");
    assert_eq!((followed.status, followed.kind.as_str()), (200, "text/event-stream"));
    hub.shutdown().await;

    // Nothing is written that nobody has called.
    let called: BTreeSet<(&str, &str)> =
        caller.seen.iter().map(|(method, path, _)| (method.as_str(), path.as_str())).collect();
    let paths: &Map<String, Value> = caller.document["paths"].as_object().expect("paths");
    for (path, operations) in paths {
        for method in operations.as_object().expect("operations").keys() {
            let is_called = called.contains(&(method.as_str(), path.as_str())) || path == "/v1/events";
            assert!(is_called, "{method} {path}");
        }
    }
}
