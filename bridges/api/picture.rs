//! Faces: pictures of people, and other ways to reach them.

use bytes::Bytes;

/// The largest picture that is read from a network, in bytes.
pub const LARGEST: usize = 4 << 20;

/// A picture of a person, as a network has it or as it is to have it. Nothing about it has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// What its side calls it: a new picture has a new name.
    pub source: String,
    /// The media type, as far as its side tells.
    pub media_type: String,
    /// The picture itself, at most [`LARGEST`] bytes; none where there is no picture any more.
    pub bytes: Bytes,
}

impl Picture {
    /// That there is no picture any more.
    #[must_use]
    pub fn none() -> Self {
        Self { source: String::new(), media_type: String::new(), bytes: Bytes::new() }
    }
}

/// Another way to reach a person, for their card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// A mail address.
    Mail(String),
    /// A link that programs of their own network open.
    Link(String),
}

/// What kind of picture this is, by its first bytes: `image/png`, `image/jpeg`, `image/gif`, `image/webp`. `None` for
/// anything else, such as SVG, which is a program.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_the_first_bytes() {
        for (bytes, kind) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"GIF88a", None),
            (b"RIFF....WEBPVP8 ", Some("image/webp")),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
            (b"\x89PN", None),
            (b"", None),
        ] {
            assert_eq!(sniff(bytes), kind, "{bytes:?}");
        }
    }
}
