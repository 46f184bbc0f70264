//! Keeps zest at one address for as long as a command needs it: a daemon that died is begun again, and who connects meanwhile waits.

use crate::background;
use crate::failure::Failure;
use crate::ui::Ui;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use zest_daemon::{Client, DaemonError, Places, Running};

/// Time between two looks whether the daemon lives: 50 ms. It is one attempt at a lock.
const LOOK: Duration = Duration::from_millis(50);

/// Time between two tries to begin a daemon that does not begin: 1 s.
const AGAIN: Duration = Duration::from_secs(1);

/// Tries in a row after which it is given up: 5. Then whoever connects is refused, and does without.
const TRIES: u32 = 5;

/// Descriptors that are handed over are numbered from here on: 100, beyond what a process has at its start.
const HANDED_FROM: i32 = 100;

/// The listening sockets of an API's port, held besides the daemon.
#[derive(Debug)]
pub(crate) struct Held {
    listeners: Vec<TcpListener>,
    addr: SocketAddr,
}

/// What tells a program of the sockets that it is given (sd_listen_fds(3)).
pub(crate) type Words = [(&'static str, OsString); 2];

impl Held {
    /// This port of 127.0.0.1 and, where there is IPv6, of `::1`; 0 for any free one.
    pub(crate) async fn bind(port: u16) -> Result<Self, DaemonError> {
        let cannot =
            |source| DaemonError::Listen { addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), source };
        let opened = zest_daemon::listen_here(port).await?;
        let listeners = opened.into_iter().map(tokio::net::TcpListener::into_std);
        let listeners = listeners.collect::<io::Result<Vec<TcpListener>>>().map_err(cannot)?;
        let addr = listeners[0].local_addr().map_err(cannot)?;
        Ok(Self { listeners, addr })
    }

    /// Copies of the sockets for a program that is begun now, to be kept until it has begun, and what tells it of them.
    pub(crate) fn hand_over(&self) -> io::Result<(Vec<OwnedFd>, Words)> {
        let copies: io::Result<Vec<OwnedFd>> = self
            .listeners
            .iter()
            .map(|listener| Ok(rustix::io::fcntl_dupfd_cloexec(listener, HANDED_FROM)?))
            .collect();
        let mut copies = copies?;
        let first = copies.first().map_or(HANDED_FROM, |fd| fd.as_raw_fd());
        // They are told by the first one's number and how many there are.
        let in_a_row =
            copies.iter().zip(first..).take_while(|(fd, number)| fd.as_raw_fd() == *number).count();
        copies.truncate(in_a_row);
        for copy in &copies {
            rustix::io::fcntl_setfd(copy, rustix::io::FdFlags::empty())?;
        }
        let words = [
            ("LISTEN_FDS", copies.len().to_string().into()),
            ("LISTEN_FDS_FIRST_FD", first.to_string().into()),
        ];
        Ok((copies, words))
    }

    /// Waits until somebody connects, and leaves him to whoever accepts.
    async fn wanted(&self) -> io::Result<()> {
        let Some(first) = self.listeners.first() else { return std::future::pending().await };
        let (one, two) = (watch(first)?, watch(self.listeners.last().unwrap_or(first))?);
        tokio::select! {
            ready = one.readable() => ready.map(drop),
            ready = two.readable() => ready.map(drop),
        }
    }
}

/// Tells when somebody connects.
#[expect(
    deprecated,
    reason = "it is unsound for types that give their descriptor away, and this one is owned"
)]
fn watch(listener: &TcpListener) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(rustix::io::fcntl_dupfd_cloexec(listener, 0)?, Interest::READABLE)
}

/// The daemon that a command uses.
#[derive(Debug)]
pub(crate) struct Keeper {
    places: Places,
    addr: SocketAddr,
    /// Our own hold of its port; none of one that others have begun, as long as it lives.
    held: Option<Held>,
}

impl Keeper {
    /// The daemon that runs, or one that is begun for this.
    pub(crate) async fn reach(places: &Places, ui: &Ui) -> Result<Self, String> {
        let found = |client: &Client| Self { places: places.clone(), addr: client.addr(), held: None };
        match Client::find(places).await {
            Ok(Some(client)) => return Ok(found(&client)),
            Ok(None) => {}
            Err(error) => return Err(error.to_string()),
        }
        let held = Held::bind(0).await.map_err(|error| error.to_string())?;
        background::begin_on_demand(places, &held).await.map_err(|failure| failure.to_string())?;
        let client = Client::find(places).await.map_err(|error| error.to_string())?;
        let client = client.ok_or("it ended as soon as it had begun")?;
        if client.addr() != held.addr {
            // Somebody else was quicker.
            return Ok(found(&client));
        }
        ui.say("zest was begun in the background; it ends when nobody has needed it for 30 minutes");
        crate::first_run::of_on_demand(places, ui).await;
        Ok(Self { held: Some(held), ..found(&client) })
    }

    /// Where it is.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sees to it that somebody answers there. Ends only when that cannot be had any more.
    pub(crate) async fn keep(mut self, ui: &Ui) {
        loop {
            while !matches!(Running::find(&self.places), Ok(None)) {
                tokio::time::sleep(LOOK).await;
            }
            if self.held.is_none() {
                // Another `zest run` may have it, and see to it.
                self.held = Held::bind(self.addr.port()).await.ok();
            }
            let Some(held) = &self.held else {
                tokio::time::sleep(LOOK).await;
                continue;
            };
            // One that ended because nobody needed it is not needed yet.
            let asked = tokio::select! {
                asked = held.wanted() => asked,
                () = self.is_there() => continue,
            };
            if let Err(error) = asked {
                return ui.say(format!("zest is gone: {error}"));
            }
            // Said before: the command may have what it wants and be over before the new one has reported.
            ui.say("zest is gone: it is begun again where it was");
            if let Err(failure) = self.begin(held).await {
                self.held = None;
                return ui.say(format!("zest cannot be begun again: {failure}"));
            }
        }
    }

    /// Waits until there is a daemon.
    async fn is_there(&self) {
        while matches!(Running::find(&self.places), Ok(None)) {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn begin(&self, held: &Held) -> Result<(), Failure> {
        let mut tries = 0;
        loop {
            match background::begin_on_demand(&self.places, held).await {
                Err(_) if tries + 1 < TRIES => tries += 1,
                outcome => return outcome,
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_connects_where_nobody_is_waits_and_is_noticed() {
        let held = Held::bind(0).await.expect("a port");
        assert!(Held::bind(held.addr.port()).await.is_err(), "it is ours");
        let quiet = tokio::time::timeout(Duration::from_millis(20), held.wanted()).await;
        assert!(quiet.is_err(), "nobody came");
        let caller = std::net::TcpStream::connect(held.addr).expect("he is not refused");
        held.wanted().await.expect("he is noticed");
        let (accepted, _) = held.listeners[0].accept().expect("and left to whoever accepts");
        assert_eq!(accepted.peer_addr().expect("there"), caller.local_addr().expect("there"));
    }

    #[tokio::test]
    async fn what_is_handed_over_is_numbered_in_a_row() {
        let held = Held::bind(0).await.expect("a port");
        let (handed, words) = held.hand_over().expect("copied");
        assert_eq!(words[0].1, handed.len().to_string().as_str());
        assert_eq!(words[1].1, handed[0].as_raw_fd().to_string().as_str());
        assert!(handed.iter().all(|fd| rustix::io::fcntl_getfd(fd).is_ok_and(|flags| flags.is_empty())));
    }
}
