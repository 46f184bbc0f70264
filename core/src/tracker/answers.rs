//! What a tracker's answer, refusal or silence means for the swarm and for the tracker.

use super::announce::{AnnounceEvent, AnnounceReply, Scraped};
use super::event::{Action, RequestId, Standing, TrackerId};
use super::http::{self, ReplyError};
use super::machine::Trackers;
use super::server::{Sent, Task};
use super::swarm::Joined;
use super::{INTERVAL_DEFAULT, INTERVAL_MAX, INTERVAL_MIN};
use crate::bucket::jitter;
use crate::endpoint::{Scope, may_name, scope};
use crate::{Duration, InfoHash, Instant};
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

impl Trackers {
    pub(super) fn http_reply(&mut self, now: Instant, id: RequestId, status: u16, body: &[u8]) {
        let Some(sent) = self.over_http.remove(&id.0) else { return };
        if let Task::Scrape { .. } = sent.task {
            if let (200, Ok(swarms)) = (status, http::scrape_reply(body)) {
                self.scraped(sent.server, swarms);
            }
            return;
        }
        match (http::announce_reply(body), status) {
            // Some trackers refuse with an error status and say why in the body.
            (Err(ReplyError::Refused { reason, retry_in }), _) => self.refused(now, sent, reason, retry_in),
            (Ok(reply), 200) => self.answered(now, sent, reply),
            (Err(why), 200) => self.no_answer(now, sent, why.to_string()),
            (_, status) => {
                self.no_answer(now, sent, alloc::format!("tracker answered with HTTP status {status}"))
            }
        }
    }

    pub(super) fn scraped(&mut self, server: usize, swarms: Vec<(InfoHash, Scraped)>) {
        self.actions.push_back(Action::Scraped { tracker: id_of(server), swarms });
    }

    /// An announce was answered.
    pub(super) fn answered(&mut self, now: Instant, sent: Sent, reply: AnnounceReply) {
        let Task::Announce { swarm: hash, lane, event, seed, .. } = sent.task else { return };
        self.servers[sent.server].open -= 1;
        self.servers[sent.server].works();
        self.promote(sent.server);
        let standing = reply.warning.map_or(Standing::Works, Standing::Warns);
        self.tell(sent.server, standing);
        if let Some(id) = reply.tracker_id {
            self.servers[sent.server].tracker_id = Some(id);
        }
        let tracker = id_of(sent.server);
        if let Some(ip) = reply.external_ip {
            self.actions.push_back(Action::ExternalIp { tracker, ip });
        }
        // It has left meanwhile: nobody wants to know.
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        swarm.welcome(sent.server);
        match event {
            AnnounceEvent::Started => {
                swarm.joined.insert(sent.server, Joined { completed: seed });
            }
            AnnounceEvent::Completed => {
                swarm.joined.insert(sent.server, Joined { completed: true });
            }
            AnnounceEvent::None | AnnounceEvent::Stopped => {}
        }
        let clamp = |said: Option<u32>, or: Duration| {
            said.map_or(or, |s| Duration::from_secs(s.into())).clamp(INTERVAL_MIN, INTERVAL_MAX)
        };
        let pause_min = clamp(reply.min_interval_s, INTERVAL_MIN);
        let interval = clamp(reply.interval_s, INTERVAL_DEFAULT).max(pause_min);
        let state = &mut swarm.lanes[lane];
        state.last = Some(now);
        state.pause_min = pause_min;
        state.tried.clear();
        let again = core::mem::take(&mut state.again);
        let at = if again { now } else { now + interval + jitter(&mut self.rng, interval / 10) };
        self.set_due(lane, hash, at);
        let url = &self.servers[sent.server].url;
        let here = url.is_loopback().then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let from = sent.to.map(|to| to.ip()).or(here).or(url.ip());
        let heard = |peer: &SocketAddr| match from {
            Some(from) => may_name(from, *peer),
            // Nobody knows where it is: on this machine it is not.
            None => may_name(peer.ip(), *peer) && scope(peer.ip()) > Scope::Loopback,
        };
        let peers = reply.peers.into_iter().filter(heard).collect();
        self.actions.push_back(Action::Peers { swarm: hash, tracker, peers });
    }

    /// It answers, but not for this swarm.
    pub(super) fn refused(&mut self, now: Instant, sent: Sent, reason: String, retry_in: Option<Duration>) {
        let Task::Announce { swarm: hash, lane, .. } = sent.task else { return };
        self.servers[sent.server].open -= 1;
        self.servers[sent.server].works();
        self.tell(sent.server, Standing::Refuses(reason));
        let Some(swarm) = self.swarms.get_mut(&hash) else { return };
        swarm.refused(now, sent.server, retry_in);
        swarm.joined.remove(&sent.server);
        self.set_due(lane, hash, now);
    }

    /// It did not answer, or not in any known way.
    pub(super) fn no_answer(&mut self, now: Instant, sent: Sent, why: String) {
        let Task::Announce { swarm: hash, lane, .. } = sent.task else { return };
        self.servers[sent.server].open -= 1;
        self.fails(now, sent.server, sent.at, why);
        self.set_due(lane, hash, now);
    }

    pub(super) fn fails(&mut self, now: Instant, server: usize, asked: Instant, why: String) {
        let rng = &mut self.rng;
        self.servers[server].fails(now, asked, |span| jitter(rng, span));
        let retry_in = self.servers[server].retry_at - now;
        self.tell(server, Standing::Fails { why, retry_in });
    }

    /// BEP 12: who answers moves to the front of its tier.
    pub(super) fn promote(&mut self, server: usize) {
        for tier in self.lanes.iter_mut().flat_map(|lane| &mut lane.tiers) {
            if let Some(at) = tier.iter().position(|index| *index == server) {
                tier[..=at].rotate_right(1);
            }
        }
    }

    pub(super) fn tell(&mut self, server: usize, standing: Standing) {
        if self.servers[server].stands(&standing) {
            let name = self.servers[server].url.to_string();
            self.actions.push_back(Action::Status { tracker: id_of(server), name, standing });
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "at most 64 trackers")]
pub(super) fn id_of(server: usize) -> TrackerId {
    TrackerId(server as u16)
}
