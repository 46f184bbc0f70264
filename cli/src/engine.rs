//! The one door between the command line and the runtime: starts an engine for an environment, and turns every
//! error of the rooms below into a [`Failure`].

use crate::address;
use crate::args::{self, OriginPolicy, RepoArgs, RepoKind, UploadArgs};
use crate::failure::{Failure, Kind};
use crate::own_endpoint;
use crate::place;
use crate::ui::Ui;
use std::net::SocketAddr;
use std::time::Duration;
use zest_hub::HubError;
use zest_runtime_tokio::{EngineError, Policy, PullError, PullErrorKind, PullFailure, UploadBudget};
use zest_store::{Env, RepoId, RepoType, StoreError, StoreErrorKind};

pub(crate) use zest_runtime_tokio::{
    DiscoveryStatus, EngineConfig, EngineStats, Folders, GivingStatus, How, IndexProgress, Phase, Progress,
    PullReport, PullRequest, Session, SessionConfig, Survey,
};

/// How long work that cannot be broken off may go on when a command has ended: 5 s. As the engine waits for its own.
const BLOCKING_END: Duration = Duration::from_secs(5);

/// Runs a command's future on this thread.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Other, format_args!("cannot start: {error}")))?;
    let ended = runtime.block_on(command);
    // What nobody waits for any more, as a read of a folder whose server is away, may not keep the process.
    runtime.shutdown_timeout(BLOCKING_END);
    ended
}

/// The environment of this process. Its token is blanked wherever it would be shown.
pub(crate) fn environment(ui: &Ui) -> Env {
    let mut env = Env::from_process();
    own_endpoint::look_behind(&mut env);
    if let Some(token) = &env.token {
        ui.hide(token.as_str());
    }
    for secret in zest_hub::endpoint_secrets(&env.endpoint) {
        ui.hide(&secret);
    }
    env
}

/// The repository a command line names.
pub(crate) fn repo_id(text: &str, kind: Option<RepoKind>) -> Result<RepoId, Failure> {
    let usage = |message: String| {
        Failure::new(Kind::Usage, message).hint("name a repository as ORG/NAME, for example Qwen/Qwen3-0.6B")
    };
    let (kind, name) = args::split_repo(text, kind).map_err(usage)?;
    let kind = match kind {
        RepoKind::Model => RepoType::Model,
        RepoKind::Dataset => RepoType::Dataset,
        RepoKind::Space => RepoType::Space,
    };
    RepoId::new(kind, name).map_err(|error| usage(error.to_string()))
}

/// The repository that a command line names, by name or address. What an address says besides is put where flags would put it.
pub(crate) fn repo_of(of: &mut RepoArgs, env: &Env) -> Result<RepoId, Failure> {
    let usage = |message: String| Failure::new(Kind::Usage, message);
    let Some(place) = place::parse(&of.repo, &env.endpoint).map_err(usage)? else {
        return repo_id(&of.repo, of.kind);
    };
    if let Some(revision) = place.revision {
        if of.revision != args::REVISION && of.revision != revision {
            let text = format!("{:?} and --revision {:?} name two revisions", of.repo, of.revision);
            return Err(usage(text).hint("say it once"));
        }
        of.revision = revision;
    }
    if let (Some(kind), Some(flag)) = (place.kind, of.kind)
        && kind != flag
    {
        return Err(usage(format!("{:?} and --type name two different kinds of repository", of.repo)));
    }
    of.kind = place.kind.or(of.kind);
    of.files.splice(..0, place.path);
    repo_id(&place.name, of.kind)
}

/// The page of a repository, for people.
pub(crate) fn page(env: &Env, repo: &RepoId) -> String {
    format!("{}/{repo}", zest_store::Endpoint::new(&env.endpoint))
}

impl From<OriginPolicy> for Policy {
    fn from(policy: OriginPolicy) -> Self {
        match policy {
            OriginPolicy::Fastest => Self::Fastest,
            OriginPolicy::SpareOrigin => Self::SpareOrigin,
        }
    }
}

/// The account of what was given to peers today, in zest's cache.
const UPLOADS: &str = "uploads.json";

/// A session for `env` that gives what lies in these folders, and is otherwise as usual.
pub(crate) fn config(env: &Env, folders: Folders) -> Result<SessionConfig, Failure> {
    let config = SessionConfig::new(env.clone()).map_err(|error| store_failure(&error))?;
    Ok(config.folders(folders))
}

