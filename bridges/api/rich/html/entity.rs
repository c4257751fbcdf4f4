//! Entities of HTML.

/// Replaces entities: numbers, and the names that people and programs use. What is none stays as it is.
pub fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let name_end = rest.bytes().take(12).position(|byte| byte == b';');
        match name_end.and_then(|end| one(&rest[1..end]).map(|c| (c, end))) {
            Some((c, end)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn one(name: &str) -> Option<char> {
    let Some(number) = name.strip_prefix('#') else {
        return NAMED.iter().find(|(known, _)| *known == name).map(|(_, c)| *c);
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    // Numbers of Windows-1252, as every browser reads them.
    let code = match code {
        0x80..=0x9f => WINDOWS[(code - 0x80) as usize],
        code => code,
    };
    Some(char::from_u32(code).filter(|c| *c != '\0').unwrap_or('\u{fffd}'))
}

const WINDOWS: [u32; 32] = [
    0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d,
    0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d,
    0x17e, 0x178,
];

#[rustfmt::skip]
const NAMED: &[(&str, char)] = &[
    ("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\''), ("nbsp", '\u{a0}'),
    ("iexcl", '¡'), ("cent", '¢'), ("pound", '£'), ("curren", '¤'), ("yen", '¥'), ("brvbar", '¦'), ("sect", '§'),
    ("uml", '¨'), ("copy", '©'), ("ordf", 'ª'), ("laquo", '«'), ("not", '¬'), ("shy", '\u{ad}'), ("reg", '®'),
    ("macr", '¯'), ("deg", '°'), ("plusmn", '±'), ("sup1", '¹'), ("sup2", '²'), ("sup3", '³'), ("acute", '´'),
    ("micro", 'µ'), ("para", '¶'), ("middot", '·'), ("cedil", '¸'), ("ordm", 'º'), ("raquo", '»'),
    ("frac14", '¼'), ("frac12", '½'), ("frac34", '¾'), ("iquest", '¿'), ("times", '×'), ("divide", '÷'),
    ("Agrave", 'À'), ("Aacute", 'Á'), ("Acirc", 'Â'), ("Atilde", 'Ã'), ("Auml", 'Ä'), ("Aring", 'Å'), ("AElig", 'Æ'),
    ("Ccedil", 'Ç'), ("Egrave", 'È'), ("Eacute", 'É'), ("Ecirc", 'Ê'), ("Euml", 'Ë'), ("Igrave", 'Ì'), ("Iacute", 'Í'),
    ("Icirc", 'Î'), ("Iuml", 'Ï'), ("ETH", 'Ð'), ("Ntilde", 'Ñ'), ("Ograve", 'Ò'), ("Oacute", 'Ó'), ("Ocirc", 'Ô'),
    ("Otilde", 'Õ'), ("Ouml", 'Ö'), ("Oslash", 'Ø'), ("Ugrave", 'Ù'), ("Uacute", 'Ú'), ("Ucirc", 'Û'), ("Uuml", 'Ü'),
    ("Yacute", 'Ý'), ("THORN", 'Þ'), ("szlig", 'ß'), ("agrave", 'à'), ("aacute", 'á'), ("acirc", 'â'), ("atilde", 'ã'),
    ("auml", 'ä'), ("aring", 'å'), ("aelig", 'æ'), ("ccedil", 'ç'), ("egrave", 'è'), ("eacute", 'é'), ("ecirc", 'ê'),
    ("euml", 'ë'), ("igrave", 'ì'), ("iacute", 'í'), ("icirc", 'î'), ("iuml", 'ï'), ("eth", 'ð'), ("ntilde", 'ñ'),
    ("ograve", 'ò'), ("oacute", 'ó'), ("ocirc", 'ô'), ("otilde", 'õ'), ("ouml", 'ö'), ("oslash", 'ø'), ("ugrave", 'ù'),
    ("uacute", 'ú'), ("ucirc", 'û'), ("uuml", 'ü'), ("yacute", 'ý'), ("thorn", 'þ'), ("yuml", 'ÿ'), ("OElig", 'Œ'),
    ("oelig", 'œ'), ("Scaron", 'Š'), ("scaron", 'š'), ("euro", '€'), ("ensp", '\u{2002}'), ("emsp", '\u{2003}'),
    ("thinsp", '\u{2009}'), ("zwnj", '\u{200c}'), ("zwj", '\u{200d}'), ("lrm", '\u{200e}'), ("rlm", '\u{200f}'),
    ("ndash", '–'), ("mdash", '—'), ("lsquo", '‘'), ("rsquo", '’'), ("sbquo", '‚'), ("ldquo", '“'), ("rdquo", '”'),
    ("bdquo", '„'), ("dagger", '†'), ("bull", '•'), ("hellip", '…'), ("permil", '‰'), ("prime", '′'), ("lsaquo", '‹'),
    ("rsaquo", '›'), ("trade", '™'), ("larr", '←'), ("uarr", '↑'), ("rarr", '→'), ("darr", '↓'), ("harr", '↔'),
    ("rArr", '⇒'), ("minus", '−'), ("infin", '∞'), ("asymp", '≈'), ("ne", '≠'), ("le", '≤'), ("ge", '≥'),
    ("hearts", '♥'), ("check", '✓'), ("star", '☆'), ("num", '#'), ("lowbar", '_'), ("ast", '*'), ("grave", '`'),
    ("commat", '@'), ("colon", ':'), ("sol", '/'), ("lbrack", '['), ("rbrack", ']'), ("lpar", '('), ("rpar", ')'),
    ("Tab", '\t'), ("NewLine", '\n'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_and_what_is_none() {
        for (text, read) in [
            ("1 &lt; 2 &amp;&amp; x&nbsp;&#8364;&unknown;", "1 < 2 && x\u{a0}€&unknown;"),
            ("&#x41;&#X42;&#128;&#0;&#xd800;&#x110000;", "AB€\u{fffd}\u{fffd}\u{fffd}"),
            ("&#99999999999999;&#;&#x;&;&amp", "&#99999999999999;&#;&#x;&;&amp"),
            ("&amp;lt;", "&lt;"),
        ] {
            assert_eq!(decode(text), read, "{text}");
        }
    }
}
