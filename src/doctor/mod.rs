//! `portway doctor`: looks at everything that the gateway depends on, from outside and without changing anything, and says
//! of each fault what mends it.
//!
//! One file for each area: [`settings`] (the configuration), [`machine`] (store, disk, clock, listeners), [`xmpp`] (the XMPP server),
//! [`names`] (DNS). What a network alone can know it says itself ([`portway_bridges::api::Adapter::check`]). [`dns`] asks the resolvers of the
//! system.
//!
//! A gateway that runs is not disturbed: the server would give its stanzas to a second connection of the same name, so
//! what only a connection can find out is asked of the gateway instead: [`resident`] looks from within it, in the same way.

pub mod dns;
mod machine;
mod names;
pub mod resident;
mod settings;
mod snippet;
mod xmpp;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portway_bridges::api::{Dns, Finding, Level};

pub use self::settings::look as settings;
use crate::clock::Clock;
use crate::config::Config;

/// What the doctor looks with.
pub struct Tools<'a> {
    /// Who knows names; `None` leaves the checks of names out.
    pub dns: Option<Arc<dyn Dns>>,
    /// The time.
    pub clock: Clock,
    /// How long an answer of the XMPP server may take.
    pub patience: Duration,
    /// The registration as the homeserver has it, to be compared with ours.
    pub registration: Option<&'a Path>,
}

/// Looks at everything that this configuration names. The findings come in the order in which they are best read: what
/// others depend on first.
pub async fn examine(config: &Config, tools: &Tools<'_>) -> Vec<Finding> {
    let mut findings = machine::store(config).await;
    findings.push(machine::clock(tools.clock.now()));
    let (running, found) = machine::http(config).await;
    findings.extend(found);
    for network in &config.networks {
        let Some(definition) = portway_bridges::find(&network.id) else { continue };
        let adapter = match definition.configure(network.raw.clone()) {
            Ok(adapter) => adapter,
            Err(errors) => {
                findings.push(named(&network.id, Finding::fail("settings", errors.to_string())));
                continue;
            }
        };
        let mut found = vec![settings::allow(config, network)];
        match &running {
            None => found.extend(xmpp::look(config, network, tools).await),
            Some(running) => found.extend(running.of(network)),
        }
        found.extend(machine::listeners(&*adapter, running.is_some()).await);
        found.extend(adapter.check(running.is_some()).await);
        if let (Some(ours), Some(path)) = (adapter.registration(), tools.registration) {
            found.push(settings::registration(&ours, path));
        }
        if let Some(dns) = &tools.dns {
            found.push(names::component(config, network, &**dns).await);
            found.extend(adapter.check_names(&**dns).await);
        }
        findings.extend(found.into_iter().map(|finding| named(&network.id, finding)));
    }
    findings
}

/// What [`json`] has written, read again: for the answer of a gateway that runs. `None` where it is anything else.
fn read(json: &str) -> Option<Vec<Finding>> {
    let rows: Vec<serde_json::Value> = serde_json::from_str(json).ok()?;
    let finding = |row: &serde_json::Value| {
        let level = [Level::Ok, Level::Warn, Level::Fail].into_iter().find(|level| row["level"] == word(*level))?;
        let (what, text) = (row["check"].as_str()?.to_owned(), row["found"].as_str()?.to_owned());
        Some(Finding { level, what, text, fix: row["fix"].as_str().map(str::to_owned) })
    };
    rows.iter().map(finding).collect()
}

/// The finding with the network's name in front.
fn named(network: &str, finding: Finding) -> Finding {
    Finding { what: format!("{network}.{}", finding.what), ..finding }
}

/// The findings for people: one line each, and what mends it indented below.
#[must_use]
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        text.push_str(&format!("{:<4} {}: {}\n", word(finding.level), finding.what, finding.text.replace('\n', "; ")));
        for line in finding.fix.iter().flat_map(|fix| fix.lines()) {
            text.push_str(&format!("       {line}\n"));
        }
    }
    text
}

/// The findings for programs: an array of objects with `level`, `check`, `found` and `fix` (text or null).
#[must_use]
pub fn json(findings: &[Finding]) -> String {
    let rows: Vec<serde_json::Value> = findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "level": word(finding.level), "check": finding.what, "found": finding.text, "fix": finding.fix,
            })
        })
        .collect();
    format!("{:#}\n", serde_json::Value::Array(rows))
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Fail => "fail",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_each_and_the_snippet_below() {
        let findings = [Finding::ok("store", "writable"), Finding::fail("clock", "behind").fix("a\nb")];
        assert_eq!(text(&findings), "ok   store: writable\nfail clock: behind\n       a\n       b\n");
        let rows: serde_json::Value = serde_json::from_str(&json(&findings)).unwrap();
        assert_eq!(rows[0], serde_json::json!({ "level": "ok", "check": "store", "found": "writable", "fix": null }));
        assert_eq!(rows[1]["fix"], "a\nb");
        assert_eq!(read(&json(&findings)).as_deref(), Some(&findings[..]));
        for other in ["", "[", "{}", "[{}]", r#"[{"level":"bad","check":"a","found":"b"}]"#, "<html>"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
