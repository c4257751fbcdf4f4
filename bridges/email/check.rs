//! What `portway doctor` finds out about mail: the smarthost, our files, and what the world's names say of our domain.

use std::time::Duration;

use super::adapter::State;
use super::config::{Face, Place};
use super::dkim::Signer;
use super::receive;
use super::send::Fault;
use crate::api::{Dns, DnsError, Finding, Question, Record};

/// How long the smarthost may take for everything together.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest part of a text in a zone file (RFC 1035, section 3.3).
const PART: usize = 255;

impl State {
    /// The smarthost as it is configured, and our own files.
    pub async fn check(&self) -> Vec<Finding> {
        let mut findings = vec![self.smarthost().await];
        if let Some((cert, key)) = &self.config.tls
            && let Err(error) = receive::acceptor(cert, key)
        {
            findings.push(
                Finding::fail("tls_cert", error)
                    .fix("[network.email]\ntls_cert = \"/etc/portway/mail.pem\"  # the chain\ntls_key = \"/etc/portway/mail.key\""),
            );
        }
        if let Some((selector, file)) = &self.config.dkim
            && let Err(error) = Signer::read(&self.config.domain, selector, file)
        {
            let fix = format!("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out {}", file.display());
            findings.push(Finding::fail("dkim_key_file", error).fix(fix));
        }
        if let Place::Unix(path) = &self.config.listen
            && let Some(folder) = path.parent().filter(|folder| !folder.is_dir())
        {
            let text = format!("the folder of the socket, {}, is not there", folder.display());
            let fix = format!("install -d -m 750 -o portway -g postfix {}", folder.display());
            findings.push(Finding::fail("listen", text).fix(fix));
        }
        findings
    }

    async fn smarthost(&self) -> Finding {
        let place = format!("{:?}", self.config.smarthost);
        let section = "[network.email]\nsmarthost = ";
        let slow = || Err(Fault::Unreachable("it takes too long".to_owned()));
        let from = format!("postmaster@{}", self.config.domain);
        match tokio::time::timeout(PATIENCE, self.sender.probe(&from)).await.unwrap_or_else(|_| slow()) {
            Ok(true) => Finding::ok("smarthost", format!("{place} takes us, encrypted")),
            Ok(false) => Finding::ok("smarthost", format!("{place} takes us, not encrypted")),
            Err(Fault::Unreachable(why)) => Finding::fail("smarthost", format!("{place} does not answer: {why}"))
                .fix(format!("# start the mail server, or name another:\n{section}\"smtp://127.0.0.1:25\"  # where it takes mail to send")),
            Err(Fault::NotOffered) => {
                Finding::fail("smarthost", format!("{place} offers no STARTTLS, which tls=required asks for"))
                    .fix(format!("{section}\"smtps://…\"  # or switch STARTTLS on there: smtpd_tls_security_level = may in Postfix"))
            }
            Err(Fault::NotEncrypted(why)) => {
                Finding::fail("smarthost", format!("no encryption with {place}: {why}"))
                    .fix("SSL_CERT_FILE=/etc/portway/authority.pem  # in the environment of portway: who signed its certificate")
            }
            Err(Fault::Login(why)) => Finding::fail("smarthost", format!("{place} does not take our login: {why}"))
                .fix(format!("{section}\"smtps://user:password@…\"  # special characters as %xx")),
            Err(Fault::Refused(why)) => Finding::fail("smarthost", format!("{place} refuses us: {why}"))
                .fix("# let the gateway send through it: mynetworks in Postfix, or a login"),
        }
    }

    /// Who takes mail for our domain, and who may send in its name.
    pub async fn check_names(&self, dns: &dyn Dns) -> Vec<Finding> {
        let findings = async {
            let mut findings = vec![self.mx(dns).await?, self.spf(dns).await?];
            findings.extend(self.dkim(dns).await?);
            Ok::<_, DnsError>(findings)
        };
        findings.await.unwrap_or_else(|error| {
            vec![
                Finding::warn("names", format!("nobody answers what {} is: {error}", self.config.domain))
                    .fix("# see /etc/resolv.conf, or leave names out with --offline"),
            ]
        })
    }

