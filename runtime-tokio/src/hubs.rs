//! The clients of Hubs that an engine's pulls share: one for each endpoint and token, so that connections, CAS tokens and what is
//! known of outages are neither fetched twice nor seen by whom they do not belong to.

use crate::clock::Clock;
use crate::index::withdraw_what_is_refused;
use crate::outages::Outages;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use zest_hub::{Hub, HubConfig, HubError, RetryPolicy};
use zest_store::{Catalog, Env, RepoId};

/// Clients kept that nobody uses: 16. Ours; a daemon for many users meets many tokens.
const IDLE_MAX: usize = 16;

/// How the Hub is asked where the cache can answer in its place: 4 times, about a second, and neither a pause beyond 10 s nor a second
/// time-out of silence is sat out.
fn brief() -> RetryPolicy {
    RetryPolicy { tries: 4, silent_tries: 1, asked_max: Duration::from_secs(10), ..RetryPolicy::default() }
}

/// Who is asked, and as whom. No `Debug`: it holds a secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientKey {
    endpoint: String,
    token: Option<String>,
    stall: Duration,
    api_stall: Duration,
}

impl ClientKey {
    pub(crate) fn of(env: &Env) -> Self {
        Self {
            endpoint: env.endpoint.clone(),
            token: env.token.as_ref().map(|token| token.as_str().to_owned()),
            stall: env.download_timeout,
            api_stall: env.etag_timeout,
        }
    }
}

/// Refusals by repository, for the pulls that wait for one.
type Refusals = Mutex<BTreeMap<RepoId, watch::Sender<Option<HubError>>>>;

/// One client, with what is known of its Hub.
pub(crate) struct Client {
    pub(crate) hub: Hub,
    pub(crate) outages: Arc<Outages>,
    refusals: Arc<Refusals>,
}

impl Client {
    /// Tells of the refusals of a repository that come from now on and after which it is no use to go on.
    pub(crate) fn refused(&self, repo: &RepoId) -> watch::Receiver<Option<HubError>> {
        let mut refusals = lock(&self.refusals);
        refusals.retain(|of, tell| of == repo || tell.receiver_count() > 0);
        refusals.entry(repo.clone()).or_insert_with(|| watch::channel(None).0).subscribe()
    }
}

/// All of an engine.
pub(crate) struct Hubs {
    clock: Clock,
    give_up_after: Duration,
    catalog: Arc<Catalog>,
    clients: Mutex<BTreeMap<ClientKey, Arc<Client>>>,
    /// By endpoint: whoever asks, it is the same Hub that does not answer.
    outages: Mutex<BTreeMap<String, Arc<Outages>>>,
}

impl Hubs {
    pub(crate) fn new(clock: Clock, give_up_after: Duration, catalog: Arc<Catalog>) -> Self {
        Self { clock, give_up_after, catalog, clients: Mutex::default(), outages: Mutex::default() }
    }

    /// What is known of the outages of an endpoint.
    pub(crate) fn outages(&self, endpoint: &str) -> Arc<Outages> {
        let mut all = lock(&self.outages);
        let new = || Outages::new(self.clock, self.give_up_after);
        all.entry(endpoint.to_owned()).or_insert_with(new).clone()
    }

    /// The client for an environment's endpoint and token.
    ///
    /// It asks for as long as its user waits; of the CAS and the CDN the node decides when they are asked again.
    ///
    /// # Errors
    /// As [`Hub::new`].
    pub(crate) fn client(&self, env: &Env) -> Result<Arc<Client>, HubError> {
        let key = ClientKey::of(env);
        if let Some(client) = lock(&self.clients).get(&key) {
            return Ok(client.clone());
        }
        let outages = self.outages(&env.endpoint);
        let hub = Hub::new(HubConfig {
            persistence: Some(outages.clone()),
            retry: brief(),
            cas_retry: Some(RetryPolicy::once()),
            range_retry: RetryPolicy::once(),
            ..HubConfig::from_env(env)
        })?;
        let refusals = Arc::<Refusals>::default();
        withdraw_what_is_refused(&hub, &self.catalog, {
            let refusals = refusals.clone();
            move |repo, error| {
                if let Some(tell) = lock(&refusals).get(repo) {
                    tell.send_replace(Some(error.clone()));
                }
            }
        });
        let client = Arc::new(Client { hub, outages, refusals });
        let mut clients = lock(&self.clients);
        if clients.len() >= IDLE_MAX {
            clients.retain(|_, client| Arc::strong_count(client) > 1);
        }
        Ok(clients.entry(key).or_insert(client).clone())
    }

    /// Bytes came, from wherever: nobody waits in vain.
    pub(crate) fn moved(&self) {
        lock(&self.outages).values().for_each(|outages| outages.moved());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_store::Token;

    fn env(endpoint: &str, token: &str) -> Env {
        let mut env = Env::from_map(&BTreeMap::from([("HOME".to_owned(), "/nowhere".to_owned())]));
        env.endpoint = endpoint.to_owned();
        env.token = Token::new(token);
        env
    }

    #[test]
    fn a_client_belongs_to_one_endpoint_and_one_token() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let catalog = Arc::new(Catalog::open(dir.path()).expect("a catalog"));
        let hubs = Hubs::new(Clock::start(), Duration::from_secs(1), catalog);
        let client =
            |endpoint: &str, token: &str| hubs.client(&env(endpoint, token)).expect("a good endpoint");
        let a = client("http://127.0.0.1:1", "hf_a");
        assert!(Arc::ptr_eq(&a, &client("http://127.0.0.1:1", "hf_a")));
        for (endpoint, token) in
            [("http://127.0.0.1:1", "hf_b"), ("http://127.0.0.1:1", ""), ("http://127.0.0.1:2", "hf_a")]
        {
            assert!(!Arc::ptr_eq(&a, &client(endpoint, token)), "{endpoint}");
        }
        assert!(
            Arc::ptr_eq(&a.outages, &client("http://127.0.0.1:1", "hf_b").outages),
            "one Hub is out once"
        );
        assert!(!Arc::ptr_eq(&a.outages, &client("http://127.0.0.1:2", "hf_a").outages));
        for n in 0..100 {
            client("http://127.0.0.1:3", &format!("hf_{n}"));
        }
        assert!(lock(&hubs.clients).len() <= IDLE_MAX, "idle ones are forgotten");
    }

    #[test]
    fn a_refusal_is_told_to_who_began_before_it_and_for_that_repository_alone() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let catalog = Arc::new(Catalog::open(dir.path()).expect("a catalog"));
        let hubs = Hubs::new(Clock::start(), Duration::from_secs(1), catalog);
        let client = hubs.client(&env("http://127.0.0.1:1", "")).expect("a good endpoint");
        let repo = |name: &str| RepoId::new(zest_store::RepoType::Model, name).expect("a good name");
        let (a, b) = (client.refused(&repo("o/a")), client.refused(&repo("o/b")));
        let tell = lock(&client.refusals).get(&repo("o/a")).cloned().expect("somebody waits");
        tell.send_replace(Some(HubError::NoToken));
        assert!(a.has_changed().expect("open") && !b.has_changed().expect("open"));
        let later = client.refused(&repo("o/a"));
        assert!(!later.has_changed().expect("open"), "what was refused before may be open now");
    }
}
