//! Other processes, and what the kernel says about them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;

use super::Error;

/// Time between two looks at a process's memory: 5 ms. The kernel keeps the peak, so only growth within the last 5 ms of
/// a process can be missed.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);

/// Time a service has to say what it is waited for: 5 min, it may have to hash a large model on a slow disk.
const EVENT_WAIT: Duration = Duration::from_secs(300);

/// Time a service has to end when asked to: 10 s.
const END_WAIT: Duration = Duration::from_secs(10);

/// What one run cost.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// Start to exit, in seconds.
    pub wall_s: f64,
    /// User and system time of the process and its children, in seconds (resolution 10 ms).
    pub cpu_s: f64,
    /// Peak resident memory in bytes.
    pub rss_bytes: u64,
    /// CPU time of the whole machine meanwhile, in seconds. What is far above the processes measured was somebody else.
    pub machine_cpu_s: f64,
}

/// Runs `command` to its end and gives its standard output. Files for its output are made in `scratch`.
///
/// # Errors
/// When it cannot be started, or fails; with the last it said.
///
/// # Panics
/// Never: the thread that looks at it does not.
pub fn measure(command: &mut Command, scratch: &Path) -> Result<(Cost, String), Error> {
    let (out, err) = (scratch.join("stdout"), scratch.join("stderr"));
    command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&err)?);
    let machine = machine_cpu_s()?;
    let started = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    let pid = child.id();
    let over = AtomicBool::new(false);
    let (wall_s, rss_bytes) = thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = memory_bytes(pid, "VmHWM").unwrap_or(0).max(peak);
                thread::sleep(SAMPLE_EVERY);
            }
            peak
        });
        // Not reaped yet, so that its times can still be read.
        let waited =
            waitid(WaitId::Pid(Pid::from_child(&child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let wall_s = started.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        waited.map(|_| (wall_s, sampler.join().expect("the sampler does not panic")))
    })?;
    let cpu_s = cpu_s(pid)?;
    let machine_cpu_s = machine_cpu_s()? - machine;
    let status = child.wait()?;
    if !status.success() {
        let said = fs::read_to_string(&err)?;
        let lines: Vec<&str> = said.lines().collect();
        let tail = lines[lines.len().saturating_sub(5)..].join("\n");
        return Err(format!("{command:?} ended with {status}:\n{tail}").into());
    }
    Ok((Cost { wall_s, cpu_s, rss_bytes, machine_cpu_s }, fs::read_to_string(&out)?))
}

/// A process in the background that tells what happens as JSON lines on its standard output. Ended when dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
    lines: Receiver<String>,
}

impl Service {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    ///
    /// # Panics
    /// Never: a pipe was asked for.
    pub fn start(command: &mut Command) -> Result<Self, Error> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| format!("cannot start {command:?}: {error}"))?;
        let stdout = child.stdout.take().expect("its standard output is a pipe");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// Waits for the event of this name and gives its object.
    ///
    /// # Errors
    /// When the process ends or says nothing for five minutes.
    pub fn event(&self, name: &str) -> Result<Value, Error> {
        let deadline = Instant::now() + EVENT_WAIT;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let value: Value = serde_json::from_str(&line).unwrap_or_default();
                    if value["event"] == name {
                        return Ok(value);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("ended before it was {name}").into());
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("not {name} after {EVENT_WAIT:?}").into());
                }
            }
        }
    }

    /// Waits until it listens for peers; where.
    ///
    /// # Errors
    /// When it ends before, or does not say where.
    pub fn listens(&self) -> Result<SocketAddr, Error> {
        let listening = self.event("listening")?;
        Ok(listening["addrs"][0].as_str().ok_or("it does not say where it listens")?.parse()?)
    }

    /// Waits until it knows what it has.
    ///
    /// # Errors
    /// When it ends before, or has nothing to give.
    pub fn shares(&self) -> Result<(), Error> {
        match self.event("indexed")?["files_shared"].as_u64().unwrap_or(0) {
            0 => Err("it shares nothing: is the repository public?".into()),
            _ => Ok(()),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time so far, in seconds.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn cpu_s(&self) -> Result<f64, Error> {
        cpu_s(self.child.id())
    }

    /// Most memory that was resident so far, in bytes.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn peak_rss_bytes(&self) -> Result<u64, Error> {
        memory_bytes(self.child.id(), "VmHWM").ok_or_else(|| "the process is gone".into())
    }

    /// Bytes that it had the disk read so far.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn disk_bytes(&self) -> Result<u64, Error> {
        let io = fs::read_to_string(format!("/proc/{}/io", self.child.id()))?;
        let field = io.lines().find_map(|line| line.strip_prefix("read_bytes: ")?.parse().ok());
        field.ok_or_else(|| "/proc/PID/io is not understood".into())
    }

    /// Resident memory of its own now: without the pages of its program file, of which it touches more as it meets more.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn own_memory(&self) -> Result<OwnMemory, Error> {
        let maps = fs::read_to_string(format!("/proc/{}/smaps", self.child.id()))?;
        let memory = own_memory(&maps);
        if memory.rest_bytes == 0 { Err("the process is gone".into()) } else { Ok(memory) }
    }

    /// Resident memory now, in bytes.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn rss_bytes(&self) -> Result<u64, Error> {
        memory_bytes(self.child.id(), "VmRSS").ok_or_else(|| "the process is gone".into())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already over if this fails.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + END_WAIT;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(SAMPLE_EVERY);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Resident memory of a process that is no file's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnMemory {
    /// Of the cache of chunks: the mappings that are to have no huge pages (`nh`), which nothing else asks for. It goes up and down
    /// by a segment as the cache turns over.
    pub cache_bytes: u64,
    /// Everything else.
    pub rest_bytes: u64,
}

