//! Addresses: of people (somebody else's) and of our users (in our domain).
//!
//! A user is `local@<domain>` where the gateway serves one XMPP host, `local=host@<domain>` where it serves several.
//! `%`, `!`, `/`, `|` and `\` never stand on the mail side: mail servers rewrite or refuse them.

use crate::api::{Address, Condition, PersonId, Refusal, Sentence, UserId};

/// Splits an address at its last `@`; the parts are not empty and hold no control characters, no white space outside of
/// quotes, and no angle brackets.
pub fn split(address: &str) -> Option<(&str, &str)> {
    let (local, domain) = address.rsplit_once('@')?;
    let quoted = local.len() >= 2 && local.starts_with('"') && local.ends_with('"');
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[],;:\\\"@".contains(c);
    let local_ok = if quoted { !local.chars().any(char::is_control) } else { local.chars().all(plain) };
    let domain_ok = domain.chars().all(|c| c.is_alphanumeric() || "-.".contains(c)) && !domain.starts_with(['.', '-']);
    (!local.is_empty() && !domain.is_empty() && local_ok && domain_ok && address.len() <= 320)
        .then_some((local, domain))
}

/// The one spelling by which a person is known: the domain in its ASCII form, everything in lower case.
pub fn canonical(person: &PersonId) -> PersonId {
    let domain = idna::domain_to_ascii(person.server()).unwrap_or_else(|_| person.server().to_lowercase());
    PersonId::new(&person.local().to_lowercase(), &domain).unwrap_or_else(|_| person.clone())
}

/// The person behind an address.
pub fn person(address: &str) -> Option<PersonId> {
    let (local, domain) = split(address.trim())?;
    PersonId::new(local, domain).ok().map(|person| canonical(&person))
}

/// The address of a person.
pub fn print(person: &PersonId) -> String {
    format!("{}@{}", person.local(), person.server())
}

/// Makes sense of what a person types or pastes: an address, `Name <a@b>`, a mailto: link.
pub fn resolve(typed: &str) -> Result<Address, Refusal> {
    let mut text = typed.trim();
    if let Some(link) = text.strip_prefix("mailto:") {
        text = link.split('?').next().unwrap_or_default();
    }
    if let Some((_, rest)) = text.rsplit_once('<') {
        text = rest.split('>').next().unwrap_or_default();
    }
    person(text).map(Address::Person).ok_or_else(|| Refusal {
        condition: Condition::JidMalformed,
        sentence: Sentence::new("email.bad-address").with("typed", typed),
    })
}

/// Our users' addresses.
#[derive(Debug, Clone)]
pub struct Users {
    /// Our domain.
    pub domain: String,
    /// The XMPP hosts that are served.
    pub hosts: Vec<String>,
}

/// What a recipient of ours is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// A user.
    User(UserId),
    /// A key of [`Users::alias_key`], to be looked up.
    Alias(String),
    /// The token of a bounce.
    Bounce(String),
    /// `postmaster` or `abuse`.
    Admin,
    /// Nobody.
    Unknown,
    /// Not ours at all.
    Foreign,
}

