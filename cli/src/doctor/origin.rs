//! The way to the Hub, its CAS and its CDN: what answers, how soon, and what stands between.

use super::Check;
use crate::ui::units;
use std::path::Path;
use std::time::{Duration, Instant};
use zest_hub::{ErrorKind, Hub, HubConfig, HubError, RetryPolicy};
use zest_store::{Catalog, Endpoint, Env, RepoId, RepoType};
use zest_xet::Hash;

/// A repository that nobody has: any answer about it is an answer.
const NOBODY: &str = "zest-doctor/asks-whether-you-answer";
/// What the public Hub's CAS and CDN are tried with, where nothing of its is here: small, open, and the example of our own help.
const SAMPLE: &str = "Qwen/Qwen3-0.6B";
/// A clock this far off is worth a word: 1 min. Ours; clocks that are set by the network differ by seconds.
const CLOCK_OFF_S: u64 = 60;
/// So far off, what a Hub says of who may read what is not believed any more: 5 min (`CLOCK_SLACK` of the store).
const CLOCK_WRONG_S: u64 = 300;
/// Bytes of a certificate file that are looked at: 16 MiB; a system's has a quarter of one.
const CERTIFICATES_BYTES_MAX: u64 = 16 << 20;

/// All of it.
pub(super) async fn look(env: &Env, with: Option<&RepoId>) -> Vec<Check> {
    let mut checks = Vec::new();
    if env.offline {
        let text = "HF_HUB_OFFLINE is set: the Hub is not asked";
        checks.push(Check::warn("Hub", text, "unset it to fetch what is not here"));
        checks.extend(proxies().into_iter().chain(certificates()));
        return checks;
    }
    let config = HubConfig {
        retry: RetryPolicy::once(),
        cas_retry: None,
        range_retry: RetryPolicy::once(),
        ..HubConfig::from_env(env)
    };
    let (Ok(hub), Ok(nobody)) = (Hub::new(config), RepoId::new(RepoType::Model, NOBODY)) else {
        let text = format!("{} is no address of a Hub", zest_hub::endpoint_name(&env.endpoint));
        checks.push(Check::fail(
            "Hub",
            text,
            "HF_ENDPOINT must be an address such as https://huggingface.co",
        ));
        return checks;
    };
    let asked = answers(env, &hub, &nobody).await;
    let speaks = !asked.is_wrong();
    checks.push(asked);
    checks.extend(proxies().into_iter().chain(certificates()));
    checks.extend(hub.clock_ahead_s().map(clock));
    if speaks {
        checks.extend(storage(env, &hub, with).await);
    }
    checks
}

/// Whether the Hub answers, and takes the token.
async fn answers(env: &Env, hub: &Hub, nobody: &RepoId) -> Check {
    let began = Instant::now();
    let outcome = hub.revision(nobody, "main").await;
    let took = units::duration(began.elapsed());
    let token =
        if env.token.is_some() { "with a token" } else { "without a token: public repositories only" };
    match outcome {
        Err(error @ (HubError::TokenRefused { .. } | HubError::Forbidden { .. })) => {
            Check::fail("Hub", error.to_string(), "log in anew with `hf auth login`, or unset HF_TOKEN")
        }
        Err(error) if error.is_transient() => {
            let fix = match error.kind() {
                ErrorKind::RateLimited { .. } => "wait, or use a token: it has a limit of its own",
                _ => fix_of(&error).unwrap_or(
                    "look at HF_ENDPOINT, HTTPS_PROXY, SSL_CERT_FILE and the line; with all in the cache it goes without",
                ),
            };
            Check::fail("Hub", error.to_string(), fix)
        }
        // Whatever it says of a repository that is not there, it speaks.
        Ok(_) | Err(_) => {
            let shown = zest_hub::endpoint_name(&env.endpoint);
            Check::ok("Hub", format!("{shown} answers in {took}, {token}"))
        }
    }
}

