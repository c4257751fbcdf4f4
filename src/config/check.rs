//! From settings to meaning. Every fault is found in one pass, each with where it is and how to mend it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use portway_bridges::api::Descriptor;

use super::load::{self, Setting, Source};
use super::{Config, ConfigFaults, NetworkConfig, Secret, keys, units};
use crate::command::{Policy, Registration};
use crate::media::guard::Allow;
use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::Domain;
use crate::xmpp::stream::transport;

/// Reads the file and the environment.
///
/// # Errors
/// Everything that is wrong.
pub fn load(named: Option<&Path>) -> Result<Config, ConfigFaults> {
    let path = load::find(named)?;
    let mut settings = load::file(&path)?;
    load::overlay(&mut settings, std::env::vars());
    let mut config = check(settings)?;
    config.warnings.extend(readable_by_others(&path));
    Ok(config)
}

/// Gives meaning to settings.
///
/// # Errors
/// Everything that is wrong.
pub fn check(mut settings: Vec<Setting>) -> Result<Config, ConfigFaults> {
    load::defaults(&mut settings);
    let mut reader = Reader { settings, faults: Vec::new() };
    reader.secrets();
    reader.unknown();
    let config = reader.config();
    if reader.faults.is_empty() {
        Ok(Config { settings: reader.settings, ..config })
    } else {
        Err(ConfigFaults(reader.faults))
    }
}

struct Reader {
    settings: Vec<Setting>,
    faults: Vec<String>,
}

