//! The command line: one file per verb.

mod admin;
mod admin_order;
mod admin_people;
mod check;
mod db;
mod doctor;
mod generate;
mod init;
mod networks;
mod run;
mod server;
mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Config, ConfigFaults};

/// How a run of the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well: 0.
    Ok,
    /// It failed while running: 1.
    Failure,
    /// The configuration is wrong; a supervisor must not start it again: 2.
    Configuration,
    /// The command line is wrong: 64.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Configuration => 2,
            Exit::Usage => 64,
        })
    }
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigFaults),
    /// Anything else: what happened, where, and how to mend it.
    #[error("{0}")]
    Runtime(String),
}

/// Portway: a gateway between XMPP and other networks.
#[derive(Debug, Parser)]
#[command(
    name = "portway",
    version,
    about,
    after_help = "Exit codes: 0 ok, 1 failure, 2 configuration wrong, 64 usage."
)]
pub struct Cli {
    /// The configuration file [default: /etc/portway/portway.toml, then ./portway.toml]
    #[arg(long, global = true, value_name = "FILE", env = "PORTWAY_CONFIG")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the gateway
    Run,
    /// Write a first configuration and print what to add to the XMPP server
    Init(init::Init),
    /// Check the configuration; all faults at once
    Check {
        /// Print the effective configuration and where each value came from, without secrets
        #[arg(long)]
        show: bool,
    },
    /// Look at everything that the gateway depends on, and say what mends each fault
    Doctor(doctor::Doctor),
    /// Print files that others need
    #[command(subcommand)]
    Generate(generate::What),
    /// Look at what waits and what could not be delivered; users, links and rules; give orders to the gateway that runs
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Look after the database
    #[command(subcommand)]
    Db(db::Db),
    /// List the networks of this program
    Networks,
    /// Print the version
    Version {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the program with these arguments, the first of which is its name.
#[must_use]
pub fn main(args: impl IntoIterator<Item = std::ffi::OsString>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not errors.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            let _ = error.print();
            return exit;
        }
    };
    let result = match &cli.verb {
        Verb::Run => run::run(&cli),
        Verb::Init(init) => init::run(init, &cli),
        Verb::Check { show } => check::run(&cli, *show),
        Verb::Doctor(doctor) => match doctor::run(doctor, &cli) {
            Ok(exit) => return exit,
            Err(error) => Err(error),
        },
        Verb::Generate(what) => generate::run(what, &cli),
        Verb::Admin(admin) => match admin::run(admin, &cli) {
            Ok(exit) => return exit,
            Err(error) => Err(error),
        },
        Verb::Db(db) => db::run(db, &cli),
        Verb::Networks => networks::run(),
        Verb::Version { json } => version::run(*json),
    };
    match result {
        Ok(()) => Exit::Ok,
        Err(CliError::Config(faults)) => {
            eprintln!("portway: the configuration is wrong:");
            for fault in &faults.0 {
                eprintln!("  {fault}");
            }
            Exit::Configuration
        }
        Err(error) => {
            eprintln!("portway: {error}");
            Exit::Failure
        }
    }
}

/// The command line as data, for the man page and the completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

fn load(cli: &Cli) -> Result<Config, CliError> {
    Ok(crate::config::check::load(cli.config.as_deref())?)
}

/// A runtime for verbs that touch the store or the network.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Runtime(format!("the runtime cannot be started: {error}")))
}

/// Prints text; a reader that has gone away (`| head`) is no error.
fn print(text: &str) -> Result<(), CliError> {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::Runtime(format!("cannot print: {error}")))
        }
        _ => Ok(()),
    }
}
