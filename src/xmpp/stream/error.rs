//! Why a connection ended, and what the admin can do about it.

use std::fmt;

use minidom::Element;

/// Namespace of stream error conditions (RFC 6120, section 4.9.3).
pub const NS_STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";

/// How many characters of the server's own words are kept.
const TEXT: usize = 300;

/// What is wrong with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// Nobody whom we trust has signed the certificate.
    Untrusted,
    /// The certificate is for another name.
    Name,
    /// The certificate is no longer valid, or not yet.
    Expired,
    /// The port does not speak TLS.
    NoTls,
    /// Anything else.
    Other,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownReason {
    /// No TCP connection.
    Connect(String),
    /// TLS failed.
    Tls {
        /// What is wrong.
        fault: TlsFault,
        /// Where, and the library's own words.
        text: String,
    },
    /// No stream began.
    NoStream(String),
    /// The server answered with a stream error.
    Stream {
        /// The defined condition, such as `not-authorized`.
        condition: String,
        /// The server's own words.
        text: Option<String>,
    },
    /// What came was no XML, or XML that XMPP forbids.
    Xml(String),
    /// The server does not speak XEP-0114 here.
    Protocol(String),
    /// The server closed the stream.
    Closed,
    /// The connection broke.
    Io(String),
    /// Nothing came for too long.
    Dead,
    /// The handshake took too long.
    Timeout,
    /// We are stopping.
    Stopping,
}

impl DownReason {
    /// Reads a `<stream:error/>`.
    #[must_use]
    pub fn from_element(error: &Element) -> Self {
        let mut condition = "undefined-condition".to_owned();
        let mut text = None;
        for child in error.children().filter(|child| child.has_ns(NS_STREAM_ERRORS)) {
            match child.name() {
                "text" => text = Some(child.text().chars().take(TEXT).collect()),
                name => name.clone_into(&mut condition),
            }
        }
        Self::Stream { condition, text }
    }

    /// What the admin can do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Connect(_) => {
                "is the XMPP server running, and does it take components on this address and port? \
                 (component_ports and component_interfaces on Prosody, an ejabberd_service listener on ejabberd)"
            }
            Self::Tls { fault, .. } => match fault {
                TlsFault::Untrusted => {
                    "nobody whom this machine trusts has signed the server's certificate: give the server a certificate \
                     of a public authority, or set SSL_CERT_FILE to a file with the authority that signed it"
                }
                TlsFault::Name => {
                    "the server's certificate is for another name: set xmpp.tls_name to a name that is in it"
                }
                TlsFault::Expired => "renew the server's certificate, and check the clocks of both machines",
                TlsFault::NoTls => {
                    "this port does not speak TLS: set xmpp.tls = \"off\", or set xmpp.port to the one that does \
                     (tls: true on the ejabberd_service listener, 5276 on Openfire)"
                }
                TlsFault::Other => "see the server's log",
            },
            Self::NoStream(_) => {
                "is this the component port (clients and other servers use other ports), and does it expect TLS? \
                 If so, set xmpp.tls = \"direct\""
            }
            Self::Stream { condition, .. } => match condition.as_str() {
                "not-authorized" => "the secrets differ: compare `secret` with the component's secret on the server",
                "host-unknown" => {
                    "the server has no such component: add it (`portway generate server`), reload the server, check the spelling"
                }
                "conflict" => {
                    "another gateway is connected under this name, or our old connection has not timed out yet \
                     (component_conflict_resolve = \"kick_old\" on Prosody); the component's domain must not be a host of the server"
                }
                "invalid-from" | "improper-addressing" => {
                    "the server refused an address of ours; if `component` is the component's name on the server, this is a bug of ours"
                }
                "policy-violation" | "resource-constraint" => "the server has limits that we ran into; see its log",
                "see-other-host" => "the server wants us on another host: set `host` and `port` to it",
                "host-gone" => "the server no longer serves this component",
                "connection-timeout" => {
                    "the server heard nothing from us for too long; is the network between us slow?"
                }
                "internal-server-error" => "on Openfire: no secret is set for this component",
                "system-shutdown" => "the server is stopping or restarting",
                _ => "see the server's log",
            },
            Self::Protocol(_) => "is this the component port? Clients and other servers use other ports",
            Self::Xml(_) | Self::Closed | Self::Io(_) | Self::Dead | Self::Timeout => "trying again",
            Self::Stopping => "",
        }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "no connection: {error}"),
            Self::Tls { text, .. } => write!(f, "no TLS with {text}"),
            Self::NoStream(error) => write!(f, "no stream began: {error}"),
            Self::Stream { condition, text: None } => write!(f, "stream error {condition}"),
            Self::Stream { condition, text: Some(text) } => write!(f, "stream error {condition}: {text}"),
            Self::Xml(error) => write!(f, "unusable XML: {error}"),
            Self::Protocol(error) => write!(f, "this is not a component's stream: {error}"),
            Self::Closed => f.write_str("the server closed the stream"),
            Self::Io(error) => write!(f, "the connection broke: {error}"),
            Self::Dead => f.write_str("the server has been silent for too long"),
            Self::Timeout => f.write_str("the handshake took too long"),
            Self::Stopping => f.write_str("stopping"),
        }
    }
}

impl std::error::Error for DownReason {}
