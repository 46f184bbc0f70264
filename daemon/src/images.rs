//! The GGUF files of a repository as images: what Ollama pulls, and what any OCI client can copy.
//!
//! An image is a manifest (JSON) that names a configuration (JSON) and layers by SHA-256. A model's layer is the file itself, whose
//! SHA-256 the Hub tells. Files named `template`, `system` and `params` beside it are layers, too, as on the Hub's own bridge.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zest_store::TreeEntry;

/// The manifest's media type (Docker Registry HTTP API V2, image manifest schema 2).
pub const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The same as an OCI image: for clients that take no other layers than Docker's from the first.
pub const OCI_MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The tag that stands for the usual choice.
pub const TAG_DEFAULT: &str = "latest";

const CONFIG_TYPE: &str = "application/vnd.docker.container.image.v1+json";

/// Quantisations that are the usual choice, the first first: what the Hub's own bridge takes, then its neighbours.
const USUAL: [&str; 8] = ["Q4_K_M", "Q4_K_S", "Q4_0", "Q4_1", "Q5_K_M", "Q3_K_M", "Q8_0", "F16"];

/// Files of a repository's root that are layers of its images.
pub const EXTRAS: [&str; 3] = ["template", "system", "params"];

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The repository has none at all.
    #[error("the repository has no GGUF files")]
    NoGguf,
    /// None that goes by this name.
    #[error("no GGUF file goes by {tag}; there are {}", known.join(", "))]
    NoSuch {
        /// What was asked for.
        tag: String,
        /// What could be.
        known: Vec<String>,
    },
    /// The model lies in several files.
    #[error("{path} is one of several parts, and an image has one model file")]
    Split {
        /// The first of them.
        path: String,
    },
}

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The model.
    pub model: TreeEntry,
    /// What turns pictures into tokens, if the model sees.
    pub projector: Option<TreeEntry>,
    /// The model's name among those of its repository: its quantisation, or its file's name.
    pub tag: String,
}

/// A layer: media type, SHA-256 in hex, bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    kind: &'static str,
    /// SHA-256 in hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// An image's own documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What names all of it, as [`MANIFEST_TYPE`].
    pub manifest: Vec<u8>,
    /// The same as [`OCI_MANIFEST_TYPE`].
    pub oci_manifest: Vec<u8>,
    /// What the manifest calls its configuration.
    pub config: Vec<u8>,
}

/// The model that a tag stands for.
///
/// # Errors
/// There is none, or it lies in several files.
pub fn choose<'a>(files: impl IntoIterator<Item = &'a TreeEntry>, tag: &str) -> Result<Choice, ImageError> {
    let is_gguf =
        |entry: &&TreeEntry| entry.path.to_lowercase().ends_with(".gguf") && entry.lfs_sha256.is_some();
    let all: Vec<&TreeEntry> = files.into_iter().filter(is_gguf).collect();
    let is_projector = |entry: &&&TreeEntry| name_of(&entry.path).to_lowercase().contains("mmproj");
    let projectors: Vec<&TreeEntry> = all.iter().filter(is_projector).copied().collect();
    let models: Vec<&TreeEntry> = all.iter().filter(|entry| !is_projector(entry)).copied().collect();
    if models.is_empty() {
        return Err(ImageError::NoGguf);
    }
    let found = match tag.eq_ignore_ascii_case(TAG_DEFAULT) {
        true => {
            let usual =
                USUAL.iter().find_map(|quant| models.iter().find(|entry| goes_by(&entry.path, quant)));
            usual.or(models.first())
        }
        false => models.iter().find(|entry| goes_by(&entry.path, tag)),
    };
    let Some(model) = found else {
        let mut known: Vec<String> = models.iter().map(|entry| tag_of(&entry.path)).collect();
        known.dedup();
        return Err(ImageError::NoSuch { tag: tag.to_owned(), known });
    };
    if is_part(&model.path) {
        return Err(ImageError::Split { path: model.path.clone() });
    }
    // The one that loses least.
    let projector = projectors.iter().find(|entry| goes_by(&entry.path, "F16")).or(projectors.first());
    Ok(Choice {
        model: (*model).clone(),
        projector: projector.map(|it| (*it).clone()),
        tag: tag_of(&model.path),
    })
}

/// Every tag that stands for a model.
pub fn tags<'a>(files: impl IntoIterator<Item = &'a TreeEntry>) -> Vec<String> {
    let files: Vec<&TreeEntry> = files.into_iter().collect();
    let mut tags: Vec<String> = files
        .iter()
        .filter(|entry| entry.path.to_lowercase().ends_with(".gguf"))
        .map(|entry| tag_of(&entry.path))
        .filter(|tag| choose(files.iter().copied(), tag).is_ok())
        .collect();
    tags.sort();
    tags.dedup();
    tags
}

