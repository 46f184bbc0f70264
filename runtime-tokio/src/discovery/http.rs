//! Requests to HTTP trackers: bounded in time and size, without cookies, tokens or surprises.

use super::Finder;
use crate::limits::REDIRECTS_MAX;
use reqwest::{Client, Url, redirect};
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::task::AbortHandle;
use zest_core::discovery::Event;
use zest_core::endpoint::{Scope, scope};
use zest_core::tracker::http::REPLY_BYTES_MAX;
use zest_core::tracker::{ANSWER_WAIT, RequestId};
use zest_hub::{Coding, Names, Unpacker};

/// Time to connect: 5 s. Ours.
const CONNECT: Duration = Duration::from_secs(5);

/// Requests under way.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Requests come from this address: a tracker notes where they come from, and that is where we listen.
    from: Option<IpAddr>,
    clients: [OnceCell<Option<Client>>; 2],
    running: RefCell<BTreeMap<RequestId, (AbortHandle, String)>>,
    /// Trackers that have answered, by scheme, host and port.
    answered: RefCell<BTreeSet<String>>,
}

impl Requests {
    pub(super) fn new(from: Option<IpAddr>) -> Self {
        Self { from, ..Self::default() }
    }

    /// Requests that are not answered yet.
    pub(super) fn running(&self) -> usize {
        self.running.borrow().len()
    }

    pub(super) fn cancel(&self, id: RequestId) {
        if let Some((task, _)) = self.running.borrow_mut().remove(&id) {
            task.abort();
        }
    }

    /// Gives up what trackers were asked that have not answered anything so far: nobody waits for them at the end.
    pub(super) fn give_up_mute(&self) {
        let answered = self.answered.borrow();
        self.running.borrow_mut().retain(|_, (task, tracker)| {
            let waits = answered.contains(tracker);
            if !waits {
                task.abort();
            }
            waits
        });
    }

    /// For plain HTTP to this machine no proxy is asked and no certificate store is loaded.
    fn client(&self, url: &Url) -> Option<Client> {
        let local = url.scheme() == "http" && is_inside(url, Scope::Loopback);
        self.clients[usize::from(local)].get_or_init(|| client(self.from, local)).clone()
    }
}

fn client(from: Option<IpAddr>, local: bool) -> Option<Client> {
    // Fails only if the program has chosen another provider, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .dns_resolver(Names)
        .user_agent(concat!("zest/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::custom(hop))
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .connect_timeout(CONNECT)
        .timeout(ANSWER_WAIT)
        .local_address(from);
    if local {
        builder = builder.no_proxy().tls_certs_only(std::iter::empty());
    }
    // What is said of each tracker says it to the user.
    builder.build().inspect_err(|error| tracing::warn!(%error, "HTTP trackers cannot be asked")).ok()
}

/// A redirect stays in its scheme, and leads no deeper into our site than the tracker itself lies.
fn hop(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let to = attempt.url();
    let allowed = attempt.previous().first().is_some_and(|first| {
        let same_host = first.host_str() == to.host_str();
        let inward = is_inside(to, Scope::Local) && !is_inside(first, Scope::Local);
        first.scheme() == to.scheme() && (same_host || !inward)
    });
    match allowed && attempt.previous().len() <= REDIRECTS_MAX {
        true => attempt.follow(),
        false => attempt.error("the tracker redirects where we do not follow"),
    }
}

/// Whether a URL names this machine, or with [`Scope::Local`] one of this site, by its address.
fn is_inside(url: &Url, within: Scope) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| scope(ip) <= within)
}

/// Begins a request; its outcome goes to the finder.
pub(super) fn get(finder: &Rc<Finder>, id: RequestId, url: &str) {
    let parsed = Url::parse(url).map_err(|error| error.to_string());
    let client = parsed.and_then(|url| {
        let client = finder.net.http.client(&url).ok_or("no HTTP client")?;
        Ok((client, url))
    });
    let (client, url) = match client {
        Ok(both) => both,
        Err(why) => return finder.tell_swarms(Event::HttpFailed { id, why: &why }),
    };
    let tracker = url.origin().ascii_serialization();
    let task = tokio::task::spawn_local({
        let (finder, tracker) = (finder.clone(), tracker.clone());
        async move {
            let outcome = fetch(&client, url).await;
            finder.net.http.running.borrow_mut().remove(&id);
            match outcome {
                Ok((from, status, body)) => {
                    if let Some(addr) = from {
                        finder.tell_swarms(Event::HttpFrom { id, addr });
                    }
                    finder.net.http.answered.borrow_mut().insert(tracker);
                    finder.tell_swarms(Event::HttpReply { id, status, body: &body });
                }
                Err(why) => finder.tell_swarms(Event::HttpFailed { id, why: &why }),
            }
            finder.net.farewells.notify_one();
        }
    });
    finder.net.http.running.borrow_mut().insert(id, (task.abort_handle(), tracker));
}

