//! Answers that are read in small pieces, for who receives no faster than a line bears.
//!
//! What is not read stays in the socket, and its window closes; what is read opens it again, and the sender sends as much at once. reqwest's
//! connections read all that is there, 64 to 400 KiB: on a line of 20 Mbit/s that is a queue of up to 160 ms each time. Here they read
//! [`PIECE`], which reqwest has no setting for: so these are connections of the library below it, with the same names, certificates and
//! time limits. They go straight to the server: where a proxy may stand between, reqwest asks as always.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::header::{HeaderValue, USER_AGENT};
use reqwest::{Body, Request, Response};
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;

use super::names::look_up;
use super::text::{cause, shorter};

/// Bytes that are read at once: 16 KiB, as the least turn of a download cap. Ours; 7 ms of a line of 20 Mbit/s.
const PIECE: usize = 16 << 10;
/// An idle connection is kept for 90 s, as reqwest has it.
const IDLE: Duration = Duration::from_secs(90);

/// A way to servers, and the connections to them.
pub(super) struct Gentle(Client<HttpsConnector<HttpConnector<Lookup>>, Body>);

/// Why there is no answer.
pub(super) struct NoAnswer {
    /// No connection could be made.
    pub(super) unreachable: bool,
    pub(super) reason: String,
}

impl NoAnswer {
    pub(super) fn of(error: &reqwest::Error) -> Self {
        Self { unreachable: error.is_connect(), reason: shorter(&cause(error)) }
    }
}

impl Gentle {
    /// Keeps so many idle connections to a server.
    ///
    /// # Errors
    /// The system's certificates cannot be had.
    pub(super) fn new(connect_timeout: Duration, idle_max: usize) -> Result<Self, rustls::Error> {
        let provider = CryptoProvider::get_default().cloned();
        let provider = provider.unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
        let verifier = rustls_platform_verifier::Verifier::new(provider.clone())?;
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let mut http = HttpConnector::new_with_resolver(Lookup);
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(connect_timeout));
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(idle_max)
            .http1_read_buf_exact_size(PIECE)
            .build(https.wrap_connector(http));
        Ok(Self(client))
    }

    /// Sends a request as reqwest would.
    pub(super) async fn send(&self, request: Request, agent: &HeaderValue) -> Result<Response, NoAnswer> {
        let mut request = http::Request::try_from(request).map_err(|error| NoAnswer::of(&error))?;
        request.headers_mut().insert(USER_AGENT, agent.clone());
        match self.0.request(request).await {
            Ok(answer) => Ok(Response::from(answer.map(Body::wrap))),
            Err(error) => Err(NoAnswer { unreachable: error.is_connect(), reason: shorter(&cause(&error)) }),
        }
    }
}

/// Names to addresses, as everywhere here.
#[derive(Clone, Copy)]
pub(super) struct Lookup;

impl tower_service::Service<Name> for Lookup {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let found = look_up(name.as_str()).await?;
            let addrs: Vec<SocketAddr> = found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(addrs.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn however_much_is_there_little_is_read_at_once() {
        const BYTES: usize = 1 << 20;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("its address"));
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            let mut asked = [0; 1024];
            let n = socket.read(&mut asked).await.expect("a request");
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\n\r\n");
            socket.write_all(head.as_bytes()).await.expect("it is read");
            socket.write_all(&vec![7; BYTES]).await.expect("it is read");
            String::from_utf8_lossy(&asked[..n]).to_lowercase()
        });
        let gentle = Gentle::new(Duration::from_secs(10), 1).expect("certificates");
        let request = Request::new(reqwest::Method::GET, url.parse().expect("an address"));
        let mut answer = gentle
            .send(request, &HeaderValue::from_static("zest/0"))
            .await
            .unwrap_or_else(|none| panic!("{}", none.reason));
        assert!(answer.remote_addr().is_some_and(|addr| addr.ip().is_loopback()));
        let (mut all, mut most) = (0, 0);
        while let Some(bytes) = answer.chunk().await.expect("more") {
            (all, most) = (all + bytes.len(), most.max(bytes.len()));
        }
        assert_eq!(all, BYTES);
        assert!(most <= PIECE, "{most} bytes at once");
        let asked = server.await.expect("it served");
        assert!(asked.contains("user-agent: zest/0") && asked.contains("host: 127.0.0.1"), "{asked}");
    }
}
