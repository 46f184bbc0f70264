//! `zest endpoint`: the address that any client of the Hub can be shared.

use crate::args::{EndpointArgs, EndpointVerb};
use crate::daemon;
use crate::engine;
use crate::failure::Failure;
use crate::ui::Ui;
use serde_json::json;
use std::net::SocketAddr;
use zest_daemon::{Client, HTTP_PORT, Places, Secret};

/// Says what to put into `HF_ENDPOINT`, with another key if that is wanted.
pub(crate) async fn run(args: EndpointArgs, ui: &Ui) -> Result<(), Failure> {
    let places = Places::new(&engine::environment(ui).zest_cache);
    let key = match args.verb {
        Some(EndpointVerb::Rotate) => Secret::rotate_endpoint_key(&places),
        None => Secret::endpoint_key(&places),
    };
    let key = key.map_err(|error| daemon::failure(&error))?;
    let running = Client::find(&places).await.ok().flatten();
    let addr = running.as_ref().map_or(SocketAddr::from(([127, 0, 0, 1], HTTP_PORT)), Client::addr);
    let url = address(addr, &key);
    if ui.json() {
        return ui.data(&json!({"endpoint": url, "running": running.is_some()}).to_string());
    }
    if args.verb.is_some() {
        ui.say("the old key opens nothing any more: programs that have it need this address");
    }
    if running.is_none() {
        ui.say("nobody answers there now: `zest start` begins it");
    }
    ui.data(&format!("export HF_ENDPOINT={url}"))
}

/// The endpoint's address.
pub(crate) fn address(addr: SocketAddr, key: &Secret) -> String {
    format!("http://{addr}/hf/{}", key.as_str())
}
