//! Files outside Xet come from one server, which may be odd, over lines that break, into a cache that others use: each ends as a
//! user would expect, and no byte that is there is fetched again.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use zest_runtime_tokio::{
    CancelToken, EngineConfig, How, Progress, PullError, PullErrorKind, PullOptions, PullReport, pull,
};
use zest_tests::peer::in_time;
use zest_tests::{Machine, Site, assert_same_files, noise};

const SIZE: usize = 5_000_000;
const WINDOW: u64 = zest_store::WINDOW_BYTES;

/// First and last byte that a request asks for.
type Range = Option<(usize, usize)>;

/// One request for the file: which it is, and what it asks for.
struct Asked {
    count: usize,
    range: Range,
}

/// What is sent: a status line with headers, and a body; then the connection is closed.
struct Reply {
    head: String,
    body: Vec<u8>,
}

/// Bytes `from..to` of the file as an honest server gives them, of which only the first `sent` come.
fn honest(content: &[u8], asked: &Asked, sent: usize) -> Reply {
    match asked.range {
        Some((first, last)) => part(content, first, last, sent),
        None => whole(content, sent),
    }
}

fn part(content: &[u8], first: usize, last: usize, sent: usize) -> Reply {
    let (body, size) = (&content[first..=last], content.len());
    let length = body.len();
    Reply {
        head: format!(
            "206 Partial Content\r\nContent-Range: bytes {first}-{last}/{size}\r\nContent-Length: {length}"
        ),
        body: body[..sent.min(length)].to_vec(),
    }
}

fn whole(content: &[u8], sent: usize) -> Reply {
    let length = content.len();
    Reply { head: format!("200 OK\r\nContent-Length: {length}"), body: content[..sent.min(length)].to_vec() }
}

fn chunked(status: &str, body: &[u8]) -> Reply {
    let mut coded = Vec::new();
    for part in body.chunks(50_000) {
        coded.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        coded.extend_from_slice(part);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(b"0\r\n\r\n");
    Reply { head: format!("{status}\r\nTransfer-Encoding: chunked"), body: coded }
}

/// A Hub whose large file is given by a script; everything else is the site's.
struct Front {
    site: Site,
    content: Arc<Vec<u8>>,
    endpoint: String,
    asked: Arc<Mutex<Vec<Range>>>,
    sent: Arc<AtomicU64>,
}

impl Front {
    async fn new(script: impl Fn(&[u8], &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let mut site = Site::new();
        let content = Arc::new(noise(91, SIZE));
        site.add("org/model", "model.bin", &content);
        site.add("org/model", "config.json", b"{}");
        let behind = site.open().await.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let (asked, sent) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicU64>::default());
        let script = Arc::new(script);
        let (content_, asked_, sent_) = (content.clone(), asked.clone(), sent.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, behind) = (script.clone(), behind.clone());
                let (content, asked, sent) = (content_.clone(), asked_.clone(), sent_.clone());
                tokio::spawn(async move {
                    let answer = |range| {
                        let count = {
                            let mut asked = asked.lock().expect("no holder panics");
                            asked.push(range);
                            asked.len() - 1
                        };
                        script(&content, &Asked { count, range })
                    };
                    let _ = serve(stream, &behind, answer, &sent).await;
                });
            }
        });
        Self { site, content, endpoint, asked, sent }
    }

    async fn machine(&self) -> Machine {
        plain(Machine::new(&self.endpoint).await)
    }

    fn asked(&self) -> Vec<Range> {
        self.asked.lock().expect("no holder panics").clone()
    }

    /// Bytes of the file that were sent in all.
    fn sent(&self) -> u64 {
        self.sent.load(SeqCst)
    }

    fn check(&self, report: &PullReport) {
        if report.path.join(".cache").exists() {
            assert_eq!(std::fs::read(report.path.join("model.bin")).expect("it is there"), **self.content);
        } else {
            assert_same_files(&report.path, &self.site.folder("org/model"));
        }
        let total = (SIZE + 2) as u64;
        assert_eq!(report.from_cdn + report.from_disk, total, "each byte counts once");
    }
}

/// A mirror that knows nothing of Xet.
fn plain(mut machine: Machine) -> Machine {
    machine.env.disable_xet = true;
    machine
}

