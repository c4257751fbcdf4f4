//! One connection to a mail server, as a client (RFC 5321): commands and their numbered answers.
//!
//! Its own, because lettre's connection keeps what a server sent in the clear before the TLS handshake and takes it for
//! an answer given inside (RFC 3207, section 5), and names no extension but four (RFC 3461 is not among them).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long one command may take (RFC 5321, section 4.5.3.2 asks for five minutes).
const TIMEOUT: Duration = Duration::from_secs(300);

/// How long a connection and a handshake may take.
const CONNECT: Duration = Duration::from_secs(60);

/// How long the peer may think after the final dot (RFC 5321, section 4.5.3.2.6).
const FINAL: Duration = Duration::from_secs(600);

/// The longest answer in bytes, all its lines together.
const LONGEST: usize = 64 << 10;

/// What is said where there is no way to log in.
pub const NO_LOGIN: &str = "the server offers no way to log in that we know";

/// What a connection runs over.
pub trait Io: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Io for T {}

/// An answer of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its number; only this counts for whether something worked.
    pub code: u16,
    /// The words of all its lines.
    pub lines: Vec<String>,
}

impl Reply {
    /// The words in one line, with the number.
    pub fn text(&self) -> String {
        format!("{} {}", self.code, self.lines.join(" "))
    }
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The server said no, with a number from 400 to 599; the connection still works unless it was 421.
    Refused(Reply),
    /// The connection does not work, or the peer speaks no SMTP.
    Broken(String),
    /// The server offered encryption, and it did not come about.
    NotEncrypted(String),
    /// The server, or somebody between, put words in front of the encryption.
    Injected,
}

/// A connection.
pub struct Connection {
    stream: Box<dyn Io>,
    buffer: Vec<u8>,
    extensions: Vec<String>,
    broken: bool,
    encrypted: bool,
}

impl Connection {
    /// Connects, encrypted from the start where `tls` is given, and reads the greeting.
    pub async fn open(host: &str, port: u16, tls: Option<Arc<ClientConfig>>) -> Result<Self, Trouble> {
        let connect = TcpStream::connect((host, port));
        let stream = timeout(CONNECT, connect).await.map_err(|_| slow())?.map_err(|error| broken(&error))?;
        let _ = stream.set_nodelay(true);
        let encrypted = tls.is_some();
        let stream: Box<dyn Io> = match tls {
            Some(config) => handshake(Box::new(stream), host, config).await?,
            None => Box::new(stream),
        };
        let mut connection = Self { stream, buffer: Vec::new(), extensions: Vec::new(), broken: false, encrypted };
        match connection.answer(TIMEOUT).await? {
            Reply { code: 220, .. } => Ok(connection),
            reply => Err(refused(reply)),
        }
    }

