//! A whole set-up in one value, the scripted XMPP server in it, and the doctor that looks at it.

use std::process::Stdio;

use minidom::Element;
use serde_json::Value;
use tokio::process::Command;

use crate::support::binary::Dir;
use crate::support::fake_server::{Connection, FakeServer};

pub const US: &str = "gw.bench.example";
pub const SECRET: &str = "a-secret-of-the-component";

/// All that is wanted of a server.
pub const GRANTS: &str = "<perm access='roster' type='both'/><perm access='message' type='outgoing'/>\
                          <perm access='presence' type='roster'/>\
                          <perm access='iq'><namespace ns='http://jabber.org/protocol/pubsub' type='both'/></perm>";

/// What the XMPP server does.
pub struct Ways {
    /// Refuses with this stream error.
    pub refuses: Option<&'static str>,
    /// Takes stanzas and answers none.
    pub silent: bool,
    pub grants: &'static str,
    /// Who grants it.
    pub granted_by: &'static str,
    pub items: Vec<&'static str>,
    pub slots: bool,
    /// Where a file is found that was put there.
    pub file: &'static str,
    pub version: (&'static str, &'static str),
    /// How far its clock is ahead, in seconds.
    pub ahead: i64,
    /// A user's message that comes right behind the handshake.
    pub message: bool,
    /// What that user was told.
    pub told: std::cell::RefCell<Vec<Element>>,
}

pub struct Rig {
    pub dir: Dir,
    pub server: FakeServer,
    pub ways: Ways,
    pub port: u16,
    pub allow: String,
    pub data_dir: String,
    pub secret: String,
    pub http: String,
    /// Further sections.
    pub more: String,
    /// What the network's section is called, and its keys.
    pub network: String,
    /// Further arguments of the doctor.
    pub args: Vec<String>,
}

/// One finding.
#[derive(Debug)]
pub struct Found {
    pub level: String,
    pub check: String,
    pub found: String,
    pub fix: String,
}

impl Rig {
    /// A set-up in which all is well.
    pub async fn new() -> Self {
        let dir = Dir::new();
        let server = FakeServer::start(&[(US, SECRET)]).await;
        let ways = Ways {
            refuses: None,
            silent: false,
            grants: GRANTS,
            granted_by: "bench.example",
            items: vec![US, "upload.bench.example"],
            file: "https://u/1",
            slots: true,
            version: ("Prosody", "0.12.3"),
            ahead: 0,
            message: false,
            told: std::cell::RefCell::default(),
        };
        Self {
            data_dir: dir.0.display().to_string(),
            port: server.port(),
            dir,
            server,
            ways,
            allow: "[\"bench.example\"]".to_owned(),
            secret: SECRET.to_owned(),
            http: "127.0.0.1:0".to_owned(),
            more: String::new(),
            network: "[network.loopback]\n".to_owned(),
            args: Vec::new(),
        }
    }

    pub fn config(&self) -> String {
        let (section, keys) = self.network.split_once('\n').expect("a section");
        format!(
            "[gateway]\ndata_dir = {:?}\nallow = {}\n[xmpp]\nport = {}\n[http]\nlisten = {:?}\npublic_url = \"https://files.example\"\n{}\
             {section}\ncomponent = \"{US}\"\nsecret = {:?}\n{keys}",
            self.data_dir, self.allow, self.port, self.http, self.more, self.secret
        )
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.dir.0.join("portway.toml")
    }

    /// Runs the doctor: its exit code and what it found.
    pub async fn doctor(&mut self) -> (i32, Vec<Found>) {
        let path = self.path();
        let fresh = !path.exists();
        std::fs::write(&path, self.config()).expect("a scratch file");
        if fresh {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("ours");
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_portway"));
        command.args(["doctor", "--json", "--offline", "--config"]).arg(&path).args(&self.args);
        command.stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let output = tokio::select! {
            output = command.output() => output.expect("the binary"),
            () = serve(&self.server, &self.ways) => unreachable!("it serves for ever"),
        };
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).expect("an array");
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let found = rows
            .iter()
            .map(|row| Found {
                level: text(row, "level"),
                check: text(row, "check"),
                found: text(row, "found"),
                fix: text(row, "fix"),
            })
            .collect();
        (output.status.code().expect("it ended"), found)
    }

