//! The example file and the reference page, from the table of keys and the networks' descriptors.

use portway_bridges::api::Network;

use super::keys::{self, Key};

/// The example configuration with every key, as TOML.
#[must_use]
pub fn toml() -> String {
    let mut text = String::from(
        "# Portway: example configuration with every key.\n\
         # Each key may also come from the environment as PORTWAY_SECTION__KEY (PORTWAY_NETWORK__MATRIX__AS_TOKEN),\n\
         # each secret also from a file of its own as <key>_file.\n",
    );
    for section in keys::SECTIONS {
        text.push_str(&format!("\n[{section}]\n"));
        for key in keys::of(section) {
            push_key(&mut text, key, key.example, key.default.is_some());
        }
    }
    for network in portway_bridges::NETWORKS {
        let descriptor = network.describe();
        text.push_str(&format!("\n[network.{}]\n", descriptor.id));
        for key in keys::of("network.") {
            push_key(&mut text, key, &key.example.replace("{network}", short(*network)), true);
        }
        text.push_str(descriptor.config_example);
        if !descriptor.config_example.is_empty() && !descriptor.config_example.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}

/// The reference page, as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "# Configuration reference\n\n\
         TOML. Each key may also come from the environment as `PORTWAY_SECTION__KEY` \
         (`PORTWAY_NETWORK__MATRIX__AS_TOKEN`), each secret also from a file of its own as `<key>_file`. \
         Unknown keys are errors. `portway check --show` prints what is in force and where each value came from.\n",
    );
    for section in keys::SECTIONS {
        text.push_str(&format!("\n## [{section}]\n\n| key | default | what it does |\n|---|---|---|\n"));
        for key in keys::of(section) {
            text.push_str(&row(key));
        }
    }
    text.push_str("\n## Each [network.…]\n\n| key | default | what it does |\n|---|---|---|\n");
    for key in keys::of("network.") {
        text.push_str(&row(key));
    }
    for network in portway_bridges::NETWORKS {
        let descriptor = network.describe();
        text.push_str(&format!("\n## [network.{}]\n\n```toml\n{}```\n", descriptor.id, descriptor.config_example));
    }
    text
}

fn row(key: &Key) -> String {
    format!(
        "| `{}` | {} | {} |\n",
        key.name,
        key.default.map_or("none".to_owned(), |default| format!("`{default}`")),
        key.doc
    )
}

fn push_key(text: &mut String, key: &Key, example: &str, set: bool) {
    let mark = if set { "" } else { "# " };
    text.push_str(&format!("# {}\n{mark}{} = {example}\n", key.doc, key.name));
}

/// The first label of the component's domain in the example.
fn short(network: &dyn Network) -> &'static str {
    match network.describe().disco_type {
        "smtp" => "mail",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_toml_and_names_every_key() {
        let text = toml();
        toml::from_str::<toml::Table>(&text).expect("it parses");
        for key in keys::KEYS {
            assert!(text.contains(&format!("{} = ", key.name)), "{}", key.name);
        }
    }
}
