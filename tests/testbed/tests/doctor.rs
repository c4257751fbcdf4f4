//! `portway doctor` against real servers: with all of them as they should be it finds nothing wrong, and then, one after
//! another, with real faults: each is found, its advice is followed to the letter, and the fault is gone.

use std::path::PathBuf;

use portway_testbed::process::write;
use portway_testbed::world::{HOST, Kind, SECRET, World, in_world};
use portway_testbed::{Result, ejabberd, until};
use serde_json::Value;

/// One finding.
#[derive(Debug)]
struct Found {
    level: String,
    check: String,
    found: String,
    fix: String,
}

/// The servers, and the doctor that looks at them.
struct Ward<'a> {
    kind: Kind,
    world: &'a mut World,
    /// Whether the gateway runs.
    running: bool,
    /// Whether it is started anew with the XMPP server.
    restarts: bool,
}

impl Ward<'_> {
    async fn doctor(&self) -> Result<Vec<Found>> {
        let registration = self.registration().display().to_string();
        let args = ["doctor", "--json", "--offline", "--registration", &registration];
        let (code, text, errors) = self.world.gateway.command(&args).await?;
        let rows: Vec<Value> = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}{errors}"))?;
        let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let found: Vec<Found> = rows
            .iter()
            .map(|row| Found {
                level: word(row, "level"),
                check: word(row, "check"),
                found: word(row, "found"),
                fix: word(row, "fix"),
            })
            .collect();
        let failed = found.iter().any(|finding| finding.level == "fail");
        match code == i32::from(failed) {
            true => Ok(found),
            false => Err(format!("the exit code is {code}: {found:#?}")),
        }
    }

    /// Everything is well, and everything was looked at.
    async fn well(&self) -> Result<()> {
        let found = self.doctor().await?;
        // Files of this test are for this machine only, and the doctor says so.
        let here = |finding: &&Found| finding.check == "config" && finding.found.contains("is this machine itself");
        let ill: Vec<&Found> = found.iter().filter(|finding| finding.level != "ok" && !here(finding)).collect();
        let looked = |check: &str| found.iter().any(|finding| finding.check == check);
        let missing: Vec<&str> = ALL.iter().copied().filter(|check| !looked(check)).collect();
        if ill.is_empty() && missing.is_empty() && looked("ready") == self.running {
            return if self.running { self.says_so_itself().await } else { Ok(()) };
        }
        Err(format!("ill (the gateway runs: {}): {ill:#?}; not looked at: {missing:?}", self.running))
    }

    /// The gateway that runs says the same to its admins.
    async fn says_so_itself(&self) -> Result<()> {
        for network in ["matrix", "email"] {
            let (code, text, errors) = self.world.gateway.command(&["admin", "do", network, "doctor"]).await?;
            if code != 0 || !text.starts_with("All is well.\n") || !text.contains(&format!("ok   {network}.upload: ")) {
                return Err(format!("the gateway itself says: {text}{errors}"));
            }
        }
        Ok(())
    }

    /// The doctor finds this fault; returns what mends it.
    async fn ill(&self, check: &str, level: &str, words: &str) -> Result<String> {
        let found = self.doctor().await?;
        let fault = found.iter().find(|finding| finding.check == check && finding.level == level);
        let ill = || found.iter().filter(|finding| finding.level != "ok" || finding.check == check).collect::<Vec<_>>();
        let fault = fault.ok_or_else(|| format!("no {level} of {check} ({words}) in {:#?}", ill()))?;
        match fault.found.contains(words) && !fault.fix.is_empty() {
            true => Ok(fault.fix.clone()),
            false => Err(format!("“{words}” or the advice is missing in {fault:#?}")),
        }
    }

    fn registration(&self) -> PathBuf {
        self.world.scratch.path().join("g/registration.yaml")
    }

    /// The configuration of the XMPP server.
    fn server(&self) -> PathBuf {
        self.world.scratch.path().join(match self.kind {
            Kind::Prosody => "x/prosody.cfg.lua",
            Kind::Ejabberd => "x/ejabberd.yml",
        })
    }

    /// Changes the XMPP server's configuration and starts it anew.
    async fn server_with(&mut self, change: impl FnOnce(String) -> Result<String>) -> Result<()> {
        let path = self.server();
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        write(&path, &change(text)?)?;
        match self.kind {
            Kind::Prosody => self.world.xmpp.stop().await,
            // It takes its time to end.
            Kind::Ejabberd => self.world.xmpp.kill().await,
        }
        self.world.xmpp.start().await?;
        if self.kind == Kind::Ejabberd {
            let ports = self.world.ports;
            until("ejabberd takes users", async || ejabberd::users(ports).await.ok()).await?;
        }
        self.settle().await
    }

    /// Puts what the doctor advises into the XMPP server's configuration.
    async fn apply(&mut self, fix: &str) -> Result<()> {
        let kind = self.kind;
        self.server_with(|text| {
            Ok(match kind {
                Kind::Prosody => format!("{text}\n{fix}\n"),
                Kind::Ejabberd => merge(&text, fix),
            })
        })
        .await
    }

    /// Starts a running gateway anew: what it has found is kept for some seconds, and its connection comes back in its own time.
    async fn settle(&mut self) -> Result<()> {
        if self.running && self.restarts {
            self.world.gateway.kill().await;
            self.world.gateway.start().await?;
        }
        Ok(())
    }

    /// Changes the gateway's configuration; the gateway is started anew by whoever needs that.
    fn gateway_with(&self, from: &str, to: &str) -> Result<()> {
        let path = self.world.gateway.config().to_owned();
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        if !text.contains(from) {
            return Err(format!("no {from} in {text}"));
        }
        write(&path, &text.replace(from, to))
    }

    async fn run_gateway(&mut self, yes: bool) -> Result<()> {
        self.running = yes;
        match yes {
            true => self.world.gateway.start().await,
            false => {
                self.world.gateway.kill().await;
                Ok(())
            }
        }
    }
}

