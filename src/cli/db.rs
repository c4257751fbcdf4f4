//! `portway db`.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Cli, CliError, load, print, runtime};
use crate::clock::Clock;
use crate::store::Store;

/// What to do with the database.
#[derive(Debug, Subcommand)]
pub enum Db {
    /// Bring the database to this version's schema; `portway run` does so by itself
    Migrate,
    /// Write a consistent copy; the gateway may be running
    Backup {
        /// Where
        file: PathBuf,
    },
    /// Check a copy
    Verify {
        /// Which
        file: PathBuf,
    },
    /// Put a copy in the place of the database; the gateway must not be running
    Restore {
        /// Which
        file: PathBuf,
        /// Replace a database that exists
        #[arg(long)]
        force: bool,
    },
}

/// Does it.
pub fn run(db: &Db, cli: &Cli) -> Result<(), CliError> {
    let config = load(cli)?;
    let failed = |error: crate::store::StoreError| CliError::Runtime(error.to_string());
    runtime()?.block_on(async {
        match db {
            Db::Verify { file } => {
                Store::verify(file).await.map_err(failed)?;
                print(&format!("{} is whole\n", file.display()))
            }
            Db::Restore { file, force } => {
                Store::verify(file).await.map_err(failed)?;
                let target = config.data_dir.join(config.store_url.trim_start_matches("sqlite:"));
                if target.exists() && !force {
                    return Err(CliError::Runtime(format!(
                        "{} exists; stop the gateway and say --force to replace it",
                        target.display()
                    )));
                }
                for suffix in ["-wal", "-shm"] {
                    let mut side = target.clone().into_os_string();
                    side.push(suffix);
                    let _ = std::fs::remove_file(side);
                }
                std::fs::copy(file, &target)
                    .map_err(|error| CliError::Runtime(format!("{} cannot be written: {error}", target.display())))?;
                print(&format!("{} is in place\n", target.display()))
            }
            Db::Migrate | Db::Backup { .. } => {
                let store = Store::open(&config.store_url, &config.data_dir, Clock::system()).await.map_err(failed)?;
                let done = match db {
                    Db::Backup { file } => {
                        store.backup(file).await.map_err(failed)?;
                        format!("{} is written; it holds everything but the configuration file\n", file.display())
                    }
                    _ => "the database has this version's schema\n".to_owned(),
                };
                store.close().await;
                print(&done)
            }
        }
    })
}
