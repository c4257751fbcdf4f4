//! Handing mail to the smarthost (RFC 5321 as a client).

mod client;

use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use self::client::Io;
use self::client::{Connection, Trouble};
use super::{address, status};
use crate::api::{Condition, Failure, Sentence};

/// How long a connection is kept for the next mail.
const IDLE: Duration = Duration::from_secs(20);

/// How many connections are kept.
const KEPT: usize = 4;

/// What is said where encryption is required and not offered.
const NOT_OFFERED: &str = "it offers no encryption, which is required";

/// Who sends our mail.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Smarthost {
    host: String,
    port: u16,
    tls: Tls,
    login: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Tls {
    #[default]
    WhenOffered,
    Required,
    FromTheStart,
}

impl std::fmt::Debug for Smarthost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} ({:?})", self.host, self.port, self.tls)
    }
}

impl Smarthost {
    /// Its name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Reads `smtp://[user:password@]host[:port][?tls=required]` or `smtps://…`.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = "must be written as \"smtp://host:25\" or \"smtps://user:password@host\"";
        let (scheme, rest) = url.split_once("://").ok_or(wrong)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => {
                let (user, password) = login.split_once(':').ok_or(wrong)?;
                (Some((decode(user), decode(password))), place)
            }
            None => (None, rest),
        };
        let place = place.trim_end_matches('/');
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') => (host, Some(port.parse::<u16>().map_err(|_| wrong)?)),
            _ => (place, None),
        };
        let tls = match (scheme, query) {
            ("smtp", "") => Tls::WhenOffered,
            ("smtp", "tls=required") => Tls::Required,
            ("smtps", "") => Tls::FromTheStart,
            _ => return Err(wrong.to_owned()),
        };
        if host.is_empty() {
            return Err(wrong.to_owned());
        }
        let port = port.unwrap_or(if tls == Tls::FromTheStart { 465 } else { 25 });
        let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if login.is_some() && tls == Tls::WhenOffered && !local {
            return Err("would send the password in the clear; add ?tls=required, or use smtps://".to_owned());
        }
        Ok(Self { host: host.to_owned(), port, tls, login })
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The way to the smarthost.
pub struct Sender {
    smarthost: Smarthost,
    hello: String,
    tls: Result<Arc<ClientConfig>, String>,
    idle: Mutex<Vec<(Instant, Connection)>>,
}

/// One mail on its way.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Where its bounces go; empty for a mail that must have none.
    pub from: &'a str,
    /// Who gets it.
    pub to: &'a str,
    /// A name for this sending (RFC 3461, section 4.4), which a report repeats.
    pub id: &'a str,
}

impl Sender {
    /// A sender that greets with our domain and trusts the certificates of the system.
    pub fn new(smarthost: Smarthost, domain: &str) -> Self {
        let tls = client_config(system_trust());
        Self { smarthost, hello: domain.to_owned(), tls, idle: Mutex::default() }
    }

    /// The same sender with other certificates to trust.
    #[cfg(test)]
    pub fn trusting(mut self, roots: RootCertStore) -> Self {
        self.tls = client_config(roots);
        self
    }

    /// Sends one mail to one person.
    pub async fn send(&self, envelope: Envelope<'_>, mail: &[u8]) -> Result<(), Failure> {
        // What is no address must not come near a command line; only the sender may be nobody.
        let bad = |address: &str| address::split(address).is_none();
        for address in [envelope.to, if envelope.from.is_empty() { envelope.to } else { envelope.from }] {
            if bad(address) {
                let sentence = Sentence::new("email.bad-address").with("typed", address);
                return Err(Failure::permanent(Condition::JidMalformed, sentence, "not an address"));
            }
        }
        let mut connection = self.connection().await?;
        let result = transaction(&mut connection, envelope, mail).await;
        if result.is_ok() || (connection.works() && connection.command("RSET").await.is_ok()) {
            self.keep(connection).await;
        }
        result
    }

    /// The largest mail that the smarthost takes, in bytes; `None` where it does not say (RFC 1870).
    ///
    /// # Errors
    /// `Temporary` where it cannot be asked.
    pub async fn size(&self) -> Result<Option<usize>, Failure> {
        let connection = self.connection().await?;
        let size = connection.extension("SIZE").and_then(|most| most.parse().ok()).filter(|most| *most > 0);
        self.keep(connection).await;
        Ok(size)
    }