/// What must have been looked at, on every server and whether the gateway runs or not.
const ALL: [&str; 23] = [
    "config",
    "store",
    "disk",
    "clock",
    "http",
    "email.allow",
    "email.handshake",
    "email.server",
    "email.version",
    "email.privileges",
    "email.disco-items",
    "email.upload",
    "email.time",
    "email.listen",
    "email.smarthost",
    "matrix.handshake",
    "matrix.privileges",
    "matrix.upload",
    "matrix.listen",
    "matrix.homeserver",
    "matrix.as_token",
    "matrix.ping",
    "matrix.registration",
];

/// Puts the sections of some YAML into another: what stands there under the same name is replaced.
fn merge(config: &str, fix: &str) -> String {
    let mut lines: Vec<String> = config.lines().map(str::to_owned).collect();
    let depth = |line: &str| line.len() - line.trim_start().len();
    let (mut section, mut at) = (String::new(), 0);
    for line in fix.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if depth(line) == 0 {
            line.clone_into(&mut section);
            at = match lines.iter().position(|known| *known == section) {
                Some(at) => at + 1,
                None => {
                    lines.push(section.clone());
                    lines.len()
                }
            };
            continue;
        }
        if depth(line) == 2 {
            let key = line.split_inclusive(':').next().unwrap_or(line);
            let end = lines[at..].iter().position(|line| depth(line) == 0).map_or(lines.len(), |end| at + end);
            if let Some(known) = (at..end).find(|n| lines[*n].starts_with(key)) {
                let behind = lines[known + 1..].iter().position(|line| depth(line) <= 2);
                lines.drain(known..behind.map_or(lines.len(), |behind| known + 1 + behind));
            }
        }
        lines.insert(at, line.to_owned());
        at += 1;
    }
    lines.join("\n") + "\n"
}

async fn all_is_well_and_then_not(kind: Kind, world: &mut World) -> Result<()> {
    let mut ward = Ward { kind, world, running: true, restarts: true };
    ward.well().await?;
    privileges(&mut ward).await?;
    files(&mut ward).await?;
    component(&mut ward).await?;
    homeserver(&mut ward).await?;
    smarthost(&mut ward).await
}

