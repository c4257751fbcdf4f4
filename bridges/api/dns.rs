//! Names, as `portway doctor` looks them up. The program asks the resolvers of the system; tests bring a table.

use std::net::IpAddr;

use futures::future::BoxFuture;

/// What is asked of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Its addresses, of both families.
    Address,
    /// Who takes its mail (RFC 5321, section 5).
    Mx,
    /// Its texts (SPF, DKIM).
    Txt,
    /// Where a service of it is (RFC 2782); the name begins with `_service._tcp.`.
    Srv,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An address.
    Address(IpAddr),
    /// A mail server.
    Mx {
        /// The lowest one is tried first.
        preference: u16,
        /// Its name, without the dot at the end.
        host: String,
    },
    /// A text, its parts put together.
    Txt(String),
    /// A service.
    Srv {
        /// The name of its host, without the dot at the end.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// Nobody answered: not the same as a name that has nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DnsError(pub String);

/// Who knows names.
pub trait Dns: Send + Sync {
    /// What a name has. No records, and no such name, are both an empty list.
    ///
    /// # Errors
    /// [`DnsError`] where nobody answered.
    fn ask<'a>(&'a self, name: &'a str, what: Question) -> BoxFuture<'a, Result<Vec<Record>, DnsError>>;
}
