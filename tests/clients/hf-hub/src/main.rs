//! Downloads files of a model with the crate hf-hub, at the Hub that `HF_ENDPOINT` names, into the cache of `HF_HOME`.
//!
//! `hf-hub-client ORG/NAME FILE…` (it cannot ask for names with spaces: it sends them as they are)

use hf_hub::api::sync::ApiBuilder;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let model = words.next().ok_or("which model?")?;
    let repo = ApiBuilder::from_env().with_progress(false).build()?.model(model);
    let there = repo.info()?.siblings;
    for file in words {
        if !there.iter().any(|known| known.rfilename == file) {
            return Err(format!("the Hub does not list {file}").into());
        }
        println!("{}", repo.get(&file)?.display());
    }
    Ok(())
}
