//! A build without io_uring.

use super::Refusal;
use crate::failure::Failure;
use crate::seed::wanted::{Numbers, Wanted};
use std::net::SocketAddr;
use zest_runtime_tokio::DiscoveryStatus;

/// Nobody has one.
pub(crate) enum Uring {}

impl Uring {
    pub(crate) fn refusal() -> Option<Refusal> {
        Some(Refusal::Build)
    }

    pub(crate) async fn start(_: &Wanted, _: Vec<usize>) -> Result<Self, Failure> {
        Err(Refusal::Build.failure())
    }

    pub(crate) fn local_addrs(&self) -> &[SocketAddr] {
        match *self {}
    }

    pub(crate) fn describe(&self) -> String {
        match *self {}
    }

    pub(crate) fn numbers(&self) -> Result<Numbers, Failure> {
        match *self {}
    }

    pub(crate) async fn discovery(&self) -> Option<DiscoveryStatus> {
        match *self {}
    }

    pub(crate) async fn refresh(&self) {
        match *self {}
    }

    pub(crate) async fn shutdown(self) {
        match self {}
    }
}
