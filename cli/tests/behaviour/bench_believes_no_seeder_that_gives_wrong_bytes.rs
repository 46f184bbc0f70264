//! `zest bench --transfer` measures nothing but what is true: its client drains baseline and `zest serve` alike, and a
//! seeder that gives other bytes than it was asked for has no figures.
#![cfg(target_os = "linux")]

use crate::common::{Server, command, folder, run, text};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use zest_benches::transfer::drain;
use zest_benches::transfer::seed_data::Data;

fn addr(server: &mut Server) -> SocketAddr {
    server.event("listening")["addrs"][0].as_str().expect("an address").parse().expect("an address")
}

#[test]
fn what_is_right_is_drained_whole_and_what_is_wrong_is_found() {
    let home = folder();
    let data = Data::make(home.path(), 4 << 20).expect("data");
    let file = data.file.to_str().expect("UTF-8");
    let list = data.list.to_str().expect("UTF-8");
    let mut baseline =
        Server::start(&mut command(home.path(), &["bench", "--baseline", "sendfile", file, list]));
    let at = addr(&mut baseline);
    let drained = drain::all(at, &data.chunks, 2).expect("right bytes");
    assert_eq!(drained.bytes, 4 << 20);
    assert!(drained.proven >= 2, "each connection proves its first chunk: {drained:?}");
    let some = drain::random(at, &data.chunks, 3, 1 << 20).expect("right bytes");
    assert!(some.bytes > 0 && some.proven >= 3, "{some:?}");

    // The first byte of the first chunk, which is one that is proven.
    let whole = std::fs::OpenOptions::new().write(true).open(&data.file).expect("the file");
    let first = std::fs::read(&data.file).expect("the file")[0];
    whole.write_all_at(&[!first], 0).expect("written");
    let error = drain::all(at, &data.chunks, 2).expect_err("wrong bytes");
    assert!(error.to_string().starts_with("answer 0: "), "{error}");
}

#[test]
fn zest_serve_gives_the_same_chunks() {
    let home = folder();
    let data = Data::make(home.path(), 4 << 20).expect("data");
    let mut serve = command(home.path(), &["serve", "--listen", "127.0.0.1:0", "--json", "-q"]);
    let mut server = Server::start(serve.env("HF_HUB_OFFLINE", "1"));
    let at = addr(&mut server);
    assert_eq!(server.event("indexed")["files_shared"], 1);
    let last = data.chunks.len() - 1;
    let drained = drain::these(at, &data.chunks, 2, &[last, 0, last]).expect("right bytes");
    assert_eq!(drained.bytes, u64::from(2 * data.chunks[last].len + data.chunks[0].len));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn bench_wants_to_know_what_to_measure() {
    let home = folder();
    let too_many = &["bench", "--baseline", "sendfile", "file", "list", "reno", "more"];
    for arguments in
        [&["bench"][..], &["bench", "--synthetic", "--transfer"], &["bench", "--rounds", "2"], too_many]
    {
        let output = run(&mut command(home.path(), arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
}
