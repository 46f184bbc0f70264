#![cfg_attr(not(test), warn(clippy::unwrap_used))]
//! zest in the background: one [`Session`](zest_runtime_tokio::Session) per user and cache, and an HTTP API on loopback for the
//! user's own programs.
//!
//! - [`Instance`]: the claim to be the one daemon of a cache. [`Running`]: who has it.
//! - [`Api`]: the listeners and their routes, over a session. [`Doors`] says where it listens on loopback, [`Socket`] is for the same
//!   user alone.
//! - [`Client`]: the other end. It has the daemon prove itself before it shows the secret.
//!
//! Files in zest's cache, all for their owner alone: `zest.pid` (the lock, and the process's number), `daemon.json` ([`Record`]:
//! where it is), `api-secret` ([`Secret`]), `endpoint-key` (of the local endpoint), `pulls.json`
//! (what the next daemon goes on with), `answers/` (of the Hub), `zest.log` ([`LogFile`]).
//!
//! What may be asked without the secret is in `gate.rs`, what can be asked at all in `routes.rs` and in `docs/api.md`.

mod about;
mod answer;
mod app;
mod asked;
mod client;
mod dashboard;
mod doors;
mod endpoint;
mod error;
mod events;
mod files;
mod gate;
mod given;
pub mod images;
mod instance;
pub mod limits;
mod log;
mod metrics;
mod models;
mod openapi;
mod os;
mod pending;
mod places;
mod reads;
mod record;
mod routes;
mod secret;
mod server;
mod settings;
mod socket;
mod status;
mod totals;
mod xorbs;

pub use about::{About, Environment, Ways};
pub use answer::status_of;
pub use client::{Answer, Client, ClientError, Events};
pub use dashboard::leave_redirect;
pub use doors::{Doors, HTTP_PORT, Opened, listen_here};
pub use error::DaemonError;
pub use given::Given;
pub use instance::{Instance, Running};
pub use log::{LOG_BYTES_MAX, LOGS_KEPT, LogFile};
pub use places::Places;
pub use record::Record;
pub use secret::{Secret, random_hex};
pub use server::{Api, Stop};
pub use settings::{Settings, SettingsPatch};
pub use socket::Socket;
pub use status::Original;
