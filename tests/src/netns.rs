//! Machines in network namespaces of their own, on one switch, without rights on the machine the tests run on: the test
//! starts itself again in a user namespace, where it is root of a network that nothing leads out of.
//!
//! A test begins with `if !netns::enter("its_own_name") { return; }`. Outside, that starts the test again inside and waits for
//! its end; inside, it is true. Where namespaces are not permitted, or a tool is missing, it says so and is false.

use crate::program;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Set inside.
const INSIDE: &str = "ZEST_TEST_INSIDE";
/// Set by whoever wants a test to fail that would be skipped: `1` for whatever reason, anything else (`.ci/run` sets it where
/// namespaces are permitted) because there are no namespaces.
const REQUIRED: &str = "ZEST_TEST_NAMESPACES_REQUIRED";
/// What makes us root of an own network; `--mount` because `ip netns` keeps names in /run.
const UNSHARE: [&str; 4] = ["--user", "--map-root-user", "--net", "--mount"];

/// Whether this process is alone in a network of its own.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Why no networks can be made here.
///
/// # Errors
/// What is missing, for people.
pub fn permitted() -> Result<(), String> {
    let mut probe = Command::new("unshare");
    let probe = probe.args(UNSHARE).args(["ip", "link", "set", "lo", "up"]).output();
    let output = probe.map_err(|error| format!("unshare (util-linux) cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("no network namespace, or no ip (iproute2): {}", why.trim()))
}

/// This program again, inside a network that has nothing but its own loopback device, which is still down.
///
/// # Panics
/// If this process has no path.
#[must_use]
pub fn inside() -> Command {
    let mut command = Command::new("unshare");
    // What is left over when this process is killed is of no use to anybody.
    command.args(UNSHARE).args(["--fork", "--kill-child"]);
    command.arg(std::env::current_exe().expect("a program has a path"));
    command.env(INSIDE, "1");
    command
}

/// Makes the inside usable: loopback, and a place where `ip netns` can keep its names.
pub fn settle() {
    ip("link set lo up");
    run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]));
}

/// Starts the test of this name inside, and is true there; see the module's text.
///
/// # Panics
/// If the test fails inside, or would be skipped although it is required.
#[must_use]
pub fn enter(test: &str) -> bool {
    if is_inside() {
        settle();
        return true;
    }
    if let Err(why) = permitted() {
        assert!(std::env::var_os(REQUIRED).is_none(), "{test} cannot run: {why}");
        println!("{test} is skipped: {why}");
        return false;
    }
    // Built out here, where there are compilers and dependencies.
    let _made = program::zest();
    // The names of tests begin with that of their file; one that began another's would be seen below.
    let name = format!("::{test}");
    let output = inside().args([&name, "--nocapture"]).output().expect("unshare was there a moment ago");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let ran = String::from_utf8_lossy(&output.stdout).contains("running 1 test");
    assert!(output.status.success() && ran, "{test} failed inside with {}", output.status);
    false
}

/// Whether a program that this test needs is in the path; if not, it is said.
///
/// # Panics
/// If the test is required and cannot run.
#[must_use]
pub fn has(test: &str, program: &str) -> bool {
    let there = is_installed(program);
    if !there {
        let required = std::env::var_os(REQUIRED).is_some_and(|value| value == "1");
        assert!(!required, "{test} cannot run: {program} is not in the path");
        println!("{test} is skipped: {program} is not in the path");
    }
    there
}

/// Whether a program is in the path.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// `ip` with these words.
fn ip(words: &str) {
    run(Command::new("ip").args(words.split(' ')));
}

/// A switch, and the test itself as one machine at it.
#[derive(Debug)]
pub struct Switch {
    address: Ipv4Addr,
    prefix: u8,
}

impl Switch {
    /// A switch on which the test has this address, in a network of this prefix length.
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        // Without an address of its own it takes that of a port, another one with every machine that is plugged in, and whoever
        // knows the former one talks to nobody. Without a querier, multicast snooping would only guess.
        ip(&format!("link add switch address {} type bridge mcast_snooping 0 forward_delay 0", mac(address)));
        quick_v6(None);
        ip(&format!("addr add {address}/{prefix} dev switch"));
        ip("link set switch up");
        Self { address, prefix }
    }

    /// Where the test itself is.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A new machine with this name and address, plugged in.
    #[must_use]
    pub fn machine(&self, name: &str, address: Ipv4Addr) -> Machine {
        let machine = Machine::new(name, address);
        machine.plug("eth0", address, self.prefix, &format!("{name}.port"));
        ip(&format!("link set {name}.port master switch up"));
        machine
    }
}

