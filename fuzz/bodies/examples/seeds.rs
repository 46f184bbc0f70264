//! Writes the seeds into `fuzz/corpus`, where a fuzzing run finds them; `cargo fuzz cmin` keeps those that add something.
//! To be run when a format has got a new message.

use std::fs;
use std::path::Path;

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for (target, inputs) in zest_fuzz_bodies::seeds() {
        let dir = corpus.join(target);
        fs::create_dir_all(&dir).expect("a folder for the inputs");
        for (number, input) in inputs.iter().enumerate() {
            fs::write(dir.join(format!("seed-{number:02}")), input).expect("room for an input");
        }
        println!("{} inputs for {target}", inputs.len());
    }
}
