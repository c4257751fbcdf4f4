//! What is an emoji: a reaction of XMPP is one (XEP-0444), and clients show nothing else as such.

/// The longest emoji in code points: a flag of a region is 7, a family with skin tones 11.
const LONGEST: usize = 16;

/// Whether a text is one emoji: a picture, with what changes its look or joins it to others (Unicode TR 51, section 1.4).
/// Pictures that are newer than this list are taken for one where they stand in the blocks of pictures.
#[must_use]
pub fn is_emoji(text: &str) -> bool {
    let chars: Vec<char> = text.chars().take(LONGEST + 1).collect();
    if chars.is_empty() || chars.len() > LONGEST {
        return false;
    }
    // Keycaps: a digit or sign, the selector, the cap.
    if let [sign, rest @ ..] = chars.as_slice()
        && matches!(sign, '0'..='9' | '#' | '*')
    {
        return matches!(rest, ['\u{20e3}'] | ['\u{fe0f}', '\u{20e3}']);
    }
    // Pieces that are joined; each is a picture with what changes it.
    let mut pieces = chars.split(|c| *c == '\u{200d}');
    let flag = |c: &char| matches!(c, '\u{1f1e6}'..='\u{1f1ff}');
    if let [first, second] = chars.as_slice()
        && flag(first)
        && flag(second)
    {
        return true;
    }
    pieces.all(|piece| match piece {
        [first, rest @ ..] => {
            is_picture(*first)
                && rest.iter().all(|c| matches!(c, '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}'))
        }
        [] => false,
    })
}

fn is_picture(c: char) -> bool {
    matches!(c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2194}'..='\u{21aa}'
        | '\u{231a}'..='\u{23ff}' | '\u{24c2}' | '\u{25aa}'..='\u{25fe}' | '\u{2600}'..='\u{27bf}'
        | '\u{2934}'..='\u{2935}' | '\u{2b05}'..='\u{2b55}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}'
        | '\u{1f004}' | '\u{1f0cf}' | '\u{1f170}'..='\u{1f19a}' | '\u{1f1e6}'..='\u{1f1ff}' | '\u{1f201}'..='\u{1f251}'
        | '\u{1f300}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_and_words_are_not() {
        let pictures = ["👍", "👍️", "👍🏽", "❤", "❤️", "👩‍❤️‍💋‍👨", "🇩🇪", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣", "#⃣", "🫠", "☺️", "©️", "⌚"];
        for text in pictures {
            assert!(is_emoji(text), "{text}");
        }
        let words =
            ["", "+1", "LGTM", "1", "ok 👍", "👍👍", "mxc://a/b", ":)", "\u{200d}", "\u{fe0f}", "ü", "😀\u{200d}"];
        for text in words {
            assert!(!is_emoji(text), "{text}");
        }
    }
}
