//! The application service's registration, as the homeserver's admin installs it.

use super::config::Config;

/// The registration as YAML. Every value is quoted as JSON, which YAML is a superset of.
pub fn yaml(config: &Config) -> String {
    let quoted = |text: &str| serde_json::Value::String(text.to_owned()).to_string();
    let server = regex(&config.server_name);
    let users = format!("@{}.*:{server}", regex(&config.user_prefix));
    let bot = format!("@{}:{server}", regex(&config.bot));
    let aliases = format!("#{}.*:{server}", regex(&config.user_prefix));
    format!(
        "# Portway's registration. It holds secrets: let only the homeserver read it.\n\
         id: \"portway\"\nurl: {}\nas_token: {}\nhs_token: {}\nsender_localpart: {}\nrate_limited: false\n\
         receive_ephemeral: true\nde.sorunome.msc2409.push_ephemeral: true\n\
         namespaces:\n  users:\n    - exclusive: true\n      regex: {}\n    - exclusive: true\n      regex: {}\n  \
         aliases:\n    - exclusive: true\n      regex: {}\n  rooms: []\n",
        quoted(&config.url),
        quoted(&config.as_token),
        quoted(&config.hs_token),
        quoted(&config.bot),
        quoted(&users),
        quoted(&bot),
        quoted(&aliases)
    )
}

/// The text as a regular expression that matches just it.
fn regex(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 4);
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | ':') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_what_homeservers_read() {
        let raw = toml::from_str(super::super::config::EXAMPLE).unwrap();
        let yaml = super::yaml(&super::super::config::read(&raw).unwrap());
        for line in [
            "url: \"http://127.0.0.1:29320\"",
            "as_token: \"change me\"",
            "sender_localpart: \"xmppbot\"",
            "      regex: \"@xmpp_.*:example\\\\.org\"",
            "receive_ephemeral: true",
        ] {
            assert!(yaml.lines().any(|found| found == line), "{line} is missing in\n{yaml}");
        }
    }
}
