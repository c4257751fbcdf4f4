//! What is known of a mail beside its text: kept as the first lines of its original, so that whoever reads that later
//! (a person, or [`super::super::report`]) knows where the mail came from.

use crate::email::address;
use crate::email::auth::Findings;

const FIELD: &str = "X-Portway-Arrival: ";

/// How a mail arrived for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// The envelope sender; empty for none.
    pub sender: &'a str,
    /// The recipient as the peer wrote it.
    pub recipient: &'a str,
    /// What was found out about it.
    pub findings: &'a Findings,
}

/// What can be read of it again.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept<'a> {
    /// Where a report may go, if one may be sent at all.
    pub report_to: Option<&'a str>,
    /// Who it was for.
    pub recipient: &'a str,
    /// The mail as it came.
    pub mail: &'a [u8],
}

impl Arrival<'_> {
    /// The mail with this in front. `automatic`: a machine wrote it, which gets no answer.
    pub fn keep(&self, mail: &[u8], automatic: bool, us: &str) -> Vec<u8> {
        let returnable = !automatic && self.findings.envelope && address::split(self.sender).is_some();
        let report = if returnable { self.sender } else { "" };
        let mut kept = format!(
            "{FIELD}report=<{report}> for=<{}>\r\nReturn-Path: <{}>\r\nAuthentication-Results: {us}; {}\r\n",
            self.recipient, self.sender, self.findings.words
        )
        .into_bytes();
        kept.extend_from_slice(mail);
        kept
    }
}

/// Reads an original again. `None` where it is not one of ours.
pub fn read(original: &[u8]) -> Option<Kept<'_>> {
    let mut rest = original;
    let mut line = || {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let (line, behind) = rest.split_at(end);
        rest = &behind[2..];
        std::str::from_utf8(line).ok()
    };
    let first = line()?.strip_prefix(FIELD)?;
    line()?.strip_prefix("Return-Path: ")?;
    line()?.strip_prefix("Authentication-Results: ")?;
    let (report, recipient) = first.strip_prefix("report=<")?.split_once("> for=<")?;
    let recipient = recipient.strip_suffix('>')?;
    Some(Kept { report_to: Some(report).filter(|report| !report.is_empty()), recipient, mail: rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_can_be_read() {
        let mut findings = Findings::not_checked();
        let mail = b"X-Portway-Arrival: report=<king@evil.org> for=<x>\r\n\r\nhi";
        for (sender, automatic, envelope, report_to) in [
            ("bob@example.com", false, true, Some("bob@example.com")),
            ("bob@example.com", true, true, None),
            ("bob@example.com", false, false, None),
            ("", false, true, None),
            ("postmaster", false, true, None),
        ] {
            findings.envelope = envelope;
            let arrival = Arrival { sender, recipient: "juliet@mail.x", findings: &findings };
            let kept = arrival.keep(mail, automatic, "mail.x");
            assert_eq!(read(&kept), Some(Kept { report_to, recipient: "juliet@mail.x", mail }), "{sender}");
        }
        assert_eq!(read(b"From: x\r\n\r\n"), None);
        assert_eq!(read(mail), None, "a mail cannot write it itself");
    }
}
