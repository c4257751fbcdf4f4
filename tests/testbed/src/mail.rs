//! Postfix and Dovecot as the outside world of mail: the domain `outside.test`, with a mailbox for whoever is written to.

use std::path::Path;

use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::process::Command;

use crate::Result;
use crate::process::{Server, free_port, write};

/// The outside world's domain.
pub const OUTSIDE: &str = "outside.test";

/// Both servers, and their ports.
pub struct MailWorld {
    /// Postfix.
    pub postfix: Server,
    /// Dovecot.
    pub dovecot: Server,
    /// Where Postfix takes mail.
    pub smtp: u16,
    /// Where Dovecot shows mail.
    pub imap: u16,
}

/// The servers, not yet started. Mail for `gateway_domain` goes by LMTP to `gateway_port`; whether
/// a recipient is taken is asked at `policy`.
///
/// # Errors
/// Their files cannot be written.
pub fn servers(folder: &Path, gateway_domain: &str, gateway_port: u16, policy: u16) -> Result<MailWorld> {
    let (smtp, imap, lmtp) = (free_port()?, free_port()?, free_port()?);
    Ok(MailWorld {
        postfix: postfix(&folder.join("p"), smtp, lmtp, gateway_domain, gateway_port, policy)?,
        dovecot: dovecot(&folder.join("d"), imap, lmtp)?,
        smtp,
        imap,
    })
}

fn dovecot(folder: &Path, imap: u16, lmtp: u16) -> Result<Server> {
    make(folder, None)?;
    let mail = folder.join("mail");
    make(&mail, Some("dovecot"))?;
    let config = folder.join("dovecot.conf");
    let (base, state) = (folder.join("base"), folder.join("state"));
    write(
        &config,
        &format!(
            "protocols = imap lmtp\nbase_dir = {}\nstate_dir = {}\nlog_path = /dev/stderr\nssl = no\ndisable_plaintext_auth = no\n\
             first_valid_uid = 1\nmail_location = maildir:{}/%u\nmail_uid = dovecot\nmail_gid = dovecot\n\
             default_internal_user = dovecot\ndefault_login_user = dovenull\n\
             passdb {{\n  driver = static\n  args = nopassword=y\n}}\nuserdb {{\n  driver = static\n  args = uid=dovecot gid=dovecot home={}/%u allow_all_users=yes\n}}\n\
             service imap-login {{\n  inet_listener imap {{\n    address = 127.0.0.1\n    port = {imap}\n  }}\n  inet_listener imaps {{\n    port = 0\n  }}\n}}\n\
             service lmtp {{\n  inet_listener lmtp {{\n    address = 127.0.0.1\n    port = {lmtp}\n  }}\n}}\n",
            base.display(),
            state.display(),
            mail.display(),
            mail.display(),
        ),
    )?;
    let log = folder.join("dovecot.log");
    Ok(Server::new("Dovecot", imap, log, move || {
        let mut command = Command::new("dovecot");
        command.arg("-F").arg("-c").arg(&config);
        command
    }))
}

