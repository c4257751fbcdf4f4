//! Signing our mail (DKIM, RFC 6376 and RFC 8463), relaxed in both parts.
//!
//! Its own, because lettre's signer cannot name a field once more than it occurs, which is what keeps others from adding
//! a second one.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use crate::api::Timestamp;

/// What is signed, and may not be added later.
const FIELDS: [&str; 12] = [
    "from",
    "to",
    "cc",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
];

enum Key {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

/// Signs for one domain.
pub struct Signer {
    key: Key,
    domain: String,
    selector: String,
}

impl Signer {
    /// Reads the key (PEM: PKCS#8, or PKCS#1 for RSA).
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(domain: &str, selector: &str, file: &Path) -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let der = PrivateKeyDer::from_pem_file(file).map_err(|error| wrong(&error))?;
        let key = match &der {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map(|key| Key::Rsa(key.into())),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                    .map(Key::Ed25519)
                    .or_else(|_| RsaKeyPair::from_pkcs8(der).map(|key| Key::Rsa(key.into())))
            }
            _ => return Err(wrong(&"must be an RSA or an Ed25519 key")),
        };
        let key = key.map_err(|_| wrong(&"must be an RSA key of 2048 bits or more, or an Ed25519 key"))?;
        Ok(Self { key, domain: domain.to_owned(), selector: selector.to_owned() })
    }

    /// The mail with its signature in front. `at` is what the signature gives as its time, so that a retry is the same
    /// mail.
    ///
    /// # Errors
    /// The key does not work.
    pub fn sign(&self, mail: &[u8], at: Timestamp) -> Result<Vec<u8>, String> {
        let end = mail.windows(4).position(|window| window == b"\r\n\r\n").map_or(mail.len(), |end| end + 2);
        let (header, body) = (&mail[..end], mail.get(end + 2..).unwrap_or_default());
        let fields = fields(&String::from_utf8_lossy(header));
        let mut names = Vec::new();
        let mut data = String::new();
        for name in FIELDS {
            // The last one first, as whoever checks it goes.
            for (_, value) in fields.iter().rev().filter(|(found, _)| found == name) {
                names.push(name);
                data.push_str(&format!("{name}:{value}\r\n"));
            }
            names.push(name);
        }
        let algorithm = match self.key {
            Key::Rsa(_) => "rsa-sha256",
            Key::Ed25519(_) => "ed25519-sha256",
        };
        let mut signature = format!(
            "v=1; a={algorithm}; c=relaxed/relaxed; d={}; s={}; t={};\r\n\th={};\r\n\tbh={};\r\n\tb=",
            self.domain,
            self.selector,
            at.0.max(0) / 1000,
            names.join(":\r\n\t "),
            STANDARD.encode(Sha256::digest(relaxed_body(body))),
        );
        data.push_str(&format!("dkim-signature:{}", relaxed(&signature)));
        let proof = self.raw(data.as_bytes()).map_err(|_| "the DKIM key cannot sign".to_owned())?;
        let proof = STANDARD.encode(proof);
        let lines: Vec<&str> = proof.as_bytes().chunks(70).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        signature.push_str(&lines.join("\r\n\t "));
        let mut signed = format!("DKIM-Signature: {signature}\r\n").into_bytes();
        signed.extend_from_slice(mail);
        Ok(signed)
    }

    /// The text that DNS must have, so that our signatures can be checked (RFC 6376, section 3.6.1; RFC 8463).
    pub fn record(&self) -> String {
        match &self.key {
            Key::Rsa(key) => format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(subject(key.public().as_ref()))),
            Key::Ed25519(key) => {
                format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(key.public_key().as_ref()))
            }
        }
    }

    /// Whether a text of DNS holds our key, in either way that RSA keys are written there.
    pub fn is_own(&self, text: &str) -> bool {
        let value = text.split(';').find_map(|tag| tag.trim().strip_prefix("p=")).unwrap_or_default();
        let value: String = value.split_whitespace().collect();
        let Ok(given) = STANDARD.decode(value) else { return false };
        match &self.key {
            Key::Rsa(key) => given == subject(key.public().as_ref()) || given == key.public().as_ref(),
            Key::Ed25519(key) => given == key.public_key().as_ref(),
        }
    }

    fn raw(&self, data: &[u8]) -> Result<Vec<u8>, ring::error::Unspecified> {
        match &self.key {
            Key::Rsa(key) => {
                let mut proof = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut proof)?;
                Ok(proof)
            }
            // RFC 8463, section 3: it is the hash that is signed.
            Key::Ed25519(key) => Ok(key.sign(&Sha256::digest(data)).as_ref().to_vec()),
        }
    }
}

/// An RSA key (PKCS#1) as the public key of some subject (RFC 5280, section 4.1): what `openssl rsa -pubout` writes and DNS
/// holds.
fn subject(key: &[u8]) -> Vec<u8> {
    // rsaEncryption, without parameters.
    const ALGORITHM: [u8; 15] = [0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let bits = der(3, &[&[0], key].concat());
    der(0x30, &[&ALGORITHM[..], &bits].concat())
}

/// A value of DER, its length in as few bytes as it needs.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![tag];
    match (content.len(), u8::try_from(length.len())) {
        (short @ 0..128, _) => out.push(u8::try_from(short).unwrap_or_default()),
        (_, count) => {
            out.push(0x80 | count.unwrap_or_default());
            out.extend_from_slice(&length);
        }
    }
    out.extend_from_slice(content);
    out
}

/// The fields of a header: names in lower case, and values relaxed.
fn fields(header: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in header.split("\r\n").filter(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push_str("\r\n");
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim_end().to_lowercase(), value.to_owned()));
        }
    }
    for (_, value) in &mut fields {
        *value = relaxed(value);
    }
    fields
}

/// RFC 6376, section 3.4.2: unfolded, each white space one space, none at the ends.
fn relaxed(value: &str) -> String {
    value.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// RFC 6376, section 3.4.4.
fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_end();
        let mut space = false;
        for &byte in line {
            let white = matches!(byte, b' ' | b'\t');
            if !(white && space) {
                out.push(if white { b' ' } else { byte });
            }
            space = white;
        }
        out.extend_from_slice(b"\r\n");
    }
    while out.ends_with(b"\r\n\r\n") {
        out.truncate(out.len() - 2);
    }
    if out == b"\r\n" {
        out.clear();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        // The example of RFC 6376, section 3.4.5.
        assert_eq!(relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n"), b" C\r\nD E\r\n");
        assert_eq!(relaxed_body(b"\r\n\r\n"), b"");
        assert_eq!(relaxed_body(b"a"), b"a\r\n");
        let found = fields("A: X\r\nB : Y\t\r\n\tZ  \r\n");
        assert_eq!(found, [("a".to_owned(), "X".to_owned()), ("b".to_owned(), "Y Z".to_owned())]);
    }
}
