//! HTML both ways: one reader for whatever anybody sends, and one writer of a small, safe part of it.

mod build;
pub mod entity;
mod token;
mod write;

use super::Node;

pub use self::build::{Attributes, Builder};
pub use self::token::{Tag, Token, Tokens};
pub use self::write::{Dialect, Sink, to_html, walk};

/// The tree of HTML, however broken or hostile it is: in linear time, without recursion, at most as deep and as much as
/// [`super::Rich`] may be, and at most 1 MiB of text. Elements that are not known keep their text; nothing is fetched, and
/// nothing is in the tree that does anything but lead somewhere ([`super::is_link`]).
#[must_use]
pub fn from_html(html: &str) -> Vec<Node> {
    read(html).finish()
}

fn read(html: &str) -> Builder {
    let mut builder = Builder::default();
    let mut tokens = Tokens::new(html);
    for token in tokens.by_ref() {
        match token {
            Token::Text(raw) => builder.text(&entity::decode(raw)),
            Token::Open(tag) => builder.open(&tag.name, &|name| tag.attribute(name)),
            Token::Close(name) => builder.close(&name),
        }
    }
    #[cfg(test)]
    {
        builder.steps += tokens.looked;
    }
    builder
}

/// Whether this may be the name of a language of code: at most 40 characters, none that means anything elsewhere.
#[must_use]
pub fn is_language(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 40
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '#' | '-' | '_' | '.'))
}

#[cfg(test)]
mod tests;
