//! `--nice`: measures how long the line's queue is, and moves the cap on what is received.
//!
//! What is measured is the handshake of a TCP connection to where bytes come from: a small packet there, one back, answered by the
//! systems' kernels, through the same queue as the bytes. It says nothing and ends at once. So it needs nothing of the server, works on
//! every system, and counts links to peers as well as the CDN, as the queue of a home line is common to all. What it does not see:
//! a queue that only some connections have (where the router queues fairly nobody else waits, either), and which direction is full.

use crate::clock::Clock;
use crate::transport::Transport;
use socket2::SockRef;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;
use zest_core::nice::Event;

/// A handshake that takes longer than this is a queue of at least that: 1 s, after which the system asks again (RFC 6298).
const UNANSWERED: Duration = Duration::from_secs(1);

/// Moves the cap while it is on. Never ends.
pub(crate) async fn keep(clock: Clock, transport: Rc<Transport>) {
    let steering = transport.traffic.steering();
    loop {
        let Some(due) = steering.due() else {
            steering.rest().await;
            continue;
        };
        tokio::time::sleep_until(clock.to_tokio(due)).await;
        let now = clock.now();
        steering.tell(now, Event::Timer);
        transport.traffic.steer();
        match steering.place(now) {
            Some(place) if steering.may_probe() => {
                tokio::task::spawn_local(probe(clock, transport.clone(), place));
            }
            Some(_) => {}
            None => steering.rest().await,
        }
    }
}

/// Measures once.
async fn probe(clock: Clock, transport: Rc<Transport>, place: SocketAddr) {
    // On a thread of its own: this one is busy with what is received.
    let took = tokio::task::spawn_blocking(move || handshake(place)).await;
    let steering = transport.traffic.steering();
    steering.probed();
    let path = path_of(place.ip());
    match took {
        Ok(Some(rtt)) => steering.tell(clock.now(), Event::Rtt { path, rtt }),
        Ok(None) => steering.tell(clock.now(), Event::Unanswered { path, waited: UNANSWERED }),
        Err(_) => {}
    }
}

/// The time from the first packet of a connection to its answer, yes or no; `None` if there is none in time.
fn handshake(place: SocketAddr) -> Option<Duration> {
    let began = std::time::Instant::now();
    let outcome = TcpStream::connect_timeout(&place, UNANSWERED);
    let took = began.elapsed();
    match outcome {
        Ok(stream) => {
            // No farewell: routers on the way, and the other side, remember it no longer than need be.
            let _best_effort = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            Some(took)
        }
        // Nobody listens there, said at once: a packet there and one back all the same.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Some(took),
        Err(_) => None,
    }
}

/// A number for an address.
fn path_of(ip: IpAddr) -> u64 {
    let bits = match ip.to_canonical() {
        IpAddr::V4(v4) => return u64::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    (bits >> 64) as u64 ^ (bits as u64).rotate_left(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_measured_whether_somebody_listens_or_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let place = listener.local_addr().expect("its address");
        assert!(handshake(place).is_some_and(|took| took < UNANSWERED));
        drop(listener);
        assert!(handshake(place).is_some_and(|took| took < UNANSWERED));
    }
}