impl Reader {
    /// Marks secrets and reads those that are in files of their own.
    fn secrets(&mut self) {
        for n in 0..self.settings.len() {
            let Setting { section, key, .. } = &self.settings[n];
            let names = secret_keys(section);
            if names.contains(&key.as_str()) {
                self.settings[n].secret = true;
                continue;
            }
            let Some(name) = key.strip_suffix("_file").filter(|name| names.contains(name)) else { continue };
            let name = name.to_owned();
            if self.settings.iter().any(|other| other.section == *section && other.key == name) {
                self.fault(n, &format!("{name} is set as well; keep one of them"));
                continue;
            }
            let Some(path) = self.settings[n].value.as_str().map(PathBuf::from) else {
                self.fault(n, "must be a path in quotes");
                continue;
            };
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    let setting = &mut self.settings[n];
                    setting.key = name;
                    setting.value = toml::Value::String(text.trim_end_matches(['\r', '\n']).to_owned());
                    setting.secret = true;
                }
                Err(error) => self.fault(n, &format!("{} cannot be read: {error}", path.display())),
            }
        }
    }

    /// Finds keys and sections that do not exist.
    fn unknown(&mut self) {
        for n in 0..self.settings.len() {
            let Setting { section, key, .. } = self.settings[n].clone();
            if let Some(id) = section.strip_prefix("network.") {
                let Some(descriptor) = descriptor(id) else {
                    let ids = portway_bridges::NETWORKS.iter().map(|network| network.describe().id);
                    let hint = suggest(id, ids, "the networks of this program are");
                    let fault = format!("there is no network “{id}”; {hint}");
                    let place = format!("{}: {fault}", self.settings[n].source);
                    if !self.faults.iter().any(|known| known.ends_with(&fault)) {
                        self.faults.push(place);
                    }
                    continue;
                };
                let own = keys::of(&section).map(|key| key.name);
                let names: Vec<&str> = own.chain(descriptor.config_keys.iter().copied()).collect();
                if !names.contains(&key.as_str()) {
                    let hint = suggest(&key, names, "the keys of this section are");
                    self.fault(n, &format!("there is no such key; {hint}"));
                }
            } else if keys::SECTIONS.contains(&section.as_str()) {
                let names: Vec<&str> = keys::of(&section).map(|key| key.name).collect();
                if !names.contains(&key.as_str()) {
                    let hint = suggest(&key, names, "the keys of this section are");
                    self.fault(n, &format!("there is no such key; {hint}"));
                }
            } else {
                let hint = suggest(&section, keys::SECTIONS.iter().copied(), "the sections are network.<name> and");
                self.fault(n, &format!("there is no section [{section}]; {hint}"));
            }
        }
    }

    fn config(&mut self) -> Config {
        let mut config = Config {
            data_dir: PathBuf::from(self.text("gateway", "data_dir")),
            admins: self.jids("admins"),
            contact: self.contact(),
            allow: self.jids("allow"),
            registration: self.registration(),
            xmpp_host: self.text("xmpp", "host"),
            xmpp_port: u16::try_from(self.number("xmpp", "port", 1..=65_535)).unwrap_or_default(),
            xmpp_tls_name: None,
            xmpp_server: None,
            store_url: self.text("store", "url"),
            http_listen: ([127, 0, 0, 1], 8090).into(),
            http_public_url: self.public_url(),
            media_max_size: self.size("media", "max_size"),
            media_fetch_allow: self.fetch_allow(),
            media_cache: self.size("media", "cache"),
            media_expiry: self.expiry(),
            user_rate: self.number("limits", "user_rate", 0..=1_000_000),
            user_burst: self.number("limits", "user_burst", 1..=1_000_000_000),
            user_people: self.number("limits", "user_people", 0..=1_000_000),
            networks: Vec::new(),
            settings: Vec::new(),
            warnings: Vec::new(),
        };
        config.xmpp_tls_name = self.tls_name(&config.xmpp_host);
        if config.xmpp_tls_name.is_none() && !transport::is_loopback(&config.xmpp_host) {
            config.warnings.push(format!(
                "xmpp.host: the link to {} is not encrypted, so whoever listens on the way reads the secrets and every \
                 message; set xmpp.tls = \"direct\", or reach the server through a tunnel that ends on this machine",
                config.xmpp_host
            ));
        }
        if let Some(n) = self.find("xmpp", "server") {
            let server = self.text("xmpp", "server");
            match Domain::new(&server) {
                Ok(domain) => config.xmpp_server = Some(domain),
                Err(error) => self.fault(n, &error.to_string()),
            }
        }
        if !config.store_url.starts_with("sqlite:")
            && let Some(n) = self.find("store", "url")
        {
            self.fault(n, "this version knows only sqlite:FILE");
        }
        let listen = self.text("http", "listen");
        match (listen.parse(), self.find("http", "listen")) {
            (Ok(address), _) => config.http_listen = address,
            (Err(_), Some(n)) => {
                self.fault(n, &format!("“{listen}” is not an address; write it as \"127.0.0.1:8090\""))
            }
            (Err(_), None) => {}
        }
        config.warnings.extend(self.unreachable_files(&config.http_public_url));
        config.networks = self.networks();
        config
    }

    fn networks(&mut self) -> Vec<NetworkConfig> {
        let mut ids: Vec<String> = self
            .settings
            .iter()
            .filter_map(|setting| setting.section.strip_prefix("network."))
            .map(str::to_owned)
            .collect();
        ids.sort();
        ids.dedup();
        ids.retain(|id| descriptor(id).is_some());
        if ids.is_empty() && self.faults.is_empty() {
            let ids: Vec<&str> = portway_bridges::NETWORKS.iter().map(|network| network.describe().id).collect();
            self.faults
                .push(format!("no network is configured; add a section [network.…] for one of {}", ids.join(", ")));
        }
        let mut networks: Vec<NetworkConfig> = Vec::new();
        for id in ids {
            let section = format!("network.{id}");
            let component = self.required(&section, "component");
            let secret = self.required(&section, "secret");
            let strangers = self.strangers(&section);
            let mut raw = toml::Table::new();
            for setting in self.settings.iter().filter(|setting| setting.section == section) {
                if keys::of("network.").all(|key| key.name != setting.key) {
                    raw.insert(setting.key.clone(), setting.value.clone());
                }
            }
            if let Some(network) = portway_bridges::find(&id)
                && let Err(errors) = network.configure(raw.clone())
            {
                for (key, text) in errors.0 {
                    match self.find(&section, &key) {
                        Some(n) => self.fault(n, &text),
                        None => self.missing(&section, &key, &text),
                    }
                }
            }
            let (Some(component), Some(secret)) = (component, secret) else { continue };
            match Domain::new(&component) {
                Ok(domain) if networks.iter().any(|other| other.component == domain) => {
                    self.fault_at(
                        &section,
                        "component",
                        &format!("{component} is another network's component already"),
                    );
                }
                Ok(domain) => {
                    networks.push(NetworkConfig { id, component: domain, secret: Secret::new(secret), strangers, raw });
                }
                Err(error) => self.fault_at(&section, "component", &error.to_string()),
            }
        }
        networks
    }

    fn required(&mut self, section: &str, key: &str) -> Option<String> {
        let Some(n) = self.find(section, key) else {
            self.missing(section, key, "is missing");
            return None;
        };
        let text = self.text(section, key);
        if text.is_empty() && self.settings[n].value.is_str() {
            self.fault(n, "is empty");
        }
        Some(text).filter(|text| !text.is_empty())
    }

    /// A fault of a key that is not there: the place is that of its section.
    fn missing(&mut self, section: &str, key: &str, text: &str) {
        let place = self.settings.iter().find(|setting| setting.section == section).map(|setting| &setting.source);
        let place = place.map(|source| format!("{source}: ")).unwrap_or_default();
        self.faults.push(format!("{place}[{section}] {key} {text}"));
    }

    fn find(&self, section: &str, key: &str) -> Option<usize> {
        self.settings.iter().position(|setting| setting.section == section && setting.key == key)
    }

    fn text(&mut self, section: &str, key: &str) -> String {
        let Some(n) = self.find(section, key) else { return String::new() };
        match &self.settings[n].value {
            toml::Value::String(text) => text.clone(),
            _ => {
                self.fault(n, "must be text in quotes");
                String::new()
            }
        }
    }

    fn list(&mut self, section: &str, key: &str) -> Vec<String> {
        let Some(n) = self.find(section, key) else { return Vec::new() };
        let value = self.settings[n].value.clone();
        let texts =
            value.as_array().and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        texts.unwrap_or_else(|| {
            self.fault(n, "must be a list of texts, such as [\"example.org\"]");
            Vec::new()
        })
    }

    /// URIs that clients can open.
    fn contact(&mut self) -> Vec<String> {
        let uris = self.list("gateway", "contact");
        for uri in &uris {
            let known =
                ["mailto:", "https:", "xmpp:"].iter().any(|scheme| uri.len() > scheme.len() && uri.starts_with(scheme));
            if !known || uri.contains(char::is_whitespace) {
                self.fault_at("gateway", "contact", &format!("“{uri}” must begin with mailto:, https: or xmpp:"));
            }
        }
        uris
    }

    fn size(&mut self, section: &str, key: &str) -> u64 {
        let size = units::size(&self.text(section, key));
        size.unwrap_or_else(|error| {
            self.fault_at(section, key, &error);
            0
        })
    }

    fn expiry(&mut self) -> Duration {
        let expiry = units::duration(&self.text("media", "expiry")).and_then(|expiry| {
            let long = expiry >= Duration::from_secs(3600);
            long.then_some(expiry).ok_or_else(|| "must be at least \"1h\"".to_owned())
        });
        expiry.unwrap_or_else(|error| {
            self.fault_at("media", "expiry", &error);
            Duration::from_secs(3600)
        })
    }

    fn fetch_allow(&mut self) -> Allow {
        let (allow, bad) = Allow::read(&self.list("media", "fetch_allow"));
        for text in bad {
            self.fault_at(
                "media",
                "fetch_allow",
                &format!("“{text}” is neither a host name nor a network such as 10.0.0.0/8"),
            );
        }
        allow
    }

    fn public_url(&mut self) -> String {
        let url = self.text("http", "public_url");
        let good = url.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && uri.query().is_none()
        });
        if !good || url.contains(['"', '\'', '<', '>', '#']) {
            self.fault_at(
                "http",
                "public_url",
                &format!("“{url}” is no URL; write it as \"https://files.example.org\""),
            );
        }
        url.trim_end_matches('/').to_owned()
    }

    /// What is wrong with where files are said to be, if users' clients cannot get them from there.
    fn unreachable_files(&self, url: &str) -> Option<String> {
        let uri: http::Uri = url.parse().ok()?;
        let host = uri.host()?.trim_matches(['[', ']']);
        if transport::is_loopback(host) {
            return Some(format!(
                "http.public_url: {url} is this machine itself, so users on other machines get no files; set it to a URL that \
                 their clients reach, such as \"https://files.example.org\""
            ));
        }
        (uri.scheme_str() == Some("http")).then(|| {
            format!("http.public_url: {url} is not encrypted, and many clients show no files from there; use https://")
        })
    }

    fn jids(&mut self, key: &str) -> Vec<Jid> {
        let mut jids = Vec::new();
        for text in self.list("gateway", key) {
            match Jid::parse(&text) {
                Ok(jid) if jid.is_bare() => jids.push(jid),
                Ok(_) => self.fault_at("gateway", key, &format!("“{text}” must have no resource")),
                Err(error) => self.fault_at("gateway", key, &format!("“{text}”: {error}")),
            }
        }
        jids
    }

    fn registration(&mut self) -> Registration {
        let text = self.text("gateway", "registration");
        Registration::from_name(&text).unwrap_or_else(|| {
            self.fault_at("gateway", "registration", "must be \"optional\", \"required\" or \"closed\"");
            Registration::Optional
        })
    }

    fn strangers(&mut self, section: &str) -> Policy {
        if self.find(section, "strangers").is_none() {
            return Policy::Deliver;
        }
        let text = self.text(section, "strangers");
        Policy::from_name(&text).unwrap_or_else(|| {
            self.fault_at(section, "strangers", "must be \"deliver\", \"ask\" or \"refuse\"");
            Policy::Deliver
        })
    }

    fn number(&mut self, section: &str, key: &str, range: std::ops::RangeInclusive<u32>) -> u32 {
        let Some(n) = self.find(section, key) else { return *range.start() };
        let number = self.settings[n].value.as_integer().and_then(|number| u32::try_from(number).ok());
        number.filter(|number| range.contains(number)).unwrap_or_else(|| {
            self.fault(n, &format!("must be a number from {} to {}", range.start(), range.end()));
            *range.start()
        })
    }

    /// The name that the XMPP server's certificate must have; `None` for no TLS.
    fn tls_name(&mut self, host: &str) -> Option<String> {
        let named = self.find("xmpp", "tls_name").map(|n| (n, self.text("xmpp", "tls_name")));
        match (self.text("xmpp", "tls").as_str(), self.find("xmpp", "tls")) {
            ("direct", Some(at)) => {
                let (n, name) = named.unwrap_or_else(|| (at, host.to_owned()));
                if transport::server_name(&name).is_none() {
                    self.fault(n, &format!("“{name}” is no name that a certificate could have; set xmpp.tls_name"));
                }
                Some(name)
            }
            ("off", _) => {
                if let Some((n, _)) = named {
                    self.fault(n, "means nothing without tls = \"direct\"");
                }
                None
            }
            (_, Some(n)) => {
                self.fault(n, "must be \"off\" or \"direct\"");
                None
            }
            (_, None) => None,
        }
    }

    fn fault_at(&mut self, section: &str, key: &str, text: &str) {
        if let Some(n) = self.find(section, key) {
            self.fault(n, text);
        }
    }

    fn fault(&mut self, n: usize, text: &str) {
        let Setting { section, key, source, .. } = &self.settings[n];
        self.faults.push(format!("{source}: {section}.{key}: {text}"));
    }
}

