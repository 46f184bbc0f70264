//! `GET /v1/reads/NAME`: what has come for a file that somebody waits for, as long as that is waited for.
//!
//! Of a file whose chunks nobody knows no byte can be given before a whole xorb is here, which takes a minute on a slow line. Who waits
//! for `POST /v1/files` tells a daemon that receives from one that hangs by this, on a connection beside.

use crate::answer::Refusal;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zest_runtime_tokio::{Came, Signs};

/// Hex digits of a name, which whoever waits makes up.
const NAME_DIGITS: std::ops::RangeInclusive<usize> = 16..=64;

/// Files that somebody waits for, by the names that were made up for that. No more than there are requests.
#[derive(Debug, Default)]
pub(crate) struct Reads(Mutex<BTreeMap<String, Signs>>);

impl Reads {
    /// Somebody waits for a file, until what is returned is dropped.
    ///
    /// # Errors
    /// It is no name, or another file has it.
    pub(crate) fn begin(self: &Arc<Self>, name: &str, signs: Signs) -> Result<Read, Refusal> {
        let is_name = NAME_DIGITS.contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_name {
            return Err(Refusal::usage("X-Zest-Read has 16 to 64 hexadecimal digits"));
        }
        let mut reads = self.all();
        if reads.contains_key(name) {
            return Err(Refusal::usage("X-Zest-Read is another file's"));
        }
        reads.insert(name.to_owned(), signs);
        Ok(Read { reads: self.clone(), name: name.to_owned() })
    }

    /// What has come for the file of this name, if somebody waits for it.
    pub(crate) fn came(&self, name: &str) -> Option<Came> {
        let signs = self.all().get(name).cloned()?;
        Some(signs.now())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Signs>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits.
#[derive(Debug)]
pub(crate) struct Read {
    reads: Arc<Reads>,
    name: String,
}

impl Drop for Read {
    fn drop(&mut self) {
        self.reads.all().remove(&self.name);
    }
}
