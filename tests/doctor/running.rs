//! A gateway that runs is asked, and not disturbed.

use std::collections::BTreeMap;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::rig::{Found, GRANTS, Rig, answer};
use crate::support::binary::port_of;
use crate::support::gateway::{Gateway, US};

/// The doctor looks while the gateway's server answers its questions.
async fn look(gateway: &mut Gateway, rig: &mut Rig, listed: bool) -> (i32, Vec<Found>) {
    let mut ways = Rig::new().await.ways;
    ways.items = vec!["upload.bench.example"];
    if listed {
        ways.items.push(US);
    }
    tokio::select! {
        found = rig.doctor() => found,
        () = async {
            while let Some(stanza) = gateway.connection.next().await {
                if stanza.name() == "iq" && stanza.attr("type") == Some("get") {
                    answer(&mut gateway.connection, &stanza, &ways).await;
                }
            }
        } => panic!("the gateway has left its server"),
    }
}

fn levels(found: &[Found]) -> BTreeMap<&str, &str> {
    found.iter().map(|finding| (finding.check.as_str(), finding.level.as_str())).collect()
}

#[tokio::test]
async fn d15_a_running_gateway_looks_over_its_own_connection() {
    let mut gateway = Gateway::open().await;
    let advert = format!("<privilege xmlns='urn:xmpp:privilege:2'>{GRANTS}</privilege>");
    gateway.send(&format!("<message from='bench.example' to='{US}' id='p'>{advert}</message>")).await;
    gateway.rest().await;
    let mut rig = Rig::new().await;
    rig.http = format!("127.0.0.1:{}", port_of(&gateway.printed, "http"));
    let (code, found) = look(&mut gateway, &mut rig, false).await;
    let levels = levels(&found);
    for well in ["http", "ready", "handshake", "server", "version", "privileges", "upload", "time"] {
        let name = if matches!(well, "http" | "ready") { well.to_owned() } else { format!("loopback.{well}") };
        assert_eq!(levels.get(name.as_str()), Some(&"ok"), "{name} in {found:#?}");
    }
    assert_eq!((levels.get("loopback.disco-items"), code), (Some(&"warn"), 0), "{found:#?}");
    let listed = found.iter().find(|finding| finding.check == "loopback.disco-items").unwrap();
    assert!(listed.fix.contains(US), "{listed:?}");
    // Whoever asks again gets the same for a while, and costs the server nothing.
    for _ in 0..20 {
        let (status, text) = gateway.page("/doctor").await;
        assert!(status == 200 && text.contains("disco-items") && !text.contains("a-secret"), "{status} {text}");
    }
    let rest = gateway.rest().await;
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn d15_a_gateway_of_another_version_is_asked_for_what_it_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::new().await;
    rig.http = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (read, mut write) = socket.into_split();
            let line = BufReader::new(read).lines().next_line().await.unwrap().unwrap_or_default();
            let (status, body) = match line.split(' ').nth(1).unwrap_or_default() {
                "/live" => (200, "live\n"),
                "/ready" => (200, "ready\n"),
                "/metrics" => (200, "portway_link_up{network=\"loopback\"} 1\n"),
                _ => (404, ""),
            };
            let _ = write.write_all(format!("HTTP/1.0 {status} x\r\n\r\n{body}").as_bytes()).await;
        }
    });
    let (code, found) = rig.doctor().await;
    let levels = levels(&found);
    let seen = ["ready", "loopback.handshake", "loopback.server"].map(|check| levels.get(check).copied());
    assert_eq!((seen, code), ([Some("ok"), Some("ok"), Some("warn")], 0), "{found:#?}");
    assert_eq!(levels.get("loopback.privileges"), None);
}
