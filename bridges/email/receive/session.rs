//! One connection: commands and their answers.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::data::{DataReader, Progress};
use super::deliver::{self, Verdict};
use crate::api::Core;
use crate::email::adapter::State;
use crate::email::address::{self, Recipient};
use crate::email::config::Face;

/// The longest command in bytes.
const COMMAND: usize = 4096;

/// How many recipients one mail may have; RFC 5321 asks for 100 at least.
const RECIPIENTS: usize = 200;

/// How many wrong commands a peer may send.
const ERRORS: usize = 20;

/// How long a peer may be silent.
const SILENCE: Duration = Duration::from_secs(300);

/// The state of a mail that is being sent to us.
#[derive(Default)]
struct Transaction {
    from: Option<String>,
    to: Vec<(String, Recipient)>,
    /// For BDAT: what came so far.
    chunks: Vec<u8>,
    chunks_too_big: bool,
}

/// Serves a connection to its end.
pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(stream: S, state: &State, core: &Core) {
    let mut session = Session {
        stream,
        buffer: Vec::new(),
        state,
        core,
        greeted: false,
        transaction: Transaction::default(),
        errors: 0,
    };
    let face = if state.config.face == Face::Lmtp { "LMTP" } else { "ESMTP" };
    if session.say(&format!("220 {} {face} Portway", state.config.domain)).await.is_none() {
        return;
    }
    while session.step().await.is_some() {}
}

