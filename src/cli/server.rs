//! Snippets for other servers' configurations. Their texts are the templates in `config/servers/`; this file only fills
//! in values, so the same text is what the documentation shows.

use clap::ValueEnum;

use crate::config::{Config, NetworkConfig};
use crate::xmpp::stream::transport::is_loopback;

/// A server that we have a template for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Prosody
    Prosody,
    /// ejabberd
    Ejabberd,
    /// Openfire
    Openfire,
    /// Synapse, the Matrix homeserver
    Synapse,
    /// Postfix
    Postfix,
}

impl Kind {
    /// The template: what stands before the networks, what is said for each, and what stands behind.
    fn template(self) -> &'static str {
        match self {
            Self::Prosody => include_str!("../../config/servers/prosody.cfg.lua.in"),
            Self::Ejabberd => include_str!("../../config/servers/ejabberd.yml.in"),
            Self::Openfire => include_str!("../../config/servers/openfire.txt.in"),
            Self::Synapse => include_str!("../../config/servers/synapse.yaml.in"),
            Self::Postfix => include_str!("../../config/servers/postfix.cf.in"),
        }
    }
}

/// The snippet for a server.
///
/// A template is text with `{{section.key}}` for values. Lines between `{{#each network}}` and `{{/each}}` are repeated
/// for every network, in which `{{key}}` is a key of its section; between `{{#network NAME}}` and `{{/network}}` they
/// stand only if that network is configured, and between `{{#tls}}` and `{{/tls}}` only if the link is encrypted.
#[must_use]
pub fn snippet(kind: Kind, config: &Config) -> String {
    let mut text = String::new();
    let mut lines = kind.template().lines();
    while let Some(line) = lines.next() {
        if line.trim() == "{{#each network}}" {
            let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "{{/each}}").collect();
            for network in &config.networks {
                push(&mut text, &block, config, Some(network));
            }
        } else if line.trim() == "{{#tls}}" {
            let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "{{/tls}}").collect();
            if config.xmpp_tls_name.is_some() {
                push(&mut text, &block, config, None);
            }
        } else if let Some(name) = line.trim().strip_prefix("{{#network ").and_then(|rest| rest.strip_suffix("}}")) {
            let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "{{/network}}").collect();
            if let Some(network) = config.networks.iter().find(|network| network.id == name) {
                push(&mut text, &block, config, Some(network));
            }
        } else {
            push(&mut text, &[line], config, None);
        }
    }
    text
}

fn push(text: &mut String, lines: &[&str], config: &Config, network: Option<&NetworkConfig>) {
    for line in lines {
        let mut rest = *line;
        while let Some((before, behind)) = rest.split_once("{{") {
            text.push_str(before);
            let Some((name, after)) = behind.split_once("}}") else {
                rest = behind;
                break;
            };
            text.push_str(&value(name, config, network));
            rest = after;
        }
        text.push_str(rest);
        text.push('\n');
    }
}

fn value(name: &str, config: &Config, network: Option<&NetworkConfig>) -> String {
    let parent = |domain: &str| domain.split_once('.').map_or(domain, |(_, parent)| parent).to_owned();
    let component = network.map_or(String::new(), |network| network.component.as_str().to_owned());
    match name {
        "xmpp.port" => config.xmpp_port.to_string(),
        "xmpp.host" => config.xmpp_host.clone(),
        "xmpp.tls_name" => config.xmpp_tls_name.clone().unwrap_or_default(),
        // Where the server should listen: on this machine where we are on it too.
        "xmpp.ip" => match config.xmpp_host.parse::<std::net::IpAddr>() {
            Ok(ip) => ip.to_string(),
            Err(_) if is_loopback(&config.xmpp_host) => "127.0.0.1".to_owned(),
            Err(_) => "::".to_owned(),
        },
        "component" => component,
        "parent" => parent(&component),
        "secret" => network.map_or(String::new(), |network| network.secret.reveal().to_owned()),
        "id" => network.map_or(String::new(), |network| network.id.clone()),
        // `lmtp://127.0.0.1:2424` as a mail server writes it.
        "listen.nexthop" => {
            network.and_then(|network| network.raw.get("listen")?.as_str()).map_or(String::new(), |listen| match listen
                .split_once("://")
            {
                Some(("lmtp", path)) if path.starts_with('/') => format!("lmtp:unix:{path}"),
                Some(("lmtp", address)) => format!("lmtp:inet:{address}"),
                Some((scheme, address)) => {
                    let (host, port) = address.rsplit_once(':').unwrap_or((address, "25"));
                    format!("{scheme}:[{host}]:{port}")
                }
                None => listen.to_owned(),
            })
        }
        key => network.and_then(|network| network.raw.get(key)).map_or(String::new(), |value| match value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{check, load};

    #[test]
    fn every_template_is_filled() {
        let settings = load::parse(std::path::Path::new("example"), &crate::config::example::toml()).unwrap();
        let config = check::check(settings).unwrap();
        for kind in Kind::value_variants() {
            let text = snippet(*kind, &config);
            assert!(!text.contains("{{") && !text.contains("}}"), "{kind:?}:\n{text}");
        }
        // TLS is spoken of where it is wanted.
        assert!(!snippet(Kind::Ejabberd, &config).contains("tls: true"));
        let mut settings = load::parse(std::path::Path::new("example"), &crate::config::example::toml()).unwrap();
        let away = [("PORTWAY_XMPP__HOST", "xmpp.example.org"), ("PORTWAY_XMPP__TLS", "direct")];
        load::overlay(&mut settings, away.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let ejabberd = snippet(Kind::Ejabberd, &check::check(settings).unwrap());
        assert!(ejabberd.contains("tls: true") && ejabberd.contains("ip: \"::\""), "{ejabberd}");
        assert!(ejabberd.contains("xmpp.example.org"), "{ejabberd}");
        let prosody = snippet(Kind::Prosody, &config);
        assert!(prosody.contains("Component \"loopback.example.org\""), "{prosody}");
    }
}
