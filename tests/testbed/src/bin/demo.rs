//! `cargo xtask demo`: starts everything on loopback and carries a real conversation.

use std::process::ExitCode;
use std::time::Instant;

use portway_testbed::conversation;
use portway_testbed::mail::OUTSIDE;
use portway_testbed::process::write;
use portway_testbed::world::{HOST, Kind, PASSWORD, Ports, SERVER_NAME, USERS, World};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut kind = Kind::Prosody;
    let mut stay = false;
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match (word.as_str(), word.strip_prefix("--server=")) {
            ("--stay", _) => stay = true,
            ("--server", _) | (_, Some(_)) => {
                let value = word.strip_prefix("--server=").or_else(|| words.next().map(String::as_str));
                kind = match value {
                    Some("prosody") => Kind::Prosody,
                    Some("ejabberd") => Kind::Ejabberd,
                    _ => return usage(),
                };
            }
            _ => return usage(),
        }
    }
    let begun = Instant::now();
    let print = |line: &str| println!("[{:6.2} s] {line}", begun.elapsed().as_secs_f32());
    let world = match World::start(kind, print).await {
        Ok(world) => world,
        Err(error) => {
            eprintln!("demo: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = conversation::carry(&world, print).await;
    let code = match &result {
        Ok(()) => {
            print("every message has arrived");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("demo: {error}\n\n{}", world.tails());
            ExitCode::FAILURE
        }
    };
    if stay && result.is_ok() {
        match stay_note(&world, kind) {
            Ok(note) => {
                println!("{note}");
                told_to_end().await;
            }
            Err(error) => eprintln!("demo: {error}"),
        }
    }
    world.stop().await;
    code
}

/// How to log in, for people; and the same for programs, in a file that is named there.
fn stay_note(world: &World, kind: Kind) -> Result<String, String> {
    let Ports { c2s, http, .. } = world.ports;
    let (websocket, bosh) = match kind {
        Kind::Prosody => ("xmpp-websocket", "http-bind"),
        Kind::Ejabberd => ("ws", "bosh"),
    };
    let websocket = format!("ws://127.0.0.1:{http}/{websocket}");
    let bosh = format!("http://127.0.0.1:{http}/{bosh}");
    let matrix = format!("http://127.0.0.1:{}", world.matrix);
    let file = world.scratch.path().join("demo.json");
    let facts = serde_json::json!({
        "host": HOST, "users": USERS, "password": PASSWORD, "c2s": c2s, "websocket": websocket, "bosh": bosh,
        "homeserver": matrix, "server_name": SERVER_NAME, "smtp": world.mail.smtp, "imap": world.mail.imap,
        "outside": OUTSIDE, "status": format!("http://127.0.0.1:{}", world.gateway.http),
    });
    write(&file, &format!("{facts:#}\n"))?;
    Ok(format!(
        "\nEverything stays until Ctrl-C.\n\
         XMPP:   {users}; password {PASSWORD}; server 127.0.0.1 port {c2s}; no TLS\n\
         \x20       Profanity: /connect romeo@{HOST} server 127.0.0.1 port {c2s} tls disable\n\
         \x20       in browsers: {websocket} or {bosh}\n\
         \x20       write to alice%{SERVER_NAME}@matrix.{HOST} or bob%{OUTSIDE}@mail.{HOST},\n\
         \x20       join #town%{SERVER_NAME}@matrix.{HOST}\n\
         Matrix: @alice:{SERVER_NAME}, password secret, homeserver {matrix}\n\
         Mail:   SMTP 127.0.0.1:{smtp}, IMAP 127.0.0.1:{imap} (any user of {OUTSIDE}, any password)\n\
         Health: http://127.0.0.1:{status}/ready and /metrics\n\
         The same for programs: {file}",
        users = USERS.map(|user| format!("{user}@{HOST}")).join(", "),
        smtp = world.mail.smtp,
        imap = world.mail.imap,
        status = world.gateway.http,
        file = file.display(),
    ))
}

/// Waits for Ctrl-C or for SIGTERM.
async fn told_to_end() {
    let Ok(mut term) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: cargo xtask demo [--server prosody|ejabberd] [--stay]");
    ExitCode::from(64)
}
