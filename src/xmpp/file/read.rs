//! Pure: from payloads of messages to files and places. One message may hold several files, each in several forms.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minidom::Element;
use percent_encoding::percent_decode_str;
use portway_bridges::api::{File, FileForm, Kind};

use super::{BLURHASH, ns};
use crate::media::links::type_of_name;
use crate::xmpp::from_stanza::{clean, ns as message_ns};
use crate::xmpp::stanza::Stanza;

/// How many files one message may bring.
const MOST: usize = 20;

/// The longest name, media type and URL that are taken over, in characters.
const LONGEST_NAME: usize = 200;
const LONGEST_TYPE: usize = 100;
const LONGEST_URL: usize = 4000;

/// What files a message brings, and what else it says.
pub struct Found {
    /// The files.
    pub files: Vec<File>,
    /// The rest of the body.
    pub text: String,
}

/// Finds the files of a message. `body` is what is left of the body when all fallbacks (XEP-0428) have been taken out.
#[must_use]
pub fn files(stanza: &Stanza, body: &str) -> Found {
    let mut files: Vec<File> = Vec::new();
    let mut add = |file: File| match files.iter().position(|known| known.url == file.url) {
        Some(at) => complete(&mut files[at], file),
        None if files.len() < MOST => files.push(file),
        None => {}
    };
    let children = || stanza.element.children();
    children().filter(|child| child.is("file-sharing", ns::SFS)).filter_map(shared).for_each(&mut add);
    let references = children().filter(|child| child.is("reference", ns::REFERENCE));
    references
        .filter_map(|reference| reference.get_child("media-sharing", ns::SIMS))
        .filter_map(shared)
        .for_each(&mut add);
    let urls = children().filter(|child| child.is("x", message_ns::OOB));
    for url in urls.filter_map(|oob| oob.get_child("url", message_ns::OOB)).map(Element::text) {
        let url = url.trim();
        // A link within a sentence is part of the sentence.
        let apart = body.lines().any(|line| line.trim() == url) || !body.contains(url);
        if let (true, Some(url)) = (apart, link(url)) {
            add(by_link(url));
        }
    }
    if files.is_empty()
        && let Some(url) = body.trim().lines().next().filter(|line| line.starts_with("aesgcm://") && line.contains('#'))
        && !url.contains(char::is_whitespace)
        && url.len() <= LONGEST_URL
    {
        files.push(by_link(url.to_owned()));
        // What may follow is a thumbnail as a data: URL (XEP-0454, section 4).
        let rest = body.trim().lines().skip(1).filter(|line| !line.starts_with("data:image/"));
        return Found { text: rest.collect::<Vec<_>>().join("\n"), files };
    }
    let known = |line: &str| files.iter().any(|file| file.url.as_deref() == Some(line.trim()));
    let rest: Vec<&str> = body.lines().filter(|line| !known(line)).collect();
    let mut text = rest.join("\n").trim().to_owned();
    if let Some(first) = files.first_mut()
        && stanza.child("sticker", ns::STICKERS).is_some()
    {
        first.form = FileForm::Sticker;
        // The body is what it stands for.
        if !text.is_empty() {
            first.name = clean(&std::mem::take(&mut text)).chars().take(LONGEST_NAME).collect();
        }
    }
    Found { files, text }
}

/// What one form of a file says, and another one does not.
fn complete(known: &mut File, more: File) {
    if known.media_type.is_none() {
        known.form = more.form;
    }
    known.media_type = known.media_type.take().or(more.media_type);
    known.size = known.size.or(more.size);
    known.extent = known.extent.or(more.extent);
    known.millis = known.millis.or(more.millis);
    known.blurhash = known.blurhash.take().or(more.blurhash);
    if known.caption.is_none() {
        known.caption = more.caption;
    }
}

/// A file of which nothing but its link is known.
fn by_link(url: String) -> File {
    let name = file_name(&url);
    let media_type = type_of_name(&name);
    File { form: form(media_type), media_type: media_type.map(str::to_owned), name, url: Some(url), ..File::default() }
}

