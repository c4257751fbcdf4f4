//! Files on their way into a mail: fetched where they fit, else named with their link.

use std::io;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;

use super::adapter::State;
use super::part;
use super::to_mail::Attachment;
use crate::api::{Condition, Core, Failure, File, Kind, Outbound, Sentence, Style, Text};

/// What a mail needs beside its files, in bytes: its header and its text.
const REST: usize = 128 << 10;

/// How many files travel in one mail; the others go as links.
const MOST: usize = 50;

/// Lines with their files taken out, and the files.
pub struct Luggage {
    /// The same lines in the same order: of a file only what is said of it is left.
    pub lines: Vec<Outbound>,
    /// The files.
    pub files: Vec<Attachment>,
}

/// Fetches the files of a batch, in order, as long as they fit into one mail together. Nothing is lost: what does not fit
/// or cannot be fetched goes as a link.
///
/// # Errors
/// Where a link would say too little, because the file is encrypted and its key stands in the link.
pub async fn pack(state: &State, core: &Core, out: &[Outbound]) -> Result<Luggage, Failure> {
    let mut luggage = Luggage { lines: Vec::with_capacity(out.len()), files: Vec::new() };
    let mut room = None;
    for outbound in out {
        let Kind::File(file) = &outbound.kind else {
            luggage.lines.push(outbound.clone());
            continue;
        };
        let left = match room {
            Some(left) => left,
            None => most(state).await?,
        };
        let fetched = if luggage.files.len() < MOST { fetch(core, file, left).await? } else { None };
        room = Some(left - fetched.as_ref().map_or(0, |file| file.bytes.len()));
        let text = said(core, file, fetched.is_some());
        luggage.files.extend(fetched);
        luggage.lines.push(Outbound { kind: Kind::Text(text), ..outbound.clone() });
    }
    Ok(luggage)
}

/// How many bytes of files go into one mail.
async fn most(state: &State) -> Result<usize, Failure> {
    let ours = state.config.attach_max;
    // 57 bytes become a line of 76 characters and its end.
    let theirs = state.sender.size().await?.map(|size| size.saturating_sub(REST) / 78 * 57);
    Ok(theirs.map_or(ours, |theirs| ours.min(theirs)))
}

/// The file, if it can be had and is not over `most` bytes.
async fn fetch(core: &Core, file: &File, most: usize) -> Result<Option<Attachment>, Failure> {
    let Some(url) = &file.url else { return Ok(None) };
    // Its link would give the key to everybody on the way, and most people could do nothing with it.
    let link_will_do = url.starts_with("https:") || url.starts_with("http:");
    let over = |size: Option<u64>| size.is_some_and(|size| size > u64::try_from(most).unwrap_or(u64::MAX));
    let too_big = || {
        let sentence = Sentence::new("email.too-big-encrypted").with("name", file.name.clone());
        Failure::permanent(Condition::NotAcceptable, sentence, "an encrypted file over the limit")
    };
    if over(file.size) && link_will_do {
        return Ok(None);
    }
    let content = match core.fetch(url).await {
        Ok(content) => content,
        Err(_) if link_will_do => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let media_type = content.media_type.clone().or_else(|| file.media_type.clone());
    let fetched = if over(content.size) {
        None
    } else {
        match limited(content.body, most).await {
            Ok(bytes) => bytes,
            Err(_) if link_will_do => None,
            Err(error) => return Err(Failure::temporary(format!("a file broke off: {error}"))),
        }
    };
    match fetched {
        Some(bytes) => Ok(Some(Attachment { name: name(&file.name), media_type, bytes })),
        None if link_will_do => Ok(None),
        None => Err(too_big()),
    }
}

/// The bytes, or `None` where there are more than `most`, whatever was said of their size.
async fn limited(body: BoxStream<'static, io::Result<Bytes>>, most: usize) -> io::Result<Option<Vec<u8>>> {
    body.map_err(Some)
        .try_fold(Vec::new(), |mut bytes: Vec<u8>, piece| async move {
            if bytes.len() + piece.len() > most {
                return Err(None);
            }
            bytes.extend_from_slice(&piece);
            Ok(bytes)
        })
        .await
        .map_or_else(|over| over.map_or(Ok(None), Err), |bytes| Ok(Some(bytes)))
}

/// A name for a file that the mail program writes to disk.
fn name(name: &str) -> String {
    let name = part::harmless(name);
    if name.is_empty() { "file".to_owned() } else { name }
}

/// What the text of the mail says of a file: its caption, and its link where it does not travel with it.
fn said(core: &Core, file: &File, attached: bool) -> Text {
    let mut lines = Vec::new();
    if !attached {
        let about = file.about();
        let key = if about.is_empty() { "core.file" } else { "core.file-about" };
        let sentence = Sentence::new(key).with("name", name(&file.name)).with("about", about);
        lines.push(core.text(&sentence, None));
        lines.extend(file.url.clone());
    }
    let caption = file.caption.clone().unwrap_or_default();
    let related = Text { reply: file.reply.clone(), thread: file.thread.clone(), ..caption };
    if attached {
        return related;
    }
    if !related.body.is_empty() {
        lines.push(related.body.clone());
    }
    Text { body: lines.join("\n"), rich: None, style: Style::Normal, ..related }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[test]
    fn bytes_are_counted_and_no_more_is_read_than_fits() {
        let pieces = |count: usize| {
            let read = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let counted = read.clone();
            let piece = move |_| {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(Bytes::from_static(&[7; 10]))
            };
            (futures::stream::iter(0..count).map(piece).boxed(), read)
        };
        let taken = |body, most| limited(body, most).now_or_never().unwrap().unwrap().map(|bytes: Vec<u8>| bytes.len());
        assert_eq!(taken(pieces(3).0, 30), Some(30));
        let (endless, read) = pieces(usize::MAX);
        assert_eq!(taken(endless, 35), None);
        assert_eq!(read.load(std::sync::atomic::Ordering::Relaxed), 4);
        let broken = futures::stream::iter([Err(io::Error::other("it broke off"))]).boxed();
        assert!(limited(broken, 5).now_or_never().unwrap().is_err());
    }
}
