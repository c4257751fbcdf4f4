//! An XMPP client.
//!
//! It stands on the stanza stream of `tokio-xmpp` and not on its `Client`: in 6.0.0 that one's receiving half answers
//! "nothing yet" without leaving a waker where a send holds its lock at that moment, so that now and then everything that
//! comes afterwards stays unread. For long that looked like a loss of the gateway's.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use minidom::Element;
use tokio_xmpp::Stanza;
use tokio_xmpp::connect::{DnsConfig, TcpServerConnector};
use tokio_xmpp::stanzastream::{Event, StanzaStage, StanzaState, StanzaStream, StreamEvent};
use tokio_xmpp::xmlstream::Timeouts;
use xmpp_parsers::iq::Iq;
use xmpp_parsers::message::Message;
use xmpp_parsers::presence::Presence;

use crate::world::{HOST, PASSWORD};
use crate::{PATIENCE, Result};

const NS_ARCHIVE: &str = "urn:xmpp:mam:2";
const NS_PAGES: &str = "http://jabber.org/protocol/rsm";

/// How many stanzas wait to be sent, or to be read, at most.
const QUEUE: usize = 64;

/// A user of the XMPP server, logged in.
pub struct Xmpp {
    stream: StanzaStream,
    /// Their full JID.
    pub jid: String,
    /// What came and was not waited for yet.
    backlog: VecDeque<Element>,
    /// Every message that came, in order.
    pub log: Vec<Element>,
}

/// A stream that connects on its own; each has a resource of its own, so that none ends another.
fn connect(port: u16, user: &str) -> Result<StanzaStream> {
    let jid = format!("{user}@{HOST}/test-{:08x}", rand::random::<u32>());
    let jid: xmpp_parsers::jid::Jid = jid.parse().map_err(|_| "not an address")?;
    let server = TcpServerConnector::from(DnsConfig::addr(&format!("127.0.0.1:{port}")));
    Ok(StanzaStream::new_c2s(server, jid, PASSWORD.to_owned(), Timeouts::default(), QUEUE))
}

