//! How many people a user may write to who have never written to them: a budget for each day, so that an account in the
//! wrong hands cannot write to everybody. It is counted from the store, so that a restart gives nothing back.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portway_bridges::api::{Chat, PersonId, Timestamp, UserId};

use crate::clock::Clock;
use crate::route::key;
use crate::store::{Store, StoreError};

/// The span of the budget.
const DAY: Duration = Duration::from_secs(86_400);

/// How many chats are remembered that are there; others are looked up in the store.
const CHATS: usize = 20_000;

/// Of how many users it is remembered whom they wrote to; of others it is counted anew.
const USERS: usize = 10_000;

/// The budgets of one network.
pub struct Newcomers {
    /// People in a day; 0 means no limit.
    most: usize,
    network: Arc<str>,
    store: Store,
    clock: Clock,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// The keys of chats in which something was said.
    there: HashSet<String>,
    /// When each user wrote to somebody new within the last day.
    opened: HashMap<UserId, VecDeque<Timestamp>>,
}

impl Newcomers {
    /// At most `most` people a day for each user; 0 limits nothing.
    #[must_use]
    pub fn new(most: u32, network: Arc<str>, store: Store, clock: Clock) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { most, network, store, clock, memory: Mutex::default() }
    }

    /// Counts a person if they are new to a user. Where that is one too many it is not counted, and the time is returned after
    /// which it is not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn too_many(&self, user: &UserId, person: &PersonId) -> Result<Option<Duration>, StoreError> {
        if self.most == 0 {
            return Ok(None);
        }
        let chat = key::chat(&Chat::Direct { user: user.clone(), person: person.clone() });
        if self.memory().there.contains(&chat) {
            return Ok(None);
        }
        if self.store.has_chat(&self.network, &chat).await? {
            self.memory().remember(chat);
            return Ok(None);
        }
        let now = self.clock.now();
        if !self.memory().opened.contains_key(user) {
            let day_ago = now.0.saturating_sub(i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX));
            let opened = self.store.opened(&self.network, &key::of_user(user), Timestamp(day_ago)).await?;
            let mut memory = self.memory();
            if memory.opened.len() >= USERS {
                memory.opened.clear();
            }
            memory.opened.entry(user.clone()).or_insert_with(|| opened.into());
        }
        let mut memory = self.memory();
        let opened = memory.opened.entry(user.clone()).or_default();
        opened.retain(|at| now.since(*at) < DAY);
        if opened.len() >= self.most {
            // The oldest of those that fill the budget has to be a day old.
            let oldest = opened.get(opened.len() - self.most).copied().unwrap_or(now);
            return Ok(Some(oldest.after(DAY).since(now)));
        }
        opened.push_back(now);
        memory.remember(chat);
        Ok(None)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn remember(&mut self, chat: String) {
        if self.there.len() >= CHATS {
            self.there.clear();
        }
        self.there.insert(chat);
    }
}

/// A time as hours and minutes, rounded up.
#[must_use]
pub fn in_words(time: Duration) -> String {
    let minutes = time.as_secs().div_ceil(60).max(1);
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::store::{Consent, Direction, NewBatch, NewEvent};

    async fn says(store: &Store, direction: Direction, user: &UserId, who: &str) {
        let person = PersonId::new(who, "y").unwrap();
        let event = NewEvent {
            network: "n".to_owned(),
            direction,
            chat: key::chat(&Chat::Direct { user: user.clone(), person }),
            sender: "x".to_owned(),
            dedupe: None,
            dedupe_for: None,
            ids: Vec::new(),
            reply_to: None,
            body: Vec::new(),
            archive: false,
            at: Timestamp(0),
            original: None,
            consent: if direction == Direction::ToNetwork { Consent::Given } else { Consent::Free },
            about: None,
        };
        store.commit(NewBatch { events: vec![event], ..NewBatch::default() }).await.unwrap();
    }

    #[tokio::test]
    async fn s4_so_many_new_people_a_day_and_a_restart_gives_nothing_back() {
        let time = Arc::new(AtomicI64::new(1_000_000_000));
        let now = time.clone();
        let clock = Clock::new(move || Timestamp(now.load(Ordering::SeqCst)));
        let store = Store::open("sqlite::memory:", std::path::Path::new("."), clock.clone()).await.unwrap();
        let fresh = || Newcomers::new(3, Arc::from("n"), store.clone(), clock.clone());
        let (juliet, romeo) = (UserId::parse("juliet@x").unwrap(), UserId::parse("romeo@x").unwrap());
        let hour = 3_600_000;
        let mut newcomers = fresh();
        for who in ["a", "b", "c"] {
            let person = PersonId::new(who, "y").unwrap();
            assert_eq!(newcomers.too_many(&juliet, &person).await, Ok(None), "{who}");
            says(&store, Direction::ToNetwork, &juliet, who).await;
            time.fetch_add(hour, Ordering::SeqCst);
        }
        says(&store, Direction::ToXmpp, &juliet, "e").await;
        let of = |who: &str| PersonId::new(who, "y").unwrap();
        for _ in 0..2 {
            // The first was three hours ago.
            let wait = Some(Duration::from_secs(21 * 3600));
            assert_eq!(newcomers.too_many(&juliet, &of("d")).await, Ok(wait));
            // Whom she knows, and who wrote first, cost nothing; somebody else's budget is theirs.
            assert_eq!(newcomers.too_many(&juliet, &of("a")).await, Ok(None));
            assert_eq!(newcomers.too_many(&juliet, &of("e")).await, Ok(None));
            assert_eq!(newcomers.too_many(&romeo, &of("d")).await, Ok(None));
            newcomers = fresh();
        }
        time.fetch_add(21 * hour, Ordering::SeqCst);
        assert_eq!(newcomers.too_many(&juliet, &of("d")).await, Ok(None));
        assert_eq!(newcomers.too_many(&juliet, &of("f")).await, Ok(Some(Duration::from_secs(3600))));
        let unlimited = Newcomers::new(0, Arc::from("n"), store, clock);
        assert_eq!(unlimited.too_many(&juliet, &of("f")).await, Ok(None));
    }

    #[test]
    fn times_are_read_by_people() {
        for (seconds, words) in [(0, "1 min"), (61, "2 min"), (3600, "1 h"), (75_661, "21 h 2 min")] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
    }
}
