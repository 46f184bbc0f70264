//! Local service discovery (BEP 14) with libtorrent, on a switch with a network namespace for each.

use crate::dht::{indented, unique};
use crate::player::Player;
use crate::table::{Cell, Table};
use crate::workshop::{self, Workshop};
use serde_json::Value;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;
use tokio::runtime::Runtime;
use zest_core::InfoHash;
use zest_tests::known::Known;
use zest_tests::netns::{self, Switch};
use zest_tests::{Site, noise};

/// Where zest listens unless it is told otherwise.
const ZEST_PORT: u16 = 6881;
/// Where libtorrent listens.
const LIBTORRENT_PORT: u16 = 7881;

/// Runs everything; true if both heard each other.
pub(crate) fn run(workshop: &Workshop) -> bool {
    println!("\nLocal service discovery (BEP 14)");
    let lacks = workshop::lacks_libtorrent().or_else(|| {
        (!netns::is_inside()).then(|| "there are no network namespaces to put machines into".to_owned())
    });
    if let Some(why) = lacks {
        println!("  libtorrent is skipped: {why}");
        return true;
    }
    let mut table = Table::new("on one switch", ["it hears zest", "zest hears it"]);
    table.row("libtorrent", meet(workshop).unwrap_or_else(|why| vec![Cell::Bad(why)]));
    println!("\n{}", indented(&table.text()));
    table.is_good()
}

/// Both look for the same file: `zest peers` and a torrent of that info-hash.
fn meet(workshop: &Workshop) -> Result<Vec<Cell>, String> {
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    let switch = Switch::new(Ipv4Addr::new(192, 168, 9, 1), 24);
    let content = noise(unique(), 500_000);
    let InfoHash(key) = InfoHash::of_file(&Known::new(content.clone()).file());
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut site = Site::new();
    site.add("org/model", "model.safetensors", &content);
    let endpoint = runtime.block_on(site.open_at((switch.address(), 0).into()));
    let (a, b) = (
        switch.machine("lan.a", Ipv4Addr::new(192, 168, 9, 2)),
        switch.machine("lan.b", Ipv4Addr::new(192, 168, 9, 3)),
    );
    let mut command = b.command(Path::new("python3"));
    command.arg(workshop.dir().join("lan_libtorrent.py")).args([key, LIBTORRENT_PORT.to_string()]);
    let (mut libtorrent, _) = Player::start(command)?;
    let began = Instant::now();
    let mut zest = a.zest(&endpoint, "peers org/model --json --no-dht --wait 8");
    let zest = zest.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let hears_us = match libtorrent.ask(&format!("start {ZEST_PORT}")) {
        Ok(word) if word == "found" => Cell::Found(began.elapsed()),
        Ok(why) | Err(why) => Cell::Bad(why),
    };
    let survey = outcome(zest)?;
    let found = survey["discovery"]["found"]["lan"].as_u64().unwrap_or(0);
    let we_hear = match found {
        0 => Cell::Bad(format!("zest found nobody: {survey}")),
        _ => Cell::Good(format!("{found} found")),
    };
    Ok(vec![hears_us, we_hear])
}

fn outcome(zest: Child) -> Result<Value, String> {
    let output = zest.wait_with_output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .map_err(|error| format!("zest ended with {}: {error} in {text:?}", output.status))
}
