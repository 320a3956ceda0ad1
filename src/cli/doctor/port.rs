//! Who holds the gateway's port, and whether it is the gateway of this state directory.

use crate::cli::doctor::check::Check;
use crate::cli::doctor::scene::Scene;
use crate::gateway::port_owner::{Owner, elsewhere, is_busy, owners};

const ID: &str = "port.owner";

/// `port.owner`.
pub fn checks(scene: &Scene) -> Vec<Check> {
    let Ok(loaded) = &scene.loaded else {
        return vec![Check::skipped(ID, "the configuration names no port")];
    };
    if !scene.has_gateway() {
        return vec![Check::skipped(
            ID,
            "no gateway of this configuration belongs on this machine",
        )];
    }
    let port = loaded.config.gateway.port;
    let holder = scene.holder;
    let busy = is_busy(port);
    let away = holder.and_then(|pid| elsewhere(pid, busy.then_some(port)));
    // systemd's own socket, before the gateway takes it over.
    if let Some(socket) = scene.gateway_socket().filter(|_| holder.is_none() && busy) {
        if socket.listening && socket.has_port(port) {
            let what = format!("{} holds port {port} for the gateway", socket.unit);
            return vec![Check::ok(ID, what)];
        }
    }
    let restart = scene.restart_gateway();
    vec![judge(port, busy, holder, &owners(port), away, restart)]
}

/// `holder`: the process that holds the state directory; `away`: it listens elsewhere, in a sentence; `restart`: the
/// command for that.
fn judge(
    port: u16,
    busy: bool,
    holder: Option<u32>,
    owners: &[Owner],
    away: Option<String>,
    restart: String,
) -> Check {
    let is_holder =
        |owner: &Owner| holder.is_some_and(|pid| i64::from(owner.pid) == i64::from(pid));
    let stranger = owners.iter().find(|owner| !is_holder(owner));
    match (holder, busy) {
        (Some(pid), true) if owners.iter().any(is_holder) => Check::ok(
            ID,
            format!("the gateway of this state directory (pid {pid}) holds port {port}"),
        ),
        (Some(pid), true) if stranger.is_none() => Check::ok(
            ID,
            format!("port {port} answers, and process {pid} holds the state directory"),
        ),
        (Some(_), _) if away.is_some() => {
            Check::fail(ID, away.unwrap_or_default().trim_end_matches('.'), restart)
        }
        (None, false) => Check::ok(ID, format!("port {port} is free; no gateway runs")),
        (Some(pid), _) => {
            let what = match stranger {
                Some(owner) => format!(
                    "port {port} is held by {owner}, not by process {pid} that holds the state directory"
                ),
                None => format!(
                    "process {pid} holds the state directory and does not listen on port {port}"
                ),
            };
            Check::fail(ID, what, restart)
        }
        (None, true) => {
            let by = stranger.map_or(
                "a process that this user may not see".to_owned(),
                Owner::to_string,
            );
            let what = format!(
                "port {port} is held by {by}, which is not the gateway of this state directory"
            );
            Check::fail(ID, what, "openclaw config set gateway.port <another>")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::State;

    #[test]
    #[rustfmt::skip]
    fn the_port_is_judged_by_who_holds_it() {
        let owner = |pid| Owner { address: "127.0.0.1:1".parse().unwrap(), pid, program: "nginx".to_owned(), user: "root".to_owned() };
        let (own, other) = ([owner(5)], [owner(6)]);
        let away = || Some("Process 5 listens on port 2.".to_owned());
        for (busy, holder, owners, away, state, word) in [
            (true, Some(5), &own[..], None, State::Ok, "holds port 1"),
            (true, Some(5), &[], None, State::Ok, "answers"),
            (false, None, &[], None, State::Ok, "free"),
            (true, Some(5), &other, None, State::Fail, "nginx"),
            (false, Some(5), &[], away(), State::Fail, "port 2"),
            (true, Some(5), &other, away(), State::Fail, "port 2"),
            (false, Some(5), &[], None, State::Fail, "does not listen"),
            (true, None, &other, None, State::Fail, "pid 6 root: nginx"),
            (true, None, &[], None, State::Fail, "may not see"),
        ] {
            let check = judge(1, busy, holder, owners, away, String::new());
            assert_eq!(check.state, state, "{check:?}");
            assert!(check.what.contains(word), "{check:?}");
        }
    }
}
