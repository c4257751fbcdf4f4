//! The real binary between a scripted component server and a scripted mail server: when waiting lines go out, and what
//! becomes of a mail that XMPP does not take.

#[path = "support/mod.rs"]
mod support;
#[path = "mail/undo.rs"]
mod undo;

use std::time::Duration;

use support::binary::{Dir, port_of, start};
use support::server::{Component, Server, attribute, body};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;
use tokio::sync::mpsc;

/// How long anything may take before a test fails; not what is measured.
const PATIENCE: Duration = Duration::from_secs(60);

/// The mails that arrive at a server that takes everything: the envelope and the mail as one text.
async fn sink() -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, mails) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(take(stream, sender.clone()));
        }
    });
    (port, mails)
}

async fn take(stream: TcpStream, mails: mpsc::UnboundedSender<String>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 sink\r\n").await.ok()?;
    let (mut mail, mut inside) = (String::new(), false);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let answer: &[u8] = match line.trim_end() {
            "." if inside => {
                inside = false;
                mails.send(std::mem::take(&mut mail)).ok()?;
                b"250 ok\r\n"
            }
            _ if inside => {
                mail.push_str(&line);
                continue;
            }
            "DATA" => {
                inside = true;
                b"354 go\r\n"
            }
            command => {
                if command.starts_with("MAIL") || command.starts_with("RCPT") {
                    mail.push_str(&line);
                }
                b"250 ok\r\n"
            }
        };
        stream.write_all(answer).await.ok()?;
    }
}

struct House {
    dir: Dir,
    child: Child,
    server: Server,
    component: Component,
    mails: mpsc::UnboundedReceiver<String>,
    smarthost: u16,
    lmtp: u16,
    /// What the gateway said, besides answers to pings.
    seen: Vec<String>,
}

impl House {
    async fn open(batch: &str) -> Self {
        let (dir, server) = (Dir::new(), Server::start().await);
        let (smarthost, mails) = sink().await;
        let config = Self::config(&dir, &server, smarthost, batch);
        let (child, component, printed) = start(&dir, &config, &server).await;
        let lmtp = port_of(&printed, "lmtp");
        Self { dir, child, server, component, mails, smarthost, lmtp, seen: Vec::new() }
    }

    /// Kills the gateway, whatever it is at, and starts it anew.
    async fn kill_and_open(&mut self, batch: &str) {
        self.child.kill().await.unwrap();
        let config = Self::config(&self.dir, &self.server, self.smarthost, batch);
        let (child, component, printed) = start(&self.dir, &config, &self.server).await;
        self.lmtp = port_of(&printed, "lmtp");
        (self.child, self.component) = (child, component);
    }

    fn config(dir: &Dir, server: &Server, port: u16, batch: &str) -> String {
        format!(
            "[gateway]\ndata_dir = {:?}\nallow = [\"bench.example\"]\nadmins = [\"juliet@bench.example\"]\n[xmpp]\nhost = \"127.0.0.1\"\nport = {}\n\
             [http]\nlisten = \"127.0.0.1:0\"\n\
             [network.email]\ncomponent = \"loopback.bench.example\"\nsecret = \"s\"\ndomain = \"mail.bench.example\"\n\
             listen = \"lmtp://127.0.0.1:0\"\nsmarthost = \"smtp://127.0.0.1:{port}\"\nbatch = \"{batch}\"\n",
            dir.0,
            server.port()
        )
    }

    async fn send(&mut self, to: &str, attributes: &str, inner: &str) {
        let stanza = format!(
            "<message from='juliet@bench.example/balcony' to='{to}%outside.test@loopback.bench.example' type='chat' {attributes}>{inner}</message>"
        );
        self.component.send(&stanza).await;
    }

    async fn say(&mut self, to: &str, id: &str, text: &str) {
        self.send(to, &format!("id='{id}'"), &format!("<body>{text}</body>")).await;
    }

    /// Says something to the gateway itself, and returns its answer.
    async fn ask(&mut self, text: &str) -> String {
        let us = "loopback.bench.example";
        let stanza = format!(
            "<message from='juliet@bench.example/balcony' to='{us}' type='chat' id='a'><body>{text}</body></message>"
        );
        self.component.send(&stanza).await;
        let mut answer = None;
        while answer.is_none() {
            let from = |seen: &str| seen.starts_with("<message") && attribute(seen, "from") == us;
            self.component
                .serve(|seen| {
                    answer = answer.take().or_else(|| from(seen).then(|| body(seen).to_owned()));
                    self.seen.push(seen.to_owned());
                })
                .await;
        }
        answer.expect("it came")
    }