/// The service for users' files: not there, with the gateway running and without; and there, but out of our reach.
async fn files(ward: &mut Ward<'_>) -> Result<()> {
    let good = std::fs::read_to_string(ward.server()).map_err(|error| error.to_string())?;
    let kind = ward.kind;
    ward.server_with(|text| {
        let without = match kind {
            Kind::Prosody => text.replace(
                &format!("Component \"upload.{HOST}\" \"http_file_share\"\n  http_host = \"127.0.0.1\"\n"),
                "",
            ),
            Kind::Ejabberd => {
                let from = text.find("  mod_http_upload:\n").ok_or("no service for files")?;
                let end = text[from + 1..].find("\n  mod_").map(|end| from + end + 2);
                format!("{}{}", &text[..from], end.map_or("", |end| &text[end..]))
            }
        };
        if without == text { Err("no service for files to take away".to_owned()) } else { Ok(without) }
    })
    .await?;
    let fix = ward.ill("matrix.upload", "warn", "no service for files").await?;
    ward.run_gateway(false).await?;
    if ward.ill("email.upload", "warn", "no service for files").await? != fix {
        return Err("the gateway that runs advises something else than the doctor itself".to_owned());
    }
    ward.apply(&fix).await?;
    ward.well().await?;
    ward.server_with(|_| Ok(good)).await?;
    ward.gateway_with("fetch_allow = [\"127.0.0.1\"]", "fetch_allow = []")?;
    let fix = ward.ill("matrix.fetch", "warn", "are not fetched from there").await?;
    let advice = fix.lines().last().unwrap_or_default();
    ward.gateway_with("fetch_allow = []", advice)?;
    ward.well().await?;
    ward.run_gateway(true).await?;
    ward.well().await
}

/// What the server lets us do, with the gateway running and without.
async fn privileges(ward: &mut Ward<'_>) -> Result<()> {
    let kind = ward.kind;
    ward.server_with(|text| {
        Ok(match kind {
            Kind::Prosody => text.replace("privileged_entities", "not_so_privileged"),
            Kind::Ejabberd => text.replace("roster:\n      both: portway", "roster:\n      both: none"),
        })
    })
    .await?;
    let words = if kind == Kind::Prosody { "none is granted" } else { "missing: roster" };
    let fix = ward.ill("matrix.privileges", "warn", words).await?;
    ward.run_gateway(false).await?;
    if ward.ill("email.privileges", "warn", words).await? != fix {
        return Err("the gateway that runs advises something else than the doctor itself".to_owned());
    }
    ward.apply(&fix).await?;
    ward.well().await?;
    ward.run_gateway(true).await?;
    ward.well().await
}

/// The component's block: with another secret, and not there at all; also while the gateway runs.
async fn component(ward: &mut Ward<'_>) -> Result<()> {
    ward.run_gateway(false).await?;
    for fault in ["secret", "absent"] {
        let path = ward.server();
        let good = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let kind = ward.kind;
        ward.server_with(|text| {
            Ok(match (fault, kind) {
                ("secret", _) => text.replace(SECRET, "of-somebody-else"),
                _ => text.replace(&format!("matrix.{HOST}"), "other.example"),
            })
        })
        .await?;
        let words = if fault == "secret" { "the secrets differ" } else { "" };
        let fix = ward.ill("matrix.handshake", "fail", words).await?;
        let name = if kind == Kind::Prosody { "prosody" } else { "ejabberd" };
        if !fix.contains("portway generate server prosody") {
            return Err(format!("other advice than expected: {fix}"));
        }
        let (code, block, errors) = ward.world.gateway.command(&["generate", "server", name]).await?;
        if code != 0 {
            return Err(errors);
        }
        let port = ward.world.ports.component;
        ward.server_with(|text| {
            Ok(match kind {
                Kind::Prosody => {
                    let enabled = "modules_enabled = { \"privilege\" }";
                    let block = block.replace(&format!("-- {enabled}"), enabled);
                    let rest = without_components(&text).replace("other.example", &format!("matrix.{HOST}"));
                    format!("{rest}\n{block}\nComponent \"upload.{HOST}\" \"http_file_share\"\n")
                }
                Kind::Ejabberd => {
                    // The block says that it belongs below "listen:"; what it brings for elsewhere is in comments.
                    let old = text.find(&format!("  -\n    port: {port}\n")).ok_or("no listener")?;
                    let end = old + text[old + 1..].find("\n  -\n").ok_or("no other listener")? + 2;
                    let text = format!("{}{}", &text[..old], &text[end..]);
                    let text = text.replace("other.example", &format!("matrix.{HOST}"));
                    text.replace("\nlisten:\n", &format!("\nlisten:\n{block}"))
                }
            })
        })
        .await?;
        ward.well().await?;
        write(&path, &good)?;
    }
    ward.server_with(Ok).await?;
    // A gateway that runs says what the server said to it.
    ward.run_gateway(true).await?;
    ward.running = false;
    ward.server_with(|text| Ok(text.replace(SECRET, "of-somebody-else"))).await?;
    let ward_ = &*ward;
    until("the running gateway explains itself", async || {
        ward_.ill("matrix.handshake", "fail", "secrets differ").await.ok()
    })
    .await?;
    ward.server_with(|text| Ok(text.replace("of-somebody-else", SECRET))).await?;
    ward.running = true;
    let ward_ = &*ward;
    until("the running gateway is well again", async || ward_.well().await.ok()).await
}

