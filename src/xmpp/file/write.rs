//! Pure: from files and places to payloads of messages.

use std::sync::Arc;

use minidom::Element;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use portway_bridges::api::{EventId, File, FileForm, Timestamp};

use super::{BLURHASH, ns};
use crate::media::Links;
use crate::media::links::Linked;
use crate::xmpp::from_stanza::ns as message_ns;
use crate::xmpp::xml;

/// How the files of one network get URLs.
#[derive(Clone)]
pub struct Linking {
    /// The network's id.
    pub network: Arc<str>,
    /// Makes them.
    pub links: Links,
}

/// A file as one message shows it.
pub struct Shown {
    /// The whole body.
    pub url: String,
    /// What stands beside it.
    pub payloads: Vec<Element>,
}

/// A file of an event as a message without its caption. `None` where nobody can fetch it, so that words must do.
#[must_use]
pub fn shown(file: &File, event: EventId, at: Timestamp, now: Timestamp, linking: &Linking) -> Option<Shown> {
    let link = |source, media_type, size, name| {
        let network = &linking.network;
        linking.links.url(&Linked { network, event, source, media_type, size, name }, at, now)
    };
    let url = match (&file.url, &file.source) {
        (Some(url), _) => url.clone(),
        (None, Some(source)) => link(source, file.media_type.as_deref(), file.size, &file.name)?,
        (None, None) => return None,
    };
    if url.starts_with("aesgcm:") {
        // Its form says it all, and clients look for nothing else (XEP-0454, section 5).
        return Some(Shown { url, payloads: Vec::new() });
    }
    let mut thumbnails = Vec::new();
    if let Some(small) = &file.thumbnail
        && let Some(uri) = link(&small.source, small.media_type.as_deref(), None, "thumbnail")
    {
        thumbnails.push(thumbnail(&uri, small.media_type.as_deref(), small.extent));
    }
    if let Some(hash) = &file.blurhash {
        let uri = format!("{BLURHASH}{}", utf8_percent_encode(hash, NON_ALPHANUMERIC));
        thumbnails.push(thumbnail(&uri, Some("image/blurhash"), file.extent));
    }
    let mut payloads = vec![sharing(file, &url, &thumbnails), sims(file, &url, &thumbnails)];
    if file.form == FileForm::Sticker {
        payloads.push(Element::bare("sticker", ns::STICKERS));
    }
    let mut fallback = xml::element("fallback", message_ns::FALLBACK, &[("for", ns::SFS)]);
    fallback.append_child(Element::bare("body", message_ns::FALLBACK));
    payloads.push(fallback);
    let mut oob = Element::bare("x", message_ns::OOB);
    oob.append_child(xml::text("url", message_ns::OOB, &url));
    payloads.push(oob);
    Some(Shown { url, payloads })
}

/// That a message belongs to an earlier one (XEP-0367): a caption to its file.
#[must_use]
pub fn attached(to: &str) -> Element {
    xml::element("attach-to", ns::ATTACH, &[("id", to)])
}

/// A place (XEP-0080), where the URI names it in degrees.
#[must_use]
pub fn place(uri: &str, text: Option<&str>) -> Option<Element> {
    let (latitude, longitude) = super::read::degrees(uri)?;
    let mut place = Element::bare("geoloc", ns::GEOLOC);
    place.append_child(xml::text("lat", ns::GEOLOC, latitude));
    place.append_child(xml::text("lon", ns::GEOLOC, longitude));
    if let Some(text) = text {
        place.append_child(xml::text("text", ns::GEOLOC, text));
    }
    Some(place)
}

/// What a place is called, where that says more than where it is: clients of networks write the URI there as well.
#[must_use]
pub fn place_name<'a>(uri: &str, text: Option<&'a str>) -> Option<&'a str> {
    let where_ = uri.split([';', '?']).next().unwrap_or(uri);
    text.filter(|text| !text.contains(where_) && !text.trim().is_empty())
}

fn sharing(file: &File, url: &str, thumbnails: &[Element]) -> Element {
    let inline = if file.form == FileForm::Plain { "attachment" } else { "inline" };
    let mut sharing = xml::element("file-sharing", ns::SFS, &[("disposition", inline)]);
    sharing.append_child(metadata(file, ns::METADATA, thumbnails));
    let mut sources = Element::bare("sources", ns::SFS);
    sources.append_child(xml::element("url-data", ns::URL_DATA, &[("target", url)]));
    sharing.append_child(sources);
    sharing
}

fn sims(file: &File, url: &str, thumbnails: &[Element]) -> Element {
    let mut media = Element::bare("media-sharing", ns::SIMS);
    media.append_child(metadata(file, ns::JINGLE_FILE, thumbnails));
    let mut sources = Element::bare("sources", ns::SIMS);
    sources.append_child(xml::element("reference", ns::REFERENCE, &[("type", "data"), ("uri", url)]));
    media.append_child(sources);
    let mut reference = xml::element("reference", ns::REFERENCE, &[("type", "data")]);
    reference.append_child(media);
    reference
}

/// What is known of a file (XEP-0446; the older form has the same elements in another namespace).
fn metadata(file: &File, namespace: &str, thumbnails: &[Element]) -> Element {
    let mut about = Element::bare("file", namespace);
    let mut add = |name: &str, text: &str| {
        about.append_child(xml::text(name, namespace, text));
    };
    if let Some(media_type) = &file.media_type {
        add("media-type", media_type);
    }
    if !file.name.is_empty() {
        add("name", &file.name);
    }
    if let Some(size) = file.size {
        add("size", &size.to_string());
    }
    if let Some((width, height)) = file.extent {
        add("width", &width.to_string());
        add("height", &height.to_string());
    }
    if let Some(millis) = file.millis {
        add("length", &millis.to_string());
    }
    for thumbnail in thumbnails {
        about.append_child(thumbnail.clone());
    }
    about
}

/// A small picture (XEP-0264).
fn thumbnail(uri: &str, media_type: Option<&str>, extent: Option<(u32, u32)>) -> Element {
    let mut thumbnail = xml::element("thumbnail", ns::THUMBS, &[("uri", uri)]);
    if let Some(media_type) = media_type {
        xml::set(&mut thumbnail, "media-type", media_type);
    }
    if let Some((width, height)) = extent {
        xml::set(&mut thumbnail, "width", &width.to_string());
        xml::set(&mut thumbnail, "height", &height.to_string());
    }
    thumbnail
}

#[cfg(test)]
#[expect(missing_docs, reason = "a module of tests")]
pub mod tests {
    use std::time::Duration;

    use super::*;

    /// URLs of a network called `net`.
    pub fn linking() -> Linking {
        let links = Links::new("https://files.example", &[7; 32], Duration::from_secs(86_400), 100 << 20);
        Linking { network: "net".into(), links }
    }
}
