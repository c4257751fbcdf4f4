//! The other side of a connection to us, line by line.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

use super::soon;
use crate::api::testkit::MemoryCore;
use crate::email::adapter::State;
use crate::email::receive;

/// Speaks to us.
pub struct Client<S> {
    pub stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Waits for the greeting.
    pub async fn new(stream: S) -> Self {
        let mut client = Self { stream };
        client.answer().await.expect("a greeting");
        client
    }

    /// Sends bytes and reads one answer; `None` where the connection is closed.
    pub async fn ask(&mut self, bytes: &str) -> Option<String> {
        self.stream.write_all(bytes.as_bytes()).await.ok()?;
        self.answer().await
    }

    /// One answer, of one line or more.
    pub async fn answer(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        loop {
            let mut byte = [0];
            if soon(self.stream.read(&mut byte)).await.ok()? == 0 {
                return None;
            }
            bytes.push(byte[0]);
            if bytes.ends_with(b"\r\n") {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                if text.trim_end().lines().last()?.as_bytes().get(3) != Some(&b'-') {
                    return Some(text.trim_end().to_owned());
                }
            }
        }
    }

    /// Brings a mail; the answer to it, or to what was refused on the way.
    pub async fn bring(&mut self, from: &str, to: &str, mail: &str) -> String {
        let hello = self.ask("LHLO mx.test\r\n").await.unwrap();
        if hello.starts_with('5') {
            self.ask("EHLO mx.test\r\n").await.unwrap();
        }
        for line in [format!("MAIL FROM:<{from}>\r\n"), format!("RCPT TO:<{to}>\r\n"), "DATA\r\n".to_owned()] {
            let answer = self.ask(&line).await.unwrap();
            if !answer.starts_with(['2', '3']) {
                return answer;
            }
        }
        self.ask(&format!("{}\r\n.\r\n", mail.replace("\r\n", "\n").replace('\n', "\r\n"))).await.unwrap()
    }
}

/// A session with this state; the near end of it.
pub async fn session(state: State, memory: &MemoryCore, peer: Option<&str>) -> Client<DuplexStream> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let (core, peer) = (memory.core(), peer.map(|ip| ip.parse().unwrap()));
    tokio::spawn(async move { receive::run(Box::new(far), peer, &state, &core).await });
    Client::new(near).await
}

/// A whole dialogue: the first nine characters of the last line of each answer, the greeting's first.
pub async fn dialogue(face: &str, memory: &MemoryCore, lines: &[&str]) -> Vec<String> {
    let mut client = session(super::state(face, "max_size = \"2KiB\""), memory, None).await;
    let mut answers = vec!["220".to_owned()];
    for line in lines {
        let Some(answer) = client.ask(line).await else { break };
        let last = answer.lines().last().unwrap_or_default().to_owned();
        answers.push(last.chars().take(9).collect::<String>().trim().to_owned());
    }
    answers
}
