//! One connection: commands and their answers.

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::data::{DataReader, Progress};
use super::deliver::{self, Mail, Verdict};
use super::envelope::path;
use crate::api::Core;
use crate::email::adapter::State;
use crate::email::address::{self, Recipient};
use crate::email::auth::Findings;
use crate::email::auth::check::Arrived;
use crate::email::auth::results;
use crate::email::config::Face;
use crate::email::send::Io;

/// The longest command in bytes.
const COMMAND: usize = 4096;

/// How many recipients one mail may have; RFC 5321 asks for 100 at least.
const RECIPIENTS: usize = 200;

/// After how many wrong commands a peer waits for each answer, and how long.
const SOFT: usize = 10;
const SLOW: Duration = Duration::from_secs(1);

/// How many wrong commands a peer may send.
const ERRORS: usize = 20;

/// How long a peer may be silent.
const SILENCE: Duration = Duration::from_secs(300);

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// The state of a mail that is being sent to us.
#[derive(Default)]
struct Transaction {
    from: Option<String>,
    to: Vec<(String, Recipient)>,
    /// For BDAT: what came so far.
    chunks: Vec<u8>,
    chunks_too_big: bool,
}

/// Serves a connection to its end. `peer` is the other side's address, where it has one.
pub async fn run(stream: Box<dyn Io>, peer: Option<IpAddr>, state: &State, core: &Core) {
    let mut session = Session {
        stream,
        buffer: Vec::new(),
        peer,
        state,
        core,
        helo: None,
        encrypted: false,
        transaction: Transaction::default(),
        errors: 0,
    };
    let face = if session.lmtp() { "LMTP" } else { "ESMTP" };
    if session.say(&format!("220 {} {face} Portway", state.config.domain)).await.is_none() {
        return;
    }
    while session.step().await.is_some() {}
}

struct Session<'a> {
    stream: Box<dyn Io>,
    buffer: Vec<u8>,
    peer: Option<IpAddr>,
    state: &'a State,
    core: &'a Core,
    /// What the peer calls itself, once it has.
    helo: Option<String>,
    encrypted: bool,
    transaction: Transaction,
    errors: usize,
}

