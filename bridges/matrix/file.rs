//! Pure: files, as Matrix events describe them (client-server API, `m.image`, `m.file`, `m.audio`, `m.video`, `m.sticker`, and
//! "Sending encrypted attachments"). What is half described is a file all the same, without what is missing.

use serde_json::{Value, json};

use super::from_matrix::clean;
use super::picture::read_mxc;
use crate::api::{File, FileForm, Source, Text, Thumbnail};

/// The longest media type and blurhash that are taken over, in bytes.
const LONGEST: usize = 100;

/// The marks of a voice message: in use, and as it may come to be called.
const VOICE: [&str; 2] = ["org.matrix.msc3245.voice", "m.voice"];

/// The length of a voice message where its `info` does not have it.
const AUDIO: &str = "org.matrix.msc1767.audio";

const BLURHASH: &str = "xyz.amorgan.blurhash";

/// Reads a file. The caption is left to the caller, who reads texts.
pub fn read(content: &Value, sticker: bool) -> File {
    let info = &content["info"];
    let body = content["body"].as_str().map(clean).unwrap_or_default();
    let name = content["filename"].as_str().map(clean).filter(|name| !name.is_empty());
    let short = |value: &Value| value.as_str().map(clean).filter(|text| !text.is_empty() && text.len() <= LONGEST);
    let form = match content["msgtype"].as_str() {
        _ if sticker => FileForm::Sticker,
        Some("m.image") => FileForm::Image,
        Some("m.video") => FileForm::Video,
        Some("m.audio") if VOICE.iter().any(|mark| content.get(mark).is_some()) => FileForm::Voice,
        Some("m.audio") => FileForm::Audio,
        _ => FileForm::Plain,
    };
    let small = source(info, "thumbnail_url", "thumbnail_file");
    File {
        name: name.unwrap_or(body),
        form,
        media_type: short(&info["mimetype"]),
        size: number(&info["size"]),
        extent: extent(info),
        millis: number(&info["duration"]).or_else(|| number(&content[AUDIO]["duration"])),
        blurhash: short(&info[BLURHASH]),
        source: source(content, "url", "file"),
        thumbnail: small.map(|source| Thumbnail {
            source,
            media_type: short(&info["thumbnail_info"]["mimetype"]),
            extent: extent(&info["thumbnail_info"]),
        }),
        ..File::default()
    }
}

/// Whether the body of a file is said of it and not its name.
pub fn has_caption(content: &Value) -> bool {
    let body = content["body"].as_str().unwrap_or_default();
    content["filename"].as_str().is_some_and(|name| name != body && !name.is_empty()) && !body.trim().is_empty()
}

/// A number that some clients write with a fraction.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        // Every whole number up to here is one.
        (0.0..9_007_199_254_740_992.0).contains(&number).then_some(number as u64)
    })
}

fn extent(info: &Value) -> Option<(u32, u32)> {
    let pixels = |key: &str| number(&info[key]).and_then(|pixels| u32::try_from(pixels).ok());
    pixels("w").zip(pixels("h")).filter(|(width, height)| *width > 0 && *height > 0)
}

/// Where the bytes are: the URI, and behind it key, counter block and hash of an encrypted file.
fn source(of: &Value, plain: &str, encrypted: &str) -> Option<Source> {
    if let Some(uri) = of[plain].as_str() {
        return read_mxc(uri).map(|_| Source::new(uri));
    }
    let file = &of[encrypted];
    let uri = file["url"].as_str().filter(|uri| read_mxc(uri).is_some())?;
    let known = file["v"] == "v2" && file["key"]["alg"] == "A256CTR";
    let (key, iv, hash) = (file["key"]["k"].as_str()?, file["iv"].as_str()?, file["hashes"]["sha256"].as_str()?);
    let proper = |text: &str| text.len() < 100 && text.bytes().all(|byte| byte.is_ascii_graphic());
    (known && proper(key) && proper(iv) && proper(hash)).then(|| Source::new(&format!("{uri} {key} {iv} {hash}")))
}

/// A file that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Where it is.
    pub uri: String,
    /// Its media type, as it was uploaded.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
}

/// The type of the event that a file is.
pub fn event_type(file: &File) -> &'static str {
    if file.form == FileForm::Sticker { "m.sticker" } else { "m.room.message" }
}

