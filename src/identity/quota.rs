//! How often a user may do what is seldom done: a few times within a span of time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use portway_bridges::api::{Timestamp, UserId};

/// How many users are remembered.
const USERS: usize = 10_000;

/// So many times within a span, for each user.
pub struct Quota {
    times: usize,
    within: Duration,
    done: Mutex<HashMap<UserId, VecDeque<Timestamp>>>,
}

impl Quota {
    /// At most `times` within `within`.
    #[must_use]
    pub fn new(times: usize, within: Duration) -> Self {
        Self { times, within, done: Mutex::default() }
    }

    /// Counts one more; false where it is too many, which is not counted.
    pub fn allows(&self, user: &UserId, now: Timestamp) -> bool {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.len() >= USERS && !done.contains_key(user) {
            done.retain(|_, times| times.back().is_some_and(|last| now.since(*last) < self.within));
            if done.len() >= USERS {
                return false;
            }
        }
        let times = done.entry(user.clone()).or_default();
        times.retain(|at| now.since(*at) < self.within);
        let allowed = times.len() < self.times;
        if allowed {
            times.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s4_a_few_times_within_a_span_and_again_when_it_is_over() {
        let quota = Quota::new(3, Duration::from_secs(60));
        let (romeo, juliet) = (UserId::parse("romeo@x").unwrap(), UserId::parse("juliet@x").unwrap());
        let at = |seconds: i64| Timestamp(seconds * 1000);
        assert!((0..3).all(|n| quota.allows(&romeo, at(n))));
        assert!(!quota.allows(&romeo, at(3)));
        assert!(quota.allows(&juliet, at(3)));
        // What was refused does not count.
        assert!(!quota.allows(&romeo, at(59)));
        assert!(quota.allows(&romeo, at(60)));
        assert!(!quota.allows(&romeo, at(60)));
    }
}
