//! Pointers from users' stand-ins to the people whom they have proved to be. That one is to be looked at is written down
//! before the link changes, and taken back when the network has it: neither a crash nor a network that is away leaves a
//! pointer behind that does not hold.

use std::sync::Arc;
use std::time::Duration;

use portway_bridges::api::{Address, Failure, PersonId, Stop, UserId};
use tracing::{debug, warn};

use super::house::House;
use crate::store::{Store, StoreError};

/// Before the user's bare JID: their pointer is to be looked at. The networks' own keys do not begin so.
const TO_DO: &str = "core/point/";

/// That all links were looked at once.
const BEGUN: &str = "core/pointed";

/// How many are read at a time.
const PAGE: usize = 100;

/// How many people one user may be.
const PEOPLE: usize = 20;

/// How often it is looked whether there is something to do that nobody of this process has said.
const LOOK: Duration = Duration::from_secs(300);

/// How long a network that does not take it is left alone.
const PAUSE: Duration = Duration::from_secs(60);

/// How long a network may take.
const WAIT: Duration = Duration::from_secs(60);

/// Notes that a user's pointer is to be looked at: before their links change.
///
/// # Errors
/// [`StoreError`].
pub async fn mark(store: &Store, network: &str, user: &str) -> Result<(), StoreError> {
    let turn = rand::random::<u64>().to_be_bytes().to_vec();
    store.kv_put(network, &format!("{TO_DO}{user}"), Some(turn)).await
}

/// Removes a link, with what follows for the pointer of its user; says whether there was one.
///
/// # Errors
/// [`StoreError`].
pub async fn unlink(store: &Store, network: &str, remote: &str) -> Result<bool, StoreError> {
    let Some(link) = store.link_of(network, remote).await? else { return Ok(false) };
    mark(store, network, &link.user).await?;
    store.unlink(network, remote).await
}

/// Does what is to be done until the stop signal.
pub async fn look_after(house: Arc<House>, stop: Stop) {
    loop {
        let pause = match round(&house).await {
            Ok(true) => LOOK,
            Ok(false) => PAUSE,
            Err(error) => {
                warn!(network = %house.network, %error, "pointers of users cannot be looked at");
                PAUSE
            }
        };
        tokio::select! {
            () = house.relinked.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Looks at every pointer that is marked; says whether all of them are done.
async fn round(house: &House) -> Result<bool, StoreError> {
    let (store, network) = (&house.store, &*house.network);
    if store.kv_get(network, BEGUN).await?.is_none() {
        let mut after: Option<String> = None;
        while let Some(page) =
            Some(store.links(network, None, after.as_deref(), PAGE).await?).filter(|page| !page.is_empty())
        {
            for link in &page {
                mark(store, network, &link.user).await?;
            }
            after = page.last().map(|link| link.remote.clone());
        }
        store.kv_put(network, BEGUN, Some(b"1".to_vec())).await?;
    }
    let (mut done, mut after) = (true, None::<String>);
    loop {
        let page = store.kv_scan(network, TO_DO, after.as_deref(), PAGE).await?;
        for (key, turn) in &page {
            let user = key.strip_prefix(TO_DO).and_then(|user| UserId::parse(user).ok());
            let pointed = match user {
                Some(user) => point(house, &user).await?,
                None => Ok(()),
            };
            match pointed {
                Ok(()) => {}
                Err(failure @ Failure::Temporary { .. }) => {
                    debug!(network, %failure, "a pointer waits");
                    done = false;
                    continue;
                }
                Err(failure) => warn!(network, %failure, "the network does not take a pointer"),
            }
            // Where the links have changed meanwhile it stays marked.
            store.kv_remove(network, key, turn).await?;
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE => after = Some(last.clone()),
            _ => return Ok(done),
        }
    }
}

async fn point(house: &House, user: &UserId) -> Result<Result<(), Failure>, StoreError> {
    let links = house.store.links(&house.network, Some(&user.to_string()), None, PEOPLE).await?;
    let person = |remote: &str| match house.adapter.resolve(remote) {
        Ok(Address::Person(person)) => Some(house.adapter.canonical(&person)),
        _ => None,
    };
    let persons: Vec<PersonId> = links.iter().filter_map(|link| person(&link.remote)).collect();
    let pointing = tokio::time::timeout(WAIT, house.adapter.point(user, &persons)).await;
    Ok(pointing.unwrap_or_else(|_| Err(Failure::temporary("the network took too long"))))
}