/// The content of that event.
pub fn write(file: &File, uploaded: &Uploaded) -> Value {
    let kind = uploaded.media_type.split('/').next().unwrap_or_default();
    let form = match (file.form, kind) {
        // Its sender knew less of it than whoever has it.
        (FileForm::Plain, "image") if file.media_type.is_none() => FileForm::Image,
        (FileForm::Plain, "video") if file.media_type.is_none() => FileForm::Video,
        (FileForm::Plain, "audio") if file.media_type.is_none() => FileForm::Audio,
        (form, _) => form,
    };
    let mut info = json!({ "mimetype": uploaded.media_type, "size": uploaded.size });
    if let Some((width, height)) = file.extent {
        info["w"] = width.into();
        info["h"] = height.into();
    }
    if let Some(millis) = file.millis {
        info["duration"] = millis.into();
    }
    if let Some(hash) = &file.blurhash {
        info[BLURHASH] = hash.as_str().into();
    }
    let name = if file.name.is_empty() { "file" } else { file.name.as_str() };
    let mut content = json!({ "body": name, "info": info, "url": uploaded.uri });
    if let Some(target) = file.reply.as_ref().and_then(|reply| reply.id.as_ref()) {
        content["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": target.as_str() } });
    }
    match form {
        FileForm::Sticker => return content,
        FileForm::Plain => content["msgtype"] = "m.file".into(),
        FileForm::Image => content["msgtype"] = "m.image".into(),
        FileForm::Video => content["msgtype"] = "m.video".into(),
        FileForm::Audio => content["msgtype"] = "m.audio".into(),
        FileForm::Voice => {
            content["msgtype"] = "m.audio".into();
            content[VOICE[0]] = json!({});
            content[AUDIO] = json!({ "duration": file.millis.unwrap_or_default() });
        }
    }
    content["filename"] = name.into();
    if let Some(caption) = &file.caption {
        content["body"] = caption.body.as_str().into();
    }
    content
}