/// A computer that is switched off: a network namespace and an empty home.
#[derive(Debug)]
pub struct Machine {
    name: String,
    address: Ipv4Addr,
    home: TempDir,
}

impl Machine {
    fn new(name: &str, address: Ipv4Addr) -> Self {
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        quick_v6(Some(name));
        Self { name: name.to_owned(), address, home: TempDir::new().expect("a temporary folder") }
    }

    /// A network card of this machine; its cable's other end is `port` out here.
    fn plug(&self, card: &str, address: Ipv4Addr, prefix: u8, port: &str) {
        let name = &self.name;
        let mac = mac(address);
        ip(&format!("link add {port} type veth peer name {card} address {mac} netns {name}"));
        ip(&format!("-n {name} addr add {address}/{prefix} dev {card}"));
        ip(&format!("-n {name} link set {card} up"));
    }

    /// Puts a router in front of a new machine: the router is at `outside` on the switch, the machine behind it at `address`, and
    /// what it sends leaves with the router's address. Nobody outside can reach it unless it spoke first. Needs `nft`.
    #[must_use]
    pub fn behind_nat(switch: &Switch, name: &str, address: Ipv4Addr, outside: Ipv4Addr) -> (Self, Self) {
        let router = switch.machine(&format!("{name}.nat"), outside);
        let machine = Self::new(name, address);
        let [a, b, c, _] = address.octets();
        let gate = Ipv4Addr::new(a, b, c, 254);
        machine.plug("eth0", address, 24, &format!("{name}.cable"));
        ip(&format!("link set {name}.cable netns {} name home", router.name));
        ip(&format!("-n {} addr add {gate}/24 dev home", router.name));
        ip(&format!("-n {} link set home up", router.name));
        ip(&format!("-n {name} route add default via {gate}"));
        router.shell("echo 1 > /proc/sys/net/ipv4/ip_forward");
        for rule in [
            "add table ip nat",
            "add chain ip nat out { type nat hook postrouting priority 100; }",
            "add rule ip nat out oifname eth0 masquerade",
            "add chain ip nat through { type filter hook forward priority 0; policy drop; }",
            "add rule ip nat through iifname home accept",
            "add rule ip nat through ct state established,related accept",
        ] {
            run(router.command(Path::new("nft")).arg(rule));
        }
        (machine, router)
    }

    fn shell(&self, line: &str) {
        run(self.command(Path::new("sh")).args(["-c", line]));
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its address with a port.
    #[must_use]
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.address), port)
    }

    /// The address of its network card.
    #[must_use]
    pub fn card(&self) -> [u8; 6] {
        card(self.address)
    }

    /// Sends whatever is for nobody on the switch to this address.
    pub fn route_all(&self, via: Ipv4Addr) {
        ip(&format!("-n {} route add default via {via}", self.name));
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A program on this machine.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program).stdin(Stdio::null());
        command
    }

    /// `zest` on this machine, with this home and nothing of the caller's environment.
    #[must_use]
    pub fn zest(&self, endpoint: &str, words: &str) -> Command {
        self.clean(program::zest(), endpoint, words)
    }

    /// `zest-seed` in the same way.
    #[must_use]
    pub fn seed_box(&self, endpoint: &str, words: &str) -> Command {
        self.clean(program::zest_seed(), endpoint, words)
    }

    fn clean(&self, program: &Path, endpoint: &str, words: &str) -> Command {
        let mut command = self.command(program);
        command.args(words.split(' ')).env_clear().env("HOME", self.home()).env("HF_ENDPOINT", endpoint);
        // A test's Hub stands for the one that everybody knows, unless the test says otherwise.
        command.env("ZEST_PUBLIC_MIRRORS", endpoint);
        let path: PathBuf = std::env::var_os("PATH").map(PathBuf::from).unwrap_or_default();
        command.env("PATH", path);
        if let Ok(log) = std::env::var("ZEST_TEST_LOG") {
            command.env("ZEST_LOG", log).arg("-v");
        } else {
            command.arg("-q");
        }
        command
    }
}

/// The address of the network card of whoever has this one.
fn card(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [2, 0, a, b, c, d]
}

/// The same as text.
fn mac(address: Ipv4Addr) -> String {
    card(address).map(|byte| format!("{byte:02x}")).join(":")
}

/// IPv6 addresses are usable at once in this namespace, without the second in which a machine asks whether it is alone with them.
fn quick_v6(namespace: Option<&str>) {
    let line = "for f in /proc/sys/net/ipv6/conf/*/accept_dad; do [ ! -e $f ] || echo 0 > $f; done";
    let mut command = match namespace {
        Some(name) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", name, "sh"]);
            command
        }
        None => Command::new("sh"),
    };
    run(command.args(["-c", line]));
}
