//! Who is connected, and who gives way.

use crate::limits::STALLED;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::{Limits, Side};

/// Whoever waits for a place looks after stalled connections this often: 250 ms.
const LOOK: Duration = Duration::from_millis(250);

/// Addresses that count as one: an IPv4 address, or the /56 of an IPv6 address, which is what one customer has; or a user.
type Net = [u8; 16];

/// The net of who is on the other side. The first byte of a user's is that of multicast, from where nobody connects.
fn net_of(side: Side) -> Net {
    match side {
        Side::Address(addr) => net(addr.ip()),
        Side::User(uid) => {
            let mut net = [0xff; 16];
            net[12..].copy_from_slice(&uid.to_be_bytes());
            net
        }
    }
}

fn net(ip: IpAddr) -> Net {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => {
            let mut net = ip.octets();
            net[7..].fill(0);
            net
        }
    }
}

/// What one address may have of `all`: three quarters, at least one.
fn share(all: usize) -> usize {
    (all - all / 4).max(1)
}

/// All connections of a listener.
pub(super) struct Table {
    connections: usize,
    places: usize,
    form_bytes: usize,
    /// Places among the bodies on their way; whoever waited longest is next.
    free_places: Arc<Semaphore>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    entries: BTreeMap<u64, Entry>,
    nets: BTreeMap<Net, OfNet>,
    form_bytes: usize,
}

struct Entry {
    net: Net,
    /// Since when nothing is asked or answered on it.
    idle: Option<Instant>,
    /// Since when its reader takes nothing.
    blocked: Option<Instant>,
    cut: Arc<Notify>,
}

/// What one address has.
struct OfNet {
    connections: usize,
    form_bytes: usize,
    places: Arc<Semaphore>,
}

impl Table {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            connections: limits.connections.max(1),
            places: limits.places.max(1),
            form_bytes: limits.form_bytes,
            free_places: Arc::new(Semaphore::new(limits.places.max(1))),
            inner: Mutex::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection came. `None` if there is no room for it and none can be made.
    pub(super) fn admit(self: &Arc<Self>, from: Side) -> Option<Ticket> {
        let net = net_of(from);
        let mut inner = self.inner();
        let of_net = inner.nets.get(&net).map_or(0, |of| of.connections);
        let is_over_share = of_net >= share(self.connections);
        if is_over_share && !inner.give_way(Some(net)) {
            return None;
        }
        if inner.entries.len() >= self.connections && !inner.give_way(None) {
            return None;
        }
        let id = inner.next;
        inner.next += 1;
        let cut = Arc::new(Notify::new());
        let entry = Entry { net, idle: Some(Instant::now()), blocked: None, cut: cut.clone() };
        inner.entries.insert(id, entry);
        let places = share(self.places);
        let of_net = inner.nets.entry(net).or_insert_with(|| OfNet {
            connections: 0,
            form_bytes: 0,
            places: Arc::new(Semaphore::new(places)),
        });
        of_net.connections += 1;
        Some(Ticket { id, net, cut, table: self.clone() })
    }

    /// Cuts one connection that is idle or stalled, if there is one.
    pub(super) fn make_room(&self) {
        self.inner().give_way(None);
    }
}

impl Inner {
    /// Cuts the connection that has been idle, or stalled for a while, longest: of `net`, or of the address that has most.
    fn give_way(&mut self, net: Option<Net>) -> bool {
        let now = Instant::now();
        let since = |entry: &Entry| match (entry.idle, entry.blocked) {
            (_, Some(blocked)) if now.duration_since(blocked) >= STALLED => Some(blocked),
            (_, Some(_)) => None,
            (idle, None) => idle,
        };
        let most = |entry: &Entry| self.nets.get(&entry.net).map_or(0, |of| of.connections);
        let id = (self.entries.iter())
            .filter(|(_, entry)| net.is_none_or(|net| entry.net == net))
            .filter_map(|(id, entry)| Some((std::cmp::Reverse(most(entry)), since(entry)?, *id)))
            .min()
            .map(|(.., id)| id);
        id.is_some_and(|id| {
            self.remove(id);
            true
        })
    }