    async fn mx(&self, dns: &dyn Dns) -> Result<Finding, DnsError> {
        let domain = &self.config.domain;
        let mut servers: Vec<(u16, String)> = Vec::new();
        for record in dns.ask(domain, Question::Mx).await? {
            if let Record::Mx { preference, host } = record {
                servers.push((preference, host));
            }
        }
        servers.sort();
        // Without an MX the domain itself takes its mail (RFC 5321, section 5.1).
        let host = servers.first().map_or(domain.as_str(), |(_, host)| host.as_str());
        let mut addresses = Vec::new();
        for record in dns.ask(host, Question::Address).await? {
            if let Record::Address(address) = record {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            let text = match servers.is_empty() {
                true => format!("{domain} has neither MX nor address: nobody outside can write to our users"),
                false => format!("{host}, which takes the mail of {domain}, has no address"),
            };
            let fix = match servers.is_empty() {
                true => format!(
                    "{domain}. 3600 IN MX 10 mx.example.org.  ; the mail server in front of us, or this machine"
                ),
                false => format!("{host}. 3600 IN A 192.0.2.1  ; its address"),
            };
            return Ok(Finding::fail("mx", text).fix(fix));
        }
        let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let to = format!("mail for {domain} goes to {host} ({})", shown.join(", "));
        let (Face::Smtp, Place::Tcp(listen)) = (self.config.face, &self.config.listen) else {
            return Ok(Finding::ok(
                "mx",
                format!("{to}, which must hand it over to us (portway generate server postfix)"),
            ));
        };
        Ok(if !listen.ip().is_unspecified() && !addresses.contains(&listen.ip()) {
            Finding::fail("mx", format!("{to}, and we listen on {listen} only"))
                .fix("[network.email]\nlisten = \"smtp://0.0.0.0:25\"  # or an MX that leads to this machine")
        } else if listen.port() != 25 {
            Finding::warn("mx", format!("{to}, port 25, and we listen on {listen}; something must forward it"))
                .fix("[network.email]\nlisten = \"smtp://0.0.0.0:25\"")
        } else {
            Finding::ok("mx", to)
        })
    }

    async fn spf(&self, dns: &dyn Dns) -> Result<Finding, DnsError> {
        let domain = &self.config.domain;
        let host = self.config.smarthost.host();
        let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok();
        let sender = if local { String::new() } else { format!(" a:{host}") };
        let fix = format!(
            "{domain}. 3600 IN TXT \"v=spf1 mx{sender} -all\"  ; and the addresses of whoever sends our mail: ip4:192.0.2.1"
        );
        let texts = dns.ask(domain, Question::Txt).await?;
        let found = texts.iter().filter(|record| matches!(record, Record::Txt(text) if is_spf(text))).count();
        Ok(match found {
            0 => Finding::warn(
                "spf",
                format!("{domain} does not say who may send its mail (SPF); much of ours will be taken for spam"),
            )
            .fix(fix),
            1 => Finding::ok("spf", format!("{domain} says who may send its mail")),
            _ => Finding::fail(
                "spf",
                format!("{domain} has {found} SPF records, which count as none (RFC 7208, section 4.5)"),
            )
            .fix(fix),
        })
    }

    async fn dkim(&self, dns: &dyn Dns) -> Result<Option<Finding>, DnsError> {
        let Some((selector, file)) = &self.config.dkim else { return Ok(None) };
        // A key that cannot be read has its own finding.
        let Ok(signer) = Signer::read(&self.config.domain, selector, file) else { return Ok(None) };
        let name = format!("{selector}._domainkey.{}", self.config.domain);
        let record = signer.record();
        let parts: Vec<String> =
            record.as_bytes().chunks(PART).map(|part| format!("\"{}\"", String::from_utf8_lossy(part))).collect();
        let fix = format!("{name}. 3600 IN TXT {}", parts.join(" "));
        let texts = dns.ask(&name, Question::Txt).await?;
        let keys: Vec<&str> = texts
            .iter()
            .filter_map(|record| if let Record::Txt(text) = record { Some(text.as_str()) } else { None })
            .collect();
        Ok(Some(if keys.is_empty() {
            Finding::fail("dkim", format!("{name} is not there: nobody can check our signatures")).fix(fix)
        } else if keys.iter().any(|key| signer.is_own(key)) {
            Finding::ok("dkim", format!("{name} holds our key"))
        } else {
            Finding::fail("dkim", format!("{name} holds another key than {}", file.display())).fix(fix)
        }))
    }
}

fn is_spf(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text == "v=spf1" || text.starts_with("v=spf1 ")
}
