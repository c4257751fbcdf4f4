//! The gateway's own picture: an arch of a bridge, drawn here, in a colour of its network's own.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};
use sha1::{Digest, Sha1};

/// The edge of the picture in pixels.
const EDGE: i32 = 96;

/// The picture of the gateway to a network, as PNG. The same for the same network, always.
#[must_use]
pub fn draw(network: &str) -> Vec<u8> {
    let ground = colour(network);
    let picture = RgbImage::from_fn(EDGE.unsigned_abs(), EDGE.unsigned_abs(), |x, y| {
        let (x, y) = (x.try_into().unwrap_or(0), y.try_into().unwrap_or(0));
        if bridge(x, y) { Rgb([255, 255, 255]) } else { ground }
    });
    let mut out = Cursor::new(Vec::new());
    // Writing into memory does not fail.
    let _ = picture.write_to(&mut out, ImageFormat::Png);
    out.into_inner()
}

/// Whether a pixel belongs to the bridge: a road, two pillars and the arch above them.
fn bridge(x: i32, y: i32) -> bool {
    let road = (60..68).contains(&y) && (12..84).contains(&x);
    let pillars = (68..80).contains(&y) && ((22..30).contains(&x) || (66..74).contains(&x));
    let (dx, dy) = (x - EDGE / 2, y - 60);
    let distance = dx * dx + dy * dy;
    let arch = y < 60 && (24 * 24..=32 * 32).contains(&distance);
    let hangers = (30..60).contains(&y) && matches!(x, 37..=39 | 47..=49 | 57..=59) && distance < 24 * 24;
    road || pillars || arch || hangers
}

/// A colour that belongs to a name: the hue by its hash, as XEP-0392 does it, dark enough for white on it.
fn colour(name: &str) -> Rgb<u8> {
    let hash = Sha1::digest(name.as_bytes());
    let hue = u32::from(u16::from_le_bytes([hash[0], hash[1]])) * 360 / 65_536;
    let (low, high) = (40_u32, 150_u32);
    let part = hue % 60;
    let (up, down) = (low + (high - low) * part / 60, high - (high - low) * part / 60);
    let [red, green, blue] = match hue / 60 {
        0 => [high, up, low],
        1 => [down, high, low],
        2 => [low, high, up],
        3 => [low, down, high],
        4 => [up, low, high],
        _ => [high, low, down],
    };
    Rgb([red, green, blue].map(|channel| u8::try_from(channel).unwrap_or(u8::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xmpp::face::convert;

    #[test]
    fn each_network_has_its_own_picture_and_keeps_it() {
        let one = draw("one");
        assert!(one.len() < 4096 && convert::dimensions(&one) == Some((96, 96)), "{}", one.len());
        assert_eq!(one, draw("one"));
        assert_ne!(one, draw("two"));
        assert!(convert::convert(&one).is_ok());
    }
}
