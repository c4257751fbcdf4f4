//! This machine: the store, the disk, the clock, and what is listened on.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use portway_bridges::api::{Adapter, Finding, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::config::{Config, NetworkConfig};
use crate::store::Store;

/// Less free space than this is worth a warning, and less than a tenth of it a failure, in bytes.
const ENOUGH: u64 = 1 << 30;

/// No clock that is right shows a time before this program was written: 2026-01-01, in milliseconds.
const WRITTEN: i64 = 1_767_225_600_000;

/// How long an HTTP answer may take, also where the gateway has to ask a slow XMPP server first, and how large it may be in
/// bytes.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOKING: Duration = Duration::from_secs(60);
const LARGEST: u64 = 4 << 20;

/// The folder, the database in it, and the space that is left. Nothing is created or migrated: whoever runs the doctor
/// is perhaps not the user that runs the gateway.
pub async fn store(config: &Config) -> Vec<Finding> {
    let folder = &config.data_dir;
    let shown = folder.display();
    if !folder.is_dir() {
        return vec![
            Finding::fail("store", format!("the folder {shown} is not there (gateway.data_dir)"))
                .fix(format!("install -d -m 750 -o portway -g portway {shown}")),
        ];
    }
    let mut findings = vec![database(config).await];
    findings.extend(space(folder));
    findings
}

async fn database(config: &Config) -> Finding {
    let name = config.store_url.trim_start_matches("sqlite:");
    if name == ":memory:" {
        return Finding::warn("store", "store.url is in memory: everything is lost when the gateway ends")
            .fix("[store]\nurl = \"sqlite:portway.db\"");
    }
    let path = config.data_dir.join(name);
    let folder = path.parent().unwrap_or(&config.data_dir);
    let own = |what: &Path| format!("chown -R portway:portway {}  # the user that runs the gateway", what.display());
    // SQLite makes files beside the database, so the folder counts as well.
    let probe = folder.join(format!(".portway-doctor-{}", std::process::id()));
    let written = std::fs::OpenOptions::new().write(true).create_new(true).open(&probe);
    let _ = std::fs::remove_file(&probe);
    if let Err(error) = written {
        return Finding::fail("store", format!("{} is not writable: {error}", folder.display())).fix(own(folder));
    }
    if !path.exists() {
        return Finding::ok("store", format!("{} is writable; portway run will make the database", folder.display()));
    }
    if let Err(error) = std::fs::OpenOptions::new().read(true).write(true).open(&path) {
        return Finding::fail("store", format!("{} is not writable: {error}", path.display())).fix(own(folder));
    }
    match Store::verify(&path).await {
        Ok(()) => Finding::ok("store", format!("{} is whole, writable, and of a schema that we know", path.display())),
        Err(error) => Finding::fail("store", error.to_string()).fix(format!(
            "# stop the gateway, then put a backup in its place, or keep the broken file aside and begin anew:\n\
             mv {0} {0}.broken\nportway db restore /path/of/a/backup",
            path.display()
        )),
    }
}

/// The space that is left where the database is.
fn space(folder: &Path) -> Option<Finding> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    Some(enough(free, folder))
}

fn enough(free: u64, folder: &Path) -> Finding {
    let text = format!("{} MiB are free in {}", free >> 20, folder.display());
    let fix = "# make room, or move gateway.data_dir to another disk; a full disk refuses new messages, with an error to\n\
               # their senders, and loses none that were accepted";
    match free {
        free if free < ENOUGH / 10 => Finding::fail("disk", text).fix(fix),
        free if free < ENOUGH => Finding::warn("disk", text).fix(fix),
        _ => Finding::ok("disk", text),
    }
}

/// Whether the clock can be right.
pub fn clock(now: Timestamp) -> Finding {
    if now.0 >= WRITTEN {
        return Finding::ok("clock", "it shows a time that can be");
    }
    Finding::fail("clock", "it shows a time before this program was written; messages would be dated wrongly")
        .fix("timedatectl set-ntp true")
}

/// What a gateway that runs says of itself.
pub struct Running {
    /// What it has found over its connections; `None` where its version does not look.
    doctor: Option<Vec<Finding>>,
    metrics: String,
}

