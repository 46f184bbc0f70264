//! `zest serve` as the daemon of a cache: its claim, and the API over its session.

use crate::args::HttpArgs;
use crate::engine::Session;
use crate::failure::{Failure, Kind};
use crate::ui::{Ui, units};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zest_daemon::{
    About, Api, DaemonError, Doors, Environment, Given, Instance, Opened, Places, Record, Secret, Socket,
    Stop, Ways,
};
use zest_store::Env;

/// The claim to a cache, before there is a session.
pub(crate) struct Claim {
    instance: Instance,
    api: Option<(Opened, Option<Socket>, Secret)>,
    places: Places,
    log: Option<PathBuf>,
}

/// The daemon.
pub(crate) struct Daemon {
    /// Last to go: until then nobody else begins.
    instance: Instance,
    api: Option<Api>,
    stop: Stop,
    places: Places,
}

impl Claim {
    /// Claims the cache, and opens the API's port. `None`: zest's cache takes no files, and nobody asked for an API.
    pub(crate) async fn new(env: &Env, http: &HttpArgs, ui: &Ui) -> Result<Option<Self>, Failure> {
        let doors = doors(http)?;
        if http.log_file.is_some() {
            // A session of its own: it stays when the terminal goes. Whoever has one already needs none.
            crate::os::leave_terminal();
        }
        let places = Places::new(&env.zest_cache);
        let instance = match Instance::claim(&places) {
            Ok(instance) => instance,
            Err(error @ DaemonError::File { .. }) if http.http.is_none() && http.http_port.is_none() => {
                ui.say(format!("without an API: {error}"));
                return Ok(None);
            }
            Err(error) => return Err(failure(&error)),
        };
        let mut given = Given::from_env();
        let api = match doors {
            Some(doors) => {
                let also = http.secret_file.as_deref().map(Secret::from_file).transpose();
                let also = also.map_err(|error| failure(&error))?;
                also.iter().for_each(|secret| ui.hide(secret.as_str()));
                let opened = match given.doors().map_err(|error| failure(&error))? {
                    // What was named is used or refused.
                    Some(opened) if matches!(doors, Doors::Usual) => opened,
                    _ => doors.open().await.map_err(|error| failure(&error))?,
                };
                let opened = opened.known_as(http.public_url.clone()).opened_by(also);
                let mut opened = opened.with_images(http.oci);
                if let Some(addr) = http.metrics_addr {
                    opened = opened.with_figures(addr).await.map_err(|error| failure(&error))?;
                    ui.say(
                        opened
                            .figures()
                            .map(|at| format!("figures at http://{at}/metrics"))
                            .unwrap_or_default(),
                    );
                }
                let secret = Secret::read_or_make(&places).map_err(|error| failure(&error))?;
                ui.hide(secret.as_str());
                let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
                let socket = match Socket::handed_over(&mut given)
                    .map_or_else(|| Socket::open(&places, runtime_dir.as_deref()), Ok)
                {
                    Ok(socket) => Some(socket),
                    Err(error) => {
                        ui.say(format!("without a Unix socket: {error}"));
                        None
                    }
                };
                Some((opened, socket, secret))
            }
            None => None,
        };
        Ok(Some(Self { instance, api, places, log: http.log_file.clone() }))
    }

    /// Answers for this session from now on, and says where.
    pub(crate) fn open(
        self,
        session: &Session,
        env: &Env,
        ways: Ways,
        on_demand: bool,
    ) -> Result<Daemon, Failure> {
        let Self { instance, api, places, log } = self;
        let stop = Stop::default();
        let http = api.as_ref().map(|(opened, ..)| opened.addrs().to_vec()).unwrap_or_default();
        let socket = api.as_ref().and_then(|(_, socket, _)| socket.as_ref());
        let record =
            Record::of_this_process(http.clone(), session.local_addrs().to_vec(), log).with_socket(socket);
        let api = match api {
            Some((opened, socket, secret)) => {
                let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let about = About {
                    http,
                    socket: record.socket.clone(),
                    zest_cache: env.zest_cache.clone(),
                    environment: Environment::of(env),
                    ways,
                    started,
                    on_demand,
                };
                let api = Api::start(opened, socket, session.clone(), secret, about, stop.clone());
                Some(api.map_err(|error| failure(&error))?)
            }
            None => None,
        };
        instance.announce(&record).map_err(|error| failure(&error))?;
        Ok(Daemon { instance, api, stop, places })
    }
}

impl Daemon {
    /// Where programs can ask, as addresses of the web.
    pub(crate) fn urls(&self) -> Vec<String> {
        let addrs = self.api.as_ref().map(Api::addrs).unwrap_or_default();
        addrs.iter().map(|addr| format!("http://{addr}")).collect()
    }

    /// For people.
    pub(crate) fn words(&self) -> Vec<String> {
        let (Some(api), Some(url)) = (&self.api, self.urls().first().cloned()) else { return Vec::new() };
        let secret = self.places.secret();
        let mut lines =
            vec![format!("programs of this machine can ask {url}; the secret is in {}", secret.display())];
        let pulls = |count: usize| units::counted(count as u64, "pull");
        if api.resumed() > 0 {
            lines.push(format!("going on with {} of an earlier run", pulls(api.resumed())));
        }
        if api.waiting() > 0 {
            lines.push(format!("{} of an earlier run had a token: ask for them again", pulls(api.waiting())));
        }
        lines
    }

