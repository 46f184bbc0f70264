//! The network interfaces of this machine, as far as multicast is concerned.

/// Index 0 lets the system choose an interface.
#[cfg(not(target_os = "linux"))]
pub(super) fn indices(loopback: bool) -> Vec<u32> {
    let _ = loopback;
    vec![0]
}

/// Indices of the interfaces that are up: those that can multicast, or the loopback ones.
#[cfg(target_os = "linux")]
pub(super) fn indices(loopback: bool) -> Vec<u32> {
    /// `IFF_UP`, `IFF_LOOPBACK` and `IFF_MULTICAST` of netdevice(7).
    const UP: u32 = 0x1;
    const LOOPBACK: u32 = 0x8;
    const MULTICAST: u32 = 0x1000;

    let Ok(entries) = std::fs::read_dir("/sys/class/net") else { return vec![0] };
    let number = |text: String| {
        let text = text.trim();
        match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        }
    };
    let mut found: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| {
            let read = |name: &str| number(std::fs::read_to_string(entry.path().join(name)).ok()?);
            let (index, flags) = (read("ifindex")?, read("flags")?);
            let kind = if loopback { LOOPBACK } else { MULTICAST };
            let fits = flags & UP != 0 && flags & kind != 0 && (flags & LOOPBACK != 0) == loopback;
            fits.then_some(index)
        })
        .collect();
    found.sort_unstable();
    found
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn loopback_is_an_interface_of_its_own() {
        let here = super::indices(true);
        assert!(!here.is_empty(), "every machine has a loopback interface that is up");
        assert!(super::indices(false).iter().all(|index| !here.contains(index)));
    }
}
