//! The XMPP server: the handshake, and what it says once we are in.

use std::net::IpAddr;
use std::time::Duration;

use portway_bridges::api::Finding;

use super::Tools;
use super::snippet::{self, Server};
use crate::config::{Config, NetworkConfig};
use crate::media::guard;
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::Domain;
use crate::xmpp::stream::{DownReason, Limits, LinkConfig, Timers, Tls, TlsFault};
use crate::xmpp::visit::Visit;

/// What makes the gateway comfortable (XEP-0356), and what it is good for.
const WANTED: [(&str, &str); 3] = [
    ("roster", "contacts appear by themselves"),
    ("message", "own messages sent elsewhere appear as one's own"),
    ("presence", "who is online is known at once"),
];

/// How far clocks may be apart in seconds.
const APART: u64 = 60;

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
    let visit = match Visit::begin(link_config, tools.patience).await {
        Ok(visit) => visit,
        Err(reason) => return vec![refused(&reason, config, network)],
    };
    let place = format!("{}:{}", config.xmpp_host, config.xmpp_port);
    let mut findings = vec![Finding::ok("handshake", format!("{place} takes us for {}", network.component.as_str()))];
    findings.extend(around(&visit, &server, config, &network.component, tools).await);
    visit.end().await;
    findings
}

/// What the server says once we are in.
async fn around(
    visit: &Visit,
    server: &Domain,
    config: &Config,
    component: &Domain,
    tools: &Tools<'_>,
) -> Vec<Finding> {
    let name = server.as_str();
    if !visit.ping().await {
        let text = format!(
            "{name} takes our stanzas and answers none: ejabberd 24.10 to 25.03 with mod_privilege drops them; or {name} \
             is not this server's domain"
        );
        return vec![Finding::fail("server", text).fix(snippet::dropped(name))];
    }
    let mut findings = vec![Finding::ok("server", format!("{name} answers"))];
    let (kind, found) = version(visit.version().await);
    findings.extend(found);
    findings.push(privileges(visit, kind, component, server));
    match visit.items().await {
        None => findings.push(
            Finding::warn("disco-items", format!("{name} does not say which services it has"))
                .fix(snippet::items(kind, component, server)),
        ),
        Some(items) => {
            let component_name = component.as_str();
            findings.push(match items.iter().any(|item| item.as_str() == component_name) {
                true => Finding::ok("disco-items", format!("{name} lists {component_name}")),
                false => {
                    let text =
                        format!("{name} does not list {component_name}: users find it only by typing its address");
                    Finding::warn("disco-items", text).fix(snippet::items(kind, component, server))
                }
            });
            findings.extend(files(visit, &items, kind, server, config, tools).await);
        }
    }
    if let Some(theirs) = visit.time().await {
        let apart = (tools.clock.now().0 / 1000).abs_diff(theirs);
        findings.push(match apart {
            0..APART => Finding::ok("time", format!("the clocks of {name} and of this machine agree")),
            _ => Finding::warn("time", format!("the clocks of {name} and of this machine are {apart} s apart"))
                .fix("timedatectl set-ntp true  # on both machines"),
        });
    }
    findings
}

/// Whether users have a place for files, and whether we may fetch them from there.
async fn files(
    visit: &Visit,
    items: &[Jid],
    kind: Server,
    server: &Domain,
    config: &Config,
    tools: &Tools<'_>,
) -> Vec<Finding> {
    let Some(service) = visit.upload_service(items).await else {
        let text = format!("{} has no service for files (XEP-0363), so users can send none", server.as_str());
        return vec![Finding::warn("upload", text).fix(snippet::upload(kind, server))];
    };
    let url = match visit.slot(&service).await {
        Ok(url) => url,
        // That is how it should be: what we serve, we serve ourselves.
        Err(why) => {
            let text = format!("{service} takes files of users; where it has them it tells nobody else ({why})");
            return vec![Finding::ok("upload", text)];
        }
    };
    let taken = Finding::ok("upload", format!("{service} takes files"));
    let warn = |host: &str, why: &dyn std::fmt::Display| {
        let text = format!("files of users are at {host}, and are not fetched from there: {why}; they arrive as links");
        Finding::warn("fetch", text).fix(snippet::fetch_allow(config.media_fetch_allow.texts(), host))
    };
    let target = match guard::target(&url, &config.media_fetch_allow) {
        Ok(target) => target,
        Err(why) => {
            let host = url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
            return vec![taken, warn(&host, &why)];
        }
    };
    let addresses: Vec<IpAddr> = match (target.host.parse(), &tools.dns) {
        (Ok(address), _) => vec![address],
        // As a fetch looks it up: what the system knows besides DNS counts.
        (Err(_), Some(_)) => {
            let looking = tokio::net::lookup_host((target.host.as_str(), 0));
            let found = tokio::time::timeout(tools.patience, looking).await;
            found.ok().and_then(Result::ok).into_iter().flatten().map(|found| found.ip()).collect()
        }
        (Err(_), None) => Vec::new(),
    };
    let private = addresses.iter().find(|address| !target.may_reach(**address, &config.media_fetch_allow));
    let fetch = match private {
        Some(address) => warn(&target.host, &format!("{address} is private")),
        None => Finding::ok("fetch", format!("files of users are fetched from {}", target.host)),
    };
    vec![taken, fetch]
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

/// Which of what is wanted the server grants, and which not.
fn privileges(visit: &Visit, kind: Server, component: &Domain, server: &Domain) -> Finding {
    let granted = visit.privileges();
    let missing: Vec<String> = WANTED
        .iter()
        .filter(|(access, _)| !granted.contains(*access))
        .map(|(access, use_)| format!("{access} ({use_})"))
        .collect();
    let list = granted.into_iter().collect::<Vec<_>>().join(", ");
    let shown = if list.is_empty() { "none is granted".to_owned() } else { format!("granted: {list}") };
    if missing.is_empty() {
        return Finding::ok("privileges", shown);
    }
    let text = format!("{shown}; missing: {}. The gateway works without them, less comfortably", missing.join(", "));
    Finding::warn("privileges", text).fix(snippet::privileges(kind, component, server))
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
