//! The document, made of the routes and the types that answers are written with; a test looks whether it is what is given.

use super::{Bearer, Code, Health};
use crate::endpoint::RunFigures;
use crate::files::{Blob, FileRequest, Landed, Lies};
use crate::models::Model;
use crate::settings::{Settings, SettingsPatch};
use crate::status::{Full, Original};
use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use zest_runtime_tokio::{Came, PeerStatus, PullEvent, PullFailure, PullReport, PullRequest, PullStatus};

/// Where a document's schemas stand.
const SCHEMAS: &str = "/components/schemas";

/// What went wrong.
#[derive(Serialize, JsonSchema)]
struct Error {
    /// Kind, message, hint.
    error: PullFailure,
}

/// What happens to a pull, in one event of a stream.
#[derive(Serialize, JsonSchema)]
struct Happening {
    /// The pull.
    pull: u64,
    #[serde(flatten)]
    event: PullEvent,
}

/// Bodies of requests and answers, by what they are.
#[derive(Clone, Copy)]
enum Body {
    Json(&'static str),
    List(&'static str),
    Text,
    Page,
    Bytes,
    Events,
    Nothing,
}

/// A route: method, path, what it does, what it takes, what it answers, and whether it is open to all.
struct Route {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    takes: Option<&'static str>,
    answers: &'static [(u16, &'static str, Body)],
    is_open: bool,
}

const fn get(
    path: &'static str,
    summary: &'static str,
    answers: &'static [(u16, &'static str, Body)],
) -> Route {
    Route { method: "get", path, summary, takes: None, answers, is_open: false }
}

const fn post(
    path: &'static str,
    summary: &'static str,
    answers: &'static [(u16, &'static str, Body)],
) -> Route {
    Route { method: "post", path, summary, takes: None, answers, is_open: false }
}

impl Route {
    const fn open(self) -> Self {
        Self { is_open: true, ..self }
    }

    const fn takes(self, body: &'static str) -> Self {
        Self { takes: Some(body), ..self }
    }
}

const STATE: &[(u16, &str, Body)] = &[(200, "its state after it", Body::Json("PullStatus"))];
const EVENTS: &[(u16, &str, Body)] = &[
    (200, "events; the data of each is an Event", Body::Events),
    (204, "there is nothing more to come", Body::Nothing),
];
const ALIVE: &[(u16, &str, Body)] = &[(200, "it lives", Body::Json("Health"))];

const ROUTES: &[Route] = &[
    get("/v1/health", "Life, and on a nonce the proof of who answers", ALIVE).open(),
    get("/livez", "Life", ALIVE).open(),
    get(
        "/readyz",
        "Whether it takes work",
        &[(200, "it does", Body::Json("Health")), (503, "it is stopping", Body::Json("Health"))],
    )
    .open(),
    get(
        "/v1/status",
        "How it does; without the secret the seven keys of zest 0.4 (Original)",
        &[(200, "everything, or Original", Body::Json("Status"))],
    )
    .open(),
    post(
        "/v1/pull",
        "Begins a pull; ?wait=true waits for its end",
        &[
            (200, "its report (?wait=true)", Body::Json("PullReport")),
            (202, "its state, with its number", Body::Json("PullStatus")),
        ],
    )
    .takes("PullRequest"),
    post(
        "/v1/files",
        "One file's proven bytes while they come, or the name of its blob",
        &[
            (200, "its bytes, or with `link` where it lies", Body::Bytes),
            (206, "the bytes of the Range", Body::Bytes),
        ],
    )
    .takes("FileRequest"),
    get("/v1/pulls", "All pulls that are remembered", &[(200, "oldest first", Body::List("PullStatus"))]),
    get("/v1/pulls/{id}", "One pull", STATE),
    Route {
        method: "delete",
        path: "/v1/pulls/{id}",
        summary: "Ends and forgets a pull",
        takes: None,
        answers: &[(204, "it is gone", Body::Nothing)],
        is_open: false,
    },
    post("/v1/pulls/{id}/pause", "Has it rest", STATE),
    post("/v1/pulls/{id}/resume", "Has it go on", STATE),
    post("/v1/pulls/{id}/cancel", "Ends it; what is proven is kept", STATE),
    get("/v1/pulls/{id}/events", "What happens to it, from its beginning to its end", EVENTS),
    get("/v1/events", "What happens to all pulls, from now on or after an id", EVENTS),
    get("/v1/models", "What lies in the cache, by commit", &[(200, "models", Body::List("Model"))]),
    get("/v1/settings", "What may change while it runs", &[(200, "settings", Body::Json("Settings"))]),
    Route {
        method: "patch",
        path: "/v1/settings",
        summary: "Changes some; what is left out stays, a cap that is null is lifted",
        takes: Some("SettingsPatch"),
        answers: &[(200, "settings", Body::Json("Settings"))],
        is_open: false,
    },
    get("/v1/peers", "Peers that are linked", &[(200, "peers", Body::List("PeerStatus"))]),
    get(
        "/v1/reads/{name}",
        "What has come for a file of /v1/files that is waited for; its X-Zest-Read was this name",
        &[(200, "bytes and signs", Body::Json("Came"))],
    ),
    get(
        "/v1/runs/{name}",
        "What the command of one `zest run` has had; its address has this name behind the key",
        &[(200, "bytes", Body::Json("RunFigures"))],
    ),
    post("/v1/stop", "Ends it", &[(202, "it is stopping", Body::Json("Health"))]),
    post("/v1/codes", "A code that opens the dashboard once", &[(201, "the code", Body::Json("Code"))]),
    post("/v1/login", "A page's bearer for its code", &[(200, "the bearer", Body::Json("Bearer"))])
        .takes("Code")
        .open(),
    get("/", "The dashboard", &[(200, "a page that holds nothing", Body::Page)]).open(),
    get("/v1/openapi.json", "This document", &[(200, "OpenAPI 3.1", Body::Json("Document"))]),
    get("/metrics", "Figures for Prometheus", &[(200, "text format 0.0.4", Body::Text)]),
];