/// The link of a file that cannot be carried as one, with what was said of it.
pub fn as_link(file: &File, url: &str) -> Text {
    let caption = file.caption.clone().unwrap_or_default();
    let body = if caption.body.is_empty() { url.to_owned() } else { format!("{}\n{url}", caption.body) };
    Text { body, rich: None, reply: file.reply.clone(), thread: file.thread.clone(), ..caption }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::Target;

    fn full() -> Value {
        json!({
            "msgtype": "m.image", "body": "look", "filename": "a.png", "url": "mxc://hs.test/abc",
            "info": {
                "mimetype": "image/png", "size": 5, "w": 30.0, "h": 20, "duration": 1500, "xyz.amorgan.blurhash": "LEHV6n",
                "thumbnail_url": "mxc://hs.test/small", "thumbnail_info": { "mimetype": "image/jpeg", "w": 3, "h": 2 },
            },
        })
    }

    #[test]
    fn everything_that_is_known_of_a_file_is_read() {
        let expected = File {
            name: "a.png".into(),
            form: FileForm::Image,
            media_type: Some("image/png".into()),
            size: Some(5),
            extent: Some((30, 20)),
            millis: Some(1500),
            blurhash: Some("LEHV6n".into()),
            source: Some(Source::new("mxc://hs.test/abc")),
            thumbnail: Some(Thumbnail {
                source: Source::new("mxc://hs.test/small"),
                media_type: Some("image/jpeg".into()),
                extent: Some((3, 2)),
            }),
            ..File::default()
        };
        assert_eq!(read(&full(), false), expected);
        assert!(has_caption(&full()));
        for (msgtype, more, form) in [
            ("m.video", "x", FileForm::Video),
            ("m.audio", "x", FileForm::Audio),
            ("m.audio", "org.matrix.msc3245.voice", FileForm::Voice),
            ("m.audio", "m.voice", FileForm::Voice),
            ("m.file", "x", FileForm::Plain),
        ] {
            let content = json!({ "msgtype": msgtype, "body": "a", more: {} });
            assert_eq!(read(&content, false).form, form, "{content}");
        }
        assert_eq!(read(&json!({ "body": "wave" }), true).form, FileForm::Sticker);
        let voice = json!({ "msgtype": "m.audio", "body": "a", "org.matrix.msc1767.audio": { "duration": 7 } });
        assert_eq!(read(&voice, false).millis, Some(7));
    }

    #[test]
    fn keys_of_encrypted_files_are_read_and_never_printed() {
        let file = json!({
            "v": "v2", "url": "mxc://hs.test/abc", "iv": "w+sE15fzSc0AAAAAAAAAAA",
            "key": { "kty": "oct", "alg": "A256CTR", "ext": true, "key_ops": ["encrypt"], "k": "aWF6-32KGYaC3A_FEUCk1Bt0JA37zP0wrStgmdCaW-0" },
            "hashes": { "sha256": "fdSLu/YkRx3Wyh3KQabP3rd6+SFiKg5lsJZQHtkSAYA" },
        });
        let content = json!({ "msgtype": "m.file", "body": "a", "file": file, "info": { "thumbnail_file": file } });
        let found = read(&content, false);
        let expected = Source::new(
            "mxc://hs.test/abc aWF6-32KGYaC3A_FEUCk1Bt0JA37zP0wrStgmdCaW-0 w+sE15fzSc0AAAAAAAAAAA fdSLu/YkRx3Wyh3KQabP3rd6+SFiKg5lsJZQHtkSAYA",
        );
        assert_eq!(found.source, Some(expected.clone()));
        assert_eq!(found.thumbnail.map(|small| small.source), Some(expected));
        assert!(!format!("{:?}", read(&content, false)).contains("aWF6"));
    }

    #[test]
    fn rubbish_is_a_file_that_nobody_can_open() {
        for content in [
            json!({}),
            json!({ "url": "https://x/y" }),
            json!({ "url": 5 }),
            json!({ "file": { "url": "mxc://hs.test/abc" } }),
            json!({ "file": { "v": "v2", "url": "mxc://hs.test/../x", "iv": "x", "key": { "alg": "A256CTR", "k": "x" }, "hashes": { "sha256": "x" } } }),
            json!({ "file": { "v": "v2", "url": "mxc://hs.test/x", "iv": "a b", "key": { "alg": "A256CTR", "k": "x" }, "hashes": { "sha256": "x" } } }),
            json!({ "info": { "size": -1, "w": "5", "h": 1e300, "mimetype": [] } }),
        ] {
            let found = read(&content, false);
            assert_eq!(
                (found.source, found.size, found.extent, found.media_type),
                (None, None, None, None),
                "{content}"
            );
        }
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        let uploaded = Uploaded { uri: "mxc://hs.test/abc".into(), media_type: "image/png".into(), size: 5 };
        let voice = FileForm::Voice;
        for form in [FileForm::Plain, FileForm::Image, FileForm::Video, FileForm::Audio, voice, FileForm::Sticker] {
            let file = File {
                name: "a.png".into(),
                form,
                media_type: Some("image/png".into()),
                size: Some(5),
                extent: Some((3, 4)),
                millis: Some(7),
                blurhash: Some("LE".into()),
                source: Some(Source::new("mxc://hs.test/abc")),
                ..File::default()
            };
            assert_eq!(read(&write(&file, &uploaded), form == FileForm::Sticker), file);
        }
        let file = File {
            name: "a.png".into(),
            form: FileForm::Image,
            caption: Some(Text::plain("look")),
            reply: Some(Target::by_id("$t")),
            ..File::default()
        };
        assert_eq!(
            write(&file, &uploaded),
            json!({
                "msgtype": "m.image", "body": "look", "filename": "a.png", "url": "mxc://hs.test/abc",
                "info": { "mimetype": "image/png", "size": 5 }, "m.relates_to": { "m.in_reply_to": { "event_id": "$t" } },
            })
        );
        assert_eq!(write(&File::default(), &uploaded)["msgtype"], "m.image", "whoever has it knows what it is");
    }

    proptest! {
        /// `from(to(x)) == x`, for all that is known of a file.
        #[test]
        fn f5_whatever_is_known_of_a_file_survives(
            form in prop_oneof![
                Just(FileForm::Plain), Just(FileForm::Image), Just(FileForm::Video),
                Just(FileForm::Audio), Just(FileForm::Voice), Just(FileForm::Sticker)
            ],
            name in "[^\\pC]{1,30}",
            size in 0..u64::MAX,
            extent in proptest::option::of((1..u32::MAX, 1..u32::MAX)),
            millis in proptest::option::of(0..u64::MAX),
            blurhash in proptest::option::of("[!-~]{6,30}"),
        ) {
            let media_type = "image/png".to_owned();
            let before = File {
                name,
                form,
                media_type: Some(media_type.clone()),
                size: Some(size),
                extent,
                millis: if form == FileForm::Voice { Some(millis.unwrap_or_default()) } else { millis },
                blurhash,
                source: Some(Source::new("mxc://hs.test/abc")),
                ..File::default()
            };
            let uploaded = Uploaded { uri: "mxc://hs.test/abc".into(), media_type, size };
            let content = write(&before, &uploaded);
            prop_assert_eq!(read(&content, form == FileForm::Sticker), before);
            prop_assert!(!has_caption(&content));
        }
    }
}
