//! A body on its way in: bytes as hyper received them, counted and timed.

pub use crate::limits::TRICKLE_BYTES_S;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;
use tokio::sync::OwnedSemaphorePermit;

use super::text::{cause, shorter};
use crate::coding::{Coding, Unpacker};
use crate::error::HubError;

/// A streaming answer of the origin. It ends with `Ok(None)` exactly when every promised byte has come; dropping it early
/// closes its connection.
///
/// Bytes are exactly as received, not checked or copied; only what came packed although we asked for it as it is gets unpacked
/// ([`Coding`]), and then all counts are those of the content. One of the client's transfers
/// ([`HubConfig::transfers_max`](super::HubConfig::transfers_max)) is taken until the body is dropped.
pub struct Body {
    response: Option<Response>,
    peer: Option<SocketAddr>,
    /// A proxy may stand between.
    by_proxy: bool,
    url: String,
    stall: Duration,
    unpacker: Option<Unpacker>,
    /// Content that was received and not yet handed out.
    ahead: Option<Bytes>,
    /// Whether the answer says how long it is, packed or not.
    has_length: bool,
    /// Bytes promised by `Content-Range` or `Content-Length`; of a packed body nobody promises any.
    want: Option<u64>,
    got: u64,
    limit: u64,
    /// Over how long the least rate has to be kept, when that was last looked at, and what had come by then.
    pace: Option<(Duration, Instant, u64)>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Body {
    pub(super) fn new(
        response: Response,
        url: String,
        stall: Duration,
        want: Option<u64>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let unpacker = Coding::of(response.headers()).ok().flatten().map(Unpacker::new);
        let length = response.content_length();
        let want = want.or(length.filter(|_| unpacker.is_none()));
        Self {
            peer: response.remote_addr(),
            by_proxy: false,
            response: Some(response),
            url,
            stall,
            unpacker,
            ahead: None,
            has_length: length.is_some(),
            want,
            got: 0,
            limit: u64::MAX,
            pace: None,
            _permit: permit,
        }
    }

    /// Fails with `TooLarge` as soon as more than `bytes` have come, or at once if more are promised.
    #[must_use]
    pub fn at_most(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Where it comes from, fit to be shown.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The other end of its connection: a server, or a proxy on the way to it.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether what it gives may come from farther than [`Body::peer`]: a proxy may stand between.
    #[must_use]
    pub fn is_by_proxy(&self) -> bool {
        self.by_proxy
    }

    /// Whether a proxy may stand between.
    pub(super) fn by_proxy(mut self, by_proxy: bool) -> Self {
        self.by_proxy = by_proxy;
        self
    }

    /// Fails with `Trickles` if less than [`TRICKLE_BYTES_S`] comes over a `window`: a new connection may be better.
    #[must_use]
    pub fn at_pace(mut self, window: Duration) -> Self {
        self.pace = Some((window, Instant::now(), self.got));
        self
    }

    /// Bytes of the whole body, if the server said.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        self.want
    }

    /// Whether the server promised an empty body.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.want == Some(0)
    }

