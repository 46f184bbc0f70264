//! A Hub on the same files whose storage is switched off: what a pull gets then, it has from peers.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;
use zest_hub_server::{ServeConfig, serve};

use super::Error;

/// Runs on a thread of this process, for no flag of `zest hub` can break it. Ends when dropped.
#[derive(Debug)]
pub struct QuietHub {
    /// Where it listens, as an URL.
    pub endpoint: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl QuietHub {
    /// Serves `root`.
    ///
    /// # Errors
    /// When it cannot listen or read.
    pub fn start(root: &Path) -> Result<Self, Error> {
        let config = ServeConfig::new(root, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                let served = match serve(config).await {
                    Ok(served) => served,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                served.faults().set_cdn_off(true);
                // An error here or there means that whoever waits is gone.
                let _ = ready.send(Ok(served.endpoint()));
                let _ = stopped.await;
                served.shutdown().await;
            });
        });
        let endpoint = started.recv()??;
        Ok(Self { endpoint, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for QuietHub {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
