//! SPF (RFC 7208), DKIM (RFC 6376, RFC 8463) and DMARC (RFC 9989) by `mail-auth`, with names that can be injected.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimResult, DmarcResult, MX, MessageAuthenticator, Parameters, RecordSet, ResolverCache,
    SpfResult, Txt,
};

use super::{Author, Findings, aligned, author_domain};

/// How long all questions about one mail may take.
const LONGEST: Duration = Duration::from_secs(30);

/// How many signatures of a mail are looked at; a mail with more is not proven by them.
const SIGNATURES: usize = 10;

/// How many answers of each sort are remembered.
const REMEMBERED: usize = 4096;

/// Answers of the DNS that are at hand. What is not here is asked for, unless there is an answer for everything else.
pub struct Answers<K, V> {
    known: Mutex<HashMap<K, (V, Instant)>>,
    otherwise: Option<V>,
}

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self { known: Mutex::default(), otherwise: None }
    }
}

impl<K: Hash + Eq, V: Clone> ResolverCache<K, V> for Answers<K, V> {
    fn get<Q>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(name).filter(|(_, until)| *until > Instant::now());
        found.map(|(value, _)| value.clone()).or_else(|| self.otherwise.clone())
    }

    fn remove<Q>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(name).map(|(value, _)| value)
    }

    fn insert(&self, key: K, value: V, valid_until: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            let now = Instant::now();
            known.retain(|_, (_, until)| *until > now);
        }
        // Full of what still holds: this one is asked for again.
        if known.len() < REMEMBERED {
            known.insert(key, (value, valid_until));
        }
    }
}

/// The answers of each sort.
#[derive(Default)]
pub struct Names {
    pub txt: Answers<Box<str>, Txt>,
    pub mx: Answers<Box<str>, RecordSet<MX>>,
    pub v4: Answers<Box<str>, RecordSet<Ipv4Addr>>,
    pub v6: Answers<Box<str>, RecordSet<Ipv6Addr>>,
    pub ptr: Answers<IpAddr, RecordSet<Box<str>>>,
}

/// Looks at mails that come by SMTP.
pub struct Checker {
    dns: MessageAuthenticator,
    names: Names,
}

/// What a peer said of itself and of a mail.
#[derive(Debug, Clone, Copy)]
pub struct Arrived<'a> {
    /// Its address.
    pub ip: IpAddr,
    /// What it calls itself.
    pub helo: &'a str,
    /// The envelope sender.
    pub sender: &'a str,
    /// Our own name.
    pub us: &'a str,
}

impl Checker {
    /// Asks the resolvers of the system.
    ///
    /// # Errors
    /// The system names none that can be used.
    pub fn system() -> Result<Self, String> {
        let dns = MessageAuthenticator::new_system_conf().map_err(|error| error.to_string())?;
        Ok(Self { dns, names: Names::default() })
    }

    /// Asks nobody: all that there is stands in this table of names and TXT records.
    #[cfg(test)]
    pub fn table(records: &[(&str, &str)]) -> Self {
        use mail_auth::common::parse::TxtRecordParser;
        let gone = mail_auth::Error::Dns(mail_auth::DnsError::RecordNotFound(
            mail_auth::hickory_resolver::proto::op::ResponseCode::NXDomain,
        ));
        fn none<T>() -> Option<RecordSet<T>> {
            Some(RecordSet { rrset: Vec::new().into(), dnssec_status: mail_auth::DnssecStatus::Indeterminate })
        }
        let names = Names {
            txt: Answers { otherwise: Some(Txt::Error(gone)), ..Answers::default() },
            mx: Answers { otherwise: none(), ..Answers::default() },
            v4: Answers { otherwise: none(), ..Answers::default() },
            v6: Answers { otherwise: none(), ..Answers::default() },
            ptr: Answers { otherwise: none(), ..Answers::default() },
        };
        let until = Instant::now() + Duration::from_secs(3600);
        for (name, record) in records {
            let bytes = record.as_bytes();
            let txt = if record.starts_with("v=spf1") {
                Txt::Spf(mail_auth::spf::Spf::parse(bytes).unwrap().into())
            } else if record.starts_with("v=DMARC1") {
                Txt::Dmarc(mail_auth::dmarc::Dmarc::parse(bytes).unwrap().into())
            } else {
                Txt::DomainKey(mail_auth::common::verify::DomainKey::parse(bytes).unwrap().into())
            };
            names.txt.insert(format!("{name}.").into(), txt, until);
        }
        // Never asked, because the table has an answer for everything.
        let dns = MessageAuthenticator::new_cloudflare().unwrap();
        Self { dns, names }
    }

    /// What is to be said of a mail. Bounded in time; what could not be found out in time is not proven.
    pub async fn look(&self, arrived: Arrived<'_>, mail: &[u8]) -> Findings {
        let found = tokio::time::timeout(LONGEST, self.find_out(arrived, mail)).await;
        found.unwrap_or_else(|_| Findings::doubtful("dmarc=temperror"))
    }

