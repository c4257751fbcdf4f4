//! Commands that come whole, with their answers, from the admin of this machine: no session is begun.
//!
//! They come over a Unix socket in the folder of the gateway, which only the user that runs the gateway (and root) may open:
//! whoever may, can read the database and the configuration as well. One order a connection, as a line of JSON; the answer is
//! another line.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portway_bridges::api::{Sentence, Stop, UserId};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::form::{Answers, Field, FieldKind, Form};
use super::session::Commander;
use super::table::{self, Step};

/// The socket in the folder of the gateway.
pub const SOCKET: &str = "portway.sock";

/// The longest order in bytes.
const LONGEST: u64 = 64 << 10;

/// The longest answer in bytes.
const LONGEST_ANSWER: u64 = 16 << 20;

/// How many forms a command may ask for.
const FORMS: usize = 8;

/// How many orders are carried out at a time.
const AT_A_TIME: usize = 4;

/// How long an order may take to come, and how long to be carried out.
const COMES: Duration = Duration::from_secs(10);
const TAKES: Duration = Duration::from_secs(120);

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The network's id.
    pub network: String,
    /// The command's name.
    pub command: String,
    /// What its forms are answered with; what is left out keeps what it holds.
    #[serde(default)]
    pub answers: Answers,
}

/// What has become of an order, in English.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// What came of it.
    Done(Vec<String>),
    /// It cannot be done.
    Refused(String),
    /// Nothing was done: the answers are wrong.
    Wrong {
        /// In what.
        fault: String,
        /// The fields, each with what it takes.
        fields: Vec<String>,
    },
}

impl Commander {
    /// Carries out a command of admins with these answers.
    pub async fn order(&self, name: &str, answers: &Answers) -> Outcome {
        let texts = self.house.texts.clone();
        let say = |sentence: &Sentence| texts.text(sentence, None);
        let (Some(command), Ok(user)) =
            (table::find(name).filter(|command| command.admin), UserId::parse("admin@localhost"))
        else {
            let names = table::COMMANDS.iter().filter(|command| command.admin).map(|command| command.name);
            let names = names.collect::<Vec<_>>().join(", ");
            return Outcome::Refused(format!("there is no command {name} for admins; there is {names}"));
        };
        let mut answered: Vec<Answers> = Vec::new();
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let mut last: Option<Form> = None;
        let wrong = |fault: String, form: Option<&Form>| {
            let fields = form.map_or(&[][..], |form| &form.fields);
            Outcome::Wrong { fault, fields: fields.iter().map(|field| shown(field, &say)).collect() }
        };
        while answered.len() < FORMS {
            match self.call(command, &user, &answered, None).await {
                Step::Ask(form) => {
                    known.extend(form.fields.iter().map(|field| field.name));
                    // Before anything happens: a name that is misspelt must not mean the default.
                    if form.last
                        && let Some(other) = answers.keys().find(|name| !known.contains(name.as_str()))
                    {
                        return wrong(format!("there is no field {other}"), Some(&form));
                    }
                    match form.check(answers) {
                        Ok(checked) => answered.push(checked),
                        Err((field, why)) => return wrong(format!("{}: {}", say(&field), say(&why)), Some(&form)),
                    }
                    last = Some(form);
                }
                Step::Again(fault) => return wrong(say(&fault), last.as_ref()),
                Step::Refuse(_, sentence) => return Outcome::Refused(say(&sentence)),
                Step::Done(notes) => return Outcome::Done(notes.iter().map(say).collect()),
            }
        }
        wrong(format!("{name} asks for more than {FORMS} forms"), last.as_ref())
    }
}

