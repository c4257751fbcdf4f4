//! What the stub answers.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Value, json};

use super::{Asked, Fault, Membership, Sent, Shared, World, remember};
use crate::matrix::http;

pub type Stub = State<Arc<Shared>>;
/// A refusal in a `Result`: boxed, because a response is large.
type Refusal = Box<Response>;
type Answer = Result<Value, Refusal>;

/// The user that the application service speaks as; the bot where it names none.
#[derive(Clone)]
pub struct As(pub String);

pub fn router(shared: Arc<Shared>) -> Router {
    let v3 = Router::new()
        .route("/account/whoami", get(whoami))
        .route("/register", post(register))
        .route("/profile/{user}", get(profile))
        .route("/user_directory/search", post(search))
        .route("/profile/{user}/displayname", put(rename))
        .route("/profile/{user}/{field}", put(set_field).delete(remove_field))
        .route("/createRoom", post(create))
        .route("/directory/room/{alias}", get(directory))
        .route("/join/{room}", post(join))
        .route("/rooms/{room}/join", post(join))
        .route("/rooms/{room}/invite", post(invite))
        .route("/rooms/{room}/leave", post(leave))
        .route("/rooms/{room}/send/{type}/{txn}", put(send))
        .route("/rooms/{room}/redact/{event}/{txn}", put(redact))
        .route("/rooms/{room}/state/{type}", get(state))
        .route("/rooms/{room}/state/{type}/{key}", get(state_of).put(rename_in))
        .route("/rooms/{room}/joined_members", get(joined_members))
        .route("/rooms/{room}/members", get(members))
        .route("/rooms/{room}/messages", get(messages))
        .route("/rooms/{room}/event/{event}", get(event))
        .route("/rooms/{room}/receipt/{type}/{event}", post(receipt))
        .route("/rooms/{room}/typing/{user}", put(typing));
    Router::new()
        .nest("/_matrix/client/v3", v3)
        .route("/_matrix/client/unstable/uk.tcpip.msc4133/profile/{user}/{field}", put(set_field).delete(remove_field))
        .nest("/_matrix", super::media::router())
        .route("/_matrix/client/v1/appservice/{id}/ping", post(ping))
        // As Synapse does: whoever shows a token must have the right one, even here.
        .route("/_matrix/client/versions", get(versions))
        .layer(middleware::from_fn_with_state(shared.clone(), gate))
        .with_state(shared)
}

pub fn refuse(status: u16, code: &str, error: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, axum::Json(json!({ "errcode": code, "error": error }))).into_response()
}

fn faulty(fault: &Fault) -> Response {
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut body = json!({ "errcode": fault.code, "error": fault.error });
    if let Some(after) = fault.retry_after_ms {
        body["retry_after_ms"] = json!(after);
    }
    (status, axum::Json(body)).into_response()
}

fn answer(result: Answer) -> Response {
    result.map_or_else(|refusal| *refusal, |value| axum::Json(value).into_response())
}

/// Records the request, fails where that was ordered, and checks who asks: the application service with its token, as
/// one of its registered ghosts.
async fn gate(
    State(shared): Stub,
    Query(query): Query<Vec<(String, String)>>,
    mut request: Request,
    next: Next,
) -> Response {
    let user = query.into_iter().find(|(key, _)| key == "user_id").map(|(_, value)| value);
    let what = format!("{} {}", request.method(), request.uri().path());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let fault = {
        let mut world = shared.world();
        remember(&mut world.asked, Asked { what: what.clone(), query, user: user.clone() });
        world.fault(&what)
    };
    let response = match &fault {
        Some(fault) if !fault.after => faulty(fault),
        _ => match allowed(&shared, &request, user) {
            Ok(user) => {
                request.extensions_mut().insert(As(user));
                next.run(request).await
            }
            Err(refusal) => *refusal,
        },
    };
    shared.changes.send_modify(|count| *count += 1);
    fault.filter(|fault| fault.after).map_or(response, |fault| faulty(&fault))
}

