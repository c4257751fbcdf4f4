//! `portway networks`.

use super::{CliError, print};

/// Lists the networks that are compiled in.
pub fn run() -> Result<(), CliError> {
    let mut text = String::new();
    for network in portway_bridges::NETWORKS {
        let descriptor = network.describe();
        let rooms = if descriptor.rooms { "people and rooms" } else { "people" };
        text.push_str(&format!("{:<12} {:<24} {rooms}\n", descriptor.id, descriptor.name));
    }
    print(&text)
}
