//! What other threads tell a core: answers of the clerk, a new shelf, peers of other cores, the end.

use crate::files::Found;
use crate::kept::Small;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use zest_core::node::Event;
use zest_core::{LinkId, ReqId};
use zest_store::{FileId, Shelf};

/// One piece of news.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A file that was to be opened.
    Opened { file: FileId, found: Option<Found> },
    /// Something was looked up.
    Event(Event),
    /// A small file was looked for, for the part that begins there.
    Small { link: LinkId, req: ReqId, size: u32, offset: u32, found: Option<Small> },
    /// The catalog changed.
    Shelf(Arc<Shelf>),
    /// Another core has a link to a peer that listens there.
    PeerUp { link: LinkId, listens: SocketAddr },
    /// No longer.
    PeerDown { link: LinkId },
    /// Answer what was asked, then end.
    Stop,
}

#[derive(Debug, Default)]
struct Letters {
    waiting: VecDeque<Mail>,
    reader: Option<Waker>,
}

/// The letter box of one core. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inbox(Arc<Mutex<Letters>>);

impl Inbox {
    /// Puts a letter in, from any thread.
    pub(crate) fn post(&self, mail: Mail) {
        let reader = {
            let mut letters = self.lock();
            letters.waiting.push_back(mail);
            letters.reader.take()
        };
        if let Some(waker) = reader {
            waker.wake();
        }
    }

    /// All letters there are; waits until there is one.
    pub(crate) async fn collect(&self) -> VecDeque<Mail> {
        poll_fn(|cx| {
            let mut letters = self.lock();
            if letters.waiting.is_empty() {
                letters.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(std::mem::take(&mut letters.waiting))
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
