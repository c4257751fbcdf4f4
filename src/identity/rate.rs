//! How much a user may ask of the gateway: one token bucket for each (XEP-0205), so that one who floods slows nobody else.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use portway_bridges::api::Timestamp;

/// How many users are remembered. Whoever has been quiet for long enough needs no memory.
const USERS: usize = 20_000;

/// The buckets.
pub struct Limiter {
    /// Tokens a second; 0 means no limit.
    rate: u32,
    /// Tokens in a full bucket.
    burst: u32,
    buckets: Mutex<HashMap<Box<str>, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl Limiter {
    /// Buckets that hold `burst` stanzas and get `rate` a second back. A `rate` of 0 limits nothing.
    #[must_use]
    pub fn new(rate: u32, burst: u32) -> Self {
        Self { rate, burst: burst.max(1), buckets: Mutex::default() }
    }

    /// Takes a token out of a user's bucket; false where it is empty.
    pub fn allows(&self, user: &str, now: Timestamp) -> bool {
        if self.rate == 0 {
            return true;
        }
        let full = f64::from(self.burst);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= USERS && !buckets.contains_key(user) {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < full);
            if buckets.len() >= USERS {
                // Everybody floods at once: memory counts for more than memories.
                buckets.clear();
            }
        }
        let bucket = match buckets.get_mut(user) {
            Some(bucket) => bucket,
            None => buckets.entry(user.into()).or_insert(Bucket { tokens: full, at: now }),
        };
        bucket.tokens = self.filled(*bucket, now);
        bucket.at = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }

    fn filled(&self, bucket: Bucket, now: Timestamp) -> f64 {
        let gained = now.since(bucket.at).as_secs_f64() * f64::from(self.rate);
        (bucket.tokens + gained).min(f64::from(self.burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s4_a_flood_costs_only_the_one_who_floods_and_only_for_a_while() {
        let limiter = Limiter::new(2, 5);
        let at = |ms: i64| Timestamp(1_000_000 + ms);
        let taken = |user: &str, ms: i64| (0..100).filter(|_| limiter.allows(user, at(ms))).count();
        assert_eq!(taken("juliet@x", 0), 5);
        assert_eq!(taken("juliet@x", 499), 0);
        assert_eq!(taken("juliet@x", 1499), 2);
        assert_eq!(taken("romeo@x", 1499), 5);
        // No more than a bucket however long the pause, and a clock that goes back gives nothing.
        assert_eq!(taken("juliet@x", 1_000_000), 5);
        assert_eq!(taken("juliet@x", 0), 0);
        assert_eq!((0..100).filter(|_| Limiter::new(0, 1).allows("x", at(0))).count(), 100);
    }

    #[test]
    fn s4_memory_is_bounded() {
        let limiter = Limiter::new(1, 3);
        for n in 0..3 * USERS {
            assert!(limiter.allows(&n.to_string(), Timestamp(0)));
        }
        assert!(limiter.buckets.lock().unwrap().len() <= USERS);
    }
}
