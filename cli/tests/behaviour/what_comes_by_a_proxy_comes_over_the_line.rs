//! `--nice` behind a proxy: it is near, and what it gives is not.

use crate::common::{command, folder, hub, run, text};
use serde_json::Value;

#[test]
fn a_proxy_on_this_machine_is_held_to_the_lines_rate() {
    let home = folder();
    let root = home.path().join("root");
    let files = root.join("models/org/model/main");
    std::fs::create_dir_all(&files).expect("a folder");
    std::fs::write(files.join("model.safetensors"), crate::public_is_one_hubs_word::noise(9))
        .expect("written");
    let (served, endpoint) = hub(home.path(), &root);
    let port = endpoint.rsplit(':').next().expect("a port");
    let rates = |endpoint: &str, proxy: Option<&str>| -> Vec<Value> {
        let home = folder();
        let mut pull =
            command(home.path(), &["pull", "org/model", "--nice", "--no-p2p", "--no-daemon", "--events"]);
        pull.env("HF_ENDPOINT", endpoint).envs(proxy.map(|proxy| ("HTTP_PROXY", proxy)));
        let output = run(&mut pull);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let lines =
            text(&output.stdout).lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.filter_map(|event| event.get("nice").filter(|nice| nice.is_object()).cloned()).collect()
    };
    // A server that knows itself by this name may as well be a proxy for it.
    let by_proxy = rates(&format!("http://hub.localhost:{port}"), Some(&endpoint));
    assert!(by_proxy.iter().any(|nice| nice["queueing_us"].is_u64()), "{by_proxy:?}");
    let direct = rates(&endpoint, None);
    assert!(direct.iter().all(|nice| nice["queueing_us"].is_null()), "{direct:?}");
    served.stop();
}
