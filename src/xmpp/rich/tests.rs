use portway_bridges::api::UserId;
use proptest::prelude::*;

use super::*;
use crate::xmpp::stream::write;

mod trees {
    use super::{Mark, Node};

    include!("../../../bridges/api/rich/html/trees.rs");
}

/// A tree in a form that is easy to compare: `Strong("a")`.
fn show(nodes: &[Node]) -> String {
    let one = |node: &Node| match node {
        Node::Text(text) => format!("{text:?}"),
        Node::Part(mark, inner) => format!("{mark:?}({})", show(inner)),
    };
    nodes.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn parsed(text: &str) -> String {
    show(&styling::parse(text).nodes())
}

fn stanza(children: &str) -> Stanza {
    let text = format!("<message xmlns='jabber:client' to='alice%hs@m.x/portway'>{children}</message>");
    Stanza::from_element(text.parse().unwrap_or_else(|error| panic!("{error}: {text}"))).unwrap()
}

/// What a message says: its text, and the tree.
fn said(children: &str) -> (String, String) {
    let stanza = stanza(children);
    let body = stanza.child("body", "jabber:client").map(Element::text).unwrap_or_default();
    let text = read(&stanza, &body, None, &[]);
    (text.body, text.rich.map(|rich| show(rich.nodes())).unwrap_or_default())
}

fn domain() -> Domain {
    Domain::new("m.x").unwrap()
}

fn write_with(text: &Text, features: Features) -> Vec<(String, Vec<String>)> {
    let domain = domain();
    let payload = |element: &Element| {
        let mut out = Vec::new();
        write::stanza(&mut out, element);
        String::from_utf8(out).unwrap()
    };
    let bodies = bodies(text, "", &Writing { mention: &|who| uri(who, &domain), features });
    bodies.iter().map(|body| (body.text.clone(), body.payloads.iter().map(payload).collect())).collect()
}

fn written(text: &Text) -> (String, String) {
    let [(body, payloads)] = write_with(text, Features::default()).try_into().unwrap();
    (body, payloads.concat())
}

fn text(text: &str) -> Node {
    Node::Text(text.to_owned())
}

fn part(mark: Mark, inner: Vec<Node>) -> Node {
    Node::Part(mark, inner)
}

fn rich(nodes: Vec<Node>) -> Text {
    let rich = Rich::new(nodes).unwrap();
    Text { body: rich.text(), rich: Some(rich), ..Text::default() }
}

const UNSTYLED: &str = "<unstyled xmlns='urn:xmpp:styling:0'/>";

/// XEP-0393, section 5.2, and the examples of sections 5 and 6 in our words.
#[test]
fn what_signs_mean() {
    for (text, expected) in [
        ("plain span", r#""plain span""#),
        ("*strong span*", r#"Strong("strong span")"#),
        ("plain _emphasis_ plain", r#""plain " Emphasis("emphasis") " plain""#),
        ("`pre` plain *strong*", r#"Code("pre") " plain " Strong("strong")"#),
        ("*strong*plain*", r#"Strong("strong") "plain*""#),
        ("* plain *strong*", r#""* plain " Strong("strong")"#),
        ("not strong*", r#""not strong*""#),
        ("*not strong", r#""*not strong""#),
        ("*not \n strong*", r#""*not \n strong*""#),
        ("*not *strong", r#""*not *strong""#),
        ("**", r#""**""#),
        ("***", r#""***""#),
        ("****", r#""****""#),
        ("**markdown**", r#""**markdown**""#),
        ("no *formatting\nas spans* escape", r#""no *formatting\nas spans* escape""#),
        ("~dis~likes", r#"Strike("dis") "likes""#),
        ("`*monospace*`", r#"Code("*monospace*")"#),
        ("*`monospace and bold`*", r#"Strong(Code("monospace and bold"))"#),
        ("*a _b ~c~_*", r#"Strong("a " Emphasis("b " Strike("c")))"#),
        ("_*a*_", r#"Emphasis(Strong("a"))"#),
        ("*a _b* c_", r#"Strong("a _b") " c_""#),
        ("2*3*4 snake_case_name", r#""2*3*4 snake_case_name""#),
        ("* a*", r#""* a*""#),
        ("*a * b*", r#"Strong("a * b")"#),
        (
            "\u{5e9}\u{5dc} *\u{5d5}\u{5dd}* \u{1f600} _\u{1f468}\u{200d}\u{1f469}_",
            "\"\u{5e9}\u{5dc} \" Strong(\"\u{5d5}\u{5dd}\") \" 😀 \" Emphasis(\"👨\\u{200d}👩\")",
        ),
        (
            "```ignored\n(println \"Hello\")\n```\n\nplain",
            "Preformatted(Some(\"ignored\"))(\"(println \\\"Hello\\\")\") \"\\nplain\"",
        ),
        (
            "> ```\n> (println \"Hello\")\n\nplain",
            "Quote(Preformatted(None)(\"(println \\\"Hello\\\")\")) \"\\nplain\"",
        ),
        ("> That that is, is.\n\nSaid he.", "Quote(\"That that is, is.\") \"\\nSaid he.\""),
        (">> That that is, is.\n> Said he.\n\nWho?", "Quote(Quote(\"That that is, is.\") \"Said he.\") \"\\nWho?\""),
        ("a\n> *b*\nc", "\"a\\n\" Quote(Strong(\"b\")) \"c\""),
        (">  b\n>c", "Quote(\" b\\nc\")"),
        ("```\n*a*\n``` \nb\n```", "Preformatted(None)(\"*a*\\n``` \\nb\")"),
        ("```\na\n\nb", "Preformatted(None)(\"a\\n\\nb\")"),
        ("a ```\nb\n```", "\"a ```\\nb\\n```\""),
        // Nothing that anybody wrote is lost.
        ("```no language\na\n```", "Preformatted(None)(\"no language\\na\")"),
        ("```so```", "Preformatted(None)(\"so```\")"),
        ("```", "\"```\""),
        ("```\n```", "\"```\\n```\""),
        (">", "\">\""),
        ("> \n>", "\"> \\n>\""),
    ] {
        assert_eq!(parsed(text), expected, "{text}");
    }
    // Read in linear time, and not deeper than anything else.
    let deep = ">".repeat(50_000) + "x";
    assert!(styling::parse(&deep).blocks.len() <= 16);
    for text in [" *a".repeat(20_000), "*_~`".repeat(20_000), "> *a\n".repeat(20_000), "```\n".repeat(20_001)] {
        let _ = styling::parse(&text).nodes();
    }
}

#[test]
fn literal_signs_stay_literal() {
    for (body, unstyled) in [
        ("hi", false),
        ("2*3*4, snake_case and x:\\*", false),
        ("*literal*", true),
        ("> _ <", true),
        ("a `b`", true),
        ("```\nx", true),
        ("https://x.example/_a_/*b*", false),
    ] {
        let expected = if unstyled { UNSTYLED } else { "" };
        assert_eq!(written(&Text::plain(body)), (body.to_owned(), expected.to_owned()));
    }
    let emote = Text { style: Style::Emote, ..Text::plain("*waves*") };
    assert_eq!(written(&emote), ("/me *waves*".to_owned(), UNSTYLED.to_owned()));
    // What would be a quote alone is none behind "/me ".
    let emote = Text { style: Style::Emote, ..Text::plain("> waves") };
    assert_eq!(written(&emote), ("/me > waves".to_owned(), String::new()));
    // Of formatted text with other signs in it, all signs are characters.
    let both = rich(vec![part(Mark::Strong, vec![text("a")]), text(" *b*")]);
    assert_eq!(written(&both), ("*a* *b*".to_owned(), UNSTYLED.to_owned()));
    let quote = rich(vec![part(Mark::Emphasis, vec![text("a")]), text("\n> b")]);
    assert_eq!(written(&quote), ("_a_\n> b".to_owned(), UNSTYLED.to_owned()));
    let fence = rich(vec![part(Mark::Preformatted(None), vec![text("a\n```\nb")]), text("c")]);
    assert_eq!(written(&fence), ("```\na\n```\nb\n```\nc".to_owned(), UNSTYLED.to_owned()));
    // A sign that means nothing there costs nothing else.
    let within = rich(vec![text("dis"), part(Mark::Strike, vec![text("like")]), part(Mark::Strong, vec![text("b")])]);
    assert_eq!(written(&within), ("dis~like~*b*".to_owned(), String::new()));
}

#[test]
fn what_is_typed_stays_as_it_is() {
    for body in [">a\n> *b*", "```x\na\n```\n\n\nb", "* a *b* ** c", "a  \n\n>b\n\n\nc"] {
        let said = read(&stanza("<body/>"), body, None, &[]);
        assert_eq!(said.body, body);
        assert!(said.rich.is_some(), "{body}");
        assert_eq!(written(&said), (body.to_owned(), String::new()));
    }
}

#[test]
fn a_sender_says_that_signs_are_none() {
    assert_eq!(said("<body>*a*</body>"), ("*a*".to_owned(), "Strong(\"a\")".to_owned()));
    assert_eq!(said(&format!("<body>*a*</body>{UNSTYLED}")), ("*a*".to_owned(), String::new()));
    assert_eq!(
        said("<body>/me *a*\n> b</body>"),
        ("*a*\n> b".to_owned(), "Strong(\"a\") \"\\n\" Quote(\"b\")".to_owned())
    );
    assert_eq!(said("<body>/me &gt; a</body>"), ("> a".to_owned(), String::new()));
}

/// The examples of XEP-0394, sections 4.1 to 4.4, in our words.
#[test]
fn marks_beside_the_text() {
    let markup = |inner: &str| format!("<markup xmlns='urn:xmpp:markup:0'>{inner}</markup>");
    for (body, inner, expected) in [
        ("not really so", "<span start='4' end='10'><emphasis/></span>", r#""not " Emphasis("really") " so""#),
        (
            "\u{1f600}\u{1f468}\u{200d}\u{1f469} b",
            "<span start='5' end='6'><strong/><deleted/></span>",
            "\"😀👨\\u{200d}👩 \" Strong(Strike(\"b\"))",
        ),
        (
            "Run:\n$ ls",
            "<bcode start='5' end='9' language='bash'/>",
            "\"Run:\\n\" Preformatted(Some(\"bash\"))(\"$ ls\")",
        ),
        (
            "So:\n* a\n* b\nc",
            "<list start='4' end='12' ordered='false'><li start='4'/><li start='8'/></list>",
            "\"So:\\n\" List(None)(Item(\"a\") Item(\"b\")) \"c\"",
        ),
        ("He:\n&gt; a!\nb", "<bquote start='4' end='9'/>", "\"He:\\n\" Quote(\"a!\") \"b\""),
        (
            "&gt; He:\n&gt;&gt; a!\n&gt; b\n\nc",
            "<bquote start='0' end='16'/><bquote start='6' end='12'/>",
            "Quote(\"He:\\n\" Quote(\"a!\") \"b\") \"\\nc\"",
        ),
        // What is not there, lies across or is not known says nothing; what reaches too far ends with the text.
        ("ab", "<span start='3' end='9'><strong/></span><span start='x' end='1'><strong/></span>", ""),
        ("ab", "<span start='1' end='9'><strong/></span>", "\"a\" Strong(\"b\")"),
        ("ab", "<span start='0' end='1'><blink/></span><u start='0' end='1'/>", ""),
        ("a\nb\nc", "<bquote start='0' end='3'/><bquote start='2' end='5'/>", "Quote(\"a\\nb\") \"c\""),
        ("ab", "<list start='0' end='2'><li start='1'/></list>", ""),
        // Signs are read where there is no markup only.
        ("*a* b", "<span start='4' end='5'><code/></span>", "\"*a* \" Code(\"b\")"),
        ("*a* b", "<span start='0' end='3'><strong/></span>", "Strong(\"a\") \" b\""),
    ] {
        let (_, tree) = said(&format!("<body>{body}</body>{}", markup(inner)));
        assert_eq!(tree, expected, "{body} {inner}");
    }
    let nodes = vec![
        text("\u{1f600} "),
        part(Mark::Strong, vec![text("a "), part(Mark::Emphasis, vec![text("b")])]),
        part(Mark::Quote, vec![text("c")]),
    ];
    let features = Features { markup: true, ..Features::default() };
    let [(body, payloads)] = write_with(&rich(nodes), features).try_into().unwrap();
    assert_eq!(body, "\u{1f600} *a _b_*\n> c");
    assert_eq!(
        payloads,
        ["<markup xmlns='urn:xmpp:markup:0'><span end='5' start='2'><strong/></span>\
          <span end='8' start='5'><strong/><emphasis/></span><span end='9' start='8'><strong/></span>\
          <bquote end='13' start='10'/></markup>"]
    );
}

#[test]
fn xhtml_counts_where_it_says_what_the_body_says() {
    let html = |body: &str, html: &str| {
        said(&format!(
            "<body>{body}</body><html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>{html}</body></html>"
        ))
    };
    for (body, inner, text, tree) in [
        ("hi!", "<p style='font-weight:bold'>hi!</p>", "*hi!*", "Strong(\"hi!\")"),
        (
            "Are you licensed to Jabber?",
            "<p>Are you <em>licensed</em> to <a href='https://jabber.example/'>Jabber</a>?</p>",
            "Are you _licensed_ to Jabber (https://jabber.example/)?",
            "\"Are you \" Emphasis(\"licensed\") \" to \" Link(\"https://jabber.example/\")(\"Jabber\") \"?\"",
        ),
        (
            "My plan:\n1. Add\n   - more\n2. Relax",
            "<p>My plan:</p><ol><li>Add<ul><li>more</li></ul></li><li>Relax</li></ol>",
            "My plan:\n1. Add\n   - more\n2. Relax",
            "Paragraph(\"My plan:\") List(Some(1))(Item(\"Add\" List(None)(Item(\"more\"))) Item(\"Relax\"))",
        ),
        ("/me waves", "/me <em>waves</em>", "_waves_", "Emphasis(\"waves\")"),
        ("a b", "<acronym>a</acronym> <strong>b</strong><script>c</script>", "a *b*", "\"a \" Strong(\"b\")"),
        ("a\nb", "<strong>a</strong><br/>b<img src='x'/>", "*a*\nb", "Strong(\"a\") \"\\nb\""),
        // Two messages in one: the body counts.
        ("send me *money*", "<strong>Good morning</strong>", "send me *money*", "\"send me \" Strong(\"money\")"),
        ("*a*", "a", "*a*", "Strong(\"a\")"),
        ("click", "<a href='javascript:x'>click</a>", "click", ""),
    ] {
        assert_eq!(html(body, inner), (text.to_owned(), tree.to_owned()), "{body} {inner}");
    }
    // Each language has its own.
    let two = stanza(
        "<body xml:lang='en'>good</body><body xml:lang='de'>gut</body>\
         <html xmlns='http://jabber.org/protocol/xhtml-im'>\
         <body xmlns='http://www.w3.org/1999/xhtml' xml:lang='en'><em>good</em></body>\
         <body xmlns='http://www.w3.org/1999/xhtml' xml:lang='de'><strong>gut</strong></body></html>",
    );
    let read = |body, lang| read(&two, body, Some(lang), &[]).body;
    assert_eq!((read("gut", "de"), read("good", "en")), ("*gut*".to_owned(), "_good_".to_owned()));
    let features = Features { xhtml: true, ..Features::default() };
    let nodes = vec![
        part(Mark::Strong, vec![text("a<b")]),
        text("\n"),
        part(Mark::Underline, vec![text("c")]),
        part(Mark::Mention(alice()), vec![text("A")]),
    ];
    let [(_, payloads)] = write_with(&rich(nodes), features).try_into().unwrap();
    assert_eq!(
        payloads.last().unwrap(),
        "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>\
         <strong>a&lt;b</strong><br/><span style='text-decoration: underline'>c</span>\
         <a href='xmpp:alice%25hs@m.x'>A</a></body></html>"
    );
}

fn alice() -> Who {
    Who::Person(PersonId::new("alice", "hs").unwrap())
}

#[test]
fn mentions_are_references() {
    let (body, tree) = said(
        "<body>\u{1f600} Alice, *hi*</body>\
         <reference xmlns='urn:xmpp:reference:0' type='mention' begin='2' end='7' uri='xmpp:alice%25hs@m.x'/>\
         <reference xmlns='urn:xmpp:reference:0' type='mention' begin='9' end='11' uri='xmpp:king@evil.example'/>\
         <reference xmlns='urn:xmpp:reference:0' type='mention' begin='90' end='99' uri='xmpp:alice%25hs@m.x'/>\
         <reference xmlns='urn:xmpp:reference:0' type='data' begin='0' end='1' uri='xmpp:alice%25hs@m.x'/>",
    );
    assert_eq!(body, "\u{1f600} Alice, *hi*");
    assert_eq!(tree, format!("\"😀 \" {:?}(\"Alice\") \", \" Strong(\"hi\")", Mark::Mention(alice())));
    let juliet = Who::User(UserId::parse("juliet@capulet.lit").unwrap());
    let nodes = vec![
        text("\u{1f600} "),
        part(Mark::Mention(alice()), vec![text("Alice")]),
        part(Mark::Strong, vec![part(Mark::Mention(juliet), vec![text("J")])]),
        part(Mark::Mention(Who::Room), vec![text("@room")]),
    ];
    let (body, payloads) = written(&rich(nodes));
    assert_eq!(body, "\u{1f600} Alice*J*@room");
    assert_eq!(
        payloads,
        "<reference xmlns='urn:xmpp:reference:0' begin='2' end='7' type='mention' uri='xmpp:alice%25hs@m.x'/>\
         <reference xmlns='urn:xmpp:reference:0' begin='8' end='9' type='mention' uri='xmpp:juliet@capulet.lit'/>"
    );
}

#[test]
fn what_is_hidden_stays_hidden() {
    let spoiler = "<spoiler xmlns='urn:xmpp:spoiler:0'>the end</spoiler>";
    let whole = |text: &str| format!("Spoiler(Some(\"the end\"))({text})");
    for (body, text, tree) in [
        ("He dies", "(the end) ||He dies||", whole("\"He dies\"")),
        ("*He* dies", "(the end) ||*He* dies||", whole("Strong(\"He\") \" dies\"")),
        (
            "&gt; q\nHe dies",
            "> (the end) ||q||\n(the end) ||He dies||",
            format!("Quote({}) {}", whole("\"q\""), whole("\"He dies\"")),
        ),
        ("```\nx\n```", "(the end) ||`x`||", format!("Paragraph({})", whole("Code(\"x\")"))),
        // In our own way it says what of it is hidden.
        (
            "End: (the end) ||he dies|| so",
            "End: (the end) ||he dies|| so",
            format!("\"End: \" {} \" so\"", whole("\"he dies\"")),
        ),
        ("a || b", "(the end) ||a || b||", whole("\"a || b\"")),
    ] {
        let (found, shown) = said(&format!("<body>{body}</body>{spoiler}"));
        assert_eq!((found.as_str(), shown), (text, tree), "{body}");
    }
    assert_eq!(said("<body>||a||</body>"), ("||a||".to_owned(), String::new()));
    let hidden = rich(vec![text("End: "), part(Mark::Spoiler(Some("the end".into())), vec![text("he dies")])]);
    assert_eq!(written(&hidden), ("End: (the end) ||he dies||".to_owned(), spoiler.to_owned()));
}

#[test]
fn places_are_counted_in_the_text_that_is_left() {
    let stanza = stanza(
        "<body>&gt; old\n\u{1f600} new</body>\
         <markup xmlns='urn:xmpp:markup:0'><span start='8' end='11'><strong/></span></markup>\
         <reference xmlns='urn:xmpp:reference:0' type='mention' begin='6' end='7' uri='xmpp:alice%25hs@m.x'/>",
    );
    let text = read(&stanza, "> old\n\u{1f600} new", None, std::slice::from_ref(&(0..6)));
    assert_eq!(text.body, "\u{1f600} *new*");
    let tree = format!("{:?}(\"😀\") \" \" Strong(\"new\")", Mark::Mention(alice()));
    assert_eq!(show(text.rich.unwrap().nodes()), tree);
    // Without the quote, what is left is read as if it stood alone.
    let quote = "> old\n> more\n> mine";
    assert_eq!(read(&stanza_of("<body/>"), quote, None, std::slice::from_ref(&(0..13))).body, "> mine");
}

fn stanza_of(children: &str) -> Stanza {
    stanza(children)
}

#[test]
fn long_formatted_text_is_cut_between_its_parts() {
    let block = |c: &str| part(Mark::Quote, vec![part(Mark::Strong, vec![text(&c.repeat(MAX_BODY / 2))])]);
    let nodes = vec![block("a"), block("b"), part(Mark::Emphasis, vec![text(&"c".repeat(2 * MAX_BODY))])];
    let bodies = write_with(&rich(nodes), Features { markup: true, xhtml: true, ..Features::default() });
    let marked: Vec<(usize, usize)> = bodies.iter().map(|(body, payloads)| (body.len(), payloads.len())).collect();
    // Of what does not fit in one message, the marks are lost and nothing else.
    let half = MAX_BODY / 2 + 4;
    assert_eq!(marked, [(half, 2), (half, 2), (MAX_BODY, 0), (MAX_BODY, 0), (2, 0)]);
}

#[test]
fn a_stanza_stays_within_what_servers_take() {
    let nodes = (0..9000).map(|_| part(Mark::Strong, vec![text("a"), part(Mark::Mention(alice()), vec![text("b")])]));
    let nodes = nodes.flat_map(|strong| [strong, text(" ")]).collect();
    for (body, payloads) in write_with(&rich(nodes), Features { markup: true, xhtml: true, ..Features::default() }) {
        let size = body.len() + payloads.iter().map(String::len).sum::<usize>();
        assert!(size < 200 << 10, "{size}");
    }
}

/// The tree that a reader of XHTML gets: lists begin with one, code has no language, and what is hidden has signs around it.
fn through_xhtml(nodes: Vec<Node>) -> Vec<Node> {
    let mut out: Vec<Node> = Vec::new();
    let push = |out: &mut Vec<Node>, node: Node| match (out.last_mut(), node) {
        (Some(Node::Text(before)), Node::Text(text)) => before.push_str(&text),
        (_, node) => out.push(node),
    };
    for node in nodes {
        match node {
            Node::Part(Mark::List(Some(_)), inner) => push(&mut out, part(Mark::List(Some(1)), through_xhtml(inner))),
            Node::Part(Mark::Preformatted(_), inner) => push(&mut out, part(Mark::Preformatted(None), inner)),
            Node::Part(Mark::Spoiler(hint), inner) => {
                let hint = hint.map(|hint| format!("({hint}) ")).unwrap_or_default();
                push(&mut out, text(&format!("{hint}||")));
                through_xhtml(inner).into_iter().for_each(|node| push(&mut out, node));
                push(&mut out, text("||"));
            }
            Node::Part(mark, inner) => push(&mut out, part(mark, through_xhtml(inner))),
            node @ Node::Text(_) => push(&mut out, node),
        }
    }
    out
}

/// The marks of each character, and how many quotes are around it, as far as signs can say it: within lists no line begins
/// with one of its own, and nothing is a block.
fn through_styling(nodes: &[Node]) -> Vec<(u8, u8, bool)> {
    let marked = Marked::written(&styled(nodes));
    let shape = marked.shape();
    let mut listed = vec![false; marked.chars.len()];
    for (range, _) in marked.blocks.iter().filter(|(_, mark)| matches!(mark, Mark::List(_))) {
        listed[range.clone()].fill(true);
    }
    let known = marked::STRONG | marked::EMPHASIS | marked::STRIKE | marked::CODE;
    let each = marked.bits.iter().zip(shape).zip(listed);
    each.map(|((bits, (quotes, pre)), listed)| if listed { (0, 0, false) } else { (bits & known, quotes, pre) })
        .collect()
}

fn has_list(nodes: &[Node]) -> bool {
    nodes.iter().any(|node| matches!(node, Node::Part(mark, inner) if matches!(mark, Mark::List(_)) || has_list(inner)))
}

proptest! {
    /// Whatever people write: a reader of XEP-0393 sees nothing that is not meant, unless told that there are no signs.
    #[test]
    fn nobody_is_misled(nodes in trees::tree()) {
        let Some(rich) = Rich::new(nodes) else { return Ok(()) };
        let nodes = rich.nodes().to_vec();
        let (body, payloads) = written(&Text { body: rich.text(), rich: Some(rich), ..Text::default() });
        let seen = styling::parse(&body);
        let (meant, shape) = (through_styling(&nodes), seen.shape());
        if !payloads.contains(UNSTYLED) && !has_list(&nodes) {
            for (at, (bits, quotes, pre)) in meant.iter().enumerate() {
                prop_assert_eq!(seen.bits[at] & !bits, 0, "{}", body);
                prop_assert!(shape[at].0 <= *quotes && (!shape[at].1 || *pre), "{}", body);
            }
        }
    }

    /// Where the words have no signs, all marks come back, but for what the declared loss is.
    #[test]
    fn styling_and_back(nodes in trees::tree()) {
        let words = without_signs(nodes);
        let (body, payloads) = written(&rich_or_plain(words.clone()));
        prop_assert!(!payloads.contains(UNSTYLED), "{}", body);
        if !has_list(&words) {
            let seen = styling::parse(&body);
            for (at, (quotes, pre)) in seen.shape().into_iter().enumerate().filter(|(at, _)| !seen.hidden[*at]) {
                prop_assert_eq!((seen.bits[at], quotes, pre), through_styling(&words)[at], "{}: {}", at, body);
            }
        }
        // What is read is written as it was.
        let again = read(&stanza("<body/>"), &body, None, &[]);
        prop_assert_eq!(written(&again).0, body);
    }

    /// Marks beside the text come back, whatever signs are in it: written again they are the same.
    #[test]
    fn markup_and_back(nodes in trees::tree()) {
        let nodes = without_spoilers(nodes);
        let styled = styled(&nodes);
        let Some(markup) = markup::write(&Marked::written(&styled)) else { return Ok(()) };
        let back = markup::read(&markup, &styled.text, &|at| at).nodes();
        let again = portway_bridges::api::rich::styled(&back);
        prop_assert_eq!(&again.text, &styled.text, "{}", show(&back));
        prop_assert_eq!(markup::write(&Marked::written(&again)), Some(markup), "{}", styled.text);
    }

    #[test]
    fn xhtml_and_back(nodes in trees::tree()) {
        let html = xhtml::write(&nodes, &|_| None);
        let back = xhtml::read(&html, None);
        prop_assert!(xhtml::agrees(&back, &styled(&nodes).text));
        let expected = match through_xhtml(nodes) {
            mut one if one.len() == 1 => match one.remove(0) {
                Node::Part(Mark::Paragraph, inner) => inner,
                other => vec![other],
            },
            more => more,
        };
        prop_assert_eq!(show(&back), show(&expected));
    }

    #[test]
    fn any_message_can_be_read(
        body in "[a-z*_~`>| \n\r\u{1f600}\u{5d0}]{0,60}",
        spans in proptest::collection::vec((0usize..70, 0usize..70, 0usize..6), 0..8),
        cut in (0usize..30, 0usize..30),
        spoiler in any::<bool>(),
    ) {
        let names = ["<span start='A' end='B'><strong/></span>", "<bquote start='A' end='B'/>", "<bcode start='A' end='B'/>",
            "<list start='A' end='B'><li start='A'/></list>", "<span start='A' end='B'><code/><emphasis/></span>",
            "<list start='A' end='B' ordered='true'><li start='A'/><li start='B'/></list>"];
        let inner: String = spans.iter().map(|(a, b, n)| names[*n].replace('A', &a.to_string()).replace('B', &b.to_string())).collect();
        let references: String = spans.iter().map(|(a, b, _)| format!(
            "<reference xmlns='urn:xmpp:reference:0' type='mention' begin='{a}' end='{b}' uri='xmpp:alice%25hs@m.x'/>"
        )).collect();
        let spoiler = if spoiler { "<spoiler xmlns='urn:xmpp:spoiler:0'/>" } else { "" };
        for markup in [format!("<markup xmlns='urn:xmpp:markup:0'>{inner}</markup>"), String::new()] {
            let stanza = stanza(&format!("<body/>{markup}{references}{spoiler}"));
            let text = read(&stanza, &body, None, std::slice::from_ref(&(cut.0..cut.1)));
            // No letter is lost and none is said twice.
            let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
            let kept: String = body.chars().enumerate().filter(|(n, _)| !(cut.0..cut.1).contains(n)).map(|(_, c)| c).collect();
            prop_assert_eq!(letters(&text.body), letters(&kept));
            if let Some(rich) = &text.rich {
                prop_assert_eq!(letters(&rich.text()), letters(&kept));
            }
            let _ = write_with(&text, Features { markup: true, xhtml: true, ..Features::default() });
        }
    }
}

fn rich_or_plain(nodes: Vec<Node>) -> Text {
    let body = styled(&nodes).text;
    Text { rich: Rich::new(nodes), ..Text::plain(body) }
}

/// The same tree with words in which no sign could be read.
fn without_signs(nodes: Vec<Node>) -> Vec<Node> {
    let clean = |text: String| text.replace(|c: char| "*_~`<>|\"'#@[]()&-".contains(c), "x");
    map(nodes, &|text| clean(text), &|mark| mark)
}

fn without_spoilers(nodes: Vec<Node>) -> Vec<Node> {
    map(nodes, &|text| text, &|mark| if matches!(mark, Mark::Spoiler(_)) { Mark::Underline } else { mark })
}

fn map(nodes: Vec<Node>, text: &dyn Fn(String) -> String, mark: &dyn Fn(Mark) -> Mark) -> Vec<Node> {
    let one = |node| match node {
        Node::Text(words) => Node::Text(text(words)),
        Node::Part(of, inner) => Node::Part(mark(of), map(inner, text, mark)),
    };
    nodes.into_iter().map(one).collect()
}
