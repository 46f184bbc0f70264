//! Names to addresses, each look-up on a thread of its own.
//!
//! The system's resolver cannot be stopped: with a name server that is mute it waits as long as that is configured, and a
//! runtime waits at its end for all that its own pool still does. So no pool looks up names here; what nobody waits for any
//! more ends with the process.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::oneshot;

/// Look-ups at a time: 128. Ours; a name server that is mute for half a minute is asked for a handful of names.
const AT_ONCE: usize = 128;

/// Those under way.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// What asks the system, for clients of reqwest.
#[derive(Debug, Clone, Copy, Default)]
pub struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = look_up(name.as_str()).await?;
            Ok(Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

/// The addresses of a host, as the system knows them. Dropping the future gives up the answer; it holds up no end of a runtime.
///
/// # Errors
/// What the system's resolver says; `WouldBlock` if 128 look-ups wait for an answer.
pub async fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    match host.parse() {
        Ok(ip) => Ok(vec![ip]),
        Err(_) => apart(host.to_owned(), system).await,
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where it is called, on its own thread")]
fn system(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|addr| addr.ip()).collect())
}

/// One that is under way.
struct Turn;

impl Turn {
    fn take() -> io::Result<Self> {
        let before = RUNNING.fetch_add(1, Ordering::Relaxed);
        let turn = Self;
        match before < AT_ONCE {
            true => Ok(turn),
            false => Err(io::Error::new(io::ErrorKind::WouldBlock, "the name server answers nothing")),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn apart(
    host: String,
    ask: impl FnOnce(&str) -> io::Result<Vec<IpAddr>> + Send + 'static,
) -> io::Result<Vec<IpAddr>> {
    let turn = Turn::take()?;
    let (tell, answer) = oneshot::channel();
    std::thread::Builder::new().name("zest-names".into()).spawn(move || {
        let _nobody_waits = tell.send(ask(&host));
        drop(turn);
    })?;
    answer.await.unwrap_or_else(|_| Err(io::Error::other("the look-up ended without an answer")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_look_up_that_never_ends_holds_up_no_end_of_a_runtime() {
        let (answer, mute) = mpsc::channel::<()>();
        let (asked, is_asked) = oneshot::channel();
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let ask = move |_: &str| {
                let _ = asked.send(());
                let _ = mute.recv();
                Ok(Vec::new())
            };
            runtime.block_on(async {
                tokio::select! {
                    _ = apart("mute.test".to_owned(), ask) => panic!("nobody answers"),
                    asked = is_asked => asked.unwrap(),
                }
            });
            // Waits for all that its pool does.
            drop(runtime);
            ended.send(()).unwrap();
        });
        // The name server is mute for as long as this test runs.
        end.recv_timeout(Duration::from_secs(60)).expect("the runtime has ended");
        drop(answer);
    }

    #[tokio::test]
    async fn what_the_system_knows_is_found_and_addresses_are_themselves() {
        assert!(look_up("localhost").await.unwrap().iter().all(|ip| ip.is_loopback()));
        assert_eq!(look_up("::1").await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
        assert!(look_up("no name").await.is_err());
    }

    #[tokio::test]
    async fn look_ups_without_an_answer_have_a_bound() {
        let mut gates = Vec::new();
        let mut waiting = Vec::new();
        for _ in 0..AT_ONCE {
            let (gate, mute) = mpsc::channel::<()>();
            gates.push(gate);
            let ask = move |_: &str| {
                let _ = mute.recv();
                Ok(Vec::new())
            };
            waiting.push(tokio::spawn(apart("mute.test".to_owned(), ask)));
        }
        // Other tests of this process may have a turn, too.
        loop {
            tokio::task::yield_now().await;
            match apart("one.more".to_owned(), |_| Ok(Vec::new())).await {
                Err(error) => break assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                Ok(_) => continue,
            }
        }
        drop(gates);
        for one in waiting {
            let _answered = one.await.unwrap();
        }
        while let Err(error) = apart("one.more".to_owned(), |_| Ok(Vec::new())).await {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }
}
