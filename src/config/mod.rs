//! What to run: the configuration file, the environment, and what they mean.
//!
//! [`keys`] is the one table of keys: the example file, the reference page, the check for unknown keys and the reading
//! itself come from it. [`load`] reads, [`check`] gives meaning, [`secret`] keeps what must not be printed.

pub mod check;
pub mod example;
pub mod keys;
pub mod load;
pub mod secret;
pub mod units;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use self::load::{Setting, Source};
pub use self::secret::Secret;
use crate::command::{Policy, Registration};
use crate::media::guard::Allow;
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::Domain;

/// The whole configuration, checked.
#[derive(Debug)]
pub struct Config {
    /// Where the gateway keeps its files.
    pub data_dir: PathBuf,
    /// Bare JIDs of the admins.
    pub admins: Vec<Jid>,
    /// Where users get help besides the admins: `mailto:` and `https:` URIs.
    pub contact: Vec<String>,
    /// Bare JIDs and domains that may use the gateway; empty means the parent domain of each component.
    pub allow: Vec<Jid>,
    /// Who may register.
    pub registration: Registration,
    /// The XMPP server's host name or address.
    pub xmpp_host: String,
    /// The port on which the XMPP server takes components.
    pub xmpp_port: u16,
    /// The name that the XMPP server's certificate must have; `None` where the link is not encrypted.
    pub xmpp_tls_name: Option<String>,
    /// The domain of the XMPP server itself, where it is not the parent of the component's domain.
    pub xmpp_server: Option<Domain>,
    /// Where the store is, as `sqlite:FILE`.
    pub store_url: String,
    /// Where `/live`, `/ready` and `/metrics` are served.
    pub http_listen: SocketAddr,
    /// How users' clients reach that listener.
    pub http_public_url: String,
    /// The largest file in bytes.
    pub media_max_size: u64,
    /// Hosts and networks that our fetches may reach although they are private.
    pub media_fetch_allow: Allow,
    /// How many bytes of files are kept on disk.
    pub media_cache: u64,
    /// How long the URL of a file holds.
    pub media_expiry: Duration,
    /// Stanzas a second that one user may send to one network; 0 means no limit.
    pub user_rate: u32,
    /// Stanzas that one user may send at once.
    pub user_burst: u32,
    /// New people whom one user may write to in a day; 0 means no limit.
    pub user_people: u32,
    /// The networks, in the order of their names.
    pub networks: Vec<NetworkConfig>,
    /// Every value with where it came from, for `portway check --show`.
    pub settings: Vec<Setting>,
    /// What works but should be mended.
    pub warnings: Vec<String>,
}

/// One `[network.<id>]`.
#[derive(Clone)]
pub struct NetworkConfig {
    /// The network's id.
    pub id: String,
    /// The domain of its component.
    pub component: Domain,
    /// The secret of its component.
    pub secret: Secret,
    /// What becomes of strangers' words.
    pub strangers: Policy,
    /// The rest of the section, for the network itself.
    pub raw: toml::Table,
}

impl std::fmt::Debug for NetworkConfig {
    /// Without the network's own keys, some of which are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetworkConfig")
            .field("id", &self.id)
            .field("component", &self.component)
            .finish_non_exhaustive()
    }
}

/// Everything that is wrong with a configuration, all at once.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
#[error("{}", self.0.join("\n"))]
pub struct ConfigFaults(pub Vec<String>);
