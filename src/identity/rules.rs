//! Who is let through and who is kept out: rules with globs, the admin's for everybody and each user's own.
//!
//! A rule names people as their own side writes them (`@eve:bad.example`, `eve@bad.example`), or a server or domain alone.
//! Among the rules of one owner whoever a rule lets through is let through; otherwise any rule that keeps them out does.
//! What the admin keeps out no user lets in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portway_bridges::api::{Adapter, PersonId, Timestamp, UserId};

use crate::clock::Clock;
use crate::store::{Rule, Store, StoreError};

/// How many users' rules are kept in memory.
const CACHE: usize = 10_000;

/// How long rules in memory hold: a rule that the command line writes is heeded after that.
const FRESH: Duration = Duration::from_secs(30);

/// The longest pattern in bytes.
pub const LONGEST: usize = 255;

/// How many rules one owner may have.
pub const MOST: usize = 500;

/// Who keeps somebody out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barrier {
    /// A rule of the admin.
    Admin,
    /// A rule of the user.
    User,
}

/// Whether a text matches a pattern in which `*` stands for any characters and `?` for one. ASCII case is ignored. Takes
/// at most as many steps as the product of both lengths, whatever the pattern.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().map(|c| c.to_ascii_lowercase()).collect();
    let text: Vec<char> = text.chars().map(|c| c.to_ascii_lowercase()).collect();
    let (mut p, mut t) = (0, 0);
    // The last star, and up to where it is taken to reach: only the last one ever has to reach further.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, reached)) => {
                    star = Some((at, reached + 1));
                    p = at + 1;
                    t = reached + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Whether these rules keep out whoever goes by these names.
#[must_use]
pub fn denies(rules: &[Rule], names: &[&str]) -> bool {
    let matches = |allow: bool| {
        rules.iter().any(|rule| rule.allow == allow && names.iter().any(|name| glob(&rule.pattern, name)))
    };
    matches(false) && !matches(true)
}

/// Whether one of these rules names whoever goes by these names, and lets them through.
#[must_use]
pub fn allows(rules: &[Rule], names: &[&str]) -> bool {
    rules.iter().any(|rule| rule.allow && names.iter().any(|name| glob(&rule.pattern, name)))
}

/// What is in memory: the rules by their owner, and since when.
type Cache = HashMap<String, (Timestamp, Arc<[Rule]>)>;

/// The rules of one network.
pub struct Rules {
    network: Arc<str>,
    store: Store,
    adapter: Arc<dyn Adapter>,
    clock: Clock,
    cache: Mutex<Cache>,
}

impl Rules {
    /// The rules as the store has them.
    #[must_use]
    pub fn new(network: Arc<str>, store: Store, adapter: Arc<dyn Adapter>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { network, store, adapter, clock, cache: Mutex::default() })
    }

    /// Whether the admin keeps this user out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn denies_user(&self, user: &UserId) -> Result<bool, StoreError> {
        let rules = self.of("").await?;
        Ok(!rules.is_empty() && denies(&rules, &[&user.to_string(), user.host()]))
    }

    /// What stands between a user and a person, either way.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn between(&self, user: &UserId, person: &PersonId) -> Result<Option<Barrier>, StoreError> {
        let own = user.to_string();
        let (admin, users) = (self.of("").await?, self.of(&own).await?);
        if admin.is_empty() && users.is_empty() {
            return Ok(None);
        }
        let printed = self.adapter.print_person(person);
        let names = [printed.as_str(), person.server()];
        if denies(&admin, &names) || denies(&admin, &[&own, user.host()]) {
            return Ok(Some(Barrier::Admin));
        }
        Ok(denies(&users, &names).then_some(Barrier::User))
    }

    /// Whether a rule of the user or of the admin lets a person through by name or server.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn lets_through(&self, user: &UserId, person: &PersonId) -> Result<bool, StoreError> {
        let (admin, users) = (self.of("").await?, self.of(&user.to_string()).await?);
        if admin.is_empty() && users.is_empty() {
            return Ok(false);
        }
        let printed = self.adapter.print_person(person);
        let names = [printed.as_str(), person.server()];
        Ok(allows(&admin, &names) || allows(&users, &names))
    }

    /// The rules of a user (empty: those for everybody).
    async fn of(&self, owner: &str) -> Result<Arc<[Rule]>, StoreError> {
        let now = self.clock.now();
        if let Some((at, rules)) = self.cache().get(owner)
            && now.since(*at) < FRESH
        {
            return Ok(rules.clone());
        }
        let rules: Arc<[Rule]> = self.store.rules(&self.network, owner).await?.into();
        let mut cache = self.cache();
        if cache.len() >= CACHE {
            cache.clear();
        }
        cache.insert(owner.to_owned(), (now, rules.clone()));
        Ok(rules)
    }

    /// Makes a rule.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put(&self, rule: Rule) -> Result<(), StoreError> {
        let owner = rule.user.clone();
        self.store.put_rule(&self.network, rule).await?;
        self.cache().remove(&owner);
        Ok(())
    }

    /// Removes a rule; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove(&self, owner: &str, pattern: &str) -> Result<bool, StoreError> {
        let removed = self.store.remove_rule(&self.network, owner, pattern).await?;
        self.cache().remove(owner);
        Ok(removed)
    }

    /// Forgets what is in memory of a user's rules.
    pub fn forget(&self, owner: &str) {
        self.cache().remove(owner);
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn s1_globs() {
        for (pattern, text, matches) in [
            ("eve@bad.example", "eve@bad.example", true),
            ("EVE@bad.example", "eve@BAD.example", true),
            ("*@bad.example", "eve@bad.example", true),
            ("*@bad.example", "eve@bad.example.org", false),
            ("@*:bad.example", "@eve:bad.example", true),
            ("e?e@*", "eve@x", true),
            ("e?e@*", "ee@x", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("?", "ü", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3", false),
            ("[a]", "a", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }

    /// A matcher that goes back for each star would take 2^100 steps here.
    #[test]
    fn s1_hostile_patterns_cost_little() {
        let text = "a".repeat(2000) + "c";
        assert!(!glob(&("*a".repeat(100) + "*b"), &text));
        assert!(!glob(&("a*".repeat(100) + "b"), &text));
        assert!(glob(&("*a".repeat(100) + "*c"), &text));
        assert!(glob(&"*".repeat(200), &text));
    }

    #[test]
    fn s1_what_is_let_through_goes_before_what_is_kept_out() {
        let rule =
            |pattern: &str, allow| Rule { user: String::new(), pattern: pattern.into(), allow, at: Timestamp(0) };
        let rules = [rule("*", false), rule("alice@good.example", true)];
        assert!(!denies(&rules, &["alice@good.example", "good.example"]));
        assert!(denies(&rules, &["bob@good.example", "good.example"]));
        assert!(denies(&[rule("bad.example", false)], &["bob@bad.example", "bad.example"]));
        assert!(!denies(&[], &["bob@bad.example", "bad.example"]));
    }

    proptest! {
        /// Against the definition, written down a second time.
        #[test]
        fn s1_globs_mean_what_they_say(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            fn plain(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.first(), text.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) => plain(&pattern[1..], text) || (!text.is_empty() && plain(pattern, &text[1..])),
                    (Some(b'?'), Some(_)) => plain(&pattern[1..], &text[1..]),
                    (Some(a), Some(b)) if a == b => plain(&pattern[1..], &text[1..]),
                    _ => false,
                }
            }
            prop_assert_eq!(glob(&pattern, &text), plain(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