/// What helps where the fault is plain.
fn fix_of(error: &HubError) -> Option<&'static str> {
    let text = error.to_string();
    let has = |word: &str| text.contains(word);
    if has("certificate") {
        let fix = "something on the way signs with an authority of its own, or the clock is wrong: name its certificates with SSL_CERT_FILE";
        return Some(fix);
    }
    matches!(error, HubError::Page { .. })
        .then_some("a log-in page of this network answers: open any page in a browser, log in there")
}

/// What stands between us and the Hub, by the environment's word.
fn proxies() -> Option<Check> {
    let named = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    let set: Vec<&str> = named.into_iter().filter(|name| std::env::var_os(name).is_some()).collect();
    // Their values may hold a password.
    (!set.is_empty()).then(|| {
        let except = if std::env::var_os("NO_PROXY").or(std::env::var_os("no_proxy")).is_some() {
            ", but for NO_PROXY"
        } else {
            ""
        };
        Check::ok(
            "proxy",
            format!(
                "{} used for the Hub, the CAS and the CDN{except}; peers are dialled without",
                set.join(", ")
            ),
        )
    })
}

/// Whose signatures are believed, where the environment names them.
fn certificates() -> Option<Check> {
    let file = std::env::var_os("SSL_CERT_FILE").filter(|name| !name.is_empty())?;
    Some(certificates_in(Path::new(&file)))
}

fn certificates_in(path: &Path) -> Check {
    use std::io::Read as _;
    let fix = "name a file of PEM certificates, or unset SSL_CERT_FILE: then the system's are used";
    let mut text = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(CERTIFICATES_BYTES_MAX).read_to_end(&mut text));
    match read {
        Err(error) => Check::fail("certificates", format!("SSL_CERT_FILE: {}: {error}", path.display()), fix),
        Ok(_) => match String::from_utf8_lossy(&text).matches("-----BEGIN CERTIFICATE-----").count() {
            0 => Check::fail("certificates", format!("SSL_CERT_FILE: {} has none", path.display()), fix),
            some => Check::ok("certificates", format!("{some} of SSL_CERT_FILE, {}", path.display())),
        },
    }
}

/// Whether this machine's clock agrees with the Hub's.
fn clock(ahead_s: i64) -> Check {
    let off = ahead_s.unsigned_abs();
    let way = if ahead_s > 0 { "ahead of" } else { "behind" };
    let text = format!("{} {way} the Hub's", crate::duration::words(Duration::from_secs(off)));
    let fix = "set it (`timedatectl set-ntp true`): certificates, signed addresses and what may be shared depend on it";
    match off {
        CLOCK_WRONG_S.. => Check::fail("clock", text, fix),
        CLOCK_OFF_S.. => Check::warn("clock", text, fix),
        0..=2 => Check::ok("clock", "as the Hub's"),
        _ => Check::ok("clock", text),
    }
}

/// A file to try the CAS with.
struct Tried {
    repo: RepoId,
    commit: String,
    file: Hash,
}

