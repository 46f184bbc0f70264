//! Programs to which the system refuses something: system calls that fail, and rights that the superuser has.

use std::process::Command;

/// System calls, by their numbers on this processor.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod calls {
    pub(crate) const FLOCK: i64 = 73;
    pub(crate) const ACCEPT4: i64 = 288;
    pub(crate) const UNLINK: i64 = 87;
}
#[cfg(all(target_os = "linux", not(target_arch = "x86_64")))]
mod calls {
    pub(crate) const FLOCK: i64 = 32;
    pub(crate) const ACCEPT4: i64 = 242;
    pub(crate) const UNLINK: i64 = 35;
}
#[cfg(not(target_os = "linux"))]
mod calls {
    pub(crate) const FLOCK: i64 = 0;
    pub(crate) const ACCEPT4: i64 = 0;
    pub(crate) const UNLINK: i64 = 0;
}
pub(crate) use calls::*;

/// "Too many open files", "read-only file system", "function not implemented".
pub(crate) const EMFILE: u32 = 24;
pub(crate) const EROFS: u32 = 30;
pub(crate) const ENOSYS: u32 = 38;

/// Whether system calls can be refused here.
pub(crate) fn may_refuse() -> bool {
    cfg!(target_os = "linux")
}

/// Runs `work` on a thread where these calls fail with `errno`; programs started there inherit that.
#[cfg(target_os = "linux")]
pub(crate) fn refusing<T: Send>(calls: &[i64], errno: u32, work: impl FnOnce() -> T + Send) -> T {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
    let rules = calls.iter().map(|&call| (call, Vec::new())).collect();
    let arch: TargetArch = std::env::consts::ARCH.try_into().expect("a processor with seccomp");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            seccompiler::apply_filter(&program).expect("the filter is taken");
            work()
        });
        thread.join().expect("no panic")
    })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn refusing<T: Send>(_calls: &[i64], _errno: u32, work: impl FnOnce() -> T + Send) -> T {
    work()
}

/// Whether a program can be run that may read only what its user may.
pub(crate) fn may_drop_rights() -> bool {
    !rustix::process::geteuid().is_root()
        || Command::new("setpriv").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The same program, without the superuser's right to read everything.
pub(crate) fn without_rights(inner: &Command) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.arg("--bounding-set=-dac_override,-dac_read_search").arg(inner.get_program());
        command
    } else {
        Command::new(inner.get_program())
    };
    command.args(inner.get_args()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(std::process::Stdio::null());
    command
}
