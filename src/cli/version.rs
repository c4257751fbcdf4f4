//! `portway version`.

use super::{CliError, print};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Prints the version.
pub fn run(json: bool) -> Result<(), CliError> {
    if json {
        let networks: Vec<&str> = portway_bridges::NETWORKS.iter().map(|network| network.describe().id).collect();
        print(&format!("{}\n", serde_json::json!({ "name": "portway", "version": VERSION, "networks": networks })))
    } else {
        print(&format!("portway {VERSION}\n"))
    }
}
