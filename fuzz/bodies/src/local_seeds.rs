//! The inputs a run starts from for what the Hub says, what is asked of ours, and what lies on a disk.

/// All of them by target.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    vec![
        ("catalog", catalogs()),
        ("hub_answers", answers()),
        ("hub_request", requests()),
        ("journal", journals()),
        ("safetensors", headers()),
        ("tree_file", trees()),
    ]
}

/// Untouched; each file gone, cut, longer, changed; a list whose checksum was made right again; a note with other times.
fn catalogs() -> Vec<Vec<u8>> {
    let mut all = vec![vec![]];
    for file in 0..4 {
        all.push(vec![file, 4, 0, 0, 0]);
        all.push(vec![file, 1, 0, 40, 0]);
        all.push(vec![file, 2, 0, 0, 3, b'}', 0, 1]);
        all.push(vec![file, 0, 0, 60, 2, 0, 255]);
        all.push(vec![file, 3, 0, 0, 2, b'{', b'}']);
    }
    for (at, bytes) in
        [(50, [0, 99]), (54, [0, 255]), (130, [1, 2]), (160, [0, 2]), (240, [9, 9]), (290, [255, 255])]
    {
        all.push(vec![0, 0, (at >> 8) as u8, at as u8, 2, bytes[0], bytes[1], 0, 6, 0, 0, 0]);
    }
    for note in [
        &br#"{"format":1,"asked":1,"until":18446744073709551615}"#[..],
        br#"{"format":1,"asked":18446744073709551615,"until":18446744073709551615}"#,
        br#"{"format":1,"until":99999999999}"#,
        br#"{"format":2,"asked":1764300000,"until":1764343200}"#,
        br#"[1,1764300000,1764343200]"#,
    ] {
        all.push([&[2, 3, 0, 0, note.len() as u8][..], note].concat());
    }
    let places =
        br#"{"format":1,"copies":[],"members":[{"repo":"models--../..--x","commit":"y"}],"rejected":[]}"#;
    all.push([&[1, 3, 0, 0, places.len() as u8][..], places].concat());
    all
}

