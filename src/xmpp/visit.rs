//! A look around at the XMPP server as a component, for the doctor: some questions over the connection that the gateway has
//! ([`Questions`]), or over one of its own while no gateway runs ([`Visit`]), and then goodbye.
//!
//! Whoever writes to the gateway during a visit is told that it is not there: what is taken here would be lost otherwise.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures::future::join_all;
use minidom::Element;
use portway_bridges::api::{Condition, Stop};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::about::TIME;
use super::iq::ns;
use super::jid::Jid;
use super::roster::privilege::{Grants, Privileges};
use super::stanza::{Domain, NS_CLIENT, OutStanza, Stanza, StanzaKind};
use super::stream::{DownReason, Link, LinkConfig, LinkEvent, Priority};
use super::{error, xml};

/// XEP-0363.
const UPLOAD: &str = "urn:xmpp:http:upload:0";

/// How many services of the server are asked whether they take files.
const ASKED: usize = 50;

/// What the absent gateway says.
const AWAY: &str = "The gateway is not running at the moment. Please try again later.";

/// A connection of our own while we look around.
pub struct Visit {
    questions: Questions,
    heard: Arc<Mutex<Heard>>,
    stop: Stop,
    tasks: Vec<JoinHandle<()>>,
}

impl Visit {
    /// Connects and shakes hands, once. `patience` is how long an answer may take.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn begin(config: LinkConfig, patience: Duration) -> Result<Self, DownReason> {
        let server = config.server.clone();
        let stop = Stop::new();
        let (link, mut events, task) = Link::start(config, stop.clone());
        match events.recv().await {
            Some(LinkEvent::Up { .. }) => {
                let hosts = vec![server.as_str().to_owned()];
                let heard = Heard { events, link: link.clone(), hosts, privileges: Privileges::default() };
                let heard = Arc::new(Mutex::new(heard));
                let listening = tokio::spawn(listen(heard.clone()));
                let questions = Questions::new(link, &server, patience);
                Ok(Self { questions, heard, stop, tasks: vec![task, listening] })
            }
            other => {
                stop.cancel();
                let _ = task.await;
                Err(match other {
                    Some(LinkEvent::Down { reason }) => reason,
                    _ => DownReason::Stopping,
                })
            }
        }
    }

    /// Ends the stream.
    pub async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            let _ = task.await;
        }
    }

    /// What can be asked.
    #[must_use]
    pub fn questions(&self) -> &Questions {
        &self.questions
    }

    /// What the server itself has said that it lets us do (XEP-0356). What others say in its place counts for nothing.
    #[must_use]
    pub fn granted(&self) -> Option<Grants> {
        let mut heard = lock(&self.heard);
        // What came before the last answer is in the channel by now, though the task may not have taken it yet.
        while let Ok(event) = heard.events.try_recv() {
            heard.take(event);
        }
        heard.privileges.of(self.questions.server.domain())
    }
}

/// What a component asks its server over a connection that is up.
pub struct Questions {
    link: Link,
    server: Jid,
    patience: Duration,
}

impl Questions {
    /// Questions to this server. `patience` is how long an answer may take.
    #[must_use]
    pub fn new(link: Link, server: &Domain, patience: Duration) -> Self {
        Self { link, server: server.jid().jid().clone(), patience }
    }

    /// Whether the server answers at all. What it says by itself right behind the handshake has come before.
    pub async fn ping(&self) -> bool {
        self.ask(&self.server, Element::bare("ping", ns::PING)).await.is_some()
    }

    /// What the server calls itself, and its version (XEP-0092).
    pub async fn version(&self) -> Option<(String, String)> {
        let answer = self.result(&self.server, Element::bare("query", ns::VERSION)).await?;
        let text = |name: &str| answer.get_child(name, ns::VERSION).map(Element::text).unwrap_or_default();
        Some((text("name"), text("version")))
    }

    /// The server's clock in seconds since 1970 (XEP-0202).
    pub async fn time(&self) -> Option<i64> {
        let answer = self.result(&self.server, Element::bare("time", TIME)).await?;
        let utc = answer.get_child("utc", TIME)?.text();
        Some(utc.parse::<xmpp_parsers::date::DateTime>().ok()?.0.timestamp())
    }

