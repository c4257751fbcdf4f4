//! What the server shows: whether users find the component in it, and whether files can be uploaded.

use futures::future::join_all;
use minidom::Element;
use portway_bridges::api::Finding;

use super::Visit;
use crate::doctor::snippet::{self, Server};
use crate::xmpp::iq::ns;
use crate::xmpp::jid::Jid;
use crate::xmpp::xml;

const UPLOAD: &str = "urn:xmpp:http:upload:0";

/// How many services of the server are asked whether they take files.
const ASKED: usize = 50;

/// Looks at the list of the server, and at the services in it.
pub async fn look(visit: &Visit, kind: Server) -> Vec<Finding> {
    let server = visit.server.jid().jid().clone();
    let Some(list) = visit.result(&server, Element::bare("query", ns::DISCO_ITEMS)).await else {
        return vec![Finding::warn("disco-items", format!("{server} does not say which services it has"))];
    };
    let items: Vec<Jid> = list.children().filter_map(|item| Jid::parse(item.attr("jid")?).ok()).collect();
    let component = visit.component.as_str();
    let listed = match items.iter().any(|item| item.as_str() == component) {
        true => Finding::ok("disco-items", format!("{server} lists {component}")),
        false => Finding::warn(
            "disco-items",
            format!("{server} does not list {component}: users find it only by typing its address"),
        )
        .fix(snippet::items(kind, &visit.component, &visit.server)),
    };
    vec![listed, upload(visit, kind, &items).await]
}

/// Whether a service takes files, and gives us a slot.
async fn upload(visit: &Visit, kind: Server, items: &[Jid]) -> Finding {
    let candidates = items.iter().filter(|item| item.node().is_none() && item.as_str() != visit.component.as_str());
    let infos = candidates.take(ASKED).map(async |item| {
        let info = visit.result(item, Element::bare("query", ns::DISCO_INFO)).await?;
        info.children().any(|child| child.attr("var") == Some(UPLOAD)).then(|| item.clone())
    });
    let Some(service) = join_all(infos).await.into_iter().flatten().next() else {
        return Finding::warn("upload", format!("{} has no service for files (XEP-0363)", visit.server.as_str()))
            .fix(snippet::upload(kind, &visit.component, &visit.server));
    };
    let attributes = [("filename", "portway-doctor.txt"), ("size", "1"), ("content-type", "text/plain")];
    let answer = visit.ask(&service, xml::element("request", UPLOAD, &attributes)).await;
    let slot = answer.as_ref().and_then(|answer| answer.child("slot", UPLOAD));
    if slot.is_some() {
        return Finding::ok("upload", format!("{service} gives us slots for files"));
    }
    let why =
        answer.as_ref().and_then(|answer| answer.child("error", crate::xmpp::stanza::NS_CLIENT)?.children().next());
    let why = why.map_or("it does not answer", Element::name);
    Finding::warn("upload", format!("{service} gives us no slot for a file: {why}")).fix(snippet::upload(
        kind,
        &visit.component,
        &visit.server,
    ))
}
