//! Which processor does what: a server and the client that measures it do not share one if there are two.

use super::Error;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::thread;

/// Processors of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cores {
    /// For the server.
    pub server: usize,
    /// For the client; the same where there is only one.
    pub client: usize,
}

impl Cores {
    /// The first and the second of those that this process may use.
    ///
    /// # Errors
    /// When the kernel does not say which these are.
    pub fn choose() -> Result<Self, Error> {
        let allowed = sched_getaffinity(None)?;
        let mut numbers = (0..CpuSet::MAX_CPU).filter(|&number| allowed.is_set(number));
        let server = numbers.next().ok_or("no processor is allowed")?;
        Ok(Self { server, client: numbers.next().unwrap_or(server) })
    }
}

/// Does something on a thread that is bound to one processor; what it starts is bound too.
///
/// # Errors
/// Those of `work`, and when the thread cannot be bound.
pub fn on_core<T: Send>(core: usize, work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut set = CpuSet::new();
            set.set(core);
            sched_setaffinity(None, &set)?;
            work()
        });
        thread.join().map_err(|_| "a thread panicked")?
    })
}
