//! What an admitted session is told in hello-ok (protocol.md §2.6).

use serde_json::{Value, json};

use crate::config::word::Word;
use crate::gateway::context::Context;
use crate::gateway::session::Session;
use crate::pairing::State;
use crate::pairing::node::request_of;
use crate::pairing::token::IssuedToken;
use crate::protocol::hello::{AdminSnapshot, HandedToken, HelloOk};
use crate::protocol::scope::{Role, Scope};

/// Last protocol version that reports the scopes of the token instead of those of the session.
const LAST_WITH_TOKEN_SCOPES: u8 = 3;

/// The payload of the response to `connect`, as JSON text.
pub fn render(
    context: &Context,
    session: &Session,
    token: Option<&IssuedToken>,
    hand_off: &[(Role, IssuedToken)],
) -> String {
    let presence = context.presence().document(context.now_ms());
    let config_path = context.settings.config_file.to_string_lossy();
    let state_dir = context.settings.state_dir.to_string_lossy();
    let admin = session
        .scopes
        .contains(&Scope::ADMIN)
        .then(|| AdminSnapshot {
            config_path: &config_path,
            state_dir: &state_dir,
            auth_mode: context.rules().auth.mode().as_str(),
        });
    // Clients of version 3 store these with the token and ask for exactly them later.
    let scopes = match token {
        Some(token) if session.protocol <= LAST_WITH_TOKEN_SCOPES => &token.scopes,
        _ => &session.scopes,
    };
    HelloOk {
        protocol: session.protocol,
        server_version: context.version,
        conn_id: session.conn.as_str(),
        presence: &presence,
        health: health(context, session),
        presence_version: context.hub.presence_version(),
        health_version: context.hub.health_version(),
        uptime_ms: context.uptime_ms(),
        admin,
        role: session.role,
        scopes,
        device_token: token.map(|token| token.token.as_str()),
        issued_at_ms: token.map(|token| token.issued_at_ms),
        hand_off: hand_off
            .iter()
            .map(|(role, token)| HandedToken {
                role: *role,
                token: token.token.as_str(),
                scopes: &token.scopes,
                issued_at_ms: token.issued_at_ms,
            })
            .collect(),
        auth_method: session.auth.as_str(),
    }
    .to_text()
}

/// `snapshot.health`, which says to a node whose commands wait which request they wait for. The rest of hello-ok is a
/// closed object at version 3.
fn health(context: &Context, session: &Session) -> Value {
    // Counting nodes for each of a thousand connects would be felt; who wants it calls `health`.
    let now = context.now_ms();
    let mut health = json!({"ok": true, "ts": now, "discovery": context.publicity.document()});
    let waits = session.node().and_then(|node| {
        let request = |state: &State| Some(request_of(state, &node, now)?.request_id.clone());
        context.store.read(request).ok()?
    });
    if let Some(request) = waits {
        health["pendingNodeRequestId"] = json!(request);
    }
    health
}
