//! Where a mail belongs: the last mail of a chat, kept in the adapter's small storage under `last/<user>/<person>`, and
//! each mail's references under `mail/<user>/<person>/<Message-ID>`, the last mail of each conversation under
//! `thread/<user>/<person>/<hash of its name>`, the name that the user's client gave to a conversation under
//! `name/<user>/<person>/<hash of its first Message-ID>`, and the last mail that was cut under `cut/<user>/<person>`.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::api::{PersonId, Timestamp, UserId};

/// How long an unrelated line still belongs to the last mail of its chat, in milliseconds.
const RECENT: i64 = 14 * 86_400_000;

/// How many references a mail carries at most: the first, and the last of them.
const REFERENCES: usize = 21;

/// What is known of a mail that may be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its Message-ID without angle brackets.
    pub id: String,
    /// What it refers to, oldest first.
    pub references: Vec<String>,
    /// Its subject.
    pub subject: Option<String>,
    /// When it was written.
    pub at: i64,
}

/// The key of the last mail of a chat.
pub fn last_key(user: &UserId, person: &PersonId) -> String {
    format!("last/{user}/{}@{}", person.local(), person.server())
}

/// The key of one mail of a chat: a Message-ID is chosen by its sender, so it must not reach into other chats.
pub fn mail_key(user: &UserId, person: &PersonId, id: &str) -> String {
    format!("mail/{user}/{}@{}/{id}", person.local(), person.server())
}

/// The id of a further part of a mail, which is shown as a message of its own.
pub fn part_id(mail: &str, number: usize) -> String {
    format!("{mail}#{number}")
}

/// The Message-ID of the mail that has this part.
pub fn mail_of(part: &str) -> Option<&str> {
    let (mail, number) = part.rsplit_once('#')?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(mail)
}

/// The key of the last mail of a conversation, by the name that the XMPP side has for it. The name may be anything.
pub fn thread_key(user: &UserId, person: &PersonId, name: &str) -> String {
    format!("thread/{user}/{}@{}/{}", person.local(), person.server(), self::name(name))
}

/// The key of the name that the user's client gave to a conversation, by its first Message-ID.
pub fn name_key(user: &UserId, person: &PersonId, root: &str) -> String {
    format!("name/{user}/{}@{}/{}", person.local(), person.server(), name(root))
}

/// The key of the Message-ID of the last mail of a chat of which something was left out.
pub fn cut_key(user: &UserId, person: &PersonId) -> String {
    format!("cut/{user}/{}@{}", person.local(), person.server())
}

/// The key of a subject that waits for the next mail of a chat.
pub fn subject_key(user: &UserId, person: &PersonId) -> String {
    format!("subject/{user}/{}@{}", person.local(), person.server())
}

/// The name of a conversation on XMPP where the user's client has given none: 130 bits of the hash of its first
/// Message-ID, so that it is the same for every mail of it (XEP-0201).
pub fn name(root: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let hash = Sha256::digest(root);
    let bit = |n: usize| (hash[n / 8] >> (7 - n % 8)) & 1;
    let letter = |at: usize| (0..5).fold(0, |value, n| value << 1 | usize::from(bit(at * 5 + n)));
    (0..26).map(|at| char::from(LETTERS[letter(at)])).collect()
}

impl Known {
    /// The Message-ID with which the conversation began.
    pub fn root(&self) -> &str {
        self.references.first().unwrap_or(&self.id)
    }

    /// Whether an unrelated line still belongs to this mail.
    pub fn recent(&self, now: Timestamp) -> bool {
        now.0 - self.at < RECENT
    }

    /// What an answer refers to (RFC 5322, section 3.6.4).
    pub fn references_of_answer(&self) -> Vec<String> {
        let mut all = self.references.clone();
        all.retain(|id| *id != self.id);
        all.push(self.id.clone());
        if all.len() > REFERENCES {
            all.drain(1..all.len() - (REFERENCES - 1));
        }
        all
    }

    /// As it is stored.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// As it was stored.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable() {
        assert_eq!(name("a@x"), name("a@x"));
        assert_ne!(name("a@x"), name("b@x"));
        assert!(name("").len() == 26 && name("").bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    }

    #[test]
    fn references_grow_to_a_bound_and_keep_the_first() {
        let known = Known {
            id: "last@x".into(),
            references: (0..50).map(|n| format!("{n}@x")).collect(),
            subject: None,
            at: 0,
        };
        let references = known.references_of_answer();
        assert_eq!(references.len(), REFERENCES);
        assert_eq!((references[0].as_str(), references[20].as_str()), ("0@x", "last@x"));
    }
}
