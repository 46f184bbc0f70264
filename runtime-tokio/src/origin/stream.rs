//! One range of a xorb as it streams in, over as many connections as it takes.
//!
//! A connection that was begun before a line broke may hear of its return much later than a new one, and some servers give a
//! connection next to nothing. So while the origin is silent, or this stream trickles, a new connection is opened beside it for
//! the bytes that are still to come, and whichever gives something goes on. No byte that came is asked for again.

use super::Origin;
use crate::traffic::Way;
use crate::transport::Transport;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;
use zest_hub::{Body, Cas, HubError, TRICKLE_BYTES_S};

/// Silence after which a stream is looked at: 2 s.
const STALL: Duration = Duration::from_secs(2);
/// Silence of all transfers after which one is given up: 10 s.
const STALL_OF_ALL: Duration = Duration::from_secs(10);
/// Connections beside each other for one range, at most: 5.
const BESIDE: usize = 5;
/// The rate is looked at over 10 s at first, and over twice as long each time that a new connection was no better: a line that
/// has no more must not be held up by that.
const WINDOW: Duration = Duration::from_secs(10);

/// Why a stream gives nothing more.
pub(crate) enum End {
    /// The origin's word, or the network's.
    Hub(HubError),
    /// No byte for so long.
    Silence(Duration),
}

/// A connection with its first bytes, and where in the object they begin.
type Opened = Result<(Body, Option<Bytes>, u64), HubError>;

/// A range under way.
pub(crate) struct Stream {
    origin: Rc<Origin>,
    transport: Rc<Transport>,
    cas: Cas,
    url: String,
    body: Option<Body>,
    /// What is still to come.
    left: Range<u64>,
    beside: FuturesUnordered<Pin<Box<dyn Future<Output = Opened>>>>,
    window: Duration,
    /// When the rate was last looked at, and where the stream was then.
    looked: (Instant, u64),
    way: Way,
}

impl Stream {
    /// Will ask for `bytes` of the object at `url`.
    pub(crate) fn new(
        origin: Rc<Origin>,
        transport: Rc<Transport>,
        cas: Cas,
        url: String,
        bytes: Range<u64>,
    ) -> Self {
        let looked = (Instant::now(), bytes.start);
        let mut stream = Self {
            origin,
            transport,
            cas,
            url,
            body: None,
            left: bytes,
            beside: FuturesUnordered::new(),
            window: WINDOW,
            looked,
            way: Way::Line,
        };
        stream.open_beside();
        stream
    }

    /// By what way the last bytes came; until there are some, over the line.
    pub(crate) fn way(&self) -> Way {
        self.way
    }

    fn open_beside(&mut self) {
        let (cas, url, bytes) = (self.cas.clone(), self.url.clone(), self.left.clone());
        let gently = self.transport.traffic.steering().is_on();
        self.beside.push(Box::pin(async move {
            let start = bytes.start;
            let mut body = match gently {
                true => cas.range_gently(&url, bytes).await?,
                false => cas.range(&url, bytes).await?,
            };
            let first = body.chunk().await?;
            Ok((body, first, start))
        }));
    }

    /// The next bytes; `None` at the end of the range.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, End> {
        let mut waited = Duration::ZERO;
        loop {
            let (body, beside) = (&mut self.body, &mut self.beside);
            let old = async {
                match body {
                    Some(body) => body.chunk().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                next = old => match next {
                    Ok(Some(bytes)) => return Ok(Some(self.came(bytes))),
                    Ok(None) => return Ok(None),
                    Err(error) => {
                        self.body = None;
                        if self.beside.is_empty() {
                            return Err(End::Hub(error));
                        }
                    }
                },
                Some(opened) = beside.next() => match opened {
                    Ok((body, first, start)) => return self.adopt(body, first, start).await.map_err(End::Hub),
                    // What was only meant to be better than what there is need not be.
                    Err(_) if !self.beside.is_empty() => {}
                    Err(error) if self.body.is_some() && self.origin.moved_since(STALL) => {
                        tracing::debug!(%error, "no better connection");
                    }
                    Err(error) => return Err(End::Hub(error)),
                },
                _ = zest_hub::lived::within(STALL, std::future::pending::<()>()) => {
                    waited += STALL;
                    // While others move, this one alone is stuck; while all are still, the network is given more time.
                    let others_move = self.origin.moved_since(STALL);
                    if (others_move && self.body.is_some()) || waited >= STALL_OF_ALL {
                        return Err(End::Silence(waited));
                    }
                    if !others_move && self.beside.len() < BESIDE && self.origin.may_try_beside(STALL) {
                        self.open_beside();
                    }
                }
            }
        }
    }

    /// Goes on with another connection, behind what came already.
    async fn adopt(
        &mut self,
        mut body: Body,
        first: Option<Bytes>,
        start: u64,
    ) -> Result<Option<Bytes>, HubError> {
        self.beside.clear();
        let mut skip = self.left.start - start;
        let mut next = first;
        while let Some(mut bytes) = next {
            let rest = bytes.split_off(skip.min(bytes.len() as u64) as usize);
            skip -= bytes.len() as u64;
            if !rest.is_empty() {
                self.body = Some(body);
                return Ok(Some(self.came(rest)));
            }
            next = body.chunk().await?;
        }
        Ok(None)
    }

    /// Counts what came, and sees to it that a stream which trickles gets another chance.
    fn came(&mut self, bytes: Bytes) -> Bytes {
        self.origin.moved();
        if let Some(body) = &self.body {
            self.way = self.transport.traffic.way_of_origin(body);
        }
        self.left.start += bytes.len() as u64;
        let (since, from) = self.looked;
        if since.elapsed() >= self.window {
            let came = self.left.start - from;
            // Our own cap is not the server's fault.
            let trickles =
                came < TRICKLE_BYTES_S * self.window.as_secs() && !self.transport.traffic.is_capped(self.way);
            if trickles && self.beside.is_empty() && !self.left.is_empty() {
                tracing::info!(came, window = ?self.window, "a transfer trickles; trying another connection");
                self.open_beside();
                self.window *= 2;
            }
            self.looked = (Instant::now(), self.left.start);
        }
        bytes
    }
}
