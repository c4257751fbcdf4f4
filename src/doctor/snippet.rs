//! What goes into the configuration of the XMPP server, by server. Where the server does not say what it is, for Prosody and for
//! ejabberd.

use crate::config::Config;

/// Which server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Prosody,
    Ejabberd,
    Openfire,
    Other,
}

impl Server {
    /// By the name that it gives itself (XEP-0092).
    pub fn of(name: &str) -> Self {
        match name.to_ascii_lowercase() {
            name if name.contains("prosody") => Self::Prosody,
            name if name.contains("ejabberd") => Self::Ejabberd,
            name if name.contains("openfire") => Self::Openfire,
            _ => Self::Other,
        }
    }

    /// The text for this server, or both.
    fn choose(self, prosody: &str, ejabberd: &str, openfire: &str) -> String {
        match self {
            Self::Prosody => prosody.to_owned(),
            Self::Ejabberd => ejabberd.to_owned(),
            Self::Openfire => openfire.to_owned(),
            Self::Other => format!("{prosody}\n# or, in ejabberd.yml:\n{ejabberd}"),
        }
    }
}

/// Where components are taken.
pub fn port(config: &Config) -> String {
    let port = config.xmpp_port;
    format!(
        "portway generate server prosody  # or ejabberd, openfire: the block for the server's configuration. Without one Prosody \
         opens no port for components\n\
         -- prosody.cfg.lua, above every VirtualHost:\ncomponent_ports = {{ {port} }}\n\
         # or, in ejabberd.yml (that is in the block):\n\
         listen:\n  -\n    port: {port}\n    module: ejabberd_service\n\
         # or in portway.toml, if the server takes components elsewhere:\n\
         [xmpp]\nhost = \"{}\"\nport = {port}",
        config.xmpp_host
    )
}

/// Where IQs of components are dropped.
pub fn dropped(server: &str) -> String {
    format!(
        "# update ejabberd to 25.04 or newer, or take mod_privilege out of its modules\n\
         # or in portway.toml, if {server} is not the domain of the server:\n[xmpp]\nserver = \"example.org\""
    )
}

/// Leave to act for users (XEP-0356). Of all our components on that server at once: the sections have their names in common,
/// and what is written for one would replace what was written for another. `requests`: also to make requests in their names,
/// which older versions of ejabberd do not know.
pub fn privileges(kind: Server, requests: bool, components: &[&str], server: &str) -> String {
    let all = |one: &dyn Fn(&str) -> String| components.iter().map(|name| one(name)).collect::<String>();
    let prosody = format!(
        "-- prosody.cfg.lua: \"privilege\" (of prosody-modules) into modules_enabled of all of them\n\
         VirtualHost \"{server}\"\n\tmodules_enabled = {{ \"privilege\" }}\n\tprivileged_entities = {{\n{}\t}}\n{}",
        all(&|name| {
            format!(
                "\t\t[\"{name}\"] = {{ roster = \"both\"; message = \"outgoing\"; presence = \"managed_entity\";\n\
                 \t\t\tiq = {{ [\"http://jabber.org/protocol/pubsub\"] = \"both\"; \
                 [\"http://jabber.org/protocol/pubsub#owner\"] = \"set\" }} }};\n"
            )
        }),
        all(&|name| format!("Component \"{name}\"\n\tmodules_enabled = {{ \"privilege\" }}\n")),
    );
    let ejabberd = format!(
        "{}access_rules:\n  portway:\n    - allow: portway\nmodules:\n  mod_roster: {{}}\n  mod_privilege:\n    roster:\n      \
         both: portway\n    message:\n      outgoing: portway\n    presence:\n      managed_entity: portway{}",
        acl(components),
        if requests {
            "\n    iq:\n      http://jabber.org/protocol/pubsub:\n        both: portway\n      \
             http://jabber.org/protocol/pubsub#owner:\n        set: portway"
        } else {
            ""
        }
    );
    kind.choose(prosody.trim_end(), &ejabberd, "# Openfire has no such privileges")
}

/// A place in the server's list of services.
pub fn items(kind: Server, components: &[&str], server: &str) -> String {
    let listed: Vec<String> = components.iter().map(|name| format!("{{ \"{name}\", \"Portway\" }}")).collect();
    let extra: String = components.iter().map(|name| format!("\n      - {name}")).collect();
    kind.choose(
        &format!("VirtualHost \"{server}\"\n\tdisco_items = {{ {} }}", listed.join("; ")),
        &format!("modules:\n  mod_disco:\n    extra_items:{extra}"),
        "# Openfire lists components by itself: see its admin console, Server Settings, External Components",
    )
}

/// A service for files of users.
pub fn upload(kind: Server, server: &str) -> String {
    kind.choose(
        &format!("Component \"upload.{server}\" \"http_file_share\""),
        "modules:\n  mod_http_upload: {}\n# and in listen, under the request_handlers of ejabberd_http:\n#   /upload: mod_http_upload",
        "# install the plugin HTTP File Upload",
    )
}

/// That files may be fetched from a host although it is private.
pub fn fetch_allow(allowed: &[String], host: &str) -> String {
    let all: Vec<String> = allowed.iter().map(String::as_str).chain([host]).map(|host| format!("{host:?}")).collect();
    format!("[media]\nfetch_allow = [{}]", all.join(", "))
}

/// The name by which ejabberd's rules call us.
fn acl(components: &[&str]) -> String {
    let servers: String = components.iter().map(|name| format!("      - {name}\n")).collect();
    format!("acl:\n  portway:\n    server:\n{servers}")
}
