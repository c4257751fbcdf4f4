//! The XMPP server: the handshake, and what it says once we are in.

use std::net::IpAddr;
use std::time::Duration;

use portway_bridges::api::Finding;

use super::Tools;
use super::snippet::{self, Server};
use crate::clock::Clock;
use crate::config::{Config, NetworkConfig};
use crate::media::guard;
use crate::xmpp::iq::ns;
use crate::xmpp::jid::Jid;
use crate::xmpp::roster::privilege::{Grants, Privileges};
use crate::xmpp::stanza::Domain;
use crate::xmpp::stream::{DownReason, Limits, Link, LinkConfig, Timers, Tls, TlsFault};
use crate::xmpp::visit::{Questions, Visit};

/// How far clocks may be apart in seconds.
const APART: u64 = 60;

/// The domain of the XMPP server itself.
pub fn server(config: &Config, network: &NetworkConfig) -> Option<Domain> {
    let parent = || network.component.as_str().split_once('.').and_then(|(_, parent)| Domain::new(parent).ok());
    config.xmpp_server.clone().or_else(parent)
}

/// Looks at the server as this component, over a connection of its own.
pub async fn look(config: &Config, network: &NetworkConfig, tools: &Tools<'_>) -> Vec<Finding> {
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
    let visit = match Visit::begin(link_config, tools.patience).await {
        Ok(visit) => visit,
        Err(reason) => return vec![refused(&reason, config, network)],
    };
    let place = format!("{}:{}", config.xmpp_host, config.xmpp_port);
    let mut findings = vec![Finding::ok("handshake", format!("{place} takes us for {}", network.component.as_str()))];
    let around = Around {
        config,
        server: &server,
        component: &network.component,
        clock: &tools.clock,
        names: tools.dns.is_some(),
        patience: tools.patience,
    };
    findings.extend(around.look(visit.questions(), || visit.granted()).await);
    visit.end().await;
    findings
}

/// Looks at the server over the connection that the gateway has, from within it.
pub async fn attached(
    config: &Config,
    network: &NetworkConfig,
    (link, privileges): (&Link, &Privileges),
    clock: &Clock,
    patience: Duration,
) -> Vec<Finding> {
    let Some(server) = server(config, network) else { return Vec::new() };
    if !link.is_up() {
        return vec![match link.last_down() {
            Some(reason) => refused(&reason, config, network),
            None => Finding::warn("handshake", "the gateway is just connecting").fix("portway doctor  # again"),
        }];
    }
    let place = format!("{}:{}", config.xmpp_host, config.xmpp_port);
    let component = network.component.as_str();
    let mut findings =
        vec![Finding::ok("handshake", format!("the gateway that runs is connected to {place} as {component}"))];
    let questions = Questions::new(link.clone(), &server, patience);
    let around = Around { config, server: &server, component: &network.component, clock, names: true, patience };
    findings.extend(around.look(&questions, || privileges.of(server.as_str())).await);
    findings
}

/// What the server says once we are in.
struct Around<'a> {
    config: &'a Config,
    server: &'a Domain,
    component: &'a Domain,
    clock: &'a Clock,
    /// Whether names are looked up.
    names: bool,
    /// How long an answer may take.
    patience: Duration,
}

impl Around<'_> {
    /// Asks one thing after another. `granted` is asked once the server has answered something: what it grants comes
    /// before.
    async fn look(&self, questions: &Questions, granted: impl FnOnce() -> Option<Grants>) -> Vec<Finding> {
        let (name, component) = (self.server.as_str(), self.component.as_str());
        if !questions.ping().await {
            let text = format!(
                "{name} takes our stanzas and answers none: ejabberd 24.10 to 25.03 with mod_privilege drops them; or \
                 {name} is not this server's domain"
            );
            return vec![Finding::fail("server", text).fix(snippet::dropped(name))];
        }
        let mut findings = vec![Finding::ok("server", format!("{name} answers"))];
        // Together: a server that knows nothing of one of them may take its time to say so.
        let (said, items, theirs) = tokio::join!(questions.version(), questions.items(), questions.time());
        // Older versions of ejabberd speak the older revision.
        let newer =
            !matches!(&said, Some((name, version)) if Server::of(name) == Server::Ejabberd && before(version, 24, 10));
        let (kind, found) = version(said);
        findings.extend(found);
        let components = self.components();
        findings.push(privileges(granted(), kind, newer, &components, name));
        match items {
            None => {
                findings.push(
                    Finding::warn("disco-items", format!("{name} does not say which services it has"))
                        .fix(snippet::items(kind, &components, name)),
                )
            }
            Some(items) => {
                findings.push(match items.iter().any(|item| item.as_str() == component) {
                    true => Finding::ok("disco-items", format!("{name} lists {component}")),
                    false => {
                        let text =
                            format!("{name} does not list {component}: users find it only by typing its address");
                        Finding::warn("disco-items", text).fix(snippet::items(kind, &components, name))
                    }
                });
                findings.extend(self.files(questions, &items, kind).await);
            }
        }
        if let Some(theirs) = theirs {
            let apart = (self.clock.now().0 / 1000).abs_diff(theirs);
            findings.push(match apart {
                0..APART => Finding::ok("time", format!("the clocks of {name} and of this machine agree")),
                _ => Finding::warn("time", format!("the clocks of {name} and of this machine are {apart} s apart"))
                    .fix("timedatectl set-ntp true  # on both machines"),
            });
        }
        findings
    }

    /// Whether users have a place for files, and whether we may fetch them from there.
    async fn files(&self, questions: &Questions, items: &[Jid], kind: Server) -> Vec<Finding> {
        let config = self.config;
        let Some(service) = questions.upload_service(items).await else {
            let text = format!("{} has no service for files (XEP-0363), so users can send none", self.server.as_str());
            return vec![Finding::warn("upload", text).fix(snippet::upload(kind, self.server.as_str()))];
        };
        let url = match questions.slot(&service).await {
            Ok(url) => url,
            // That is how it should be: what we serve, we serve ourselves.
            Err(why) => {
                let text = format!("{service} takes files of users; where it has them it tells nobody else ({why})");
                return vec![Finding::ok("upload", text)];
            }
        };
        let taken = Finding::ok("upload", format!("{service} takes files"));
        let warn = |host: &str, why: &dyn std::fmt::Display| {
            let text =
                format!("files of users are at {host}, and are not fetched from there: {why}; they arrive as links");
            Finding::warn("fetch", text).fix(snippet::fetch_allow(config.media_fetch_allow.texts(), host))
        };
        let target = match guard::target(&url, &config.media_fetch_allow) {
            Ok(target) => target,
            Err(why) => {
                let host =
                    url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
                return vec![taken, warn(&host, &why)];
            }
        };
        let addresses: Vec<IpAddr> = match (target.host.parse(), self.names) {
            (Ok(address), _) => vec![address],
            // As a fetch looks it up: what the system knows besides DNS counts.
            (Err(_), true) => {
                let looking = tokio::net::lookup_host((target.host.as_str(), 0));
                let found = tokio::time::timeout(self.patience, looking).await;
                found.ok().and_then(Result::ok).into_iter().flatten().map(|found| found.ip()).collect()
            }
            (Err(_), false) => Vec::new(),
        };
        let private = addresses.iter().find(|address| !target.may_reach(**address, &config.media_fetch_allow));
        let fetch = match private {
            Some(address) => warn(&target.host, &format!("{address} is private")),
            None => Finding::ok("fetch", format!("files of users are fetched from {}", target.host)),
        };
        vec![taken, fetch]
    }

    /// All our components on this server.
    fn components(&self) -> Vec<&str> {
        let here = |network: &&NetworkConfig| {
            server(self.config, network).is_some_and(|server| server.as_str() == self.server.as_str())
        };
        self.config.networks.iter().filter(here).map(|network| network.component.as_str()).collect()
    }
}

