//! Taking connections in.

use crate::core::Core;
use crate::link;
use futures_lite::FutureExt as _;
use glommio::net::{TcpListener, TcpStream};
use glommio::timer::Timer;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Pause after `accept` failed (out of descriptors): the listener must not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The same when a connection was closed to make room: until its descriptor is free.
const ROOM_PAUSE: Duration = Duration::from_millis(10);

/// Accepts until the core stops.
pub(crate) async fn run(core: Rc<Core>, listener: TcpListener) {
    core.listeners.set(core.listeners.get() + 1);
    let mut failing = false;
    loop {
        let outcome = {
            let mut accept = pin!(listener.accept());
            poll_fn(|cx| {
                // First what came: a connection that the kernel has handed over must not be lost with the future.
                let poll = accept.as_mut().poll(cx).map(Some);
                if poll.is_pending() {
                    if core.stopping.get() {
                        return Poll::Ready(None);
                    }
                    let mut acceptors = core.acceptors.borrow_mut();
                    if !acceptors.iter().any(|waker| waker.will_wake(cx.waker())) {
                        acceptors.push(cx.waker().clone());
                    }
                }
                poll
            })
            .await
        };
        match outcome {
            None => break,
            Some(Ok(stream)) => {
                failing = false;
                welcome(&core, stream);
            }
            Some(Err(error)) => {
                let room = core.evict_a_stranger();
                // Said once while it lasts.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(target: zest_store::SAID, kind = "no-connections", "peers cannot connect at present: {error}");
                }
                Timer::new(if room { ROOM_PAUSE } else { ACCEPT_PAUSE }).await;
            }
        }
    }
    drop(listener);
    core.listeners.set(core.listeners.get() - 1);
}

fn welcome(core: &Rc<Core>, stream: TcpStream) {
    // Gone already.
    let Ok(addr) = stream.peer_addr() else { return };
    if !core.lets_in(addr) {
        return;
    }
    let io = core.add_link(addr);
    glommio::spawn_local(link::run(core.clone(), stream, io).boxed_local()).detach();
}