fn make() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "zest",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The daemon of one user and cache, on this machine. See docs/api.md.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "http://127.0.0.1:9847"}],
        "security": [{"secret": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"secret": {
                "type": "http",
                "scheme": "bearer",
                "description": "What is in the file api-secret of zest's cache. Over the Unix socket none is needed.",
            }},
            "schemas": schemas(),
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut answers = Map::new();
    for (status, what, body) in route.answers {
        let mut answer = json!({"description": what});
        if let Some(content) = content(*body) {
            answer["content"] = content;
        }
        answers.insert(status.to_string(), answer);
    }
    answers.insert(
        "default".into(),
        json!({"description": "what went wrong", "content": content(Body::Json("Error"))}),
    );
    let mut operation = json!({"summary": route.summary, "responses": answers});
    if route.is_open {
        operation["security"] = json!([{}, {"secret": []}]);
    }
    if let Some(body) = route.takes {
        operation["requestBody"] = json!({"required": true, "content": content(Body::Json(body))});
    }
    let mut parameters = Vec::new();
    let mut parameter = |name: &str, place: &str, schema: Value| {
        parameters.push(json!({"name": name, "in": place, "required": place == "path", "schema": schema}));
    };
    if route.path.contains("{id}") {
        parameter("id", "path", json!({"type": "integer", "minimum": 1}));
    }
    if route.path.contains("{name}") {
        let digits = if route.path.starts_with("/v1/reads/") { "16,64" } else { "16" };
        parameter("name", "path", json!({"type": "string", "pattern": format!("^[0-9a-f]{{{digits}}}$")}));
    }
    match route.path {
        "/v1/health" => {
            parameter("nonce", "query", json!({"type": "string", "pattern": "^[0-9a-fA-F]{16,128}$"}))
        }
        "/v1/pull" => {
            parameter("wait", "query", json!({"type": "boolean"}));
            parameter("X-HF-Token", "header", json!({"type": "string"}));
        }
        "/v1/files" => {
            parameter("Range", "header", json!({"type": "string"}));
            parameter("X-Zest-In-Place", "header", json!({"type": "string"}));
            parameter("X-Zest-Landed", "header", json!({"type": "string"}));
            parameter("X-Zest-Read", "header", json!({"type": "string", "pattern": "^[0-9a-fA-F]{16,64}$"}));
            parameter("X-HF-Token", "header", json!({"type": "string"}));
        }
        path if path.ends_with("/events") => {
            parameter("Last-Event-ID", "header", json!({"type": "string"}));
            parameter("after", "query", json!({"type": "string"}));
        }
        _ => {}
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    operation
}

fn content(body: Body) -> Option<Value> {
    let named = |name: &str| json!({"$ref": format!("#{SCHEMAS}/{name}")});
    Some(match body {
        Body::Json("Document") => json!({"application/json": {"schema": {"type": "object"}}}),
        Body::Json("Status") => {
            json!({"application/json": {"schema": {"anyOf": [named("Status"), named("Original")]}}})
        }
        Body::Json(name) => json!({"application/json": {"schema": named(name)}}),
        Body::List(name) => json!({"application/json": {"schema": {"type": "array", "items": named(name)}}}),
        Body::Page => json!({"text/html": {"schema": {"type": "string"}}}),
        Body::Text => json!({"text/plain": {"schema": {"type": "string"}}}),
        Body::Bytes => json!({
            "application/octet-stream": {},
            "application/json": {"schema": named("Blob")},
            "application/x-ndjson": {"schema": {"anyOf": [named("Lies"), named("Landed")]}},
        }),
        Body::Events => json!({"text/event-stream": {"schema": {"type": "string"}}}),
        Body::Nothing => return None,
    })
}

fn generator(contract: Contract) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.contract = contract;
        settings.meta_schema = None;
    });
    settings.into_generator()
}

