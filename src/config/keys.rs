//! The one table of keys. A key exists if and only if it has a row here, or a network names it in its descriptor.

/// One key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The section, without brackets. Sections of networks are `network`.
    pub section: &'static str,
    /// The key.
    pub name: &'static str,
    /// The default as TOML, or nothing where the key must be set or has no default.
    pub default: Option<&'static str>,
    /// An example as TOML, for the example file.
    pub example: &'static str,
    /// Whether the value is a secret, and so may be given as `<key>_file`.
    pub secret: bool,
    /// What it does: one sentence or two.
    pub doc: &'static str,
}

/// The keys, in the order of the example file.
pub const KEYS: &[Key] = &[
    Key {
        section: "gateway",
        name: "data_dir",
        default: Some("\"/var/lib/portway\""),
        example: "\"/var/lib/portway\"",
        secret: false,
        doc: "Where the gateway keeps its files. The user that runs it must be able to write there.",
    },
    Key {
        section: "gateway",
        name: "admins",
        default: Some("[]"),
        example: "[\"admin@example.org\"]",
        secret: false,
        doc: "Bare JIDs of the admins.",
    },
    Key {
        section: "gateway",
        name: "contact",
        default: Some("[]"),
        example: "[\"mailto:help@example.org\"]",
        secret: false,
        doc: "Where users get help besides the admins (XEP-0157): addresses that begin with mailto:, https: or xmpp:.",
    },
    Key {
        section: "gateway",
        name: "allow",
        default: Some("[]"),
        example: "[\"example.org\"]",
        secret: false,
        doc: "Bare JIDs and domains that may use the gateway. Empty: the parent domain of each component.",
    },
    Key {
        section: "gateway",
        name: "registration",
        default: Some("\"optional\""),
        example: "\"optional\"",
        secret: false,
        doc: "\"optional\": whoever may use the gateway may register, and need not. \"required\": they must before they write to anybody. \"closed\": nobody registers any more; whoever may use the gateway goes on without.",
    },
    Key {
        section: "xmpp",
        name: "host",
        default: Some("\"127.0.0.1\""),
        example: "\"127.0.0.1\"",
        secret: false,
        doc: "Where the XMPP server takes components: a host name or an address. On another machine, use tls.",
    },
    Key {
        section: "xmpp",
        name: "port",
        default: Some("5347"),
        example: "5347",
        secret: false,
        doc: "The port on which the XMPP server takes components: 5347 on Prosody, 5275 on Openfire, as configured on ejabberd.",
    },
    Key {
        section: "xmpp",
        name: "tls",
        default: Some("\"off\""),
        example: "\"off\"",
        secret: false,
        doc: "\"direct\": TLS from the first byte on, with a certificate that this system (or SSL_CERT_FILE, SSL_CERT_DIR) trusts: tls: true on ejabberd's listener, port 5276 on Openfire, a proxy in front of Prosody. \"off\": none; the secret would be readable on the way, so only on the same machine.",
    },
    Key {
        section: "xmpp",
        name: "tls_name",
        default: None,
        example: "\"xmpp.example.org\"",
        secret: false,
        doc: "The name that the server's certificate must have, where it is not host.",
    },
    Key {
        section: "xmpp",
        name: "server",
        default: None,
        example: "\"example.org\"",
        secret: false,
        doc: "The domain of the XMPP server itself, where it is not the parent domain of the component.",
    },
    Key {
        section: "store",
        name: "url",
        default: Some("\"sqlite:portway.db\""),
        example: "\"sqlite:portway.db\"",
        secret: false,
        doc: "The database, as sqlite:FILE; a relative path is below data_dir.",
    },
    Key {
        section: "http",
        name: "listen",
        default: Some("\"127.0.0.1:8090\""),
        example: "\"127.0.0.1:8090\"",
        secret: false,
        doc: "Where /live, /ready, /metrics, /doctor and /media are served.",
    },
    Key {
        section: "http",
        name: "public_url",
        default: Some("\"http://127.0.0.1:8090\""),
        example: "\"http://127.0.0.1:8090\"",
        secret: false,
        doc: "How users' clients reach /media on that listener: begins every URL of a file. An https:// URL, with a proxy in front that passes /media/ on; many clients fetch nothing else.",
    },
    Key {
        section: "media",
        name: "max_size",
        default: Some("\"100MiB\""),
        example: "\"100MiB\"",
        secret: false,
        doc: "The largest file, both directions.",
    },
    Key {
        section: "media",
        name: "fetch_allow",
        default: Some("[]"),
        example: "[]",
        secret: false,
        doc: "Hosts (\"upload.internal\") or networks (\"10.0.0.0/8\") that our fetches of users' uploads may reach although they are private; hosts of this list also without TLS and on any port.",
    },
    Key {
        section: "media",
        name: "cache",
        default: Some("\"1GiB\""),
        example: "\"1GiB\"",
        secret: false,
        doc: "How much disk below data_dir files of the networks may take; what was read longest ago goes first.",
    },
    Key {
        section: "media",
        name: "expiry",
        default: Some("\"30d\""),
        example: "\"30d\"",
        secret: false,
        doc: "How long the URL of a file holds, at least an hour.",
    },
    Key {
        section: "limits",
        name: "user_rate",
        default: Some("100"),
        example: "100",
        secret: false,
        doc: "Stanzas a second that one user may send to one network in the long run; more are refused with resource-constraint. 0: no limit.",
    },
    Key {
        section: "limits",
        name: "user_burst",
        default: Some("100000"),
        example: "100000",
        secret: false,
        doc: "Stanzas that one user may send at once after a time of quiet. Requests (IQs) have a budget of their own, as large as that of messages and presence, so that a flood of one does not stop the other.",
    },
    Key {
        section: "limits",
        name: "user_people",
        default: Some("200"),
        example: "200",
        secret: false,
        doc: "People on one network whom one user may write to within 24 hours without having written with them before; further ones are refused with resource-constraint. Whoever wrote first does not count. 0: no limit.",
    },
    Key {
        section: "network",
        name: "component",
        default: None,
        example: "\"{network}.example.org\"",
        secret: false,
        doc: "The domain of this network's component, as the XMPP server knows it.",
    },
    Key {
        section: "network",
        name: "secret",
        default: None,
        example: "\"change me\"",
        secret: true,
        doc: "The secret of this network's component, as the XMPP server knows it.",
    },
    Key {
        section: "network",
        name: "strangers",
        default: Some("\"deliver\""),
        example: "\"deliver\"",
        secret: false,
        doc: "What becomes of a message of somebody whom the user has never written to. \"deliver\": it is delivered. \"ask\": it is held, and the user asked. \"refuse\": it goes back. Users who have registered may choose for themselves, unless it is \"refuse\".",
    },
];

/// The keys of a section that are the gateway's own.
pub fn of(section: &str) -> impl Iterator<Item = &'static Key> {
    let section = if section.starts_with("network.") { "network" } else { section };
    KEYS.iter().filter(move |key| key.section == section)
}

/// The sections that are not networks.
pub const SECTIONS: &[&str] = &["gateway", "xmpp", "store", "http", "media", "limits"];

/// The nearest of some words to one that is not among them, if any is near enough to be meant.
#[must_use]
pub fn nearest<'a>(word: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    among
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replace = before + usize::from(ca != *cb);
            before = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_slips_are_recognised() {
        let words = ["data_dir", "admins", "allow", "host", "port"];
        assert_eq!(nearest("datadir", words), Some("data_dir"));
        assert_eq!(nearest("prot", words), Some("port"));
        assert_eq!(nearest("alow", words), Some("allow"));
        assert_eq!(nearest("colour", words), None);
    }
}