    /// The next mail.
    async fn mail(&mut self) -> String {
        let wait = async {
            loop {
                tokio::select! {
                    mail = self.mails.recv() => return mail.expect("the sink"),
                    () = self.component.serve(|stanza| self.seen.push(stanza.to_owned())) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the mail comes")
    }
}

impl House {
    /// Waits until the gateway says something of that sort, and returns it.
    async fn until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let wait = async {
            loop {
                if let Some(found) = self.seen.iter().find(|stanza| wanted(stanza)) {
                    return found.clone();
                }
                self.component.serve(|stanza| self.seen.push(stanza.to_owned())).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the stanza comes")
    }
}

/// The text of a mail.
fn said(mail: &str) -> &str {
    mail.split_once("\r\n\r\n").map_or("", |(_, text)| text.trim_end())
}

#[tokio::test]
async fn send_ends_the_waiting_and_is_not_mailed() {
    let mut house = House::open("1h").await;
    house.say("bob", "m1", "one").await;
    house.say("bob", "m2", "two").await;
    house.say("bob", "m3", "/send").await;
    assert_eq!(said(&house.mail().await), "one\r\ntwo");
    house.say("bob", "m4", "three").await;
    house.say("bob", "m5", "/send").await;
    assert_eq!(said(&house.mail().await), "three");
}

#[tokio::test]
async fn an_admin_ends_the_waiting() {
    let mut house = House::open("1h").await;
    house.say("bob", "m1", "one").await;
    let mut list = house.ask("queue list").await;
    while list == "Nothing waits." {
        // It is on its way to the disk.
        list = house.ask("queue list").await;
    }
    let number = list.rsplit(' ').next().expect("a number").to_owned();
    assert!(house.ask(&format!("queue retry {number}")).await.contains("goes out now"), "{list}");
    assert_eq!(said(&house.mail().await), "one");
}

#[tokio::test]
async fn a_user_who_goes_away_waits_for_nothing() {
    let mut house = House::open("1h").await;
    house.say("bob", "m1", "one").await;
    let gone = "<presence from='juliet@bench.example/balcony' to='bob%outside.test@loopback.bench.example' type='unavailable'/>";
    house.component.send(gone).await;
    assert_eq!(said(&house.mail().await), "one");
}

#[tokio::test]
async fn a_file_ends_the_waiting() {
    let mut house = House::open("1h").await;
    house.say("bob", "m1", "look").await;
    let url = "https://files.example/cat.png";
    let file = format!("<body>{url}</body><x xmlns='jabber:x:oob'><url>{url}</url></x>");
    house.send("bob", "id='m2'", &file).await;
    // It cannot be had, so its link goes, with what was said before.
    let mail = house.mail().await;
    assert!(said(&mail).starts_with("look\r\n[file: cat.png") && said(&mail).ends_with(url), "{mail}");
}

#[tokio::test]
async fn whoever_is_still_writing_is_waited_for() {
    let mut house = House::open("500ms").await;
    let state = |name: &str| format!("<{name} xmlns='http://jabber.org/protocol/chatstates'/>");
    house.say("bob", "m1", "one").await;
    house.send("bob", "", &state("composing")).await;
    // Carl's mail was written after Bob's, and overtakes it.
    house.say("carl", "m2", "to carl").await;
    assert!(house.mail().await.contains("RCPT TO:<carl@outside.test>"));
    house.say("bob", "m3", "two").await;
    assert_eq!(said(&house.mail().await), "one\r\ntwo");
}

#[tokio::test]
async fn whoever_wrote_a_mail_that_xmpp_does_not_take_gets_a_report() {
    let mut house = House::open("1h").await;
    let stream = TcpStream::connect(("127.0.0.1", house.lmtp)).await.unwrap();
    let mut stream = BufReader::new(stream);
    let commands = [
        "LHLO mx\r\n",
        "MAIL FROM:<bob@outside.test>\r\n",
        "RCPT TO:<juliet@mail.bench.example>\r\n",
        "DATA\r\n",
        "From: Bob <bob@outside.test>\r\nSubject: News\r\nMessage-ID: <1@outside.test>\r\n\r\nhello\r\n.\r\n",
    ];
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    for command in commands {
        stream.write_all(command.as_bytes()).await.unwrap();
        loop {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
        assert!(line.starts_with(['2', '3']), "{line}");
    }
    let mut stanza = None;
    while stanza.is_none() {
        house
            .component
            .serve(|seen| stanza = stanza.take().or_else(|| (body(seen) == "hello").then(|| seen.to_owned())))
            .await;
    }
    let stanza = stanza.unwrap();
    let error = format!(
        "<message from='juliet@bench.example' to='{}' type='error' id='{}'><error type='cancel'>\
         <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
        attribute(&stanza, "from"),
        attribute(&stanza, "id")
    );
    house.component.send(&error).await;
    let report = house.mail().await;
    for part in [
        "MAIL FROM:<>",
        "RCPT TO:<bob@outside.test>",
        "Auto-Submitted: auto-replied",
        "Final-Recipient: rfc822; juliet@mail.bench.example",
        "Status: 5.1.1",
        "In-Reply-To: <1@outside.test>",
    ] {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }
}