impl Session<'_> {
    fn lmtp(&self) -> bool {
        self.state.config.face == Face::Lmtp
    }

    /// One command. `None` where the connection is over.
    async fn step(&mut self) -> Option<()> {
        let line = match self.line().await? {
            Ok(line) => line,
            Err(answer) => return self.wrong(answer).await,
        };
        let (verb, rest) = match line.split_once(' ') {
            Some((verb, rest)) => (verb.to_ascii_uppercase(), rest.trim()),
            None => (line.trim().to_ascii_uppercase(), ""),
        };
        let lmtp = self.lmtp();
        match verb.as_str() {
            "LHLO" if lmtp => self.greet(rest, true).await,
            "EHLO" if !lmtp => self.greet(rest, true).await,
            "HELO" if !lmtp => self.greet(rest, false).await,
            "STARTTLS" if !lmtp && self.state.acceptor().is_some() => self.starttls(rest).await,
            "LHLO" | "EHLO" | "HELO" => self.wrong("500 5.5.1 wrong protocol").await,
            "MAIL" => self.mail(rest).await,
            "RCPT" => self.rcpt(rest).await,
            "DATA" => self.data().await,
            "BDAT" => self.bdat(rest).await,
            "RSET" => {
                self.transaction = Transaction::default();
                self.say("250 2.0.0 ok").await
            }
            "NOOP" => self.say("250 2.0.0 ok").await,
            "VRFY" => self.say("252 2.1.5 send some mail, I will try my best").await,
            "QUIT" => {
                self.say("221 2.0.0 bye").await;
                None
            }
            _ => self.wrong("500 5.5.2 unknown command").await,
        }
    }

    async fn greet(&mut self, name: &str, extended: bool) -> Option<()> {
        if name.is_empty() {
            return self.wrong("501 5.5.4 who are you?").await;
        }
        self.helo = Some(name.split_whitespace().next().unwrap_or_default().to_owned());
        self.transaction = Transaction::default();
        let (domain, size) = (&self.state.config.domain, self.state.config.max_size);
        if !extended {
            return self.say(&format!("250 {domain}")).await;
        }
        let starttls = !self.lmtp() && !self.encrypted && self.state.acceptor().is_some();
        let starttls = if starttls { "250-STARTTLS\r\n" } else { "" };
        let answer = format!(
            "250-{domain}\r\n250-PIPELINING\r\n250-SIZE {size}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n{starttls}250-ENHANCEDSTATUSCODES\r\n250 CHUNKING"
        );
        self.say(&answer).await
    }

    /// RFC 3207. What was said in the clear is forgotten, and whoever sends more before our answer is up to no good.
    async fn starttls(&mut self, rest: &str) -> Option<()> {
        let Some(acceptor) = self.state.acceptor().filter(|_| !self.encrypted) else {
            return self.wrong("503 5.5.1 that is done already").await;
        };
        if !rest.is_empty() {
            return self.wrong("501 5.5.4 STARTTLS stands alone").await;
        }
        if !self.buffer.is_empty() {
            self.say("554 5.5.0 wait for the answer to STARTTLS").await;
            return None;
        }
        self.say("220 2.0.0 go ahead").await?;
        let nothing: Box<dyn Io> = Box::new(tokio::io::join(tokio::io::empty(), tokio::io::sink()));
        let plain = std::mem::replace(&mut self.stream, nothing);
        let encrypted = timeout(HANDSHAKE, acceptor.accept(plain)).await.ok()?.ok()?;
        self.stream = Box::new(encrypted);
        self.encrypted = true;
        self.buffer.clear();
        self.helo = None;
        self.transaction = Transaction::default();
        Some(())
    }

    async fn mail(&mut self, rest: &str) -> Option<()> {
        if self.helo.is_none() {
            return self.wrong("503 5.5.1 greet first").await;
        }
        if self.transaction.from.is_some() {
            return self.wrong("503 5.5.1 one mail at a time").await;
        }
        let Some((path, parameters)) = path(rest, "FROM:") else {
            return self.wrong("501 5.5.4 write MAIL FROM:<address>").await;
        };
        for parameter in parameters.split_whitespace() {
            if let Some(size) = parameter.to_ascii_uppercase().strip_prefix("SIZE=")
                && size.parse::<usize>().is_ok_and(|size| size > self.state.config.max_size)
            {
                return self.say("552 5.3.4 too big").await;
            }
        }
        // The null sender is that of bounces, and is always welcome.
        if !path.is_empty() && address::split(&path).is_none() && !path.eq_ignore_ascii_case("postmaster") {
            return self.wrong("553 5.1.7 that is no address").await;
        }
        self.transaction = Transaction { from: Some(path), ..Transaction::default() };
        self.say("250 2.1.0 ok").await
    }

    async fn rcpt(&mut self, rest: &str) -> Option<()> {
        if self.transaction.from.is_none() {
            return self.wrong("503 5.5.1 MAIL first").await;
        }
        let Some((path, _)) = path(rest, "TO:") else {
            return self.wrong("501 5.5.4 write RCPT TO:<address>").await;
        };
        if self.transaction.to.len() >= RECIPIENTS {
            return self.say("452 4.5.3 too many recipients").await;
        }
        let recipient = self.state.users(self.core).recipient(&path);
        // Whoever the envelope says it is: what the mail itself says is looked at when it is there.
        let sender = self.transaction.from.as_deref().and_then(address::person).map(|from| address::canonical(&from));
        let kept_out = match (&recipient, &sender) {
            (Recipient::User(user), Some(sender)) => !self.core.may_reach(sender, user).await,
            _ => false,
        };
        let answer = match &recipient {
            Recipient::User(user) if kept_out && self.core.allows(user) => "550 5.7.1 this user takes no mail from you",
            Recipient::User(user) if self.core.allows(user) => {
                let admitted = self.state.rate.admit(user, self.state.config.max_rate, self.core.now());
                if admitted { "250 2.1.5 ok" } else { "451 4.7.1 too many mails for this user, come back later" }
            }
            Recipient::Alias(alias) => match self.state.alias(self.core, alias).await {
                Ok(Some(_)) => "250 2.1.5 ok",
                Ok(None) => "550 5.1.1 no such user here",
                Err(_) => "451 4.3.0 come back later",
            },
            Recipient::Bounce(_) | Recipient::Admin => "250 2.1.5 ok",
            Recipient::User(_) | Recipient::Unknown => "550 5.1.1 no such user here",
            Recipient::Foreign => "550 5.7.1 we do not relay",
        };
        if !answer.starts_with('2') {
            // The mail server in front passes on whatever it was given; it is not to be sent away for that.
            return if self.lmtp() { self.say(answer).await } else { self.wrong(answer).await };
        }
        self.transaction.to.push((path, recipient));
        self.say(answer).await
    }

    async fn data(&mut self) -> Option<()> {
        if self.transaction.from.is_none() || self.transaction.to.is_empty() {
            return self.wrong("503 5.5.1 MAIL and RCPT first").await;
        }
        // A peer that sends the mail before it was asked to is up to no good.
        if !self.buffer.is_empty() {
            self.say("554 5.5.0 wait for the answer to DATA").await;
            return None;
        }
        self.say("354 go ahead").await?;
        let mut reader = DataReader::new(self.state.config.max_size);
        loop {
            match reader.take(&self.buffer) {
                Progress::End(used) => {
                    self.buffer.drain(..used);
                    break;
                }
                Progress::More => {
                    self.buffer.clear();
                    self.fill().await?;
                }
            }
        }
        let too_big = reader.too_big();
        self.finish(reader.finish(), too_big).await
    }

    async fn bdat(&mut self, rest: &str) -> Option<()> {
        let mut words = rest.split_whitespace();
        let Some(size) = words.next().and_then(|size| size.parse::<usize>().ok()) else {
            return self.wrong("501 5.5.4 write BDAT SIZE").await;
        };
        let last = words.next().is_some_and(|word| word.eq_ignore_ascii_case("LAST"));
        let welcome = self.transaction.from.is_some() && !self.transaction.to.is_empty();
        let mut missing = size;
        while missing > 0 {
            if self.buffer.is_empty() {
                self.fill().await?;
            }
            let chunk: Vec<u8> = self.buffer.drain(..missing.min(self.buffer.len())).collect();
            missing -= chunk.len();
            if self.transaction.chunks.len() + chunk.len() > self.state.config.max_size {
                self.transaction.chunks_too_big = true;
            } else if welcome {
                self.transaction.chunks.extend_from_slice(&chunk);
            }
        }
        if !welcome {
            return self.wrong("503 5.5.1 MAIL and RCPT first").await;
        }
        if !last {
            return self.say("250 2.0.0 ok").await;
        }
        let mail = super::data::normalise(&std::mem::take(&mut self.transaction.chunks));
        let too_big = self.transaction.chunks_too_big;
        self.finish(mail, too_big).await
    }

    /// The mail is whole: commit, then answer. LMTP has one answer for each recipient.
    async fn finish(&mut self, mail: Vec<u8>, too_big: bool) -> Option<()> {
        let transaction = std::mem::take(&mut self.transaction);
        let sender = transaction.from.unwrap_or_default();
        let refusal = if too_big { Some(Verdict::TooBig) } else { deliver::refuse(&mail) };
        let findings = match refusal {
            Some(_) => Findings::not_checked(),
            None => self.look(&sender, &mail).await,
        };
        let refusal = refusal.or(findings.reject.then_some(Verdict::Forged));
        let mut worst = Verdict::Ok;
        for (written, recipient) in &transaction.to {
            let verdict = match refusal {
                Some(refusal) => refusal,
                None => {
                    let mail = Mail { raw: &mail, sender: &sender, recipient: written, findings: &findings };
                    deliver::one(self.state, self.core, recipient, mail).await
                }
            };
            if self.lmtp() {
                self.say(verdict.answer()).await?;
            } else if verdict != Verdict::Ok {
                worst = verdict;
            }
        }
        if self.lmtp() { Some(()) } else { self.say(worst.answer()).await }
    }

    /// Finds out who it is from.
    async fn look(&self, sender: &str, mail: &[u8]) -> Findings {
        let us = &self.state.config.domain;
        if self.lmtp() {
            let id = self.state.config.authserv_id.as_deref();
            return id.map_or_else(Findings::not_checked, |id| results::read(mail, id, sender));
        }
        let helo = self.helo.as_deref().unwrap_or_default();
        match (self.state.checker(), self.peer) {
            (Some(checker), Some(ip)) => checker.look(Arrived { ip, helo, sender, us }, mail).await,
            _ => Findings::doubtful("none"),
        }
    }

    /// The next command line, without its line end; an inner error is the answer to a line that cannot be one.
    async fn line(&mut self) -> Option<Result<String, &'static str>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if line.len() > COMMAND {
                    return Some(Err("500 5.5.2 that line is too long"));
                }
                let Some(line) = line.strip_suffix(b"\r\n") else {
                    return Some(Err("500 5.5.2 lines end with CR LF"));
                };
                return Some(match std::str::from_utf8(line) {
                    Ok(text) if !text.chars().any(char::is_control) => Ok(text.to_owned()),
                    _ => Err("500 5.5.2 that is no command"),
                });
            }
            if self.buffer.len() > COMMAND {
                self.say("500 5.5.2 that line is too long").await;
                return None;
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Option<()> {
        let mut chunk = [0u8; 16 << 10];
        let read = timeout(SILENCE, self.stream.read(&mut chunk)).await;
        match read {
            Ok(Ok(0) | Err(_)) => None,
            Ok(Ok(size)) => {
                self.buffer.extend_from_slice(&chunk[..size]);
                Some(())
            }
            Err(_) => {
                self.say("421 4.4.2 you were silent for too long").await;
                None
            }
        }
    }

    async fn say(&mut self, answer: &str) -> Option<()> {
        let line = format!("{answer}\r\n");
        timeout(SILENCE, self.stream.write_all(line.as_bytes())).await.ok()?.ok()
    }

    /// An answer to what was wrong; a peer that is wrong too often is sent away.
    async fn wrong(&mut self, answer: &str) -> Option<()> {
        self.errors += 1;
        if self.errors > ERRORS {
            self.say("421 4.7.0 too many errors").await;
            return None;
        }
        if self.errors > SOFT {
            tokio::time::sleep(SLOW).await;
        }
        self.say(answer).await
    }
}