    async fn connection(&self) -> Result<Connection, Failure> {
        loop {
            let kept = self.idle.lock().await.pop();
            match kept {
                Some((since, mut connection)) if since.elapsed() < IDLE => {
                    if connection.command("NOOP").await.is_ok() {
                        return Ok(connection);
                    }
                }
                Some(_) => {}
                None => break,
            }
        }
        let opened = match self.open(true).await {
            // Opportunistic encryption that does not work: once more without, on a new connection. Never with a password,
            // which only a loopback host may get in the clear; and never where somebody tried to put words inside.
            Err(Trouble::NotEncrypted(_)) if self.smarthost.tls == Tls::WhenOffered => self.open(false).await,
            result => result,
        };
        opened.map_err(|trouble| Failure::temporary(format!("the smarthost: {}", words(&trouble))))
    }

    async fn open(&self, encrypt: bool) -> Result<Connection, Trouble> {
        let config = || self.tls.clone().map_err(Trouble::Broken);
        let host = self.smarthost.host.as_str();
        let from_the_start = if self.smarthost.tls == Tls::FromTheStart { Some(config()?) } else { None };
        let mut connection = Connection::open(host, self.smarthost.port, from_the_start).await?;
        connection.hello(&self.hello).await?;
        let offered = connection.extension("STARTTLS").is_some();
        let upgrade = match self.smarthost.tls {
            Tls::WhenOffered => encrypt && offered,
            Tls::Required if !offered => {
                return Err(Trouble::Broken(NOT_OFFERED.to_owned()));
            }
            Tls::Required => true,
            Tls::FromTheStart => false,
        };
        if upgrade {
            connection = connection.starttls(host, config()?).await?;
            connection.hello(&self.hello).await?;
        }
        if let Some((user, password)) = &self.smarthost.login {
            connection.log_in(user, password).await?;
        }
        Ok(connection)
    }

    /// Connects as for a mail of `from` to somebody outside, asks whether it would be taken, and says goodbye without sending
    /// any; whether it was encrypted.
    ///
    /// # Errors
    /// What an administrator can mend.
    pub async fn probe(&self, from: &str) -> Result<bool, Fault> {
        let mut encrypted = true;
        let opened = match self.open(true).await {
            Err(Trouble::NotEncrypted(_)) if self.smarthost.tls == Tls::WhenOffered => {
                encrypted = false;
                self.open(false).await
            }
            result => result,
        };
        let mut connection = opened.map_err(|trouble| Fault::of(&trouble))?;
        encrypted &= connection.encrypted();
        let taken = relays(&mut connection, from).await;
        let _ = connection.command("QUIT").await;
        taken.map(|()| encrypted)
    }

    async fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().await;
        if idle.len() < KEPT {
            idle.push((Instant::now(), connection));
        }
    }
}

/// Whether it takes mail for others from us. Mail servers say so of recipients, and not when somebody connects. What else
/// they have against this recipient, whom nobody knows, is no fault.
async fn relays(connection: &mut Connection, from: &str) -> Result<(), Fault> {
    if let Err(trouble @ Trouble::Refused(_)) = connection.command(&format!("MAIL FROM:<{from}>")).await {
        return Err(Fault::of(&trouble));
    }
    let Err(Trouble::Refused(reply)) = connection.command("RCPT TO:<portway-doctor@example.com>").await else {
        return Ok(());
    };
    let text = reply.text();
    let policy = |code: &str| text.split(' ').nth(1).is_some_and(|word| word.starts_with(code));
    match reply.code {
        530 => Err(Fault::Login(text)),
        // RFC 3463, section 3.8; Postfix says 454 where it is told to be careful.
        454 if policy("4.7.") => Err(Fault::Refused(text)),
        550..=554 if policy("5.7.") || text.to_ascii_lowercase().contains("relay") => Err(Fault::Refused(text)),
        _ => Ok(()),
    }
}

/// Why the smarthost cannot be used, as far as somebody can mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nobody answers, or not as a mail server does.
    Unreachable(String),
    /// Encryption is required and not offered.
    NotOffered,
    /// Encryption is offered and does not come about.
    NotEncrypted(String),
    /// The login is not taken.
    Login(String),
    /// It does not want us.
    Refused(String),
}

impl Fault {
    fn of(trouble: &Trouble) -> Self {
        let text = words(trouble);
        match trouble {
            Trouble::Refused(reply) if matches!(reply.code, 454 | 504 | 530..=538) => Self::Login(text),
            Trouble::Refused(_) => Self::Refused(text),
            Trouble::Broken(text) if text == NOT_OFFERED => Self::NotOffered,
            Trouble::Broken(text) if text == client::NO_LOGIN => Self::Login(text.clone()),
            Trouble::Broken(_) => Self::Unreachable(text),
            Trouble::NotEncrypted(_) | Trouble::Injected => Self::NotEncrypted(text),
        }
    }
}

