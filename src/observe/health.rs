//! Whether the gateway can do its work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The state of the parts that `/ready` and the line `ready` depend on. Cheap to clone.
///
/// A network that cannot be reached is degraded, not dead: it does not count here.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    parts: Mutex<BTreeMap<String, bool>>,
    ready: watch::Sender<bool>,
}

impl Health {
    /// Nothing of these parts works yet.
    #[must_use]
    pub fn new(parts: impl IntoIterator<Item = String>) -> Self {
        let parts = parts.into_iter().map(|part| (part, false)).collect();
        Self(Arc::new(Inner { parts: Mutex::new(parts), ready: watch::Sender::new(false) }))
    }

    /// A part works, or does not.
    pub fn set(&self, part: &str, works: bool) {
        let mut parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.insert(part.to_owned(), works);
        let ready = parts.values().all(|works| *works);
        self.0.ready.send_if_modified(|now| std::mem::replace(now, ready) != ready);
    }

    /// Whether every part works.
    #[must_use]
    pub fn ready(&self) -> bool {
        *self.0.ready.borrow()
    }

    /// Waits until every part works.
    pub async fn wait_ready(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// The parts that do not work.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().filter(|(_, works)| !**works).map(|(part, _)| part.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_means_every_part() {
        let health = Health::new(["store".to_owned(), "matrix".to_owned()]);
        assert!(!health.ready());
        health.set("store", true);
        assert_eq!(health.missing(), ["matrix"]);
        health.set("matrix", true);
        health.wait_ready().await;
        health.set("matrix", false);
        assert!(!health.ready());
    }
}
