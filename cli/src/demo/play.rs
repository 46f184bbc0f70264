//! The demo's steps, one after the other.

use super::account::{Account, Transfer};
use super::{check, interrupted, sample};
use crate::engine::{self, Folders, PullRequest, Session};
use crate::failure::{self, Failure, Kind};
use crate::pull;
use crate::signals::Signals;
use crate::ui::{Ui, units};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Instant;
use zest_hub_server::{ServeConfig, Served};
use zest_store::{Env, RepoId, RepoType};

/// The sample's name on the demo's hub.
const REPO: &str = "demo/sample";

/// Its revision.
const REVISION: &str = "main";

/// Any free port of this machine, unreachable from elsewhere.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Runs the demo inside `room` and says what happens on the way.
pub(super) async fn play(size_mb: u64, room: &Path, signals: &Signals, ui: &Ui) -> Result<Account, Failure> {
    let start = Instant::now();
    let source = room.join("hub").join(RepoType::Model.plural()).join(REPO).join(REVISION);
    let mut status = ui.status();
    status.show("making a sample model …", false);
    let bytes = make_sample(&source, size_mb, signals).await?;
    drop(status);
    let files = check::files_of(&source).map_err(|error| failure::disk(source.display(), &error))?;
    tell(
        ui,
        "sample",
        format!("{} made in {}", sizes(bytes, files.len()), units::duration(start.elapsed())),
    )?;

    let mut config = ServeConfig::new(room.join("hub"), LOOPBACK);
    config.cache_dir = Some(room.join("hub-index"));
    let hub = zest_hub_server::serve(config).await.map_err(|error| Failure::new(Kind::Other, error))?;
    tell(ui, "hub", format!("{} serves it as {REPO}", hub.endpoint()))?;
    let outcome = travel(room, &source, &files, &hub, signals, ui).await;
    hub.shutdown().await;
    let (a, b, checked) = outcome?;
    Ok(Account { bytes, files: files.len() as u64, a, b, checked, elapsed: start.elapsed() })
}

/// Node A pulls from the hub, node B from node A, and both are checked.
async fn travel(
    room: &Path,
    source: &Path,
    files: &[PathBuf],
    hub: &Served,
    signals: &Signals,
    ui: &Ui,
) -> Result<(Transfer, Transfer, check::Checked), Failure> {
    let env_a = environment(room, "a", hub);
    let env_b = environment(room, "b", hub);

    let session_a = start(&env_a, &[LOOPBACK]).await?;
    let transfer = pull_as("node A", &session_a, request(None)?, hub, signals, ui).await;
    let a = match transfer {
        Ok(a) => a,
        Err(failure) => {
            session_a.shutdown().await;
            return Err(failure);
        }
    };
    tell(ui, "node A", format!("pulled from the hub: {}", a.line()))?;

    hub.faults().set_cas_off(true);
    hub.faults().set_cdn_off(true);
    let seeder = session_a.local_addrs().first().copied();
    let transfer = match seeder {
        Some(seeder) => {
            tell(ui, "node A", format!("seeds on {seeder}; the hub's CAS and CDN are switched off"))?;
            from_peer(&env_b, seeder, hub, signals, ui).await
        }
        None => Err(Failure::new(Kind::Other, "node A does not listen")),
    };
    session_a.shutdown().await;
    let b = transfer?;
    tell(ui, "node B", format!("pulled from node A: {}", b.line()))?;
    for line in crate::ui::closing_statistics(&b.report).iter().skip(1) {
        tell(ui, "", line.trim_start().to_owned())?;
    }
    if b.hub.cdn_bytes > 0 {
        let bytes = units::bytes(b.hub.cdn_bytes);
        return Err(Failure::new(
            Kind::Other,
            format_args!("the hub gave node B {bytes} though it was switched off"),
        ));
    }

    let mut status = ui.status();
    status.show("comparing and hashing every file …", false);
    let checked = check_both(source, files, &[(&env_a, &a), (&env_b, &b)], signals).await?;
    drop(status);
    tell(ui, "check", checked.line())?;
    Ok((a, b, checked))
}

