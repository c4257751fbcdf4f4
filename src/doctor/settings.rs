//! The configuration itself.

use std::path::Path;

use portway_bridges::api::Finding;

use crate::config::{Config, ConfigFaults, NetworkConfig, check, load};
use crate::identity::Access;
use crate::xmpp::jid::Jid;

/// Reads the configuration and looks at it. `None` where it is wrong: nothing else can be looked at then.
#[must_use]
pub fn look(named: Option<&Path>) -> (Option<Config>, Vec<Finding>) {
    let path = match load::find(named) {
        Ok(path) => path,
        Err(faults) => return (None, wrong(&faults)),
    };
    let mut findings = Vec::new();
    if let Some(text) = check::readable_by_others(&path) {
        findings.push(Finding::warn("config.permissions", text).fix(format!("chmod 640 {}", path.display())));
    }
    let read = load::file(&path).and_then(|mut settings| {
        load::overlay(&mut settings, std::env::vars());
        check::check(settings)
    });
    match read {
        Ok(config) => {
            if findings.is_empty() {
                findings.push(Finding::ok("config", format!("{} is good", path.display())));
            }
            findings.extend(config.warnings.iter().map(|warning| Finding::warn("config", warning)));
            findings.extend(placeholders(&config));
            (Some(config), findings)
        }
        Err(faults) => {
            findings.extend(wrong(&faults));
            (None, findings)
        }
    }
}

/// Each fault says what to do in its own words.
fn wrong(faults: &ConfigFaults) -> Vec<Finding> {
    faults.0.iter().map(|fault| Finding::fail("config", fault)).collect()
}

/// Secrets that are still those of the example, which everybody knows.
fn placeholders(config: &Config) -> Vec<Finding> {
    let examples = config.settings.iter().filter(|setting| {
        setting.secret && setting.value.as_str().is_some_and(|value| value.starts_with("change me") || value == "…")
    });
    examples
        .map(|setting| {
            let name = format!("{}.{}", setting.section, setting.key);
            let also = match setting.key.as_str() {
                "secret" => "# and the same in the XMPP server: portway generate server prosody|ejabberd|openfire",
                _ => "# and the same on the other side: portway generate registration",
            };
            Finding::fail(
                "config.secrets",
                format!("{name} ({}) is the example's, which everybody knows", setting.source),
            )
            .fix(format!(
                "[{}]\n{} = \"{}\"\n{also}",
                setting.section,
                setting.key,
                crate::config::secret::random()
            ))
        })
        .collect()
}

/// Whether the people of the server may use the gateway.
pub fn allow(config: &Config, network: &NetworkConfig) -> Finding {
    let access = Access::new(&config.allow, &network.component);
    let Some(server) = super::xmpp::server(config, network) else {
        return Finding::fail("allow", format!("{} has no parent domain", network.component.as_str()))
            .fix("[xmpp]\nserver = \"example.org\"  # the domain of your XMPP server");
    };
    let server = server.as_str().to_owned();
    let somebody = Jid::from_parts(Some("somebody"), &server, None).ok();
    if somebody.is_some_and(|jid| access.allows_jid(&jid)) {
        return Finding::ok("allow", format!("the people of {server} may use the gateway"));
    }
    let who: Vec<&str> = config.allow.iter().map(Jid::as_str).collect();
    let mut all: Vec<String> = who.iter().map(|jid| format!("\"{jid}\"")).collect();
    all.push(format!("\"{server}\""));
    Finding::warn("allow", format!("the people of {server} may not use the gateway; only {} may", who.join(", ")))
        .fix(format!("[gateway]\nallow = [{}]", all.join(", ")))
}

/// Whether the registration that the homeserver has is the one that we would write.
pub fn registration(ours: &str, path: &Path) -> Finding {
    let fix = format!("portway generate registration > {}\n# then restart the homeserver", path.display());
    let theirs = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            return Finding::fail("registration", format!("{} cannot be read: {error}", path.display())).fix(fix);
        }
    };
    let (ours, theirs) = (lines(ours), lines(&theirs));
    let differs = |line: &&String| !theirs.contains(*line);
    // Only the keys are named: the values are secrets.
    let mut keys: Vec<&str> = ours.iter().filter(differs).map(|line| key(line)).collect();
    keys.extend(theirs.iter().filter(|line| !ours.contains(*line)).map(|line| key(line)));
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return Finding::ok("registration", format!("{} is what we would write", path.display()));
    }
    Finding::fail("registration", format!("{} is not what we would write; see {}", path.display(), keys.join(", ")))
        .fix(fix)
}

/// The lines of some YAML that say something, without what may be written in several ways.
fn lines(yaml: &str) -> Vec<String> {
    let lines =
        yaml.lines().map(|line| line.trim().trim_start_matches("- ").replace(['"', '\''], "").replace("\\\\", "\\"));
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

fn key(line: &str) -> &str {
    line.split(':').next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_are_compared_by_what_they_say() {
        let path = std::env::temp_dir().join(format!("pw-registration-{}", std::process::id()));
        let ours = "id: portway\nurl: \"http://127.0.0.1:1\"\n# c\nas_token: \"hush\"\n";
        std::fs::write(&path, "id: 'portway'\nas_token: hush\nurl: http://127.0.0.1:1\n").unwrap();
        assert_eq!(registration(ours, &path).level, portway_bridges::api::Level::Ok);
        std::fs::write(&path, "id: 'portway'\nas_token: other\nurl: http://127.0.0.1:1\n").unwrap();
        let found = registration(ours, &path);
        assert!(found.text.ends_with("see as_token") && !found.text.contains("other"), "{found:?}");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(registration(ours, &path).level, portway_bridges::api::Level::Fail);
    }
}
