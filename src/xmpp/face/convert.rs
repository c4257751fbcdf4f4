//! Pure: from whatever a network calls a picture to what XMPP clients show.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use portway_bridges::api::picture::sniff;
use sha1::{Digest, Sha1};

/// The largest picture that clients are given, in bytes (XEP-0153, section 4.1, has 8 KiB; clients take more).
pub const LARGEST: usize = 48 * 1024;

/// The longest edge, in pixels.
pub const EDGE: u32 = 256;

/// The most pixels that are decoded.
const PIXELS: u64 = 16_000_000;

/// The most memory that decoding may take, in bytes.
const MEMORY: u64 = 64 << 20;

/// The qualities of JPEG that are tried, best first.
const QUALITIES: [u8; 4] = [85, 70, 50, 30];

/// A picture, ready for XMPP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// `image/png` or `image/jpeg`.
    pub media_type: &'static str,
    /// At most [`LARGEST`].
    pub bytes: Vec<u8>,
}

/// Why a picture cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Neither PNG nor JPEG nor GIF nor WebP.
    #[error("it is no picture of a kind that is known here")]
    Kind,
    /// More pixels than are decoded.
    #[error("it has {0} × {1} pixels")]
    Size(u32, u32),
    /// It cannot be decoded, or not within the memory for it.
    #[error("it cannot be decoded: {0}")]
    Broken(String),
}

/// Decodes a picture (of an animation the first frame), makes it at most [`EDGE`] pixels wide and high, and writes it anew,
/// so that nothing of the original but what is seen goes on: no position of the camera, nothing behind its end. The same
/// bytes always give the same picture. Takes long; not for a task that others wait for.
///
/// # Errors
/// [`Unusable`].
pub fn convert(bytes: &[u8]) -> Result<Ready, Unusable> {
    let format = match sniff(bytes) {
        Some("image/png") => ImageFormat::Png,
        Some("image/jpeg") => ImageFormat::Jpeg,
        Some("image/gif") => ImageFormat::Gif,
        Some("image/webp") => ImageFormat::WebP,
        _ => return Err(Unusable::Kind),
    };
    let broken = |error: image::ImageError| Unusable::Broken(error.to_string());
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXELS || decoder.total_bytes() > MEMORY {
        return Err(Unusable::Size(width, height));
    }
    let orientation = decoder.orientation().map_err(broken)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    if width > EDGE || height > EDGE {
        picture = picture.thumbnail(EDGE, EDGE);
    }
    picture.apply_orientation(orientation);
    write(&picture).map_err(broken)
}

/// PNG where the picture is transparent or small in that form, JPEG otherwise.
fn write(picture: &DynamicImage) -> image::ImageResult<Ready> {
    let see_through = picture.color().has_alpha() && picture.to_rgba8().pixels().any(|pixel| pixel.0[3] < 255);
    let mut png = Cursor::new(Vec::new());
    match see_through {
        true => DynamicImage::from(picture.to_rgba8()),
        false => DynamicImage::from(picture.to_rgb8()),
    }
    .write_to(&mut png, ImageFormat::Png)?;
    if png.get_ref().len() <= LARGEST {
        return Ok(Ready { media_type: "image/png", bytes: png.into_inner() });
    }
    // JPEG has no transparency: what shines through is white.
    let mut flat = picture.to_rgba8();
    for pixel in flat.pixels_mut() {
        let [.., alpha] = pixel.0;
        let over = |colour: u8| u16::from(colour) * u16::from(alpha) / 255 + (255 - u16::from(alpha));
        for channel in &mut pixel.0[..3] {
            *channel = u8::try_from(over(*channel)).unwrap_or(u8::MAX);
        }
    }
    let mut flat = DynamicImage::from(DynamicImage::from(flat).to_rgb8());
    loop {
        for quality in QUALITIES {
            let mut jpeg = Vec::new();
            flat.write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, quality))?;
            if jpeg.len() <= LARGEST {
                return Ok(Ready { media_type: "image/jpeg", bytes: jpeg });
            }
        }
        flat = flat.thumbnail(flat.width() / 2, flat.height() / 2);
    }
}

/// SHA-1 in lower-case hexadecimal, which is what a picture is called on XMPP (XEP-0084, XEP-0153).
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Width and height of a picture that was made here.
#[must_use]
pub fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?.into_dimensions().ok()
}

#[cfg(test)]
#[path = "tests/convert.rs"]
mod tests;
