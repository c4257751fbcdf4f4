//! Pure: whom people in a room speak to. XMPP has it in the text: a line that begins with somebody's nick, and clients that
//! sound where they find their user's own nick.

use std::borrow::Cow;

use minidom::Element;
use portway_bridges::api::rich::{Mark, Node, Rich, Who};
use portway_bridges::api::{Kind, Text};

use super::room::{Owner, Room, Session};
use crate::xmpp::rich::{self, Body};
use crate::xmpp::to_stanza::bare_jid;
use crate::xmpp::xml;

/// How far a nick at the beginning of a text is looked for, in bytes, and at how many places it may end.
const NICK: usize = 200;
const ENDS: usize = 8;

/// A text of an occupant that begins with somebody's nick, as in `Alice: hello`, mentions them.
pub fn inward(room: &Room, kind: Kind) -> Kind {
    match kind {
        Kind::Text(text) => Kind::Text(addressed(room, text)),
        Kind::Edit { target, new } => Kind::Edit { target, new: addressed(room, new) },
        other => other,
    }
}

fn addressed(room: &Room, text: Text) -> Text {
    let mut nodes =
        text.rich.as_ref().map_or_else(|| vec![Node::Text(text.body.clone())], |rich| rich.nodes().to_vec());
    let Some(Node::Text(first)) = nodes.first() else { return text };
    let ends = first.char_indices().take_while(|(at, _)| *at <= NICK).filter(|(_, c)| matches!(c, ':' | ','));
    let found = ends.take(ENDS).find_map(|(at, _)| Some((at, room.owner(&first[..at])?)));
    let Some((at, owner)) = found else { return text };
    let who = match owner {
        Owner::User(user) => Who::User(user),
        Owner::Person(person) => Who::Person(person),
    };
    let (nick, rest) = (Node::Text(first[..at].to_owned()), Node::Text(first[at..].to_owned()));
    nodes.splice(..1, [Node::Part(Mark::Mention(who), vec![nick]), rest]);
    Text { rich: Rich::new(nodes), ..text }
}

/// A text of the network in which occupants are called by the nick that they have here, or their clients stay silent.
pub fn outward<'a>(room: &Room, text: &'a Text) -> Cow<'a, Text> {
    let Some(rich) = text.rich.as_ref().filter(|rich| rich.mentions().iter().any(|who| called(room, who).is_some()))
    else {
        return Cow::Borrowed(text);
    };
    let Some(new) = Rich::new(renamed(room, rich.nodes().to_vec())).filter(|new| new != rich) else {
        return Cow::Borrowed(text);
    };
    Cow::Owned(Text { body: new.text(), rich: Some(new), ..text.clone() })
}

fn called<'a>(room: &'a Room, who: &Who) -> Option<&'a str> {
    match who {
        Who::User(user) => room.nick_of(user),
        Who::Person(_) | Who::Room => None,
    }
}

/// The depth is that of the tree, which is limited.
fn renamed(room: &Room, nodes: Vec<Node>) -> Vec<Node> {
    let one = |node| match node {
        Node::Part(Mark::Mention(who), inner) => {
            let nick = called(room, &who).filter(|nick| !says(&inner, nick)).map(str::to_owned);
            Node::Part(Mark::Mention(who), nick.map_or(inner, |nick| vec![Node::Text(nick)]))
        }
        Node::Part(mark, inner) => Node::Part(mark, renamed(room, inner)),
        text @ Node::Text(_) => text,
    };
    nodes.into_iter().map(one).collect()
}

fn says(nodes: &[Node], nick: &str) -> bool {
    nodes.iter().any(|node| match node {
        Node::Text(text) => text.contains(nick),
        Node::Part(_, inner) => says(inner, nick),
    })
}

/// That the user of this session is mentioned (XEP-0372). Of others nothing is said: a room may hide who they are.
pub fn own<'a>(body: &'a Body, session: &'a Session) -> impl Iterator<Item = Element> + 'a {
    let own = body.mentions.iter().filter(|(_, who)| *who == Who::User(session.user.clone()));
    own.filter_map(|(range, _)| Some(rich::reference(range, &xml::uri(bare_jid(&session.user)?.as_str()))))
}