    /// Waits until `POST /v1/stop`.
    pub(crate) async fn asked_to_stop(&self) {
        self.stop.asked().await;
    }

    /// Waits until nobody has needed it for so long.
    pub(crate) async fn idle(&self, after: Duration) {
        match &self.api {
            Some(api) => api.idle(after).await,
            None => std::future::pending().await,
        }
    }

    /// New pulls are refused from now on.
    pub(crate) fn stopping(&self) {
        self.stop.ask();
    }

    /// Ends the API, and gives the cache free.
    pub(crate) async fn end(self) {
        if let Some(api) = self.api {
            api.shutdown().await;
        }
        drop(self.instance);
    }
}

/// Where the API is to listen; `None`: nowhere.
pub(crate) fn doors(http: &HttpArgs) -> Result<Option<Doors>, Failure> {
    let usage = |text: String, hint: &str| Err(Failure::new(Kind::Usage, text).hint(hint));
    if http.no_http {
        return Ok(None);
    }
    Ok(Some(match (http.http, http.http_port) {
        (Some(addr), Some(port)) if addr.port() != port => {
            let text = format!("--http says port {} and --http-port says {port}", addr.port());
            return usage(text, "say it once");
        }
        (Some(addr), _) if !addr.ip().to_canonical().is_loopback() => {
            let is_named = http.public_url.is_some() && http.secret_file.is_some();
            let is_tls = http.public_url.as_ref().is_some_and(|url| url.starts_with("https://"));
            if !is_named || !(is_tls || http.insecure_http) {
                return Err(failure(&DaemonError::NotLoopback { addr }));
            }
            Doors::Anywhere(addr)
        }
        (Some(addr), _) => Doors::At(addr),
        (None, Some(port)) => Doors::Port(port),
        (None, None) => Doors::Usual,
    }))
}

/// A failure of the daemon's own.
pub(crate) fn failure(error: &DaemonError) -> Failure {
    match error {
        DaemonError::Running(_) => {
            Failure::new(Kind::Other, error).hint("`zest status` shows it, `zest stop` ends it")
        }
        DaemonError::File { .. } => Failure::new(Kind::Disk, error),
        DaemonError::Listen { source, .. } => {
            let hint = match source.kind() {
                std::io::ErrorKind::AddrNotAvailable => "name an address of this machine with --http",
                _ => "choose another port with --http-port; 0 takes any free one",
            };
            Failure::new(Kind::Network, error).hint(hint)
        }
        DaemonError::NotLoopback { .. } => {
            Failure::new(Kind::Usage, error).hint(
                "name 127.0.0.1 or ::1; for others it takes --public-url, --secret-file, and https:// or --insecure-http",
            )
        }
        _ => Failure::new(Kind::Other, error),
    }
}

/// The places of a process's address in a record, for messages.
pub(crate) fn url(addrs: &[SocketAddr]) -> Option<String> {
    addrs.first().map(|addr| format!("http://{addr}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(http: Option<&str>, http_port: Option<u16>) -> HttpArgs {
        let http = http.map(|addr| addr.parse().expect("an address"));
        HttpArgs { http, http_port, ..HttpArgs::default() }
    }

    #[test]
    fn an_address_that_is_not_here_is_not_a_port_that_is_taken() {
        let hint = |kind: std::io::ErrorKind| {
            let addr = "127.0.0.1:5".parse().expect("an address");
            failure(&DaemonError::Listen { addr, source: kind.into() }).hint.expect("what helps")
        };
        assert!(hint(std::io::ErrorKind::AddrNotAvailable).contains("--http"), "no port helps");
        assert!(!hint(std::io::ErrorKind::AddrNotAvailable).contains("port"));
        assert!(hint(std::io::ErrorKind::AddrInUse).contains("--http-port"));
    }

    #[test]
    fn two_names_of_one_thing_may_not_contradict_each_other() {
        assert_eq!(doors(&args(None, None)), Ok(Some(Doors::Usual)));
        assert_eq!(doors(&args(None, Some(5))), Ok(Some(Doors::Port(5))));
        let at: SocketAddr = "127.0.0.1:5".parse().expect("an address");
        assert_eq!(doors(&args(Some("127.0.0.1:5"), Some(5))), Ok(Some(Doors::At(at))));
        assert_eq!(doors(&args(Some("127.0.0.1:5"), Some(6))).expect_err("two ports").kind, Kind::Usage);
        assert_eq!(doors(&args(Some("0.0.0.0:5"), None)).expect_err("for others").kind, Kind::Usage);
        let far: SocketAddr = "0.0.0.0:5".parse().expect("an address");
        let for_others = |url: &str, insecure_http| HttpArgs {
            public_url: Some(url.to_owned()),
            secret_file: Some("/s".into()),
            insecure_http,
            ..args(Some("0.0.0.0:5"), None)
        };
        assert_eq!(doors(&for_others("https://zest.example", false)), Ok(Some(Doors::Anywhere(far))));
        assert_eq!(doors(&for_others("http://zest.example:5", true)), Ok(Some(Doors::Anywhere(far))));
        assert!(
            doors(&for_others("http://zest.example:5", false)).is_err(),
            "everybody could read the secret"
        );
        let no_secret = HttpArgs { secret_file: None, ..for_others("https://zest.example", false) };
        assert!(doors(&no_secret).is_err());
        assert_eq!(doors(&HttpArgs { no_http: true, ..HttpArgs::default() }), Ok(None));
    }
}
