//! From the file and the environment to settings: section, key, value, and where it came from. Nothing is understood
//! yet, only found.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{ConfigFaults, keys};

/// Where the file is looked for if nobody names it, in this order.
pub const DEFAULT_PATHS: [&str; 2] = ["/etc/portway/portway.toml", "portway.toml"];

/// Variables of the environment that are not settings.
const NOT_SETTINGS: [&str; 3] = ["PORTWAY_LOG", "PORTWAY_LOG_FORMAT", "PORTWAY_CONFIG"];

/// One value and where it came from.
#[derive(Clone)]
pub struct Setting {
    /// `gateway`, `network.matrix`.
    pub section: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: toml::Value,
    /// Where it came from.
    pub source: Source,
    /// Whether it must not be printed.
    pub secret: bool,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value: &dyn fmt::Debug = if self.secret { &"(redacted)" } else { &self.value };
        write!(f, "{}.{} = {value:?} ({})", self.section, self.key, self.source)
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A line of the configuration file, counted from 1.
    File(PathBuf, usize),
    /// A variable of the environment.
    Env(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
        }
    }
}

/// Finds the file: the one that was named, or the first default that exists.
///
/// # Errors
/// A sentence where the named file, or every default, does not exist.
pub fn find(named: Option<&Path>) -> Result<PathBuf, ConfigFaults> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    DEFAULT_PATHS.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
        ConfigFaults(vec![format!(
            "no configuration: neither {} nor ./{} exists. `portway init` writes one; --config names another place.",
            DEFAULT_PATHS[0], DEFAULT_PATHS[1]
        )])
    })
}

/// Reads the file.
///
/// # Errors
/// What is wrong, with file and line.
pub fn file(path: &Path) -> Result<Vec<Setting>, ConfigFaults> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigFaults(vec![format!("{}: cannot be read: {error}", path.display())]))?;
    parse(path, &text)
}

/// Reads the text of a file.
///
/// # Errors
/// What is wrong, with file and line.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Setting>, ConfigFaults> {
    let line = |at: usize| text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        ConfigFaults(vec![format!("{}:{}: {}", path.display(), line(at), error.message())])
    })?;
    let mut settings = Vec::new();
    let mut faults = Vec::new();
    for (name, value) in table.get_ref() {
        let at = line(name.span().start);
        let name: &str = name.get_ref();
        match value.get_ref() {
            DeValue::Table(networks) if name == "network" => {
                for (network, section) in networks {
                    let at = line(network.span().start);
                    match section.get_ref() {
                        DeValue::Table(section) => {
                            collect(path, &format!("network.{}", network.get_ref()), section, &line, &mut settings);
                        }
                        _ => faults.push(format!(
                            "{}:{at}: network.{} must be a section: write [network.{}]",
                            path.display(),
                            network.get_ref(),
                            network.get_ref()
                        )),
                    }
                }
            }
            DeValue::Table(section) => collect(path, name, section, &line, &mut settings),
            _ => faults.push(format!("{}:{at}: {name} stands outside of every section", path.display())),
        }
    }
    if faults.is_empty() { Ok(settings) } else { Err(ConfigFaults(faults)) }
}

fn collect(
    path: &Path,
    section: &str,
    table: &DeTable<'_>,
    line: &dyn Fn(usize) -> usize,
    settings: &mut Vec<Setting>,
) {
    for (key, value) in table {
        settings.push(Setting {
            section: section.to_owned(),
            key: key.get_ref().to_string(),
            value: to_value(value.get_ref()),
            source: Source::File(path.to_owned(), line(key.span().start)),
            secret: false,
        });
    }
}

fn to_value(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| toml::Value::String(number.to_string()), toml::Value::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or_else(|_| toml::Value::String(number.to_string()), toml::Value::Float)
        }
        DeValue::Boolean(truth) => toml::Value::Boolean(*truth),
        DeValue::Datetime(time) => toml::Value::Datetime(*time),
        DeValue::Array(items) => toml::Value::Array(items.iter().map(|item| to_value(item.get_ref())).collect()),
        DeValue::Table(table) => toml::Value::Table(
            table.iter().map(|(key, value)| (key.get_ref().to_string(), to_value(value.get_ref()))).collect(),
        ),
    }
}

/// Lays the environment over what the file says: `PORTWAY_SECTION__KEY`, `PORTWAY_NETWORK__MATRIX__AS_TOKEN`.
pub fn overlay(settings: &mut Vec<Setting>, environment: impl IntoIterator<Item = (String, String)>) {
    let mut found: Vec<(String, String)> = environment
        .into_iter()
        .filter(|(name, _)| name.starts_with("PORTWAY_") && !NOT_SETTINGS.contains(&name.as_str()))
        .collect();
    found.sort();
    for (name, text) in found {
        let path = name["PORTWAY_".len()..].to_lowercase();
        let Some((section, key)) = path.rsplit_once("__") else { continue };
        let section = section.replacen("network__", "network.", 1);
        // A secret and the file that holds it are one setting.
        let same = |other: &str| {
            other == key || other.strip_suffix("_file") == Some(key) || key.strip_suffix("_file") == Some(other)
        };
        settings.retain(|setting| setting.section != section || !same(&setting.key));
        let setting =
            Setting { value: typed(&text), section, key: key.to_owned(), source: Source::Env(name), secret: false };
        settings.push(setting);
    }
}

/// A value of the environment: a list or number where it reads as one, text otherwise.
fn typed(text: &str) -> toml::Value {
    let document = format!("v = {text}");
    match toml::from_str::<toml::Table>(&document).ok().and_then(|mut table| table.remove("v")) {
        Some(value @ (toml::Value::Array(_) | toml::Value::Integer(_) | toml::Value::Boolean(_))) => value,
        _ => toml::Value::String(text.to_owned()),
    }
}

/// Adds the defaults of the gateway's own keys.
pub fn defaults(settings: &mut Vec<Setting>) {
    for key in keys::KEYS.iter().filter(|key| key.section != "network") {
        let set = |setting: &Setting| setting.section == key.section && setting.key == key.name;
        let Some(default) = key.default.filter(|_| !settings.iter().any(set)) else { continue };
        let document = format!("v = {default}");
        if let Some(value) = toml::from_str::<toml::Table>(&document).ok().and_then(|mut table| table.remove("v")) {
            settings.push(Setting {
                section: key.section.to_owned(),
                key: key.name.to_owned(),
                value,
                source: Source::Default,
                secret: false,
            });
        }
    }
}
