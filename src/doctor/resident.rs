//! The doctor inside of the gateway that runs: it looks over the gateway's own connection, which nobody else can without
//! taking its stanzas away.

use std::sync::Arc;
use std::time::Duration;

use portway_bridges::api::{Adapter, Finding, Timestamp};
use tokio::sync::Mutex;

use super::{machine, named, settings, xmpp};
use crate::clock::Clock;
use crate::config::Config;
use crate::xmpp::roster::privilege::Privileges;
use crate::xmpp::stream::Link;

/// How long an answer of the XMPP server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// For how long what was found holds: whoever asks more often costs the XMPP server nothing.
const HOLDS: Duration = Duration::from_secs(10);

/// The doctor of one network.
pub struct Resident {
    /// The configuration with which the gateway was started.
    pub config: Arc<Config>,
    /// The network's id.
    pub network: Arc<str>,
    /// The network.
    pub adapter: Arc<dyn Adapter>,
    /// The connection.
    pub link: Link,
    /// What the servers have granted on it.
    pub privileges: Arc<Privileges>,
    /// The time.
    pub clock: Clock,
    /// What was found last. Held while somebody looks, so that all who ask meanwhile share one look.
    pub kept: Mutex<Option<Kept>>,
}

/// What was found over a connection, when, and over which.
pub struct Kept {
    at: Timestamp,
    connection: u64,
    findings: Vec<Finding>,
}

impl Resident {
    /// What the connection to the XMPP server shows, at most [`HOLDS`] old. The names begin with the network's.
    pub async fn connection(&self) -> Vec<Finding> {
        let mut kept = self.kept.lock().await;
        let (now, stats) = (self.clock.now(), self.link.stats());
        if let Some(kept) = &*kept
            && stats.up
            && kept.connection == stats.reconnects
            && now.0 >= kept.at.0
            && now.since(kept.at) < HOLDS
        {
            return kept.findings.clone();
        }
        let Some(network) = self.config.networks.iter().find(|network| *network.id == *self.network) else {
            return Vec::new();
        };
        let link = (&self.link, &*self.privileges);
        let found = xmpp::attached(&self.config, network, link, &self.clock, PATIENCE).await;
        let findings: Vec<Finding> = found.into_iter().map(|finding| named(&self.network, finding)).collect();
        *kept = Some(Kept { at: self.clock.now(), connection: stats.reconnects, findings: findings.clone() });
        findings
    }

    /// What there is to say of this network and of the machine: all but what names say, which is asked on the command line.
    pub async fn examine(&self) -> Vec<Finding> {
        let mut findings = machine::store(&self.config).await;
        findings.push(machine::clock(self.clock.now()));
        if let Some(network) = self.config.networks.iter().find(|network| *network.id == *self.network) {
            findings.push(named(&self.network, settings::allow(&self.config, network)));
        }
        let (connection, network) = tokio::join!(self.connection(), self.adapter.check(true));
        findings.extend(connection);
        findings.extend(network.into_iter().map(|finding| named(&self.network, finding)));
        findings
    }
}
