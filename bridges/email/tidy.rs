//! Forgetting: what the adapter keeps of mails in its small storage goes when it is as old as what the core forgets.

use std::time::Duration;

use super::thread::Known;
use crate::api::{Closed, Core, Stop, Timestamp};

/// How long a mail can be answered by pointing at it: as long as the core knows its id.
const KEEP: Duration = Duration::from_secs(180 * 86_400);

/// How often to look.
const EVERY: Duration = Duration::from_secs(86_400);

/// How many entries are read at once.
const PAGE: usize = 500;

/// Tidies once a day until the stop signal.
pub async fn run(core: Core, stop: Stop) {
    loop {
        if let Err(error) = once(&core).await {
            tracing::warn!(%error, "old entries of mails cannot be removed now");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Removes what is too old.
pub async fn once(core: &Core) -> Result<(), Closed> {
    let now = core.now();
    for prefix in ["mail/", "thread/", "told/"] {
        let mut after: Option<String> = None;
        loop {
            let page = core.scan(prefix, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, value) in page {
                // What cannot be read is of no use either.
                let at = Known::read(&value).map(|known| known.at).or_else(|| time(&value));
                if at.is_none_or(|at| now.since(Timestamp(at)) > KEEP) {
                    core.put(&key, None).await?;
                }
            }
        }
    }
    Ok(())
}

/// A value that is only a time.
fn time(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CorePort;
    use crate::api::testkit::MemoryCore;

    #[tokio::test]
    async fn what_is_old_goes_and_the_rest_stays() {
        let memory = MemoryCore::new(&["h"]);
        let at = |days: i64| memory.now().0 - days * 86_400_000;
        let known = |days| Known { id: "x@y".into(), references: vec![], subject: None, at: at(days) }.bytes();
        for (key, value) in [
            ("mail/u/p/old", known(181)),
            ("mail/u/p/new", known(179)),
            ("thread/u/p/old", known(400)),
            ("told/1", at(200).to_string().into_bytes()),
            ("told/2", at(2).to_string().into_bytes()),
            ("last/u/p", known(400)),
        ] {
            memory.put(key, Some(value)).await.unwrap();
        }
        once(&memory.core()).await.unwrap();
        let left = memory.scan("", None, 100).await.unwrap();
        let keys: Vec<&str> = left.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["last/u/p", "mail/u/p/new", "told/2"]);
    }
}
