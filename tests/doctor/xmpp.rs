//! The XMPP server.

use tokio::io::AsyncWriteExt;

use crate::rig::{GRANTS, Rig, US, value};

#[tokio::test]
async fn all_is_well() {
    Rig::new().await.well().await;
}

#[tokio::test]
async fn the_server_s_own_error_is_explained() {
    let mut rig = Rig::new().await;
    rig.secret = "another".to_owned();
    let fix = rig.ill("loopback.handshake", "fail", "the secrets differ").await;
    assert!(fix.contains("portway generate server"), "{fix}");
    rig.secret = crate::rig::SECRET.to_owned();
    rig.well().await;
    for (condition, words) in [("host-unknown", "the server has no such component"), ("conflict", "another gateway")] {
        rig.ways.refuses = Some(condition);
        rig.ill("loopback.handshake", "fail", words).await;
        rig.ways.refuses = None;
        rig.well().await;
    }
}

#[tokio::test]
async fn a_closed_port_and_a_port_of_something_else() {
    let mut rig = Rig::new().await;
    let right = rig.port;
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.port = unused.local_addr().unwrap().port();
    drop(unused);
    let fix = rig.ill("loopback.handshake", "fail", "no connection").await;
    assert!(fix.contains(&format!("component_ports = {{ {} }}", rig.port)), "{fix}");
    // A port that expects TLS answers plain words with an alert.
    let secure = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.port = secure.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = secure.accept().await {
            let _ = socket.write_all(&[0x15, 3, 1, 0, 2, 2, 10]).await;
        }
    });
    let fix = rig.ill("loopback.handshake", "fail", "does it expect TLS").await;
    assert_eq!(value(&fix, "tls"), "\"direct\"");
    rig.port = right;
    rig.well().await;
}

#[tokio::test]
async fn p3_a_server_that_drops_what_we_ask_is_named() {
    let mut rig = Rig::new().await;
    rig.ways.silent = true;
    let fix = rig.ill("loopback.server", "fail", "ejabberd 24.10 to 25.03").await;
    assert!(fix.contains("mod_privilege"), "{fix}");
    rig.ways.silent = false;
    rig.ways.version = ("ejabberd", "24.12");
    rig.ill("loopback.version", "warn", "drops IQs").await;
    rig.ways.version = ("ejabberd", "25.10");
    rig.well().await;
}

#[tokio::test]
async fn privileges_are_what_the_server_itself_says() {
    let mut rig = Rig::new().await;
    rig.ways.grants = "";
    let fix = rig.ill("loopback.privileges", "warn", "none is granted").await;
    assert!(fix.contains("privileged_entities") && fix.contains(US) && fix.contains("iq = {"), "{fix}");
    rig.ways.grants = "<perm access='roster' type='both'/>";
    rig.ways.version = ("ejabberd", "23.01");
    let fix = rig.ill("loopback.privileges", "warn", "granted: roster; missing: presence (").await;
    assert!(fix.contains("mod_privilege:") && fix.contains(US), "{fix}");
    // It knows no requests in users' names: they are neither missed nor part of the advice, with which it would not start.
    // Nor are messages missed, which it brings to nobody but the contact.
    assert!(!fix.contains("iq:"), "{fix}");
    rig.ways.grants = "<perm access='roster' type='both'/><perm access='message' type='outgoing'/>\
                       <perm access='presence' type='roster'/>";
    rig.well().await;
    rig.ways.version = ("ejabberd", "25.10");
    let fix = rig.ill("loopback.privileges", "warn", "missing: iq (").await;
    assert!(fix.contains("    iq:\n      http://jabber.org/protocol/pubsub:\n        both: portway"), "{fix}");
    // Somebody else's word counts for nothing.
    (rig.ways.grants, rig.ways.granted_by) = (GRANTS, "evil.example");
    rig.ill("loopback.privileges", "warn", "none is granted").await;
    rig.ways.granted_by = "bench.example";
    rig.well().await;
}

#[tokio::test]
async fn what_the_server_lists_and_gives() {
    let mut rig = Rig::new().await;
    rig.ways.items = vec!["upload.bench.example"];
    let fix = rig.ill("loopback.disco-items", "warn", "does not list").await;
    assert!(fix.contains("disco_items") && fix.contains(US), "{fix}");
    rig.ways.items = vec![US];
    rig.ill("loopback.upload", "warn", "no service for files").await;
    rig.ways.items = vec![US, "upload.bench.example"];
    // It is for users, and not for us.
    rig.ways.slots = false;
    rig.well().await;
    rig.ways.slots = true;
    rig.well().await;
}

/// Following the advice mends it.
#[tokio::test]
async fn f5_files_of_users_that_would_not_be_fetched() {
    let mut rig = Rig::new().await;
    for (url, why) in [
        ("https://127.0.0.1:5443/1", "127.0.0.1 is private"),
        ("http://files.bench.example/1", "only https is fetched"),
        ("https://[fd00::1]:5443/1", "fd00::1 is private"),
    ] {
        rig.ways.file = url;
        let fix = rig.ill("loopback.fetch", "warn", why).await;
        rig.more = format!("{fix}\n");
        rig.well().await;
        rig.more = String::new();
    }
}

#[tokio::test]
async fn clocks_that_disagree() {
    let mut rig = Rig::new().await;
    rig.ways.ahead = 600;
    rig.ill("loopback.time", "warn", "s apart").await;
    rig.ways.ahead = 0;
    rig.well().await;
}

#[tokio::test]
async fn whoever_writes_while_the_doctor_looks_is_told() {
    let mut rig = Rig::new().await;
    rig.ways.message = true;
    rig.well().await;
    let told = rig.ways.told.borrow();
    let [answer] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        (answer.attr("type"), answer.attr("id"), answer.attr("to")),
        (Some("error"), Some("m1"), Some("juliet@bench.example/r"))
    );
    assert!(String::from(answer).contains("try again later"), "{}", String::from(answer));
}
