//! The benchmarks: the whole pipeline with the durable queue on, against a scripted component server and the loopback
//! network (or a stub homeserver), so that other people's servers are not what is measured. Run by `cargo xtask bench`.
//!
//! Absolute numbers depend on the machine; the ratios in the last column are what to compare.

mod gateway;
mod matrix;
mod media;
mod proc;
mod store;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Duration;

/// How much to do: small by default so that a run takes minutes.
#[derive(Clone, Copy)]
pub struct Scale {
    /// Messages each way for throughput.
    pub messages: usize,
    /// Chats they are spread over.
    pub chats: usize,
    /// Seconds of soak.
    pub soak: u64,
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let scale = Scale {
        messages: number("BENCH_MESSAGES", 50_000),
        chats: number("BENCH_CHATS", 1_000),
        soak: number("BENCH_SOAK_SECONDS", 30) as u64,
    };
    let mib = number("BENCH_MEDIA_MIB", 256) as u64;
    if std::env::var_os("BENCH_ONLY_MEDIA").is_some() {
        return media::through(mib).await;
    }
    println!("Portway benchmarks: {} messages each way over {} chats", scale.messages, scale.chats);
    let store = store::commits_per_second(scale).await;
    println!("store only, commits of such rows          {store:>9.0} /s");
    throughput(scale, store).await;
    matrix(scale, store).await;
    latency().await;
    login(500).await;
    memory(scale).await;
    media::through(mib).await;
}

async fn throughput(scale: Scale, store: f64) {
    let mut gateway = gateway::Gateway::loopback().await;
    for chats in [scale.chats, 1] {
        let out = gateway.send_to_network(scale.messages, chats).await;
        report(&format!("XMPP to loopback, {chats} chats"), &out, store);
        let back = gateway.send_to_xmpp(scale.messages, chats).await;
        report(&format!("loopback to XMPP, {chats} chats"), &back, store);
    }
    gateway.stop().await;
}

async fn matrix(scale: Scale, store: f64) {
    let mut gateway = matrix::Gateway::with_chats(scale.chats.min(100)).await;
    let out = gateway.send_to_matrix(scale.messages / 2, scale.chats.min(100)).await;
    report("XMPP to Matrix (stub homeserver)", &out, store);
    let back = gateway.send_to_xmpp(scale.messages / 2).await;
    report("Matrix (stub homeserver) to XMPP", &back, store);
    gateway.stop().await;
}

/// What one direction did.
pub struct Rate {
    /// Messages.
    pub count: usize,
    /// From the first byte in to the last message out.
    pub wall: Duration,
    /// Of the gateway's process alone.
    pub cpu: Duration,
    /// Whether each chat's messages came in the order in which they were sent.
    pub in_order: bool,
}

fn report(what: &str, rate: &Rate, store: f64) {
    let per_second = rate.count as f64 / rate.wall.as_secs_f64();
    println!(
        "{what:<41} {per_second:>9.0} /s   {:>6.1} µs CPU each   {:>4.0} % of the store{}",
        rate.cpu.as_secs_f64() * 1e6 / rate.count as f64,
        per_second / store * 100.0,
        if rate.in_order { "" } else { "   OUT OF ORDER" },
    );
}

async fn latency() {
    let mut gateway = gateway::Gateway::loopback().await;
    let mut out = gateway.latency_to_network(500, Duration::from_millis(10)).await;
    let mut back = gateway.latency_to_xmpp(500, Duration::from_millis(10)).await;
    for (what, samples) in
        [("added latency to the network at 100/s", &mut out), ("added latency to XMPP at 100/s", &mut back)]
    {
        samples.sort();
        let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!("{what:<41} {:>9.2} ms median   {:.2} ms at 99 %", at(0.5), at(0.99));
    }
    gateway.stop().await;
}

/// A user with so many contacts logs in: how long until their device has seen them all, and what it was sent.
async fn login(contacts: usize) {
    let mut gateway = gateway::Gateway::loopback().await;
    gateway.add_contacts(contacts).await;
    let (wall, sent) = gateway.log_in(contacts).await;
    println!("login with {contacts} contacts                   {:>9.1} ms   {sent} stanzas", wall.as_secs_f64() * 1e3);
    gateway.stop().await;
}

async fn memory(scale: Scale) {
    let mut gateway = gateway::Gateway::loopback().await;
    println!("memory, idle                              {:>9.1} MiB", gateway.rss_mib());
    gateway.send_to_network(20_000, 10_000).await;
    gateway.send_to_xmpp(20_000, 1_000).await;
    println!("memory, 10,000 identities, 1,000 chats    {:>9.1} MiB", gateway.rss_mib());
    // The first minute, or tenth, fills what is bounded: caches, the database's pages, the allocator's own stock.
    soak(&mut gateway, scale.soak / 10).await;
    let mut samples = vec![gateway.rss_mib()];
    let mut rounds = 0;
    for _ in 0..9 {
        rounds += soak(&mut gateway, scale.soak / 10).await;
        samples.push(gateway.rss_mib());
    }
    let (first, last) = (samples[0], samples[9]);
    let samples: Vec<String> = samples.iter().map(|mib| format!("{mib:.1}")).collect();
    println!(
        "memory after a soak of {:>4} s             {last:>9.1} MiB   {:+.1} MiB over {rounds} rounds of 10,000: {}",
        scale.soak,
        last - first,
        samples.join(" ")
    );
    gateway.stop().await;
}

/// Rounds of 5,000 messages each way for so many seconds; says how many.
async fn soak(gateway: &mut gateway::Gateway, seconds: u64) -> usize {
    let until = std::time::Instant::now() + Duration::from_secs(seconds);
    let mut rounds = 0;
    while std::time::Instant::now() < until {
        gateway.send_to_network(5_000, 1_000).await;
        gateway.send_to_xmpp(5_000, 1_000).await;
        rounds += 1;
    }
    rounds
}
