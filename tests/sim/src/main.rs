//! `zest-sim`: runs swarms from the command line. See `docs/simulation.md`.

use std::process::ExitCode;
use std::time::Instant;
use zest_core::node::Policy;
use zest_sim::{
    Actor, Canary, MS, Made, Report, SEC, Scenario, Start, Subsystem, Trace, explain, quality, run_seeds,
    run_with,
};

const HELP: &str = "\
zest-sim [--seeds N] [--from S] [--bytes] [--off WHAT,…]  play N random small worlds (default 2000), report the first failure
zest-sim --seed S [--bytes] [--off WHAT,…] [--nodes N] [--trace]     play one of them again
  --within S (a node that needs longer than so many seconds has failed)
zest-sim run [OPTIONS]                         play one flash crowd and print its figures
  --nodes N  --chunks M  --block B  --seed S  --seeds N (as many seeds, one line each)
  --policy fastest|spare-origin  --warm|--cold  --mixed
  --liars N --mute N --dead N … (also tricklers, flooders, have-liars, claim-liars, leechers, not-found-liars, twisters,
  forgers, idle, namers, hogs, squatters, list-liars, byte-liars, endless-tellers, mind-changers)
  --leave PERMILLE  --crash PERMILLE  --nat PERMILLE  --partition FROM,UNTIL (s)  --full-seeds N
  --up B/s  --down B/s  --origin B/s|none  --conn B/s  --latency US  --known K  --socket BYTES  --write US
  --spread MS (all start within so long)  --plan MS (until the layout is told)  --stays MS (at most, once done)
  --deep-sockets (nodes hear of bytes when a socket takes them, not when they are sent)
  --check (all promises after every event)  --trace (print every event and action)
  --seconds (what each second brought)  --kinds (messages by kind)
zest-sim quality [--min-nodes N] [--max-nodes N] [--only TEXT] [--check]     write or compare tests/snapshots/quality.txt
  (a row of real size counts as eight or sixteen of its nodes, as that is what it takes to play it)
zest-sim home                                  write tests/snapshots/home.txt: a home line, with and without --nice";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.split_first() {
        Some((&"run", rest)) => crowd(rest),
        Some((&"quality", rest)) => table(rest),
        Some((&"home", [])) => home(),
        Some((&("help" | "--help" | "-h"), _)) => {
            println!("{HELP}");
            Ok(true)
        }
        _ => seeds(&words),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("zest-sim: {why}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

/// Options in pairs or alone, in any order.
struct Options<'a> {
    rest: Vec<&'a str>,
}

impl Options<'_> {
    fn flag(&mut self, name: &str) -> bool {
        let at = self.rest.iter().position(|word| *word == name);
        at.map(|at| self.rest.remove(at)).is_some()
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(at) = self.rest.iter().position(|word| *word == name) else { return Ok(None) };
        self.rest.remove(at);
        if at >= self.rest.len() {
            return Err(format!("{name} needs a value"));
        }
        Ok(Some(self.rest.remove(at).to_owned()))
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("{name} {text}: not a number"))
    }

    fn done(self) -> Result<(), String> {
        match self.rest.first() {
            Some(word) => Err(format!("unknown argument {word}")),
            None => Ok(()),
        }
    }
}

/// CPU time of this thread in seconds, where the system tells.
fn cpu_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ').next()?.parse::<f64>().ok().map(|ns| ns / 1e9)
}

/// A bug on purpose, if this program was built to have some.
fn canary(options: &mut Options<'_>) -> Canary {
    #[cfg(feature = "canary")]
    if options.flag("--canary") {
        return Canary::WrongChunk(0);
    }
    let _ = options;
    Canary::None
}

