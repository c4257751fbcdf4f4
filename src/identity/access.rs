//! Who may use the gateway.

use portway_bridges::api::UserId;

use crate::xmpp::jid::Jid;
use crate::xmpp::stanza::Domain;

/// The list `gateway.allow`, or its default: the parent domain of the component.
#[derive(Debug, Clone)]
pub struct Access {
    rules: Vec<Jid>,
}

impl Access {
    /// The rules for one component.
    #[must_use]
    pub fn new(allow: &[Jid], component: &Domain) -> Self {
        if !allow.is_empty() {
            return Self { rules: allow.to_vec() };
        }
        let parent = component.as_str().split_once('.').map(|(_, parent)| parent);
        Self { rules: parent.and_then(|parent| Jid::parse(parent).ok()).into_iter().collect() }
    }

    /// Whether a user may be reached and may use the gateway.
    #[must_use]
    pub fn allows(&self, user: &UserId) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.domain() == user.host() && rule.node().is_none_or(|node| node == user.local()))
    }

    /// Whether the owner of an address may; judged by what the server stamped, never by what a payload claims.
    #[must_use]
    pub fn allows_jid(&self, jid: &Jid) -> bool {
        user(jid).is_some_and(|user| self.allows(&user))
    }

    /// The hosts that the rules name.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<String> = self.rules.iter().map(|rule| rule.domain().to_owned()).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }
}

/// The user behind an address, if it has a node.
#[must_use]
pub fn user(jid: &Jid) -> Option<UserId> {
    UserId::new(jid.node()?, jid.domain()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s1_rules() {
        let component = Domain::new("matrix.capulet.lit").unwrap();
        let user = |text: &str| UserId::parse(text).unwrap();
        let default = Access::new(&[], &component);
        assert!(default.allows(&user("juliet@capulet.lit")));
        assert!(!default.allows(&user("romeo@montague.lit")));
        assert!(!default.allows(&user("juliet@sub.capulet.lit")));
        let list =
            Access::new(&[Jid::parse("montague.lit").unwrap(), Jid::parse("nurse@capulet.lit").unwrap()], &component);
        assert!(list.allows(&user("romeo@montague.lit")) && list.allows(&user("nurse@capulet.lit")));
        assert!(!list.allows(&user("juliet@capulet.lit")));
        assert_eq!(list.hosts(), ["capulet.lit", "montague.lit"]);
        assert!(!list.allows_jid(&Jid::parse("montague.lit").unwrap()));
    }
}
