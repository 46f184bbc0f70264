//! `zest link`: a model that is here, for a program that keeps its models in its own way, without a second copy where the disk can.

use crate::args::PullArgs;
use crate::engine::{self, Folders, PullReport, PullRequest};
use crate::failure::{Failure, Kind, disk};
use crate::os;
use crate::pull;
use crate::ui::{Ui, units};
use clap::{Args, Subcommand};
use serde_json::json;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use zest_daemon::images::{self, Choice, EXTRAS, Layer};
use zest_store::{Catalog, Env, RepoId, TreeEntry};

/// The host in an image's name that `ollama run hf.co/ORG/NAME` has, too.
const HOST: &str = "hf.co";

/// Bytes that are hashed at a time: 1 MiB.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes of a GGUF file in which its architecture stands.
const FIRST_BYTES: u64 = 256;

const HELP: &str = "\
`zest link ollama` fetches what is missing, like `zest pull`, and writes it where Ollama looks: OLLAMA_MODELS, or ~/.ollama/models. \
The file lies there by reflink or hard link where the file system can, else it is copied, which is said. Then: ollama run hf.co/ORG/NAME:QUANT. \
Files named template, system and params in the repository are taken along.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct LinkArgs {
    #[command(subcommand)]
    program: Program,
}

#[derive(Debug, Subcommand)]
enum Program {
    /// For Ollama: one GGUF file of a repository
    Ollama {
        /// The repository, and which of its models: a quantisation or a file's name [default: Q4_K_M or the next to it]
        #[arg(value_name = "ORG/NAME[:QUANT]")]
        model: String,
    },
}

/// How a file got a second name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    There,
    Reflink,
    HardLink,
    Copy,
}

impl How {
    fn as_str(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Reflink => "reflink",
            Self::HardLink => "hard-link",
            Self::Copy => "copy",
        }
    }
}

/// `settled` reads what would be typed behind `zest`, with what the configuration says beside it.
pub(crate) async fn run(
    args: LinkArgs,
    settled: impl Fn(&[OsString]) -> Result<PullArgs, clap::Error>,
    ui: &Ui,
) -> Result<(), Failure> {
    let Program::Ollama { model } = args.program;
    let (name, tag) = match model.rsplit_once(':') {
        Some((name, tag)) => (name, tag),
        None => (model.as_str(), images::TAG_DEFAULT),
    };
    let repo = engine::repo_id(name, None)?;
    let env = engine::environment(ui);
    let root = models_folder()?;
    let listed = list(&env, &repo).await?;
    let no_model = |error: images::ImageError| Failure::new(Kind::NotFound, format_args!("{repo}: {error}"));
    let chosen = images::choose(&entries(&listed), tag).map_err(no_model)?;
    let extras: Vec<&str> =
        EXTRAS.into_iter().filter(|extra| listed.files.iter().any(|file| file.path == *extra)).collect();
    let mut wanted = vec![chosen.model.path.clone()];
    wanted.extend(chosen.projector.iter().map(|file| file.path.clone()));
    wanted.extend(extras.iter().map(|extra| (*extra).to_owned()));
    // As if it had been typed, with what the configuration says.
    let words =
        ["zest", "pull", name, "--revision", &listed.commit].into_iter().map(str::to_owned).chain(wanted);
    let words: Vec<OsString> = words.map(OsString::from).collect();
    let unreadable = |_| Failure::new(Kind::Usage, format_args!("{model} names nothing that can be pulled"));
    let args = settled(&words).map_err(unreadable)?;
    let Some((report, _)) = pull::fetch(args, ui).await? else { return Ok(()) };
    let known = known(&env, &repo, &report.commit);
    let catalog = Catalog::open(&env.zest_cache).map_err(|error| engine::store_failure(&error))?;
    let (how, image) = link(&root, &repo, &report, &chosen, &extras, &known, &catalog)?;
    if ui.json() {
        let event = json!({"event": "linked", "model": image, "how": how.as_str(), "models": root});
        return ui.data(&event.to_string());
    }
    if how == How::Copy {
        ui.say(format!(
            "copied: {} cannot share bytes with the cache, so they lie on the disk twice ({})",
            root.display(),
            units::bytes(chosen.model.content_size())
        ));
    }
    ui.data(&format!("ollama run {image}"))
}

/// What is in the repository.
async fn list(env: &Env, repo: &RepoId) -> Result<PullReport, Failure> {
    let session = pull::start(engine::config(env, Folders::of_cache(env, false))?, None, false).await?;
    let request = PullRequest::new(repo.clone()).dry_run(true);
    let report = session.pull(request).wait().await;
    session.shutdown().await;
    report.map_err(|error| {
        let failure = engine::pull_failure(&error);
        match failure.kind {
            // It has neither a kind nor a revision that could be wrong.
            Kind::NotFound => failure.hint(format_args!(
                "look whether the name is right at {}; private and gated ones need HF_TOKEN or `hf auth login`",
                engine::page(env, repo)
            )),
            _ => failure,
        }
    })
}

/// Files as far as a listing tells them.
fn entries(report: &PullReport) -> Vec<TreeEntry> {
    let entry = |path: &str, size| TreeEntry {
        path: path.to_owned(),
        size,
        blob_id: String::new(),
        lfs_sha256: Some(String::new()),
        lfs_size: Some(size),
        xet_hash: None,
    };
    report.files.iter().map(|file| entry(&file.path, file.size)).collect()
}

/// What the Hub says of the commit's files.
fn known(env: &Env, repo: &RepoId, commit: &str) -> Vec<TreeEntry> {
    let cache = zest_store::HfCache::open(&env.hub_cache, env.cache_options());
    cache.ok().and_then(|cache| cache.read_tree(repo, commit)).unwrap_or_default()
}

