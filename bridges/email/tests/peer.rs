//! A scripted mail server: what it offers, what it says, and where it hangs up.

use std::sync::{Arc, Mutex};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::file;
use crate::email::receive::acceptor;

/// How far a transaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Greeting,
    Hello,
    Mail,
    Rcpt,
    Data,
    /// After so many lines of the mail.
    Line(usize),
    /// After the final dot, before the answer.
    Dot,
    /// After the answer to the final dot.
    Accepted,
}

/// What happens on one connection. The next connection does as its own turn says, or all is well.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// Where it hangs up.
    pub hang_up: Option<Step>,
    /// What it answers instead of yes, once.
    pub answers: Vec<(Step, &'static str)>,
    /// What it says in the clear right behind its answer to STARTTLS.
    pub injected: &'static str,
}

/// What a server is like.
#[derive(Debug, Clone, Default)]
pub struct Script {
    pub extensions: Vec<&'static str>,
    /// Whether STARTTLS really encrypts.
    pub tls: bool,
    pub turns: Vec<Turn>,
}

impl Script {
    pub fn turn(turn: Turn) -> Self {
        Self { turns: vec![turn], ..Self::default() }
    }

    pub fn answer(step: Step, answer: &'static str) -> Self {
        Self::turn(Turn { answers: vec![(step, answer)], ..Turn::default() })
    }
}

/// A mail that it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    pub mail_from: String,
    pub rcpt_to: String,
    pub mail: String,
    pub encrypted: bool,
}

#[derive(Default)]
struct Seen {
    taken: Vec<Taken>,
    commands: Vec<String>,
    connections: usize,
}

/// The server.
pub struct Peer {
    port: u16,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// The certificate of the server, to be trusted.
pub fn roots() -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("tls.pem")).unwrap()).unwrap();
    roots
}

impl Peer {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = {
            let seen = seen.clone();
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let n = {
                        let mut seen = seen.lock().unwrap();
                        seen.connections += 1;
                        seen.connections - 1
                    };
                    let turn = script.turns.get(n).cloned().unwrap_or_default();
                    let mut talk = Talk { script: script.clone(), turn, seen: seen.clone(), encrypted: false };
                    tokio::spawn(async move { talk.serve(stream).await });
                }
            })
        };
        Self { port, seen, task }
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.seen.lock().unwrap().taken.clone()
    }

    pub fn commands(&self) -> Vec<String> {
        self.seen.lock().unwrap().commands.clone()
    }

    pub fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Talk {
    script: Script,
    turn: Turn,
    seen: Arc<Mutex<Seen>>,
    encrypted: bool,
}

/// What a connection goes on with.
enum Next {
    Over,
    Encrypt,
}

impl Talk {
    async fn serve(&mut self, stream: tokio::net::TcpStream) {
        let mut stream = BufReader::new(stream);
        if self.say(&mut stream, Step::Greeting, "220 peer.test").await.is_none() {
            return;
        }
        if let Some(Next::Encrypt) = self.commands(&mut stream).await {
            let acceptor = acceptor(file("tls.pem").as_ref(), file("tls.key").as_ref()).unwrap();
            let Ok(encrypted) = acceptor.accept(stream.into_inner()).await else { return };
            self.encrypted = true;
            self.commands(&mut BufReader::new(encrypted)).await;
        }
    }

    async fn commands<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut BufReader<S>) -> Option<Next> {
        let mut taken = Taken { encrypted: self.encrypted, ..Taken::default() };
        loop {
            let line = self.line(stream).await?;
            self.seen.lock().unwrap().commands.push(line.clone());
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    let mut answer = String::from("250-peer.test\r\n");
                    let hidden = |word: &str| self.encrypted && word == "STARTTLS";
                    for word in self.script.extensions.iter().filter(|word| !hidden(word)) {
                        answer.push_str(&format!("250-{word}\r\n"));
                    }
                    self.say(stream, Step::Hello, &(answer + "250 HELP")).await?;
                }
                "STARTTLS" => {
                    let injected = self.turn.injected;
                    stream.write_all(format!("220 go\r\n{injected}").as_bytes()).await.ok()?;
                    return Some(if self.script.tls { Next::Encrypt } else { Next::Over });
                }
                "MAIL" => {
                    taken.mail_from = line;
                    self.say(stream, Step::Mail, "250 ok").await?;
                }
                "RCPT" => {
                    taken.rcpt_to = line;
                    self.say(stream, Step::Rcpt, "250 ok").await?;
                }
                "DATA" => {
                    let refused = self.refuses(Step::Data);
                    self.say(stream, Step::Data, "354 go").await?;
                    if refused {
                        continue;
                    }
                    taken.mail.clear();
                    for n in 0.. {
                        if self.turn.hang_up == Some(Step::Line(n)) {
                            return None;
                        }
                        let line = self.line(stream).await?;
                        if line == "." {
                            break;
                        }
                        taken.mail.push_str(line.strip_prefix('.').unwrap_or(&line));
                        taken.mail.push_str("\r\n");
                    }
                    let refused = self.refuses(Step::Dot);
                    if !refused && self.turn.hang_up != Some(Step::Dot) {
                        self.seen.lock().unwrap().taken.push(taken.clone());
                    }
                    self.say(stream, Step::Dot, "250 taken").await?;
                    if self.turn.hang_up == Some(Step::Accepted) {
                        return None;
                    }
                }
                "QUIT" => {
                    stream.write_all(b"221 bye\r\n").await.ok()?;
                    return None;
                }
                "RSET" | "NOOP" | "HELO" => stream.write_all(b"250 ok\r\n").await.ok()?,
                _ => stream.write_all(b"500 what?\r\n").await.ok()?,
            }
        }
    }

    fn refuses(&self, step: Step) -> bool {
        self.turn.answers.iter().any(|(at, _)| *at == step)
    }

    async fn say<S: AsyncWrite + Unpin>(&mut self, stream: &mut S, step: Step, usual: &str) -> Option<()> {
        if self.turn.hang_up == Some(step) {
            return None;
        }
        let scripted = self.turn.answers.iter().position(|(at, _)| *at == step);
        let answer = scripted.map_or(usual, |at| self.turn.answers.remove(at).1);
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
        stream.flush().await.ok()
    }

    async fn line<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut BufReader<S>) -> Option<String> {
        let mut line = String::new();
        let read = stream.read_line(&mut line).await.ok()?;
        (read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
    }
}
