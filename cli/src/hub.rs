//! `zest hub`: the embedded hub in the foreground.

use crate::args::HubArgs;
use crate::failure::{Failure, Kind};
use crate::hidden_token;
use crate::signals::Signals;
use crate::ui::{Ui, units};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use zest_hub_server::{ServeConfig, Stats};

/// Time between two looks at the counters for the status line: 1 s.
const STATUS_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: HubArgs, ui: &Ui) -> Result<(), Failure> {
    let signals = Signals::listen(ui)?;
    ui.warnings_are_events();
    let tokens = hidden_token::tokens(&args.token);
    for token in &tokens {
        ui.hide(token);
    }
    let locked = !tokens.is_empty();
    let mut config = ServeConfig::new(&args.root, SocketAddr::new(args.host, args.port));
    config.tokens = tokens;
    config.public_url = args.public_url;
    let served = zest_hub_server::serve(config).await.map_err(|error| failure(&error))?;

    if ui.json() {
        ui.data(&json!({"event": "listening", "endpoint": served.endpoint()}).to_string())?;
    }
    ui.say(format!("serving {} at {}", args.root.display(), served.endpoint()));
    ui.say(format!("use it with HF_ENDPOINT={}", served.endpoint()));
    if !locked {
        ui.say("no --token given: private and gated repositories stay closed");
    }
    if !args.host.is_loopback() {
        ui.say(format!("everybody who reaches {} can read the public ones", served.addr()));
    }

    let mut status = ui.status();
    let mut tick = tokio::time::interval(STATUS_EVERY);
    let mut last = None;
    loop {
        tokio::select! {
            () = signals.first() => break,
            _ = tick.tick() => {
                let line = line(&served.stats());
                if last.as_ref() != Some(&line) {
                    status.show(&line, false);
                    last = Some(line);
                }
            }
        }
    }
    drop(status);
    let stats = served.stats();
    served.shutdown().await;
    if ui.json() {
        let counts = json!({
            "event": "stopped",
            "hub_requests": stats.hub_requests,
            "cas_requests": stats.cas_requests,
            "cdn_requests": stats.cdn_requests,
            "cdn_bytes": stats.cdn_bytes,
        });
        ui.data(&counts.to_string())?;
    }
    ui.say(format!("stopped: {}", line(&stats)));
    Ok(())
}

fn line(stats: &Stats) -> String {
    format!(
        "{} to the Hub, {} to the CAS, {} to the CDN ({})",
        units::counted(stats.hub_requests, "request"),
        units::count(stats.cas_requests),
        units::count(stats.cdn_requests),
        units::bytes(stats.cdn_bytes)
    )
}

fn failure(error: &zest_hub_server::ServeError) -> Failure {
    match error {
        zest_hub_server::ServeError::Root { .. } => {
            Failure::new(Kind::Disk, error).hint("--root is the folder that holds models/ORG/NAME/REVISION/…")
        }
        zest_hub_server::ServeError::Bind { .. } => {
            Failure::new(Kind::Network, error).hint("choose another --port; 0 takes any free one")
        }
        zest_hub_server::ServeError::PublicUrl(_) => Failure::new(Kind::Usage, error),
        _ => Failure::new(Kind::Other, error),
    }
}
