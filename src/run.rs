//! The whole gateway, from its configuration to its end.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use portway_bridges::api::{Adapter, Core, Stop};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::command::{Commander, House, order, pointers};
use crate::config::{Config, NetworkConfig};
use crate::doctor::resident::Resident;
use crate::identity::{Access, Directory, Limiter, Newcomers, Quota, Rules};
use crate::media::fetch;
use crate::media::serve;
use crate::media::{Cache, Fetcher, Links, Media};
use crate::observe::http::{self, Pages};
use crate::observe::{Health, Metrics};
use crate::route::consent;
use crate::route::port::Port;
use crate::route::{Router, RouterParts};
use crate::store::{Direction, IdentityKind, Retention, Store, StoreError};
use crate::text::Catalogue;
use crate::xmpp::about::About;
use crate::xmpp::component::{Component, Parts};
use crate::xmpp::doors::Doors;
use crate::xmpp::face::{self, Faces};
use crate::xmpp::file::Linking;
use crate::xmpp::muc::{Muc, MucConfig};
use crate::xmpp::roster::privilege::Privileges;
use crate::xmpp::stanza::Domain;
use crate::xmpp::stream::{Limits, Link, LinkConfig, Timers, Tls, TlsError};

/// How long everything may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// How often old rows are removed.
const PRUNE: Duration = Duration::from_secs(3600);

/// For how many signals it is looked at the same time whether they come from strangers; more are left out.
const LOOKING: usize = 64;

/// Why the gateway ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store cannot be used.
    #[error("the store cannot be used: {0}")]
    Store(#[from] StoreError),
    /// TLS to the XMPP server cannot be set up.
    #[error("xmpp.tls: {0}")]
    Tls(#[from] TlsError),
    /// Files cannot be kept.
    #[error("{path}: {error}; the user that runs the gateway must be able to write there")]
    Media {
        /// Where.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// Something cannot be listened on.
    #[error("cannot listen on {address}: {error}; is another gateway running, or is the port taken?")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        error: std::io::Error,
    },
    /// A network cannot go on.
    #[error("network {network}: {reason}")]
    Network {
        /// Which.
        network: String,
        /// Why.
        reason: String,
    },
}

/// Files, for each network the same.
#[derive(Clone)]
struct Files {
    links: Links,
    fetcher: Fetcher,
}

/// One network, attached.
struct Attached {
    network: Arc<str>,
    adapter: Arc<dyn Adapter>,
    link: Link,
    doctor: Arc<Resident>,
    commander: Arc<Commander>,
}

/// Runs the gateway until the stop signal. Prints one line per listener, and `ready` when every component is
/// authenticated and the store is writable.
///
/// # Errors
/// [`RunError`].
pub async fn run(config: Config, stop: Stop) -> Result<(), RunError> {
    let clock = Clock::system();
    let config = Arc::new(config);
    let tls = config.xmpp_tls_name.as_deref().map(Tls::system).transpose()?;
    let store = Store::open(&config.store_url, &config.data_dir, clock.clone()).await?;
    let metrics = Metrics::default();
    let texts = Arc::new(Catalogue::complete());
    let parts = config.networks.iter().flat_map(|network| [network.id.clone(), listeners_of(&network.id)]);
    let health = Health::new(parts.chain(["store".to_owned()]));
    store.check_writable().await?;
    health.set("store", true);

    let listener = TcpListener::bind(config.http_listen)
        .await
        .map_err(|error| RunError::Listen { address: config.http_listen.to_string(), error })?;
    if let Ok(address) = listener.local_addr() {
        println!("listening: http {address}");
    }

    let folder = config.data_dir.join("media");
    let cache = Cache::open(&folder, config.media_cache, config.media_max_size, metrics.clone(), stop.clone())
        .map_err(|error| RunError::Media { path: folder.display().to_string(), error })?;
    let links = Links::new(&config.http_public_url, &store.key("media"), config.media_expiry, config.media_max_size);
    let fetches =
        fetch::Parts::system(config.media_fetch_allow.clone(), config.media_max_size, &folder, metrics.clone());
    let files = Files { links: links.clone(), fetcher: Fetcher::new(fetches) };

    let mut tasks: JoinSet<Result<(), RunError>> = JoinSet::new();
    let mut attached = Vec::new();
    for network in &config.networks {
        attached.push(attach(
            network,
            &config,
            tls.clone(),
            &files,
            &store,
            &texts,
            &metrics,
            &health,
            &clock,
            &stop,
            &mut tasks,
        )?);
    }
    let attached = Arc::new(attached);
    let media = Media::new(serve::Parts {
        links,
        cache: cache.clone(),
        adapters: attached.iter().map(|one| (one.network.to_string(), one.adapter.clone())).collect(),
        clock: clock.clone(),
        metrics: metrics.clone(),
    });
    let pages = Pages {
        media,
        health: health.clone(),
        metrics: metrics.clone(),
        refresh: refresh(&store, &metrics, &attached, &clock),
        own: config.http_listen.ip(),
        doctor: doctor(&attached),
    };
    tasks.spawn(http::serve(listener, pages, stop.clone()).map(|_| Ok(())));
    let (commanders, folder) =
        (attached.iter().map(|network| network.commander.clone()).collect(), config.data_dir.clone());
    let stopping = stop.clone();
    tasks.spawn(async move {
        order::serve(&folder, commanders, stopping).await;
        Ok(())
    });
    tasks.spawn(look_after(store.clone(), health.clone(), stop.clone()).map(Ok));
    tasks.spawn(announce(attached, health, stop.clone()).map(Ok));

    let mut result = Ok(());
    tokio::select! {
        () = stop.cancelled() => {}
        Some(ended) = async {
            loop {
                match tasks.join_next().await {
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) => break Some(error),
                    Some(Err(panic)) => break Some(RunError::Network { network: "?".to_owned(), reason: panic.to_string() }),
                    None => break None,
                }
            }
        } => {
            error!(reason = %ended, "the gateway cannot go on");
            result = Err(ended);
        }
    }
    stop.cancel();
    let ending = async {
        while tasks.join_next().await.is_some() {}
        cache.close().await;
    };
    if tokio::time::timeout(GRACE, ending).await.is_err() {
        warn!("some tasks did not end in time");
        tasks.shutdown().await;
    }
    store.close().await;
    info!("stopped");
    result
}

