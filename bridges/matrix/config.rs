//! The section `[network.matrix]`.

use std::net::SocketAddr;

use crate::api::ConfigErrors;

/// The example, as TOML.
pub const EXAMPLE: &str = r##"# How Portway reaches the homeserver.
homeserver = "http://127.0.0.1:8008"
# The part behind the colon in your homeserver's addresses.
server_name = "example.org"
# Where the homeserver pushes transactions.
listen = "127.0.0.1:29320"
# How the homeserver reaches that, if it is not http://<listen>.
# url = "http://127.0.0.1:29320"
# Two secrets that Portway and the homeserver share: `portway init` makes them.
as_token = "change me"
hs_token = "change me too"
# How the names of XMPP users and of the bot start on Matrix.
user_prefix = "xmpp_"
bot = "xmppbot"
"##;

/// The keys.
pub const KEYS: &[&str] = &["homeserver", "server_name", "listen", "url", "as_token", "hs_token", "user_prefix", "bot"];

/// The section, checked.
#[derive(Clone)]
pub struct Config {
    /// The homeserver's base URL, without a slash at the end.
    pub homeserver: String,
    /// The homeserver's name.
    pub server_name: String,
    /// Where transactions are taken.
    pub listen: SocketAddr,
    /// How the homeserver reaches it.
    pub url: String,
    /// Our token.
    pub as_token: String,
    /// The homeserver's token.
    pub hs_token: String,
    /// How ghosts' localparts start.
    pub user_prefix: String,
    /// The bot's localpart.
    pub bot: String,
}

/// Reads the section.
pub fn read(raw: &toml::Table) -> Result<Config, ConfigErrors> {
    let mut errors = ConfigErrors::default();
    let mut text = |key: &str, default: Option<&str>| match (raw.get(key), default) {
        (Some(toml::Value::String(text)), _) if !text.is_empty() => text.clone(),
        (None, Some(default)) => default.to_owned(),
        (None, None) => {
            errors.add(key, "is missing");
            String::new()
        }
        _ => {
            errors.add(key, "must be text in quotes, and not empty");
            String::new()
        }
    };
    let homeserver = text("homeserver", None).trim_end_matches('/').to_owned();
    let server_name = text("server_name", None);
    let listen = text("listen", Some("127.0.0.1:29320"));
    let url = text("url", Some(&format!("http://{listen}")));
    let (as_token, hs_token) = (text("as_token", None), text("hs_token", None));
    let (user_prefix, bot) = (text("user_prefix", Some("xmpp_")), text("bot", Some("xmppbot")));
    if !homeserver.is_empty() && homeserver.parse::<http::Uri>().map_or(true, |uri| uri.host().is_none()) {
        errors.add("homeserver", "must be a URL such as \"http://127.0.0.1:8008\"");
    }
    let address = listen.parse().unwrap_or_else(|_| {
        errors.add("listen", "must be an address such as \"127.0.0.1:29320\"");
        SocketAddr::from(([127, 0, 0, 1], 0))
    });
    for (key, value) in [("user_prefix", &user_prefix), ("bot", &bot)] {
        if !value.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')) {
            errors.add(key, "may hold a-z, 0-9, dot, underscore and hyphen only");
        }
    }
    if errors.0.is_empty() {
        Ok(Config { homeserver, server_name, listen: address, url, as_token, hs_token, user_prefix, bot })
    } else {
        Err(errors)
    }
}