/// One mail over a connection.
async fn transaction(connection: &mut Connection, envelope: Envelope<'_>, mail: &[u8]) -> Result<(), Failure> {
    let Envelope { from, to, id } = envelope;
    let mut sender = format!("MAIL FROM:<{from}>");
    let mut recipient = format!("RCPT TO:<{to}>");
    let international = !from.is_ascii() || !to.is_ascii();
    if international {
        if connection.extension("SMTPUTF8").is_none() {
            let sentence = Sentence::new("email.no-utf8").with("person", to);
            return Err(Failure::permanent(Condition::NotAcceptable, sentence, "the smarthost has no SMTPUTF8"));
        }
        sender.push_str(" SMTPUTF8");
    }
    if !mail.is_ascii() && connection.extension("8BITMIME").is_some() {
        sender.push_str(" BODY=8BITMIME");
    }
    if let Some(most) = connection.extension("SIZE") {
        if most.parse::<usize>().is_ok_and(|most| most > 0 && most < mail.len()) {
            let sentence = Sentence::new("email.too-big").with("person", to);
            return Err(Failure::permanent(Condition::NotAcceptable, sentence, "over the SIZE of the smarthost"));
        }
        sender.push_str(&format!(" SIZE={}", mail.len()));
    }
    if connection.extension("DSN").is_some() {
        sender.push_str(&format!(" RET=HDRS ENVID={}", xtext(id)));
        // A report about a report would go round in circles.
        recipient.push_str(if from.is_empty() { " NOTIFY=NEVER" } else { " NOTIFY=FAILURE,DELAY" });
        if !international {
            recipient.push_str(&format!(" ORCPT=rfc822;{}", xtext(to)));
        }
    }
    let failed = |trouble: Trouble| failure(&trouble, to);
    connection.command(&sender).await.map_err(failed)?;
    connection.command(&recipient).await.map_err(failed)?;
    connection.data(mail).await.map_err(failed)?;
    Ok(())
}

/// A value for a parameter (RFC 3461, section 4).
fn xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'+' && byte != b'=' => out.push(char::from(byte)),
            byte => out.push_str(&format!("+{byte:02X}")),
        }
    }
    out
}

/// The certificates that the system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` are respected).
fn system_trust() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn client_config(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

fn words(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Refused(reply) => reply.text(),
        Trouble::Broken(text) => text.clone(),
        Trouble::NotEncrypted(text) => format!("no encryption: {text}"),
        Trouble::Injected => "it speaks before the encryption has begun".to_owned(),
    }
}

/// What an answer means: only its number counts.
fn failure(trouble: &Trouble, person: &str) -> Failure {
    let text = words(trouble);
    match trouble {
        Trouble::Refused(reply) if reply.code >= 500 => {
            let (condition, sentence) = status::meaning(reply.code, &text, person);
            Failure::permanent(condition, sentence, text)
        }
        _ => Failure::temporary(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_hold_no_line_ends() {
        assert_eq!(xtext("a+b=c d\r\n\u{e9}"), "a+2Bb+3Dc+20d+0D+0A+C3+A9");
    }

    #[test]
    fn urls() {
        let parse = |url: &str| {
            Smarthost::parse(url).map(|smarthost| (smarthost.host, smarthost.port, smarthost.tls, smarthost.login))
        };
        assert_eq!(parse("smtp://127.0.0.1:25"), Ok(("127.0.0.1".into(), 25, Tls::WhenOffered, None)));
        assert_eq!(parse("smtp://mx"), Ok(("mx".into(), 25, Tls::WhenOffered, None)));
        assert_eq!(
            parse("smtps://u%40x:p%3aw@mx"),
            Ok(("mx".into(), 465, Tls::FromTheStart, Some(("u@x".into(), "p:w".into()))))
        );
        assert_eq!(parse("smtp://u:p@mx:587?tls=required").unwrap().2, Tls::Required);
        for bad in
            ["", "mx", "http://mx", "smtp://", "smtp://mx:x", "smtp://u@mx", "smtp://mx?tls=maybe", "smtp://u:p@mx"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(!format!("{:?}", Smarthost::parse("smtps://u:hush@mx").unwrap()).contains("hush"));
    }
}