    /// Cuts the connection that has been stalled longest, and for a while.
    fn cut_stalled(&mut self, net: Option<Net>) {
        let now = Instant::now();
        let stalled = (self.entries.iter())
            .filter(|(_, entry)| net.is_none_or(|net| entry.net == net))
            .filter_map(|(id, entry)| Some((entry.blocked?, *id)))
            .filter(|(since, _)| now.duration_since(*since) >= STALLED);
        // All at once: whoever waits shall not wait for each of them.
        for id in stalled.map(|(_, id)| id).collect::<Vec<_>>() {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(entry) = self.entries.remove(&id) else { return };
        entry.cut.notify_one();
        if let Some(of_net) = self.nets.get_mut(&entry.net) {
            of_net.connections -= 1;
            self.forget(entry.net);
        }
    }

    fn forget(&mut self, net: Net) {
        if self.nets.get(&net).is_some_and(|of| of.connections == 0 && of.form_bytes == 0) {
            self.nets.remove(&net);
        }
    }
}

/// A connection's entry in the table.
pub(super) struct Ticket {
    id: u64,
    net: Net,
    cut: Arc<Notify>,
    table: Arc<Table>,
}

impl Ticket {
    fn note(&self, note: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.table.inner().entries.get_mut(&self.id) {
            note(entry);
        }
    }

    /// A request came.
    pub(super) fn busy(&self) {
        self.note(|entry| entry.idle = None);
    }

    /// Its answer is over.
    pub(super) fn idle(&self) {
        self.note(|entry| entry.idle = Some(Instant::now()));
    }

    pub(super) fn is_blocked(&self) {
        self.note(|entry| entry.blocked = Some(Instant::now()));
    }

    pub(super) fn moves(&self) {
        self.note(|entry| entry.blocked = None);
    }

    /// Returns when this connection must give way.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }

    pub(super) async fn place(&self) -> Place {
        let own = self.table.inner().nets.get(&self.net).map(|of| of.places.clone());
        let own = match own {
            Some(places) => self.wait(places, Some(self.net)).await,
            None => None,
        };
        Place { _own: own, _all: self.wait(self.table.free_places.clone(), None).await }
    }

    async fn wait(&self, places: Arc<Semaphore>, net: Option<Net>) -> Option<OwnedSemaphorePermit> {
        let mut place = std::pin::pin!(places.acquire_owned());
        loop {
            match tokio::time::timeout(LOOK, place.as_mut()).await {
                // The semaphores are never closed.
                Ok(place) => return place.ok(),
                Err(_) => self.table.inner().cut_stalled(net),
            }
        }
    }

    /// Nothing held yet of a request's body.
    pub(super) fn hold(&self) -> Held<'_> {
        Held { ticket: self, bytes: 0 }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.table.inner().remove(self.id);
    }
}

/// A place among the bodies on their way, until it is dropped.
#[derive(Debug)]
pub struct Place {
    _own: Option<OwnedSemaphorePermit>,
    _all: Option<OwnedSemaphorePermit>,
}

/// What is held of a request's body, until it is dropped.
pub(super) struct Held<'a> {
    ticket: &'a Ticket,
    bytes: usize,
}

