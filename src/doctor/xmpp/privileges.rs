//! What the server lets us do in its users' names (XEP-0356).

use std::collections::BTreeSet;

use minidom::Element;
use portway_bridges::api::Finding;

use crate::doctor::snippet::{self, Server};
use crate::xmpp::stanza::{Domain, Stanza};

/// Servers before 2024 speak the first.
const NAMESPACES: [&str; 2] = ["urn:xmpp:privilege:1", "urn:xmpp:privilege:2"];

/// What makes the gateway comfortable, and what it is good for.
const WANTED: [(&str, &str); 3] = [
    ("roster", "contacts appear by themselves"),
    ("message", "own messages sent elsewhere appear as one's own"),
    ("presence", "who is online is known at once"),
];

/// Which of what is wanted these adverts of the server grant, and which not.
pub fn look(adverts: &[Stanza], kind: Server, component: &Domain, server: &Domain) -> Finding {
    let mut granted = BTreeSet::new();
    for advert in adverts {
        for privilege in advert.element.children().filter(|child| NAMESPACES.contains(&child.ns().as_str())) {
            collect(privilege, &mut granted);
        }
    }
    let missing: Vec<&(&str, &str)> = WANTED.iter().filter(|(access, _)| !granted.contains(*access)).collect();
    let list: Vec<&str> = granted.iter().map(String::as_str).collect();
    if missing.is_empty() {
        return Finding::ok("privileges", format!("granted: {}", list.join(", ")));
    }
    let words: Vec<String> = missing.iter().map(|(access, use_)| format!("{access} ({use_})")).collect();
    let granted = if list.is_empty() { "none is granted".to_owned() } else { format!("granted: {}", list.join(", ")) };
    let text = format!("{granted}; missing: {}. The gateway works without them, less comfortably", words.join(", "));
    Finding::warn("privileges", text).fix(snippet::privileges(kind, component, server))
}

/// All that is granted anywhere below: Prosody with the module of 2023 nests what should stand side by side.
fn collect(element: &Element, granted: &mut BTreeSet<String>) {
    for child in element.children() {
        let (access, type_) = (child.attr("access"), child.attr("type"));
        if child.name() == "perm"
            && let Some(access) = access
        {
            // A roster that can be read only does not help; an iq grant has its types at its namespaces.
            let enough = match access {
                "roster" => matches!(type_, Some("both" | "set")),
                _ => type_ != Some("none"),
            };
            if enough {
                granted.insert(access.to_owned());
            }
        }
        collect(child, granted);
    }
}

#[cfg(test)]
mod tests {
    use portway_bridges::api::Level;

    use super::*;

    fn found(perms: &str) -> Finding {
        let text = format!(
            "<message xmlns='jabber:client' from='x.org' to='m.x.org'><privilege xmlns='urn:xmpp:privilege:2'>{perms}</privilege></message>"
        );
        let advert = Stanza::from_element(text.parse().unwrap()).unwrap();
        look(&[advert], Server::Prosody, &Domain::new("m.x.org").unwrap(), &Domain::new("x.org").unwrap())
    }

    #[test]
    fn grants_are_found_wherever_they_are() {
        let all = "<perm access='roster' type='both'/><perm access='message' type='outgoing'/><perm access='presence' type='roster'/>";
        assert_eq!(found(all).level, Level::Ok);
        let nested = "<perm access='iq'><namespace ns='a' type='both'><perm access='roster' type='both'>\
                      <perm access='message' type='outgoing'/><perm access='presence' type='roster'/></perm></namespace></perm>";
        assert_eq!(found(nested).level, Level::Ok);
        for less in ["", "<perm access='roster' type='get'/>", "<perm access='message' type='none'/>"] {
            let finding = found(less);
            assert_eq!(finding.level, Level::Warn);
            assert!(finding.text.contains("roster (") && finding.text.contains("presence ("), "{finding:?}");
        }
        assert!(found("").fix.unwrap().contains("[\"m.x.org\"]"));
    }
}
