//! How many mails one user gets within a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::api::{Timestamp, UserId};

const WINDOW: Duration = Duration::from_secs(60);

/// For how many users is counted at once; beyond that nobody is held up.
const USERS: usize = 10_000;

/// The counts of the current minute.
#[derive(Default)]
pub struct Rate(Mutex<HashMap<UserId, (Timestamp, u32)>>);

impl Rate {
    /// Counts one more mail for a user; false where there were `most` within the minute.
    pub fn admit(&self, user: &UserId, most: u32, now: Timestamp) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= USERS {
            counts.retain(|_, (since, _)| now.since(*since) < WINDOW);
            if counts.len() >= USERS {
                return true;
            }
        }
        let count = counts.entry(user.clone()).or_insert((now, 0));
        if now.since(count.0) >= WINDOW {
            *count = (now, 0);
        }
        count.1 = count.1.saturating_add(1);
        count.1 <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_holds_so_many() {
        let (rate, user) = (Rate::default(), UserId::new("a", "b").unwrap());
        let at = |second: i64| Timestamp(second * 1000);
        let admitted = [0, 1, 2, 59, 60, 61].map(|second| rate.admit(&user, 2, at(second)));
        assert_eq!(admitted, [true, true, false, false, true, true]);
        assert!(rate.admit(&UserId::new("c", "b").unwrap(), 2, at(2)));
    }
}
