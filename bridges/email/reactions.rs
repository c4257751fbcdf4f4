//! Who sends reactions as RFC 9078 has them, and so can read them: everybody else gets words.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api::{Closed, Core, PersonId};

/// How many people are known at most; those beyond get words.
const MOST: usize = 10_000;

/// How many are read at once.
const PAGE: usize = 500;

const PREFIX: &str = "reacts/";

/// The key under which it is remembered that a person sends reactions.
pub fn key(person: &PersonId) -> String {
    format!("{PREFIX}{}@{}", person.local(), person.server())
}

/// The people who send reactions.
#[derive(Default)]
pub struct Reactors(Mutex<HashSet<PersonId>>);

impl Reactors {
    /// Reads who was known before.
    pub async fn load(&self, core: &Core) -> Result<(), Closed> {
        let mut after: Option<String> = None;
        loop {
            let page = core.scan(PREFIX, after.as_deref(), PAGE).await?;
            for (key, _) in &page {
                let person = key.strip_prefix(PREFIX).and_then(|address| address.rsplit_once('@'));
                if let Some(Ok(person)) = person.map(|(local, server)| PersonId::new(local, server)) {
                    self.add(&person);
                }
            }
            after = page.last().map(|(key, _)| key.clone());
            if page.len() < PAGE || self.known().len() >= MOST {
                return Ok(());
            }
        }
    }

    /// Notes that a person sends reactions.
    pub fn add(&self, person: &PersonId) {
        let mut known = self.known();
        if known.len() < MOST {
            known.insert(person.clone());
        }
    }

    /// Whether a person sends reactions.
    pub fn has(&self, person: &PersonId) -> bool {
        self.known().contains(person)
    }

    fn known(&self) -> MutexGuard<'_, HashSet<PersonId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
