//! What a service manager hears of a daemon that it has started (sd_notify(3)): that it can be asked, that it lives, that it ends.

use crate::engine::Session;
use std::ffi::OsStr;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that we live.
    every: Option<Duration>,
}

impl Manager {
    /// As `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` say.
    pub(crate) fn from_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET");
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        Self::new(socket.as_deref(), number("WATCHDOG_USEC").filter(|_| is_ours))
    }

    fn new(socket: Option<&OsStr>, watchdog_us: Option<u64>) -> Self {
        let socket = socket.and_then(address).and_then(|to| Some((UnixDatagram::unbound().ok()?, to)));
        // Twice as often as it must be, as sd_watchdog_enabled(3) recommends.
        let every = watchdog_us.filter(|us| *us > 1).map(|us| Duration::from_micros(us / 2));
        Self { socket, every }
    }

    /// Tells it something. One that does not listen is no reason to stop.
    pub(crate) fn say(&self, text: &str) {
        if let Some((socket, to)) = &self.socket {
            let _best_effort = socket.send_to_addr(text.as_bytes(), to);
        }
    }

    /// Tells it that the engine answers, as long as that does. Never ends.
    pub(crate) async fn keep_alive(&self, session: &Session) {
        let Some(every) = self.every.filter(|_| self.socket.is_some()) else {
            return std::future::pending().await;
        };
        loop {
            let _answered = session.stats().await;
            self.say("WATCHDOG=1");
            tokio::time::sleep(every).await;
        }
    }
}

/// A path, or behind an `@` a name of Linux's own.
fn address(socket: &OsStr) -> Option<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.to_str().and_then(|name| name.strip_prefix('@')) {
        use std::os::linux::net::SocketAddrExt as _;
        return SocketAddr::from_abstract_name(name).ok();
    }
    SocketAddr::from_pathname(socket).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_what_is_said_and_none_is_no_error() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notify");
        let ears = UnixDatagram::bind(&path).expect("a socket");
        let manager = Manager::new(Some(path.as_os_str()), Some(60_000_000));
        manager.say("READY=1");
        let mut heard = [0; 64];
        let len = ears.recv(&mut heard).expect("it was sent");
        assert_eq!((&heard[..len], manager.every), (&b"READY=1"[..], Some(Duration::from_secs(30))));
        drop(ears);
        manager.say("STOPPING=1");
        Manager::new(None, None).say("READY=1");
        assert!(Manager::new(Some(OsStr::new("")), Some(0)).every.is_none());
    }
}
