//! An HTTP listener that nobody fills: whoever is slow, silent or many gives way, whatever is asked.
//!
//! [`serve`] gives each connection a place in a table. A head that does not come in time, a reader that takes
//! nothing, ends its connection; one address has at most its share of the places; and where all are taken, the connection that
//! has been idle or stalled for longest makes room for the newcomer. What is read and held for one connection is small
//! ([`BUFFER_BYTES`]), and so is what waits to be sent, if its bodies come in pieces of about that size.
//!
//! A handler finds the [`Peer`] among the request's extensions. It takes a [`Place`] for a body that may take long
//! ([`Peer::place`]), and reads what is sent to it with [`Peer::form`]. [`hosts`] tells whether the request means us at all.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use axum::{extract::Request, response::IntoResponse as _};
//! use zest_hub_server::guard::{Limits, serve};
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let answer = |_request: Request| async { "hello".into_response() };
//! serve(listener, Limits::for_this_process(), answer, std::future::pending()).await;
//! # Ok(())
//! # }
//! ```

pub mod hosts;
mod stream;
mod table;

pub use crate::limits::BUFFER_BYTES;
use crate::limits::{BODIES_MAX, CONNECTIONS_MAX, FORM_WAIT, FORMS_BYTES_MAX, HEAD_WAIT, WRITE_WAIT};
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use table::Place;
use table::{Table, Ticket};

/// Descriptors left to the rest of the program: 24, twice what a hub without connections has open.
const DESCRIPTORS_LEFT: u64 = 24;
/// Pause after the system refused a connection, for lack of descriptors as a rule: 50 ms.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listener allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; a descriptor each, and one more for the file that is sent.
    pub connections: usize,
    /// Bodies on their way at a time ([`Peer::place`]).
    pub places: usize,
    /// Bytes of requests' bodies held at a time ([`Peer::form`]).
    pub form_bytes: usize,
    /// Time for a request's head, the wait for it included.
    pub head: Duration,
    /// Time for a request's body.
    pub form: Duration,
    /// Time in which a reader must take something.
    pub write: Duration,
}

impl Limits {
    /// Those of [`crate::limits`]; with few descriptors fewer connections and bodies. What the system lets this process have is
    /// asked for first.
    #[must_use]
    pub fn for_this_process() -> Self {
        Self::for_descriptors(crate::os::descriptors())
    }

    fn for_descriptors(descriptors: u64) -> Self {
        let connections =
            (descriptors.saturating_sub(DESCRIPTORS_LEFT) / 2).clamp(4, CONNECTIONS_MAX) as usize;
        Self {
            connections,
            places: connections.min(BODIES_MAX),
            form_bytes: FORMS_BYTES_MAX,
            head: HEAD_WAIT,
            form: FORM_WAIT,
            write: WRITE_WAIT,
        }
    }
}

/// Who is on the other side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Somebody at this address.
    Address(SocketAddr),
    /// This user of this machine, as the system says: over a Unix socket.
    User(u32),
}

/// What connections come in through.
pub trait Door: Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next one. Nothing is lost if the future is dropped.
    fn accept(&self) -> impl Future<Output = std::io::Result<(Self::Stream, Side)>> + Send;
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> std::io::Result<(TcpStream, Side)> {
        let (stream, addr) = Self::accept(self).await?;
        // Without it the last bytes of an answer may wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        Ok((stream, Side::Address(addr)))
    }
}

/// Who sent a request, and over which connection.
#[derive(Clone)]
pub struct Peer {
    /// Where it comes from.
    pub side: Side,
    ticket: Arc<Ticket>,
    limits: Arc<Limits>,
}

/// Why a request's body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormError {
    /// It is longer than it may be: 413.
    TooLong,
    /// It did not come in time, or not whole: 408.
    Late,
    /// Too much is being read at a time: 503.
    Busy,
}

impl Peer {
    /// A place among the bodies on their way. Waits for one, and meanwhile has stalled connections cut.
    pub async fn place(&self) -> Place {
        self.ticket.place().await
    }

    /// Reads a request's body of at most `bytes_max`. What is held counts among that of all, and an address has its share.
    ///
    /// # Errors
    /// See [`FormError`].
    pub async fn form(&self, body: Body, bytes_max: usize) -> Result<Vec<u8>, FormError> {
        let read = async {
            let mut stream = body.into_data_stream();
            let mut held = self.ticket.hold();
            let mut form = Vec::new();
            while let Some(bytes) = stream.next().await {
                let bytes = bytes.map_err(|_| FormError::Late)?;
                if form.len() + bytes.len() > bytes_max {
                    return Err(FormError::TooLong);
                }
                if !held.grow(bytes.len()) {
                    return Err(FormError::Busy);
                }
                form.extend_from_slice(&bytes);
            }
            Ok(form)
        };
        tokio::time::timeout(self.limits.form, read).await.unwrap_or(Err(FormError::Late))
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("side", &self.side).finish_non_exhaustive()
    }
}

/// Answers the requests that come through `door` until `stop`; then lets what is under way finish. Dropping the future cuts it.
pub async fn serve<D, H, F>(door: D, limits: Limits, handler: H, stop: impl Future<Output = ()>)
where
    D: Door,
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let limits = Arc::new(limits);
    let table = Arc::new(Table::new(&limits));
    let (closing, closed) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = door.accept() => match accepted {
                Ok((stream, side)) => {
                    let Some(ticket) = table.admit(side) else { continue };
                    let peer = Peer { side, ticket: Arc::new(ticket), limits: limits.clone() };
                    connections.spawn(connection(stream, peer, handler.clone(), closed.clone()));
                }
                // Whoever hung up before we looked is no reason to wait.
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    tracing::debug!(%error, "no connection can be taken; one that is idle makes room");
                    table.make_room();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(door);
    closing.send_replace(true);
    while connections.join_next().await.is_some() {}
}

fn is_of_the_peer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection<S, H, F>(stream: S, peer: Peer, handler: H, mut closed: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let (ticket, limits) = (peer.ticket.clone(), peer.limits.clone());
    let io = TokioIo::new(stream::Watched::new(stream, ticket.clone(), limits.write));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let ticket = peer.ticket.clone();
        ticket.busy();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        let answer = handler(request);
        async move {
            let answer = answer.await;
            Ok::<_, std::convert::Infallible>(answer.map(|body| Answer { body, ticket }))
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(io, service);
    let mut serving = pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => return,
        () = ticket.cut() => return,
        _ = closed.wait_for(|closed| *closed) => {}
    }
    serving.as_mut().graceful_shutdown();
    tokio::select! {
        _ = serving.as_mut() => {}
        () = ticket.cut() => {}
    }
}

/// An answer's body; its connection is idle again when it is gone.
struct Answer {
    body: Body,
    ticket: Arc<Ticket>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.ticket.idle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_give_few_connections_and_leave_some() {
        for (descriptors, connections) in [(0, 4), (64, 20), (256, 116), (1 << 20, 1024)] {
            let limits = Limits::for_descriptors(descriptors);
            assert_eq!(limits.connections, connections);
            assert!(limits.places <= connections);
        }
    }
}
