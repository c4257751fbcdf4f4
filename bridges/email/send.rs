//! Handing mail to the smarthost (RFC 5321 as a client).

use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::status;
use crate::api::{Condition, Failure, Sentence};

/// How long one command may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a whole mail may take: the peer may think for long after the final dot (RFC 5321, section 4.5.3.2.6).
const LONGEST: Duration = Duration::from_secs(600);

/// How long a connection is kept for the next mail.
const IDLE: Duration = Duration::from_secs(20);

/// How many connections are kept.
const KEPT: usize = 4;

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
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut n = 0;
    while n < bytes.len() {
        let pair = bytes.get(n + 1..n + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if bytes[n] == b'%' => {
                out.push(byte);
                n += 3;
            }
            _ => {
                out.push(bytes[n]);
                n += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The way to the smarthost.
pub struct Sender {
    smarthost: Smarthost,
    hello: ClientId,
    idle: Mutex<Vec<(Instant, AsyncSmtpConnection)>>,
}

type SmtpError = lettre::transport::smtp::Error;

impl Sender {
    /// A sender that greets with our domain.
    pub fn new(smarthost: Smarthost, domain: &str) -> Self {
        // Where a provider is chosen already, that one stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { smarthost, hello: ClientId::Domain(domain.to_owned()), idle: Mutex::default() }
    }

    /// Sends one mail to one person.
    pub async fn send(&self, envelope_from: &str, to: &str, mail: &[u8]) -> Result<(), Failure> {
        let parse = |text: &str| {
            text.parse::<Address>().map_err(|error| {
                let sentence = Sentence::new("email.bad-address").with("typed", text);
                Failure::permanent(Condition::JidMalformed, sentence, error.to_string())
            })
        };
        let (from, recipient) = (parse(envelope_from)?, parse(to)?);
        let slow = |_| Failure::temporary("the smarthost takes too long");
        let mut connection = tokio::time::timeout(TIMEOUT, self.connection()).await.map_err(slow)??;
        // A connection that hung is dropped with its answer on its way; the next one starts clean.
        let transaction = Self::transaction(&mut connection, from, recipient, mail, to);
        let result = tokio::time::timeout(LONGEST, transaction).await.map_err(slow)?;
        match result {
            Ok(()) => self.keep(connection).await,
            Err(_) if connection.has_broken() => {}
            // The recipient was refused; the connection is still good.
            Err(_) if connection.command(lettre::transport::smtp::commands::Rset).await.is_ok() => {
                self.keep(connection).await;
            }
            Err(_) => {}
        }
        result
    }

    async fn transaction(
        connection: &mut AsyncSmtpConnection,
        from: Address,
        to: Address,
        mail: &[u8],
        person: &str,
    ) -> Result<(), Failure> {
        let mut parameters = Vec::new();
        let server = connection.server_info();
        if !to.to_string().is_ascii() {
            if !server.supports_feature(Extension::SmtpUtfEight) {
                let sentence = Sentence::new("email.no-utf8").with("person", person);
                return Err(Failure::permanent(Condition::NotAcceptable, sentence, "the smarthost has no SMTPUTF8"));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if server.supports_feature(Extension::EightBitMime) {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let failed = |error: SmtpError| failure(&error, person);
        connection.command(Mail::new(Some(from), parameters)).await.map_err(failed)?;
        connection.command(Rcpt::new(to, Vec::new())).await.map_err(failed)?;
        connection.command(Data).await.map_err(failed)?;
        // The answer after the final dot is the one that counts.
        connection.message(mail).await.map_err(failed)?;
        Ok(())
    }

    async fn connection(&self) -> Result<AsyncSmtpConnection, Failure> {
        loop {
            let kept = self.idle.lock().await.pop();
            match kept {
                Some((since, mut connection)) if since.elapsed() < IDLE => {
                    if connection.test_connected().await {
                        return Ok(connection);
                    }
                }
                Some(_) => {}
                None => break,
            }
        }
        let failed = |error: SmtpError| Failure::temporary(format!("the smarthost: {}", words(&error)));
        match self.open(true).await {
            // Opportunistic encryption that does not work shows itself in several ways: once more without, on a new
            // connection. Never with a password, which only a loopback host may get in the clear.
            Err(_) if self.smarthost.tls == Tls::WhenOffered => self.open(false).await,
            result => result,
        }
        .map_err(failed)
    }

    async fn open(&self, encrypt: bool) -> Result<AsyncSmtpConnection, SmtpError> {
        let place = (self.smarthost.host.as_str(), self.smarthost.port);
        let parameters = || TlsParameters::new_rustls(self.smarthost.host.clone());
        let from_the_start = if self.smarthost.tls == Tls::FromTheStart { Some(parameters()?) } else { None };
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(place, Some(TIMEOUT), &self.hello, from_the_start, None).await?;
        let upgrade = match self.smarthost.tls {
            Tls::WhenOffered => encrypt && connection.can_starttls(),
            Tls::Required => true,
            Tls::FromTheStart => false,
        };
        if upgrade {
            connection.starttls(parameters()?, &self.hello).await?;
        }
        if let Some((user, password)) = &self.smarthost.login {
            let credentials = Credentials::new(user.clone(), password.clone());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
        }
        Ok(connection)
    }

    async fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().await;
        if idle.len() < KEPT {
            idle.push((Instant::now(), connection));
        }
    }
}

/// An error with the server's own words.
fn words(error: &SmtpError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What an answer means: only its number counts.
fn failure(error: &SmtpError, person: &str) -> Failure {
    let text = words(error);
    if !error.is_permanent() {
        return Failure::temporary(text);
    }
    let code = error.status().map_or(550, |code| code.to_string().parse().unwrap_or(550));
    let (condition, sentence) = status::meaning(code, &text, person);
    Failure::permanent(condition, sentence, text)
}

#[cfg(test)]
mod tests {
    use super::*;

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