fn seeds(words: &[&str]) -> Result<bool, String> {
    let mut options = Options { rest: words.to_vec() };
    let made = if options.flag("--bytes") { Made::ByteSeed } else { Made::Seed };
    let mut off = Vec::new();
    for name in options.text("--off")?.unwrap_or_default().split(',').filter(|name| !name.is_empty()) {
        let what = Subsystem::ALL.into_iter().find(|what| what.name() == name);
        off.push(what.ok_or_else(|| format!("--off {name}: no such kind of trouble"))?);
    }
    let within = options.number("--within")?;
    let make = |seed| {
        let mut scenario = match made {
            Made::Seed => Scenario::from_seed(seed),
            Made::ByteSeed => Scenario::bytes_from_seed(seed),
        };
        off.iter().for_each(|what| scenario.switch_off(*what));
        scenario.within_ns = within.map(|seconds| seconds * SEC);
        scenario
    };
    if let Some(seed) = options.number("--seed")? {
        let mut scenario = make(seed);
        if let Some(nodes) = options.number("--nodes")? {
            scenario.nodes = nodes as u32;
        }
        let trace = Trace::with_lines(options.flag("--trace"));
        let canary = canary(&mut options);
        options.done()?;
        return Ok(match run_with(scenario.clone(), trace, canary) {
            Ok(report) => {
                println!("{scenario:?}");
                println!("seed {seed}: {report}  trace {:016x}", report.trace_hash);
                true
            }
            Err(failure) => {
                failure.lines.iter().for_each(|line| println!("{line}"));
                println!("seed {seed}: {}", failure.why);
                println!("at {:.6} s  trace {:016x}", failure.at_ns as f64 / 1e9, failure.trace_hash);
                println!("{scenario:?}");
                false
            }
        });
    }
    let from = options.number("--from")?.unwrap_or(0);
    let count = options.number("--seeds")?.unwrap_or(2000);
    let canary = canary(&mut options);
    options.done()?;
    // Panics are caught and told once, with the run made small.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let found = run_seeds(from..from + count, canary, make);
    Ok(match found {
        None => {
            println!(
                "{count} worlds from seed {from}: all promises kept in {:.1} s",
                began.elapsed().as_secs_f64()
            );
            true
        }
        Some(failure) => {
            println!("{}", explain(&failure, made, canary));
            false
        }
    })
}

/// Writes or compares the table of quality.
fn table(words: &[&str]) -> Result<bool, String> {
    let mut options = Options { rest: words.to_vec() };
    let min = options.number("--min-nodes")?.unwrap_or(1) as u32;
    let max = options.number("--max-nodes")?.map_or(u32::MAX, |max| max as u32);
    let only = options.text("--only")?.unwrap_or_default();
    let compares = options.flag("--check");
    options.done()?;
    let (all, mut played) = (quality::rows(u32::MAX), quality::rows(max));
    played.retain(|row| row.nodes >= min && row.title().contains(&only));
    let lines = quality::play_rows(&played, &|line| println!("{line}"));
    let old = std::fs::read_to_string(quality::PATH).unwrap_or_default();
    let diff = quality::diff(&old, &played, &lines);
    println!("{}", if diff.is_empty() { "nothing changed\n" } else { &diff });
    if !compares {
        std::fs::write(quality::PATH, quality::merged(&old, &all, &played, &lines))
            .map_err(|error| format!("{}: {error}", quality::PATH))?;
    }
    Ok(!compares || diff.is_empty())
}

fn seconds_of(report: &Report) {
    println!("second  payload MB  origin MB  in vain MB     asked  cancelled  unfinished");
    for (at, s) in report.seconds.iter().enumerate() {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        println!(
            "{:>6} {:>11.1} {:>10.2} {:>11.2} {:>9} {:>10} {:>11}",
            at + 1,
            mb(s.payload_bytes),
            mb(s.origin_bytes),
            mb(s.waste_bytes),
            s.asked,
            s.cancelled,
            s.unfinished
        );
    }
}

fn kinds_of(report: &Report) {
    let payload = report.payload_bytes.max(1) as f64;
    println!("message      count        bytes   of payload");
    for (name, count, bytes) in &report.kinds {
        println!("{name:<10} {count:>9} {bytes:>12}  {:>9.3} %", 100.0 * *bytes as f64 / payload);
    }
}

