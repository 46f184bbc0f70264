//! Every frame that passes the switch of a [`netns`](crate::netns), as a packet socket sees it.

use crate::netns::Machine;
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType, recv, socket};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// All protocols, as `linux/if_ether.h` numbers it (`ETH_P_ALL`), in the order of the network.
const ALL: u32 = (3_u16.to_be()) as u32;
/// Frames that the system keeps until they are read: 4 MiB, what it gives without asking.
const BUFFER_BYTES: usize = 4 << 20;
/// Longest wait for a frame. A test that waits this long has failed; nothing depends on the figure.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon the end is noticed.
const TICK: Duration = Duration::from_millis(20);
/// Bytes before the network's own header: two addresses and a type.
const ETHERNET: usize = 14;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// TCP, from there, to there.
    Tcp(SocketAddr, SocketAddr),
    /// UDP, likewise.
    Udp(SocketAddr, SocketAddr),
    /// What machines say to find each other's cards and routers, and which groups they listen to: ARP, ICMP, IGMP. The system
    /// writes it; programs have no part in its content.
    Housekeeping,
}

/// One frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// What it carries.
    pub carries: Carries,
    /// All of it.
    pub bytes: Vec<u8>,
}

impl Frame {
    fn read(bytes: Vec<u8>) -> Self {
        let carries = Self::carried(&bytes).unwrap_or(Carries::Housekeeping);
        Self { carries, bytes }
    }

    fn carried(bytes: &[u8]) -> Option<Carries> {
        let (kind, packet) = (bytes.get(12..ETHERNET)?, bytes.get(ETHERNET..)?);
        let (protocol, from, to, rest) = match kind {
            [0x08, 0x00] => {
                let ip = |at: usize| {
                    let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                    Some(IpAddr::V4(Ipv4Addr::from(octets)))
                };
                let header = usize::from(packet.first()? & 15) * 4;
                (*packet.get(9)?, ip(12)?, ip(16)?, packet.get(header..)?)
            }
            [0x86, 0xdd] => {
                let ip = |at: usize| {
                    let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                    Some(IpAddr::V6(Ipv6Addr::from(octets)))
                };
                (*packet.get(6)?, ip(8)?, ip(24)?, packet.get(40..)?)
            }
            _ => return None,
        };
        let port = |at: usize| Some(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?));
        let (from, to) = (SocketAddr::new(from, port(0)?), SocketAddr::new(to, port(2)?));
        match protocol {
            6 => Some(Carries::Tcp(from, to)),
            17 => Some(Carries::Udp(from, to)),
            _ => None,
        }
    }

    /// Whether this machine's card sent it.
    #[must_use]
    pub fn is_from(&self, machine: &Machine) -> bool {
        self.bytes.get(6..12) == Some(&machine.card())
    }

    /// Whether it has these bytes in it.
    #[must_use]
    pub fn contains(&self, what: &[u8]) -> bool {
        self.bytes.windows(what.len()).any(|window| window == what)
    }
}

/// A capture under way. A frame is in it once per port of the switch it passes.
#[derive(Debug)]
pub struct Capture {
    frames: Arc<Mutex<Vec<Frame>>>,
    end: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Capture {
    /// Begins.
    ///
    /// # Panics
    /// If this is not the inside of a namespace.
    #[must_use]
    pub fn start() -> Self {
        let all = Protocol::from_raw(NonZeroU32::new(ALL).expect("not 0"));
        let socket =
            socket(AddressFamily::PACKET, SocketType::RAW, Some(all)).expect("root of this namespace");
        set_socket_recv_buffer_size(&socket, BUFFER_BYTES).expect("a socket option");
        set_socket_timeout(&socket, Timeout::Recv, Some(TICK)).expect("a socket option");
        let (frames, end) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (into, until) = (frames.clone(), end.clone());
        let reader = std::thread::spawn(move || read(&socket, &into, &until));
        Self { frames, end, reader: Some(reader) }
    }

    /// Waits until a frame like this has passed. Blocks the thread.
    ///
    /// # Panics
    /// If none does for a minute.
    pub fn wait(&self, what: &str, is_it: impl Fn(&Frame) -> bool) {
        let (mut looked_at, began) = (0, std::time::Instant::now());
        loop {
            let new: Vec<Frame> = {
                let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
                frames[looked_at..].to_vec()
            };
            looked_at += new.len();
            if new.iter().any(&is_it) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{what} was not seen among {looked_at} frames");
            std::thread::park_timeout(TICK);
        }
    }

    /// Ends it: what it has seen.
    #[must_use]
    pub fn stop(mut self) -> Vec<Frame> {
        self.end.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it only reads");
        }
        std::mem::take(&mut self.frames.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

/// Reads until nothing has come for a tick after the end was told.
fn read(socket: &OwnedFd, into: &Mutex<Vec<Frame>>, end: &AtomicBool) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let last = end.load(Ordering::Relaxed);
        match recv(socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((len, _)) => {
                let frame = Frame::read(buffer[..len.min(buffer.len())].to_vec());
                into.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
            }
            Err(_) if last => return,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart() {
        let mut udp = vec![0; ETHERNET];
        udp[12..14].copy_from_slice(&[8, 0]);
        udp.extend([0x45, 0, 0, 29, 0, 0, 0, 0, 1, 17, 0, 0, 192, 0, 2, 1, 239, 192, 152, 143]);
        udp.extend([0x1a, 0x73, 0x1a, 0x73, 0, 9, 0, 0, 7]);
        let frame = Frame::read(udp);
        let (from, to) = ("192.0.2.1:6771".parse().unwrap(), "239.192.152.143:6771".parse().unwrap());
        assert_eq!(frame.carries, Carries::Udp(from, to));
        let mut tcp = vec![0; ETHERNET + 40];
        tcp[12..14].copy_from_slice(&[0x86, 0xdd]);
        tcp[ETHERNET + 6] = 6;
        tcp[ETHERNET + 23] = 1;
        tcp.extend([0, 7, 0, 8]);
        let (from, to) = ("[::1]:7".parse().unwrap(), "[::]:8".parse().unwrap());
        assert_eq!(Frame::read(tcp).carries, Carries::Tcp(from, to));
        assert_eq!(Frame::read(vec![0; 9]).carries, Carries::Housekeeping);
    }
}
