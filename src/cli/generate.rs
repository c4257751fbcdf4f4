//! `portway generate`.

use clap::Subcommand;
use clap_complete::Shell;

use super::{Cli, CliError, command, load, print, server};
use crate::config::example;

/// What to print.
#[derive(Debug, Subcommand)]
pub enum What {
    /// An example configuration with every key
    Config,
    /// What to add to the configuration of another server, from ours
    Server {
        /// Which server
        name: server::Kind,
    },
    /// What the network's own administrator must install (the application service's registration, for Matrix)
    Registration {
        /// Which network; may be left out where only one has such a thing
        network: Option<String>,
    },
    /// The manual page
    Man,
    /// Completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Prints it.
pub fn run(what: &What, cli: &Cli) -> Result<(), CliError> {
    match what {
        What::Config => print(&example::toml()),
        What::Server { name } => print(&server::snippet(*name, &load(cli)?)),
        What::Registration { network } => registration(network.as_deref(), cli),
        What::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command())
                .render(&mut page)
                .map_err(|error| CliError::Runtime(format!("the manual page cannot be made: {error}")))?;
            print(&String::from_utf8_lossy(&page))
        }
        What::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command(), "portway", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

fn registration(wanted: Option<&str>, cli: &Cli) -> Result<(), CliError> {
    let config = load(cli)?;
    let mut found = Vec::new();
    for section in config.networks.iter().filter(|section| wanted.is_none_or(|wanted| wanted == section.id)) {
        let Some(network) = portway_bridges::find(&section.id) else { continue };
        let adapter = network.configure(section.raw.clone()).map_err(|errors| CliError::Runtime(errors.to_string()))?;
        found.extend(adapter.registration());
    }
    match found.as_slice() {
        [one] => print(one),
        [] => Err(CliError::Runtime(match wanted {
            Some(name) => format!("the network {name} is not configured, or needs no registration"),
            None => "no configured network needs a registration".to_owned(),
        })),
        _ => Err(CliError::Runtime(
            "several networks have a registration; name one: portway generate registration NETWORK".to_owned(),
        )),
    }
}