fn schemas() -> Map<String, Value> {
    let mut all = Map::new();
    let mut taken = generator(Contract::Deserialize);
    add::<PullRequest>(&mut taken, &mut all, "PullRequest");
    add::<FileRequest>(&mut taken, &mut all, "FileRequest");
    add::<SettingsPatch>(&mut taken, &mut all, "SettingsPatch");
    all.extend(taken.take_definitions(true));
    let mut given = generator(Contract::Serialize);
    add::<Health>(&mut given, &mut all, "Health");
    add::<Original>(&mut given, &mut all, "Original");
    add::<Full<'_>>(&mut given, &mut all, "Status");
    add::<PullStatus>(&mut given, &mut all, "PullStatus");
    add::<PullReport>(&mut given, &mut all, "PullReport");
    add::<Code>(&mut given, &mut all, "Code");
    add::<Bearer>(&mut given, &mut all, "Bearer");
    add::<Model>(&mut given, &mut all, "Model");
    add::<Settings>(&mut given, &mut all, "Settings");
    add::<PeerStatus>(&mut given, &mut all, "PeerStatus");
    add::<RunFigures>(&mut given, &mut all, "RunFigures");
    add::<Came>(&mut given, &mut all, "Came");
    add::<Lies>(&mut given, &mut all, "Lies");
    add::<Landed>(&mut given, &mut all, "Landed");
    add::<Blob>(&mut given, &mut all, "Blob");
    add::<Error>(&mut given, &mut all, "Error");
    add::<Happening>(&mut given, &mut all, "Event");
    for (name, schema) in given.take_definitions(true) {
        all.entry(name).or_insert(schema);
    }
    all
}

fn add<T: JsonSchema>(from: &mut SchemaGenerator, to: &mut Map<String, Value>, name: &str) {
    let schema = from.root_schema_for::<T>();
    let mut schema = Value::from(schema);
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("components");
        schema.remove("$schema");
    }
    to.insert(name.to_owned(), schema);
}

/// As it is kept: a line for each path and each schema.
fn as_kept(document: &Value) -> String {
    let mut text = String::from("{\n");
    let lines = |text: &mut String, name: &str, all: &Value| {
        let rows = all.as_object().expect("an object").iter();
        let rows: Vec<String> = rows.map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        write!(text, "\"{name}\":{{\n{}\n}}", rows.join(",\n")).expect("a string");
    };
    for name in ["openapi", "jsonSchemaDialect", "info", "servers", "security"] {
        writeln!(text, "\"{name}\":{},", document[name]).expect("a string");
    }
    lines(&mut text, "paths", &document["paths"]);
    let schemes = &document["components"]["securitySchemes"];
    write!(text, ",\n\"components\":{{\"securitySchemes\":{schemes},\n").expect("a string");
    lines(&mut text, "schemas", &document["components"]["schemas"]);
    text + "}}\n"
}

#[test]
fn the_document_is_what_routes_and_types_make() {
    let (made, at) = (make(), concat!(env!("CARGO_MANIFEST_DIR"), "/src/openapi.json"));
    if std::env::var_os("ZEST_SNAPSHOT").is_some_and(|what| what == "write") {
        std::fs::write(at, as_kept(&made)).expect("written");
    }
    let kept = std::fs::read_to_string(at).expect("daemon/src/openapi.json");
    assert_eq!(kept, as_kept(&made), "ZEST_SNAPSHOT=write writes it anew");
    assert_eq!(serde_json::from_str::<Value>(&kept).expect("JSON"), made);
}