impl Layer {
    /// The model's file.
    #[must_use]
    pub fn model(entry: &TreeEntry) -> Self {
        Self::of("application/vnd.ollama.image.model", entry)
    }

    /// What turns pictures into tokens.
    #[must_use]
    pub fn projector(entry: &TreeEntry) -> Self {
        Self::of("application/vnd.ollama.image.projector", entry)
    }

    /// One of [`EXTRAS`], with its content.
    #[must_use]
    pub fn extra(name: &str, content: &[u8]) -> Option<Self> {
        let kind = match name {
            "template" => "application/vnd.ollama.image.template",
            "system" => "application/vnd.ollama.image.system",
            "params" => "application/vnd.ollama.image.params",
            _ => return None,
        };
        Some(Self { kind, sha256: sha256(content), size: content.len() as u64 })
    }

    fn of(kind: &'static str, entry: &TreeEntry) -> Self {
        Self { kind, sha256: entry.etag().to_owned(), size: entry.content_size() }
    }

    fn document(&self) -> Value {
        json!({"mediaType": self.kind, "digest": format!("sha256:{}", self.sha256), "size": self.size})
    }
}

/// The image of these layers. `family` is the model's architecture as GGUF names it, or nothing.
#[must_use]
pub fn image(layers: &[Layer], tag: &str, family: &str) -> Image {
    let families: Vec<&str> = Some(family).filter(|family| !family.is_empty()).into_iter().collect();
    let names: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", layer.sha256)).collect();
    let config = json!({
        "model_format": "gguf",
        "model_family": family,
        "model_families": families,
        "model_type": "",
        "file_type": tag,
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": names},
    });
    let config = config.to_string().into_bytes();
    let manifest = |kind: &str| {
        let digest = format!("sha256:{}", sha256(&config));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {"mediaType": CONFIG_TYPE, "digest": digest, "size": config.len()},
            "layers": layers.iter().map(Layer::document).collect::<Vec<_>>(),
        });
        manifest.to_string().into_bytes()
    };
    Image { manifest: manifest(MANIFEST_TYPE), oci_manifest: manifest(OCI_MANIFEST_TYPE), config }
}

/// SHA-256 in hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    crate::secret::hex(&Sha256::digest(bytes))
}

/// SHA-256 of what comes in pieces.
#[derive(Debug, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// The next piece.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash in hex.
    #[must_use]
    pub fn end(self) -> String {
        crate::secret::hex(&self.0.finalize())
    }
}

