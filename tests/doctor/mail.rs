//! The smarthost, and what names say of the mail domain and of the component.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use portway::clock::Clock;
use portway::config::{check, load};
use portway::doctor::{self, Tools};
use portway_bridges::api::{Dns, DnsError, Finding, Level, Question, Record};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::rig::Rig;

/// A mail server that offers these extensions and takes the login of nobody.
async fn smarthost(extensions: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (read, mut write) = socket.into_split();
            let mut lines = BufReader::new(read).lines();
            let _ = write.write_all(b"220 mx ESMTP\r\n").await;
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = match line.split(' ').next().unwrap_or_default() {
                    "EHLO" => {
                        let mut all = vec!["mx"];
                        all.extend(extensions);
                        let last = all.len() - 1;
                        let line =
                            |(n, text): (usize, &&str)| format!("250{}{text}\r\n", if n == last { ' ' } else { '-' });
                        all.iter().enumerate().map(line).collect()
                    }
                    // As Postfix does it, which says who it is for others at the recipient.
                    "RCPT" if extensions.contains(&"STRICT") => "454 4.7.1 Relay access denied\r\n".to_owned(),
                    "RCPT" => "550 5.1.1 nobody of that name\r\n".to_owned(),
                    "AUTH" => "535 5.7.8 wrong password\r\n".to_owned(),
                    _ => "250 ok\r\n".to_owned(),
                };
                let _ = write.write_all(answer.as_bytes()).await;
            }
        }
    });
    port
}

fn section(smarthost: &str, more: &str) -> String {
    format!(
        "[network.email]\ndomain = \"mail.bench.example\"\nlisten = \"lmtp://127.0.0.1:0\"\nsmarthost = {smarthost:?}\n{more}"
    )
}

#[tokio::test]
async fn the_smarthost_must_answer_and_take_us_as_configured() {
    let mut rig = Rig::new().await;
    let plain = smarthost(&["SIZE 1000", "AUTH PLAIN"]).await;
    rig.network = section(&format!("smtp://127.0.0.1:{plain}"), "");
    rig.well().await;
    let strict = smarthost(&["STRICT"]).await;
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = unused.local_addr().unwrap();
    drop(unused);
    for (url, words) in [
        (format!("smtp://{closed}"), "does not answer"),
        (format!("smtp://127.0.0.1:{plain}?tls=required"), "offers no STARTTLS"),
        (format!("smtp://juliet:wrong@127.0.0.1:{plain}"), "does not take our login"),
        (format!("smtp://127.0.0.1:{strict}"), "refuses us: 454 4.7.1 Relay access denied"),
    ] {
        rig.network = section(&url, "");
        let fix = rig.ill("email.smarthost", "fail", words).await;
        assert!(!fix.contains("wrong"), "{fix}");
    }
    rig.network = section(&format!("smtp://127.0.0.1:{plain}"), "");
    rig.well().await;
}

#[tokio::test]
async fn files_that_cannot_be_read_are_named() {
    let mut rig = Rig::new().await;
    let smarthost = format!("smtp://127.0.0.1:{}", smarthost(&[]).await);
    let key = rig.dir.0.join("dkim.key");
    rig.network =
        section(&smarthost, &format!("dkim_selector = \"sel\"\ndkim_key_file = {:?}\n", key.display().to_string()));
    let fix = rig.ill("email.dkim_key_file", "fail", "dkim.key").await;
    assert!(fix.contains(&key.display().to_string()), "{fix}");
    std::fs::copy(dkim_key(), &key).unwrap();
    rig.well().await;
}

fn dkim_key() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bridges/email/tests/keys/dkim-rsa.key")
}

/// Names that are in a table, and no others.
#[derive(Default)]
struct Table(HashMap<String, Vec<Record>>);

impl Table {
    /// Adds what a line of a zone file says.
    fn add(&mut self, line: &str) {
        let line = line.split("  ;").next().unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let name = words[0].trim_end_matches('.').to_owned();
        let host = |word: &str| word.trim_end_matches('.').to_owned();
        let record = match words[3] {
            "A" => Record::Address(words[4].parse().unwrap()),
            "MX" => Record::Mx { preference: words[4].parse().unwrap(), host: host(words[5]) },
            "SRV" => Record::Srv { port: words[6].parse().unwrap(), host: host(words[7]) },
            "TXT" => Record::Txt(line.split('"').skip(1).step_by(2).collect()),
            other => panic!("{other} in {line}"),
        };
        self.0.entry(name).or_default().push(record);
    }
}

