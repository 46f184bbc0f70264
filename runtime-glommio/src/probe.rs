//! Whether io_uring can be used here. glommio panics or ends the process where it cannot, so the kernel is asked first: for
//! a ring, for the operations glommio needs, and how much memory may be locked.

use io_uring::{IoUring, Probe, opcode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fmt;

/// Least lockable memory that glommio accepts: 512 KiB (its own check).
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;
/// Memory for reads of one executor: 6 MiB. What may be read and unsent, half as much again for what does not fit together,
/// and glommio's own needs.
const IO_MEMORY_BYTES: u64 = 6 << 20;
/// Least of it: 1 MiB, eight reads. With less, reads go unregistered.
const IO_MEMORY_BYTES_MIN: u64 = 1 << 20;
/// glommio registers the memory of an executor with three rings, and each counts.
const RINGS: u64 = 3;
/// Least number of files that may be open at once: 96. Ours; an executor needs about 26 for its rings, and then the files it
/// reads and its links. glommio ends the process where it gets none.
const DESCRIPTORS_MIN: u64 = 96;
/// Entries of the ring that is set up to see whether it can be: 8.
const PROBE_ENTRIES: u32 = 8;

/// What the kernel granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// Bytes this process may lock; `None`: any number.
    pub memlock_bytes: Option<u64>,
}

/// Why io_uring cannot be used, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// EPERM or EACCES: a sysctl, or a filter of the container.
    Forbidden,
    /// ENOSYS: a kernel without it, or a filter that says so.
    Absent,
    /// The kernel lacks operations: too old.
    Operations(Vec<&'static str>),
    /// Too little memory may be locked.
    Memlock {
        /// The hard limit in bytes.
        limit: u64,
    },
    /// Too few files may be open at once.
    Descriptors {
        /// The hard limit.
        limit: u64,
    },
    /// Anything else that the system said.
    Other(String),
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden => write!(
                f,
                "io_uring is forbidden here: allow it with `sysctl kernel.io_uring_disabled=0`, or in the container's \
                 seccomp profile (io_uring_setup, io_uring_enter, io_uring_register)"
            ),
            Self::Absent => write!(
                f,
                "this kernel has no io_uring, or the container's seccomp profile hides it: use Linux 5.11 or newer and \
                 allow io_uring_setup, io_uring_enter and io_uring_register"
            ),
            Self::Operations(missing) => {
                write!(f, "this kernel's io_uring lacks {}: use Linux 5.11 or newer", missing.join(", "))
            }
            Self::Memlock { limit } => write!(
                f,
                "only {limit} bytes may be locked in memory, {MEMLOCK_BYTES_MIN} are needed: raise `ulimit -l`, or \
                 LimitMEMLOCK in the systemd unit"
            ),
            Self::Descriptors { limit } => write!(
                f,
                "only {limit} files may be open at once, {DESCRIPTORS_MIN} are needed: raise `ulimit -n`, or LimitNOFILE in the \
                 systemd unit"
            ),
            Self::Other(why) => write!(f, "io_uring cannot be set up: {why}"),
        }
    }
}

/// Asks the kernel. Raises the soft limits on locked memory and open files to the hard ones on the way.
///
/// # Errors
/// The reason for which the tokio runtime should be used.
pub fn probe() -> Result<Ring, Refusal> {
    let memlock_bytes = raise(Resource::Memlock);
    if let Some(limit) = raise(Resource::Nofile).filter(|&limit| limit < DESCRIPTORS_MIN) {
        return Err(Refusal::Descriptors { limit });
    }
    if let Some(limit) = memlock_bytes.filter(|&limit| limit < MEMLOCK_BYTES_MIN) {
        return Err(Refusal::Memlock { limit });
    }
    let ring = IoUring::new(PROBE_ENTRIES).map_err(|error| refusal(&error))?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| refusal(&error))?;
    let missing: Vec<&'static str> =
        NEEDED.iter().filter(|(code, _)| !probe.is_supported(*code)).map(|(_, name)| *name).collect();
    if missing.is_empty() { Ok(Ring { memlock_bytes }) } else { Err(Refusal::Operations(missing)) }
}