/// Where Ollama keeps its models.
fn models_folder() -> Result<PathBuf, Failure> {
    if let Some(dir) = std::env::var_os("OLLAMA_MODELS").filter(|dir| !dir.is_empty()) {
        return Ok(dir.into());
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let home = home.ok_or_else(|| {
        Failure::new(Kind::Usage, "there is no home folder")
            .hint("set OLLAMA_MODELS to Ollama's folder of models")
    })?;
    Ok(home.join(".ollama/models"))
}

/// Writes blobs and manifest, and says how the model got there and how it is called.
fn link(
    root: &Path,
    repo: &RepoId,
    report: &PullReport,
    chosen: &Choice,
    extras: &[&str],
    known: &[TreeEntry],
    catalog: &Catalog,
) -> Result<(How, String), Failure> {
    let at = |path: &str| report.path.join(path);
    let whole = |entry: &TreeEntry| -> io::Result<TreeEntry> {
        let told = known.iter().find(|known| known.path == entry.path && known.lfs_sha256.is_some());
        match told {
            Some(told) => Ok(told.clone()),
            None => Ok(TreeEntry { lfs_sha256: Some(hash(&at(&entry.path))?), ..entry.clone() }),
        }
    };
    let cannot = |path: PathBuf| move |error: io::Error| disk(path.display(), &error);
    let model = whole(&chosen.model).map_err(cannot(at(&chosen.model.path)))?;
    let mut layers = vec![Layer::model(&model)];
    // A second name changes a file's state; what is known of its bytes stays known, so it is shared as before.
    let put = |from: &Path, to: &Path| catalog.through(from, || put(from, to));
    let how = put(&at(&model.path), &blob(root, model.etag())).map_err(cannot(root.to_owned()))?;
    if let Some(projector) = &chosen.projector {
        let projector = whole(projector).map_err(cannot(at(&projector.path)))?;
        put(&at(&projector.path), &blob(root, projector.etag())).map_err(cannot(root.to_owned()))?;
        layers.push(Layer::projector(&projector));
    }
    for name in extras {
        let content = fs::read(at(name)).map_err(cannot(at(name)))?;
        if let Some(layer) = Layer::extra(name, &content) {
            write(&blob(root, &layer.sha256), &content).map_err(cannot(root.to_owned()))?;
            layers.push(layer);
        }
    }
    let family = first_bytes(&at(&model.path)).ok().and_then(|first| images::architecture(&first));
    let image = images::image(&layers, &chosen.tag, family.as_deref().unwrap_or_default());
    write(&blob(root, &images::sha256(&image.config)), &image.config).map_err(cannot(root.to_owned()))?;
    // Last: who finds it finds all that it names.
    let manifest = root.join("manifests").join(HOST).join(&repo.name).join(&chosen.tag);
    write(&manifest, &image.manifest).map_err(cannot(manifest.clone()))?;
    Ok((how, format!("{HOST}/{}:{}", repo.name, chosen.tag)))
}

fn blob(root: &Path, sha256: &str) -> PathBuf {
    root.join("blobs").join(format!("sha256-{sha256}"))
}

fn first_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut first = Vec::new();
    File::open(path)?.take(FIRST_BYTES).read_to_end(&mut first)?;
    Ok(first)
}

fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = images::Hasher::default();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.end()),
            len => hasher.add(&piece[..len]),
        }
    }
}

/// Gives a file that is in the cache a second name, with its own bytes only where it has to be.
fn put(from: &Path, to: &Path) -> io::Result<How> {
    let from = fs::canonicalize(from)?;
    let meta = fs::metadata(&from)?;
    if fs::metadata(to).is_ok_and(|there| there.len() == meta.len()) {
        return Ok(How::There);
    }
    let temporary = begin(to)?;
    let how = os::reflink(&from, &temporary)
        .map(|()| How::Reflink)
        .or_else(|_| {
            let _not_there = fs::remove_file(&temporary);
            fs::hard_link(&from, &temporary).map(|()| How::HardLink)
        })
        .or_else(|_| fs::copy(&from, &temporary).map(|_| How::Copy));
    let how = finish(&temporary, to, how)?;
    let is_one = fs::metadata(to).is_ok_and(|there| os::is_one_file(&there, &meta));
    debug_assert!(how != How::HardLink || is_one, "a hard link is the same file");
    Ok(how)
}

/// Writes a small file, whole or not at all.
fn write(to: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = begin(to)?;
    let written = fs::write(&temporary, bytes);
    finish(&temporary, to, written)
}

fn begin(to: &Path) -> io::Result<PathBuf> {
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder)?;
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".zest-{}", std::process::id()));
    let temporary = folder.join(name);
    let _not_there = fs::remove_file(&temporary);
    Ok(temporary)
}

fn finish<T>(temporary: &Path, to: &Path, done: io::Result<T>) -> io::Result<T> {
    let landed = done.and_then(|done| fs::rename(temporary, to).map(|()| done));
    if landed.is_err() {
        let _not_there = fs::remove_file(temporary);
    }
    landed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_a_second_name_and_not_a_second_copy() {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, to) = (dir.path().join("a"), dir.path().join("x/blobs/sha256-1"));
        fs::write(&from, b"weights").expect("written");
        let how = put(&from, &to).expect("linked");
        assert_ne!(how, How::Copy, "a temporary folder knows hard links");
        assert_eq!(fs::read(&to).expect("there"), b"weights");
        assert_eq!(put(&from, &to).expect("there"), How::There);
        assert_eq!(
            fs::read_dir(to.parent().expect("one")).expect("there").count(),
            1,
            "nothing is left over"
        );
    }
}
