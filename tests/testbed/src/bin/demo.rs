//! `cargo xtask demo`: starts everything on loopback and carries a real conversation.

use std::process::ExitCode;
use std::time::Instant;

use portway_testbed::conversation;
use portway_testbed::world::{HOST, Kind, PASSWORD, SERVER_NAME, World};

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
        println!(
            "\nEverything stays until Ctrl-C.\n\
             XMPP:   romeo@{HOST}, juliet@{HOST}, nurse@{HOST}; password {PASSWORD}; server 127.0.0.1 port {}; no TLS\n\
             \x20       profanity: /connect romeo@{HOST} server 127.0.0.1 port {} tls disable\n\
             \x20       write to alice%{SERVER_NAME}@matrix.{HOST}, join #town%{SERVER_NAME}@matrix.{HOST}, write to bob%outside.test@mail.{HOST}\n\
             Matrix: @alice:{SERVER_NAME}, password secret, homeserver http://127.0.0.1:{}\n\
             Mail:   SMTP 127.0.0.1:{}, IMAP 127.0.0.1:{} (any user of outside.test, any password)\n\
             Health: http://127.0.0.1:{}/ready and /metrics",
            world.ports.c2s, world.ports.c2s, world.matrix, world.mail.smtp, world.mail.imap, world.gateway.http
        );
        let _ = tokio::signal::ctrl_c().await;
    }
    world.stop().await;
    code
}

fn usage() -> ExitCode {
    eprintln!("usage: cargo xtask demo [--server prosody|ejabberd] [--stay]");
    ExitCode::from(64)
}
