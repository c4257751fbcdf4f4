//! The tree reads like the architecture page, and stays so: who may import whom, how long a file may be, what the book
//! holds, and what must not be in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use portway::store::{Direction, IdentityKind};

/// The longest source file in lines.
const LINES: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder with one of these extensions, with their text.
fn files(folder: &str, extensions: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut todo = vec![root().join(folder)];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !hidden && path.file_name().is_some_and(|name| name != "target") {
                todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        } else if path.extension().is_some_and(|found| extensions.iter().any(|wanted| found == *wanted)) {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            found.push((name, text));
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{folder}");
    found
}

/// The lines of a source file that are neither comments nor tests, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let until = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..until]
        .lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a source file holds nothing but tests.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn networks() -> Vec<&'static str> {
    let networks = portway_bridges::NETWORKS.iter().map(|network| network.describe().id);
    let networks: Vec<&str> = networks.collect();
    assert!(networks.len() >= 3);
    networks
}

#[test]
fn a_network_imports_the_api_and_nothing_of_another_network() {
    for network in networks() {
        for (path, text) in files(&format!("bridges/{network}"), &["rs"]) {
            for (n, line) in text.lines().enumerate() {
                for other in networks().into_iter().filter(|other| *other != network) {
                    let named = [
                        format!("crate::{other}"),
                        format!("super::super::{other}"),
                        format!("portway_bridges::{other}"),
                    ];
                    assert!(!named.iter().any(|name| line.contains(name.as_str())), "{path}:{}: {line}", n + 1);
                }
            }
        }
    }
    for (path, text) in files("bridges/api", &["rs"]) {
        for network in networks() {
            assert!(!text.contains(&format!("crate::{network}")), "{path} knows {network}");
        }
    }
}

#[test]
fn a_network_is_one_folder_and_one_word() {
    let lib = std::fs::read_to_string(root().join("bridges/lib.rs")).unwrap();
    let folders: BTreeSet<String> = std::fs::read_dir(root().join("bridges"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "api" && name != "target")
        .collect();
    assert_eq!(folders, networks().into_iter().map(str::to_owned).collect());
    for network in networks() {
        let registered = lib.lines().filter(|line| !line.trim_start().starts_with("//") && line.contains(network));
        assert_eq!(registered.count(), 1, "{network} is named once in bridges/lib.rs");
        assert!(root().join("bridges").join(network).join("README.md").exists(), "{network} has no mapping table");
    }
}

#[test]
fn the_networks_cannot_see_the_xmpp_side_the_store_or_the_command_line() {
    let manifest: toml::Table = std::fs::read_to_string(root().join("bridges/Cargo.toml")).unwrap().parse().unwrap();
    for section in ["dependencies", "build-dependencies"] {
        for name in manifest.get(section).and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys) {
            for forbidden in ["portway", "minidom", "rxml", "xmpp-parsers", "tokio-xmpp", "jid", "rusqlite", "clap"] {
                assert_ne!(name, forbidden, "bridges depends on it");
            }
        }
    }
}

/// The root package knows no network by name, not even in what it prints.
#[test]
fn the_core_names_no_network() {
    // A field of a card has the name of a network (XEP-0054, RFC 6350).
    let field = |path: &str, line: &str| {
        path == "src/xmpp/face/card.rs" && (line.contains("\"EMAIL\"") || line.contains("\"email\""))
    };
    for (path, text) in files("src", &["rs"]).into_iter().filter(|(path, _)| !is_test(path)) {
        for (n, line) in code(&text).filter(|(_, line)| !field(&path, line)) {
            let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            let named = words.find(|word| networks().contains(&word.to_lowercase().as_str()));
            assert!(named.is_none(), "{path}:{n} names a network: {line}");
        }
    }
}

#[test]
fn only_the_xmpp_side_reads_and_builds_xml() {
    for (path, text) in files("src", &["rs"]).into_iter().chain(files("bridges", &["rs"])) {
        if path.starts_with("src/xmpp/") || is_test(&path) {
            continue;
        }
        for (n, line) in code(&text) {
            for library in ["minidom", "rxml", "xmpp_parsers", "quick_xml", "tokio_xmpp"] {
                assert!(!line.contains(library), "{path}:{n}: {line}");
            }
            // An XML namespace in a string is a stanza in the making.
            for sign in ["xmlns=", "jabber:client", "\"jabber:", "urn:xmpp:"] {
                assert!(!line.contains(sign), "{path}:{n}: {line}");
            }
        }
    }
}

#[test]
fn files_are_short_enough_to_be_read() {
    for folder in ["src", "bridges", "tests", "benches", "xtask"] {
        for (path, text) in files(folder, &["rs"]) {
            assert!(text.lines().count() <= LINES, "{path} has {} lines", text.lines().count());
        }
    }
}

