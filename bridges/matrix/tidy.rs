//! Forgetting: what is kept of reactions, threads and calls goes when it is as old as what the core forgets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::api::{Closed, Core, Stop, Timestamp};

/// How long messages can be spoken of: as long as the core knows their ids.
const KEEP: Duration = Duration::from_secs(180 * 86_400);

/// How often to look.
const EVERY: Duration = Duration::from_secs(86_400);

/// How many entries are read at once.
const PAGE: usize = 500;

/// What is kept of each kind: all of it has its time in a field of the same name.
const PREFIXES: [&str; 6] = ["called/", "gone/", "reaction/", "reactions/", "thread-name/", "thread/"];

/// The time of an entry; some are nothing else.
#[derive(Debug, Serialize, Deserialize)]
pub struct Aged {
    /// Milliseconds since 1970.
    pub at: i64,
}

/// Tidies once a day until the stop signal.
pub async fn run(core: Core, stop: Stop) {
    loop {
        if let Err(error) = once(&core).await {
            tracing::warn!(%error, "old entries of reactions and threads cannot be removed now");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Removes what is too old.
async fn once(core: &Core) -> Result<(), Closed> {
    let now = core.now();
    for prefix in PREFIXES {
        let mut after: Option<String> = None;
        loop {
            let page = core.scan(prefix, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, value) in page {
                // What cannot be read is of no use either.
                let at = serde_json::from_slice::<Aged>(&value).ok();
                if at.is_none_or(|aged| now.since(Timestamp(aged.at)) > KEEP) {
                    core.put(&key, None).await?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CorePort;
    use crate::api::testkit::MemoryCore;

    #[tokio::test]
    async fn what_is_old_goes_and_the_rest_stays() {
        let memory = MemoryCore::new(&["h"]);
        let aged = |days: i64| format!(r#"{{"at":{},"root":"$r"}}"#, memory.now().0 - days * 86_400_000).into_bytes();
        for (key, value) in [
            ("thread/!r/old", aged(181)),
            ("thread/!r/new", aged(179)),
            ("reaction/$old", aged(400)),
            ("gone/$odd", b"x".to_vec()),
            ("dm/u/p", aged(400)),
        ] {
            memory.put(key, Some(value)).await.unwrap();
        }
        once(&memory.core()).await.unwrap();
        let left = memory.scan("", None, 100).await.unwrap();
        let keys: Vec<&str> = left.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["dm/u/p", "thread/!r/new"]);
    }
}
