//! Logins: a real `sshd` on loopback with keys, configuration and port of its own, and a stand-in for `ssh`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::process::{Running, free_port};

/// Where systems have it.
pub const SSHD: &str = "/usr/sbin/sshd";

fn key(path: &Path) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status();
    assert!(made.unwrap().success());
    std::fs::read_to_string(path.with_extension("pub")).unwrap()
}

/// The user whose login it is: the one who runs these tests, and the gateway.
pub fn user() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

/// An `sshd` that knows one key, and an `ssh` first in the PATH that has this key and knows its host key.
pub fn ssh_server(place: &Path) -> (Running, u16) {
    std::fs::create_dir_all(place.join("bin")).unwrap();
    if rustix::process::geteuid().is_root() {
        // Where Debian's sshd separates its privileges.
        std::fs::create_dir_all("/run/sshd").unwrap();
    }
    let host_key = key(&place.join("host"));
    std::fs::write(place.join("authorized"), key(&place.join("login"))).unwrap();
    let port = free_port();
    std::fs::write(
        place.join("known_hosts"),
        format!("[127.0.0.1]:{port} {host_key}"),
    )
    .unwrap();
    let shown = place.display();
    std::fs::write(
        place.join("sshd_config"),
        format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {shown}/host\nAuthorizedKeysFile {shown}/authorized\n\
             PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        ),
    )
    .unwrap();
    std::fs::write(
        place.join("ssh_config"),
        format!(
            "IdentityFile {shown}/login\nIdentitiesOnly yes\nUserKnownHostsFile {shown}/known_hosts\n\
             GlobalKnownHostsFile /dev/null\n"
        ),
    )
    .unwrap();
    let ssh = place.join("bin/ssh");
    std::fs::write(
        &ssh,
        format!("#!/bin/sh\nexec /usr/bin/ssh -F '{shown}/ssh_config' \"$@\"\n"),
    )
    .unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(SSHD);
    command
        .args(["-D", "-e", "-f"])
        .arg(place.join("sshd_config"));
    let mut server = Running::start(command);
    server.wait_for_output("Server listening");
    (server, port)
}

/// A program first in the PATH at `place`: a shell script with this body.
pub fn program(place: &Path, name: &str, body: &str) {
    let bin = place.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(bin.join(name), body).unwrap();
    std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The PATH of a command that is to find what stands at `place` first.
pub fn path(place: &Path) -> String {
    format!("{}:/usr/bin:/bin", place.join("bin").display())
}

/// Carries a connection as `ssh -W` does after a login, without one. What it was asked is noted in `ssh.log`, one
/// argument a line, its environment in `ssh.env`; a line in `ssh.pid` is a process that may still run.
pub fn stand_in(place: &Path) {
    let shown = place.display();
    program(
        place,
        "ssh",
        &format!(
            r#"#!/bin/bash
printf '%s\n' "$@" >>'{shown}/ssh.log'
echo $$ >>'{shown}/ssh.pid'
env >>'{shown}/ssh.env'
while [ $# -gt 0 ]; do [ "$1" = -W ] && to=$2; shift; done
exec 3<>"/dev/tcp/${{to%:*}}/${{to##*:}}" 2>/dev/null || {{
  echo 'channel 0: open failed: connect failed: Connection refused' >&2
  echo 'stdio forwarding failed' >&2
  exit 255
}}
exec 4<&0
cat <&3 & back=$!
cat <&4 >&3 & forth=$!
trap 'kill $back $forth 2>/dev/null' EXIT
trap exit TERM
wait -n
"#
        ),
    );
}
