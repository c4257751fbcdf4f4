//! What comes in is hostile, what goes out is small.

use image::codecs::gif::GifEncoder;
use image::{Delay, Frame, Rgb, RgbImage, Rgba, RgbaImage};

use super::*;

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A picture that compresses badly.
fn noise(width: u32, height: u32) -> RgbImage {
    let mut state = 1_u32;
    RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [a, b, c, _] = state.to_be_bytes();
        Rgb([a, b, c])
    })
}

fn shown(ready: &Ready) -> RgbaImage {
    assert!(ready.bytes.len() <= LARGEST);
    assert_eq!(sniff(&ready.bytes), Some(ready.media_type));
    image::load_from_memory(&ready.bytes).unwrap().to_rgba8()
}

#[test]
fn every_kind_becomes_small_and_the_same_each_time() {
    let big = DynamicImage::from(noise(900, 600));
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let bytes = encoded(&big, format);
        let ready = convert(&bytes).unwrap();
        assert_eq!(shown(&ready).dimensions(), (256, 171), "{format:?}");
        assert_eq!(convert(&bytes), Ok(ready), "{format:?}");
    }
    let small = DynamicImage::from(RgbImage::from_pixel(20, 30, Rgb([1, 2, 3])));
    let ready = convert(&encoded(&small, ImageFormat::Png)).unwrap();
    assert_eq!((ready.media_type, shown(&ready).dimensions()), ("image/png", (20, 30)));
    assert_eq!(dimensions(&ready.bytes), Some((20, 30)));
}

#[test]
fn a_noisy_picture_is_made_small_enough_all_the_same() {
    let mut clear = DynamicImage::from(noise(256, 256)).to_rgba8();
    for (n, pixel) in clear.pixels_mut().enumerate() {
        pixel.0[3] = if n % 2 == 0 { 0 } else { 255 };
    }
    let ready = convert(&encoded(&clear.into(), ImageFormat::Png)).unwrap();
    assert_eq!(ready.media_type, "image/jpeg");
    shown(&ready);
}

#[test]
fn what_is_transparent_stays_so() {
    let clear = RgbaImage::from_pixel(300, 300, Rgba([9, 9, 9, 0]));
    let ready = convert(&encoded(&clear.into(), ImageFormat::Png)).unwrap();
    assert_eq!(shown(&ready).get_pixel(5, 5).0[3], 0);
}

#[test]
fn of_an_animation_the_first_frame_is_shown() {
    let mut gif = Vec::new();
    let frame =
        |colour| Frame::from_parts(RgbaImage::from_pixel(8, 8, Rgba(colour)), 0, 0, Delay::from_numer_denom_ms(100, 1));
    GifEncoder::new(&mut gif).encode_frames([frame([255, 0, 0, 255]), frame([0, 255, 0, 255])]).unwrap();
    assert_eq!(shown(&convert(&gif).unwrap()).get_pixel(0, 0).0, [255, 0, 0, 255]);
}

/// A PNG that says it is this large, in few bytes.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encoded(&DynamicImage::from(RgbImage::new(1, 1)), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    // The checksum of the header chunk.
    let mut crc = u32::MAX;
    for byte in &bytes[12..29] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

#[test]
fn a_bomb_is_not_unpacked() {
    assert_eq!(convert(&bomb(20_000, 20_000)), Err(Unusable::Size(20_000, 20_000)));
    for (width, height) in [(100_000_000, 1), (1, 100_000_000), (u32::MAX, u32::MAX)] {
        assert!(matches!(convert(&bomb(width, height)), Err(Unusable::Broken(_) | Unusable::Size(..))));
    }
    // Few enough pixels, but not there.
    assert!(matches!(convert(&bomb(3000, 3000)), Err(Unusable::Broken(_))));
}

#[test]
fn what_is_no_picture_is_refused() {
    assert_eq!(convert(b""), Err(Unusable::Kind));
    assert_eq!(convert(b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"), Err(Unusable::Kind));
    assert_eq!(convert(b"MZ\x90"), Err(Unusable::Kind));
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif] {
        let whole =
            encoded(&DynamicImage::from(RgbaImage::from_pixel(64, 64, Rgba([7, 8, 9, 255]))).to_rgb8().into(), format);
        for length in [3, 8, 12, whole.len() / 2] {
            // A decoder may show what is there of a picture; it may not fall over.
            if let Ok(ready) = convert(&whole[..length]) {
                shown(&ready);
            }
        }
        assert!(convert(&whole[..12]).is_err(), "{format:?}");
        assert!(convert(&whole).is_ok(), "{format:?}");
    }
}

#[test]
fn nothing_but_what_is_seen_goes_on() {
    let mut bytes = encoded(&DynamicImage::from(RgbImage::from_pixel(9, 9, Rgb([1, 2, 3]))), ImageFormat::Png);
    let clean = convert(&bytes).unwrap();
    bytes.extend_from_slice(b"51.5007N 0.1246W");
    assert_eq!(convert(&bytes), Ok(clean));
}

#[test]
fn a_hash_is_sha_1_in_hexadecimal() {
    assert_eq!(hash(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
}