/// A field in a line: its name, what it is, and what it takes.
fn shown(field: &Field, say: &dyn Fn(&Sentence) -> String) -> String {
    let takes = match &field.kind {
        FieldKind::Text => "text".to_owned(),
        FieldKind::Jid => "a JID".to_owned(),
        FieldKind::Bool => "1 or 0".to_owned(),
        FieldKind::Choice(values) => values
            .iter()
            .map(|(value, _)| value.as_str())
            .filter(|value| !value.is_empty())
            .collect::<Vec<_>>()
            .join("|"),
    };
    let must = if field.required && field.value.is_empty() { ", must be there" } else { "" };
    format!("{}=<{takes}>  {}{must}", field.name, say(&field.label))
}

/// Takes orders until the stop signal. Where the socket cannot be made the gateway works without.
pub async fn serve(folder: &Path, commanders: Vec<Arc<Commander>>, stop: Stop) {
    let path = folder.join(SOCKET);
    let (listener, owner) = match listen(&path).await {
        Ok(listening) => listening,
        Err(error) => {
            warn!(path = %path.display(), %error, "no orders can be taken: portway admin do will not reach this gateway");
            return;
        }
    };
    let commanders = Arc::new(commanders);
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if tasks.len() < AT_A_TIME => match accepted {
                Ok((stream, _)) => {
                    tasks.spawn(answer(stream, owner, commanders.clone()));
                }
                Err(error) => {
                    warn!(%error, "an order cannot be taken");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            },
            Some(_) = tasks.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    let _ = std::fs::remove_file(&path);
}

/// Makes the socket, and says whose it is. One that a gateway left behind when it was killed is replaced.
async fn listen(path: &Path) -> std::io::Result<(UnixListener, u32)> {
    if UnixStream::connect(path).await.is_ok() {
        return Err(Error::new(ErrorKind::AddrInUse, "another gateway has it"));
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => return Err(Error::new(ErrorKind::AlreadyExists, "it is something else than a socket")),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok((listener, std::fs::symlink_metadata(path)?.uid()))
}

async fn answer(stream: UnixStream, owner: u32, commanders: Arc<Vec<Arc<Commander>>>) -> std::io::Result<()> {
    // Whoever came in before the socket was closed to others.
    let peer = stream.peer_cred()?.uid();
    if peer != owner && peer != 0 {
        return Ok(());
    }
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(LONGEST));
    match tokio::time::timeout(COMES, read.read_line(&mut line)).await {
        Ok(Ok(read)) if read > 0 => {}
        _ => return Ok(()),
    }
    let outcome = match serde_json::from_str::<Order>(&line) {
        Ok(order) => carry_out(&order, &commanders).await,
        Err(error) => Outcome::Refused(format!("not an order: {error}")),
    };
    let mut text = serde_json::to_vec(&outcome)?;
    text.push(b'\n');
    write.write_all(&text).await?;
    write.shutdown().await
}

async fn carry_out(order: &Order, commanders: &[Arc<Commander>]) -> Outcome {
    let Some(commander) = commanders.iter().find(|commander| *commander.house.network == *order.network) else {
        let there: Vec<&str> = commanders.iter().map(|commander| &*commander.house.network).collect();
        return Outcome::Refused(format!("network {} does not run; there is {}", order.network, there.join(", ")));
    };
    info!(network = order.network, command = order.command, "an order of the admin of this machine");
    match tokio::time::timeout(TAKES, commander.order(&order.command, &order.answers)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Refused(format!("{} takes too long", order.command)),
    }
}

/// Gives an order to the gateway that runs in this folder.
///
/// # Errors
/// There is none, or it does not answer.
pub async fn give(folder: &Path, order: &Order) -> std::io::Result<Outcome> {
    let mut stream = UnixStream::connect(folder.join(SOCKET)).await?;
    let mut text = serde_json::to_vec(order)?;
    text.push(b'\n');
    stream.write_all(&text).await?;
    let mut line = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut line).await?;
    match line.is_empty() {
        true => Err(Error::new(ErrorKind::UnexpectedEof, "it closed the socket without an answer")),
        false => Ok(serde_json::from_str(&line)?),
    }
}