    async fn find_out(&self, arrived: Arrived<'_>, mail: &[u8]) -> Findings {
        let spf = match arrived.sender {
            "" => SpfParameters::verify_ehlo(arrived.ip, arrived.helo, arrived.us),
            sender => SpfParameters::verify_mail_from(arrived.ip, arrived.helo, arrived.us, sender),
        };
        let spf = self.dns.verify_spf(self.with(spf)).await;
        let spf_passed = spf.result() == SpfResult::Pass;
        let spf_words = format!("spf={}", spf_name(spf.result()));
        let Some(message) = AuthenticatedMessage::parse(mail) else {
            return Findings { envelope: spf_passed, ..Findings::doubtful(&spf_words) };
        };
        let signatures = if message.dkim_headers.len() <= SIGNATURES {
            self.dns.verify_dkim(self.with(&message)).await
        } else {
            Vec::new()
        };
        let sender_domain = match arrived.sender.rsplit_once('@') {
            Some((_, domain)) => domain,
            None => arrived.helo,
        };
        let dmarc = DmarcParameters::new(&message, &signatures, sender_domain, &spf);
        let dmarc = self.dns.verify_dmarc(self.with(dmarc)).await;
        let signed_by = |domain: &str| {
            let passed = signatures.iter().filter(|signature| *signature.result() == DkimResult::Pass);
            passed.filter_map(|one| one.signature()).any(|signature| aligned(&signature.d, domain))
        };
        let result = dmarc.result();
        let from = author_domain(mail);
        let proven = from.as_deref().is_some_and(|from| match &result {
            DmarcResult::Pass => true,
            // The domain has no policy: what stands for the very domain is as good.
            DmarcResult::None => signed_by(from) || (spf_passed && aligned(sender_domain, from)),
            _ => false,
        });
        let words = format!(
            "{spf_words} smtp.mailfrom={sender_domain}; dkim={}; dmarc={}",
            if signatures.iter().any(|signature| *signature.result() == DkimResult::Pass) { "pass" } else { "none" },
            match &result {
                DmarcResult::Pass => "pass",
                DmarcResult::Fail(_) => "fail",
                DmarcResult::TempError(_) => "temperror",
                DmarcResult::PermError(_) => "permerror",
                DmarcResult::None => "none",
            },
        );
        Findings {
            author: if proven { Author::Proven } else { Author::Doubtful },
            envelope: spf_passed || (proven && from.is_some_and(|from| aligned(&from, sender_domain))),
            reject: matches!(result, DmarcResult::Fail(_)) && dmarc.policy() == Policy::Reject,
            words,
        }
    }

    #[allow(clippy::type_complexity, reason = "the type is the library's")]
    fn with<P>(
        &self,
        params: P,
    ) -> Parameters<
        '_,
        P,
        Answers<Box<str>, Txt>,
        Answers<Box<str>, RecordSet<MX>>,
        Answers<Box<str>, RecordSet<Ipv4Addr>>,
        Answers<Box<str>, RecordSet<Ipv6Addr>>,
        Answers<IpAddr, RecordSet<Box<str>>>,
    > {
        Parameters::new(params)
            .with_txt_cache(&self.names.txt)
            .with_mx_cache(&self.names.mx)
            .with_ipv4_cache(&self.names.v4)
            .with_ipv6_cache(&self.names.v6)
            .with_ptr_cache(&self.names.ptr)
    }
}

fn spf_name(result: SpfResult) -> &'static str {
    match result {
        SpfResult::Pass => "pass",
        SpfResult::Fail => "fail",
        SpfResult::SoftFail => "softfail",
        SpfResult::Neutral => "neutral",
        SpfResult::TempError => "temperror",
        SpfResult::PermError => "permerror",
        SpfResult::None => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[(&str, &str)] = &[
        ("example.com", "v=spf1 ip4:192.0.2.1 -all"),
        ("_dmarc.example.com", "v=DMARC1; p=reject"),
        ("lax.org", "v=spf1 ip4:192.0.2.1 ~all"),
        ("evil.org", "v=spf1 ip4:198.51.100.9 -all"),
    ];

    async fn look(ip: &str, sender: &str, from: &str) -> Findings {
        let mail = format!("From: {from}\r\nSubject: x\r\n\r\nhi\r\n");
        let arrived = Arrived { ip: ip.parse().unwrap(), helo: "mx.somewhere.test", sender, us: "mail.x" };
        Checker::table(TABLE).look(arrived, mail.as_bytes()).await
    }

    #[tokio::test]
    async fn a_table_of_mails() {
        use Author::{Doubtful, Proven};
        for (ip, sender, from, author, envelope, reject) in [
            ("192.0.2.1", "bob@example.com", "bob@example.com", Proven, true, false),
            ("198.51.100.9", "bob@example.com", "bob@example.com", Doubtful, false, true),
            // Proven, but not for whom it says it is from.
            ("198.51.100.9", "eve@evil.org", "bob@example.com", Doubtful, true, true),
            ("192.0.2.1", "ann@lax.org", "ann@lax.org", Proven, true, false),
            ("198.51.100.9", "ann@lax.org", "ann@lax.org", Doubtful, false, false),
            ("192.0.2.1", "x@nowhere.test", "x@nowhere.test", Doubtful, false, false),
            ("192.0.2.1", "", "mailer-daemon@nowhere.test", Doubtful, false, false),
            // Two authors: one is proven, the other is shown.
            ("198.51.100.9", "eve@evil.org", "eve@evil.org\r\nFrom: bob@lax.org", Doubtful, true, false),
        ] {
            let found = look(ip, sender, from).await;
            assert_eq!(
                (found.author, found.envelope, found.reject),
                (author, envelope, reject),
                "{sender} {from} {}",
                found.words
            );
        }
    }

    #[test]
    fn memory_is_bounded() {
        let answers: Answers<u32, u32> = Answers::default();
        let later = Instant::now() + Duration::from_secs(60);
        for n in 0..2 * u32::try_from(REMEMBERED).unwrap() {
            answers.insert(n, n, later);
        }
        assert!(answers.known.lock().unwrap().len() <= REMEMBERED);
        assert_eq!(answers.get(&7), Some(7));
    }
}
