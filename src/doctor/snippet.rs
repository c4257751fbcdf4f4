//! What goes into the configuration of the XMPP server, by server. Where the server does not say what it is, for Prosody and for
//! ejabberd.

use crate::config::Config;
use crate::xmpp::stanza::Domain;

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
        "-- prosody.cfg.lua, above every VirtualHost:\ncomponent_ports = {{ {port} }}\n\
         # or, in ejabberd.yml (portway generate server ejabberd prints the whole):\n\
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

/// Leave to act for users (XEP-0356).
pub fn privileges(kind: Server, component: &Domain, server: &Domain) -> String {
    let (component, server) = (component.as_str(), server.as_str());
    let prosody = format!(
        "-- prosody.cfg.lua: \"privilege\" (of prosody-modules) into modules_enabled of both\n\
         VirtualHost \"{server}\"\n\tmodules_enabled = {{ \"privilege\" }}\n\tprivileged_entities = {{\n\
         \t\t[\"{component}\"] = {{ roster = \"both\"; message = \"outgoing\"; presence = \"roster\" }}\n\t}}\n\
         Component \"{component}\"\n\tmodules_enabled = {{ \"privilege\" }}"
    );
    let ejabberd = format!(
        "acl:\n  portway:\n    server: {component}\naccess_rules:\n  portway:\n    - allow: portway\n\
         modules:\n  mod_roster: {{}}\n  mod_privilege:\n    roster:\n      both: portway\n    message:\n      outgoing: portway\n    \
         presence:\n      roster: portway"
    );
    kind.choose(&prosody, &ejabberd, "# Openfire has no such privileges")
}

/// A place in the server's list of services.
pub fn items(kind: Server, component: &Domain, server: &Domain) -> String {
    let (component, server) = (component.as_str(), server.as_str());
    kind.choose(
        &format!("VirtualHost \"{server}\"\n\tdisco_items = {{ {{ \"{component}\", \"Portway\" }} }}"),
        &format!("modules:\n  mod_disco:\n    extra_items:\n      - {component}"),
        "# Openfire lists components by itself: see its admin console, Server Settings, External Components",
    )
}

/// A service for files of users.
pub fn upload(kind: Server, server: &Domain) -> String {
    let server = server.as_str();
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