    /// Introduces ourselves and learns what the server can do; with HELO where it knows no EHLO.
    pub async fn hello(&mut self, name: &str) -> Result<(), Trouble> {
        match self.command(&format!("EHLO {name}")).await {
            Ok(reply) => {
                self.extensions = reply.lines.into_iter().skip(1).map(|line| line.to_ascii_uppercase()).collect();
                Ok(())
            }
            Err(Trouble::Refused(reply)) if reply.code >= 500 => {
                self.extensions.clear();
                self.command(&format!("HELO {name}")).await.map(|_| ())
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// What the server said of an extension: its parameters, where it has the extension.
    pub fn extension(&self, keyword: &str) -> Option<&str> {
        self.extensions.iter().find_map(|line| {
            let (word, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
            (word == keyword).then_some(rest.trim())
        })
    }

    /// Encrypts the connection; the caller introduces itself again.
    ///
    /// # Errors
    /// [`Trouble::Injected`] where there are words behind the answer: they were said in the clear, and are taken for
    /// nothing.
    pub async fn starttls(mut self, host: &str, config: Arc<ClientConfig>) -> Result<Self, Trouble> {
        let not_encrypted = |trouble| match trouble {
            Trouble::Refused(reply) => Trouble::NotEncrypted(reply.text()),
            Trouble::Broken(text) => Trouble::NotEncrypted(text),
            other => other,
        };
        self.command("STARTTLS").await.map_err(not_encrypted)?;
        if !self.buffer.is_empty() {
            return Err(Trouble::Injected);
        }
        let stream = handshake(self.stream, host, config).await.map_err(not_encrypted)?;
        Ok(Self { stream, buffer: Vec::new(), extensions: Vec::new(), broken: false, encrypted: true })
    }

    /// Logs in (RFC 4954) by PLAIN, or LOGIN where there is nothing else.
    pub async fn log_in(&mut self, user: &str, password: &str) -> Result<(), Trouble> {
        let offered = self.extension("AUTH").unwrap_or_default().to_owned();
        let offers = |mechanism: &str| offered.split_whitespace().any(|word| word == mechanism);
        if offers("PLAIN") {
            let secret = STANDARD.encode(format!("\0{user}\0{password}"));
            self.command(&format!("AUTH PLAIN {secret}")).await.map(|_| ())
        } else if offers("LOGIN") {
            for line in ["AUTH LOGIN".to_owned(), STANDARD.encode(user)] {
                self.ask(&line, TIMEOUT, 3).await?;
            }
            self.command(&STANDARD.encode(password)).await.map(|_| ())
        } else {
            Err(Trouble::Broken(NO_LOGIN.to_owned()))
        }
    }

    /// One command, and its answer with a number from 200 to 299.
    pub async fn command(&mut self, line: &str) -> Result<Reply, Trouble> {
        self.ask(line, TIMEOUT, 2).await
    }

    /// Hands over a mail; its answer after the final dot is the one that counts.
    pub async fn data(&mut self, mail: &[u8]) -> Result<Reply, Trouble> {
        self.ask("DATA", TIMEOUT, 3).await?;
        // Until that answer, nobody can know what the server made of it.
        self.broken = true;
        self.write(&wire(mail)).await?;
        let reply = self.answer(FINAL).await?;
        self.broken = reply.code == 421;
        if reply.code / 100 == 2 { Ok(reply) } else { Err(self.failed(reply)) }
    }

    /// Whether what is said is encrypted.
    pub fn encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether the connection can carry another mail.
    pub fn works(&self) -> bool {
        !self.broken
    }

    async fn ask(&mut self, line: &str, patience: Duration, class: u16) -> Result<Reply, Trouble> {
        if !self.buffer.is_empty() {
            self.broken = true;
            return Err(Trouble::Broken("the server answers before it is asked".to_owned()));
        }
        debug_assert!(!line.contains(['\r', '\n']), "a command is one line");
        self.write(format!("{line}\r\n").as_bytes()).await?;
        let reply = self.answer(patience).await?;
        if reply.code / 100 == class { Ok(reply) } else { Err(self.failed(reply)) }
    }

    fn failed(&mut self, reply: Reply) -> Trouble {
        let trouble = refused(reply);
        self.broken |= !matches!(&trouble, Trouble::Refused(reply) if reply.code != 421);
        trouble
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let written = timeout(FINAL, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        let result = written.await.map_err(|_| slow()).and_then(|result| result.map_err(|error| broken(&error)));
        self.broken |= result.is_err();
        result
    }

    /// Reads one answer, of one line or more.
    async fn answer(&mut self, patience: Duration) -> Result<Reply, Trouble> {
        let result = timeout(patience, self.read()).await.unwrap_or_else(|_| Err(slow()));
        self.broken |= result.is_err();
        result
    }

    async fn read(&mut self) -> Result<Reply, Trouble> {
        let mut lines = Vec::new();
        let mut size = 0;
        loop {
            let line = loop {
                if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                    break self.buffer.drain(..=end).collect::<Vec<u8>>();
                }
                if self.buffer.len() > LONGEST {
                    return Err(Trouble::Broken("the server's answer does not end".to_owned()));
                }
                let mut chunk = [0u8; 4096];
                match self.stream.read(&mut chunk).await {
                    Ok(0) => return Err(Trouble::Broken("the server hung up".to_owned())),
                    Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                    Err(error) => return Err(broken(&error)),
                }
            };
            size += line.len();
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            let code = text.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
            let code: Option<u16> = code.and_then(|code| code.parse().ok()).filter(|code| (200..600).contains(code));
            let more = match text.as_bytes().get(3) {
                None | Some(b' ') => false,
                Some(b'-') => true,
                Some(_) => return Err(Trouble::Broken("that is no answer of a mail server".to_owned())),
            };
            let Some(code) = code else {
                return Err(Trouble::Broken("that is no answer of a mail server".to_owned()));
            };
            lines.push(text.get(4..).unwrap_or_default().to_owned());
            if !more {
                return Ok(Reply { code, lines });
            }
            if size > LONGEST {
                return Err(Trouble::Broken("the server's answer does not end".to_owned()));
            }
        }
    }
}

/// A mail as it travels: lines end with CR LF, a dot at the start of a line is doubled, and the final dot follows.
fn wire(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + mail.len() / 32 + 8);
    let mut start = true;
    let mut bytes = mail.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' | b'\n' => {
                if byte == b'\r' {
                    bytes.next_if_eq(&b'\n');
                }
                out.extend_from_slice(b"\r\n");
                start = true;
            }
            byte => {
                if start && byte == b'.' {
                    out.push(b'.');
                }
                out.push(byte);
                start = false;
            }
        }
    }
    out.extend_from_slice(if start { b".\r\n" } else { b"\r\n.\r\n" });
    out
}

async fn handshake(stream: Box<dyn Io>, host: &str, config: Arc<ClientConfig>) -> Result<Box<dyn Io>, Trouble> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| Trouble::Broken(error.to_string()))?;
    let connect = TlsConnector::from(config).connect(name, stream);
    let stream = timeout(CONNECT, connect).await.map_err(|_| slow())?.map_err(|error| broken(&error))?;
    Ok(Box::new(stream))
}

fn refused(reply: Reply) -> Trouble {
    match reply.code {
        400..600 => Trouble::Refused(reply),
        _ => Trouble::Broken(format!("an answer that was not asked for: {}", reply.text())),
    }
}

fn slow() -> Trouble {
    Trouble::Broken("the server takes too long".to_owned())
}

fn broken(error: &std::io::Error) -> Trouble {
    Trouble::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_on_the_wire() {
        for (mail, sent) in [
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            ("", ".\r\n"),
            (".\r\n..a\nb\r.\r", "..\r\n...a\r\nb\r\n..\r\n.\r\n"),
            ("a\n.\nMAIL", "a\r\n..\r\nMAIL\r\n.\r\n"),
        ] {
            assert_eq!(String::from_utf8(wire(mail.as_bytes())).unwrap(), sent, "{mail:?}");
        }
    }
}