impl Running {
    /// What it says of the connection of a network.
    pub fn of(&self, network: &NetworkConfig) -> Vec<Finding> {
        let own = format!("{}.", network.id);
        let finding = |finding: &Finding| {
            let what = finding.what.strip_prefix(&own)?.to_owned();
            Some(Finding { what, ..finding.clone() })
        };
        let found: Vec<Finding> = self.doctor.iter().flatten().filter_map(finding).collect();
        // Nothing of this network: an older version, or the network is not attached, which the metrics tell as well.
        if found.is_empty() { super::xmpp::by_metrics(network, &self.metrics) } else { found }
    }
}

/// Whether the HTTP listener is free, or a gateway of ours has it: then what it says.
pub async fn http(config: &Config) -> (Option<Running>, Vec<Finding>) {
    let address = config.http_listen;
    match TcpListener::bind(address).await {
        Ok(_) => (None, vec![Finding::ok("http", format!("{address} is free for the gateway"))]),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            if page(address, "/live", PATIENCE).await.as_deref() != Some("live\n") {
                let text = format!("another program listens on {address}, and it is not Portway");
                let fix = format!(
                    "[http]\nlisten = \"{}:8091\"  # a free port; `ss -ltnp` says who has this one",
                    address.ip()
                );
                return (None, vec![Finding::fail("http", text).fix(fix)]);
            }
            let mut findings = vec![Finding::ok("http", format!("the gateway runs and answers on {address}"))];
            match page(address, "/ready", PATIENCE).await.as_deref() {
                Some("ready\n") => findings.push(Finding::ok("ready", "every part of it works")),
                Some(text) => findings.push(
                    Finding::fail("ready", format!("the gateway is {}", text.trim()))
                        .fix("# see its log, or stop it and run the doctor again: it can then look for itself"),
                ),
                None => {}
            }
            let metrics = page(address, "/metrics", PATIENCE).await.unwrap_or_default();
            let doctor = page(address, "/doctor", LOOKING).await.and_then(|json| super::read(&json));
            (Some(Running { doctor, metrics }), findings)
        }
        Err(error) => {
            let text = format!("nobody can listen on {address}: {error}");
            (None, vec![Finding::fail("http", text).fix("[http]\nlisten = \"127.0.0.1:8090\"")])
        }
    }
}

/// A page of the gateway's own listener, whatever its status.
async fn page(address: SocketAddr, path: &str, patience: Duration) -> Option<String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.take(LARGEST).read_to_string(&mut answer).await.ok()?;
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    };
    tokio::time::timeout(patience, ask).await.ok().flatten()
}

/// Whether what a network listens on is free. Where the gateway runs, it has them itself.
pub async fn listeners(adapter: &dyn Adapter, running: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for listener in adapter.listeners() {
        let Ok(address) = listener.address.parse::<SocketAddr>() else { continue };
        let (what, bound) = (listener.what, TcpListener::bind(address).await);
        findings.push(match bound {
            Ok(_) if running && address.port() != 0 => {
                Finding::warn("listen", format!("the gateway runs, but nobody listens on {address} ({what})"))
                    .fix("# the configuration has changed since it was started: restart it")
            }
            Ok(_) => Finding::ok("listen", format!("{address} is free ({what})")),
            Err(error) if running && error.kind() == ErrorKind::AddrInUse => {
                Finding::ok("listen", format!("{address} is taken, by the gateway that runs ({what})"))
            }
            Err(error) => Finding::fail("listen", format!("nobody can listen on {address} ({what}): {error}")).fix(
                "# another program has it, or another gateway: `ss -ltnp` says who. End that one, or change listen",
            ),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use portway_bridges::api::Level;

    use super::*;

    #[test]
    fn space_and_time_have_bounds() {
        let level = |free| enough(free, Path::new("/x")).level;
        assert_eq!([level(1 << 40), level(500 << 20), level(50 << 20)], [Level::Ok, Level::Warn, Level::Fail]);
        assert_eq!(clock(Timestamp(WRITTEN)).level, Level::Ok);
        assert_eq!(clock(Timestamp(0)).level, Level::Fail);
    }
}
