//! The section `[network.email]`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::send::Smarthost;
use crate::api::ConfigErrors;

/// The example, as TOML.
pub const EXAMPLE: &str = r#"# The domain of our users' mail addresses.
domain = "mail.example.org"
# Where mail arrives: lmtp:// behind a mail server of yours (lmtp:///run/portway/lmtp.sock for a socket), or smtp://
# directly from everywhere.
listen = "lmtp://127.0.0.1:2424"
# Who sends our mail: smtp:// (STARTTLS when offered; ?tls=required) or smtps://, user:password@ allowed.
smarthost = "smtp://127.0.0.1:25"
# Lines written within this silence travel as one mail; "0s" turns it off.
batch = "45s"
# The largest mail that is taken.
# max_size = "25MiB"
# The largest files that travel in a mail of ours, together; larger ones go as links.
# attach_max = "18MiB"
# How many mails one user may get within a minute; more have to wait.
# max_rate = 100
# How soon a mail that was refused for now is tried again the first time.
# retry_first = "1m"
# lmtp:// only: the name by which your mail server signs its Authentication-Results. Without it no such field is believed.
# authserv_id = "mx.example.org"
# smtp:// only: certificate chain and key (PEM files) for STARTTLS.
# tls_cert = "/etc/portway/mail.pem"
# tls_key = "/etc/portway/mail.key"
# Sign our mail (DKIM) with this key (PEM file, RSA or Ed25519) under this selector.
# dkim_selector = "portway"
# dkim_key_file = "/etc/portway/dkim.key"
# Whether mails name the XMPP address of their writer (the field Jabber-ID).
# jabber_id = true
"#;

/// The keys.
pub const KEYS: &[&str] = &[
    "domain",
    "listen",
    "smarthost",
    "batch",
    "max_size",
    "attach_max",
    "max_rate",
    "retry_first",
    "authserv_id",
    "tls_cert",
    "tls_key",
    "dkim_selector",
    "dkim_key_file",
    "jabber_id",
];

/// A place to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Which protocol mail arrives by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// RFC 2033: one answer for each recipient.
    Lmtp,
    /// RFC 5321.
    Smtp,
}

