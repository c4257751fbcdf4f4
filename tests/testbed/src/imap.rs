//! Reading mail, by IMAP.

use futures::StreamExt;
use tokio::net::TcpStream;

use crate::{Result, until};

/// All mails in a mailbox, as they came.
///
/// # Errors
/// The server does not answer as it should.
pub async fn mails(port: u16, address: &str) -> Result<Vec<String>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
    let client = async_imap::Client::new(stream);
    let mut session = client.login(address, "any").await.map_err(|(error, _)| error.to_string())?;
    let mailbox = session.select("INBOX").await.map_err(|error| error.to_string())?;
    let mut mails = Vec::new();
    if mailbox.exists > 0 {
        let mut fetched = session.fetch("1:*", "RFC822").await.map_err(|error| error.to_string())?;
        while let Some(mail) = fetched.next().await {
            let mail = mail.map_err(|error| error.to_string())?;
            mails.push(String::from_utf8_lossy(mail.body().unwrap_or_default()).into_owned());
        }
    }
    let _ = session.logout().await;
    Ok(mails)
}

/// Waits for a mail.
///
/// # Errors
/// It does not come.
pub async fn wait(port: u16, address: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
    until(&format!("a mail for {address}"), async || {
        mails(port, address).await.ok()?.into_iter().find(|mail| wanted(mail))
    })
    .await
}

/// A header of a mail, unfolded.
#[must_use]
pub fn header(mail: &str, name: &str) -> Option<String> {
    let mut value: Option<String> = None;
    for line in mail.lines().take_while(|line| !line.is_empty()) {
        if let Some(value) = value.as_mut() {
            if line.starts_with([' ', '\t']) {
                value.push_str(line);
                continue;
            }
            break;
        }
        let Some((found, rest)) = line.split_once(':') else { continue };
        if found.eq_ignore_ascii_case(name) {
            value = Some(rest.trim().to_owned());
        }
    }
    value
}