impl Held<'_> {
    /// Counts `bytes` more; false if that is too much for all, or for this address.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let table = &self.ticket.table;
        let mut inner = table.inner();
        let all = inner.form_bytes + bytes;
        let Some(of_net) = inner.nets.get_mut(&self.ticket.net) else { return false };
        if all > table.form_bytes || of_net.form_bytes + bytes > share(table.form_bytes) {
            return false;
        }
        of_net.form_bytes += bytes;
        inner.form_bytes = all;
        self.bytes += bytes;
        true
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut inner = self.ticket.table.inner();
        inner.form_bytes -= self.bytes;
        if let Some(of_net) = inner.nets.get_mut(&self.ticket.net) {
            of_net.form_bytes -= self.bytes;
        }
        inner.forget(self.ticket.net);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(connections: usize) -> Arc<Table> {
        let limits = Limits { connections, places: 4, form_bytes: 100, ..Limits::for_this_process() };
        Arc::new(Table::new(&limits))
    }

    fn ip(n: u8) -> Side {
        Side::Address(([192, 0, 2, n], 1).into())
    }

    /// As if what is going on had been going on for longer.
    fn age(ticket: &Ticket, by: Duration) {
        ticket.note(|entry| {
            for since in [&mut entry.idle, &mut entry.blocked].into_iter().flatten() {
                *since -= by;
            }
        });
    }

    fn is_there(ticket: &Ticket) -> bool {
        ticket.table.inner().entries.contains_key(&ticket.id)
    }

    #[tokio::test]
    async fn the_longest_idle_of_the_address_with_most_gives_way() {
        let table = table(4);
        let first = table.admit(ip(1)).unwrap();
        let many = [table.admit(ip(2)).unwrap(), table.admit(ip(2)).unwrap()];
        let busy = table.admit(ip(2)).unwrap();
        busy.busy();
        age(&first, Duration::from_secs(9));
        age(&many[0], Duration::from_secs(1));
        let newcomer = table.admit(ip(3)).unwrap();
        many[0].cut().await;
        assert!(is_there(&first) && is_there(&many[1]) && is_there(&busy));
        // All are at work: nobody gives way.
        for ticket in [&first, &many[1], &newcomer] {
            ticket.busy();
        }
        assert!(table.admit(ip(4)).is_none());
        // But for one whose reader takes nothing.
        busy.is_blocked();
        assert!(table.admit(ip(4)).is_none(), "not yet");
        age(&busy, STALLED);
        assert!(table.admit(ip(4)).is_some());
        busy.cut().await;
    }

    #[tokio::test]
    async fn one_address_has_its_share_and_others_the_rest() {
        let table = table(8);
        let own: Vec<Ticket> = (0..6).map(|_| table.admit(ip(1)).unwrap()).collect();
        own.iter().for_each(Ticket::busy);
        assert!(table.admit(ip(1)).is_none(), "three quarters are taken, and at work");
        let others = [table.admit(ip(2)), table.admit(ip(3))];
        assert!(others.iter().all(Option::is_some));
        drop(own);
        drop(others);
        assert!(table.inner().nets.is_empty() && table.inner().entries.is_empty());
    }

    #[tokio::test]
    async fn places_are_shared_and_whoever_waits_has_the_stalled_cut() {
        let table = table(8);
        let (one, other) = (table.admit(ip(1)).unwrap(), table.admit(ip(2)).unwrap());
        let places = [one.place().await, one.place().await, one.place().await];
        assert_eq!(table.free_places.available_permits(), 1, "its share of four is three");
        let _fourth = other.place().await;
        one.busy();
        one.is_blocked();
        age(&one, STALLED);
        let third = table.admit(ip(3)).unwrap();
        tokio::select! {
            _ = third.place() => panic!("nothing is free"),
            () = one.cut() => {}
        }
        // What a connection held is free when it is gone.
        drop(places);
        let _place = third.place().await;
    }

    #[test]
    fn forms_are_bounded_in_all_and_by_address() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let table = table(8);
        let (one, other) = (table.admit(ip(1)).unwrap(), table.admit(ip(2)).unwrap());
        let mut held = one.hold();
        assert!(held.grow(70) && !held.grow(10), "75 is its share");
        let mut beside = other.hold();
        assert!(beside.grow(30) && !beside.grow(1));
        drop(held);
        assert!(beside.grow(40));
        drop(beside);
        assert_eq!(table.inner().form_bytes, 0);
    }

    #[test]
    fn what_one_customer_has_counts_as_one() {
        assert_eq!(net("2001:db8:0:1::1".parse().unwrap()), net("2001:db8:0:2::2".parse().unwrap()));
        assert_ne!(net("2001:db8:1::1".parse().unwrap()), net("2001:db8:2::1".parse().unwrap()));
        assert_eq!(net("::ffff:192.0.2.1".parse().unwrap()), net_of(ip(1)));
        assert_ne!(net_of(ip(1)), net_of(ip(2)));
        assert_ne!(net_of(Side::User(1)), net_of(Side::User(2)));
    }
}