/// Where the answer comes from, its status, and its body, unpacked if it came packed, and cut one byte after what is too long.
async fn fetch(client: &Client, url: Url) -> Result<(Option<SocketAddr>, u16, Vec<u8>), String> {
    let mut response = client.get(url).send().await.map_err(|error| cause(&error))?;
    let from = response.remote_addr();
    let coding =
        Coding::of(response.headers()).map_err(|coding| format!("an answer packed as {coding:?}"))?;
    let mut unpacker = coding.map(Unpacker::new);
    let mut body = Vec::new();
    let mut take = |bytes: &[u8]| {
        let room = REPLY_BYTES_MAX + 1 - body.len();
        body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        body.len() > REPLY_BYTES_MAX
    };
    'body: while let Some(bytes) = response.chunk().await.map_err(|error| cause(&error))? {
        let Some(unpacker) = &mut unpacker else {
            match take(&bytes) {
                true => break,
                false => continue,
            }
        };
        unpacker.push(&bytes);
        while let Some(bytes) = unpacker.next().map_err(|error| error.to_string())? {
            if take(&bytes) {
                break 'body;
            }
        }
    }
    Ok((from, response.status().as_u16(), body))
}

/// The innermost cause; the error's own text would show the URL, whose path may hold a key.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    match std::ptr::addr_eq(inner, error) {
        true => "request failed".to_owned(),
        false => inner.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    /// Answers one request, whatever it is, and returns what `fetch` made of the answer.
    fn answered(head: &str, body: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}/announce", listener.local_addr().unwrap())).unwrap();
        let mut answer = format!("HTTP/1.1 200 ok\r\nconnection: close\r\n{head}\r\n\r\n").into_bytes();
        answer.extend_from_slice(body);
        let tracker = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            // Whoever has enough hangs up.
            let _ = stream.write_all(&answer);
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(fetch(&client(None, true).unwrap(), url));
        drop(runtime);
        tracker.join().unwrap();
        outcome.map(|(_, status, body)| (status, body))
    }

    #[test]
    fn a_tracker_that_always_compresses_is_understood_and_a_bomb_is_cut() {
        // "d8:intervali60ee" in a stored block.
        let packed =
            b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x10\0\xef\xffd8:intervali60ee\x19\x5e\xf2\xec\x10\0\0\0";
        let plain = b"d8:intervali60ee";
        assert_eq!(answered("content-encoding: gzip", packed), Ok((200, plain.to_vec())));
        assert_eq!(answered("x: y", plain), Ok((200, plain.to_vec())));
        assert!(answered("content-encoding: gzip", plain).is_err());
        assert!(answered("content-encoding: compress", plain).is_err());
        // A frame of blocks that repeat one byte 128 KiB times each.
        let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x50];
        bomb.extend([2, 0, 16, 0].repeat(1 << 14));
        let (_, body) = answered("content-encoding: zstd", &bomb).unwrap();
        assert_eq!(body.len(), REPLY_BYTES_MAX + 1);
    }

    #[test]
    fn inside_is_what_an_address_says() {
        let inside = |text: &str, within| is_inside(&Url::parse(text).unwrap(), within);
        assert!(inside("http://127.0.0.1:1/a", Scope::Loopback) && inside("http://[::1]/", Scope::Loopback));
        assert!(inside("http://localhost/", Scope::Loopback) && inside("http://10.0.0.1/", Scope::Local));
        assert!(!inside("http://10.0.0.1/", Scope::Loopback) && !inside("http://192.0.2.1/", Scope::Local));
        assert!(!inside("http://tracker.example/", Scope::Local));
    }
}
