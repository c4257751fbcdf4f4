//! The XMPP server: the handshake, and what it says once we are in.

mod privileges;
mod services;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use minidom::Element;
use portway_bridges::api::{Condition, Finding, Stop};
use tokio::sync::mpsc;

use super::Tools;
use super::snippet::{self, Server};
use crate::config::{Config, NetworkConfig};
use crate::xmpp::error;
use crate::xmpp::iq::ns;
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::{Domain, OutStanza, Stanza, StanzaKind};
use crate::xmpp::stream::{DownReason, Limits, Link, LinkConfig, LinkEvent, Priority, Timers, Tls, TlsFault};

/// How many stanzas of the server are kept for the checks.
const KEPT: usize = 100;

/// The domain of the XMPP server itself.
pub fn server(config: &Config, network: &NetworkConfig) -> Option<Domain> {
    let parent = || network.component.as_str().split_once('.').and_then(|(_, parent)| Domain::new(parent).ok());
    config.xmpp_server.clone().or_else(parent)
}

/// Looks at the server as this component. Where the gateway runs, its metrics are all that is looked at.
pub async fn look(config: &Config, network: &NetworkConfig, running: Option<&str>, tools: &Tools<'_>) -> Vec<Finding> {
    if let Some(metrics) = running {
        return asked(network, metrics);
    }
    // Without a server there is nobody to look at; the check of `allow` says so.
    let Some(server) = server(config, network) else { return Vec::new() };
    let tls = match config.xmpp_tls_name.as_deref().map(Tls::system).transpose() {
        Ok(tls) => tls,
        Err(error) => return vec![Finding::fail("handshake", error.to_string()).fix("apt install ca-certificates")],
    };
    let link_config = LinkConfig {
        domain: network.component.clone(),
        server: server.clone(),
        secret: network.secret.clone(),
        host: config.xmpp_host.clone(),
        port: config.xmpp_port,
        tls,
        limits: Limits::default(),
        timers: Timers { connect: tools.patience, grace: Duration::from_secs(1), ..Timers::default() },
    };
    let stop = Stop::new();
    let (link, mut events, task) = Link::start(link_config, stop.clone());
    let findings = match events.recv().await {
        Some(LinkEvent::Up { .. }) => {
            let heard = Arc::new(Mutex::new(Vec::new()));
            let listening = tokio::spawn(listen(events, link.clone(), heard.clone()));
            let visit = Visit { link, server, component: network.component.clone(), patience: tools.patience, heard };
            let mut findings = vec![Finding::ok(
                "handshake",
                format!("{}:{} takes us for {}", config.xmpp_host, config.xmpp_port, network.component.as_str()),
            )];
            findings.extend(visit.look(tools).await);
            stop.cancel();
            let _ = listening.await;
            findings
        }
        Some(LinkEvent::Down { reason }) => vec![refused(&reason, config, network)],
        _ => Vec::new(),
    };
    stop.cancel();
    let _ = task.await;
    findings
}

/// What the gateway that runs says of its own connection.
fn asked(network: &NetworkConfig, metrics: &str) -> Vec<Finding> {
    let value = |name: &str| {
        let start = format!("{name}{{network=\"{}\"}} ", network.id);
        metrics.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
    };
    let link = match value("portway_link_up").as_deref() {
        Some("1") => Finding::ok("handshake", "the gateway that runs is connected"),
        Some(_) => Finding::fail("handshake", "the gateway that runs is not connected; its log says why")
            .fix("# stop it and run the doctor again: it will explain the server's answer"),
        None => Finding::fail("handshake", "the gateway that runs does not have this network")
            .fix("# the configuration has changed since it was started: restart it"),
    };
    let rest = "not looked at, because the gateway runs: a second connection of the same name would take its stanzas";
    vec![link, Finding::warn("server", rest).fix("# stop the gateway for some seconds and run: portway doctor")]
}

