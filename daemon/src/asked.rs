//! What requests for a pull and for a file have in common.

use crate::answer::Refusal;
use axum::http::HeaderName;
use axum::http::request::Parts;
use std::path::PathBuf;
use zest_runtime_tokio::PullRequest;
use zest_store::Token;

/// A token for the Hub, for one pull. It stays in memory.
const TOKEN: HeaderName = HeaderName::from_static("x-hf-token");

/// A folder must be named so that it is the same for whoever reads it.
pub(crate) fn check_dir(name: &str, dir: Option<&PathBuf>) -> Result<(), Refusal> {
    let is_place = |dir: &PathBuf| dir.is_absolute() && !dir.to_string_lossy().contains('\0');
    match dir.is_none_or(is_place) {
        true => Ok(()),
        false => Err(Refusal::usage(format!("{name} is no absolute path"))),
    }
}

/// The token that came with a request, which is for the Hub.
pub(crate) fn token_of(parts: &Parts, request: &mut PullRequest) -> Result<(), Refusal> {
    if let Some(token) = parts.headers.get(TOKEN) {
        let text = token.to_str().map_err(|_| Refusal::usage("X-HF-Token is no token"))?;
        request.token = Token::new(text);
        // An empty one says that none is to be used.
        request.implicit_token = request.token.is_some();
    }
    Ok(())
}