fn allowed(shared: &Shared, request: &Request, user: Option<String>) -> Result<String, Refusal> {
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if token.and_then(|token| token.strip_prefix("Bearer ")) != Some(shared.options.as_token.as_str()) {
        return Err(refuse(401, "M_UNKNOWN_TOKEN", "Invalid access token passed.").into());
    }
    let user = user.unwrap_or_else(|| format!("@{}:{}", shared.options.bot, shared.options.server_name));
    if !shared.ghost(&user) {
        return Err(refuse(403, "M_FORBIDDEN", "Application service cannot masquerade as this user.").into());
    }
    if !shared.world().users.contains_key(&user) {
        return Err(refuse(403, "M_FORBIDDEN", "Application service has not registered this user").into());
    }
    Ok(user)
}

pub type Who = axum::Extension<As>;

async fn whoami(axum::Extension(As(user)): Who) -> Response {
    answer(Ok(json!({ "user_id": user })))
}

async fn register(State(shared): Stub, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = format!("@{}:{}", body["username"].as_str().unwrap_or_default(), shared.options.server_name);
    if body["type"] != "m.login.application_service" || !shared.ghost(&id) {
        return refuse(400, "M_EXCLUSIVE", "Not in the namespace.");
    }
    let mut world = shared.world();
    if world.users.contains_key(&id) {
        return refuse(400, "M_USER_IN_USE", "User ID already taken.");
    }
    world.users.insert(id.clone(), String::new());
    answer(Ok(json!({ "user_id": id })))
}

/// Whether a person exists, as far as this homeserver can tell.
fn reach(shared: &Shared, world: &World, user: &str) -> Result<String, Refusal> {
    let server = user.split_once(':').map_or("", |(_, server)| server);
    if world.dead_servers.contains(server) && server != shared.options.server_name {
        return Err(refuse(502, "M_UNKNOWN", "Failed to fetch profile").into());
    }
    world.users.get(user).cloned().ok_or_else(|| refuse(404, "M_NOT_FOUND", "Profile was not found").into())
}

async fn profile(State(shared): Stub, Path(user): Path<String>) -> Response {
    let world = shared.world();
    answer(reach(&shared, &world, &user).map(|name| {
        let picture = world.pictures.get(&user);
        json!({ "displayname": name, "avatar_url": picture })
    }))
}

async fn versions(State(shared): Stub) -> Response {
    let versions = shared.world().versions.clone();
    axum::Json(versions.unwrap_or_else(|| json!({ "versions": ["v1.11"] }))).into_response()
}

/// Sets a field of one's own profile; the body names it again.
async fn set_field(
    State(shared): Stub,
    Path((user, field)): Path<(String, String)>,
    axum::Extension(As(asker)): Who,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    if user != asker || !world.users.contains_key(&user) {
        return refuse(403, "M_FORBIDDEN", "Cannot set another user's profile");
    }
    let Some(value) = body.get(&field) else {
        return refuse(400, "M_MISSING_PARAM", "Missing key");
    };
    world.fields.insert((user, field), value.clone());
    answer(Ok(json!({})))
}

async fn remove_field(
    State(shared): Stub,
    Path((user, field)): Path<(String, String)>,
    axum::Extension(As(asker)): Who,
) -> Response {
    if user != asker {
        return refuse(403, "M_FORBIDDEN", "Cannot set another user's profile");
    }
    shared.world().fields.remove(&(user, field));
    answer(Ok(json!({})))
}