/// What `/proc/PID/smaps` says of it.
fn own_memory(maps: &str) -> OwnMemory {
    let (mut memory, mut anonymous) = (OwnMemory::default(), 0);
    for line in maps.lines() {
        if let Some(size) = line.strip_prefix("Anonymous:") {
            anonymous =
                size.trim().strip_suffix(" kB").and_then(|size| size.trim().parse().ok()).unwrap_or(0) << 10;
        } else if let Some(flags) = line.strip_prefix("VmFlags:") {
            let cache = flags.split_whitespace().any(|flag| flag == "nh");
            *(if cache { &mut memory.cache_bytes } else { &mut memory.rest_bytes }) +=
                std::mem::take(&mut anonymous);
        }
    }
    memory
}

/// A line of `/proc/PID/status` that ends in kB.
fn memory_bytes(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// User and system time of a process and of its children that are over.
fn cpu_s(pid: u32) -> Result<f64, Error> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    cpu_ticks(&stat).map(seconds).ok_or_else(|| format!("/proc/{pid}/stat is not understood").into())
}

/// Fields 14 to 17 of `/proc/PID/stat`. The name, field 2, may contain blanks and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let times: Vec<u64> =
        rest.split_whitespace().skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    (times.len() == 4).then(|| times.iter().sum())
}

/// CPU time of the whole machine: what the first line of `/proc/stat` counts as neither idle nor waiting nor stolen.
///
/// # Errors
/// When the kernel does not say.
pub fn machine_cpu_s() -> Result<f64, Error> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or("")
        .split_whitespace()
        .skip(1)
        .map_while(|field| field.parse().ok())
        .collect();
    match fields[..] {
        [user, nice, system, _idle, _iowait, irq, softirq, ..] => {
            Ok(seconds(user + nice + system + irq + softirq))
        }
        _ => Err("/proc/stat is not understood".into()),
    }
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caches_memory_is_told_apart() {
        let maps = "7f00-7f80 rw-p 0 00:00 0\nRss: 8192 kB\nAnonymous:         8192 kB\nVmFlags: rd wr mr nh \n\
                    5500-5600 rw-p 0 00:00 0 [heap]\nAnonymous:  12 kB\nVmFlags: rd wr mr\n\
                    5600-5700 r-xp 0 08:01 9 /bin/zest\nRss: 90 kB\nAnonymous: 0 kB\nVmFlags: rd ex mr";
        assert_eq!(own_memory(maps), OwnMemory { cache_bytes: 8192 << 10, rest_bytes: 12 << 10 });
    }

    #[test]
    fn times_are_found_behind_any_process_name() {
        let stat = "12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 30 7 2 20 0";
        assert_eq!(cpu_ticks(stat), Some(289));
        assert_eq!(cpu_ticks("12 (x) S 1"), None);
    }
}