    /// The doctor finds this fault; returns what mends it.
    pub async fn ill(&mut self, check: &str, level: &str, words: &str) -> String {
        let (code, found) = self.doctor().await;
        let fault = found.iter().find(|finding| finding.check == check && finding.level == level);
        let fault = fault.unwrap_or_else(|| panic!("no {level} of {check} in {found:#?}"));
        assert!(fault.found.contains(words), "{words} is missing in {fault:#?}");
        assert!(!fault.fix.is_empty() || check == "config", "no advice: {fault:#?}");
        let failed = found.iter().any(|finding| finding.level == "fail");
        assert_eq!(code, if check == "config" && failed { 2 } else { i32::from(failed) });
        fault.fix.clone()
    }

    /// The doctor has nothing to say any more.
    pub async fn well(&mut self) {
        let (code, found) = self.doctor().await;
        let ill: Vec<&Found> = found.iter().filter(|finding| finding.level != "ok").collect();
        assert!(ill.is_empty() && code == 0, "{ill:#?}");
        assert!(found.len() >= 8, "{found:#?}");
    }
}

/// The value that a piece of advice gives to a key.
pub fn value<'a>(fix: &'a str, key: &str) -> &'a str {
    let line = fix.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
    let line = line.unwrap_or_else(|| panic!("no {key} in {fix}"));
    line.split(" #").next().unwrap_or(line).trim()
}

async fn serve(server: &FakeServer, ways: &Ways) {
    loop {
        let (mut connection, right) = server.greet().await;
        let refuses = ways.refuses.or(if right { None } else { Some("not-authorized") });
        if let Some(condition) = refuses {
            connection.fail(condition, "says the server").await;
            continue;
        }
        connection.pongs = !ways.silent;
        connection.send("<handshake/>").await;
        connection
            .send(&format!(
                "<message from='{}' to='{US}' id='p'><privilege xmlns='urn:xmpp:privilege:2'>{}</privilege></message>",
                ways.granted_by, ways.grants
            ))
            .await;
        if ways.message {
            let message = "<message type='chat' id='m1' from='juliet@bench.example/r' to='bob%x@gw.bench.example'><body>hi</body></message>";
            connection.send(message).await;
        }
        while let Some(stanza) = connection.next().await {
            if stanza.name() == "message" {
                ways.told.borrow_mut().push(stanza);
                continue;
            }
            if !ways.silent && stanza.name() == "iq" && stanza.attr("type") == Some("get") {
                answer(&mut connection, &stanza, ways).await;
            }
        }
    }
}

/// Answers what is asked of the server.
pub async fn answer(connection: &mut Connection, stanza: &Element, ways: &Ways) {
    let to = stanza.attr("to").expect("stamped");
    let payload = stanza.children().next().expect("a payload");
    let utc = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let seconds = i64::try_from(now).expect("soon enough") + ways.ahead;
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        // From days to a date: Howard Hinnant's civil_from_days.
        let z = days + 719_468;
        let (era, day_of_era) = (z / 146_097, z % 146_097);
        let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day = day_of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let (d, m) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
        let y = year + era * 400 + i64::from(m <= 2);
        format!("{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
    };
    let inner = match (payload.ns().as_str(), to) {
        ("jabber:iq:version", _) => {
            let (name, version) = ways.version;
            format!("<query xmlns='jabber:iq:version'><name>{name}</name><version>{version}</version></query>")
        }
        ("http://jabber.org/protocol/disco#items", _) => {
            let items: String = ways.items.iter().map(|item| format!("<item jid='{item}'/>")).collect();
            format!("<query xmlns='http://jabber.org/protocol/disco#items'>{items}</query>")
        }
        ("http://jabber.org/protocol/disco#info", "upload.bench.example") => {
            "<query xmlns='http://jabber.org/protocol/disco#info'><feature var='urn:xmpp:http:upload:0'/></query>"
                .to_owned()
        }
        ("urn:xmpp:http:upload:0", _) if ways.slots => {
            "<slot xmlns='urn:xmpp:http:upload:0'><put url='https://u/1'/><get url='".to_owned()
                + ways.file
                + "'/></slot>"
        }
        ("urn:xmpp:time", _) => format!("<time xmlns='urn:xmpp:time'><tzo>+00:00</tzo><utc>{}</utc></time>", utc()),
        _ => "<error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>".to_owned(),
    };
    let type_ = if inner.starts_with("<error") { "error" } else { "result" };
    let id = stanza.attr("id").expect("an id");
    let us = connection.domain.clone();
    connection.send(&format!("<iq type='{type_}' from='{to}' to='{us}' id='{id}'>{inner}</iq>")).await;
}
