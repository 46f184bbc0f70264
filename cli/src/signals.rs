//! Ctrl-C and SIGTERM: the first asks the command to stop cleanly, the second ends the process.
//!
//! Ctrl-Z stops it with the cursor below what is drawn, where the shell writes on.
//!
//! The signals are received on a thread of their own, so that the second one works even if the command hangs.

use crate::failure::{Failure, Kind};
use crate::os::{Endings, Stops};
use crate::ui::Ui;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Tries to remove a folder in which other threads still write: 100.
const REMOVE_TRIES: u32 = 100;

/// Receives the signals from [`Signals::listen`] on.
#[derive(Clone)]
pub(crate) struct Signals {
    first: watch::Receiver<bool>,
    doomed: Arc<Mutex<Vec<PathBuf>>>,
}

impl Signals {
    /// Starts to listen. Call once per process.
    pub(crate) fn listen(ui: &Ui) -> Result<Self, Failure> {
        let (sender, first) = watch::channel(false);
        let doomed = Arc::new(Mutex::new(Vec::<PathBuf>::new()));
        let listed = Arc::clone(&doomed);
        let cannot = |error| Failure::new(Kind::Other, format_args!("cannot listen for signals: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        // Who draws nothing is stopped by the system.
        let ui = ui.draws().then(|| ui.clone());
        let (mut stream, mut stops) = {
            let _inside = runtime.enter();
            (
                Endings::listen().map_err(cannot)?,
                ui.is_some().then(Stops::listen).transpose().map_err(cannot)?,
            )
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let stopping = async {
                    while let (Some(stops), Some(ui)) = (&mut stops, &ui) {
                        stops.next().await;
                        ui.stop();
                    }
                    std::future::pending::<()>().await;
                };
                let ending = async {
                    stream.next().await;
                    sender.send_replace(true);
                    stream.next().await;
                    if let Some(ui) = &ui {
                        ui.leave();
                    }
                };
                runtime.block_on(async {
                    tokio::select! {
                        () = ending => {}
                        () = stopping => {}
                    }
                });
                let folders = std::mem::take(&mut *listed.lock().unwrap_or_else(|e| e.into_inner()));
                folders.iter().for_each(|folder| remove(folder));
                std::process::exit(i32::from(Kind::Interrupted.exit_code()));
            })
            .map_err(cannot)?;
        Ok(Self { first, doomed })
    }

    /// Waits for the first signal. Returns at once if it came already.
    pub(crate) async fn first(&self) {
        let mut first = self.first.clone();
        if first.wait_for(|&seen| seen).await.is_err() {
            // The thread ends only together with the process.
            std::future::pending::<()>().await;
        }
    }

    /// Whether the first signal has come.
    pub(crate) fn seen(&self) -> bool {
        *self.first.borrow()
    }

    /// Removes `folder` if a second signal ends the process.
    pub(crate) fn remove_on_exit(&self, folder: &Path) {
        self.doomed.lock().unwrap_or_else(|e| e.into_inner()).push(folder.to_owned());
    }
}

/// Removes a folder in which other threads still write: what they add meanwhile makes one try fail, and the next
/// one finds less. What stays after all tries stays: there is nobody left to tell.
fn remove(folder: &Path) {
    for _ in 0..REMOVE_TRIES {
        if std::fs::remove_dir_all(folder).is_ok() || !folder.exists() {
            return;
        }
    }
}
