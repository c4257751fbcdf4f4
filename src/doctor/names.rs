//! What the world's names say of a component's domain.

use portway_bridges::api::{Dns, Finding, Question};

use crate::config::{Config, NetworkConfig};

/// Whether other servers find the component's domain. Only they need it, so none is no fault; but who gives the gateway
/// to people of other servers must have it.
pub async fn component(config: &Config, network: &NetworkConfig, dns: &dyn Dns) -> Finding {
    let domain = network.component.as_str();
    let service = format!("_xmpp-server._tcp.{domain}");
    let answers = match (dns.ask(&service, Question::Srv).await, dns.ask(domain, Question::Address).await) {
        (Ok(services), Ok(addresses)) => services.len() + addresses.len(),
        (Err(error), _) | (_, Err(error)) => {
            return Finding::warn("dns", format!("nobody answers what {domain} is: {error}"))
                .fix("# see /etc/resolv.conf, or leave names out with --offline");
        }
    };
    if answers > 0 {
        return Finding::ok("dns", format!("{domain} can be found by other servers"));
    }
    let host =
        super::xmpp::server(config, network).map_or_else(|| domain.to_owned(), |server| server.as_str().to_owned());
    Finding::warn(
        "dns",
        format!(
            "{domain} has no DNS record. Your own server needs none; people of other servers do not reach the gateway, and \
             while the gateway is away ejabberd looks for {domain} among other servers and says remote-server-not-found"
        ),
    )
    .fix(format!("{service}. 3600 IN SRV 0 5 5269 {host}."))
}