/// Starts it.
pub(crate) async fn start(config: SessionConfig) -> Result<Session, Failure> {
    Session::start(config).await.map_err(|error| engine_failure(&error))
}

/// What may be given per day, on the account that all processes of a cache share.
pub(crate) fn upload_budget(env: &Env, args: &UploadArgs) -> Option<UploadBudget> {
    let account = env.zest_cache.join(UPLOADS);
    args.upload_budget.map(|bytes| UploadBudget { bytes, account })
}

/// Every address of this machine.
pub(crate) fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(address::everywhere(), port)
}

/// A failure of the store, by what it was.
pub(crate) fn store_failure(error: &StoreError) -> Failure {
    let kind = match error.kind() {
        StoreErrorKind::Full | StoreErrorKind::ReadOnly | StoreErrorKind::Failing => Kind::Disk,
        StoreErrorKind::InTheWay | StoreErrorKind::Name => Kind::Place,
        StoreErrorKind::WrongBytes => Kind::Verify,
        StoreErrorKind::Changed | StoreErrorKind::Damaged => Kind::Other,
    };
    let failure = Failure::new(kind, error);
    match zest_runtime_tokio::store_hint(error.kind()) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A name that this system does not take.
pub(crate) fn no_congestion_control(error: impl std::fmt::Display) -> Failure {
    let allowed = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_allowed_congestion_control");
    let hint = match allowed {
        Ok(names) => format!("this system allows: {}", names.trim()),
        Err(_) => "leave --congestion-control out: it is for Linux".to_owned(),
    };
    Failure::new(Kind::Usage, error).hint(hint)
}

/// What helps where nobody can be listened for.
pub(crate) fn no_listener_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrNotAvailable => {
            "name an address of this machine; without --listen it is all of them"
        }
        _ => "choose another port with --listen; 0 takes any free one",
    }
}

pub(crate) fn engine_failure(error: &EngineError) -> Failure {
    match error {
        EngineError::Listen { source, .. } => {
            Failure::new(Kind::Network, error).hint(no_listener_hint(source))
        }
        EngineError::DhtPort { .. } => {
            Failure::new(Kind::Network, error).hint("choose another one with --dht-port, or leave it out")
        }
        EngineError::CongestionControl { .. } => no_congestion_control(error),
        EngineError::Limit { .. } => Failure::new(Kind::Usage, error),
        EngineError::Budget { .. } => {
            Failure::new(Kind::Disk, error).hint("make the file writable, or leave --upload-budget out")
        }
        _ => Failure::new(Kind::Other, error),
    }
}

pub(crate) fn pull_failure(error: &PullError) -> Failure {
    let retry_after = match error.kind() {
        PullErrorKind::RateLimited { retry_after } => retry_after,
        _ => None,
    };
    let PullFailure { message, hint, files, .. } = PullFailure::from(error);
    let no_repo =
        matches!(error, PullError::Hub(HubError::RepoNotFound { .. } | HubError::LoginNeeded { .. }));
    Failure { kind: pull_kind(error), message, hint, retry_after, files, no_repo }
}

fn pull_kind(error: &PullError) -> Kind {
    match error.kind() {
        PullErrorKind::Usage => Kind::Usage,
        PullErrorKind::Auth | PullErrorKind::Gated => Kind::Auth,
        PullErrorKind::NotFound => Kind::NotFound,
        PullErrorKind::Offline | PullErrorKind::Network | PullErrorKind::RateLimited { .. } => Kind::Network,
        PullErrorKind::Verify => Kind::Verify,
        PullErrorKind::Disk => Kind::Disk,
        PullErrorKind::Place => Kind::Place,
        PullErrorKind::Interrupted => Kind::Interrupted,
        PullErrorKind::Protocol | PullErrorKind::Other => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn work_that_hangs_does_not_keep_a_command_that_has_ended() {
        let (gate, hangs) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            let outcome = block_on(async {
                let (begun, is_begun) = tokio::sync::oneshot::channel();
                tokio::task::spawn_blocking(move || {
                    let _ = begun.send(());
                    let _ = hangs.recv();
                });
                is_begun.await.map_err(|error| Failure::new(Kind::Other, error))
            });
            ended.send(outcome.is_ok()).expect("the test waits");
        });
        assert!(end.recv_timeout(Duration::from_secs(60)).expect("the command's end"));
        drop(gate);
    }
}
