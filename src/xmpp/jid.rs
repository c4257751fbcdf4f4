//! XMPP addresses as servers route them.
//!
//! The `jid` crate applies Unicode 3.2 stringprep and so refuses what Prosody and ejabberd route every day (emoji nicks,
//! for one). By the time an address reaches a component its server has prepared it; we split, limit and compare it, and
//! fold ASCII case in node and domain. RFC 7622 gives the limits: 1023 bytes a part.

use std::fmt;

/// The longest part in bytes (RFC 7622, section 3).
pub const MAX_PART: usize = 1023;

/// An address: `[node@]domain[/resource]`. Node and domain are in lower case (ASCII), the resource is as it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Jid {
    /// The whole, as it is printed.
    text: Box<str>,
    /// Where the domain starts: 0, or one behind the `@`.
    domain_at: u16,
    /// Where the domain ends: the length, or the index of the `/`.
    domain_end: u16,
}

/// Text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an XMPP address: {0}")]
pub struct JidError(pub &'static str);

impl Jid {
    /// Reads an address.
    ///
    /// # Errors
    /// [`JidError`] where a part is empty, longer than 1023 bytes, or holds a character that no server routes: a control
    /// character, or white space or one of `"&'/:<>@` in the node.
    pub fn parse(text: &str) -> Result<Self, JidError> {
        let (bare, resource) = match text.split_once('/') {
            Some((bare, resource)) => (bare, Some(resource)),
            None => (text, None),
        };
        let (node, domain) = match bare.split_once('@') {
            Some((node, domain)) => (Some(node), domain),
            None => (None, bare),
        };
        Self::from_parts(node, domain, resource)
    }

    /// Builds an address from its parts.
    ///
    /// # Errors
    /// As [`Jid::parse`].
    pub fn from_parts(node: Option<&str>, domain: &str, resource: Option<&str>) -> Result<Self, JidError> {
        let mut text = String::with_capacity(
            node.map_or(0, |node| node.len() + 1) + domain.len() + resource.map_or(0, |resource| resource.len() + 1),
        );
        if let Some(node) = node {
            check(node, "the node is empty", "the node is too long")?;
            if node.chars().any(|c| c.is_whitespace() || c.is_control() || "\"&'/:<>@".contains(c)) {
                return Err(JidError("the node holds a character that is not allowed there"));
            }
            text.extend(node.chars().map(|c| c.to_ascii_lowercase()));
            text.push('@');
        }
        let domain_at = text.len();
        check(domain, "the domain is empty", "the domain is too long")?;
        if domain.chars().any(|c| c.is_whitespace() || c.is_control() || "@/<>&\"'".contains(c)) {
            return Err(JidError("the domain holds a character that is not allowed there"));
        }
        text.extend(domain.chars().map(|c| c.to_ascii_lowercase()));
        let domain_end = text.len();
        if let Some(resource) = resource {
            check(resource, "the resource is empty", "the resource is too long")?;
            if resource.chars().any(char::is_control) {
                return Err(JidError("the resource holds a control character"));
            }
            text.push('/');
            text.push_str(resource);
        }
        let small = |n: usize| u16::try_from(n).map_err(|_| JidError("it is too long"));
        Ok(Self { domain_at: small(domain_at)?, domain_end: small(domain_end)?, text: text.into() })
    }

    /// The part before the `@`.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        (self.domain_at > 0).then(|| &self.text[..usize::from(self.domain_at) - 1])
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.text[usize::from(self.domain_at)..usize::from(self.domain_end)]
    }

    /// The part behind the `/`.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.text.get(usize::from(self.domain_end) + 1..)
    }

    /// The address without its resource, as text.
    #[must_use]
    pub fn bare_str(&self) -> &str {
        &self.text[..usize::from(self.domain_end)]
    }

    /// The address without its resource.
    #[must_use]
    pub fn to_bare(&self) -> Self {
        Self { text: self.bare_str().into(), domain_at: self.domain_at, domain_end: self.domain_end }
    }

    /// The bare address with this resource.
    ///
    /// # Errors
    /// As [`Jid::parse`].
    pub fn with_resource(&self, resource: &str) -> Result<Self, JidError> {
        Self::from_parts(self.node(), self.domain(), Some(resource))
    }

    /// The whole as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether there is no resource.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.resource().is_none()
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::str::FromStr for Jid {
    type Err = JidError;

    fn from_str(text: &str) -> Result<Self, JidError> {
        Self::parse(text)
    }
}

fn check(part: &str, empty: &'static str, long: &'static str) -> Result<(), JidError> {
    match part.len() {
        0 => Err(JidError(empty)),
        n if n > MAX_PART => Err(JidError(long)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_addresses() {
        for (text, node, domain, resource) in [
            ("a@b/c", Some("a"), "b", Some("c")),
            ("b", None, "b", None),
            ("b/c@d/e", None, "b", Some("c@d/e")),
            ("#town%hs@matrix.x", Some("#town%hs"), "matrix.x", None),
            ("room@muc/😀 x", Some("room"), "muc", Some("😀 x")),
        ] {
            let jid = Jid::parse(text).unwrap();
            assert_eq!((jid.node(), jid.domain(), jid.resource()), (node, domain, resource), "{text}");
            assert_eq!(jid.to_string(), text);
        }
    }

    #[test]
    fn case_is_folded_in_node_and_domain_only() {
        assert_eq!(Jid::parse("Ab@Cd/Ef").unwrap().as_str(), "ab@cd/Ef");
    }

    #[test]
    fn bad_addresses_are_refused() {
        let long = "x".repeat(MAX_PART + 1);
        for text in ["", "@b", "a@", "a@/c", "a@b/", "a b@c", "a@b c", "a\u{7}@b", &long, "a@b/\u{0}", "a@b@c"] {
            assert!(Jid::parse(text).is_err(), "{text:?}");
        }
    }
}
