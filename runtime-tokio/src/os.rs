//! What this crate asks of the system that not every system has, with what is done where it has not.

/// Raises the number of files that may be open at once to what the system allows this process; `None` is no limit.
#[cfg(unix)]
pub(crate) fn raise_descriptors() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let more = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match limit.current == limit.maximum || setrlimit(Resource::Nofile, more).is_err() {
        true => limit.current,
        false => limit.maximum,
    }
}

#[cfg(not(unix))]
pub(crate) fn raise_descriptors() -> Option<u64> {
    None
}

/// For a listener and all that it accepts.
#[cfg(target_os = "linux")]
pub(crate) fn set_congestion_control(listener: &std::net::TcpListener, name: &str) -> std::io::Result<()> {
    Ok(rustix::net::sockopt::set_tcp_congestion(listener, name)?)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn set_congestion_control(_: &std::net::TcpListener, _: &str) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
