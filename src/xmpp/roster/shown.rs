//! How contacts are doing, where their network says so: kept for probes, and passed on at most so often.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use portway_bridges::api::{Availability, Timestamp, Whereabouts};

use crate::xmpp::stanza::{NS_CLIENT, OutStanza};
use crate::xmpp::{to_stanza, xml};

/// How many contacts are remembered; of more, nothing is shown.
const CONTACTS: usize = 20_000;

/// How often at most a contact's presence is passed on.
const THROTTLE: Duration = Duration::from_secs(30);

/// The longest line of text in characters.
const STATUS: usize = 500;

/// XEP-0319.
const NS_IDLE: &str = "urn:xmpp:idle:1";

/// How the contacts are doing.
#[derive(Debug, Default)]
pub struct Shown(Mutex<HashMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    now: Availability,
    /// What was passed on last, and when.
    passed: Availability,
    at: Option<Timestamp>,
    /// Whether somebody comes back for it ([`Shown::due`]).
    waiting: bool,
}

/// What is to be done about news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It is passed on now.
    Now,
    /// It was passed on too recently: [`Shown::due`] is to be asked then.
    After(Duration),
    /// It is no news, or is waited for already.
    No,
}

impl Shown {
    /// Notes how a contact (its canonical localpart) is doing.
    pub fn note(&self, contact: &str, availability: Availability, now: Timestamp) -> Pass {
        let mut contacts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if contacts.len() >= CONTACTS && !contacts.contains_key(contact) {
            return Pass::No;
        }
        let entry = contacts.entry(contact.to_owned()).or_insert_with(|| Entry {
            now: Availability::default(),
            // Of whom nothing is known is shown as being there.
            passed: Availability::default(),
            at: None,
            waiting: false,
        });
        entry.now = availability;
        if entry.waiting || same(&entry.now, &entry.passed) {
            return Pass::No;
        }
        let wait = entry.at.map_or(Duration::ZERO, |at| THROTTLE.saturating_sub(now.since(at)));
        if !wait.is_zero() {
            entry.waiting = true;
            return Pass::After(wait);
        }
        entry.pass(now);
        Pass::Now
    }

    /// The wait is over: whether there is still something to be passed on.
    pub fn due(&self, contact: &str, now: Timestamp) -> bool {
        let mut contacts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = contacts.get_mut(contact) else { return false };
        entry.waiting = false;
        let news = !same(&entry.now, &entry.passed);
        if news {
            entry.pass(now);
        }
        news
    }

    /// How a contact is doing.
    #[must_use]
    pub fn of(&self, contact: &str) -> Availability {
        let contacts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        contacts.get(contact).map(|entry| entry.now.clone()).unwrap_or_default()
    }
}

impl Entry {
    fn pass(&mut self, now: Timestamp) {
        self.passed = self.now.clone();
        self.at = Some(now);
    }
}

/// Whether nobody would see a difference; the time since when somebody is idle moves with each word of the network.
fn same(a: &Availability, b: &Availability) -> bool {
    (a.state, &a.status) == (b.state, &b.status)
}

/// Writes into a presence how a contact is doing. Whoever is gone is shown as gone for long (`xa`) and not as offline:
/// writing to them works, and their device's capabilities would go with it.
pub fn dress(presence: &mut OutStanza, availability: &Availability) {
    let show = match availability.state {
        Whereabouts::Here => None,
        Whereabouts::Away => Some("away"),
        Whereabouts::Gone => Some("xa"),
    };
    if let Some(show) = show {
        presence.push(xml::text("show", NS_CLIENT, show));
    }
    if let Some(status) = &availability.status {
        let status: String = status.chars().filter(|c| !c.is_control() || *c == '\n').take(STATUS).collect();
        presence.push(xml::text("status", NS_CLIENT, &status));
    }
    if let (Some(since), true) = (availability.idle_since, availability.state != Whereabouts::Here) {
        presence.push(xml::element("idle", NS_IDLE, &[("since", &to_stanza::stamp(since))]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(state: Whereabouts) -> Availability {
        Availability { state, ..Availability::default() }
    }

    #[test]
    fn a_contact_s_presence_is_passed_on_twice_a_minute_at_most_and_the_last_word_counts() {
        let shown = Shown::default();
        let at = |second: i64| Timestamp(1_000_000 + second * 1000);
        assert_eq!(shown.note("a", state(Whereabouts::Here), at(0)), Pass::No, "as everybody is shown anyway");
        assert_eq!(shown.note("a", state(Whereabouts::Away), at(1)), Pass::Now);
        assert_eq!(shown.note("a", state(Whereabouts::Away), at(2)), Pass::No);
        assert_eq!(shown.note("a", state(Whereabouts::Here), at(11)), Pass::After(Duration::from_secs(20)));
        for second in 12..30 {
            let next = if second % 2 == 0 { Whereabouts::Gone } else { Whereabouts::Here };
            assert_eq!(shown.note("a", state(next), at(second)), Pass::No);
        }
        assert_eq!(shown.note("b", state(Whereabouts::Gone), at(30)), Pass::Now, "others are another matter");
        assert!(shown.due("a", at(31)));
        assert_eq!(shown.of("a").state, Whereabouts::Here);
        // What went back by itself is not worth a word.
        assert_eq!(shown.note("a", state(Whereabouts::Away), at(40)), Pass::After(Duration::from_secs(21)));
        assert_eq!(shown.note("a", state(Whereabouts::Here), at(41)), Pass::No);
        assert!(!shown.due("a", at(61)));
        assert_eq!(shown.of("c"), Availability::default());
    }

    #[test]
    fn s4_memory_is_bounded() {
        let shown = Shown::default();
        for n in 0..CONTACTS + 10 {
            shown.note(&n.to_string(), state(Whereabouts::Gone), Timestamp(0));
        }
        assert_eq!(shown.0.lock().unwrap().len(), CONTACTS);
    }
}
