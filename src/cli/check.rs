//! `portway check`.

use super::{Cli, CliError, load, print};
use crate::config::check::show as show_config;

/// Checks the configuration and says so.
pub fn run(cli: &Cli, show: bool) -> Result<(), CliError> {
    let config = load(cli)?;
    for warning in &config.warnings {
        eprintln!("portway: warning: {warning}");
    }
    if show {
        print(&show_config(&config))?;
    } else {
        let networks: Vec<&str> = config.networks.iter().map(|network| network.id.as_str()).collect();
        print(&format!("the configuration is good: {}\n", networks.join(", ")))?;
    }
    Ok(())
}
