//! TCP congestion control of what is measured: the same for all programs, and one that does not pace.

use rustix::net::{AddressFamily, SocketType, socket, sockopt::set_tcp_congestion};
use std::os::fd::AsFd;

/// Sends what there is room for. bbr paces by a timer, and on loopback that costs everybody more than half of the CPU time.
const WITHOUT_PACING: &str = "cubic";

/// The name of one without pacing, if this process may use it; otherwise everybody has the system's.
#[must_use]
pub fn without_pacing() -> Option<&'static str> {
    let tried = socket(AddressFamily::INET, SocketType::STREAM, None)
        .and_then(|socket| set_tcp_congestion(socket, WITHOUT_PACING));
    tried.ok().map(|()| WITHOUT_PACING)
}

/// The system's.
#[must_use]
pub fn of_the_system() -> String {
    let name = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    name.trim().to_owned()
}

/// For a listener and all that it accepts.
pub(super) fn set(listener: impl AsFd, name: Option<&str>) -> std::io::Result<()> {
    name.map_or(Ok(()), |name| Ok(set_tcp_congestion(listener, name)?))
}
