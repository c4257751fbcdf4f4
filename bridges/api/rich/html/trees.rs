// Trees as people write them, for property tests. Included by the tests of both packages.

use proptest::prelude::*;

/// A word, with the signs of every notation and of other scripts in it.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{1,6}".boxed(),
        1 => "[a-zäß\u{5d0}-\u{5d5}\u{1f600}-\u{1f605}<>&*_~`\"'#@\\[\\]()|-]{1,8}".boxed(),
        1 => Just("\u{1f468}\u{200d}\u{1f469}".to_owned()).boxed(),
    ]
}

fn words(most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(word(), 1..=most).prop_map(|words| words.join(" "))
}

/// What stands in a line: no mark within the same mark, none within code, no link within a link.
fn line(depth: usize, used: u8) -> BoxedStrategy<Vec<Node>> {
    if depth == 0 {
        return words(4).prop_map(|text| vec![Node::Text(text)]).boxed();
    }
    let mark = prop_oneof![
        Just((Mark::Strong, 1u8)),
        Just((Mark::Emphasis, 2)),
        Just((Mark::Strike, 4)),
        Just((Mark::Code, 0xff)),
        Just((Mark::Underline, 8)),
        Just((Mark::Link("https://example.org/?a=b&c=\u{e4}".to_owned()), 16)),
        Just((Mark::Spoiler(Some("the end".to_owned())), 32)),
    ]
    .prop_filter("used", move |(mark, bit)| if *mark == Mark::Code { used & 64 == 0 } else { used & bit == 0 });
    let part = mark.prop_flat_map(move |(mark, bit)| {
        let inner = if mark == Mark::Code { line(0, 0xff) } else { line(depth - 1, used | bit) };
        inner.prop_map(move |inner| Node::Part(mark.clone(), inner))
    });
    (words(3), proptest::collection::vec((part, words(2)), 0..3))
        .prop_map(|(first, more)| {
            let mut nodes = vec![Node::Text(first)];
            for (part, text) in more {
                if let Some(Node::Text(before)) = nodes.last_mut() {
                    before.push(' ');
                }
                nodes.extend([part, Node::Text(format!(" {text}"))]);
            }
            nodes
        })
        .boxed()
}

fn block(depth: usize) -> BoxedStrategy<Node> {
    let lines = || line(2, 0);
    let pre = (proptest::option::of("[a-z]{1,6}"), "[a-z*_<&>\u{1f600}]{1,9}(\n {0,4}[a-z`]{1,9}){0,3}")
        .prop_map(|(language, text)| Node::Part(Mark::Preformatted(language), vec![Node::Text(text)]));
    let heading = (1u8..=6, words(3)).prop_map(|(n, text)| Node::Part(Mark::Heading(n), vec![Node::Text(text)]));
    let plain = prop_oneof![
        3 => lines().prop_map(|line| Node::Part(Mark::Paragraph, line)),
        1 => pre,
        1 => heading,
    ];
    if depth == 0 {
        return plain.boxed();
    }
    let inside = move || {
        prop_oneof![
            2 => lines(),
            1 => proptest::collection::vec(block(depth - 1), 1..3),
        ]
    };
    let quote = inside().prop_map(|nodes| Node::Part(Mark::Quote, nodes));
    let list =
        (proptest::option::of(1u32..20), proptest::collection::vec(inside(), 1..4)).prop_map(|(first, items)| {
            Node::Part(Mark::List(first), items.into_iter().map(|item| Node::Part(Mark::Item, item)).collect())
        });
    prop_oneof![3 => plain, 1 => quote, 1 => list].boxed()
}

/// A whole text: one line, or blocks.
pub fn tree() -> impl Strategy<Value = Vec<Node>> {
    prop_oneof![
        1 => line(3, 0),
        2 => proptest::collection::vec(block(2), 2..5),
    ]
}
