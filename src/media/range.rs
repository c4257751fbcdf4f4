//! Pure: what part of a file a request asks for (RFC 9110, section 14).

/// What to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The whole (200).
    Whole,
    /// These bytes, the last one included (206).
    Part(u64, u64),
    /// There are no such bytes (416).
    Nothing,
}

/// Reads the field `Range` against a file of `size` bytes. Several ranges, other units and what cannot be read are
/// answered with the whole, as section 14.2 allows.
#[must_use]
pub fn wanted(field: Option<&str>, size: u64) -> Wanted {
    let Some(set) = field.and_then(|field| field.trim().strip_prefix("bytes=")) else { return Wanted::Whole };
    let Some((first, last)) = set.split_once('-') else { return Wanted::Whole };
    let number = |text: &str| match text.trim() {
        "" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            // A number that is too large for us is larger than any file.
            Some(Some(digits.parse::<u64>().unwrap_or(u64::MAX)))
        }
        _ => None,
    };
    let (Some(first), Some(last)) = (number(first), number(last)) else { return Wanted::Whole };
    match (first, last) {
        (Some(first), Some(last)) if last < first => Wanted::Whole,
        (Some(first), last) if first < size => Wanted::Part(first, last.unwrap_or(u64::MAX).min(size - 1)),
        (Some(_), _) => Wanted::Nothing,
        (None, Some(0)) => Wanted::Nothing,
        (None, Some(_)) if size == 0 => Wanted::Nothing,
        (None, Some(count)) => Wanted::Part(size.saturating_sub(count), size - 1),
        (None, None) => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f4_ranges() {
        for (field, size, expected) in [
            (None, 10, Wanted::Whole),
            (Some("bytes=0-"), 10, Wanted::Part(0, 9)),
            (Some("bytes=0-0"), 10, Wanted::Part(0, 0)),
            (Some("bytes=2-4"), 10, Wanted::Part(2, 4)),
            (Some("bytes=2-400"), 10, Wanted::Part(2, 9)),
            (Some("bytes=-3"), 10, Wanted::Part(7, 9)),
            (Some("bytes=-300"), 10, Wanted::Part(0, 9)),
            (Some("bytes=-0"), 10, Wanted::Nothing),
            (Some("bytes=10-"), 10, Wanted::Nothing),
            (Some("bytes=99999999999999999999-"), 10, Wanted::Nothing),
            (Some("bytes=0-"), 0, Wanted::Nothing),
            (Some("bytes=-1"), 0, Wanted::Nothing),
            (Some("bytes=4-2"), 10, Wanted::Whole),
            (Some("bytes=0-1,3-4"), 10, Wanted::Whole),
            (Some("bytes=-"), 10, Wanted::Whole),
            (Some("bytes=a-b"), 10, Wanted::Whole),
            (Some("lines=0-1"), 10, Wanted::Whole),
            (Some("bytes"), 10, Wanted::Whole),
        ] {
            assert_eq!(wanted(field, size), expected, "{field:?} of {size}");
        }
    }
}
