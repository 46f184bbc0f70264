//! What is said when the Hub, its CAS or its CDN does not answer, and when it does again. Pure: the caller tells the time.

use super::units;
use crate::duration;
use std::time::Duration;
use zest_runtime_tokio::{Out, Progress, Service};

/// An outage is worth a word when it has lasted so long: 2 s. Shorter ones are nobody's concern.
const SAID_AFTER: Duration = Duration::from_secs(2);
/// And then again every 30 s, so that a log shows that it lives.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// An outage that was spoken of.
#[derive(Debug)]
struct Known {
    service: Service,
    /// Time since the start of the pull at which it began, and at which it was last spoken of.
    since: Duration,
    said: Duration,
    /// Bytes from peers when it began.
    peers: u64,
}

/// The outages of one pull.
#[derive(Debug)]
pub(super) struct Outages {
    give_up_after: Duration,
    known: Vec<Known>,
}

impl Outages {
    pub(super) fn new(give_up_after: Duration) -> Self {
        Self { give_up_after, known: Vec::new() }
    }

    /// The lines worth saying about `progress`, seen `now` after the start.
    pub(super) fn show(&mut self, now: Duration, progress: &Progress) -> Vec<String> {
        let mut lines = Vec::new();
        let is_out = |service: Service| progress.outages.iter().any(|out| out.service == service);
        for known in self.known.extract_if(.., |known| !is_out(known.service)) {
            let lasted = now.saturating_sub(known.since);
            lines.push(format!(
                "{} answers again, after {}",
                known.service.name(),
                duration::words(Duration::from_secs(lasted.as_secs()))
            ));
        }
        for out in progress.outages.iter().filter(|out| out.for_ >= SAID_AFTER) {
            match self.known.iter_mut().find(|known| known.service == out.service) {
                None => {
                    let since = now.saturating_sub(out.for_);
                    let peers = progress.from_peers;
                    self.known.push(Known { service: out.service, since, said: now, peers });
                    let patience = out.patience(self.give_up_after);
                    let never = if out.heard { "" } else { ", as it has never answered" };
                    lines.push(format!(
                        "{} is out: {}; trying until it answers, giving up after {} in which nothing comes{never}",
                        out.service.name(),
                        out.why,
                        duration::words(patience)
                    ));
                }
                Some(known) if now.saturating_sub(known.said) >= AGAIN_AFTER => {
                    known.said = now;
                    let came = progress.from_peers.saturating_sub(known.peers);
                    lines.push(format!("{}; {}", words(out), meanwhile(progress.peers, came)));
                }
                Some(_) => {}
            }
        }
        lines
    }

    /// What is out at present, in a few words for the bottom of the screen.
    pub(super) fn present(progress: &Progress) -> Option<String> {
        let out = progress.outages.iter().filter(|out| out.for_ >= SAID_AFTER);
        let words: Vec<String> = out.map(words).collect();
        (!words.is_empty()).then(|| words.join(" · "))
    }
}

/// What was told so long ago, as it is now: an outage and a wait go on while nothing is told of them.
pub(super) fn since_then(mut progress: Progress, ago: Duration) -> Progress {
    progress.outages.iter_mut().for_each(|out| out.for_ += ago);
    progress.waiting.iter_mut().for_each(|wait| wait.seconds += ago.as_secs());
    progress
}

/// Who has the lock of a file that is waited for, and for how long already.
pub(super) fn waiting(progress: &Progress) -> Option<String> {
    let first = progress.waiting.first()?;
    let more = match progress.waiting.len() {
        1 => String::new(),
        all => format!(", and for {} more", all - 1),
    };
    let span = duration::words(Duration::from_secs(first.seconds));
    Some(format!("waiting for {span} for {}{more}", first.who))
}

fn words(out: &Out) -> String {
    format!(
        "{} has been out for {}",
        out.service.name(),
        duration::words(Duration::from_secs(out.for_.as_secs()))
    )
}

/// What still comes.
fn meanwhile(peers: u32, bytes: u64) -> String {
    match (peers, bytes) {
        (0, 0) => "no peer is linked".to_owned(),
        (_, 0) => format!("{} sent nothing meanwhile", units::counted(u64::from(peers), "peer")),
        (_, bytes) => {
            format!("{} received from peers meanwhile", units::bytes(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(for_: u64) -> Progress {
        let why = "cannot reach http://cdn.example/x: connection refused".to_owned();
        let out = Out { service: Service::Cdn, for_: Duration::from_secs(for_), why, heard: true };
        Progress { outages: vec![out], ..Progress::default() }
    }

    #[test]
    fn an_outage_is_said_once_then_now_and_then_and_so_is_its_end() {
        let mut outages = Outages::new(Duration::from_secs(600));
        let mut said = Vec::new();
        for second in 0..=70 {
            let mut progress = out(second);
            progress.peers = 1;
            progress.from_peers = second * 1_000_000;
            said.extend(outages.show(Duration::from_secs(10 + second), &progress));
        }
        assert_eq!(
            said,
            [
                "the CDN is out: cannot reach http://cdn.example/x: connection refused; trying until it answers, giving up \
                 after 10 min in which nothing comes",
                "the CDN has been out for 32 s; 30.0 MB received from peers meanwhile",
                "the CDN has been out for 62 s; 60.0 MB received from peers meanwhile",
            ]
        );
        let end = outages.show(Duration::from_secs(81), &Progress::default());
        assert_eq!(end, ["the CDN answers again, after 71 s"]);
        assert!(outages.show(Duration::from_secs(82), &Progress::default()).is_empty());
    }

    #[test]
    fn who_never_answered_is_waited_for_half_a_minute_and_that_is_said() {
        let mut progress = out(3);
        progress.outages[0].heard = false;
        let said = Outages::new(Duration::from_secs(600)).show(Duration::from_secs(3), &progress);
        let end = "giving up after 30 s in which nothing comes, as it has never answered";
        assert!(said[0].ends_with(end), "{said:?}");
    }

    #[test]
    fn its_seconds_go_on_while_nothing_is_told() {
        let now = since_then(out(3), Duration::from_millis(2_500));
        assert_eq!(Outages::present(&now).as_deref(), Some("the CDN has been out for 5 s"));
        let who = "process 42".to_owned();
        let told = Progress {
            waiting: vec![zest_runtime_tokio::FileWait { path: "f".to_owned(), who, seconds: 7 }],
            ..Progress::default()
        };
        let now = since_then(told, Duration::from_secs(3));
        assert_eq!(waiting(&now).as_deref(), Some("waiting for 10 s for process 42"));
    }

    #[test]
    fn a_hiccup_is_not_worth_a_word() {
        let mut outages = Outages::new(Duration::from_secs(600));
        assert!(outages.show(Duration::from_secs(5), &out(1)).is_empty());
        assert_eq!(Outages::present(&out(1)), None);
        assert!(outages.show(Duration::from_secs(6), &Progress::default()).is_empty());
        assert_eq!(Outages::present(&out(3)).as_deref(), Some("the CDN has been out for 3 s"));
    }
}