/// Whether the CAS and the CDN answer, with a file of the repository that was named, one that this Hub gave, or the example's.
async fn storage(env: &Env, hub: &Hub, with: Option<&RepoId>) -> Vec<Check> {
    let sample = RepoId::new(RepoType::Model, SAMPLE).ok();
    let own = Endpoint::new(&env.endpoint);
    let tried = match with {
        Some(repo) => of_repo(hub, repo).await,
        None => match of_catalog(env, &own) {
            Some(tried) => Ok(tried),
            None if own == Endpoint::public() => match &sample {
                Some(repo) => of_repo(hub, repo).await,
                None => return Vec::new(),
            },
            None => {
                let text =
                    "not tried: nothing of this Hub is here; `zest doctor ORG/NAME` tries with a repository";
                return vec![Check::ok("CAS", text)];
            }
        },
    };
    let tried = match tried {
        Ok(tried) => tried,
        Err(text) => {
            return vec![Check::warn(
                "CAS",
                format!("not tried: {text}"),
                "`zest doctor ORG/NAME` tries with another repository",
            )];
        }
    };
    let began = Instant::now();
    let cas = match hub.cas(&tried.repo, &tried.commit).await {
        Ok(cas) => cas,
        Err(error) => {
            let text = format!("no token for it, of {}: {error}", tried.repo);
            return vec![Check::fail(
                "CAS",
                text,
                fix_of(&error).unwrap_or("log in with `hf auth login`, or try with a public repository"),
            )];
        }
    };
    let plan = match cas.reconstruction(&tried.file).await {
        Ok(plan) => plan,
        Err(error) => {
            let fix =
                "let HTTPS to that address through; until then files come whole from the Hub, and slower";
            return vec![Check::fail("CAS", error.to_string(), fix_of(&error).unwrap_or(fix))];
        }
    };
    let took = units::duration(began.elapsed());
    let mut checks = vec![Check::ok("CAS", format!("{} answers in {took}", cas.host()))];
    let fetch = plan
        .fetches
        .values()
        .flatten()
        .find_map(|fetch| Some((&fetch.url, fetch.ranges.first()?.bytes.clone())));
    let Some((url, bytes)) = fetch else { return checks };
    let began = Instant::now();
    // The rest of the address names the file, and opens it.
    let shown = url.split('/').take(3).collect::<Vec<_>>().join("/");
    let came = async {
        let mut body = cas.range(url, bytes).await?;
        body.chunk().await
    };
    checks.push(match came.await {
        Ok(_) => Check::ok("CDN", format!("{shown} sends after {}", units::duration(began.elapsed()))),
        Err(error) => {
            let fix = "let HTTPS to that address through; peers that have the files do without";
            Check::fail("CDN", error.to_string(), fix_of(&error).unwrap_or(fix))
        }
    });
    checks
}

/// A file that this very Hub gave: no other is asked about it.
fn of_catalog(env: &Env, own: &Endpoint) -> Option<Tried> {
    let files = Catalog::open(&env.zest_cache).ok()?.files();
    let of_own = files.into_iter().filter_map(|file| {
        let of = file.commits.iter().find(|of| of.hub.as_ref() == Some(own))?;
        Some((file.size, Tried { repo: of.repo.clone(), commit: of.commit.clone(), file: file.file }))
    });
    of_own.min_by_key(|(size, _)| *size).map(|(_, tried)| tried)
}

async fn of_repo(hub: &Hub, repo: &RepoId) -> Result<Tried, String> {
    let commit = hub.revision(repo, "main").await.map_err(|error| error.to_string())?.commit;
    let listing = hub.listing(repo, &commit).await.map_err(|error| error.to_string())?;
    let files = listing.entries.iter().filter(|entry| entry.content_size() > 0);
    let smallest =
        files.filter_map(|entry| Some((entry.content_size(), entry.xet_hash?))).min_by_key(|(size, _)| *size);
    match smallest {
        Some((_, file)) => Ok(Tried { repo: repo.clone(), commit, file }),
        None => Err(format!("{repo} has no file in Xet")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_clock_is_right_off_or_wrong() {
        let states = [0, -3, 59, 61, -200, 300, -7200].map(|off| clock(off).state);
        let (ok, warn, fail) = (State::Ok, State::Warn, State::Fail);
        assert_eq!(states, [ok, ok, ok, warn, warn, fail, fail]);
        assert_eq!(clock(-7200).text, "2 h behind the Hub's");
    }

    #[test]
    fn a_file_without_certificates_is_no_file_of_certificates() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ca.pem");
        assert_eq!(certificates_in(&path).state, State::Fail);
        std::fs::write(&path, "nothing").expect("written");
        assert!(certificates_in(&path).text.ends_with("has none"));
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")
            .expect("written");
        assert_eq!(certificates_in(&path).state, State::Ok);
    }
}