async fn start(env: &Env, listen: &[SocketAddr]) -> Result<Session, Failure> {
    let config = engine::config(env, Folders::of_cache(env, false))?;
    engine::start(config.engine(|engine| engine.listen = listen.to_vec())).await
}

async fn from_peer(
    env: &Env,
    seeder: SocketAddr,
    hub: &Served,
    signals: &Signals,
    ui: &Ui,
) -> Result<Transfer, Failure> {
    let session = start(env, &[]).await?;
    let transfer = match request(Some(seeder)) {
        Ok(request) => pull_as("node B", &session, request, hub, signals, ui).await,
        Err(failure) => Err(failure),
    };
    session.shutdown().await;
    transfer
}

/// Pulls, and notes what the hub had to do for it.
async fn pull_as(
    name: &str,
    session: &Session,
    request: PullRequest,
    hub: &Served,
    signals: &Signals,
    ui: &Ui,
) -> Result<Transfer, Failure> {
    let before = hub.stats();
    // Nothing is kept that could be gone on with.
    let pulled = pull::pull(session, request, name, signals, ui, false).await;
    let report = pulled.map_err(|failure| if signals.seen() { interrupted() } else { failure })?;
    Ok(Transfer { report, hub: hub.stats().since(&before) })
}

/// Makes the sample on a thread of its own, so that Ctrl-C is heard.
async fn make_sample(dir: &Path, size_mb: u64, signals: &Signals) -> Result<u64, Failure> {
    let (dir, signals) = (dir.to_owned(), signals.clone());
    let made = tokio::task::spawn_blocking(move || {
        sample::write(&dir, size_mb, &|| signals.seen()).map_err(|error| match error.kind() {
            std::io::ErrorKind::Interrupted => interrupted(),
            _ => failure::disk(dir.display(), &error),
        })
    });
    made.await.map_err(|error| Failure::new(Kind::Other, error))?
}

async fn check_both(
    source: &Path,
    files: &[PathBuf],
    nodes: &[(&Env, &Transfer)],
    signals: &Signals,
) -> Result<check::Checked, Failure> {
    let mut total = check::Checked::default();
    for (env, transfer) in nodes {
        let (source, files, env) = (source.to_owned(), files.to_vec(), (*env).clone());
        let (snapshot, signals) = (transfer.report.path.clone(), signals.clone());
        let checked = tokio::task::spawn_blocking(move || {
            check::check(&source, &files, &snapshot, &env, &|| signals.seen())
        });
        total.add(&checked.await.map_err(|error| Failure::new(Kind::Other, error))??);
    }
    Ok(total)
}

/// What a user with an empty home, no token and this hub would have. Nothing is taken from the real environment.
fn environment(room: &Path, node: &str, hub: &Served) -> Env {
    let home = room.join(node);
    let path = |name: &str| home.join(name).to_string_lossy().into_owned();
    let variables = BTreeMap::from(
        [
            ("HOME", path("")),
            ("HF_HOME", path("huggingface")),
            ("ZEST_CACHE_DIR", path("zest")),
            ("HF_ENDPOINT", hub.endpoint()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    Env::from_map(&variables)
}

fn request(peer: Option<SocketAddr>) -> Result<PullRequest, Failure> {
    let repo = RepoId::new(RepoType::Model, REPO).map_err(|error| Failure::new(Kind::Other, error))?;
    let peers = peer.iter().map(SocketAddr::to_string).collect();
    Ok(PullRequest::new(repo).revision(REVISION).peers(peers))
}

/// One line of the account: data for a reader of standard output, talk for one who wants JSON there.
fn tell(ui: &Ui, who: &str, what: String) -> Result<(), Failure> {
    let line = format!("{who:>7}  {what}");
    if ui.json() {
        ui.say(line);
        return Ok(());
    }
    ui.account(&line)
}

fn sizes(bytes: u64, files: usize) -> String {
    format!("{} in {}", units::bytes(bytes), units::counted(files as u64, "file"))
}