/// The targets of a page's links in Markdown.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced {
            found.extend(line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
        }
    }
    found
}

/// The anchors that a page's headings have.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_somewhere() {
    let summary = std::fs::read_to_string(root().join("docs/src/SUMMARY.md")).unwrap();
    let listed: BTreeSet<&str> = links(&summary).into_iter().collect();
    let mut pages = files("docs/src", &["md"]);
    for (path, _) in &pages {
        let page = path.strip_prefix("docs/src/").unwrap();
        assert!(page == "SUMMARY.md" || listed.contains(page), "{page} is not in SUMMARY.md");
    }
    pages.push(("README.md".to_owned(), std::fs::read_to_string(root().join("README.md")).unwrap()));
    pages.extend(files("bridges", &["md"]));
    for (path, text) in &pages {
        for link in links(text) {
            if link.contains("://") || link.starts_with("mailto:") || link.starts_with("xmpp:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target: PathBuf =
                if file.is_empty() { root().join(path) } else { root().join(path).parent().unwrap().join(file) };
            assert!(target.exists(), "{path} links to {link}, which is not there");
            if let Some(anchor) = anchor {
                let there = anchors(&std::fs::read_to_string(&target).unwrap());
                assert!(
                    there.iter().any(|there| there == anchor),
                    "{path} links to {link}: no such heading in {there:?}"
                );
            }
        }
    }
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let places = ["/home/", "/root/", "/Users/", "/work/", "C:\\\\"];
    for folder in ["src", "bridges", "tests", "benches", "xtask", "config", "docs"] {
        for (path, text) in files(folder, &["rs", "md", "toml", "yml", "in", "service"]) {
            for (n, line) in text.lines().enumerate() {
                let named = places.iter().any(|place| line.contains(place)) && path != "tests/tidy.rs";
                assert!(!named, "{path}:{}: {line}", n + 1);
            }
        }
    }
}

/// Metrics in the alert rules and in the documentation exist, and every metric is documented.
#[test]
fn alerts_and_documentation_name_metrics_that_exist() {
    // A metric shows once it has a value.
    let (metrics, network) = (portway::observe::Metrics::default(), std::sync::Arc::from("n"));
    let (way, second) = (Direction::ToXmpp, std::time::Duration::from_secs(1));
    metrics.accepted(&network, way, false);
    metrics.accepted(&network, way, true);
    metrics.delivered(&network, way, second);
    metrics.retried(&network, way);
    metrics.dead(&network, way);
    metrics.lost(&network, "kind");
    metrics.queue(&network, way, 1, second);
    metrics.link(&network, true, 0, 0);
    metrics.media(portway::observe::metrics::MediaOutcome::Hit);
    metrics.media_bytes(1);
    metrics.identities(&network, IdentityKind::Person, 1);
    let exist: BTreeSet<String> = metrics
        .render()
        .lines()
        .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned()))
        .collect();
    assert!(exist.len() > 10);
    let named = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let suffixes = ["_total", "_bucket", "_count", "_sum"];
        words
            .filter(|word| word.starts_with("portway_") && *word != "portway_bridges")
            .map(|word| suffixes.iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word).to_owned())
            .collect()
    };
    for (path, text) in files("config/monitoring", &["yml", "json"]) {
        let unknown: Vec<_> = named(&text).difference(&exist).cloned().collect();
        assert!(unknown.is_empty(), "{path} uses {unknown:?}");
    }
    let page = std::fs::read_to_string(root().join("docs/src/admin/operations.md")).unwrap();
    assert_eq!(named(&page), exist, "operations.md lists the metrics");
}

/// Every requirement on the page has a test that begins with its number, and every such number is on the page.
#[test]
fn every_requirement_has_a_test() {
    let page = std::fs::read_to_string(root().join("docs/src/developer/requirements.md")).unwrap();
    let number = |word: &str| {
        let digits = word.trim_start_matches(['l', 'j', 'd', 'p', 's', 'f']);
        // The other numbers with M are rooms, whose table comes with the rest of them.
        word == "m24"
            || digits.len() + 1 == word.len() && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let listed: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next().map(str::to_lowercase))
        .filter(|word| number(word))
        .collect();
    let mut proved = BTreeSet::new();
    for (_, text) in files("tests", &["rs"]).into_iter().chain(files("src", &["rs"])) {
        for line in text.lines().filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn ")) {
            proved.extend(line.split('_').take_while(|word| number(word)).map(str::to_owned));
        }
    }
    assert!(listed.len() > 40);
    assert_eq!(listed, proved);
}