/// Which server it is, and whether one of those that are known to be bad.
fn version(said: Option<(String, String)>) -> (Server, Option<Finding>) {
    let Some((name, version)) = said else { return (Server::Other, None) };
    let kind = Server::of(&name);
    let said = format!("{name} {version}");
    let finding = match kind == Server::Ejabberd && drops_iqs(&version) {
        true => Finding::warn("version", format!("{said} drops IQs of components where mod_privilege is loaded"))
            .fix("# update ejabberd to 25.04 or newer, or take mod_privilege out of its modules"),
        false => Finding::ok("version", said),
    };
    (kind, Some(finding))
}

/// What makes the gateway comfortable (XEP-0356), what it is good for, and whether the server grants it.
/// `newer`: the server may know what came with the newer revision: messages that users' devices have, and requests.
fn privileges(granted: Option<Grants>, kind: Server, newer: bool, components: &[&str], server: &str) -> Finding {
    let has = |what: fn(&Grants) -> bool| granted.as_ref().is_some_and(what);
    let requests = |grants: &Grants| {
        let requests = grants.requests(ns::PUBSUB);
        requests.get && requests.set
    };
    let mut wanted = vec![
        // A roster that can only be read does not help.
        ("roster", "contacts appear by themselves", has(|grants| grants.roster_set)),
        ("presence", "who is online is known at once", has(|grants| grants.presence)),
    ];
    if newer {
        wanted.push(("message", "own messages sent elsewhere appear as one's own", has(|grants| grants.message)));
        wanted.push(("iq", "bookmarks follow rooms that move", has(requests)));
    }
    let list: Vec<&str> = wanted.iter().filter(|(_, _, granted)| *granted).map(|(access, ..)| *access).collect();
    let shown = if list.is_empty() { "none is granted".to_owned() } else { format!("granted: {}", list.join(", ")) };
    if list.len() == wanted.len() {
        return Finding::ok("privileges", shown);
    }
    let missing: Vec<String> = wanted
        .iter()
        .filter(|(_, _, granted)| !granted)
        .map(|(access, use_, _)| format!("{access} ({use_})"))
        .collect();
    let text = format!("{shown}; missing: {}. The gateway works without them, less comfortably", missing.join(", "));
    Finding::warn("privileges", text).fix(snippet::privileges(kind, newer, components, server))
}

/// What the metrics say of the connection of a gateway that runs, and is of a version that does not say more.
pub fn by_metrics(network: &NetworkConfig, metrics: &str) -> Vec<Finding> {
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
    let rest = "not looked at: the gateway that runs is of another version and does not say, and a second connection of \
                the same name would take its stanzas";
    vec![link, Finding::warn("server", rest).fix("# restart the gateway with this version, and run: portway doctor")]
}

/// Versions of ejabberd that drop IQs of components (24.10 to 25.03).
fn drops_iqs(version: &str) -> bool {
    !before(version, 24, 10) && before(version, 25, 4)
}

/// Whether a version of ejabberd, which is year and month, is older than this one. What cannot be read is not.
fn before(version: &str, year: u32, month: u32) -> bool {
    let mut parts = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let (Some(of), Some(in_)) = (parts.next(), parts.next()) else { return false };
    (of, in_) < (year, month)
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