fn descriptor(id: &str) -> Option<Descriptor> {
    portway_bridges::find(id).map(portway_bridges::api::Network::describe)
}

fn secret_keys(section: &str) -> Vec<&'static str> {
    let own = keys::of(section).filter(|key| key.secret).map(|key| key.name);
    let network = section.strip_prefix("network.").and_then(descriptor);
    own.chain(network.into_iter().flat_map(|descriptor| descriptor.secret_keys.iter().copied())).collect()
}

fn suggest<'a>(word: &str, among: impl IntoIterator<Item = &'a str>, list: &str) -> String {
    let words: Vec<&str> = among.into_iter().collect();
    match keys::nearest(word, words.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("{list} {}", words.join(", ")),
    }
}

/// What is wrong with the permissions of the file, if everybody can read it.
#[cfg(unix)]
pub fn readable_by_others(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        format!("{}: every user of this machine can read its secrets; run chmod 640 {}", path.display(), path.display())
    })
}

/// Nothing is known about permissions here.
#[cfg(not(unix))]
pub fn readable_by_others(_path: &Path) -> Option<String> {
    None
}

/// The effective configuration as text, one value a line with where it came from, without secrets.
#[must_use]
pub fn show(config: &Config) -> String {
    let mut settings: Vec<&Setting> = config.settings.iter().collect();
    settings.sort_by(|a, b| (&a.section, &a.key).cmp(&(&b.section, &b.key)));
    let mut text = String::new();
    let mut section = "";
    for setting in settings {
        if setting.section != section {
            section = &setting.section;
            text.push_str(&format!("[{section}]\n"));
        }
        // A URL may hold a password.
        let value = match &setting.value {
            _ if setting.secret => "(redacted)".to_owned(),
            toml::Value::String(value) => toml::Value::String(without_password(value)).to_string(),
            value => value.to_string(),
        };
        let source = match &setting.source {
            Source::Default => "default".to_owned(),
            other => other.to_string(),
        };
        text.push_str(&format!("{} = {value}  # {source}\n", setting.key));
    }
    text
}

/// A URL without its password.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => {
            let user = rest[..at].split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:(redacted){}", &rest[at..])
        }
        None => text.to_owned(),
    }
}
