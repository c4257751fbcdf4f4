//! An XMPP client.

use std::collections::VecDeque;

use futures::StreamExt;
use minidom::Element;
use tokio_xmpp::connect::DnsConfig;
use tokio_xmpp::xmlstream::Timeouts;
use tokio_xmpp::{Client, Event, Stanza};
use xmpp_parsers::iq::Iq;
use xmpp_parsers::message::Message;
use xmpp_parsers::presence::Presence;

use crate::world::{HOST, PASSWORD};
use crate::{PATIENCE, Result};

/// A user of the XMPP server, logged in.
pub struct Xmpp {
    client: Client,
    /// Their full JID.
    pub jid: String,
    /// What came and was not waited for yet.
    backlog: VecDeque<Element>,
}

impl Xmpp {
    /// Logs in and says that the user is there.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn login(port: u16, user: &str) -> Result<Self> {
        let jid: xmpp_parsers::jid::Jid = format!("{user}@{HOST}/test").parse().map_err(|_| "not an address")?;
        let address = DnsConfig::addr(&format!("127.0.0.1:{port}"));
        let client = Client::new_plaintext(jid.clone(), PASSWORD, address, Timeouts::default());
        let mut this = Self { client, jid: jid.to_string(), backlog: VecDeque::new() };
        let online = async {
            loop {
                match this.client.next().await {
                    Some(Event::Online { bound_jid, .. }) => return Ok(bound_jid.to_string()),
                    Some(Event::Disconnected(error)) => return Err(error.to_string()),
                    Some(Event::Stanza(_)) => {}
                    None => return Err("the connection ended".to_owned()),
                }
            }
        };
        let jid = tokio::time::timeout(PATIENCE, online).await.map_err(|_| format!("{user} cannot log in"))??;
        this.jid = jid;
        this.send("<presence xmlns='jabber:client'/>").await?;
        Ok(this)
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
        self.client.send_stanza(stanza).await.map(|_| ()).map_err(|error| error.to_string())
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
                match self.client.next().await {
                    Some(Event::Stanza(stanza)) => {
                        let element = match stanza {
                            Stanza::Message(message) => Element::from(message),
                            Stanza::Presence(presence) => Element::from(presence),
                            Stanza::Iq(iq) => Element::from(iq),
                        };
                        if wanted(&element) {
                            return Ok(element);
                        }
                        self.backlog.push_back(element);
                    }
                    Some(_) => {}
                    None => return Err("the connection ended".to_owned()),
                }
            }
        };
        let result = tokio::time::timeout(PATIENCE, waiting).await;
        result.unwrap_or_else(|_| {
            let came: Vec<String> = self.backlog.iter().rev().take(10).map(String::from).collect();
            Err(format!("{what} did not come to XMPP; the last that came:\n{}", came.join("\n")))
        })
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
