//! Formatted text that is too long for one message.

use super::{Node, Rich};

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Formatted text, or text without marks.
    Nodes(Vec<Node>),
    /// Plain text that is still too long: its marks would not survive being cut.
    Plain(String),
}

/// Cuts a tree into pieces of which none measures more than `most`, between its outermost nodes and at the line ends of
/// those that are text. `measure` says how much a piece takes; what two pieces take is no less than what they take together.
#[must_use]
pub fn split(nodes: &[Node], most: usize, measure: &dyn Fn(&[Node]) -> usize) -> Vec<Piece> {
    if measure(nodes) <= most {
        return vec![Piece::Nodes(nodes.to_vec())];
    }
    let mut pieces = Vec::new();
    let mut piece: Vec<Node> = Vec::new();
    let mut taken = 0;
    let mut take = |node: Node, pieces: &mut Vec<Piece>| {
        let size = measure(std::slice::from_ref(&node));
        if taken + size > most && !piece.is_empty() {
            pieces.push(Piece::Nodes(std::mem::take(&mut piece)));
            taken = 0;
        }
        if size > most {
            let text = match node {
                Node::Text(text) => text,
                part @ Node::Part(..) => Rich::new(vec![part]).map(|rich| rich.text()).unwrap_or_default(),
            };
            pieces.push(Piece::Plain(text));
        } else {
            taken += size;
            piece.push(node);
        }
    };
    for node in nodes {
        match node {
            Node::Text(text) => {
                // Few long pieces rather than each line alone.
                for lines in runs(text, most / 8) {
                    take(Node::Text(lines.to_owned()), &mut pieces);
                }
            }
            part @ Node::Part(..) => {
                take(part.clone(), &mut pieces);
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(Piece::Nodes(piece));
    }
    pieces
}

/// Text in runs of whole lines that are not much longer than this.
fn runs(text: &str, length: usize) -> Vec<&str> {
    let mut runs = Vec::new();
    let mut begin = 0;
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        if end > begin && end + line.len() - begin > length {
            runs.push(&text[begin..end]);
            begin = end;
        }
        end += line.len();
    }
    runs.push(&text[begin..]);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::rich::{Mark, styled};

    #[test]
    fn pieces_hold_everything_and_fit() {
        let strong = |text: &str| Node::Part(Mark::Strong, vec![Node::Text(text.to_owned())]);
        let nodes = vec![
            Node::Text("a\n".repeat(300)),
            strong("b"),
            Node::Text("c ".repeat(100)),
            strong(&"d".repeat(3000)),
            strong("e"),
        ];
        let measure = |nodes: &[Node]| styled(nodes).text.len();
        let pieces = split(&nodes, 500, &measure);
        let mut text = String::new();
        for piece in &pieces {
            match piece {
                Piece::Nodes(nodes) => {
                    assert!(measure(nodes) <= 500, "{nodes:?}");
                    for node in nodes {
                        match node {
                            Node::Text(piece) => text.push_str(piece),
                            part @ Node::Part(..) => text.push_str(&styled(std::slice::from_ref(part)).text),
                        }
                    }
                }
                Piece::Plain(plain) => text.push_str(plain),
            }
        }
        let expected = "a\n".repeat(300) + "*b*" + &"c ".repeat(100) + "*" + &"d".repeat(3000) + "*" + "*e*";
        assert_eq!(text, expected);
        assert_eq!(pieces.iter().filter(|piece| matches!(piece, Piece::Plain(_))).count(), 1);
        assert_eq!(split(&nodes, 100_000, &measure).len(), 1);
    }
}
