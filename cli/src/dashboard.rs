//! `zest dashboard`: the daemon's page, in the user's browser.

use crate::args::DashboardArgs;
use crate::daemon::failure;
use crate::engine;
use crate::failure::{Failure, Kind};
use crate::ui::Ui;
use axum::http::Method;
use serde_json::json;
use std::path::Path;
use std::process::{Command, Stdio};
use zest_daemon::{Client, Places, leave_redirect};

/// What opens a file in the user's browser.
const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

pub(crate) async fn run(args: DashboardArgs, ui: &Ui) -> Result<(), Failure> {
    let places = Places::new(&engine::environment(ui).zest_cache);
    let client = match Client::find(&places).await {
        Ok(Some(client)) => client,
        Ok(None) => {
            return Err(Failure::new(Kind::Other, "zest does not run in the background")
                .hint("`zest start` begins it"));
        }
        Err(error) => return Err(Failure::new(Kind::Other, error).hint("`zest logs` shows what it says")),
    };
    let answer = client.ask(Method::POST, "/v1/codes", None, &[]).await;
    let answer = answer.map_err(|error| Failure::new(Kind::Other, error))?;
    let Some(code) = answer.body["code"].as_str().filter(|_| answer.is_good()) else {
        let text = format!("the API answers with status {}", answer.status);
        return Err(Failure::new(Kind::Other, text));
    };
    ui.hide(code);
    let page = leave_redirect(&places, client.addr(), code).map_err(|error| failure(&error))?;
    let is_opened = !args.no_open && open(&page);
    if ui.json() {
        return ui.data(&json!({"event": "dashboard", "page": page, "opened": is_opened}).to_string());
    }
    if is_opened {
        ui.say(format!("opening the dashboard of http://{} in your browser", client.addr()));
        return Ok(());
    }
    ui.say("open this file in a browser of this machine within a minute:");
    ui.data(&page.display().to_string())
}

/// Whether a browser was told. The file's name is all that others see of it.
fn open(page: &Path) -> bool {
    let mut opener = Command::new(OPENER);
    opener.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    opener.status().is_ok_and(|status| status.success())
}
