//! `zest endpoint`: the address that any client of the Hub can be shared; and what zest itself makes of it.

use crate::args::{EndpointArgs, EndpointVerb};
use crate::daemon;
use crate::engine;
use crate::failure::Failure;
use crate::ui::Ui;
use serde_json::json;
use std::net::SocketAddr;
use zest_daemon::{Client, HTTP_PORT, Places, Secret};
use zest_store::{ENDPOINT_DEFAULT, Env, is_loopback_name};

/// Hex digits of a key.
const KEY_DIGITS: usize = 64;

/// Longest address that is read: 4 KiB.
const ADDRESS_BYTES_MAX: u64 = 4 << 10;

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

/// Whoever gave us the address of this machine's own endpoint means the Hub behind it: zest must not ask itself.
pub(crate) fn look_behind(env: &mut Env) {
    if is_own(&env.endpoint) {
        let file = Places::new(&env.zest_cache).endpoint_hub();
        env.endpoint = read(&file).filter(|hub| !is_own(hub)).unwrap_or_else(|| ENDPOINT_DEFAULT.to_owned());
    }
}

fn read(path: &std::path::Path) -> Option<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(ADDRESS_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// `http://`, a name of loopback, `/hf/` and a key.
fn is_own(endpoint: &str) -> bool {
    let Some((host, path)) = endpoint.strip_prefix("http://").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let key = path.trim_end_matches('/').strip_prefix("hf/");
    // Behind it may stand the name of a `zest run`.
    let key = key.map(|key| key.split('.').next().unwrap_or_default());
    is_loopback_name(name)
        && key.is_some_and(|key| key.len() == KEY_DIGITS && key.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_endpoint_is_told_from_hubs() {
        let key = "0123456789abcdef".repeat(4);
        for host in ["127.0.0.1:9847", "localhost:1", "[::1]:9847"] {
            assert!(is_own(&format!("http://{host}/hf/{key}")), "{host}");
            assert!(is_own(&format!("http://{host}/hf/{key}.0123456789abcdef")), "{host}");
        }
        for other in [
            "https://huggingface.co".to_owned(),
            "http://127.0.0.1:8080".to_owned(),
            format!("http://mirror.example/hf/{key}"),
            "http://127.0.0.1:9847/hf/short".to_owned(),
        ] {
            assert!(!is_own(&other), "{other}");
        }
    }
}
