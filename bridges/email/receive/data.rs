//! The end of a mail: exactly CR LF dot CR LF, whatever else looks like it. Line ends inside are normalised, one leading
//! dot of a line is taken away, and size is counted while reading.

/// How far a mail has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Behind CR LF, or at the very start.
    LineStart,
    /// Behind CR LF and a dot.
    Dot,
    /// Behind CR LF, a dot, and CR.
    DotCr,
    /// Behind a CR inside a line.
    Cr,
    /// Inside a line.
    Line,
}

/// Reads the data of one mail.
pub struct DataReader {
    mail: Vec<u8>,
    at: At,
    most: usize,
    size: usize,
}

/// What came of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// More must come.
    More,
    /// The mail has ended, after so many bytes of the chunk.
    End(usize),
}

impl DataReader {
    /// A reader that keeps at most `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { mail: Vec::new(), at: At::LineStart, most, size: 0 }
    }

    /// Takes a chunk.
    pub fn take(&mut self, chunk: &[u8]) -> Progress {
        for (n, &byte) in chunk.iter().enumerate() {
            self.at = match (self.at, byte) {
                (At::LineStart, b'.') => At::Dot,
                (At::Dot, b'\r') => At::DotCr,
                (At::DotCr, b'\n') => return Progress::End(n + 1),
                // The dot was stuffed, and goes.
                (At::Dot, byte) => self.inside(byte),
                // A CR that ends no line becomes a line end, and what follows is not at a line start as the protocol
                // counts them.
                (At::Cr, b'\n') => {
                    self.push(b"\r\n");
                    At::LineStart
                }
                (At::DotCr | At::Cr, byte) => {
                    self.push(b"\r\n");
                    self.inside(byte)
                }
                (At::LineStart | At::Line, byte) => self.inside(byte),
            };
        }
        Progress::More
    }

    fn inside(&mut self, byte: u8) -> At {
        match byte {
            b'\r' => At::Cr,
            // A bare line feed ends a line of the mail, and never the mail.
            b'\n' => {
                self.push(b"\r\n");
                At::Line
            }
            byte => {
                self.push(&[byte]);
                At::Line
            }
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.size += bytes.len();
        if self.size <= self.most {
            self.mail.extend_from_slice(bytes);
        }
    }

    /// Whether it was too big; then not all of it was kept.
    pub fn too_big(&self) -> bool {
        self.size > self.most
    }

    /// The mail.
    pub fn finish(self) -> Vec<u8> {
        self.mail
    }
}

/// A mail that came in chunks, with the line ends that the rest relies on: a bare CR or LF becomes CR LF.
pub fn normalise(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len());
    let mut bytes = mail.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' => {
                bytes.next_if_eq(&b'\n');
                out.extend_from_slice(b"\r\n");
            }
            b'\n' => out.extend_from_slice(b"\r\n"),
            byte => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
        let mut reader = DataReader::new(1000);
        match reader.take(bytes) {
            Progress::End(used) => Some((reader.finish(), used)),
            Progress::More => None,
        }
    }

    #[test]
    fn only_one_thing_ends_a_mail() {
        assert_eq!(read(b"a\r\n.\r\n"), Some((b"a\r\n".to_vec(), 6)));
        assert_eq!(read(b".\r\n"), Some((Vec::new(), 3)));
        assert_eq!(read(b"a\r\n.\r\nMAIL FROM:<x>"), Some((b"a\r\n".to_vec(), 6)));
        for not_the_end in [
            &b"a\n.\n"[..],
            b"a\n.\r\n",
            b"a\r.\r\n",
            b"a\r.\r",
            b"a\r\n.\r\r\n",
            b"a\r\n.\n",
            b"a\r\n.\r",
            b"a\r\n\0.\r\n",
            b"a\r\n..\r\n",
            b"a\r\n .\r\n",
        ] {
            assert_eq!(read(not_the_end), None, "{:?}", String::from_utf8_lossy(not_the_end));
        }
    }

    #[test]
    fn chunks_get_whole_line_ends() {
        assert_eq!(normalise(b"a\nb\rc\r\n\r\r\n."), b"a\r\nb\r\nc\r\n\r\n\r\n.");
    }

    #[test]
    fn dots_are_unstuffed_and_line_ends_normalised() {
        assert_eq!(read(b"..a\r\n.b\r\nc\nd\re\r\n.\r\n").unwrap().0, b".a\r\nb\r\nc\r\nd\r\ne\r\n");
        assert_eq!(read(b"a\r\n.\r\r\nb\r\n.\r\n").unwrap().0, b"a\r\n\r\n\r\nb\r\n");
    }

    #[test]
    fn size_is_counted_while_reading() {
        let mut reader = DataReader::new(10);
        assert_eq!(reader.take(&[b'x'; 100_000]), Progress::More);
        assert!(reader.too_big());
        assert_eq!(reader.take(b"\r\n.\r\n"), Progress::End(5));
        assert!(reader.finish().len() <= 10);
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(mail in "[a.\r\n]{0,30}", cut in 0usize..30) {
            let wire = mail + "\r\n.\r\n";
            let bytes = wire.as_bytes();
            let cut = cut.min(bytes.len());
            let mut parts = DataReader::new(1000);
            let split = match parts.take(&bytes[..cut]) {
                Progress::End(used) => used,
                Progress::More => match parts.take(&bytes[cut..]) {
                    Progress::End(used) => cut + used,
                    Progress::More => 0,
                },
            };
            let whole = read(bytes);
            prop_assert_eq!(whole, Some((parts.finish(), split)));
        }

        #[test]
        fn what_was_stuffed_comes_back(lines in proptest::collection::vec("[a.]{0,5}", 0..8)) {
            let mut wire = Vec::new();
            let mut plain = Vec::new();
            for line in &lines {
                if line.starts_with('.') {
                    wire.push(b'.');
                }
                wire.extend_from_slice(line.as_bytes());
                wire.extend_from_slice(b"\r\n");
                plain.extend_from_slice(line.as_bytes());
                plain.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b".\r\n");
            prop_assert_eq!(read(&wire), Some((plain, wire.len())));
        }
    }
}
