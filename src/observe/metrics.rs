//! The metrics, all of them in one table: names are fields here and nowhere else. Labels have few values: networks that
//! are configured, two directions, kinds of loss from a fixed set.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::store::{Direction, IdentityKind};

/// A network and a direction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    network: Arc<str>,
    direction: Toward,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Toward(Direction);

impl EncodeLabelValue for Toward {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self.0 {
            Direction::ToNetwork => "to_network",
            Direction::ToXmpp => "to_xmpp",
        }
        .encode(encoder)
    }
}

/// A network and a kind of loss.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LossOf {
    network: Arc<str>,
    kind: &'static str,
}

/// A network and a kind of identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindOf {
    network: Arc<str>,
    kind: &'static str,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    network: Arc<str>,
}

/// What became of a request for a file, or of a fetch of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaOutcome {
    /// It was on our disk.
    Hit,
    /// It was fetched from its network.
    Fetched,
    /// It was to be fetched from its network, and could not.
    Failed,
    /// The URL is none of ours, or over.
    Unknown,
    /// It was fetched from the web for a network.
    Taken,
    /// It was to be fetched from the web for a network, and was refused or could not.
    Refused,
}

impl EncodeLabelValue for MediaOutcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Hit => "hit",
            Self::Fetched => "fetched",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Taken => "taken",
            Self::Refused => "refused",
        }
        .encode(encoder)
    }
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MediaOf {
    outcome: MediaOutcome,
}

/// The metrics of the process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Table>);

struct Table {
    registry: Registry,
    accepted: Family<Way, Counter>,
    delivered: Family<Way, Counter>,
    retries: Family<Way, Counter>,
    dead: Family<Way, Counter>,
    duplicates: Family<Way, Counter>,
    losses: Family<LossOf, Counter>,
    latency: Family<Way, Histogram, fn() -> Histogram>,
    queue_depth: Family<Way, Gauge>,
    queue_age: Family<Way, Gauge<f64, std::sync::atomic::AtomicU64>>,
    identities: Family<KindOf, Gauge>,
    link_up: Family<Of, Gauge>,
    reconnects: Family<Of, Gauge>,
    rejected: Family<Of, Gauge>,
    media: Family<MediaOf, Counter>,
    media_bytes: Gauge,
}

/// Seconds from the commit to the acceptance by the other side.
fn latency_buckets() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3600.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("portway");
        let accepted = Family::<Way, Counter>::default();
        let delivered = Family::<Way, Counter>::default();
        let retries = Family::<Way, Counter>::default();
        let dead = Family::<Way, Counter>::default();
        let duplicates = Family::<Way, Counter>::default();
        let losses = Family::<LossOf, Counter>::default();
        let latency = Family::<Way, Histogram, fn() -> Histogram>::new_with_constructor(latency_buckets);
        let queue_depth = Family::<Way, Gauge>::default();
        let queue_age = Family::<Way, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
        let identities = Family::<KindOf, Gauge>::default();
        let link_up = Family::<Of, Gauge>::default();
        let reconnects = Family::<Of, Gauge>::default();
        let rejected = Family::<Of, Gauge>::default();
        let media = Family::<MediaOf, Counter>::default();
        let media_bytes = Gauge::default();
        registry.register("events_accepted", "Events committed to the queue", accepted.clone());
        registry.register("events_delivered", "Events that the other side has accepted", delivered.clone());
        registry.register("delivery_retries", "Deliveries that failed for now", retries.clone());
        registry.register("events_dead", "Events that could not be delivered at all", dead.clone());
        registry.register("events_duplicate", "Events that had been accepted before", duplicates.clone());
        registry.register("losses", "What could not be carried and was replaced by words, by kind", losses.clone());
        registry.register("delivery_seconds", "From the commit to the acceptance by the other side", latency.clone());
        registry.register("queue_depth", "Events that wait", queue_depth.clone());
        registry.register("queue_age_seconds", "Age of the oldest event that waits", queue_age.clone());
        registry.register("identities", "People, rooms and users that are known, by kind", identities.clone());
        registry.register("link_up", "Whether the component is authenticated", link_up.clone());
        registry.register("link_reconnects", "Connections to the XMPP server after the first", reconnects.clone());
        registry.register("stanzas_rejected", "Stanzas over a limit or unusable", rejected.clone());
        registry.register("media", "Files that were asked for, by what became of them", media.clone());
        registry.register("media_cache_bytes", "Bytes of files that are kept on disk", media_bytes.clone());
        Self(Arc::new(Table {
            registry,
            accepted,
            delivered,
            retries,
            dead,
            duplicates,
            losses,
            latency,
            queue_depth,
            queue_age,
            identities,
            link_up,
            reconnects,
            rejected,
            media,
            media_bytes,
        }))
    }
}