struct Session<'a, S> {
    stream: S,
    buffer: Vec<u8>,
    state: &'a State,
    core: &'a Core,
    greeted: bool,
    transaction: Transaction,
    errors: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
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
        let lmtp = self.state.config.face == Face::Lmtp;
        match verb.as_str() {
            "LHLO" if lmtp => self.greet(rest).await,
            "EHLO" if !lmtp => self.greet(rest).await,
            "HELO" if !lmtp => {
                self.greeted = true;
                self.transaction = Transaction::default();
                self.say(&format!("250 {}", self.state.config.domain)).await
            }
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

    async fn greet(&mut self, name: &str) -> Option<()> {
        if name.is_empty() {
            return self.wrong("501 5.5.4 who are you?").await;
        }
        self.greeted = true;
        self.transaction = Transaction::default();
        let (domain, size) = (&self.state.config.domain, self.state.config.max_size);
        let answer = format!(
            "250-{domain}\r\n250-PIPELINING\r\n250-SIZE {size}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 CHUNKING"
        );
        self.say(&answer).await
    }

    async fn mail(&mut self, rest: &str) -> Option<()> {
        if !self.greeted {
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
        let answer = match &recipient {
            Recipient::User(user) if self.core.allows(user) => "250 2.1.5 ok",
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
            return self.wrong(answer).await;
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
        let mail = std::mem::take(&mut self.transaction.chunks);
        let too_big = self.transaction.chunks_too_big;
        self.finish(mail, too_big).await
    }

    /// The mail is whole: commit, then answer. LMTP has one answer for each recipient.
    async fn finish(&mut self, mail: Vec<u8>, too_big: bool) -> Option<()> {
        let transaction = std::mem::take(&mut self.transaction);
        let lmtp = self.state.config.face == Face::Lmtp;
        let refusal = if too_big { Some(Verdict::TooBig) } else { deliver::refuse(&mail) };
        let mut worst = Verdict::Ok;
        for (_, recipient) in &transaction.to {
            let verdict = match refusal {
                Some(refusal) => refusal,
                None => deliver::one(self.state, self.core, &mail, recipient, transaction.from.as_deref()).await,
            };
            if lmtp {
                self.say(verdict.answer()).await?;
            } else if verdict != Verdict::Ok {
                worst = verdict;
            }
        }
        if lmtp { Some(()) } else { self.say(worst.answer()).await }
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
        self.say(answer).await
    }
}

/// The address between angle brackets, and what stands behind it.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(String, &'a str)> {
    let head = rest.get(..keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = rest[keyword.len()..].trim_start().strip_prefix('<')?;
    let mut quoted = false;
    let end = rest.char_indices().find_map(|(at, c)| {
        if c == '"' {
            quoted = !quoted;
        }
        (c == '>' && !quoted).then_some(at)
    })?;
    Some((rest[..end].to_owned(), rest[end + 1..].trim()))
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;
    use crate::api::testkit::MemoryCore;
    use crate::api::{Chat, Kind, UserId};

    fn state(face: &str) -> State {
        let raw = format!(
            "domain = \"mail.x\"\nlisten = \"{face}://127.0.0.1:0\"\nsmarthost = \"smtp://127.0.0.1:1\"\nmax_size = \"2KiB\""
        );
        State::new(crate::email::config::read(&toml::from_str(&raw).unwrap()).unwrap())
    }

    /// Sends a whole dialogue, waiting for an answer before each line that starts with "> ".
    async fn dialogue(face: &str, core: &MemoryCore, lines: &[&str]) -> Vec<String> {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        let (state, core) = (state(face), core.core());
        let server = tokio::spawn(async move { run(far, &state, &core).await });
        let mut answers = vec![answer(&mut near).await.unwrap()];
        for line in lines {
            near.write_all(line.as_bytes()).await.unwrap();
            let Some(reply) = answer(&mut near).await else { break };
            answers.push(reply);
        }
        drop(near);
        server.await.unwrap();
        answers.iter().map(|answer| answer.chars().take(9).collect::<String>().trim().to_owned()).collect()
    }

    /// One answer, of one line or more: its last line.
    async fn answer(stream: &mut DuplexStream) -> Option<String> {
        let mut bytes = Vec::new();
        loop {
            let mut byte = [0];
            if stream.read(&mut byte).await.ok()? == 0 {
                return None;
            }
            bytes.push(byte[0]);
            if bytes.ends_with(b"\r\n") {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let last = text.trim_end().lines().last()?.to_owned();
                if last.as_bytes().get(3) != Some(&b'-') {
                    return Some(last);
                }
            }
        }
    }

    fn codes(answers: &[String]) -> Vec<&str> {
        answers.iter().map(|answer| &answer[..3]).collect()
    }

    #[tokio::test]
    async fn lmtp_answers_for_each_recipient_and_commits_first() {
        let core = MemoryCore::new(&["capulet.lit"]);
        let answers = dialogue(
            "lmtp",
            &core,
            &[
                "LHLO mx\r\n",
                "MAIL FROM:<bob@example.com>\r\n",
                "RCPT TO:<juliet@mail.x>\r\n",
                "RCPT TO:<nobody@other.org>\r\n",
                "DATA\r\n",
                "From: Bob <bob@example.com>\r\nMessage-ID: <1@example.com>\r\nSubject: S\r\n\r\nhello\r\n.\r\n",
                "QUIT\r\n",
            ],
        )
        .await;
        assert_eq!(codes(&answers), ["220", "250", "250", "250", "550", "354", "250", "221"]);
        let events = core.events();
        assert_eq!(events.len(), 1);
        let Kind::Text(text) = &events[0].kind else { panic!("{events:?}") };
        assert_eq!((text.body.as_str(), text.subject.as_deref()), ("hello", Some("S")));
        assert!(
            matches!(&events[0].chat, Chat::Direct { user, .. } if *user == UserId::parse("juliet@capulet.lit").unwrap())
        );
    }

    #[tokio::test]
    async fn two_mails_on_one_connection_do_not_mix() {
        let core = MemoryCore::new(&["capulet.lit"]);
        let mail = |id: &str| format!("From: b@x.org\r\nMessage-ID: <{id}@x.org>\r\n\r\n{id}\r\n.\r\n");
        let (one, two) = (mail("one"), mail("two"));
        dialogue(
            "lmtp",
            &core,
            &[
                "LHLO mx\r\n",
                "MAIL FROM:<>\r\n",
                "RCPT TO:<juliet@mail.x>\r\n",
                "DATA\r\n",
                &one,
                "MAIL FROM:<b@x.org>\r\n",
                "RCPT TO:<romeo@mail.x>\r\n",
                "RSET\r\n",
                "MAIL FROM:<b@x.org>\r\n",
                "RCPT TO:<nurse@mail.x>\r\n",
                "DATA\r\n",
                &two,
            ],
        )
        .await;
        let to: Vec<String> = core
            .events()
            .iter()
            .map(|event| match &event.chat {
                Chat::Direct { user, .. } => user.local().to_owned(),
                Chat::Room(_) => String::new(),
            })
            .collect();
        assert_eq!(to, ["juliet", "nurse"]);
    }

    #[tokio::test]
    async fn what_is_wrong_has_its_code() {
        let core = MemoryCore::new(&["capulet.lit"]);
        for (lines, last) in [
            (&["EHLO x\r\n"][..], "500 5.5.1"),
            (&["MAIL FROM:<a@b.org>\r\n"], "503 5.5.1"),
            (&["LHLO x\r\n", "RCPT TO:<juliet@mail.x>\r\n"], "503 5.5.1"),
            (&["LHLO x\r\n", "MAIL FROM:<a@b.org> SIZE=9999\r\n"], "552 5.3.4"),
            (&["LHLO x\r\n", "MAIL FROM:<a b@x>\r\n"], "553 5.1.7"),
            (&["LHLO x\r\n", "MAIL FROM:<a@b.org>\r\n", "RCPT TO:<x%y@mail.x>\r\n"], "550 5.1.1"),
            (&["LHLO x\r\n", "MAIL FROM:<a@b.org>\r\n", "RCPT TO:<@a,@b:juliet@mail.x>\r\n"], "550 5.1.1"),
            (&["LHLO x\r\n", "MAIL FROM:<a@b.org>\r\n", "RCPT TO:<juliet@other.org>\r\n"], "550 5.7.1"),
            (&["LHLO x\r\n", "MAIL FROM:<a@b.org>\r\n", "RCPT TO:<eve=evil.org@mail.x>\r\n"], "550 5.1.1"),
            (&["LHLO x\r\n", "MAIL FROM:<a@b.org>\r\n", "RCPT TO:<PostMaster>\r\n"], "250 2.1.5"),
            (&["LHLO x\n"], "500 5.5.2"),
            (&["DANCE\r\n"], "500 5.5.2"),
            (
                &[
                    "LHLO x\r\n",
                    "MAIL FROM:<a@b.org>\r\n",
                    "RCPT TO:<juliet@mail.x>\r\n",
                    "DATA\r\nSubject: early\r\n\r\n.\r\n",
                ],
                "554 5.5.0",
            ),
        ] {
            let answers = dialogue("lmtp", &core, lines).await;
            assert_eq!(answers.last().map(String::as_str), Some(last), "{lines:?}");
        }
    }

    #[tokio::test]
    async fn too_big_and_smuggled_mails() {
        let core = MemoryCore::new(&["capulet.lit"]);
        let big = format!("Subject: x\r\n\r\n{}\r\n.\r\n", "y".repeat(10_000));
        let start = ["LHLO x\r\n", "MAIL FROM:<a@b.org>\r\n", "RCPT TO:<juliet@mail.x>\r\n", "DATA\r\n"];
        let mut lines = start.to_vec();
        lines.push(&big);
        assert_eq!(dialogue("lmtp", &core, &lines).await.last().unwrap(), "552 5.3.4");
        let smuggled = "From: a@b.org\r\n\r\nx\n.\r\nMAIL FROM:<king@x>\r\nRCPT TO:<romeo@mail.x>\r\nDATA\r\n\r\n.\r\n";
        let mut lines = start.to_vec();
        lines.push(smuggled);
        dialogue("lmtp", &core, &lines).await;
        assert_eq!(core.events().len(), 1, "one mail, whatever is in it");
    }

    #[tokio::test]
    async fn a_store_that_refuses_is_a_temporary_error_and_the_same_mail_counts_once() {
        let core = MemoryCore::new(&["capulet.lit"]);
        let lines = [
            "LHLO x\r\n",
            "MAIL FROM:<a@b.org>\r\n",
            "RCPT TO:<juliet@mail.x>\r\n",
            "DATA\r\n",
            "From: a@b.org\r\nMessage-ID: <m@b.org>\r\n\r\nhi\r\n.\r\n",
        ];
        core.refuse(true);
        assert_eq!(dialogue("lmtp", &core, &lines).await.last().unwrap(), "451 4.3.0");
        core.refuse(false);
        assert_eq!(dialogue("lmtp", &core, &lines).await.last().unwrap(), "250 2.6.0");
        assert_eq!(dialogue("lmtp", &core, &lines).await.last().unwrap(), "250 2.6.0");
        assert_eq!(core.events().len(), 1);
    }

    #[tokio::test]
    async fn chunks_carry_a_mail_too() {
        let core = MemoryCore::new(&["capulet.lit"]);
        let answers = dialogue(
            "smtp",
            &core,
            &[
                "EHLO x\r\n",
                "MAIL FROM:<a@b.org>\r\n",
                "RCPT TO:<juliet@mail.x>\r\n",
                "BDAT 17\r\nFrom: a@b.org\r\n\r\n",
                "BDAT 4 LAST\r\n.\r\nx",
            ],
        )
        .await;
        assert_eq!(answers.last().unwrap(), "250 2.6.0");
        let Kind::Text(text) = &core.events()[0].kind else { panic!() };
        assert_eq!(text.body, ".\nx");
    }
}