/// The architecture that a GGUF file's first bytes name, if it is the first thing they say, as every writer has it.
#[must_use]
pub fn architecture(first: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"general.architecture";
    /// The type of a string (GGUF specification, `gguf_metadata_value_type`).
    const STRING: u32 = 8;
    const LONGEST: u64 = 64;
    let number = |at: usize| Some(u64::from_le_bytes(first.get(at..at + 8)?.try_into().ok()?));
    // Magic, version, counts of tensors and keys.
    let at = 24;
    if !first.starts_with(b"GGUF")
        || number(at)? != KEY.len() as u64
        || first.get(at + 8..)?.get(..KEY.len())? != KEY
    {
        return None;
    }
    let at = at + 8 + KEY.len();
    let kind = u32::from_le_bytes(first.get(at..at + 4)?.try_into().ok()?);
    let len = number(at + 4).filter(|len| kind == STRING && *len <= LONGEST)?;
    let text = first.get(at + 12..at + 12 + usize::try_from(len).ok()?)?;
    let is_name = text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    is_name.then(|| String::from_utf8_lossy(text).into_owned())
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A file's name without `.gguf`, and without `-00001-of-00002`.
fn stem(path: &str) -> &str {
    let name = name_of(path);
    let stem = name.get(..name.len().saturating_sub(5)).unwrap_or(name);
    match stem.rfind("-of-").and_then(|at| stem[..at].rfind('-')) {
        Some(at) if is_part(path) => &stem[..at],
        _ => stem,
    }
}

/// Whether a name ends with `-00001-of-00002.gguf`.
fn is_part(path: &str) -> bool {
    let name = name_of(path);
    let Some(stem) = name.get(..name.len().saturating_sub(5)) else { return false };
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = stem.rsplit('-');
    let (last, of, first) = (parts.next(), parts.next(), parts.next());
    last.is_some_and(is_number) && of == Some("of") && first.is_some_and(is_number)
}

fn goes_by(path: &str, tag: &str) -> bool {
    let (stem, name) = (stem(path).to_lowercase(), name_of(path).to_lowercase());
    let tag = tag.to_lowercase();
    name == tag
        || stem == tag
        || stem.strip_suffix(&tag).is_some_and(|before| before.ends_with(['-', '.', '_']))
}

/// The shortest name that a file goes by: its quantisation, if it tells one.
fn tag_of(path: &str) -> String {
    let stem = stem(path);
    let is_quant = |word: &str| {
        let word = word.to_uppercase();
        let numbered =
            ["Q", "IQ", "TQ", "F", "BF", "MXFP"].iter().filter_map(|begin| word.strip_prefix(begin));
        numbered.into_iter().any(|rest| rest.bytes().next().is_some_and(|byte| byte.is_ascii_digit()))
    };
    let last = stem.rsplit(['-', '.']).next().unwrap_or(stem);
    if is_quant(last) { last.to_owned() } else { stem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> TreeEntry {
        TreeEntry {
            path: path.to_owned(),
            size: 5,
            blob_id: "a".repeat(40),
            lfs_sha256: Some(sha256(path.as_bytes())),
            lfs_size: Some(5),
            xet_hash: None,
        }
    }

    #[test]
    fn a_tag_stands_for_the_file_that_people_mean() {
        let files = [
            "README.md",
            "m-Q8_0.gguf",
            "m-Q4_K_M.gguf",
            "sub/m.q5_0.gguf",
            "mmproj-m-Q8_0.gguf",
            "mmproj-m-f16.gguf",
        ]
        .map(file);
        let chosen = |tag: &str| choose(&files, tag).map(|choice| choice.model.path);
        assert_eq!(chosen("latest").as_deref(), Ok("m-Q4_K_M.gguf"));
        assert_eq!(chosen("q8_0").as_deref(), Ok("m-Q8_0.gguf"));
        assert_eq!(chosen("Q5_0").as_deref(), Ok("sub/m.q5_0.gguf"));
        assert_eq!(chosen("m-Q8_0.gguf").as_deref(), Ok("m-Q8_0.gguf"));
        let choice = choose(&files, "Q8_0").expect("there");
        assert_eq!(
            (choice.projector.map(|it| it.path).as_deref(), choice.tag.as_str()),
            (Some("mmproj-m-f16.gguf"), "Q8_0")
        );
        assert!(chosen("K_M").is_ok() && chosen("4_K_M").is_err(), "a part of a word is no name");
        assert_eq!(tags(&files), ["Q4_K_M", "Q8_0", "q5_0"]);
        assert_eq!(choose(&[file("a.bin")], "latest"), Err(ImageError::NoGguf));
        let parts = ["x-Q2_K-00001-of-00002.gguf", "x-Q2_K-00002-of-00002.gguf"].map(file);
        assert!(matches!(choose(&parts, "Q2_K"), Err(ImageError::Split { .. })));
        assert!(tags(&parts).is_empty());
        for odd in ["", ".gguf", "é.gguf", "-of-.gguf", "a-of-b.gguf"] {
            let _nothing_panics = (choose(&[file(odd)], odd), tags(&[file(odd)]));
        }
    }

    #[test]
    fn the_manifest_names_everything_by_its_hash() {
        let model = file("m-Q4_0.gguf");
        let layers = [Layer::model(&model), Layer::extra("template", b"{{ .Prompt }}").expect("known")];
        let image = image(&layers, "Q4_0", "llama");
        let manifest: Value = serde_json::from_slice(&image.manifest).expect("JSON");
        assert_eq!(manifest["config"]["digest"], format!("sha256:{}", sha256(&image.config)));
        assert_eq!(manifest["config"]["size"], image.config.len());
        assert_eq!(manifest["layers"][0]["digest"], format!("sha256:{}", model.etag()));
        assert_eq!(manifest["layers"][1]["mediaType"], "application/vnd.ollama.image.template");
        let config: Value = serde_json::from_slice(&image.config).expect("JSON");
        assert_eq!(
            (config["model_family"].as_str(), config["file_type"].as_str()),
            (Some("llama"), Some("Q4_0"))
        );
    }

    #[test]
    fn the_architecture_is_what_a_file_says_first() {
        let mut first = b"GGUF\x03\0\0\0".to_vec();
        first.extend([0; 16]);
        first.extend(20_u64.to_le_bytes());
        first.extend(b"general.architecture");
        first.extend(8_u32.to_le_bytes());
        first.extend(5_u64.to_le_bytes());
        first.extend(b"llama");
        assert_eq!(architecture(&first).as_deref(), Some("llama"));
        for cut in 0..first.len() {
            assert_eq!(architecture(&first[..cut]), None);
        }
    }
}
