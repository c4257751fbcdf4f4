//! A gateway that runs is asked, and not disturbed.

use crate::rig::Rig;
use crate::support::binary::port_of;
use crate::support::gateway::Gateway;

#[tokio::test]
async fn d15_a_running_gateway_is_asked_and_keeps_its_connection() {
    let mut gateway = Gateway::open().await;
    let mut rig = Rig::new().await;
    rig.http = format!("127.0.0.1:{}", port_of(&gateway.printed, "http"));
    let (code, found) = rig.doctor().await;
    let level = |check: &str| found.iter().find(|finding| finding.check == check).map(|finding| finding.level.as_str());
    assert_eq!(
        (level("http"), level("ready"), level("loopback.handshake")),
        (Some("ok"), Some("ok"), Some("ok")),
        "{found:#?}"
    );
    // What only a connection shows is said not to have been looked at.
    assert_eq!((level("loopback.server"), level("loopback.privileges"), code), (Some("warn"), None, 0), "{found:#?}");
    // The gateway has noticed nothing.
    assert!(gateway.rest().await.is_empty());
}