impl Ring {
    /// Bytes for reads of each of `executors`, and whether the kernel can register them.
    pub(crate) fn io_memory(self, executors: usize) -> (usize, bool) {
        let share = self.memlock_bytes.map_or(u64::MAX, |limit| limit / (RINGS * executors.max(1) as u64));
        // Below a page-multiple glommio rounds up, which would break the sum.
        let bytes = share.min(IO_MEMORY_BYTES) & !0xffff;
        match bytes >= IO_MEMORY_BYTES_MIN {
            true => (bytes as usize, true),
            false => (IO_MEMORY_BYTES as usize, false),
        }
    }
}

fn refusal(error: &std::io::Error) -> Refusal {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::PERM | Errno::ACCESS) => Refusal::Forbidden,
        Some(Errno::NOSYS) => Refusal::Absent,
        Some(Errno::NOMEM) => Refusal::Other(format!("{error} (`ulimit -l` may be too low)")),
        _ => Refusal::Other(error.to_string()),
    }
}

/// Raises a soft limit to the hard one and returns it; `None` is no limit.
fn raise(resource: Resource) -> Option<u64> {
    let limit = getrlimit(resource);
    if limit.current == limit.maximum {
        return limit.current;
    }
    let more = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(resource, more) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// Operations that glommio 0.9 checks for at start, and ends the process without.
const NEEDED: &[(u8, &str)] = &[
    (opcode::Nop::CODE, "NOP"),
    (opcode::Readv::CODE, "READV"),
    (opcode::Writev::CODE, "WRITEV"),
    (opcode::Fsync::CODE, "FSYNC"),
    (opcode::ReadFixed::CODE, "READ_FIXED"),
    (opcode::WriteFixed::CODE, "WRITE_FIXED"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::PollRemove::CODE, "POLL_REMOVE"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::RecvMsg::CODE, "RECVMSG"),
    (opcode::Timeout::CODE, "TIMEOUT"),
    (opcode::TimeoutRemove::CODE, "TIMEOUT_REMOVE"),
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::LinkTimeout::CODE, "LINK_TIMEOUT"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::Fallocate::CODE, "FALLOCATE"),
    (opcode::OpenAt::CODE, "OPENAT"),
    (opcode::Close::CODE, "CLOSE"),
    (opcode::Statx::CODE, "STATX"),
    (opcode::Read::CODE, "READ"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::Send::CODE, "SEND"),
    (opcode::Recv::CODE, "RECV"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_do() {
        let from = |code| refusal(&std::io::Error::from_raw_os_error(code)).to_string();
        assert!(from(1).contains("kernel.io_uring_disabled") && from(1).contains("seccomp"));
        assert!(from(38).contains("Linux 5.11"));
        assert!(Refusal::Memlock { limit: 65_536 }.to_string().contains("LimitMEMLOCK"));
        let few = Refusal::Descriptors { limit: 64 }.to_string();
        assert!(few.contains("ulimit -n") && few.contains("LimitNOFILE"), "{few}");
        assert!(Refusal::Operations(vec!["STATX"]).to_string().contains("STATX"));
    }

    #[test]
    fn memory_for_reads_stays_within_what_may_be_locked() {
        let of = |limit: Option<u64>, n| Ring { memlock_bytes: limit }.io_memory(n);
        assert_eq!(of(None, 64), (6 << 20, true));
        for executors in 1..9 {
            let (bytes, registered) = of(Some(8 << 20), executors);
            assert!(!registered || 3 * executors * bytes <= 8 << 20, "{executors}: {bytes}");
        }
        assert!(of(Some(8 << 20), 2).1 && !of(Some(1 << 20), 1).1);
    }
}