impl Users {
    /// A user's address; `None` where mail cannot carry it and an alias is needed.
    pub fn address(&self, user: &UserId) -> Option<String> {
        let (local, host) = (user.local(), user.host());
        let fits = |text: &str| {
            !text.is_empty()
                && text.len() <= 60
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte))
                && !text.starts_with('.')
                && !text.ends_with('.')
                && !text.contains("..")
        };
        let reserved = matches!(local, "postmaster" | "abuse") || local.starts_with("b-") || local.starts_with("u-");
        if !fits(local) || reserved {
            return None;
        }
        match self.hosts.as_slice() {
            [one] if one == host => Some(format!("{local}@{}", self.domain)),
            _ if local.len() + host.len() < 64 && fits(host) => Some(format!("{local}={host}@{}", self.domain)),
            _ => None,
        }
    }

    /// Reads a recipient. Everything that some mail servers would relay is refused.
    pub fn recipient(&self, address: &str) -> Recipient {
        let lower = address.to_lowercase();
        if matches!(lower.as_str(), "postmaster" | "abuse") {
            return Recipient::Admin;
        }
        let Some((local, domain)) = lower.rsplit_once('@') else { return Recipient::Unknown };
        if domain != self.domain {
            return Recipient::Foreign;
        }
        if local.is_empty() || local.contains(['%', '!', '/', '|', '\\', '@', '"', ':', ',', ' ']) {
            return Recipient::Unknown;
        }
        if matches!(local, "postmaster" | "abuse") {
            return Recipient::Admin;
        }
        if let Some(token) = local.strip_prefix("b-") {
            return Recipient::Bounce(token.to_owned());
        }
        // What stands behind a plus is the user's own business.
        let local = local.split('+').next().unwrap_or_default();
        if let Some(alias) = local.strip_prefix("u-") {
            return Recipient::Alias(alias.to_owned());
        }
        let user = match (local.rsplit_once('='), self.hosts.as_slice()) {
            (Some((local, host)), _) => UserId::new(local, host),
            (None, [host]) => UserId::new(local, host),
            (None, _) => return Recipient::Unknown,
        };
        user.map_or(Recipient::Unknown, Recipient::User)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn users(hosts: &[&str]) -> Users {
        Users { domain: "mail.x".into(), hosts: hosts.iter().map(|host| (*host).to_owned()).collect() }
    }

    #[test]
    fn users_have_addresses() {
        let juliet = UserId::parse("juliet@capulet.lit").unwrap();
        assert_eq!(users(&["capulet.lit"]).address(&juliet).unwrap(), "juliet@mail.x");
        assert_eq!(users(&["capulet.lit", "m"]).address(&juliet).unwrap(), "juliet=capulet.lit@mail.x");
        assert_eq!(users(&["capulet.lit"]).address(&UserId::parse("ju liet@capulet.lit").unwrap()), None);
        assert_eq!(users(&["capulet.lit"]).address(&UserId::parse("b-1@capulet.lit").unwrap()), None);
        for address in ["juliet@mail.x", "JULIET@MAIL.X", "juliet+shop@mail.x", "juliet=capulet.lit@mail.x"] {
            assert_eq!(users(&["capulet.lit"]).recipient(address), Recipient::User(juliet.clone()), "{address}");
        }
    }

    #[test]
    fn nothing_is_relayed() {
        let users = users(&["capulet.lit"]);
        for address in [
            "a%b@mail.x",
            "@a:juliet@mail.x",
            "a@other@mail.x",
            "b!a@mail.x",
            "\"a@b\"@mail.x",
            "a@mail.x:",
            "juliet",
            "a|b@mail.x",
            "a@other.org",
            "",
            "@mail.x",
            "juliet@mail.x.",
        ] {
            assert!(matches!(users.recipient(address), Recipient::Unknown | Recipient::Foreign), "{address}");
        }
        assert_eq!(users.recipient("Postmaster"), Recipient::Admin);
        assert_eq!(users.recipient("ABUSE@mail.x"), Recipient::Admin);
        assert_eq!(users.recipient("b-7-abc@mail.x"), Recipient::Bounce("7-abc".into()));
    }

    #[test]
    fn people_are_known_by_one_spelling() {
        for typed in
            ["Bob@Example.COM", "bob@example.com", "Bob Smith <bob@EXAMPLE.com>", "mailto:bob@example.com?subject=x"]
        {
            assert_eq!(
                resolve(typed).unwrap(),
                Address::Person(PersonId::new("bob", "example.com").unwrap()),
                "{typed}"
            );
        }
        assert_eq!(
            resolve("bob@bücher.example").unwrap(),
            Address::Person(PersonId::new("bob", "xn--bcher-kva.example").unwrap())
        );
        assert!(person("\"john doe\"@x.org").is_some());
        for typed in ["", "bob", "bob@", "@x", "a b@x", "a@b@", "a@b c", "bob@x\n.org"] {
            assert!(resolve(typed).is_err(), "{typed}");
        }
    }

    proptest! {
        #[test]
        fn addresses_lead_back(local in "[a-z0-9._-]{1,30}", host in "[a-z0-9.-]{1,30}") {
            let user = UserId::new(&local, &host).unwrap();
            for users in [users(&[&host]), users(&["a.b", &host])] {
                if let Some(address) = users.address(&user) {
                    prop_assert_eq!(users.recipient(&address), Recipient::User(user.clone()));
                }
            }
        }
    }
}