fn postfix(
    folder: &Path,
    smtp: u16,
    lmtp: u16,
    gateway_domain: &str,
    gateway_port: u16,
    policy: u16,
) -> Result<Server> {
    make(folder, None)?;
    let (etc, queue, data) = (folder.join("etc"), folder.join("q"), folder.join("data"));
    make(&etc, None)?;
    make(&queue, None)?;
    make(&data, Some("postfix"))?;
    for name in [
        "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace",
        "maildrop", "public",
    ] {
        make(&queue.join(name), Some("postfix"))?;
    }
    make(&queue.join("pid"), None)?;
    let log = folder.join("mail.log");
    write(
        &etc.join("main.cf"),
        &format!(
            "compatibility_level = 3.6\nqueue_directory = {queue}\ndata_directory = {data}\ncommand_directory = /usr/sbin\n\
             daemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\nsetgid_group = postdrop\nmyhostname = mx.{OUTSIDE}\nmydomain = {OUTSIDE}\n\
             myorigin = {OUTSIDE}\nmydestination =\nlocal_recipient_maps =\nalias_maps =\nalias_database =\ninet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\nmaillog_file_prefixes = {folder}\nmaillog_file = {log}\ndefault_transport = error:there is no outside here\n\
             smtp_dns_support_level = disabled\nsmtp_host_lookup = native\ntransport_maps = texthash:{etc}/transport\nrelay_domains = {gateway_domain}\n\
             virtual_mailbox_domains = {OUTSIDE}\nvirtual_mailbox_maps = static:all\nvirtual_transport = lmtp:inet:127.0.0.1:{lmtp}\n\
             mynetworks = 127.0.0.0/8\nallow_percent_hack = no\nsmtpd_relay_restrictions = permit_mynetworks, reject\n\
             smtpd_recipient_restrictions = check_recipient_access regexp:{etc}/recipients, check_policy_service inet:127.0.0.1:{policy}, permit_mynetworks, reject\n\
             minimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\nsmtputf8_enable = yes\nbiff = no\n\
             smtpd_client_connection_rate_limit = 0\nsmtpd_peername_lookup = no\n",
            queue = queue.display(),
            data = data.display(),
            folder = folder.display(),
            log = log.display(),
            etc = etc.display(),
        ),
    )?;
    write(&etc.join("transport"), &format!("{gateway_domain} lmtp:inet:127.0.0.1:{gateway_port}\n"))?;
    write(
        &etc.join("recipients"),
        "/^nobody@/ 550 5.1.1 no such user here\n/^full@/ 550 5.2.2 mailbox full\n/^busy@/ 450 4.2.0 come back later\n",
    )?;
    let services = [
        format!("127.0.0.1:{smtp} inet n - n - - smtpd"),
        "pickup unix n - n 60 1 pickup".to_owned(),
        "cleanup unix n - n - 0 cleanup".to_owned(),
        // The incoming queue is looked at this often: what it finds locked by a delivery that is just ending waits there
        // until the next look, whatever queue_run_delay says.
        "qmgr unix n - n 1 1 qmgr".to_owned(),
        "tlsmgr unix - - n 1000? 1 tlsmgr".to_owned(),
        "rewrite unix - - n - - trivial-rewrite".to_owned(),
        "bounce unix - - n - 0 bounce".to_owned(),
        "defer unix - - n - 0 bounce".to_owned(),
        "trace unix - - n - 0 bounce".to_owned(),
        "verify unix - - n - 1 verify".to_owned(),
        "flush unix n - n 1000? 0 flush".to_owned(),
        "proxymap unix - - n - - proxymap".to_owned(),
        "smtp unix - - n - - smtp".to_owned(),
        "relay unix - - n - - smtp".to_owned(),
        "error unix - - n - - error".to_owned(),
        "retry unix - - n - - error".to_owned(),
        "discard unix - - n - - discard".to_owned(),
        "virtual unix - n n - - virtual".to_owned(),
        "lmtp unix - - n - - lmtp".to_owned(),
        "anvil unix - - n - 1 anvil".to_owned(),
        "scache unix - - n - 1 scache".to_owned(),
        "postlog unix-dgram n - n - 1 postlogd".to_owned(),
    ];
    write(&etc.join("master.cf"), &(services.join("\n") + "\n"))?;
    Ok(Server::new("Postfix", smtp, log, move || {
        let mut command = Command::new("/usr/lib/postfix/sbin/master");
        command.arg("-c").arg(&etc).env("MAIL_CONFIG", &etc);
        command
    }))
}

/// Makes a folder, owned by a user of the system.
fn make(path: &Path, owner: Option<&str>) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if let Some(owner) = owner {
        let status = std::process::Command::new("chown").arg(owner).arg(path).status();
        if !status.is_ok_and(|status| status.success()) {
            return Err(format!("{} cannot be given to {owner}: run as root", path.display()));
        }
    }
    Ok(())
}

/// Sends a mail through Postfix as somebody of the outside world. `answers`: the Message-ID that it answers.
///
/// # Errors
/// Postfix refuses it.
pub async fn send(port: u16, from: &str, to: &str, subject: &str, body: &str, answers: Option<&str>) -> Result<()> {
    let address = |text: &str| text.parse::<Mailbox>().map_err(|error| format!("{text}: {error}"));
    let mut message = Message::builder().from(address(from)?).to(address(to)?).subject(subject);
    if let Some(id) = answers {
        message = message.in_reply_to(id.to_owned()).references(id.to_owned());
    }
    let message = message.body(body.to_owned()).map_err(|error| error.to_string())?;
    submit(port, message).await
}

/// Sends a mail that has only HTML.
///
/// # Errors
/// Postfix refuses it.
pub async fn send_html(port: u16, from: &str, to: &str, subject: &str, html: &str) -> Result<()> {
    let address = |text: &str| text.parse::<Mailbox>().map_err(|error| format!("{text}: {error}"));
    let message = Message::builder().from(address(from)?).to(address(to)?).subject(subject);
    let message = message.header(lettre::message::header::ContentType::TEXT_HTML);
    submit(port, message.body(html.to_owned()).map_err(|error| error.to_string())?).await
}

async fn submit(port: u16, message: Message) -> Result<()> {
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1").port(port).build();
    transport.send(message).await.map(|_| ()).map_err(|error| error.to_string())
}

/// Sends a mail through Postfix as it is written, with CR LF at the ends of its lines.
///
/// # Errors
/// Postfix refuses it.
pub async fn send_raw(port: u16, from: &str, to: &str, mail: &str) -> Result<()> {
    let address = |text: &str| text.parse::<lettre::Address>().map_err(|error| format!("{text}: {error}"));
    let envelope = lettre::address::Envelope::new(Some(address(from)?), vec![address(to)?]);
    let envelope = envelope.map_err(|error| error.to_string())?;
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1").port(port).build();
    transport.send_raw(&envelope, mail.as_bytes()).await.map(|_| ()).map_err(|error| error.to_string())
}
