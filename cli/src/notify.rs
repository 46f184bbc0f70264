//! What a service manager hears of a daemon that it has started (sd_notify(3)): that it can be asked, that it lives, that it ends.

use crate::engine::Session;
use crate::os::Notified;
use std::ffi::OsStr;
use std::time::Duration;

/// The manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    socket: Option<Notified>,
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
        let socket = socket.and_then(Notified::at);
        // Twice as often as it must be, as sd_watchdog_enabled(3) recommends.
        let every = watchdog_us.filter(|us| *us > 1).map(|us| Duration::from_micros(us / 2));
        Self { socket, every }
    }

    /// Tells it something. One that does not listen is no reason to stop.
    pub(crate) fn say(&self, text: &str) {
        if let Some(socket) = &self.socket {
            socket.say(text);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_hears_twice_in_the_time_that_it_wants_to_and_never_if_it_does_not() {
        let place = OsStr::new("/nobody/listens/here");
        let manager = Manager::new(Some(place), Some(60_000_000));
        assert_eq!(manager.every, Some(Duration::from_secs(30)));
        manager.say("READY=1");
        Manager::new(None, None).say("READY=1");
        assert!(Manager::new(Some(OsStr::new("")), Some(0)).every.is_none());
    }
}
