//! Formatted text, as the store has it.

use portway_bridges::api::rich::{Mark, Node, Who};
use portway_bridges::api::{PersonId, UserId};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum StoredNode {
    Text(String),
    Part(StoredMark, Vec<StoredNode>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StoredMark {
    Strong,
    Emphasis,
    Underline,
    Strike,
    Code,
    Spoiler(Option<String>),
    Link(String),
    Person(String, String),
    User(String, String),
    Room,
    Heading(u8),
    Paragraph,
    Quote,
    Preformatted(Option<String>),
    List(Option<u32>),
    Item,
}

/// The depth is that of [`portway_bridges::api::Rich`], which is limited.
pub(super) fn out(nodes: &[Node]) -> Vec<StoredNode> {
    nodes
        .iter()
        .map(|node| match node {
            Node::Text(text) => StoredNode::Text(text.clone()),
            Node::Part(mark, inner) => StoredNode::Part(mark_out(mark), out(inner)),
        })
        .collect()
}

/// A mark that names nobody is left out, and what it holds stays.
pub(super) fn back(nodes: Vec<StoredNode>) -> Vec<Node> {
    let mut read = Vec::with_capacity(nodes.len());
    for node in nodes {
        match node {
            StoredNode::Text(text) => read.push(Node::Text(text)),
            StoredNode::Part(mark, inner) => match mark_in(mark) {
                Some(mark) => read.push(Node::Part(mark, back(inner))),
                None => read.extend(back(inner)),
            },
        }
    }
    read
}

fn mark_out(mark: &Mark) -> StoredMark {
    match mark {
        Mark::Strong => StoredMark::Strong,
        Mark::Emphasis => StoredMark::Emphasis,
        Mark::Underline => StoredMark::Underline,
        Mark::Strike => StoredMark::Strike,
        Mark::Code => StoredMark::Code,
        Mark::Spoiler(hint) => StoredMark::Spoiler(hint.clone()),
        Mark::Link(url) => StoredMark::Link(url.clone()),
        Mark::Mention(Who::Person(person)) => StoredMark::Person(person.local().into(), person.server().into()),
        Mark::Mention(Who::User(user)) => StoredMark::User(user.local().into(), user.host().into()),
        Mark::Mention(Who::Room) => StoredMark::Room,
        Mark::Heading(level) => StoredMark::Heading(*level),
        Mark::Paragraph => StoredMark::Paragraph,
        Mark::Quote => StoredMark::Quote,
        Mark::Preformatted(language) => StoredMark::Preformatted(language.clone()),
        Mark::List(first) => StoredMark::List(*first),
        Mark::Item => StoredMark::Item,
    }
}

fn mark_in(mark: StoredMark) -> Option<Mark> {
    Some(match mark {
        StoredMark::Strong => Mark::Strong,
        StoredMark::Emphasis => Mark::Emphasis,
        StoredMark::Underline => Mark::Underline,
        StoredMark::Strike => Mark::Strike,
        StoredMark::Code => Mark::Code,
        StoredMark::Spoiler(hint) => Mark::Spoiler(hint),
        StoredMark::Link(url) => Mark::Link(url),
        StoredMark::Person(local, server) => Mark::Mention(Who::Person(PersonId::new(&local, &server).ok()?)),
        StoredMark::User(local, host) => Mark::Mention(Who::User(UserId::new(&local, &host).ok()?)),
        StoredMark::Room => Mark::Mention(Who::Room),
        StoredMark::Heading(level) => Mark::Heading(level),
        StoredMark::Paragraph => Mark::Paragraph,
        StoredMark::Quote => Mark::Quote,
        StoredMark::Preformatted(language) => Mark::Preformatted(language),
        StoredMark::List(first) => Mark::List(first),
        StoredMark::Item => Mark::Item,
    })
}