impl Metrics {
    /// An event was committed, or had been before.
    pub fn accepted(&self, network: &Arc<str>, direction: Direction, duplicate: bool) {
        let family = if duplicate { &self.0.duplicates } else { &self.0.accepted };
        family.get_or_create(&way(network, direction)).inc();
    }

    /// The other side has accepted an event, `after` it was committed.
    pub fn delivered(&self, network: &Arc<str>, direction: Direction, after: Duration) {
        let way = way(network, direction);
        self.0.delivered.get_or_create(&way).inc();
        self.0.latency.get_or_create(&way).observe(after.as_secs_f64());
    }

    /// A delivery failed for now.
    pub fn retried(&self, network: &Arc<str>, direction: Direction) {
        self.0.retries.get_or_create(&way(network, direction)).inc();
    }

    /// An event became a dead letter.
    pub fn dead(&self, network: &Arc<str>, direction: Direction) {
        self.0.dead.get_or_create(&way(network, direction)).inc();
    }

    /// Something could not be carried.
    pub fn lost(&self, network: &Arc<str>, kind: &'static str) {
        self.0.losses.get_or_create(&LossOf { network: network.clone(), kind }).inc();
    }

    /// How much waits, and how old the oldest of it is.
    pub fn queue(&self, network: &Arc<str>, direction: Direction, depth: u64, age: Duration) {
        let way = way(network, direction);
        self.0.queue_depth.get_or_create(&way).set(i64::try_from(depth).unwrap_or(i64::MAX));
        self.0.queue_age.get_or_create(&way).set(age.as_secs_f64());
    }

    /// How many people, rooms and users of a network are known.
    pub fn identities(&self, network: &Arc<str>, kind: IdentityKind, count: u64) {
        let kind = match kind {
            IdentityKind::Person => "person",
            IdentityKind::Room => "room",
            IdentityKind::User => "user",
        };
        let of = KindOf { network: network.clone(), kind };
        self.0.identities.get_or_create(&of).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The state of a component's link.
    pub fn link(&self, network: &Arc<str>, up: bool, reconnects: u64, rejected: u64) {
        let of = Of { network: network.clone() };
        self.0.link_up.get_or_create(&of).set(i64::from(up));
        self.0.reconnects.get_or_create(&of).set(i64::try_from(reconnects).unwrap_or(i64::MAX));
        self.0.rejected.get_or_create(&of).set(i64::try_from(rejected).unwrap_or(i64::MAX));
    }

    /// What became of a request for a file, or of a fetch of one.
    pub fn media(&self, outcome: MediaOutcome) {
        self.0.media.get_or_create(&MediaOf { outcome }).inc();
    }

    /// How many bytes of files are kept.
    pub fn media_bytes(&self, bytes: u64) {
        self.0.media_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        if prometheus_client::encoding::text::encode(&mut text, &self.0.registry).is_err() {
            tracing::error!("the metrics cannot be written");
        }
        text
    }
}

fn way(network: &Arc<str>, direction: Direction) -> Way {
    Way { network: network.clone(), direction: Toward(direction) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rendered_by_network_and_direction() {
        let metrics = Metrics::default();
        let network: Arc<str> = "loopback".into();
        metrics.accepted(&network, Direction::ToXmpp, false);
        metrics.delivered(&network, Direction::ToXmpp, Duration::from_millis(3));
        metrics.lost(&network, "charset");
        let text = metrics.render();
        for line in [
            r#"portway_events_accepted_total{network="loopback",direction="to_xmpp"} 1"#,
            r#"portway_losses_total{network="loopback",kind="charset"} 1"#,
            r#"portway_delivery_seconds_bucket{le="0.005",network="loopback",direction="to_xmpp"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }
}
