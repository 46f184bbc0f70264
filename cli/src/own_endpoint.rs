//! What zest itself makes of the address of this machine's own endpoint, where it is told that as its Hub.

use zest_daemon::Places;
use zest_store::{ENDPOINT_DEFAULT, Env, is_loopback_name};

/// Hex digits of a key.
const KEY_DIGITS: usize = 64;

/// Longest address that is read: 4 KiB.
const ADDRESS_BYTES_MAX: u64 = 4 << 10;

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