/// Builds one network and everything around it, and starts it.
#[expect(clippy::too_many_arguments, reason = "this is where everything meets")]
fn attach(
    network: &NetworkConfig,
    config: &Arc<Config>,
    tls: Option<Tls>,
    files: &Files,
    store: &Store,
    texts: &Arc<Catalogue>,
    metrics: &Metrics,
    health: &Health,
    clock: &Clock,
    stop: &Stop,
    tasks: &mut JoinSet<Result<(), RunError>>,
) -> Result<Attached, RunError> {
    let failed = |reason: String| RunError::Network { network: network.id.clone(), reason };
    let definition = portway_bridges::find(&network.id).ok_or_else(|| failed("is not compiled in".to_owned()))?;
    let descriptor = definition.describe();
    let adapter = definition.configure(network.raw.clone()).map_err(|errors| failed(errors.to_string()))?;
    let adapter: Arc<dyn Adapter> = Arc::from(adapter);
    let id: Arc<str> = network.id.as_str().into();
    let server = match &config.xmpp_server {
        Some(server) => server.clone(),
        None => parent(&network.component).ok_or_else(|| {
            failed("component: it has no parent domain; set xmpp.server to the server's own domain".to_owned())
        })?,
    };
    let link_config = LinkConfig {
        domain: network.component.clone(),
        server,
        secret: network.secret.clone(),
        host: config.xmpp_host.clone(),
        port: config.xmpp_port,
        tls,
        limits: Limits::default(),
        timers: Timers::default(),
    };
    let access = Arc::new(Access::new(&config.allow, &network.component));
    let directory = Directory::new(&id, network.component.as_str(), store.clone(), adapter.clone(), clock.clone());
    let drained = Stop::new();
    let (router, rest) = Router::new(RouterParts {
        network: id.clone(),
        descriptor: descriptor.clone(),
        adapter: adapter.clone(),
        store: store.clone(),
        texts: texts.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
        stop: stop.clone(),
        drained: drained.clone(),
    });
    let (link, events, link_task) = Link::start(link_config, stop.clone());
    let linking = Linking { network: id.clone(), links: files.links.clone() };
    let muc = Muc::new(MucConfig {
        domain: network.component.clone(),
        occupant_key: store.key("occupant-id"),
        history_len: 50,
        max_presence: 300,
        max_sessions: 100_000,
        texts: texts.clone(),
        linking: linking.clone(),
    });
    let faces = Faces::new(face::Parts {
        network: id.clone(),
        domain: network.component.clone(),
        link: link.clone(),
        adapter: adapter.clone(),
        store: store.clone(),
        directory: directory.clone(),
        shown: Arc::default(),
        caps: Arc::default(),
        clock: clock.clone(),
    });
    let rules = Rules::new(id.clone(), store.clone(), adapter.clone(), clock.clone());
    let hour = Duration::from_secs(3600);
    let privileges = Arc::<Privileges>::default();
    let doctor = Arc::new(Resident {
        config: config.clone(),
        network: id.clone(),
        adapter: adapter.clone(),
        link: link.clone(),
        privileges: privileges.clone(),
        clock: clock.clone(),
        kept: tokio::sync::Mutex::default(),
    });
    let house = Arc::new(House {
        network: id.clone(),
        descriptor: descriptor.clone(),
        adapter: adapter.clone(),
        component: network.component.as_str().to_owned(),
        store: store.clone(),
        directory: directory.clone(),
        router: router.clone(),
        access: access.clone(),
        rules: rules.clone(),
        texts: texts.clone(),
        clock: clock.clone(),
        admins: config.admins.clone(),
        registration: config.registration,
        strangers: network.strangers,
        proofs: Quota::new(3, hour),
        registrations: Quota::new(10, hour),
        relinked: tokio::sync::Notify::new(),
        outside: std::sync::OnceLock::new(),
        known: std::sync::Mutex::default(),
        doctor: doctor.clone().into(),
    });
    let commander = Arc::new(Commander::new(house.clone()));
    let doors = Arc::new(Doors::new(commander.clone()));
    let component = Component::new(Parts {
        network: id.clone(),
        descriptor,
        adapter: adapter.clone(),
        domain: network.component.clone(),
        link: link.clone(),
        router: router.clone(),
        store: store.clone(),
        access: access.clone(),
        limiter: Limiter::new(config.user_rate, config.user_burst),
        iqs: Limiter::new(config.user_rate, config.user_burst),
        newcomers: Newcomers::new(config.user_people, id.clone(), store.clone(), clock.clone()),
        directory: directory.clone(),
        faces: faces.clone(),
        muc,
        doors,
        texts: texts.clone(),
        linking,
        about: Arc::new(About::new(&config.admins, &config.contact, clock.now())),
        metrics: metrics.clone(),
        health: health.clone(),
        privileges,
        clock: clock.clone(),
    });
    let side = Arc::new(component.clone());
    for task in router.attach(rest, link.clone(), side.clone()) {
        tasks.spawn(async move {
            let _ = task.await;
            Ok(())
        });
    }
    let taking = tokio::spawn(component.run(events));
    tasks.spawn(async move {
        // The link is read to its end, and every stanza taken, before the intake closes.
        let _ = tokio::join!(link_task, taking);
        drained.cancel();
        Ok(())
    });
    let core = Core::new(Arc::new(Port {
        network: id.clone(),
        store: store.clone(),
        router,
        adapter: adapter.clone(),
        side,
        access,
        rules,
        house: house.clone(),
        looking: Arc::new(tokio::sync::Semaphore::new(LOOKING)),
        directory,
        faces,
        fetcher: files.fetcher.clone(),
        texts: texts.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
    }));
    tasks.spawn(consent::look_after(house.clone(), stop.clone()).map(Ok));
    tasks.spawn(pointers::look_after(house, stop.clone()).map(Ok));
    tasks.spawn(listening(adapter.clone(), health.clone(), listeners_of(&network.id), stop.clone()).map(Ok));
    let (running, stopping, name) = (adapter.clone(), stop.clone(), network.id.clone());
    tasks.spawn(async move {
        running
            .run(core, stopping)
            .await
            .map_err(|fatal| RunError::Network { network: name, reason: fatal.to_string() })
    });
    Ok(Attached { network: id, adapter, link, doctor, commander })
}

