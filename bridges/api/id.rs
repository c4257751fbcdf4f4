//! Who and where: opaque names of users, people, rooms and items.
//!
//! Only the network that mints an id gives meaning to its parts; everything else compares, stores and returns them.

use std::fmt;
use std::time::Duration;

/// An id that cannot exist: an empty part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is empty")]
pub struct InvalidId(pub &'static str);

/// A user of the gateway: the owner of a bare address on the XMPP side, printed `local@host`.
///
/// Networks may print it inside their own ids (a Matrix ghost, a mail address) and compare it; they never route by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId {
    local: Box<str>,
    host: Box<str>,
}

impl UserId {
    /// Builds an id from its two parts, which must not be empty.
    ///
    /// # Errors
    /// [`InvalidId`] names the empty part.
    pub fn new(local: &str, host: &str) -> Result<Self, InvalidId> {
        non_empty(local, "local part")?;
        non_empty(host, "host")?;
        Ok(Self { local: local.into(), host: host.into() })
    }

    /// Splits `local@host` at the first `@`.
    ///
    /// # Errors
    /// [`InvalidId`] where a part is missing.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let (local, host) = text.split_once('@').ok_or(InvalidId("host"))?;
        Self::new(local, host)
    }

    /// The part before the `@`.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The part behind the `@`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.host)
    }
}

/// A person on a network, as two parts that the network understands: for Matrix the localpart and the server name, for
/// mail the local part and the domain. Both are kept byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PersonId {
    local: Box<str>,
    server: Box<str>,
}

impl PersonId {
    /// Builds an id from its two parts, which must not be empty.
    ///
    /// # Errors
    /// [`InvalidId`] names the empty part.
    pub fn new(local: &str, server: &str) -> Result<Self, InvalidId> {
        non_empty(local, "local part")?;
        non_empty(server, "server")?;
        Ok(Self { local: local.into(), server: server.into() })
    }

    /// The first part.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The second part.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }
}

/// A room on a network: by an alias (a name that people type) or by its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RoomId {
    /// A name that people type; it may come to mean another room.
    Alias {
        /// The alias without sigil.
        local: Box<str>,
        /// The server that keeps the alias.
        server: Box<str>,
    },
    /// The id that never changes.
    Id {
        /// The opaque part without sigil.
        opaque: Box<str>,
        /// The server part, where the id has one.
        server: Option<Box<str>>,
    },
}

impl RoomId {
    /// A room by its alias.
    ///
    /// # Errors
    /// [`InvalidId`] names the empty part.
    pub fn alias(local: &str, server: &str) -> Result<Self, InvalidId> {
        non_empty(local, "alias")?;
        non_empty(server, "server")?;
        Ok(Self::Alias { local: local.into(), server: server.into() })
    }

    /// A room by its id.
    ///
    /// # Errors
    /// [`InvalidId`] names the empty part.
    pub fn id(opaque: &str, server: Option<&str>) -> Result<Self, InvalidId> {
        non_empty(opaque, "room id")?;
        if let Some(server) = server {
            non_empty(server, "server")?;
        }
        Ok(Self::Id { opaque: opaque.into(), server: server.map(Into::into) })
    }
}

/// The id of one item (event, mail, stanza) as its own side wrote it. Compared and returned, never parsed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemId(pub Box<str>);

impl ItemId {
    /// Wraps an id.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text of the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a committed event in this gateway's store. It is unique for the life of the store and survives a
/// restart, so that a delivery derives its idempotence key (transaction id, Message-ID) from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub i64);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A point in time in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time that is `later` after this one; saturates.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(later.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn non_empty(part: &str, name: &'static str) -> Result<(), InvalidId> {
    if part.is_empty() { Err(InvalidId(name)) } else { Ok(()) }
}
