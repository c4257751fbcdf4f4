//! Which devices of which users are online, as far as presence has told us, and which contacts they have seen since.
//!
//! Bounded: a device over a bound is not remembered, so it gets what it asks for and nothing of ours.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::xmpp::jid::Jid;

/// How many devices are remembered in all.
const DEVICES: usize = 20_000;

/// How many devices of one user.
const DEVICES_OF_ONE: usize = 16;

/// The devices that are online.
#[derive(Debug, Default)]
pub struct Online(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    devices: usize,
    users: HashMap<String, Vec<Device>>,
}

#[derive(Debug)]
struct Device {
    resource: String,
    /// The contacts (canonical localparts) whose presence it got since it came, while it is being greeted.
    seen: Option<HashSet<String>>,
}

impl Online {
    /// A device has shown itself; true where it is new, and is to be greeted. False too for what is not a device, and
    /// where there is no room for more.
    pub fn came(&self, device: &Jid) -> bool {
        let Some(resource) = device.resource() else { return false };
        let mut table = self.table();
        if table.devices >= DEVICES {
            return false;
        }
        let devices = table.users.entry(device.bare_str().to_owned()).or_default();
        if devices.len() >= DEVICES_OF_ONE || devices.iter().any(|known| known.resource == resource) {
            return false;
        }
        devices.push(Device { resource: resource.to_owned(), seen: Some(HashSet::new()) });
        table.devices += 1;
        true
    }

    /// A device has gone; without a resource, all devices of the user.
    pub fn went(&self, device: &Jid) {
        let mut table = self.table();
        let Some(devices) = table.users.get_mut(device.bare_str()) else { return };
        let before = devices.len();
        devices.retain(|known| device.resource().is_some_and(|resource| known.resource != resource));
        let (gone, empty) = (before - devices.len(), devices.is_empty());
        table.devices -= gone;
        if empty {
            table.users.remove(device.bare_str());
        }
    }

    /// Nothing is known any more: the server may have started over.
    pub fn forget(&self) {
        *self.table() = Table::default();
    }

    /// Whether any device of this user (bare JID) is online.
    #[must_use]
    pub fn has(&self, user: &str) -> bool {
        self.table().users.contains_key(user)
    }

    /// Notes that a contact's presence goes to a device, or to all devices of a user. True where it is news: false only
    /// for one device that is being greeted and has had it.
    pub fn shows(&self, to: &Jid, contact: &str) -> bool {
        let mut table = self.table();
        let Some(devices) = table.users.get_mut(to.bare_str()) else { return true };
        let mut news = true;
        for device in devices.iter_mut().filter(|device| to.resource().is_none_or(|name| name == device.resource)) {
            if let Some(seen) = &mut device.seen {
                let first = seen.insert(contact.to_owned());
                news = first || to.is_bare();
            }
        }
        news
    }

    /// A device has been greeted: from now on it gets an answer to everything.
    pub fn greeted(&self, device: &Jid) {
        let mut table = self.table();
        let devices = table.users.get_mut(device.bare_str()).into_iter().flatten();
        for known in devices.filter(|known| Some(known.resource.as_str()) == device.resource()) {
            known.seen = None;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    #[test]
    fn a_device_comes_once_and_goes() {
        let online = Online::default();
        assert!(!online.came(&jid("u@h")), "a user is no device");
        assert!(online.came(&jid("u@h/a")) && !online.came(&jid("u@h/a")) && online.came(&jid("u@h/b")));
        online.went(&jid("u@h/a"));
        assert!(online.has("u@h"));
        online.went(&jid("u@h"));
        assert!(!online.has("u@h") && online.table().devices == 0);
        online.went(&jid("v@h/x"));
    }

    #[test]
    fn p13_a_contact_is_shown_once_to_a_device_that_comes() {
        let online = Online::default();
        let (a, bare) = (jid("u@h/a"), jid("u@h"));
        assert!(online.shows(&a, "x"), "nothing is known of it");
        online.came(&a);
        assert!(online.shows(&a, "x") && !online.shows(&a, "x") && online.shows(&a, "y"));
        // A probe in the name of the user is for all devices, and is always answered.
        assert!(online.shows(&bare, "z") && online.shows(&bare, "z") && !online.shows(&a, "z"));
        online.greeted(&a);
        assert!(online.shows(&a, "x") && online.shows(&a, "x"));
    }

    #[test]
    fn s4_memory_is_bounded() {
        let online = Online::default();
        assert_eq!((0..100).filter(|n| online.came(&jid(&format!("u@h/{n}")))).count(), DEVICES_OF_ONE);
        for n in 0..DEVICES {
            online.came(&jid(&format!("v{n}@h/x")));
        }
        assert_eq!(online.table().devices, DEVICES);
        online.forget();
        assert!(online.came(&jid("w@h/x")));
    }
}