/// A file with its metadata, in the newer or the older form. `None` where nobody says where it is.
fn shared(sharing: &Element) -> Option<File> {
    let about = sharing.children().find(|child| child.name() == "file");
    let sources = sharing.children().filter(|child| child.name() == "sources").flat_map(Element::children);
    let url = sources
        .filter_map(|source| match source.name() {
            "url-data" => link(source.attr("target")?),
            "reference" => link(source.attr("uri")?),
            "encrypted" => encrypted(source),
            _ => None,
        })
        .next()?;
    let text = |name: &str, most: usize| {
        let found = about?.children().find(|child| child.name() == name)?.text();
        let found: String = clean(found.trim()).chars().take(most).collect();
        (!found.is_empty()).then_some(found)
    };
    let number = |name: &str| text(name, 20)?.parse::<u64>().ok();
    let pixels = |name: &str| number(name).and_then(|pixels| u32::try_from(pixels).ok());
    let dimensions = || {
        let text = text("dimensions", 30)?;
        let (width, height) = text.split_once('x')?;
        Some((width.parse().ok()?, height.parse().ok()?))
    };
    let name = text("name", LONGEST_NAME).map(|name| name.replace(['/', '\\'], "_")).unwrap_or_else(|| file_name(&url));
    let media_type = text("media-type", LONGEST_TYPE).map(|text| text.to_ascii_lowercase());
    let media_type = media_type.or_else(|| type_of_name(&name).map(str::to_owned));
    let thumbnails = about.into_iter().flat_map(Element::children).filter(|child| child.is("thumbnail", ns::THUMBS));
    let blurhash = thumbnails.filter_map(|small| small.attr("uri")?.strip_prefix(BLURHASH)).next();
    let blurhash = blurhash.map(|hash| percent_decode_str(hash).decode_utf8_lossy().into_owned());
    let inline = sharing.attr("disposition") != Some("attachment");
    Some(File {
        form: if inline { form(media_type.as_deref()) } else { FileForm::Plain },
        size: number("size"),
        extent: pixels("width").zip(pixels("height")).or_else(dimensions),
        millis: number("length"),
        blurhash: blurhash.filter(|hash| hash.len() < 200),
        caption: text("desc", 4000).map(portway_bridges::api::Text::plain),
        name,
        media_type,
        url: Some(url),
        ..File::default()
    })
}

/// An encrypted source (XEP-0448), as the link that says the same (XEP-0454).
fn encrypted(source: &Element) -> Option<String> {
    if !source.has_ns(ns::ESFS) || source.attr("cipher") != Some(ns::AES_256_GCM) {
        return None;
    }
    let hex = |name: &str, length: usize| {
        let bytes = STANDARD.decode(source.get_child(name, ns::ESFS)?.text().trim()).ok()?;
        (bytes.len() == length).then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    let sources = source.children().find(|child| child.name() == "sources")?;
    let url = sources.children().find_map(|child| link(child.attr("target")?))?;
    let place = url.strip_prefix("https://")?.split('#').next()?.to_owned();
    Some(format!("aesgcm://{place}#{}{}", hex("iv", 12)?, hex("key", 32)?))
}

/// A URL that a file may be behind.
fn link(url: &str) -> Option<String> {
    let url = url.trim();
    let scheme = url.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let good = matches!(scheme.as_str(), "https" | "http" | "aesgcm") && url.contains("://");
    (good && url.len() <= LONGEST_URL && !url.contains(char::is_control)).then(|| url.to_owned())
}

/// How a file of this media type is shown.
fn form(media_type: Option<&str>) -> FileForm {
    match media_type.and_then(|media_type| media_type.split('/').next()) {
        Some("image") => FileForm::Image,
        Some("video") => FileForm::Video,
        Some("audio") => FileForm::Audio,
        _ => FileForm::Plain,
    }
}

/// The last part of a URL's path, as a person reads it.
fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path);
    let name = percent_decode_str(name).decode_utf8_lossy().replace(['/', '\\'], "_");
    clean(&name).chars().take(LONGEST_NAME).collect()
}

/// A place: a body that is nothing but a `geo:` URI (RFC 5870), or a payload of XEP-0080.
#[must_use]
pub fn place(stanza: &Stanza, body: Option<&str>) -> Option<Kind> {
    let body = body.map(str::trim).filter(|body| !body.is_empty());
    let payload = stanza.child("geoloc", ns::GEOLOC);
    let said = |name: &str| {
        let text = payload?.get_child(name, ns::GEOLOC)?.text();
        Some(clean(text.trim())).filter(|text| !text.is_empty())
    };
    if let Some(uri) = body.filter(|body| degrees(body).is_some() && !body.contains(char::is_whitespace)) {
        return Some(Kind::Location { uri: uri.to_owned(), text: said("text").or_else(|| said("description")) });
    }
    let uri = format!("geo:{},{}", said("lat")?, said("lon")?);
    degrees(&uri)?;
    let text = body.map(clean).or_else(|| said("text")).or_else(|| said("description"));
    Some(Kind::Location { uri, text })
}

/// Latitude and longitude of a `geo:` URI, as they are written there.
#[must_use]
pub fn degrees(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("geo:")).and_then(|_| uri.get(4..))?;
    let mut numbers = rest.split([';', '?']).next()?.split(',');
    let (latitude, longitude) = (numbers.next()?, numbers.next()?);
    let within = |text: &str, most: f64| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        plain && text.parse::<f64>().is_ok_and(|number| number.abs() <= most)
    };
    let altitude = numbers.next().is_none_or(|text| text.parse::<f64>().is_ok());
    (within(latitude, 90.0) && within(longitude, 180.0) && altitude && numbers.next().is_none())
        .then_some((latitude, longitude))
}
