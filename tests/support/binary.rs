//! The real binary, in a scratch directory.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::server::{Component, Server};

/// A scratch directory that goes with its value.
pub struct Dir(pub std::path::PathBuf);

impl Dir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("pw-{}-{:x}", std::process::id(), rand::random::<u32>()));
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The configuration of a gateway with the loopback network only.
pub fn loopback(dir: &Dir, server: &Server) -> String {
    format!(
        "[gateway]\ndata_dir = {:?}\nallow = [\"bench.example\"]\n[xmpp]\nhost = \"127.0.0.1\"\nport = {}\n\
         [http]\nlisten = \"127.0.0.1:0\"\n[limits]\nuser_rate = 0\nuser_people = 0\n\
         [network.loopback]\ncomponent = \"loopback.bench.example\"\nsecret = \"s\"\nlisten = \"127.0.0.1:0\"\n",
        dir.0,
        server.port()
    )
}

/// Starts the binary with a configuration and waits until it says `ready`. Returns what it printed before.
pub async fn start(dir: &Dir, config: &str, server: &Server) -> (Child, Component, Vec<String>) {
    start_with(dir, config, server, |_| {}).await
}

/// As [`start`], with something done to the component before its first stanza is answered.
pub async fn start_with(
    dir: &Dir,
    config: &str,
    server: &Server,
    prepare: impl FnOnce(&mut Component),
) -> (Child, Component, Vec<String>) {
    let path = dir.0.join("portway.toml");
    std::fs::write(&path, config).expect("a scratch file");
    let mut child = Command::new(env!("CARGO_BIN_EXE_portway"))
        .args(["run", "--config"])
        .arg(&path)
        .env("PORTWAY_LOG", std::env::var("PORTWAY_LOG").unwrap_or_else(|_| "error".to_owned()))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut component = server.accept().await;
    prepare(&mut component);
    let mut printed = Vec::new();
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let line = line.expect("its output").expect("it ended before it was ready");
                if line == "ready" {
                    break;
                }
                printed.push(line);
            }
            // What comes before the line is kept: it may be what an earlier run left.
            () = component.hold() => {}
        }
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, component, printed)
}

/// The port in the printed line that names this listener.
pub fn port_of(printed: &[String], what: &str) -> u16 {
    let line = printed.iter().find(|line| line.contains(what)).expect("the listener's line");
    line.rsplit(':').next().and_then(|port| port.trim().parse().ok()).expect("a port")
}
