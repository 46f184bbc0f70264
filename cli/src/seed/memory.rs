//! How much memory there is for a cache when nobody said.

/// Share of the available memory that the cache takes: a quarter. Ours; the rest is for connections and for others.
const SHARE: u64 = 4;
/// The cache where nothing tells how much there is: 256 MiB.
const UNKNOWN: u64 = 256 << 20;

/// A quarter of what is available to this process.
pub(crate) fn cache_default() -> u64 {
    let system = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    [system, of_the_group()].into_iter().flatten().min().map_or(UNKNOWN, |bytes| bytes / SHARE)
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The limit of the control group, which is what a container has.
fn of_the_group() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let limit = std::fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.max")).ok()?;
    limit.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_in_kibibytes() {
        let text = "MemTotal:       24000000 kB\nMemFree:         1000000 kB\nMemAvailable:    2000000 kB\n";
        assert_eq!(available(text), Some(2_048_000_000));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
    }
}