/// A configuration of Prosody without its components.
fn without_components(text: &str) -> String {
    let mut skip = false;
    let kept = text.lines().filter(|line| {
        skip = line.starts_with("Component ") || skip && !line.starts_with("VirtualHost ");
        !skip
    });
    kept.map(|line| format!("{line}\n")).collect()
}

/// The homeserver: away, and with other tokens than ours.
async fn homeserver(ward: &mut Ward<'_>) -> Result<()> {
    ward.run_gateway(false).await?;
    ward.world.homeserver.stop().await;
    let fix = ward.ill("matrix.homeserver", "fail", "does not answer").await?;
    if !fix.contains("start the homeserver") {
        return Err(fix);
    }
    ward.world.homeserver.start().await?;
    ward.well().await?;
    for (token, check) in [("hs", "matrix.hs_token"), ("as", "matrix.as_token")] {
        ward.gateway_with(&format!("{token}-{SECRET}"), &format!("{token}-new"))?;
        let fix = ward.ill(check, "fail", "token").await?;
        ward.ill("matrix.registration", "fail", "see ").await?;
        if !fix.contains("portway generate registration") {
            return Err(fix);
        }
        ward.world.gateway.registration(&ward.registration()).await?;
        ward.world.homeserver.stop().await;
        ward.world.homeserver.start().await?;
        ward.well().await?;
    }
    ward.run_gateway(true).await?;
    ward.well().await
}

/// The mail server: away, and unwilling to take mail of ours for others.
async fn smarthost(ward: &mut Ward<'_>) -> Result<()> {
    stop_postfix(ward).await?;
    let fix = ward.ill("email.smarthost", "fail", "does not answer").await?;
    if !fix.contains("start the mail server") {
        return Err(fix);
    }
    let path = ward.world.scratch.path().join("m/p/etc/main.cf");
    let good = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
    write(&path, &good.replace("mynetworks = 127.0.0.0/8", "mynetworks = 192.0.2.0/24"))?;
    ward.world.mail.postfix.start().await?;
    let fix = ward.ill("email.smarthost", "fail", "refuses us").await?;
    if !fix.contains("mynetworks") {
        return Err(fix);
    }
    write(&path, &good)?;
    stop_postfix(ward).await?;
    ward.world.mail.postfix.start().await?;
    ward.well().await
}

/// Ends Postfix with all its processes: those that outlive the first one still have the port for a moment.
async fn stop_postfix(ward: &mut Ward<'_>) -> Result<()> {
    ward.world.mail.postfix.stop().await;
    let port = ward.world.mail.smtp;
    until("Postfix is gone", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.err()).await?;
    Ok(())
}

#[test]
fn d15_faults_of_real_servers_are_found_and_mended_on_prosody() {
    in_world(Kind::Prosody, async |world| all_is_well_and_then_not(Kind::Prosody, world).await);
}

#[test]
fn d15_faults_of_real_servers_are_found_and_mended_on_ejabberd() {
    in_world(Kind::Ejabberd, async |world| all_is_well_and_then_not(Kind::Ejabberd, world).await);
}
