//! `portway doctor`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use portway_bridges::api::{Dns, Finding, Level};

use super::{Cli, CliError, Exit, print, runtime};
use crate::clock::Clock;
use crate::doctor::{self, Tools};

/// How long an answer of the XMPP server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to look at, and how to say it.
#[derive(Debug, Args)]
pub struct Doctor {
    /// As JSON: an array of objects with level, check, found and fix
    #[arg(long)]
    json: bool,
    /// Leave out what DNS says
    #[arg(long)]
    offline: bool,
    /// The registration as the homeserver has it, to be compared with ours
    #[arg(long, value_name = "FILE")]
    registration: Option<PathBuf>,
}

/// Looks, and says what was found. Warnings are no failure.
pub fn run(doctor: &Doctor, cli: &Cli) -> Result<Exit, CliError> {
    let (config, mut findings) = doctor::settings(cli.config.as_deref());
    let mut exit = Exit::Configuration;
    if let Some(config) = config {
        runtime()?.block_on(async {
            let dns = match doctor.offline {
                true => None,
                false => match doctor::dns::System::new() {
                    Ok(system) => Some(Arc::new(system) as Arc<dyn Dns>),
                    Err(error) => {
                        findings.push(Finding::warn("names", error.to_string()).fix("portway doctor --offline"));
                        None
                    }
                },
            };
            let registration = doctor.registration.as_deref();
            let tools = Tools { dns, clock: Clock::system(), patience: PATIENCE, registration };
            findings.extend(doctor::examine(&config, &tools).await);
        });
        let failed = findings.iter().any(|finding| finding.level == Level::Fail);
        exit = if failed { Exit::Failure } else { Exit::Ok };
    }
    print(&if doctor.json { doctor::json(&findings) } else { doctor::text(&findings) })?;
    Ok(exit)
}
