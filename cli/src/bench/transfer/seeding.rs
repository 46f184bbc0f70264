//! Seeders, drained by 1, 8 and 256 clients: what is in memory, and what has to come from the disk.

use super::report::{Baselines, Figure, Report, Run};
use super::{Place, Programs};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;
use zest_benches::transfer::Error;
use zest_benches::transfer::congestion;
use zest_benches::transfer::cores::{Cores, on_core};
use zest_benches::transfer::direct::{self, process_cpu_s, shuffle};
use zest_benches::transfer::drain::{self, Drained};
use zest_benches::transfer::page_cache;
use zest_benches::transfer::process::{Service, machine_cpu_s};
use zest_benches::transfer::seed_data::Data;

/// Clients at once.
const CONNECTIONS: [usize; 3] = [1, 8, 256];

/// Bytes of the file: 1 GiB, four times what a seeder may cache when it is measured cold.
const FILE_BYTES: u64 = 1 << 30;

/// Cache of our seeders when they are measured cold.
const CACHE_COLD_BYTES: u64 = FILE_BYTES / 4;

/// Bytes at the front of the file that are asked for when it is hot: 128 MiB, many times the processor's caches.
const HOT_BYTES: u64 = 128 << 20;

/// Cache of our seeders when they are measured hot: room for what is asked for and some more.
const CACHE_HOT_BYTES: u64 = HOT_BYTES + HOT_BYTES / 2;

/// Bytes drained in a hot run: 3 GB, about half a second of CPU time, so that its steps of 10 ms do not matter.
const HOT_RUN_BYTES: u64 = 3_000_000_000;

/// Bytes drained in a cold run: what the disk gives in about this many seconds, but not less than 64 MB.
const COLD_RUN_S: f64 = 1.0;
const COLD_RUN_BYTES_MIN: u64 = 64_000_000;

/// Reads that the baseline of the disk keeps in flight.
const DEPTH: &str = "32";

/// Names of the programs in the report.
const SENDFILE: &str = "sendfile";
const POOL: &str = "pool";
const SERVE: &str = "zest serve";
const SEED: &str = "zest-seed";
const RANDOM: &str = "O_DIRECT random";
const SEQUENTIAL: &str = "O_DIRECT sequential";

const HOT_BASELINES: Baselines = &[(SENDFILE, Figure::PerCpu)];
const SENDFILE_BASELINES: Baselines = &[(RANDOM, Figure::Rate)];
const POOL_BASELINES: Baselines = &[(RANDOM, Figure::Rate), (SENDFILE, Figure::PerCpu)];
const COLD_BASELINES: Baselines =
    &[(RANDOM, Figure::Rate), (POOL, Figure::Rate), (POOL, Figure::PerCpu), (SENDFILE, Figure::PerCpu)];

/// What the seeders of one run have to do with.
struct Bench<'a> {
    place: &'a Place,
    programs: &'a Programs,
    data: Data,
    cores: Cores,
    /// Chunks at the front of the file that make [`HOT_BYTES`].
    hot: usize,
    /// The same for all seeders; the system's if none.
    congestion_control: Option<&'static str>,
}

/// Measures every seeder there is.
pub(super) fn run(
    place: &Place,
    programs: &Programs,
    rounds: u32,
    report: &mut Report,
    tell: &dyn Fn(&str),
) -> Result<(), Error> {
    tell("making a file of 1 GiB");
    let dir = place.folder("seeders")?;
    let data = Data::make(&dir, FILE_BYTES)?;
    let mut sum = 0;
    let hot = data.chunks.iter().take_while(|chunk| {
        sum += u64::from(chunk.len);
        sum <= HOT_BYTES
    });
    let hot = hot.count();
    let (cores, congestion_control) = (Cores::choose()?, congestion::without_pacing());
    report
        .fact("congestion_control", congestion_control.map_or_else(congestion::of_the_system, str::to_owned));
    let bench = Bench { place, programs, data, cores, hot, congestion_control };

    let mut seeders = vec![SENDFILE, SERVE];
    match &programs.zest_seed {
        Ok(_) => seeders.push(SEED),
        Err(reason) => report.not_measured("seeding", SEED, reason),
    }
    bench.hot(&seeders, rounds, report, tell)?;
    bench.cold(&seeders, rounds, report, tell)
}