/// Keeps what the server says. Whoever writes to the gateway meanwhile is told that it is not there: what is taken here
/// would be lost otherwise.
async fn listen(mut events: mpsc::Receiver<LinkEvent>, link: Link, heard: Arc<Mutex<Vec<Stanza>>>) {
    while let Some(event) = events.recv().await {
        let LinkEvent::Stanza(stanza) = event else { continue };
        let answered = stanza.kind != StanzaKind::Presence
            && !matches!(stanza.type_.as_deref(), Some("error" | "result"))
            && stanza.from.as_ref().is_some_and(|from| from.node().is_some());
        match stanza.to.as_ref().and_then(|to| link.domain().own(to)).filter(|_| answered) {
            Some(us) => {
                let condition = Condition::ResourceConstraint;
                let text = "The gateway is not running at the moment. Please try again later.";
                let answer = error::reply(&stanza, &us, condition, error::usual_type(condition), text);
                if let Some(answer) = answer {
                    let _ = link.send(&answer, Priority::Urgent);
                }
            }
            None => {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                if heard.len() < KEPT {
                    heard.push(*stanza);
                }
            }
        }
    }
}

/// The connection while we look around.
struct Visit {
    link: Link,
    server: Domain,
    component: Domain,
    patience: Duration,
    heard: Arc<Mutex<Vec<Stanza>>>,
}

impl Visit {
    async fn look(&self, tools: &Tools<'_>) -> Vec<Finding> {
        let server = self.server.jid().jid().clone();
        let mut findings = Vec::new();
        // What the server says by itself right behind the handshake has come before this answer.
        if self.ask(&server, Element::bare("ping", ns::PING)).await.is_none() {
            let text = format!(
                "{server} takes our stanzas and answers none: ejabberd 24.10 to 25.03 with mod_privilege drops them; or \
                 {server} is not this server's domain"
            );
            findings.push(Finding::fail("ping", text).fix(snippet::dropped(&server)));
            return findings;
        }
        findings.push(Finding::ok("ping", format!("{server} answers")));
        let (kind, found) = self.version(&server).await;
        findings.extend(found);
        findings.push(privileges::look(&self.adverts(), kind, &self.component, &self.server));
        findings.extend(services::look(self, kind).await);
        findings.extend(self.time(&server, tools).await);
        findings
    }

    /// Asks, and returns the answer, an error or a result; `None` where none comes in time.
    async fn ask(&self, to: &Jid, payload: Element) -> Option<Stanza> {
        let request = OutStanza::new(StanzaKind::Iq, &self.component.jid(), to, Some("get"), None).with(payload);
        self.link.iq(request, self.patience).await.ok()
    }

    /// Asks, and returns what the result holds.
    async fn result(&self, to: &Jid, payload: Element) -> Option<Element> {
        let answer = self.ask(to, payload).await.filter(|answer| answer.type_.as_deref() == Some("result"))?;
        answer.element.children().next().cloned()
    }

