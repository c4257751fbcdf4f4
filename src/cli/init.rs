//! `portway init`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Cli, CliError, print, server};
use crate::config::{check, load, secret};

/// What the first configuration is made of. What is not given is asked for.
#[derive(Debug, Args)]
pub struct Init {
    /// The domain of the XMPP server
    #[arg(long)]
    domain: Option<String>,
    /// The kind of XMPP server
    #[arg(long)]
    server: Option<server::Kind>,
    /// The networks, separated by commas
    #[arg(long, value_delimiter = ',')]
    networks: Vec<String>,
    /// Where the gateway keeps its files
    #[arg(long, default_value = "/var/lib/portway")]
    data_dir: PathBuf,
    /// Ask nothing; take what is given and the defaults
    #[arg(long)]
    yes: bool,
    /// Replace a configuration that exists; it is kept beside as .bak
    #[arg(long)]
    force: bool,
}

/// Writes the configuration and says what to do next.
pub fn run(init: &Init, cli: &Cli) -> Result<(), CliError> {
    let path = cli.config.clone().unwrap_or_else(|| PathBuf::from(load::DEFAULT_PATHS[1]));
    if path.exists() && !init.force {
        return Err(CliError::Runtime(format!("{} exists; say --force to replace it", path.display())));
    }
    let ask = !init.yes && std::io::stdin().is_terminal();
    let domain = answer(init.domain.clone(), ask, "Domain of your XMPP server", "example.org")?;
    let kind = match init.server {
        Some(kind) => kind,
        None => {
            let name = answer(None, ask, "Which XMPP server (prosody, ejabberd, openfire)", "prosody")?;
            <server::Kind as clap::ValueEnum>::from_str(&name, true)
                .map_err(|_| CliError::Runtime(format!("“{name}” is not a server that we know")))?
        }
    };
    let default = worth_asking_for().join(",");
    let chosen = (!init.networks.is_empty()).then(|| init.networks.join(","));
    let networks = answer(chosen, ask, "Networks, separated by commas", &default)?;
    let text = configuration(&domain, networks.split(',').map(str::trim), &init.data_dir)?;
    write_private(&path, &text)?;
    let config = check::check(load::parse(&path, &text)?)?;
    print(&format!(
        "Wrote {}. Look through it: the addresses of your other servers in it are guesses.\n\nThis is for your XMPP server:\n\n{}\n\
         Then: portway check && portway run\n",
        path.display(),
        server::snippet(kind, &config)
    ))
}

/// The networks that have something to configure; the others are for tests and developers.
fn worth_asking_for() -> Vec<&'static str> {
    let networks = portway_bridges::NETWORKS.iter().map(|network| network.describe());
    let configurable = |example: &str| example.lines().any(|line| !line.is_empty() && !line.starts_with('#'));
    networks.filter(|descriptor| configurable(descriptor.config_example)).map(|descriptor| descriptor.id).collect()
}

fn answer(given: Option<String>, ask: bool, question: &str, default: &str) -> Result<String, CliError> {
    if let Some(given) = given {
        return Ok(given);
    }
    if !ask {
        return Ok(default.to_owned());
    }
    let failed = |error: std::io::Error| CliError::Runtime(format!("cannot ask: {error}"));
    print!("{question} [{default}]: ");
    std::io::stdout().flush().map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
    let line = line.trim();
    Ok(if line.is_empty() { default } else { line }.to_owned())
}

fn configuration<'a>(
    domain: &str,
    networks: impl Iterator<Item = &'a str>,
    data_dir: &Path,
) -> Result<String, CliError> {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = format!(
        "[gateway]\ndata_dir = {}\nallow = [{}]\n\n[xmpp]\nhost = \"127.0.0.1\"\nport = 5347\n",
        quoted(&data_dir.display().to_string()),
        quoted(domain)
    );
    for id in networks {
        let network = portway_bridges::find(id)
            .ok_or_else(|| CliError::Runtime(format!("there is no network “{id}”; `portway networks` lists them")))?;
        let descriptor = network.describe();
        let label = if descriptor.disco_type == "smtp" { "mail" } else { descriptor.id };
        text.push_str(&format!(
            "\n[network.{id}]\ncomponent = {}\nsecret = {}\n",
            quoted(&format!("{label}.{domain}")),
            quoted(&secret::random())
        ));
        for line in descriptor.config_example.lines() {
            let (key, value) = line.split_once('=').unwrap_or_default();
            let key = key.trim();
            // Not every secret can be made up: a smarthost's password is the smarthost's.
            if descriptor.secret_keys.contains(&key) && value.trim().starts_with("\"change me") {
                text.push_str(&format!("{key} = {}\n", quoted(&secret::random())));
            } else {
                text.push_str(&line.replace("example.org", domain));
                text.push('\n');
            }
        }
    }
    Ok(text)
}

/// Writes a file that only its owner can read; one that is there is kept beside it.
fn write_private(path: &Path, text: &str) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::Runtime(format!("{} cannot be written: {error}", path.display()));
    if path.exists() {
        let mut backup = path.as_os_str().to_owned();
        backup.push(".bak");
        std::fs::rename(path, backup).map_err(failed)?;
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
}
