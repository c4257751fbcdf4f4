//! Pure: what our fetches may reach. A URL comes from whoever writes a message, so it must not lead into this machine or its
//! network: every address that a name has is looked at, and only an address that was looked at is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ports below this one belong to services that are not the web.
const FIRST_FREE_PORT: u16 = 1024;

/// What the admin lets our fetches reach although it is private.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allow {
    /// As they were written.
    texts: Vec<String>,
    hosts: Vec<String>,
    nets: Vec<Net>,
}

/// A network: its first address, and how many bits of it count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Net(IpAddr, u8);

impl Net {
    fn read(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self(address, bits))
    }

    fn holds(&self, address: IpAddr) -> bool {
        let wide = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, true),
            IpAddr::V6(address) => (address.to_bits(), false),
        };
        let ((own, four), (other, other_four)) = (wide(self.0), wide(address));
        four == other_four && (self.1 == 0 || (own ^ other) >> (128 - u32::from(self.1)) == 0)
    }
}

impl Allow {
    /// Reads host names and networks; what is neither is returned.
    #[must_use]
    pub fn read(texts: &[String]) -> (Self, Vec<String>) {
        let (mut allow, mut bad) = (Self::default(), Vec::new());
        for text in texts {
            let host = text.trim_end_matches('.').to_ascii_lowercase();
            let is_name = !host.is_empty()
                && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
                && host.chars().any(|c| c.is_ascii_alphabetic());
            match Net::read(text) {
                Some(net) => allow.nets.push(net),
                None if is_name => allow.hosts.push(host),
                None => {
                    bad.push(text.clone());
                    continue;
                }
            }
            allow.texts.push(text.clone());
        }
        (allow, bad)
    }

    /// What is allowed, as it was written.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Whether the admin has named this host, or the address that it is.
    fn names(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => self.holds(address),
            Err(_) => self.hosts.iter().any(|known| known == host),
        }
    }

    fn holds(&self, address: IpAddr) -> bool {
        self.nets.iter().any(|net| net.holds(address))
    }
}

/// Where a URL leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether with TLS.
    pub tls: bool,
    /// The host name or address, in lower case, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Whether the admin has named the host.
    named: bool,
}

impl Target {
    /// The field `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// Whether this address of the host may be connected to.
    #[must_use]
    pub fn may_reach(&self, address: IpAddr, allow: &Allow) -> bool {
        self.named || allow.holds(address) || is_public(address)
    }
}

/// Why a URL is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It cannot be read.
    #[error("it is no URL")]
    NoUrl,
    /// Neither `https:` nor a host that the admin lets us reach without.
    #[error("only https is fetched")]
    Scheme,
    /// It holds a user name or a password.
    #[error("it holds credentials")]
    Credentials,
    /// A port of another service.
    #[error("that port is not the web's")]
    Port,
    /// It leads into this machine or a private network.
    #[error("it leads to a private address")]
    Private,
    /// It leads from one place to the next too often.
    #[error("it redirects too often")]
    Redirects,
    /// It redirects from an encrypted place to one that is not.
    #[error("it redirects to an unencrypted place")]
    Downgrade,
}

/// Looks at a URL.
///
/// # Errors
/// [`Refused`].
pub fn target(url: &str, allow: &Allow) -> Result<Target, Refused> {
    let uri: http::Uri = tidy(url).parse().map_err(|_| Refused::NoUrl)?;
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(Refused::Scheme),
    };
    let authority = uri.authority().ok_or(Refused::NoUrl)?;
    if authority.as_str().contains('@') {
        return Err(Refused::Credentials);
    }
    let host = authority.host().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    if host.is_empty() || host.contains('%') {
        return Err(Refused::NoUrl);
    }
    let named = allow.names(&host);
    if !tls && !named {
        return Err(Refused::Scheme);
    }
    // `host:` has no number, and `host:99999` none that is a port.
    let behind = authority.as_str().rsplit(']').next().unwrap_or_default();
    if behind.contains(':') && authority.port_u16().is_none() {
        return Err(Refused::NoUrl);
    }
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    if !named && port != 443 && port < FIRST_FREE_PORT {
        return Err(Refused::Port);
    }
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    Ok(Target { tls, host, port, path: if path.is_empty() { "/".to_owned() } else { path }, named })
}