/// Users whose id or name holds the term, whatever its case.
async fn search(State(shared): Stub, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let term = body["search_term"].as_str().unwrap_or_default().to_lowercase();
    let limit = body["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10);
    let world = shared.world();
    let found = world.users.iter().filter(|(id, name)| format!("{id} {name}").to_lowercase().contains(&term));
    let results: Vec<Value> =
        found.take(limit).map(|(id, name)| json!({ "user_id": id, "display_name": name })).collect();
    answer(Ok(json!({ "limited": false, "results": results })))
}

async fn rename(
    State(shared): Stub,
    Path(user): Path<String>,
    axum::Extension(As(asker)): Who,
    body: Bytes,
) -> Response {
    if user != asker {
        return refuse(400, "M_UNKNOWN", "Cannot set another user's displayname");
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    world.rooms.renamed(&user);
    world.users.insert(user, body["displayname"].as_str().unwrap_or_default().to_owned());
    answer(Ok(json!({})))
}

async fn create(State(shared): Stub, axum::Extension(As(user)): Who, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    let alias = body["room_alias_name"].as_str().map(|name| format!("#{name}:{}", shared.options.server_name));
    if alias.as_ref().is_some_and(|alias| world.rooms.of_alias(alias).is_some()) {
        return refuse(400, "M_ROOM_IN_USE", "Room alias already taken");
    }
    let id = world.fresh('!');
    world.rooms.make(&id, alias, body["preset"] == "public_chat");
    world.rooms.set_member(&id, &user, Membership::Join);
    // The room is there already when an invitation fails.
    for whom in body["invite"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if let Some(fault) = world.fault("POST /_matrix/client/v3/createRoom/invite") {
            return faulty(&fault);
        }
        if let Err(refusal) = reach(&shared, &world, whom) {
            return *refusal;
        }
        world.rooms.set_member(&id, whom, Membership::Invite);
    }
    answer(Ok(json!({ "room_id": id })))
}

async fn directory(State(shared): Stub, Path(alias): Path<String>) -> Response {
    let found = shared.world().rooms.of_alias(&alias);
    answer(match found {
        Some(id) => Ok(json!({ "room_id": id, "servers": [shared.options.server_name] })),
        None => Err(refuse(404, "M_NOT_FOUND", &format!("Room alias {alias} not found")).into()),
    })
}

async fn join(State(shared): Stub, Path(room): Path<String>, axum::Extension(As(user)): Who) -> Response {
    let mut world = shared.world();
    let server = room.split_once(':').map_or("", |(_, server)| server);
    if world.dead_servers.contains(server) {
        return refuse(502, "M_UNKNOWN", "Failed to make_join via any server");
    }
    let id = if room.starts_with('#') { world.rooms.of_alias(&room) } else { Some(room.clone()) };
    let Some(id) = id.filter(|id| world.rooms.exists(id)) else {
        return refuse(404, "M_NOT_FOUND", &format!("Room alias {room} not found"));
    };
    if !world.rooms.open_to(&id, &user) {
        return refuse(403, "M_FORBIDDEN", "You are not invited to this room.");
    }
    world.rooms.set_member(&id, &user, Membership::Join);
    answer(Ok(json!({ "room_id": id })))
}

/// That the asker is in the room.
fn inside(world: &World, room: &str, user: &str) -> Result<(), Refusal> {
    if world.rooms.member(room, user) == Some(Membership::Join) {
        return Ok(());
    }
    Err(refuse(403, "M_FORBIDDEN", &format!("User {user} not in room {room}")).into())
}

async fn invite(
    State(shared): Stub,
    Path(room): Path<String>,
    axum::Extension(As(user)): Who,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let whom = body["user_id"].as_str().unwrap_or_default();
    let mut world = shared.world();
    if let Err(refusal) = inside(&world, &room, &user).and_then(|()| reach(&shared, &world, whom).map(|_| ())) {
        return *refusal;
    }
    if matches!(world.rooms.member(&room, whom), Some(Membership::Join | Membership::Ban)) {
        return refuse(403, "M_FORBIDDEN", &format!("{whom} is already in the room or banned."));
    }
    world.rooms.set_member(&room, whom, Membership::Invite);
    answer(Ok(json!({})))
}

async fn leave(State(shared): Stub, Path(room): Path<String>, axum::Extension(As(user)): Who) -> Response {
    let mut world = shared.world();
    match world.rooms.member(&room, &user) {
        Some(Membership::Join | Membership::Invite) => {
            world.rooms.set_member(&room, &user, Membership::Leave);
            answer(Ok(json!({})))
        }
        _ => refuse(403, "M_FORBIDDEN", "not in the room"),
    }
}

async fn send(
    State(shared): Stub,
    Path((room, type_, txn)): Path<(String, String, String)>,
    axum::Extension(As(user)): Who,
    body: Bytes,
) -> Response {
    if shared.options.only_count {
        let mut world = shared.world();
        world.counted += 1;
        let id = world.fresh('$');
        return answer(Ok(json!({ "event_id": id })));
    }
    // The limit of a whole event (client-server API, size limits), less a little for what the homeserver adds.
    if body.len() > 65_000 {
        return refuse(413, "M_TOO_LARGE", "event too large");
    }
    let Ok(content) = serde_json::from_slice(&body) else {
        return refuse(400, "M_NOT_JSON", "Content not JSON.");
    };
    say(&shared, &room, &user, &type_, &txn, content)
}

async fn redact(
    State(shared): Stub,
    Path((room, event, txn)): Path<(String, String, String)>,
    axum::Extension(As(user)): Who,
) -> Response {
    say(&shared, &room, &user, "m.room.redaction", &txn, json!({ "redacts": event }))
}

fn say(shared: &Shared, room: &str, user: &str, type_: &str, txn: &str, content: Value) -> Response {
    let mut world = shared.world();
    if let Err(refusal) = inside(&world, room, user) {
        return *refusal;
    }
    let key = (user.to_owned(), txn.to_owned());
    if let Some((_, id)) = world.transactions.iter().find(|(known, _)| *known == key) {
        return answer(Ok(json!({ "event_id": id })));
    }
    let redacted = |id: &str| world.sent.iter().any(|sent| sent.content["redacts"] == id);
    let again = |sent: &Sent| sent.type_ == type_ && sent.sender == user && sent.content == content;
    if type_ == "m.reaction" && world.sent.iter().any(|sent| again(sent) && !redacted(&sent.event_id)) {
        return refuse(400, "M_DUPLICATE_ANNOTATION", "Can't send same reaction twice");
    }
    let id = world.fresh('$');
    world.counted += 1;
    remember(&mut world.transactions, (key, id.clone()));
    let event = json!({
        "event_id": id, "type": type_, "room_id": room, "sender": user,
        "origin_server_ts": 1_700_000_000_000_u64, "content": content,
    });
    world.rooms.add_history(room, event);
    let sent = Sent {
        event_id: id.clone(),
        room: room.to_owned(),
        sender: user.to_owned(),
        type_: type_.to_owned(),
        txn: txn.to_owned(),
        content,
    };
    remember(&mut world.sent, sent);
    answer(Ok(json!({ "event_id": id })))
}

async fn state(
    State(shared): Stub,
    Path((room, type_)): Path<(String, String)>,
    axum::Extension(As(user)): Who,
) -> Response {
    let world = shared.world();
    answer(inside(&world, &room, &user).and_then(|()| {
        world.rooms.state(&room, &type_).ok_or_else(|| refuse(404, "M_NOT_FOUND", "Event not found.").into())
    }))
}

async fn state_of(
    State(shared): Stub,
    Path((room, type_, key)): Path<(String, String, String)>,
    axum::Extension(As(user)): Who,
) -> Response {
    let world = shared.world();
    let found = inside(&world, &room, &user).and_then(|()| {
        let member = world.rooms.member(&room, &key).filter(|_| type_ == "m.room.member");
        member.ok_or_else(|| refuse(404, "M_NOT_FOUND", "Event not found.").into())
    });
    let name = world.rooms.name(&room, &key).or_else(|| world.users.get(&key).cloned());
    answer(found.map(|member| json!({ "membership": member.name(), "displayname": name })))
}

/// A membership of one's own with another name.
async fn rename_in(
    State(shared): Stub,
    Path((room, type_, key)): Path<(String, String, String)>,
    axum::Extension(As(user)): Who,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    if let Err(refusal) = inside(&world, &room, &user) {
        return *refusal;
    }
    if type_ != "m.room.member" || key != user || body["membership"] != "join" {
        return refuse(403, "M_FORBIDDEN", "You don't have permission to post that to the room.");
    }
    world.rooms.set_name(&room, &user, body["displayname"].as_str().unwrap_or_default());
    let event_id = world.fresh('$');
    answer(Ok(json!({ "event_id": event_id })))
}

async fn joined_members(State(shared): Stub, Path(room): Path<String>, axum::Extension(As(user)): Who) -> Response {
    let world = shared.world();
    answer(inside(&world, &room, &user).map(|()| {
        let joined = world.rooms.joined(&room);
        let name = |id: &String| world.rooms.name(&room, id).or_else(|| world.users.get(id).cloned());
        let profile = |id: &String| json!({ "display_name": name(id) });
        json!({ "joined": joined.iter().map(|id| (id.clone(), profile(id))).collect::<serde_json::Map<_, _>>() })
    }))
}

async fn members(State(shared): Stub, Path(room): Path<String>, axum::Extension(As(user)): Who) -> Response {
    let world = shared.world();
    answer(inside(&world, &room, &user).map(|()| {
        let event = |id: &String| json!({ "type": "m.room.member", "state_key": id, "content": { "membership": "join", "displayname": world.users.get(id) } });
        json!({ "chunk": world.rooms.joined(&room).iter().map(event).collect::<Vec<_>>() })
    }))
}

async fn messages(
    State(shared): Stub,
    Path(room): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    axum::Extension(As(user)): Who,
) -> Response {
    let limit = query.iter().find(|(key, _)| key == "limit").and_then(|(_, value)| value.parse().ok()).unwrap_or(10);
    let world = shared.world();
    answer(inside(&world, &room, &user).map(|()| json!({ "start": "s", "chunk": world.rooms.latest(&room, limit) })))
}

async fn event(
    State(shared): Stub,
    Path((room, event)): Path<(String, String)>,
    axum::Extension(As(user)): Who,
) -> Response {
    let world = shared.world();
    answer(inside(&world, &room, &user).and_then(|()| {
        world.rooms.event(&room, &event).ok_or_else(|| refuse(404, "M_NOT_FOUND", "Event not found.").into())
    }))
}

async fn receipt(
    State(shared): Stub,
    Path((room, _type, event)): Path<(String, String, String)>,
    axum::Extension(As(user)): Who,
) -> Response {
    let mut world = shared.world();
    if let Err(refusal) = inside(&world, &room, &user) {
        return *refusal;
    }
    remember(&mut world.receipts, (room, user, event));
    answer(Ok(json!({})))
}

async fn typing(
    State(shared): Stub,
    Path((room, whom)): Path<(String, String)>,
    axum::Extension(As(user)): Who,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut world = shared.world();
    if let Err(refusal) = inside(&world, &room, &user) {
        return *refusal;
    }
    if world.typing.len() < super::REMEMBERED {
        world.typing.push((room, whom, body["typing"] == true));
    }
    answer(Ok(json!({})))
}

/// Pings back, as Synapse does (application service API, `POST /_matrix/app/v1/ping`).
async fn ping(State(shared): Stub, Path(_id): Path<String>) -> Response {
    let Some(url) = shared.world().appservice.clone() else {
        return refuse(400, "M_URL_NOT_SET", "The application service does not have a URL set");
    };
    match http("POST", &format!("{url}/_matrix/app/v1/ping"), Some(&shared.options.hs_token), Some(&json!({}))).await {
        Ok((200, _)) => answer(Ok(json!({ "duration_ms": 1 }))),
        Ok((status, body)) => refuse(502, "M_BAD_STATUS", &format!("the service answered {status}: {body}")),
        Err(error) => refuse(502, "M_CONNECTION_FAILED", &error),
    }
}
