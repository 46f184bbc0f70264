//! The closing statistics of a pull, in the words zest has always used, with real numbers.

use super::units;
use zest_runtime_tokio::PullReport;

/// The statistics, one line each.
pub(crate) fn closing_statistics(report: &PullReport) -> Vec<String> {
    let total: u64 = report.files.iter().map(|file| file.size).sum();
    let fetched = report.from_peers + report.from_cdn;
    let speed = match report.elapsed.as_secs_f64() {
        _ if fetched == 0 && report.notices.iter().any(|notice| notice.kind == "hub-gone") => {
            "all that is known here; the Hub could not be asked".to_owned()
        }
        _ if fetched == 0 => "nothing had to be fetched".to_owned(),
        // The line's rate would say nothing.
        _ if report.from_disk > fetched => {
            format!("in {}, most of it from this disk", units::duration(report.elapsed))
        }
        s if s > 0.0 => {
            format!("in {}, {}", units::duration(report.elapsed), units::rate(fetched as f64 / s))
        }
        _ => format!("in {}", units::duration(report.elapsed)),
    };
    let files = units::counted(report.files.len() as u64, "file");
    let mut lines = vec![format!("Done: {files}, {}, {speed}", units::bytes(total))];
    let source =
        |name: &str, bytes: u64, note: String| format!("  {name:<12}{:>10}  {note}", units::bytes(bytes));
    let chunks = |count: u64| units::counted(count, "chunk");
    lines.push(source("From peers:", report.from_peers, chunks(report.chunks_from_peers)));
    let mut note = chunks(report.chunks_from_cdn);
    if report.cdn_wire_bytes > 0 {
        note += &format!(", {} on the wire", units::bytes(report.cdn_wire_bytes));
    }
    lines.push(source("From CDN:", report.from_cdn, note));
    lines.push(source("From disk:", report.from_disk, chunks(report.chunks_from_disk)));
    if report.twice > 0 {
        lines.push(source("Twice:", report.twice, "on top: the end was asked of several at once".to_owned()));
    }
    if report.given > 0 {
        lines.push(source("To peers:", report.given, String::new()).trim_end().to_owned());
    }
    let ratio = report.p2p_ratio().map_or("-".to_owned(), |ratio| format!("{:.1}%", ratio * 100.0));
    lines.push(format!("  {:<12}{ratio:>10}", "P2P ratio:"));
    if report.rotten_chunks > 0 {
        let note = "of an earlier run had changed on disk, fetched again";
        lines.push(format!("  {:<12}{:>10}  {note}", "Rotten:", chunks(report.rotten_chunks)));
    }
    if report.bad_chunks > 0 || report.peers_banned > 0 {
        lines.push(format!(
            "  Refused:    {:>10}  {}",
            chunks(report.bad_chunks),
            format_args!("wrong bytes, {} banned", units::counted(report.peers_banned, "peer"))
        ));
    }
    if let Some(why) = &report.no_peers {
        lines.push(format!("No bytes from peers: {}", why.text));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use zest_runtime_tokio::How;
    use zest_runtime_tokio::PulledFile;

    fn report(from_peers: u64, from_cdn: u64) -> PullReport {
        PullReport {
            from_peers,
            from_cdn,
            chunks_from_peers: from_peers / 65_536,
            chunks_from_cdn: from_cdn / 65_536,
            elapsed: Duration::from_secs(2),
            ..PullReport::default()
        }
    }

    #[test]
    fn the_words_are_those_of_the_original() {
        let text = closing_statistics(&report(300_000_000, 100_000_000)).join("\n");
        for words in
            ["From peers:   300.0 MB  4,577 chunks", "From CDN:     100.0 MB", "P2P ratio:       75.0%"]
        {
            assert!(text.contains(words), "{words:?} in:\n{text}");
        }
    }

    #[test]
    fn what_came_twice_is_said_and_counts_nowhere_else() {
        let text = closing_statistics(&PullReport { twice: 4_000_000, ..report(1, 1) }).join("\n");
        assert!(
            text.contains("Twice:          4.0 MB  on top: the end was asked of several at once"),
            "{text}"
        );
        assert!(!closing_statistics(&report(1, 1)).join("\n").contains("Twice"));
    }

    #[test]
    fn peers_that_gave_nothing_are_the_last_line() {
        let why = zest_runtime_tokio::Notice {
            kind: "none-found".into(),
            path: None,
            text: "none was found that has these files".to_owned(),
        };
        let lines = closing_statistics(&PullReport { no_peers: Some(why), ..report(0, 5) });
        let last = "No bytes from peers: none was found that has these files";
        assert_eq!(lines.last().map(String::as_str), Some(last));
    }

    #[test]
    fn a_hub_that_could_not_be_asked_may_have_more() {
        let notice = zest_runtime_tokio::Notice { kind: "hub-gone".into(), path: None, text: String::new() };
        let text = closing_statistics(&PullReport { notices: vec![notice], ..report(0, 0) }).join("\n");
        assert!(text.contains("the Hub could not be asked") && !text.contains("nothing had to"), "{text}");
    }

    #[test]
    fn where_most_was_here_no_rate_of_the_rest_is_given() {
        let report = PullReport { from_disk: 120_000_000, ..report(0, 11) };
        let first = closing_statistics(&report).remove(0);
        assert!(first.ends_with("in 2 s, most of it from this disk"), "{first}");
    }

    #[test]
    fn nothing_fetched_has_no_ratio() {
        assert_eq!(report(0, 0).p2p_ratio(), None);
        let text = closing_statistics(&report(0, 0)).join("\n");
        assert!(
            text.contains("P2P ratio:           -") && text.contains("nothing had to be fetched"),
            "{text}"
        );
    }

    #[test]
    fn all_from_peers_is_a_hundred_per_cent() {
        assert_eq!(report(5, 0).p2p_ratio(), Some(1.0));
        assert!(closing_statistics(&report(5, 0)).join("\n").contains("P2P ratio:      100.0%"));
    }

    #[test]
    fn small_plain_files_do_not_spoil_the_ratio_and_large_ones_do() {
        let file = |size| PulledFile { path: "f".to_owned(), size, how: How::Hub };
        let small = PullReport { files: vec![file(1000)], ..report(1_000_000, 1000) };
        assert_eq!(small.p2p_ratio(), Some(1.0));
        let large = PullReport { files: vec![file(20_000_000)], ..report(20_000_000, 20_000_000) };
        assert_eq!(large.p2p_ratio(), Some(0.5));
    }

    #[test]
    fn what_has_rotted_on_disk_is_mentioned_only_if_there_was_any() {
        assert!(!closing_statistics(&report(1, 0)).join("\n").contains("Rotten"));
        let text = closing_statistics(&PullReport { rotten_chunks: 3, ..report(1, 0) }).join("\n");
        let words = "Rotten:       3 chunks  of an earlier run had changed on disk, fetched again";
        assert!(text.contains(words), "{text}");
    }

    #[test]
    fn refused_chunks_are_mentioned_only_if_there_were_any() {
        assert!(!closing_statistics(&report(1, 0)).join("\n").contains("Refused"));
        let bad = PullReport { bad_chunks: 2, peers_banned: 1, ..report(1, 0) };
        let text = closing_statistics(&bad).join("\n");
        assert!(text.contains("Refused:      2 chunks  wrong bytes, 1 peer banned"), "{text}");
    }
}