    /// What the server itself has said, and nobody else in its name.
    fn adverts(&self) -> Vec<Stanza> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let own = |stanza: &&Stanza| stanza.from.as_ref().is_some_and(|from| from.as_str() == self.server.as_str());
        heard.iter().filter(own).cloned().collect()
    }

    /// Which server it is (XEP-0092), and whether one of those that are known to be bad.
    async fn version(&self, server: &Jid) -> (Server, Option<Finding>) {
        let Some(answer) = self.result(server, Element::bare("query", ns::VERSION)).await else {
            return (Server::Other, None);
        };
        let text = |name: &str| answer.get_child(name, ns::VERSION).map(Element::text).unwrap_or_default();
        let (name, version) = (text("name"), text("version"));
        let kind = Server::of(&name);
        let said = format!("{name} {version}");
        let finding = match kind == Server::Ejabberd && drops_iqs(&version) {
            true => Finding::warn("version", format!("{said} drops IQs of components where mod_privilege is loaded"))
                .fix("# update ejabberd to 25.04 or newer, or take mod_privilege out of its modules"),
            false => Finding::ok("version", said),
        };
        (kind, Some(finding))
    }

    /// The server's clock against ours (XEP-0202), where it tells.
    async fn time(&self, server: &Jid, tools: &Tools<'_>) -> Option<Finding> {
        const TIME: &str = "urn:xmpp:time";
        let answer = self.result(server, Element::bare("time", TIME)).await?;
        let utc = answer.get_child("utc", TIME)?.text();
        let theirs = utc.parse::<xmpp_parsers::date::DateTime>().ok()?.0.timestamp();
        let ours = tools.clock.now().0 / 1000;
        let apart = ours.abs_diff(theirs);
        Some(match apart {
            0..60 => Finding::ok("time", format!("the clocks of {server} and of this machine agree")),
            _ => Finding::warn("time", format!("the clocks of {server} and of this machine are {apart} s apart"))
                .fix("timedatectl set-ntp true  # on both machines"),
        })
    }
}

/// Versions of ejabberd that drop IQs of components (24.10 to 25.03). A version is year and month.
fn drops_iqs(version: &str) -> bool {
    let mut parts = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let (Some(year), Some(month)) = (parts.next(), parts.next()) else { return false };
    (24 * 12 + 10..=25 * 12 + 3).contains(&(year * 12 + month))
}

/// Why there is no connection, and what mends it.
fn refused(reason: &DownReason, config: &Config, network: &NetworkConfig) -> Finding {
    let component = network.component.as_str();
    let generate = "portway generate server prosody  # or ejabberd, openfire: the block with our secret, for the server's \
                    configuration; then restart the server";
    let fix = match reason {
        DownReason::Connect(_) => snippet::port(config),
        DownReason::NoStream(_) => {
            format!("[xmpp]\ntls = \"direct\"  # if this is the port\n{}", snippet::port(config))
        }
        DownReason::Tls { fault, .. } => match fault {
            TlsFault::NoTls => "[xmpp]\ntls = \"off\"  # or the port that speaks TLS".to_owned(),
            TlsFault::Name => "[xmpp]\ntls_name = \"…\"  # a name that is in the server's certificate".to_owned(),
            TlsFault::Untrusted => {
                "SSL_CERT_FILE=/etc/portway/authority.pem  # in the environment of portway".to_owned()
            }
            TlsFault::Expired => "# renew the certificate of the server, and set both clocks".to_owned(),
            TlsFault::Other => "# see the log of the server".to_owned(),
        },
        DownReason::Stream { condition, .. } => match condition.as_str() {
            "not-authorized" | "host-unknown" | "internal-server-error" => generate.to_owned(),
            "conflict" => format!(
                "# end the other gateway, or wait until the server has noticed that it is gone. In Prosody:\n\
                 Component \"{component}\"\n\tcomponent_conflict_resolve = \"kick_old\"\n\
                 # on ejabberd {component} must not be in hosts"
            ),
            "see-other-host" => "[xmpp]\nhost = \"…\"  # where the server wants us".to_owned(),
            _ => snippet::port(config),
        },
        DownReason::Protocol(_) | DownReason::Xml(_) | DownReason::Closed | DownReason::Timeout => {
            snippet::port(config)
        }
        DownReason::Io(_) | DownReason::Dead | DownReason::Stopping => "# see the log of the server".to_owned(),
    };
    let hint = match reason.hint() {
        "" | "trying again" => "is this the component port?",
        hint => hint,
    };
    Finding::fail("handshake", format!("{reason}; {hint}")).fix(fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_drop_iqs() {
        for version in ["24.10", "24.12-1", "25.03"] {
            assert!(drops_iqs(version), "{version}");
        }
        for version in ["23.01", "24.07", "25.04", "25.10", "", "x"] {
            assert!(!drops_iqs(version), "{version}");
        }
    }
}
