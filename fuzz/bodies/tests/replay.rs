//! Every committed input goes through its body: `fuzz/corpus` (what reaches all the code the fuzzer has found),
//! `fuzz/regressions` (what once broke something) and the seeds. Needs neither a nightly toolchain nor cargo-fuzz.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use zest_fuzz_bodies::{TARGETS, seeds};

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("bodies/ lies in fuzz/").to_owned()
}

/// Names in a folder, sorted; none if there is no such folder.
fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name")).collect()
}

fn target_names() -> BTreeSet<String> {
    TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect()
}

#[test]
fn every_committed_input_passes() {
    for (name, body) in TARGETS {
        for kind in ["corpus", "regressions"] {
            let dir = fuzz_dir().join(kind).join(name);
            for input in names(&dir) {
                // Shown if the body panics.
                println!("{kind}/{name}/{input}");
                body(&fs::read(dir.join(input)).expect("a readable input"));
            }
        }
        body(&[]);
    }
}

#[test]
fn every_seed_passes() {
    let mut seeded = BTreeSet::new();
    for (target, inputs) in seeds() {
        let body = TARGETS.iter().find(|(name, _)| *name == target).expect("a seed has a target").1;
        for (number, input) in inputs.iter().enumerate() {
            println!("seed {number} of {target}");
            body(input);
        }
        seeded.insert(target.to_owned());
    }
    assert_eq!(seeded, target_names());
}

#[test]
fn every_target_has_inputs_and_every_folder_has_a_target() {
    let fuzz = fuzz_dir();
    for name in target_names() {
        assert!(!names(&fuzz.join("corpus").join(&name)).is_empty(), "fuzz/corpus/{name} is empty");
    }
    for kind in ["corpus", "regressions"] {
        let strays: Vec<_> = names(&fuzz.join(kind)).difference(&target_names()).cloned().collect();
        assert!(strays.is_empty(), "fuzz/{kind} has folders without a target: {strays:?}");
    }
}

#[test]
fn every_body_is_a_target_of_the_fuzzer() {
    let fuzz = fuzz_dir();
    let files: BTreeSet<_> = target_names().into_iter().map(|name| name + ".rs").collect();
    assert_eq!(names(&fuzz.join("fuzz_targets")), files);
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("fuzz/Cargo.toml");
    for name in target_names() {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
    }
}
