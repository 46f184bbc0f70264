//! What packets of finding peers go through.

use super::config::Reach;
use super::lan::LanSocket;
use super::udp::Udp;
use super::{http, mapping};
use std::cell::RefCell;
use std::rc::Rc;
use tokio::sync::Notify;

pub(super) struct Net {
    pub(super) udp: Udp,
    pub(super) lan: Vec<Rc<LanSocket>>,
    pub(super) http: http::Requests,
    /// What the router agreed to.
    pub(super) mapping: RefCell<Option<mapping::Mapping>>,
    /// Told when a tracker may have heard a farewell, or is not waited for any longer.
    pub(super) farewells: Notify,
}

impl Net {
    pub(super) fn new(udp: Udp, lan: Vec<Rc<LanSocket>>, reach: Reach) -> Self {
        let http = http::Requests::new(reach.bound());
        Self { udp, lan, http, mapping: RefCell::default(), farewells: Notify::new() }
    }
}
