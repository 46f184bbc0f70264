//! Keeps zest at one address for as long as a command needs it: a daemon that died is begun again, and who connects meanwhile waits.

use crate::background;
use crate::failure::Failure;
use crate::held::Held;
use crate::ui::Ui;
use std::net::SocketAddr;
use std::time::Duration;
use zest_daemon::{Client, Places, Running};

/// Time between two looks whether the daemon lives: 50 ms. It is one attempt at a lock.
const LOOK: Duration = Duration::from_millis(50);

/// Time between two tries to begin a daemon that does not begin: 1 s.
const AGAIN: Duration = Duration::from_secs(1);

/// Tries in a row after which it is given up: 5. Then whoever connects is refused, and does without.
const TRIES: u32 = 5;

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
        if client.addr() != held.addr() {
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