    /// The services that the server lists.
    pub async fn items(&self) -> Option<Vec<Jid>> {
        let list = self.result(&self.server, Element::bare("query", ns::DISCO_ITEMS)).await?;
        Some(list.children().filter_map(|item| Jid::parse(item.attr("jid")?).ok()).collect())
    }

    /// The first of these services that takes files.
    pub async fn upload_service(&self, items: &[Jid]) -> Option<Jid> {
        let others = items.iter().filter(|item| item.node().is_none() && item.as_str() != self.link.domain().as_str());
        let infos = others.take(ASKED).map(async |item| {
            let info = self.result(item, Element::bare("query", ns::DISCO_INFO)).await?;
            info.children().any(|child| child.attr("var") == Some(UPLOAD)).then(|| item.clone())
        });
        join_all(infos).await.into_iter().flatten().next()
    }

    /// Asks the service for a place for a file of one byte, which is never sent; where it would be found.
    ///
    /// # Errors
    /// The condition of the service's error.
    pub async fn slot(&self, service: &Jid) -> Result<String, String> {
        let attributes = [("filename", "portway-doctor.txt"), ("size", "1"), ("content-type", "text/plain")];
        let answer = self.ask(service, xml::element("request", UPLOAD, &attributes)).await;
        let answer = answer.ok_or("it does not answer")?;
        let get = answer.child("slot", UPLOAD).and_then(|slot| slot.get_child("get", UPLOAD));
        if let Some(url) = get.and_then(|get| get.attr("url")) {
            return Ok(url.to_owned());
        }
        let error = answer.child("error", NS_CLIENT).and_then(|error| error.children().next());
        Err(error.map_or("an answer without a slot", Element::name).to_owned())
    }

    /// Asks, and returns the answer, an error or a result; `None` where none comes in time.
    async fn ask(&self, to: &Jid, payload: Element) -> Option<Stanza> {
        let request = OutStanza::new(StanzaKind::Iq, &self.link.domain().jid(), to, Some("get"), None).with(payload);
        self.link.iq(request, self.patience).await.ok()
    }

    /// Asks, and returns what the result holds.
    async fn result(&self, to: &Jid, payload: Element) -> Option<Element> {
        let answer = self.ask(to, payload).await.filter(|answer| answer.type_.as_deref() == Some("result"))?;
        answer.element.children().next().cloned()
    }
}

/// What comes from the server by itself.
struct Heard {
    events: mpsc::Receiver<LinkEvent>,
    link: Link,
    /// Who may say what is granted.
    hosts: Vec<String>,
    privileges: Privileges,
}

impl Heard {
    /// Keeps what the server grants, and answers everybody else.
    fn take(&mut self, event: LinkEvent) {
        let LinkEvent::Stanza(stanza) = event else { return };
        let asks = stanza.kind != StanzaKind::Presence
            && !matches!(stanza.type_.as_deref(), Some("error" | "result"))
            && stanza.from.as_ref().is_some_and(|from| from.node().is_some());
        if let Some(us) = stanza.to.as_ref().and_then(|to| self.link.domain().own(to)).filter(|_| asks) {
            let condition = Condition::ResourceConstraint;
            if let Some(answer) = error::reply(&stanza, &us, condition, error::usual_type(condition), AWAY) {
                let _ = self.link.send(&answer, Priority::Urgent);
            }
        } else {
            self.privileges.learn(&stanza, &self.hosts);
        }
    }
}

/// Takes what comes until the link ends. Taking and keeping are one step under the lock.
async fn listen(heard: Arc<Mutex<Heard>>) {
    loop {
        let more = poll_fn(|context| {
            let mut heard = lock(&heard);
            match heard.events.poll_recv(context) {
                Poll::Ready(Some(event)) => {
                    heard.take(event);
                    Poll::Ready(true)
                }
                Poll::Ready(None) => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        });
        if !more.await {
            return;
        }
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