fn crowd(words: &[&str]) -> Result<bool, String> {
    let mut options = Options { rest: words.to_vec() };
    let seed = options.number("--seed")?.unwrap_or(1);
    let count = options.number("--seeds")?.unwrap_or(1);
    let mut s = Scenario::crowd(seed, options.number("--nodes")?.unwrap_or(64) as u32);
    let mut set = |name: &str, to: &mut u64| -> Result<(), String> {
        if let Some(value) = options.number(name)? {
            *to = value;
        }
        Ok(())
    };
    let (mut chunks, mut block) = (u64::from(s.chunks), u64::from(s.block));
    let (mut latency, mut write) = (s.net.latency_ns / 1000, s.disk.write_ns / 1000);
    let (mut known, mut socket) = (u64::from(s.known), u64::from(s.net.socket_bytes));
    let (mut leave, mut crash, mut nat, mut full_seeds) = (0, 0, 0, 0);
    let (mut spread, mut plan) = (s.spread_ns / MS, s.origin.plan_ns / MS);
    set("--chunks", &mut chunks)?;
    set("--block", &mut block)?;
    set("--up", &mut s.net.up_bytes_s)?;
    set("--down", &mut s.net.down_bytes_s)?;
    set("--latency", &mut latency)?;
    set("--write", &mut write)?;
    set("--known", &mut known)?;
    set("--socket", &mut socket)?;
    set("--leave", &mut leave)?;
    set("--crash", &mut crash)?;
    set("--nat", &mut nat)?;
    set("--full-seeds", &mut full_seeds)?;
    set("--spread", &mut spread)?;
    set("--plan", &mut plan)?;
    (s.spread_ns, s.origin.plan_ns) = (spread * MS, plan * MS);
    s.churn.stays_ns = options.number("--stays")?.map(|stays| stays * MS);
    (s.chunks, s.block) = (chunks as u32, block as u32);
    (s.net.latency_ns, s.disk.write_ns) = (latency * 1000, write * 1000);
    (s.known, s.net.socket_bytes) = (known as u32, socket as u32);
    (s.churn.leave_permille, s.churn.crash_permille) = (leave as u32, crash as u32);
    (s.net.nat_permille, s.seeds) = (nat as u32, full_seeds as u32);
    match options.text("--origin")?.as_deref() {
        None => {}
        Some("none") => s.origin.total_bytes_s = None,
        Some(text) => {
            s.origin.total_bytes_s =
                Some(text.parse().map_err(|_| format!("--origin {text}: not a number"))?);
        }
    }
    if let Some(text) = options.text("--conn")? {
        s.origin.conn_bytes_s = Some(text.parse().map_err(|_| format!("--conn {text}: not a number"))?);
    }
    match options.text("--policy")?.as_deref() {
        None | Some("spare-origin") => s.policy = Policy::SpareOrigin,
        Some("fastest") => s.policy = Policy::Fastest,
        Some(other) => return Err(format!("--policy {other}: fastest or spare-origin")),
    }
    if options.flag("--cold") {
        s.start = Start::Cold;
    }
    options.flag("--warm");
    if options.flag("--mixed") {
        s.net.slow_permille = 100;
    }
    for actor in Actor::ALL.into_iter().chain(Actor::STRANGERS).chain(Actor::TELLERS) {
        if let Some(count) = options.number(&format!("--{}", actor.name()))? {
            s.actors.push((actor, count as u32));
        }
    }
    if let Some(text) = options.text("--partition")? {
        let times =
            text.split_once(',').and_then(|(a, b)| Some((a.parse::<f64>().ok()?, b.parse::<f64>().ok()?)));
        let (from, until) = times.ok_or_else(|| format!("--partition {text}: FROM,UNTIL in seconds"))?;
        s.net.partition_ns = Some(((from * SEC as f64) as u64, (until * SEC as f64) as u64));
    }
    s.net.lowat = !options.flag("--deep-sockets");
    if options.flag("--check") {
        s.check_every = 1;
    }
    let prints = options.flag("--trace");
    let (tells_seconds, tells_kinds) = (options.flag("--seconds"), options.flag("--kinds"));
    options.done()?;
    let mut good = true;
    for seed in seed..seed + count {
        let scenario = Scenario { seed, ..s.clone() };
        let trace = if prints { Trace::with_lines(true) } else { Trace::default() };
        let (began, cpu) = (Instant::now(), cpu_s());
        let outcome = run_with(scenario, trace, Canary::None);
        let wall = began.elapsed().as_secs_f64();
        let used = cpu.and_then(|before| Some(cpu_s()? - before)).unwrap_or(wall);
        match outcome {
            Ok(report) => {
                let rate = report.events as f64 / used.max(1e-9) / 1e6;
                if tells_seconds {
                    seconds_of(&report);
                }
                if tells_kinds {
                    kinds_of(&report);
                }
                println!(
                    "{report}  events {} ({rate:.2} M/s)  cpu {used:.2} s  trace {:016x}",
                    report.events, report.trace_hash
                );
            }
            Err(failure) => {
                println!(
                    "seed {seed}: {} (at {:.3} s)  cpu {used:.2} s",
                    failure.why,
                    failure.at_ns as f64 / 1e9
                );
                good = false;
            }
        }
    }
    Ok(good)
}

fn home() -> Result<bool, String> {
    let text = zest_sim::home::table();
    print!("{text}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../snapshots/home.txt");
    std::fs::write(path, text).map_err(|error| format!("{path}: {error}"))?;
    Ok(true)
}