async fn serve(
    mut stream: TcpStream,
    behind: &str,
    answer: impl Fn(Range) -> Reply,
    sent: &AtomicU64,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default();
    if !(path.contains("/resolve/") && path.ends_with("/model.bin")) {
        let mut site = TcpStream::connect(behind).await?;
        site.write_all(text.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes()).await?;
        let mut all = Vec::new();
        site.read_to_end(&mut all).await?;
        return stream.write_all(&all).await;
    }
    let range = text.lines().find_map(|line| {
        let value = line.to_ascii_lowercase();
        let (first, last) = value.strip_prefix("range: bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().unwrap_or(SIZE - 1)))
    });
    let reply = answer(range);
    let version = if reply.head.contains("ETag:") { "" } else { "\r\nETag: \"any\"" };
    let head = format!("HTTP/1.1 {}{version}\r\nConnection: close\r\n\r\n", reply.head);
    stream.write_all(head.as_bytes()).await?;
    for part in reply.body.chunks(16_384) {
        stream.write_all(part).await?;
        sent.fetch_add(part.len() as u64, SeqCst);
    }
    stream.shutdown().await
}

async fn pulled(front: &Front) -> PullReport {
    let machine = front.machine().await;
    let report = in_time(machine.pull_from("org/model", &[])).await.expect("the file comes");
    front.check(&report);
    assert!(machine.store().cache.partials().is_empty(), "nothing is left over");
    report
}

#[tokio::test]
async fn a_line_that_breaks_again_and_again_costs_no_byte_twice() {
    let front = Front::new(|content, asked| honest(content, asked, 700_000)).await;
    let report = pulled(&front).await;
    let asked = front.asked();
    assert_eq!(asked.len(), SIZE.div_ceil(700_000));
    assert!(asked[1..].iter().all(Option::is_some), "only what is missing is asked for: {asked:?}");
    assert_eq!(front.sent(), SIZE as u64, "to the byte");
    assert_eq!(report.cdn_wire_bytes, (SIZE + 2) as u64);
}

#[tokio::test]
async fn a_server_that_knows_no_ranges_is_used_as_far_as_it_comes() {
    let front = Front::new(|content, asked| whole(content, 2_000_000 * (asked.count + 1))).await;
    pulled(&front).await;
    assert_eq!(front.asked().len(), 3);
}

#[tokio::test]
async fn a_part_that_was_not_asked_for_is_not_written() {
    // First a break, then a part from elsewhere: further on, or from the beginning.
    for elsewhere in [3_000_000, 0] {
        let front = Front::new(move |content, asked| match asked.count {
            0 => honest(content, asked, 1_000_000),
            1 => part(content, elsewhere, SIZE - 1, SIZE),
            _ => honest(content, asked, SIZE),
        })
        .await;
        pulled(&front).await;
    }
}

#[tokio::test]
async fn a_server_that_refuses_parts_is_asked_for_the_whole() {
    for refusal in ["416 Range Not Satisfiable", "206 Partial Content", "403 Forbidden"] {
        let front = Front::new(move |content, asked| match (asked.count, asked.range) {
            (0, _) => honest(content, asked, 1_000_000),
            (_, Some(_)) => Reply { head: format!("{refusal}\r\nContent-Length: 0"), body: Vec::new() },
            (_, None) => whole(content, SIZE),
        })
        .await;
        let machine = front.machine().await;
        let outcome = in_time(machine.pull_from("org/model", &[])).await;
        if refusal.starts_with("403") {
            // This is no matter of parts: the Hub itself says no.
            assert!(outcome.is_err());
        } else {
            front.check(&outcome.expect("the whole comes"));
        }
    }
}

#[tokio::test]
async fn an_answer_that_ends_early_without_a_length_is_gone_on_with() {
    let front = Front::new(|content, asked| match asked.range {
        None => chunked("200 OK", &content[..1_500_000]),
        Some((first, last)) => {
            let end = (first + 1_500_000).min(last + 1);
            let range = format!("206 Partial Content\r\nContent-Range: bytes {first}-{last}/{SIZE}");
            chunked(&range, &content[first..end])
        }
    })
    .await;
    pulled(&front).await;
    assert_eq!(front.asked().len(), 4);
}

#[tokio::test]
async fn more_than_the_file_has_does_no_harm() {
    let front = Front::new(|content, _| chunked("200 OK", &[content, &[7; 300_000][..]].concat())).await;
    pulled(&front).await;
    assert_eq!(front.asked().len(), 1);
}

#[tokio::test]
async fn another_size_on_going_on_is_one_servers_mistake() {
    let front = Front::new(|content, asked| match asked.count {
        0 => honest(content, asked, 1_000_000),
        1 => {
            let mut reply = honest(content, asked, 0);
            reply.head = reply.head.replace(&format!("/{SIZE}"), "/4000000");
            reply
        }
        _ => honest(content, asked, SIZE),
    })
    .await;
    pulled(&front).await;
}

fn version(mut reply: Reply, version: usize) -> Reply {
    reply.head += &format!("\r\nETag: \"{version}\"");
    reply
}

#[tokio::test]
async fn a_file_that_has_changed_meanwhile_is_begun_anew_at_once_and_said() {
    let front = Front::new(|content, asked| match asked.count {
        // What a mirror had of it before.
        0 => version(honest(&noise(92, SIZE), asked, 2_000_000), 1),
        _ => version(honest(content, asked, SIZE), 2),
    })
    .await;
    let report = pulled(&front).await;
    assert!(report.notices.iter().any(|notice| notice.kind == "changed"), "{:?}", report.notices);
    let wire = report.cdn_wire_bytes;
    assert!(
        wire <= SIZE as u64 + 2_000_002 + WINDOW,
        "{wire}: not to the end, to find then that it is not the file"
    );
}

#[tokio::test]
async fn a_server_that_numbers_its_answers_costs_a_window() {
    let front = Front::new(|content, asked| version(honest(content, asked, 1_500_000), asked.count)).await;
    let report = pulled(&front).await;
    assert!(report.cdn_wire_bytes <= SIZE as u64 + 2 + WINDOW, "{}", report.cdn_wire_bytes);
    assert!(report.notices.is_empty(), "{:?}", report.notices);
}

#[tokio::test]
async fn wrong_bytes_are_fetched_anew_and_given_up_by_name() {
    let front = Front::new(|content, asked| {
        let mut reply = honest(content, asked, SIZE);
        if asked.count == 0 {
            reply.body[4_000_000] ^= 1;
        }
        reply
    })
    .await;
    let report = pulled(&front).await;
    assert_eq!((front.asked().len(), report.cdn_wire_bytes), (2, 2 * SIZE as u64 + 2));

    let front = Front::new(|content, asked| {
        let mut reply = honest(content, asked, SIZE);
        reply.body[4_000_000] ^= 1;
        reply
    })
    .await;
    let machine = front.machine().await;
    let error = in_time(machine.pull_from("org/model", &[])).await.expect_err("it never comes");
    assert_eq!(error.kind(), PullErrorKind::Verify, "{error}");
    assert!(error.to_string().contains("model.bin"), "{error}");
    assert_eq!(front.asked().len(), 3, "and not for ever");
    assert!(machine.store().cache.partials().is_empty(), "wrong bytes are not kept");
}

/// Pulls until half of the file is there, and stops as Ctrl-C does.
async fn pull_half(machine: &Machine, options: PullOptions) {
    let (progress, mut seen) = watch::channel(Progress::default());
    let cancel = CancelToken::new();
    let watching = async {
        seen.wait_for(|now| now.bytes_done >= SIZE as u64 / 2).await.map(drop).expect("it lasts that long");
        cancel.cancel();
    };
    let (outcome, ()) =
        in_time(async { tokio::join!(pull(machine.engine(), options, progress, cancel.clone()), watching) })
            .await;
    assert!(matches!(outcome, Err(PullError::Interrupted)), "{outcome:?}");
}

async fn slow(front: &Front) -> Machine {
    let slowly = |config: &mut EngineConfig| config.download_bytes_s = Some(3 << 20);
    plain(Machine::with(&front.endpoint, slowly).await)
}

fn data_file(machine: &Machine) -> PathBuf {
    let partials = machine.store().cache.partials();
    let data = partials.iter().find(|p| p.path.to_string_lossy().ends_with(".zest-partial"));
    data.expect("a partial file is left").path.clone()
}

#[tokio::test]
async fn the_next_run_goes_on_and_counts_what_was_there_as_from_disk() {
    let front = Front::new(|content, asked| honest(content, asked, SIZE)).await;
    let machine = slow(&front).await;
    pull_half(&machine, machine.options("org/model")).await;
    let machine = plain(machine.restarted().await);
    let report = in_time(machine.pull_from("org/model", &[])).await.expect("the rest comes");
    front.check(&report);
    let lost = SIZE as u64 / 2 + 2 - report.from_disk.min(SIZE as u64 / 2 + 2);
    assert!(lost <= 2 * WINDOW, "{lost} bytes were fetched twice");
    assert_eq!(report.rotten_chunks, 0);
    assert!(machine.store().cache.partials().is_empty(), "nothing is left over");
}

#[tokio::test]
async fn what_has_rotted_since_is_fetched_again_alone_and_told() {
    let front = Front::new(|content, asked| honest(content, asked, SIZE)).await;
    let machine = slow(&front).await;
    pull_half(&machine, machine.options("org/model")).await;
    let file = std::fs::File::options().write(true).open(data_file(&machine)).expect("the partial file");
    for at in [10, 5 * WINDOW, 5 * WINDOW + 1, 9 * WINDOW - 1] {
        file.write_all_at(&[!front.content[at as usize]], at).expect("a byte is changed");
    }
    let machine = plain(machine.restarted().await);
    let report = in_time(machine.pull_from("org/model", &[])).await.expect("the rest comes");
    front.check(&report);
    assert_eq!(report.rotten_chunks, 3);
    let named = report.notices.iter().find(|notice| notice.kind == "rotten").expect("it is said");
    assert!(named.path.as_deref() == Some("model.bin") && named.text.contains("3 parts"), "{named:?}");
    assert!(report.from_disk > SIZE as u64 / 2 - 6 * WINDOW, "{} from disk", report.from_disk);
}

#[tokio::test]
async fn six_at_once_fetch_it_once() {
    for local in [false, true] {
        let front = Front::new(|content, asked| honest(content, asked, SIZE)).await;
        let first = front.machine().await;
        let folder = local.then(|| first.dir().join("folder"));
        let mut machines = vec![];
        for _ in 0..5 {
            machines.push(plain(first.another().await));
        }
        machines.push(first);
        let one = |at: usize| {
            let machine: &Machine = &machines[at];
            machine.pull(PullOptions { local_dir: folder.clone(), ..machine.options("org/model") })
        };
        let reports: [_; 6] =
            in_time(async { tokio::join!(one(0), one(1), one(2), one(3), one(4), one(5)) }).await.into();
        let mut fetched = 0;
        for report in reports {
            let report = report.expect("each has it");
            assert_eq!(std::fs::read(report.path.join("model.bin")).expect("it is there"), **front.content);
            fetched +=
                usize::from(report.files.iter().any(|file| file.path == "model.bin" && file.how == How::Hub));
        }
        assert_eq!((fetched, front.asked().len()), (1, 1), "local: {local}");
    }
}

/// Names below a folder that a download would have left.
fn incomplete(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() {
            found.extend(incomplete(&path));
        } else if name.contains("incomplete") || name.contains(".zest-") {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn what_a_killed_download_left_is_gone_on_with_and_nothing_stays_for_ever() {
    let front = Front::new(|content, asked| honest(content, asked, SIZE)).await;
    let machine = front.machine().await;
    let report = in_time(machine.pull_from("org/model", &[])).await.expect("it comes");
    let etag = std::fs::read_link(report.path.join("model.bin")).expect("a link to the blob");
    let etag = etag.file_name().expect("a name").to_string_lossy().into_owned();
    for local in [false, true] {
        let fresh = front.machine().await;
        let options = fresh.options("org/model");
        let (dir, options) = match local {
            false => (fresh.env.hub_cache.join("models--org--model/blobs"), options),
            true => {
                let folder = fresh.dir().join("folder");
                (
                    folder.join(".cache/huggingface/download"),
                    PullOptions { local_dir: Some(folder), ..options },
                )
            }
        };
        std::fs::create_dir_all(&dir).expect("a folder");
        // Of huggingface_hub and of earlier zest: from the beginning on, as far as it came.
        let names = [format!("{etag}.01234567.incomplete"), format!("{etag}.89abcdef.incomplete")];
        std::fs::write(dir.join(&names[0]), &front.content[..1_000_000]).expect("a file");
        std::fs::write(dir.join(&names[1]), &front.content[..3_000_000]).expect("a file");
        let report = in_time(fresh.pull(options)).await.expect("the rest comes");
        front.check(&report);
        assert_eq!(report.from_disk, 3_000_000 / WINDOW * WINDOW, "local: {local}");
        assert!(incomplete(fresh.dir()).is_empty(), "{:?}", incomplete(fresh.dir()));
    }
}

#[tokio::test]
async fn leftovers_that_are_something_else_cost_one_more_round_and_no_wrong_file() {
    let front = Front::new(|content, asked| honest(content, asked, SIZE)).await;
    let machine = front.machine().await;
    let report = in_time(machine.pull_from("org/model", &[])).await.expect("it comes");
    let etag = std::fs::read_link(report.path.join("model.bin")).expect("a link to the blob");
    let etag = etag.file_name().expect("a name").to_string_lossy().into_owned();
    let fresh = front.machine().await;
    let dir = fresh.env.hub_cache.join("models--org--model/blobs");
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join(format!("{etag}.01234567.incomplete")), vec![0; 2_000_000]).expect("a file");
    let report = in_time(fresh.pull_from("org/model", &[])).await.expect("it comes anew");
    front.check(&report);
    assert_eq!((report.from_disk, front.asked().len()), (0, 3));
}