/// The section, checked.
#[derive(Clone)]
pub struct Config {
    /// The domain of our users' addresses, in lower case.
    pub domain: String,
    /// How mail arrives.
    pub face: Face,
    /// Where.
    pub listen: Place,
    /// Who sends our mail.
    pub smarthost: Smarthost,
    /// How long lines wait for one another.
    pub batch: Duration,
    /// The largest mail in bytes.
    pub max_size: usize,
    /// The most bytes of files in one mail of ours.
    pub attach_max: usize,
    /// The most mails for one user within a minute.
    pub max_rate: u32,
    /// The first wait after a temporary failure.
    pub retry_first: Duration,
    /// Whose `Authentication-Results` are believed.
    pub authserv_id: Option<String>,
    /// The files of certificate chain and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The selector and the file of the key that signs our mail.
    pub dkim: Option<(String, PathBuf)>,
    /// Whether mails name the XMPP address of their writer.
    pub jabber_id: bool,
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
    let domain = text("domain", None).to_lowercase();
    let listen = text("listen", Some("lmtp://127.0.0.1:2424"));
    let smarthost = text("smarthost", Some("smtp://127.0.0.1:25"));
    let (batch, size, first) =
        (text("batch", Some("45s")), text("max_size", Some("25MiB")), text("retry_first", Some("1m")));
    let attach = text("attach_max", Some("18MiB"));
    if domain.contains(['@', ' ', '/']) || (!domain.is_empty() && !domain.contains('.')) {
        errors.add("domain", "must be a domain such as \"mail.example.org\"");
    }
    let (face, place) = match listen.split_once("://") {
        Some(("lmtp", path)) if path.starts_with('/') && path.len() > 1 => (Face::Lmtp, Some(Place::Unix(path.into()))),
        Some(("lmtp", address)) => (Face::Lmtp, address.parse().ok().map(Place::Tcp)),
        Some(("smtp", address)) => (Face::Smtp, address.parse().ok().map(Place::Tcp)),
        _ => (Face::Lmtp, None),
    };
    let place = place.unwrap_or_else(|| {
        let forms = "\"lmtp://127.0.0.1:2424\", \"lmtp:///run/portway/lmtp.sock\" or \"smtp://0.0.0.0:25\"";
        errors.add("listen", format!("must be written as {forms}"));
        Place::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
    });
    let smarthost = Smarthost::parse(&smarthost).unwrap_or_else(|error| {
        errors.add("smarthost", error);
        Smarthost::default()
    });
    let mut span = |key: &str, text: &str| {
        duration(text).unwrap_or_else(|| {
            errors.add(key, "must be a duration such as \"45s\"");
            Duration::ZERO
        })
    };
    let (batch, retry_first) = (span("batch", &batch), span("retry_first", &first));
    let attach_max = size_of(&attach).unwrap_or_else(|| {
        errors.add("attach_max", "must be a size such as \"18MiB\"");
        0
    });
    let max_size = size_of(&size).unwrap_or_else(|| {
        errors.add("max_size", "must be a size such as \"25MiB\"");
        0
    });
    // From the environment every value is text.
    let max_rate = match raw.get("max_rate") {
        None => Some(100),
        Some(toml::Value::Integer(number)) => u32::try_from(*number).ok(),
        Some(toml::Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    let max_rate = max_rate.filter(|rate| *rate > 0).unwrap_or_else(|| {
        errors.add("max_rate", "must be a number above 0");
        0
    });
    let jabber_id = match raw.get("jabber_id") {
        None => Some(true),
        Some(toml::Value::Boolean(yes)) => Some(*yes),
        Some(toml::Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    let jabber_id = jabber_id.unwrap_or_else(|| {
        errors.add("jabber_id", "must be true or false");
        false
    });
    let mut optional = |key: &str| match raw.get(key) {
        None => None,
        Some(toml::Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(_) => {
            errors.add(key, "must be text in quotes, and not empty");
            None
        }
    };
    let authserv_id = optional("authserv_id");
    let (cert, key) = (optional("tls_cert"), optional("tls_key"));
    let (selector, dkim_key) = (optional("dkim_selector"), optional("dkim_key_file"));
    let mut pair = |one: Option<String>, names: [&str; 2], other: Option<String>| match (one, other) {
        (Some(one), Some(other)) => Some((one, PathBuf::from(other))),
        (None, None) => None,
        (one, _) => {
            let [missing, given] = if one.is_none() { names } else { [names[1], names[0]] };
            errors.add(missing, format!("is missing, and {given} needs it"));
            None
        }
    };
    let tls = pair(cert, ["tls_cert", "tls_key"], key).map(|(cert, key)| (PathBuf::from(cert), key));
    let dkim = pair(selector, ["dkim_selector", "dkim_key_file"], dkim_key);
    if dkim.as_ref().is_some_and(|(name, _)| !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))) {
        errors.add("dkim_selector", "must be a name such as \"portway\"");
    }
    if tls.is_some() && face == Face::Lmtp {
        errors.add("tls_cert", "is for listen = \"smtp://…\" only");
    }
    if authserv_id.is_some() && face == Face::Smtp {
        errors.add("authserv_id", "is for listen = \"lmtp://…\" only: by SMTP the gateway looks for itself");
    }
    if errors.0.is_empty() {
        Ok(Config {
            domain,
            face,
            listen: place,
            smarthost,
            batch,
            max_size,
            attach_max,
            max_rate,
            retry_first,
            authserv_id,
            tls,
            dkim,
            jabber_id,
        })
    } else {
        Err(errors)
    }
}

fn duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..end].parse().ok()?;
    let millis = match text[end..].trim() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

fn size_of(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..end].parse().ok()?;
    let factor = match text[end..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(more: &str) -> Vec<String> {
        let text = format!("domain = \"mail.x\"\n{more}");
        match read(&toml::from_str(&text).unwrap()) {
            Ok(_) => Vec::new(),
            Err(ConfigErrors(faults)) => faults.into_iter().map(|(key, _)| key).collect(),
        }
    }

    #[test]
    fn faults_name_their_key() {
        for (more, keys) in [
            ("", &[][..]),
            ("listen = \"lmtp:///run/portway/lmtp.sock\"", &[]),
            ("listen = \"smtp://[::]:25\"\ntls_cert = \"c\"\ntls_key = \"k\"", &[]),
            ("listen = \"smtp:///run/x\"", &["listen"]),
            ("listen = \"lmtp:///\"", &["listen"]),
            ("listen = \"127.0.0.1:25\"", &["listen"]),
            ("listen = \"smtp://0.0.0.0:25\"\ntls_cert = \"c\"", &["tls_key"]),
            ("tls_cert = \"c\"\ntls_key = \"k\"", &["tls_cert"]),
            ("dkim_key_file = \"k\"", &["dkim_selector"]),
            ("dkim_selector = \"a b\"\ndkim_key_file = \"k\"", &["dkim_selector"]),
            ("listen = \"smtp://0.0.0.0:25\"\nauthserv_id = \"mx\"", &["authserv_id"]),
            ("max_rate = 0\njabber_id = \"perhaps\"", &["max_rate", "jabber_id"]),
            ("max_rate = \"7\"\njabber_id = \"false\"", &[]),
            ("batch = \"soon\"\nattach_max = \"all\"\nmax_size = \"big\"", &["batch", "attach_max", "max_size"]),
        ] {
            assert_eq!(faults(more), keys, "{more}");
        }
    }
}