impl Dns for Table {
    fn ask<'a>(&'a self, name: &'a str, what: Question) -> BoxFuture<'a, Result<Vec<Record>, DnsError>> {
        let fits = |record: &&Record| {
            matches!(
                (record, what),
                (Record::Address(_), Question::Address)
                    | (Record::Mx { .. }, Question::Mx)
                    | (Record::Txt(_), Question::Txt)
                    | (Record::Srv { .. }, Question::Srv)
            )
        };
        let found = self.0.get(name).map(|records| records.iter().filter(fits).cloned().collect());
        async move { Ok(found.unwrap_or_default()) }.boxed()
    }
}

/// Nobody answers.
struct Mute;

impl Dns for Mute {
    fn ask<'a>(&'a self, _name: &'a str, _what: Question) -> BoxFuture<'a, Result<Vec<Record>, DnsError>> {
        async { Err(DnsError("timeout".to_owned())) }.boxed()
    }
}

/// What the library finds with these names.
async fn look(config: &str, dns: Arc<dyn Dns>) -> Vec<Finding> {
    let settings = load::parse(Path::new("p.toml"), config).unwrap();
    let config = check::check(settings).unwrap();
    let tools = Tools { dns: Some(dns), clock: Clock::system(), patience: Duration::from_secs(5), registration: None };
    doctor::examine(&config, &tools).await
}

fn level(found: &[Finding], check: &str) -> (Level, String) {
    let finding = found.iter().find(|finding| finding.what == check);
    let finding = finding.unwrap_or_else(|| panic!("no {check} in {found:#?}"));
    (finding.level, finding.fix.clone().unwrap_or_default())
}

#[tokio::test]
async fn names_are_mended_by_the_very_lines_of_the_advice() {
    let mut rig = Rig::new().await;
    // Nobody listens there: the server is another test's business.
    rig.port = 1;
    let key = format!("dkim_selector = \"sel\"\ndkim_key_file = {:?}\n", dkim_key().display().to_string());
    rig.network = section("smtp://127.0.0.1:1", &key);
    let config = rig.config();
    let found = look(&config, Arc::new(Table::default())).await;
    let mut table = Table::default();
    for (check, expected) in
        [("email.dns", Level::Warn), ("email.mx", Level::Fail), ("email.spf", Level::Warn), ("email.dkim", Level::Fail)]
    {
        let (level, fix) = level(&found, check);
        assert_eq!(level, expected, "{check}");
        table.add(&fix);
    }
    // The MX leads to a host that has no address yet.
    let found = look(&config, Arc::new(Table(table.0.clone()))).await;
    let (level_of_mx, fix) = level(&found, "email.mx");
    assert_eq!(level_of_mx, Level::Fail);
    table.add(&fix);
    let found = look(&config, Arc::new(table)).await;
    for check in ["email.dns", "email.mx", "email.spf", "email.dkim"] {
        assert_eq!(level(&found, check).0, Level::Ok, "{check} in {found:#?}");
    }
}

#[tokio::test]
async fn names_that_are_wrong_are_told_from_names_that_are_not_there() {
    let mut rig = Rig::new().await;
    rig.port = 1;
    let key = format!("dkim_selector = \"sel\"\ndkim_key_file = {:?}\n", dkim_key().display().to_string());
    let mut table = Table::default();
    for line in [
        "mail.bench.example. 3600 IN MX 10 mx.bench.example.",
        "mx.bench.example. 3600 IN A 192.0.2.7",
        "mail.bench.example. 3600 IN TXT \"v=spf1 mx -all\"",
        "mail.bench.example. 3600 IN TXT \"v=spf1 -all\"",
        "sel._domainkey.mail.bench.example. 3600 IN TXT \"v=DKIM1; p=AAAA\"",
    ] {
        table.add(line);
    }
    let table = Arc::new(table);
    rig.network = section("smtp://127.0.0.1:1", &key).replace("lmtp://127.0.0.1:0", "smtp://127.0.0.1:2525");
    let found = look(&rig.config(), table.clone()).await;
    for (check, words) in [
        ("email.mx", "we listen on 127.0.0.1:2525 only"),
        ("email.spf", "2 SPF records"),
        ("email.dkim", "another key"),
    ] {
        let finding = found.iter().find(|finding| finding.what == check).unwrap();
        assert!(finding.level == Level::Fail && finding.text.contains(words), "{finding:?}");
    }
    rig.network = section("smtp://127.0.0.1:1", &key).replace("lmtp://127.0.0.1:0", "smtp://0.0.0.0:2525");
    assert_eq!(level(&look(&rig.config(), table).await, "email.mx").0, Level::Warn);
    let found = look(&rig.config(), Arc::new(Mute)).await;
    for check in ["email.dns", "email.names"] {
        let finding = found.iter().find(|finding| finding.what == check).unwrap();
        assert!(finding.level == Level::Warn && finding.text.contains("timeout"), "{finding:?}");
    }
}
