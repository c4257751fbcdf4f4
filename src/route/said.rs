//! What the gateway itself says to a user: a row of the queue like any other, so that it waits for a server that is away.

use std::sync::Arc;

use portway_bridges::api::{Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::key;
use crate::store::{Consent, Direction, NewEvent};

/// Words of the gateway to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// To whom.
    pub user: UserId,
    /// The words, ready to be read.
    pub text: String,
    /// When.
    pub at: Timestamp,
    /// Whether it asks about a stranger, whose words go back where the user cannot be asked.
    pub asks: bool,
}

/// The shape in the store: a field may be added with a default, none may change its meaning.
#[derive(Serialize, Deserialize)]
struct Stored {
    say: String,
    to: (String, String),
    at: i64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    asks: bool,
}

/// How every such row begins, and no row of an event does.
const BEGINNING: &[u8] = b"{\"say\":";

/// The row of words of the gateway.
#[must_use]
pub fn row(network: &Arc<str>, said: &Said) -> NewEvent {
    let stored = Stored {
        say: said.text.clone(),
        to: (said.user.local().to_owned(), said.user.host().to_owned()),
        at: said.at.0,
        asks: said.asks,
    };
    NewEvent {
        network: network.to_string(),
        direction: Direction::ToXmpp,
        chat: key::gateway(&said.user),
        sender: String::new(),
        dedupe: None,
        dedupe_for: None,
        ids: Vec::new(),
        reply_to: None,
        body: serde_json::to_vec(&stored).expect("maps with text keys only, no I/O"),
        archive: false,
        at: said.at,
        original: None,
        consent: Consent::Free,
        about: None,
    }
}

/// The words in a row; `None` where it is the row of an event.
#[must_use]
pub fn read(body: &[u8]) -> Option<Said> {
    if !body.starts_with(BEGINNING) {
        return None;
    }
    let Stored { say, to: (local, host), at, asks } = serde_json::from_slice(body).ok()?;
    Some(Said { user: UserId::new(&local, &host).ok()?, text: say, at: Timestamp(at), asks })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Old rows stay readable.
    #[test]
    fn the_shape_in_the_store() {
        let user = UserId::parse("juliet@capulet.lit").unwrap();
        let said = Said { user, text: "hi".to_owned(), at: Timestamp(5), asks: false };
        let row = row(&Arc::from("loopback"), &said);
        assert_eq!(row.body, br#"{"say":"hi","to":["juliet","capulet.lit"],"at":5}"#);
        assert_eq!(read(&row.body).as_ref(), Some(&said));
        let asks = Said { asks: true, ..said };
        assert_eq!(read(&self::row(&Arc::from("loopback"), &asks).body), Some(asks));
        assert_eq!(read(br#"{"chat":{"d":[]}}"#), None);
    }
}