/// What `/ready` calls the listeners of a network.
fn listeners_of(network: &str) -> String {
    format!("listeners of {network}")
}

/// Notes when a network listens: `ready` before that would be no promise, and its line would name no port.
async fn listening(adapter: Arc<dyn Adapter>, health: Health, part: String, stop: Stop) {
    while !adapter.listening() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
            () = stop.cancelled() => return,
        }
    }
    health.set(&part, true);
}

/// The domain without its first label.
fn parent(domain: &Domain) -> Option<Domain> {
    domain.as_str().split_once('.').and_then(|(_, parent)| Domain::new(parent).ok())
}

/// Prints the listeners and `ready`.
async fn announce(attached: Arc<Vec<Attached>>, health: Health, stop: Stop) {
    tokio::select! {
        () = health.wait_ready() => {}
        () = stop.cancelled() => return,
    }
    for network in attached.iter() {
        for listener in network.adapter.listeners() {
            println!("listening: {} {}", listener.what, listener.address);
        }
    }
    println!("ready");
}

/// Removes old rows, and sees whether the store is still writable.
async fn look_after(store: Store, health: Health, stop: Stop) {
    let mut last = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(10)) => {}
            () = stop.cancelled() => return,
        }
        health.set("store", store.check_writable().await.is_ok());
        if last.elapsed() >= PRUNE {
            last = tokio::time::Instant::now();
            if let Err(error) = store.prune(Retention::default()).await {
                warn!(%error, "old rows cannot be removed");
            }
        }
    }
}

