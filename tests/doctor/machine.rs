//! The configuration file, the store, the listeners.

use crate::rig::{Rig, value};

#[tokio::test]
async fn keys_that_do_not_exist_are_named_and_the_program_says_that_the_configuration_is_wrong() {
    let mut rig = Rig::new().await;
    rig.more = "[limits]\nuser_rat = 5\n".to_owned();
    rig.ill("config", "fail", "did you mean user_rate?").await;
    rig.more = "[limits]\nuser_rate = 5\n".to_owned();
    rig.well().await;
}

#[tokio::test]
async fn a_file_that_everybody_can_read_is_closed_by_the_advice() {
    use std::os::unix::fs::PermissionsExt;
    let mut rig = Rig::new().await;
    rig.well().await;
    std::fs::set_permissions(rig.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let fix = rig.ill("config.permissions", "warn", "can read its secrets").await;
    let words: Vec<&str> = fix.split(' ').collect();
    assert!(std::process::Command::new(words[0]).args(&words[1..]).status().unwrap().success(), "{fix}");
    rig.well().await;
}

#[tokio::test]
async fn a_secret_of_the_example_is_replaced_by_the_fresh_one_of_the_advice() {
    let mut rig = Rig::new().await;
    rig.secret = "change me".to_owned();
    let fix = rig.ill("config.secrets", "fail", "network.loopback.secret").await;
    rig.secret = value(&fix, "secret").trim_matches('"').to_owned();
    assert_eq!(rig.secret.len(), 64);
    // The server must have the same; then all is well.
    rig.ill("loopback.handshake", "fail", "the secrets differ").await;
    rig.server = crate::support::fake_server::FakeServer::start(&[(crate::rig::US, &rig.secret)]).await;
    rig.port = rig.server.port();
    rig.well().await;
}

#[tokio::test]
async fn a_missing_folder_and_a_foreign_database() {
    let mut rig = Rig::new().await;
    let folder = rig.dir.0.join("data");
    rig.data_dir = folder.display().to_string();
    let fix = rig.ill("store", "fail", "is not there").await;
    assert!(fix.starts_with("install -d ") && fix.ends_with(&rig.data_dir), "{fix}");
    std::fs::create_dir(&folder).unwrap();
    rig.well().await;
    // Nothing was made on the way.
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    let database = folder.join("portway.db");
    std::fs::write(&database, "these are somebody's notes, and no database at all: they must stay as they are")
        .unwrap();
    let fix = rig.ill("store", "fail", "").await;
    let words: Vec<&str> = fix.lines().find(|line| line.starts_with("mv ")).unwrap().split(' ').collect();
    assert!(std::process::Command::new(words[0]).args(&words[1..]).status().unwrap().success(), "{fix}");
    rig.well().await;
    assert!(folder.join("portway.db.broken").exists());
}

#[tokio::test]
async fn a_port_that_another_program_has() {
    let mut rig = Rig::new().await;
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.http = other.local_addr().unwrap().to_string();
    tokio::spawn(async move { while other.accept().await.is_ok() {} });
    rig.ill("http", "fail", "it is not Portway").await;
    rig.http = "127.0.0.1:0".to_owned();
    rig.well().await;
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.network = format!("[network.loopback]\nlisten = \"{}\"\n", other.local_addr().unwrap());
    rig.ill("loopback.listen", "fail", "nobody can listen").await;
    drop(other);
    rig.well().await;
}

#[tokio::test]
async fn the_people_of_the_server_are_let_in_by_the_advice() {
    let mut rig = Rig::new().await;
    rig.allow = "[\"friends.example\"]".to_owned();
    let fix = rig.ill("loopback.allow", "warn", "bench.example may not use").await;
    rig.allow = value(&fix, "allow").to_owned();
    assert!(rig.allow.contains("friends.example"), "{}", rig.allow);
    rig.well().await;
}
