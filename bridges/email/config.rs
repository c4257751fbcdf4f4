//! The section `[network.email]`.

use std::net::SocketAddr;
use std::time::Duration;

use super::send::Smarthost;
use crate::api::ConfigErrors;

/// The example, as TOML.
pub const EXAMPLE: &str = r#"# The domain of our users' mail addresses.
domain = "mail.example.org"
# Where mail arrives: lmtp:// behind a mail server of yours, or smtp:// directly.
listen = "lmtp://127.0.0.1:2424"
# Who sends our mail: smtp:// (STARTTLS when offered; ?tls=required) or smtps://, user:password@ allowed.
smarthost = "smtp://127.0.0.1:25"
# Lines written within this silence travel as one mail; "0s" turns it off.
batch = "45s"
# The largest mail that is taken.
# max_size = "25MiB"
# How soon a mail that was refused for now is tried again the first time.
# retry_first = "1m"
"#;

/// The keys.
pub const KEYS: &[&str] = &["domain", "listen", "smarthost", "batch", "max_size", "retry_first"];

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
    pub listen: SocketAddr,
    /// Who sends our mail.
    pub smarthost: Smarthost,
    /// How long lines wait for one another.
    pub batch: Duration,
    /// The largest mail in bytes.
    pub max_size: usize,
    /// The first wait after a temporary failure.
    pub retry_first: Duration,
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
    if domain.contains(['@', ' ', '/']) || (!domain.is_empty() && !domain.contains('.')) {
        errors.add("domain", "must be a domain such as \"mail.example.org\"");
    }
    let (face, address) = match listen.split_once("://") {
        Some(("lmtp", address)) => (Face::Lmtp, address),
        Some(("smtp", address)) => (Face::Smtp, address),
        _ => (Face::Lmtp, ""),
    };
    let address = address.parse().unwrap_or_else(|_| {
        errors.add("listen", "must be written as \"lmtp://127.0.0.1:2424\" or \"smtp://0.0.0.0:25\"");
        SocketAddr::from(([127, 0, 0, 1], 0))
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
    let max_size = size_of(&size).unwrap_or_else(|| {
        errors.add("max_size", "must be a size such as \"25MiB\"");
        0
    });
    if errors.0.is_empty() {
        Ok(Config { domain, face, listen: address, smarthost, batch, max_size, retry_first })
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