/// What the gateway finds over all its connections at once, as JSON.
fn doctor(attached: &Arc<Vec<Attached>>) -> Arc<dyn Fn() -> futures::future::BoxFuture<'static, String> + Send + Sync> {
    let attached = attached.clone();
    Arc::new(move || {
        let attached = attached.clone();
        async move {
            let looks = attached.iter().map(|network| network.doctor.connection());
            crate::doctor::json(&futures::future::join_all(looks).await.concat())
        }
        .boxed()
    })
}

/// Brings the gauges up to date.
fn refresh(
    store: &Store,
    metrics: &Metrics,
    attached: &Arc<Vec<Attached>>,
    clock: &Clock,
) -> Arc<dyn Fn() -> futures::future::BoxFuture<'static, ()> + Send + Sync> {
    let (store, metrics, attached, clock) = (store.clone(), metrics.clone(), attached.clone(), clock.clone());
    Arc::new(move || {
        let (store, metrics, attached, clock) = (store.clone(), metrics.clone(), attached.clone(), clock.clone());
        async move {
            let depths = store.depth().await.unwrap_or_default();
            let identities = store.identity_counts().await.unwrap_or_default();
            for network in attached.iter() {
                for kind in [IdentityKind::Person, IdentityKind::Room, IdentityKind::User] {
                    let found = identities.iter().find(|(name, of, _)| *name == *network.network && *of == kind);
                    metrics.identities(&network.network, kind, found.map_or(0, |(_, _, count)| *count));
                }
                let stats = network.link.stats();
                metrics.link(&network.network, stats.up, stats.reconnects, stats.rejected);
                for direction in [Direction::ToNetwork, Direction::ToXmpp] {
                    let to_network = direction == Direction::ToNetwork;
                    let found =
                        depths.iter().find(|depth| depth.network == *network.network && depth.to_network == to_network);
                    let age =
                        found.and_then(|depth| depth.oldest).map_or(Duration::ZERO, |oldest| clock.now().since(oldest));
                    metrics.queue(&network.network, direction, found.map_or(0, |depth| depth.count), age);
                }
            }
        }
        .boxed()
    })
}
