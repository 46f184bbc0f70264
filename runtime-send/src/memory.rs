//! Memory that the allocator keeps although nobody uses it any more.
//!
//! What a few hundred links needed lies between what lives longer when they leave, and glibc gives only the end of its memory back by
//! itself: a process would stay as large as its largest crowd for ever. So memory is given back once many links have left, and
//! things have been calm for a while.

use std::time::Duration;

/// A crowd is worth it from so many links on: 64. Ours; fewer take less than a megabyte.
const MANY: usize = 64;
/// Memory is given back so long after half of a crowd has left: 10 s. Ours; whoever comes again at once finds it in place.
pub const CALM: Duration = Duration::from_secs(10);

/// Whether a crowd has left.
#[derive(Debug, Default)]
pub struct Ebb {
    /// The most links since memory was last given back.
    most: usize,
    waits: bool,
}

impl Ebb {
    /// So many links there are now. True if half of a crowd has left: memory is to be [given back](give_back) after [`CALM`].
    /// Until [`Ebb::over`] it is not said again.
    #[must_use]
    pub fn links(&mut self, now: usize) -> bool {
        self.most = self.most.max(now);
        self.most >= MANY && now <= self.most / 2 && !std::mem::replace(&mut self.waits, true)
    }

    /// It was given back, with so many links left.
    pub fn over(&mut self, now: usize) {
        (self.most, self.waits) = (now, false);
    }
}

/// Gives memory back to the system that was freed and lies between what is in use. It takes milliseconds, in which other threads
/// that allocate wait. Does nothing where the C library has no such call; glibc has.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn give_back() {
    // SAFETY: it is handed a number and changes nothing that is in use.
    unsafe { nix::libc::malloc_trim(0) };
}

/// See that of Linux with glibc.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_that_left_is_told_of_once() {
        let mut ebb = Ebb::default();
        assert!((0..=500).all(|links| !ebb.links(links)));
        let told: Vec<usize> = (0..500).rev().filter(|links| ebb.links(*links)).collect();
        assert_eq!(told, [250]);
        ebb.over(0);
        assert!((0..=500).all(|links| !ebb.links(links)));
        assert!(ebb.links(100), "the next one is told of, too");
    }

    #[test]
    fn a_few_that_come_and_go_are_no_crowd() {
        let mut ebb = Ebb::default();
        assert!((0..1000).all(|n| !ebb.links(if n % 2 == 0 { 63 } else { 0 })));
        assert!(!ebb.links(MANY) && ebb.links(MANY / 2));
    }

    /// Resident bytes of this process that are no file's.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux");
        line.trim().trim_end_matches("kB").trim().parse::<usize>().expect("a number") << 10
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn what_lies_between_what_is_in_use_goes_back() {
        // Each tenth piece lives on, the last one included: of itself the allocator gives nothing back.
        let pieces: Vec<Vec<u8>> = (0..20_001).map(|_| vec![1; 2 << 10]).collect();
        let kept: Vec<Vec<u8>> = pieces.into_iter().step_by(10).collect();
        let before = resident();
        give_back();
        let freed = before.saturating_sub(resident());
        assert!(freed > 20 << 20, "{freed} bytes of 36 MB went back");
        assert!(kept.iter().all(|piece| piece.iter().all(|byte| *byte == 1)));
    }
}