/// The URL without its fragment, and with what has no place in a URL percent-encoded: people paste what they see.
fn tidy(url: &str) -> String {
    let url = url.trim().split('#').next().unwrap_or_default();
    let mut out = String::with_capacity(url.len());
    for byte in url.bytes() {
        match byte {
            b'!'..=b'~' if !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}') => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Whether an address belongs to the public internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The IANA registry of special-purpose IPv4 addresses, and what is no host's address at all.
fn is_public_v4(address: Ipv4Addr) -> bool {
    const SPECIAL: &[([u8; 4], u8)] = &[
        ([0, 0, 0, 0], 8),
        ([10, 0, 0, 0], 8),
        ([100, 64, 0, 0], 10),
        ([127, 0, 0, 0], 8),
        ([169, 254, 0, 0], 16),
        ([172, 16, 0, 0], 12),
        ([192, 0, 0, 0], 24),
        ([192, 0, 2, 0], 24),
        ([192, 31, 196, 0], 24),
        ([192, 52, 193, 0], 24),
        ([192, 88, 99, 0], 24),
        ([192, 168, 0, 0], 16),
        ([192, 175, 48, 0], 24),
        ([198, 18, 0, 0], 15),
        ([198, 51, 100, 0], 24),
        ([203, 0, 113, 0], 24),
        ([224, 0, 0, 0], 3),
    ];
    !SPECIAL.iter().any(|(first, bits)| Net(IpAddr::V4((*first).into()), *bits).holds(address.into()))
}

/// Only what is handed out to hosts (2000::/3), without what in it wraps other addresses or is for examples; and the NAT64
/// prefix where the address inside is public, because on networks without IPv4 that is how the public internet looks.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    if [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let [g1, g2] = g.to_be_bytes();
        let [h1, h2] = h.to_be_bytes();
        return is_public_v4(Ipv4Addr::new(g1, g2, h1, h2));
    }
    let special = a == 0x2001 && (b < 0x0200 || b == 0x0db8) // protocol assignments (Teredo, ORCHID, benchmarks); documentation
        || a == 0x2002 // 6to4
        || a == 0x3fff && b < 0x1000 // documentation
        || a == 0x2620 && b == 0x004f && c == 0x8000; // AS112
    a & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(texts: &[&str]) -> Allow {
        let (allow, bad) = Allow::read(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert!(bad.is_empty(), "{bad:?}");
        allow
    }

    #[test]
    fn f5_addresses_that_are_nobody_s_business() {
        for private in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:7f00:1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::7f00:1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a00:1::",
            "2002:808:808::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fdff:ffff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a01:4f8::1",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn f5_urls_that_are_not_followed() {
        let nothing = Allow::default();
        for (url, why) in [
            ("", Refused::NoUrl),
            ("x", Refused::Scheme),
            ("/etc/passwd", Refused::Scheme),
            ("file:///etc/passwd", Refused::NoUrl),
            ("ftp://example.org/a", Refused::Scheme),
            ("gopher://example.org/a", Refused::Scheme),
            ("http://example.org/a", Refused::Scheme),
            ("HTTP://example.org/a", Refused::Scheme),
            ("javascript:alert(1)", Refused::Scheme),
            ("https:///a", Refused::NoUrl),
            ("https://", Refused::NoUrl),
            ("https://user@example.org/", Refused::Credentials),
            ("https://user:pw@example.org/", Refused::Credentials),
            ("https://example.org@127.0.0.1/", Refused::Credentials),
            ("https://example.org:22/", Refused::Port),
            ("https://example.org:25/", Refused::Port),
            ("https://example.org:80/", Refused::Port),
            ("https://example.org:0/", Refused::Port),
            ("https://example.org:99999/", Refused::NoUrl),
            ("https://example.org:/", Refused::NoUrl),
            ("https://[fe80::1%25eth0]/", Refused::NoUrl),
            ("https://exa%6dple.org/", Refused::NoUrl),
            ("https://[::1/", Refused::NoUrl),
        ] {
            assert_eq!(target(url, &nothing), Err(why), "{url}");
        }
        // Whatever a host is called, what counts is where it leads.
        for url in ["https://127.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://169.254.169.254/"] {
            let target = target(url, &nothing).unwrap();
            assert!(!target.may_reach(target.host.parse().unwrap(), &nothing), "{url}");
        }
    }

    #[test]
    fn good_urls_are_taken_apart() {
        let nothing = Allow::default();
        let good = |tls, host: &str, port, path: &str| Target {
            tls,
            host: host.into(),
            port,
            path: path.into(),
            named: false,
        };
        for (url, expected) in [
            ("https://Example.org", good(true, "example.org", 443, "/")),
            ("https://example.org./a?b=c#d", good(true, "example.org", 443, "/a?b=c")),
            ("https://example.org:5281/a b/ü", good(true, "example.org", 5281, "/a%20b/%C3%BC")),
            ("https://[2001:4860:4860::8888]:5443/", good(true, "2001:4860:4860::8888", 5443, "/")),
        ] {
            assert_eq!(target(url, &nothing), Ok(expected), "{url}");
        }
        assert_eq!(target("https://[2606::1]:5443/", &nothing).unwrap().authority(), "[2606::1]:5443");
        assert_eq!(target("https://example.org:443/", &nothing).unwrap().authority(), "example.org");
    }

    #[test]
    fn f5_the_admin_may_open_hosts_and_networks() {
        let allow = allow(&["upload.internal", "10.0.0.0/8", "fd00::/8", "127.0.0.1"]);
        let reaches = |url: &str, address: &str| {
            let target = target(url, &allow).ok();
            target.is_some_and(|target| target.may_reach(address.parse().unwrap(), &allow))
        };
        assert!(reaches("http://upload.internal:80/a", "192.168.0.1"));
        assert!(reaches("https://Upload.internal/a", "10.1.2.3"));
        assert!(reaches("https://elsewhere.example/a", "10.1.2.3"));
        assert!(reaches("https://elsewhere.example/a", "fd12::1"));
        assert!(reaches("http://127.0.0.1:8080/a", "127.0.0.1"));
        assert!(!reaches("https://elsewhere.example/a", "192.168.0.1"));
        assert!(!reaches("https://elsewhere.example/a", "127.0.0.2"));
        assert!(!reaches("http://elsewhere.example/a", "10.1.2.3"), "a name is not allowed because of where it leads");
        assert!(!reaches("http://not.upload.internal/a", "1.1.1.1"));
        assert_eq!(Allow::read(&["10.0.0.0/33".into(), "a b".into(), String::new()]).1.len(), 3);
    }
}
