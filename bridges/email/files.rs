//! Files out of mails: their bytes, when somebody asks for them.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::Semaphore;

use super::part::{self, Place};
use super::receive::arrival;
use crate::api::{Closed, Condition, Content, Core, EventId, Failure, ItemId, Sentence, Source};

/// How large the pieces are in which the bytes go on.
const PIECE: usize = 64 << 10;

/// Opens a file of a mail. At most as many as `opened` has permits are in memory at the same time; the others wait.
///
/// # Errors
/// `Permanent` where the mail is not kept any more, or holds no such file.
pub async fn open(opened: &Arc<Semaphore>, core: &Core, event: EventId, source: &Source) -> Result<Content, Failure> {
    let (place, mail) = Place::read(source).ok_or_else(|| gone("no place in a mail"))?;
    let permit = opened.clone().acquire_owned().await.map_err(|error| Failure::temporary(error.to_string()))?;
    // The mail is kept with the first of the messages that it became.
    let chat = core.chat_of(event).await.map_err(closed)?.ok_or_else(|| gone("the message is not known any more"))?;
    let first = core.find(&chat, &ItemId::new(mail)).await.map_err(closed)?;
    let first = first.ok_or_else(|| gone("the mail is not known any more"))?;
    let original = core.original(first).await.map_err(closed)?.ok_or_else(|| gone("the mail is not kept any more"))?;
    let read = move || part::bytes(arrival::read(&original).map_or(&original[..], |kept| kept.mail), place);
    let read = tokio::task::spawn_blocking(read).await.map_err(|error| Failure::temporary(error.to_string()))?;
    let bytes = Bytes::from(read.ok_or_else(|| gone("the mail holds no such file"))?);
    let size = u64::try_from(bytes.len()).ok();
    let pieces = futures::stream::unfold((bytes, permit), |(mut rest, permit)| async move {
        let piece = rest.split_to(rest.len().min(PIECE));
        (!piece.is_empty()).then_some((Ok(piece), (rest, permit)))
    });
    Ok(Content { media_type: None, size, body: pieces.boxed() })
}

fn gone(detail: &str) -> Failure {
    Failure::permanent(Condition::ItemNotFound, Sentence::new("core.no-file"), detail)
}

fn closed(error: Closed) -> Failure {
    Failure::temporary(error.to_string())
}