    /// Bytes handed out so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.got
    }

    /// The next bytes, never empty; `None` at the proper end, and ever after an end or error.
    ///
    /// # Errors
    /// `Stalled` after silence, `ShortBody` if the connection breaks or ends early, `TooLarge` beyond [`Body::at_most`],
    /// `Malformed` if more comes than promised. Bytes handed out before stay good.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HubError> {
        let step = match self.ahead.take() {
            _ if self.want.is_some_and(|want| want > self.limit) => Err(self.too_large()),
            Some(bytes) => Ok(Some(bytes)),
            None => self.receive().await,
        };
        let step = step.and_then(|bytes| bytes.map(|bytes| self.count(bytes)).transpose());
        if !matches!(step, Ok(Some(_))) {
            self.response = None;
        }
        // After an end or error there is neither a limit to pass nor anything to receive.
        if step.is_err() {
            (self.want, self.unpacker) = (None, None);
        }
        step
    }

    /// Whether it came packed.
    pub(super) fn is_packed(&self) -> bool {
        self.unpacker.is_some()
    }

    /// Receives the beginning of a packed body, so that one that is none is refused before it is handed out.
    pub(super) async fn look_ahead(&mut self) -> Result<(), HubError> {
        self.ahead = self.receive().await?;
        Ok(())
    }

    /// The next bytes of content, not counted and never empty.
    async fn receive(&mut self) -> Result<Option<Bytes>, HubError> {
        loop {
            if let Some(bytes) = self.unpacked()? {
                return Ok(Some(bytes));
            }
            let Some(response) = &mut self.response else { return Ok(None) };
            match crate::lived::within(self.stall, response.chunk()).await {
                None => {
                    return Err(HubError::Stalled {
                        url: self.url.clone(),
                        silence: self.stall,
                        got: self.got,
                        want: self.want,
                    });
                }
                Some(Err(error)) => return Err(self.short(cause(&error))),
                Some(Ok(None)) => {
                    self.response = None;
                    self.check_end()?;
                    return Ok(None);
                }
                Some(Ok(Some(bytes))) => match &mut self.unpacker {
                    Some(unpacker) => unpacker.push(&bytes),
                    None if bytes.is_empty() => {}
                    None => return Ok(Some(bytes)),
                },
            }
        }
    }

    /// Whether everything has come when the connection says that nothing more comes.
    fn check_end(&self) -> Result<(), HubError> {
        if self.want.is_some_and(|want| self.got < want) {
            return Err(self.short("connection ended".to_owned()));
        }
        match &self.unpacker {
            Some(unpacker) if !unpacker.is_complete() && self.has_length => {
                Err(self.malformed("it ends before its content does"))
            }
            Some(unpacker) if !unpacker.is_complete() => {
                Err(self.short("connection ended inside of a packed body".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// The whole body in memory, at most `bytes_max`.
    ///
    /// # Errors
    /// As [`Body::chunk`].
    pub async fn bytes(self, bytes_max: u64) -> Result<Vec<u8>, HubError> {
        self.bytes_and_tell(bytes_max, |_| ()).await
    }

    /// The same, and tells how many bytes come as they do.
    pub(super) async fn bytes_and_tell(
        self,
        bytes_max: u64,
        tell: impl Fn(u64),
    ) -> Result<Vec<u8>, HubError> {
        /// Memory reserved on the server's word alone: 1 MiB.
        const RESERVE_BYTES_MAX: u64 = 1 << 20;
        let mut body = self.at_most(bytes_max);
        let mut all = Vec::with_capacity(body.want.unwrap_or(0).min(RESERVE_BYTES_MAX) as usize);
        while let Some(bytes) = body.chunk().await? {
            tell(bytes.len() as u64);
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    /// What can be unpacked of what came, if anything.
    fn unpacked(&mut self) -> Result<Option<Bytes>, HubError> {
        match self.unpacker.as_mut().map(Unpacker::next).transpose() {
            Ok(bytes) => Ok(bytes.flatten()),
            Err(error) => Err(self.malformed(&error.to_string())),
        }
    }

    fn malformed(&self, reason: &str) -> HubError {
        HubError::Malformed { url: self.url.clone(), what: "packed body", reason: shorter(reason) }
    }

    fn count(&mut self, bytes: Bytes) -> Result<Bytes, HubError> {
        let got = self.got + bytes.len() as u64;
        if got > self.limit {
            return Err(self.too_large());
        }
        if let Some(want) = self.want.filter(|want| got > *want) {
            return Err(HubError::Malformed {
                url: self.url.clone(),
                what: "body",
                reason: format!("{got} bytes or more where {want} were promised"),
            });
        }
        self.got = got;
        if let Some((window, since, before)) = self.pace
            && since.elapsed() >= window
            && self.want.is_none_or(|want| got < want)
        {
            if got - before < TRICKLE_BYTES_S * window.as_secs() {
                return Err(HubError::Trickles { url: self.url.clone(), window, got: got - before });
            }
            self.pace = Some((window, Instant::now(), got));
        }
        Ok(bytes)
    }

    fn short(&self, reason: String) -> HubError {
        HubError::ShortBody {
            url: self.url.clone(),
            got: self.got,
            want: self.want,
            reason: shorter(&reason),
        }
    }

    fn too_large(&self) -> HubError {
        HubError::TooLarge { url: self.url.clone(), what: "body (bytes)", limit: self.limit }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("url", &self.url)
            .field("want", &self.want)
            .field("got", &self.got)
            .finish_non_exhaustive()
    }
}