impl Xmpp {
    /// Logs in and says that the user is there.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn login(port: u16, user: &str) -> Result<Self> {
        let stream = connect(port, user)?;
        let mut this = Self { stream, jid: String::new(), backlog: VecDeque::new(), log: Vec::new() };
        this.online(user).await?;
        Ok(this)
    }

    /// Gives up the connection and logs in anew, as another device of the same user.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn login_again(&mut self, port: u16, user: &str) -> Result<()> {
        self.stream = connect(port, user)?;
        self.online(user).await
    }

    async fn online(&mut self, user: &str) -> Result<()> {
        let online = async {
            loop {
                match self.stream.next().await {
                    Some(Event::Stream(StreamEvent::Reset { bound_jid, .. })) => return Ok(bound_jid.to_string()),
                    Some(_) => {}
                    None => return Err("the connection ended".to_owned()),
                }
            }
        };
        self.jid = tokio::time::timeout(PATIENCE, online).await.map_err(|_| format!("{user} cannot log in"))??;
        self.send("<presence xmlns='jabber:client'/>").await
    }

    /// Sends a stanza, given as text in the namespace `jabber:client`.
    ///
    /// # Errors
    /// It is no stanza, or the connection has ended for good.
    pub async fn send(&mut self, text: &str) -> Result<()> {
        let element: Element = text.parse().map_err(|error| format!("{error}: {text}"))?;
        let stanza = match element.name() {
            "message" => Stanza::Message(Message::try_from(element).map_err(|error| error.to_string())?),
            "presence" => Stanza::Presence(Presence::try_from(element).map_err(|error| error.to_string())?),
            _ => Stanza::Iq(Iq::try_from(element).map_err(|error| error.to_string())?),
        };
        let mut token = self.stream.send(Box::new(stanza)).await;
        match token.wait_for(StanzaStage::Sent).await {
            Some(StanzaState::Failed { error }) => Err(error.to_string()),
            None | Some(StanzaState::Dropped) => Err("the connection ended".to_owned()),
            Some(_) => Ok(()),
        }
    }

    /// Writes to somebody.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn say(&mut self, to: &str, id: &str, body: &str) -> Result<()> {
        self.send(&format!(
            "<message xmlns='jabber:client' to='{to}' type='chat' id='{id}'><body>{body}</body><request xmlns='urn:xmpp:receipts'/></message>"
        ))
        .await
    }

    /// Says something in a room.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn say_in(&mut self, room: &str, id: &str, body: &str) -> Result<()> {
        self.send(&format!(
            "<message xmlns='jabber:client' to='{room}' type='groupchat' id='{id}'><body>{body}</body></message>"
        ))
        .await
    }

    /// Joins a room and waits for its subject.
    ///
    /// # Errors
    /// The room refuses.
    pub async fn join(&mut self, room: &str, nick: &str) -> Result<()> {
        // What came from it before says nothing about this try.
        self.backlog.retain(|stanza| !stanza.attr("from").unwrap_or_default().starts_with(room));
        self.send(&format!(
            "<presence xmlns='jabber:client' to='{room}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ))
        .await?;
        let answer = self
            .wait("the room's answer", |stanza| {
                let from = stanza.attr("from").unwrap_or_default();
                from.starts_with(room)
                    && (stanza.attr("type") == Some("error") || stanza.has_child("subject", "jabber:client"))
            })
            .await?;
        if answer.attr("type") == Some("error") {
            Err(format!("{room} refuses: {}", String::from(&answer)))
        } else {
            Ok(())
        }
    }

    /// Asks whether somebody is there (XEP-0030).
    ///
    /// # Errors
    /// They are not.
    pub async fn reach(&mut self, whom: &str) -> Result<()> {
        let id = format!("reach-{:08x}", rand::random::<u32>());
        self.send(&format!(
            "<iq xmlns='jabber:client' type='get' id='{id}' to='{whom}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        ))
        .await?;
        let answer = self.wait(&format!("{whom}’s answer"), |stanza| stanza.attr("id") == Some(&id)).await?;
        if answer.attr("type") == Some("result") { Ok(()) } else { Err(format!("{whom} cannot be reached")) }
    }

    /// Waits for a stanza.
    ///
    /// # Errors
    /// It does not come.
    pub async fn wait(&mut self, what: &str, wanted: impl Fn(&Element) -> bool) -> Result<Element> {
        if let Some(at) = self.backlog.iter().position(&wanted) {
            return self.backlog.remove(at).ok_or_else(|| "gone".to_owned());
        }
        let waiting = async {
            loop {
                let element = self.next().await?;
                if wanted(&element) {
                    return Ok(element);
                }
                self.backlog.push_back(element);
            }
        };
        let result = tokio::time::timeout(PATIENCE, waiting).await;
        result.unwrap_or_else(|_| {
            let came: Vec<String> = self.backlog.iter().rev().take(10).map(String::from).collect();
            Err(format!("{what} did not come to XMPP; the last that came:\n{}", came.join("\n")))
        })
    }

    /// The next stanza from the server.
    async fn next(&mut self) -> Result<Element> {
        loop {
            match self.stream.next().await {
                Some(Event::Stanza(Stanza::Message(message))) => {
                    let element = Element::from(message);
                    self.log.push(element.clone());
                    return Ok(element);
                }
                Some(Event::Stanza(Stanza::Presence(presence))) => return Ok(Element::from(presence)),
                Some(Event::Stanza(Stanza::Iq(iq))) => return Ok(Element::from(iq)),
                Some(_) => {}
                None => return Err("the connection ended".to_owned()),
            }
        }
    }

    /// Reads on until the messages that came so far are what is wanted, at most so long.
    ///
    /// # Errors
    /// They are not by then, or the connection has ended.
    pub async fn read(&mut self, most: Duration, enough: impl Fn(&[Element]) -> bool) -> Result<()> {
        let reading = async {
            while !enough(&self.log) {
                let element = self.next().await?;
                self.backlog.push_back(element);
            }
            Ok(())
        };
        tokio::time::timeout(most, reading).await.unwrap_or_else(|_| Err("it did not come".to_owned()))
    }

    /// What the server has archived for this user (XEP-0313), oldest first: the last 1,000 messages.
    ///
    /// # Errors
    /// The server refuses, or does not answer.
    pub async fn archive(&mut self) -> Result<Vec<Element>> {
        let mut archived = Vec::new();
        let mut after = String::new();
        for page in 0..10 {
            let id = format!("archive-{}-{page}", self.log.len());
            self.send(&format!(
                "<iq xmlns='jabber:client' type='set' id='{id}'><query xmlns='urn:xmpp:mam:2' queryid='{id}'>\
                 <set xmlns='http://jabber.org/protocol/rsm'><max>100</max>{after}</set></query></iq>"
            ))
            .await?;
            let answer =
                self.wait("the archive", |stanza| stanza.name() == "iq" && stanza.attr("id") == Some(&id)).await?;
            let (of_page, rest): (Vec<_>, Vec<_>) = self.log.drain(..).partition(|message| {
                message.get_child("result", NS_ARCHIVE).is_some_and(|result| result.attr("queryid") == Some(&id))
            });
            self.log = rest;
            self.backlog.retain(|stanza| !stanza.has_child("result", NS_ARCHIVE));
            archived.extend(of_page.iter().filter_map(|message| {
                let forwarded =
                    message.get_child("result", NS_ARCHIVE)?.get_child("forwarded", "urn:xmpp:forward:0")?;
                forwarded.get_child("message", "jabber:client").cloned()
            }));
            let finished = answer.get_child("fin", NS_ARCHIVE).ok_or_else(|| String::from(&answer))?;
            let last = finished.get_child("set", NS_PAGES).and_then(|set| set.get_child("last", NS_PAGES));
            match last {
                Some(last) if finished.attr("complete") != Some("true") => {
                    after = format!("<after>{}</after>", last.text());
                }
                _ => break,
            }
        }
        Ok(archived)
    }

    /// Waits for a message with this body from somebody or somewhere.
    ///
    /// # Errors
    /// It does not come.
    pub async fn hear(&mut self, from: &str, body: &str) -> Result<Element> {
        self.wait(&format!("“{body}” from {from}"), |stanza| {
            stanza.name() == "message"
                && stanza.attr("type") != Some("error")
                && stanza.attr("from").is_some_and(|sender| sender.starts_with(from))
                && stanza.get_child("body", "jabber:client").is_some_and(|found| found.text() == body)
        })
        .await
    }

    /// Waits for the error on a message.
    ///
    /// # Errors
    /// It does not come.
    pub async fn error(&mut self, id: &str) -> Result<Element> {
        self.wait(&format!("an error on {id}"), |stanza| {
            stanza.name() == "message" && stanza.attr("type") == Some("error") && stanza.attr("id") == Some(id)
        })
        .await
    }

    /// Waits for the receipt of a message.
    ///
    /// # Errors
    /// It does not come.
    pub async fn receipt(&mut self, id: &str) -> Result<()> {
        self.wait(&format!("a receipt for {id}"), |stanza| {
            stanza.get_child("received", "urn:xmpp:receipts").is_some_and(|receipt| receipt.attr("id") == Some(id))
        })
        .await
        .map(|_| ())
    }
}