fn answers() -> Vec<Vec<u8>> {
    let oid = "0123456789abcdef0123456789abcdef01234567";
    let (sha, xet) = (format!("{oid}{}", &oid[..24]), format!("{}{oid}", &oid[..24]));
    let file = |path: &str| format!(r#"{{"type":"file","oid":"{oid}","size":7,"path":{path:?}}}"#);
    let large = format!(
        r#"{{"type":"file","oid":"{oid}","size":135,"path":"a/m.safetensors","lfs":{{"oid":"{sha}","size":9000,"pointerSize":135}},"xetHash":"{xet}"}}"#
    );
    let folder = r#"{"type":"directory","oid":"x","size":0,"path":"a"}"#;
    let page = |rows: &[&str]| format!("[{}]", rows.join(","));
    let mut all = Vec::new();
    for (first, second) in [
        (page(&[&file("config.json"), folder, &large]), page(&[&file("z"), &large])),
        (
            page(&[&file("../x"), &file("a\\b: ?"), r#"{"type":"symlink","path":"new","target":"x"}"#]),
            String::new(),
        ),
        (page(&[&file("twice")]), page(&[&file("twice").replace(":7", ":8"), &file("é/\u{202e}x")])),
        (
            page(&[&large.replace("9000", "-1"), &large.replace(&xet, "XX"), &file("nul.txt")]),
            "[]".to_owned(),
        ),
        (r#"{"error":"Entry not found"}"#.to_owned(), String::new()),
    ] {
        all.push(
            [&[0][..], &(first.len() as u16).to_be_bytes(), first.as_bytes(), second.as_bytes()].concat(),
        );
    }
    for answer in [
        format!(
            r#"{{"id":"a/b","siblings":[{{"rfilename":"x\"}}"}}],"sha":"{oid}","private":false,"gated":"manual"}}"#
        ),
        format!(r#"{{"sh\u0061":"{oid}","private":true,"gated":false,"sha":"{oid}"}} "#),
        format!(r#"{{"sha":"{}","private":null}}"#, &oid[1..]),
        r#"{"sha":1e999,"gated":[[{}]]"#.to_owned(),
    ] {
        all.push([&[1, 3][..], answer.as_bytes()].concat());
    }
    for (form, header, answer) in [
        (0, "", r#"{"casUrl":"https://cas.example","accessToken":"t","exp":9999999999}"#),
        (1, "http://cas.example", r#"{"accessToken":"t","exp":1}"#),
        (0, "https://u:p@cas.example/x", r#"{"accessToken":"t","exp":18446744073709551615}"#),
        (5, "18446744073709551615", r#"{"casUrl":"https://[::1]:1/","accessToken":"t"}"#),
        (7, "Wed, 21 Oct 2015 07:18:00 GMT", r#"{"casUrl":"https://c","accessToken":"a b","exp":7}"#),
    ] {
        all.push([&[2, form, header.len() as u8][..], header.as_bytes(), answer.as_bytes()].concat());
    }
    for link in [
        "<https://mirror.example/hf/api/models/org/model/tree/main?cursor=a,b>; rel=\"next\"",
        "<https://huggingface.co/api/models/org/model/tree/main?cursor=x>; rel=\"prev next\", <b>; rel=next",
        "<http://inside/hf/api/models/org/model/tree/main>; rel=next",
        "<//u:p@evil.example/>; rel=NEXT",
    ] {
        all.extend([0, 1].map(|form| [&[3, form][..], link.as_bytes()].concat()));
    }
    all.push([&[4, 3][..], b"abc", br#"{"error":"bad token bcd\u001b[2J\u202e given"}"#].concat());
    all.push([&[4, 0][..], &[b'x'; 700]].concat());
    all
}

fn requests() -> Vec<Vec<u8>> {
    let list = [
        (0, "/api/models/a/b/tree/refs%2Fpr%2F1/sub%20dir?recursive=True&x=a%26b+c", "hub.local:8080"),
        (0, "/a/%2e%2e/%2F../b", "[::1]:80"),
        (0, "/%ff", "evil/\"><"),
        (1, "http://h/x//y?recursive", "bearer abc"),
        (2, "/a/b/resolve/main/model.safetensors", "bytes=2-4"),
        (2, "*", "bytes=-3"),
        (2, "/", "bytes=0-18446744073709551615"),
        (2, "/x?recursive=1&=&a==b&&", "bytes=0-9, 20-29"),
        (3, "", "bytes=5-"),
    ];
    let all = list.iter().map(|(form, target, value)| {
        [&[*form][..], &(target.len() as u16).to_be_bytes(), target.as_bytes(), value.as_bytes()].concat()
    });
    all.collect()
}

/// Records of a journal for a file of 1,000 bytes, sealed or not.
fn journals() -> Vec<Vec<u8>> {
    let record = |kind: u8, index: u32, offset: u64, len: u32| {
        let parts =
            [&[kind, 0, 0, 0][..], &index.to_be_bytes(), &offset.to_be_bytes(), &[3; 32], &len.to_be_bytes()];
        [&parts.concat()[..], &[0, 0, 0, 9], &[0; 8]].concat()
    };
    let good = [record(4, 0, 0, 0), record(1, 0, 0, 400), record(1, 1, 400, 600)].concat();
    let taken_back = [&good[..], &record(3, 1, 0, 0), &record(1, 2, 999, 1), &record(2, 0, 0, 0)].concat();
    let beyond = [
        record(1, 5, 999, 2),
        record(1, 6, u64::MAX, 1),
        record(1, 7, 0, 0),
        record(1, u32::MAX, 0, 131_073),
        record(9, 0, 0, 1),
        record(1, 8, 1000, 0),
    ]
    .concat();
    let torn = [&good[..], &record(1, 2, 0, 1)[..31]].concat();
    let mut all = Vec::new();
    for form in [0, 1, 3] {
        for records in [&good, &taken_back, &beyond, &torn, &Vec::new()] {
            all.push([&[form, 3, 232][..], records].concat());
        }
    }
    all.push(vec![1, 0, 0]);
    all
}

fn headers() -> Vec<Vec<u8>> {
    let all = [
        (8, 0),
        (100, 92),
        (100, 93),
        (7, 0),
        (u64::MAX, 100_000_000),
        (u64::MAX, 100_000_001),
        (9, u64::MAX),
    ];
    all.iter().map(|(size, len): &(u64, u64)| [size.to_be_bytes(), len.to_le_bytes()].concat()).collect()
}

fn trees() -> Vec<Vec<u8>> {
    let oid = "0123456789abcdef0123456789abcdef01234567";
    let sha = format!("{oid}{}", &oid[..24]);
    let tree = |path: &str, more: &str| {
        format!(
            "{{\n \"format_version\": 1,\n \"files\": {{\n  \"{path}\": {{\n   \"size\": 7,\n   \"blob_id\": \"{oid}\",\n   {more}\n  }}\n }}\n}}"
        )
        .into_bytes()
    };
    let none = r#""lfs_sha256": null, "lfs_size": null, "xet_hash": null"#;
    vec![
        tree("config.json", none),
        tree(
            "a/m\\u00e9.safetensors",
            &format!(r#""lfs_sha256": "{sha}", "lfs_size": 9, "xet_hash": "{sha}""#),
        ),
        tree("../x", none),
        tree("a\\u0000b", none),
        tree("b", r#""lfs_sha256": "../..", "lfs_size": 18446744073709551615, "xet_hash": null"#),
        br#"{"format_version":2,"files":{}}"#.to_vec(),
    ]
}