impl Bench<'_> {
    fn hot(
        &self,
        seeders: &[&'static str],
        rounds: u32,
        report: &mut Report,
        tell: &dyn Fn(&str),
    ) -> Result<(), Error> {
        let chunks = &self.data.chunks[..self.hot];
        for connections in CONNECTIONS {
            for round in 0..rounds {
                tell(&format!("hot, {connections} connections, round {} of {rounds}", round + 1));
                for &seeder in &turned(seeders, round) {
                    let warm = |addr| {
                        // Until everything is in memory: a cache may keep a chunk when it is asked for the second time.
                        (0..6).try_for_each(|_| drain::all(addr, chunks, connections.min(8)).map(drop))
                    };
                    let work = |addr| drain::random(addr, chunks, connections, HOT_RUN_BYTES);
                    match self.measure(seeder, CACHE_HOT_BYTES, warm, work) {
                        Ok(run) => {
                            let baselines = if seeder == SENDFILE { &[] } else { HOT_BASELINES };
                            report.add("seeding, hot", connections, seeder, baselines, round, run);
                        }
                        Err(error) => report.not_measured("seeding, hot", seeder, error),
                    }
                }
            }
        }
        Ok(())
    }

    fn cold(
        &self,
        seeders: &[&'static str],
        rounds: u32,
        report: &mut Report,
        tell: &dyn Fn(&str),
    ) -> Result<(), Error> {
        const CASE: &str = "seeding, cold";
        // The first look says whether the disk can be measured at all, and how much it gives in a second.
        let first =
            page_cache::evict(&self.data.file).and_then(|()| self.read_direct("random", COLD_RUN_BYTES_MIN));
        let bytes = match first {
            Ok(run) => {
                ((run.bytes as f64 / run.wall_s * COLD_RUN_S) as u64).clamp(COLD_RUN_BYTES_MIN, FILE_BYTES)
            }
            Err(error) => {
                report.not_measured(CASE, "everything", error);
                return Ok(());
            }
        };
        for connections in CONNECTIONS {
            for round in 0..rounds {
                tell(&format!("cold, {connections} connections, round {} of {rounds}", round + 1));
                let which = self.some_chunks(bytes, round);
                let mut programs = vec![RANDOM, SEQUENTIAL, POOL];
                programs.extend(seeders);
                for &program in &turned(&programs, round) {
                    page_cache::evict(&self.data.file)?;
                    let outcome = match program {
                        RANDOM => self.read_direct("random", bytes),
                        SEQUENTIAL => self.read_direct("sequential", bytes),
                        seeder => {
                            let work = |addr| drain::these(addr, &self.data.chunks, connections, &which);
                            self.measure(seeder, CACHE_COLD_BYTES, |_| Ok(()), work)
                        }
                    };
                    let baselines = match program {
                        RANDOM | SEQUENTIAL => &[],
                        SENDFILE => SENDFILE_BASELINES,
                        POOL => POOL_BASELINES,
                        _ => COLD_BASELINES,
                    };
                    match outcome {
                        Ok(run) => report.add(CASE, connections, program, baselines, round, run),
                        Err(error) => report.not_measured(CASE, program, error),
                    }
                }
            }
        }
        Ok(())
    }

    /// Random chunks of the whole file, none twice, others in every round.
    fn some_chunks(&self, bytes: u64, round: u32) -> Vec<usize> {
        let mut which: Vec<usize> = (0..self.data.chunks.len()).collect();
        shuffle(&mut which, u64::from(round) + 2);
        let mut sum = 0;
        which.retain(|&index| {
            sum += u64::from(self.data.chunks[index].len);
            sum <= bytes
        });
        which
    }

    /// Starts a seeder on its processor, and lets a client on the other do what is measured.
    fn measure(
        &self,
        seeder: &str,
        cache_bytes: u64,
        warm: impl FnOnce(SocketAddr) -> Result<(), Error> + Send,
        work: impl FnOnce(SocketAddr) -> Result<Drained, Error> + Send,
    ) -> Result<Run, Error> {
        let mut command = self.command(seeder, cache_bytes)?;
        let service = on_core(self.cores.server, || Service::start(&mut command))?;
        let addr = service.listens()?;
        if !is_baseline(seeder) {
            service.shares()?;
        }
        on_core(self.cores.client, move || {
            warm(addr)?;
            let (disk, cpu, machine) = (service.disk_bytes()?, service.cpu_s()?, machine_cpu_s()?);
            let (ours, start) = (process_cpu_s(), Instant::now());
            let drained = work(addr)?;
            let wall_s = start.elapsed().as_secs_f64();
            let cpu_s = service.cpu_s()? - cpu;
            let foreign = machine_cpu_s()? - machine - cpu_s - (process_cpu_s() - ours);
            if drained.proven == 0 {
                return Err("not one chunk was proven".into());
            }
            Ok(Run {
                bytes: drained.bytes,
                wall_s,
                cpu_s,
                rss_bytes: service.peak_rss_bytes()?,
                disk_bytes: service.disk_bytes()? - disk,
                proven: drained.proven,
                foreign_cpu_s: foreign.max(0.0),
            })
        })
    }

    /// What the disk itself gives.
    fn read_direct(&self, order: &str, bytes: u64) -> Result<Run, Error> {
        let mut command = self.place.command(&self.programs.zest, &self.data.home);
        command.args(["bench", "--baseline", "direct"]).arg(&self.data.file).arg(&self.data.list);
        command.args([order, DEPTH, &bytes.to_string()]);
        let machine = machine_cpu_s()?;
        let direct::Done { bytes, wall_s, cpu_s } = direct::watch(&mut command)?;
        Ok(Run {
            bytes,
            wall_s,
            cpu_s,
            disk_bytes: bytes,
            foreign_cpu_s: (machine_cpu_s()? - machine - cpu_s).max(0.0),
            ..Run::default()
        })
    }

    fn command(&self, seeder: &str, cache_bytes: u64) -> Result<Command, Error> {
        let program = match seeder {
            SEED => self.programs.zest_seed.as_ref().map_err(Clone::clone)?,
            _ => &self.programs.zest,
        };
        let mut command = self.place.command(program, &self.data.home);
        // What is public is in the catalog already: no Hub is asked.
        command.env("HF_HUB_OFFLINE", "1");
        match seeder {
            baseline if is_baseline(baseline) => {
                command.args(["bench", "--baseline", seeder]).arg(&self.data.file).arg(&self.data.list);
            }
            SEED => {
                let core = self.cores.server.to_string();
                command.args([
                    "--listen",
                    "127.0.0.1:0",
                    "--json",
                    "-q",
                    "--runtime",
                    "glommio",
                    "--cores",
                    &core,
                ]);
                command.args(["--cache-mem", &cache_bytes.to_string()]);
            }
            _ => {
                command.args(["serve", "--listen", "127.0.0.1:0", "--json", "-q"]);
                command.args(["--cache-mem", &cache_bytes.to_string()]);
            }
        }
        if let Some(name) = self.congestion_control {
            if !is_baseline(seeder) {
                command.arg("--congestion-control");
            }
            command.arg(name);
        }
        Ok(command)
    }
}

fn is_baseline(seeder: &str) -> bool {
    matches!(seeder, SENDFILE | POOL)
}

/// The same in an order that begins with another one each round.
fn turned<'a>(programs: &[&'a str], round: u32) -> Vec<&'a str> {
    let mut programs = programs.to_vec();
    let by = round as usize % programs.len();
    programs.rotate_left(by);
    programs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_first_once() {
        let firsts: Vec<&str> = (0..3).map(|round| turned(&["a", "b", "c"], round)[0]).collect();
        assert_eq!(firsts, ["a", "b", "c"]);
        assert_eq!(turned(&["a", "b", "c"], 1), ["b", "c", "a"]);
    }
}
