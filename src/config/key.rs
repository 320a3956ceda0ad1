//! The table of configuration keys: path, shape, default, effect of a change, help (cli.md §3.3).
//!
//! One row per key is the single source for validation, defaults, the message of `config set` and the
//! documentation. A `*` stands for any name, a segment ending in `*` for any name with that beginning.
//! Everything between the rows follows: a path that only has rows below it is a strict object.

use crate::config::kind::Kind;
use crate::config::word::{
    AuthMode, Bind, ConsoleStyle, ExecAsk, ExecHost, ExecSecurity, GatewayMode, LogLevel, MdnsMode,
    NodeBrowserMode, Redaction, ReloadMode, RemoteEdits, RemoteTransport, TailscaleMode, Word,
};

/// What a change of a key does to a running gateway (cli.md §3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: the next use reads it.
    None,
    /// Applied to the live process.
    Hot,
    /// The gateway restarts.
    Restart,
}

impl Effect {
    /// The word of machine output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hot => "hot",
            Self::Restart => "restart",
        }
    }
}

/// The value of a key that the file does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// `true` or `false`.
    Flag(bool),
    /// The empty list.
    NoItems,
    /// A whole number.
    Number(u64),
    /// Nothing: the key stays unset, or its default follows from other keys.
    Unset,
    /// A text or word.
    Text(&'static str),
}

/// One configuration key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Dotted path, possibly with `*`.
    pub path: &'static str,
    /// Accepted values.
    pub kind: Kind,
    /// Value when unset.
    pub preset: Preset,
    /// Effect of a change on a running gateway.
    pub effect: Effect,
    /// One line of help.
    pub help: &'static str,
}

/// How a row relates to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The row is this path's.
    Same,
    /// The path is an object above the row.
    Above,
    /// The path is inside the row's value.
    Below,
}

impl Key {
    /// Whether this program looks at the value at all.
    pub fn is_used(&self) -> bool {
        self.help != UNUSED
    }

    /// How this row relates to the path of `segments`; `None` when it does not.
    pub fn relation(&self, segments: &[&str]) -> Option<Relation> {
        let mut pattern = self.path.split('.');
        for segment in segments {
            match pattern.next() {
                Some(part) if matches_segment(part, segment) => {}
                Some(_) => return None,
                None => return Some(Relation::Below),
            }
        }
        Some(if pattern.next().is_none() {
            Relation::Same
        } else {
            Relation::Above
        })
    }
}

/// The row of a path: the exact one before one with `*`.
pub fn find(segments: &[&str]) -> Option<&'static Key> {
    let mut rows = KEYS
        .iter()
        .filter(|key| key.relation(segments) == Some(Relation::Same));
    rows.clone()
        .find(|key| !key.path.ends_with('*'))
        .or_else(|| rows.next())
}

/// Whether a path is an object above some row.
pub fn is_section(segments: &[&str]) -> bool {
    segments.is_empty()
        || KEYS
            .iter()
            .any(|key| key.relation(segments) == Some(Relation::Above))
}

/// The names that an object at this path may have, without those that stand for any; some more than once.
pub fn members(segments: &[&str]) -> impl Iterator<Item = &'static str> {
    let below = KEYS
        .iter()
        .filter(move |key| key.relation(segments) == Some(Relation::Above));
    let depth = segments.len();
    let names = below.filter_map(move |key| key.path.split('.').nth(depth));
    names.filter(|name| !name.ends_with('*'))
}

/// What a change at this path does to a running gateway: the strongest effect of all keys it touches.
pub fn effect(segments: &[&str]) -> Effect {
    if let Some(key) = find(segments) {
        return key.effect;
    }
    let touched = KEYS.iter().filter(|key| key.relation(segments).is_some());
    touched.map(|key| key.effect).max().unwrap_or(Effect::None)
}

fn matches_segment(part: &str, segment: &str) -> bool {
    match part.strip_suffix('*') {
        Some(start) => segment.starts_with(start),
        None => part == segment,
    }
}

const fn key(
    path: &'static str,
    kind: Kind,
    preset: Preset,
    effect: Effect,
    help: &'static str,
) -> Key {
    Key {
        path,
        kind,
        preset,
        effect,
        help,
    }
}

/// The help of a key that other programs of the shared file use.
const UNUSED: &str = "accepted and not used by this program";

/// A section of the shared file that this program does not look into.
const fn ignored(path: &'static str) -> Key {
    key(path, Kind::Any, Preset::Unset, Effect::None, UNUSED)
}

const PORT: Kind = Kind::Integer {
    min: 1,
    max: 65_535,
};

use Effect::{Hot, None as Free, Restart};
use Kind::{
    Any, BrowserProfiles, Fingerprint, Flag, Ipv4, Networks, Object, Secret, SecretProvider, Text,
    TextList, UserHeader, WebSocketUrl,
};
use Preset::{NoItems, Unset};

const ON: Preset = Preset::Flag(true);
const OFF: Preset = Preset::Flag(false);

/// Every key.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("$schema", Text, Unset, Free, "schema for editors"),
    key("browser.actionTimeoutMs", Kind::POSITIVE, Unset, Free, "time for one browser action, ms"),
    key("browser.attachOnly", Flag, Unset, Free, "never start a browser"),
    key("browser.cdpPortRangeStart", PORT, Unset, Free, "first debugging port of profiles"),
    key("browser.cdpUrl", Text, Unset, Free, "debugging endpoint of a running browser"),
    key("browser.color", Text, Unset, Free, "accent colour of the profile"),
    key("browser.defaultProfile", Text, Unset, Free, "profile used when none is named"),
    key("browser.enabled", Flag, ON, Free, "false also stops advertising the browser proxy"),
    key("browser.evaluateEnabled", Flag, Unset, Free, "allow page scripts"),
    key("browser.executablePath", Text, Unset, Free, "browser program"),
    key("browser.extraArgs", TextList, Unset, Free, "further arguments of the browser"),
    key("browser.headless", Flag, Unset, Free, "start without a window"),
    key("browser.localCdpReadyTimeoutMs", Kind::POSITIVE, Unset, Free, "time until a started browser answers, ms"),
    key("browser.localLaunchTimeoutMs", Kind::POSITIVE, Unset, Free, "time to start a browser, ms"),
    key("browser.noSandbox", Flag, Unset, Free, "start without the browser's sandbox"),
    key("browser.profiles", BrowserProfiles, Unset, Free, "named profiles; each needs cdpPort or cdpUrl"),
    key("browser.remoteCdpHandshakeTimeoutMs", Kind::POSITIVE, Unset, Free, "handshake time of a remote endpoint, ms"),
    key("browser.remoteCdpTimeoutMs", Kind::POSITIVE, Unset, Free, "answer time of a remote endpoint, ms"),
    key("browser.snapshotDefaults", Object, Unset, Free, "defaults of page snapshots"),
    key("browser.ssrfPolicy", Object, Unset, Free, "addresses pages may reach"),
    key("browser.tabCleanup", Object, Unset, Free, "closing of idle tabs"),
    key("commands.*", Any, Unset, Free, UNUSED),
    key("commands.restart", Flag, ON, Free, "false refuses restarts by SIGUSR1"),
    key("discovery.mdns.mode", Kind::Word(MdnsMode::NAMES), Preset::Text("minimal"), Hot, "how much the beacon says"),
    key("discovery.wideArea.domain", Text, Unset, Hot, "domain of the wide-area zone"),
    key("discovery.wideArea.enabled", Flag, OFF, Hot, "write the wide-area zone"),
    key("env.*", Text, Unset, Free, "environment variable set where it is missing"),
    key("env.shellEnv", Object, Unset, Free, "import of a login shell's environment"),
    key("env.vars.*", Text, Unset, Free, "environment variable set where it is missing"),
    key("gateway.allowRealIpFallback", Flag, OFF, Hot, "use X-Real-IP when X-Forwarded-For is absent"),
    key("gateway.auth.allowTailscale", Flag, Unset, Restart, "accept Tailscale identity headers"),
    key("gateway.auth.mode", Kind::Word(AuthMode::NAMES), Unset, Restart, "what clients have to prove"),
    key("gateway.auth.password", Secret, Unset, Hot, "shared password"),
    key("gateway.auth.rateLimit.exemptLoopback", Flag, ON, Hot, "loopback is never locked out"),
    key("gateway.auth.rateLimit.lockoutMs", Kind::NATURAL, Preset::Number(300_000), Hot, "length of a lockout, ms"),
    key("gateway.auth.rateLimit.maxAttempts", Kind::POSITIVE, Preset::Number(10), Hot, "failed attempts per window, address and kind of credential"),
    key("gateway.auth.rateLimit.windowMs", Kind::POSITIVE, Preset::Number(60_000), Hot, "window in which failures count, ms"),
    key("gateway.auth.token", Secret, Unset, Hot, "shared token"),
    key("gateway.auth.trustedProxy.allowLoopback", Flag, OFF, Restart, "accept a proxy on this machine"),
    key("gateway.auth.trustedProxy.allowUsers", TextList, NoItems, Restart, "users the proxy may name; empty allows all"),
    key("gateway.auth.trustedProxy.requiredHeaders", TextList, NoItems, Restart, "headers every request must carry"),
    key("gateway.auth.trustedProxy.userHeader", UserHeader, Unset, Restart, "header that names the user"),
    key("gateway.bind", Kind::Word(Bind::NAMES), Preset::Text("loopback"), Restart, "addresses to listen on"),
    key("gateway.channel*", Any, Unset, Free, UNUSED),
    key("gateway.controlUi.allowExternalEmbedUrls", Flag, Unset, Restart, UNUSED),
    key("gateway.controlUi.allowInsecureAuth", Flag, OFF, Restart, "a Control UI on this host needs no device identity"),
    key("gateway.controlUi.allowedOrigins", TextList, NoItems, Hot, "browser origins that may connect"),
    key("gateway.controlUi.basePath", Text, Unset, Restart, UNUSED),
    key("gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback", Flag, OFF, Restart, "accept an origin that equals the Host header"),
    key("gateway.controlUi.dangerouslyDisableDeviceAuth", Flag, OFF, Restart, "a Control UI needs no device identity at all"),
    key("gateway.controlUi.embedSandbox", Any, Unset, Restart, UNUSED),
    key("gateway.controlUi.enabled", Flag, Unset, Restart, UNUSED),
    key("gateway.controlUi.root", Text, Unset, Restart, UNUSED),
    key("gateway.customBindHost", Ipv4, Unset, Restart, "address to listen on with bind=custom"),
    key("gateway.handshakeTimeoutMs", Kind::POSITIVE, Preset::Number(15_000), Hot, "time from socket open to accepted connect, ms"),
    key("gateway.http", Object, Unset, Restart, UNUSED),
    key("gateway.metrics.enabled", Flag, OFF, Hot, "figures for Prometheus at /metrics, for this machine and who holds the shared secret"),
    key("gateway.mode", Kind::Word(GatewayMode::NAMES), Unset, Restart, "local runs the gateway here, remote uses gateway.remote"),
    key("gateway.nodes.allowCommands", TextList, NoItems, Hot, "further commands nodes may offer"),
    key("gateway.nodes.browser.mode", Kind::Word(NodeBrowserMode::NAMES), Preset::Text("auto"), Hot, "which node's browser is used"),
    key("gateway.nodes.browser.node", Text, Unset, Hot, "node of mode manual"),
    key("gateway.nodes.denyCommands", TextList, NoItems, Hot, "commands nodes may never offer; wins over allow"),
    key("gateway.nodes.pairing.autoApproveCidrs", Networks, NoItems, Hot, "addresses whose first node pairing needs no approval"),
    key("gateway.nodes.pairing.enabled", Flag, ON, Hot, "false: no new node and no new operator device may ask to join; gateway pairing open|close wins over it"),
    key("gateway.port", PORT, Preset::Number(18_789), Restart, "WebSocket and HTTP port"),
    key("gateway.push", Object, Unset, Restart, UNUSED),
    key("gateway.reload.debounceMs", Kind::NATURAL, Preset::Number(300), Free, "quiet time before a changed file is read, ms"),
    key("gateway.reload.deferralTimeoutMs", Kind::NATURAL, Preset::Number(300_000), Free, "longest wait for running work before a restart, ms"),
    key("gateway.reload.mode", Kind::Word(ReloadMode::NAMES), Preset::Text("hybrid"), Free, "what a changed file does"),
    key("gateway.remote.password", Secret, Unset, Free, "password of the remote gateway"),
    key("gateway.remote.sshIdentity", Text, Unset, Free, "SSH key file to log in with at gateway.remote.sshTarget"),
    key("gateway.remote.sshTarget", Text, Unset, Free, "user@host[:port] of the remote gateway, for transport ssh and gateway probe"),
    key("gateway.remote.tlsFingerprint", Fingerprint, Unset, Free, "SHA-256 pin of the remote certificate"),
    key("gateway.remote.token", Secret, Unset, Free, "token of the remote gateway"),
    key("gateway.remote.transport", Kind::Word(RemoteTransport::NAMES), Preset::Text("ssh"), Free, "how the remote gateway is reached; ssh, where it is written, forwards through gateway.remote.sshTarget"),
    key("gateway.remote.url", WebSocketUrl, Unset, Free, "URL of the remote gateway"),
    key("gateway.tailscale.mode", Kind::Word(TailscaleMode::NAMES), Preset::Text("off"), Restart, "publish through Tailscale"),
    key("gateway.tailscale.resetOnExit", Flag, OFF, Restart, "take the publication back at stop"),
    key("gateway.tls.autoGenerate", Flag, ON, Restart, "make a self-signed certificate when none exists"),
    key("gateway.tls.caPath", Text, Unset, Restart, "certificate authority file"),
    key("gateway.tls.certPath", Text, Unset, Restart, "certificate file"),
    key("gateway.tls.enabled", Flag, OFF, Restart, "WSS and HTTPS on the same port"),
    key("gateway.tls.keyPath", Text, Unset, Restart, "private key file"),
    key("gateway.tools", Object, Unset, Restart, UNUSED),
    key("gateway.trustedProxies", Networks, NoItems, Hot, "proxies whose forwarding headers count"),
    key("gateway.webchat", Object, Unset, Restart, UNUSED),
    key("logging.consoleLevel", Kind::Word(LogLevel::NAMES), Unset, Free, "level of the console"),
    key("logging.consoleStyle", Kind::Word(ConsoleStyle::NAMES), Preset::Text("pretty"), Free, "form of console lines"),
    key("logging.file", Text, Unset, Free, "log file; unset, openclaw/openclaw-<date>.log below the directory for temporary files, removed after a day"),
    key("logging.level", Kind::Word(LogLevel::NAMES), Preset::Text("info"), Free, "level of the log file"),
    key("logging.maxFileBytes", Kind::POSITIVE, Preset::Number(100 * 1024 * 1024), Free, "largest log file, bytes"),
    key("logging.redactPatterns", TextList, NoItems, Free, "further patterns to hide"),
    key("logging.redactSensitive", Kind::Word(Redaction::NAMES), Preset::Text("tools"), Free, "what is hidden in logs"),
    key("meta.*", Any, Unset, Free, "written by other programs, never required"),
    key("meta.lastTouchedAt", Text, Unset, Free, "written by writers, never required"),
    key("meta.lastTouchedVersion", Text, Unset, Free, "written by writers, never required"),
    key("nodeHost.browserProxy.allowProfiles", TextList, Unset, Free, "only these browser profiles"),
    key("nodeHost.browserProxy.enabled", Flag, ON, Free, "offer this machine's browser to the gateway"),
    key("nodeHost.execApprovals.remoteEdits", Kind::Word(RemoteEdits::NAMES), Preset::Text("narrow"), Hot, "whether edits of this node's exec policy from elsewhere may also allow more"),
    key("plugins.*", Any, Unset, Restart, UNUSED),
    key("plugins.enabled", Flag, Unset, Restart, UNUSED),
    key("plugins.entries.*", Object, Unset, Restart, UNUSED),
    key("plugins.entries.device-pair.*", Any, Unset, Restart, UNUSED),
    key("plugins.entries.device-pair.config.*", Any, Unset, Restart, UNUSED),
    key("plugins.entries.device-pair.config.publicUrl", Text, Unset, Restart, "URL that setup codes carry"),
    key("secrets.*", Any, Unset, Free, UNUSED),
    key("secrets.providers.*", SecretProvider, Unset, Free, "source of secrets: env, file or exec"),
    key("tools.*", Any, Unset, Free, UNUSED),
    key("tools.exec.applyPatch", Object, Unset, Free, UNUSED),
    key("tools.exec.ask", Kind::Word(ExecAsk::NAMES), Unset, Free, "when a person is asked; the stricter of this and exec-approvals.json, on-miss where neither says so"),
    key("tools.exec.backgroundMs", Kind::POSITIVE, Unset, Free, "time until a command goes to the background, ms"),
    key("tools.exec.cleanupMs", Kind::POSITIVE, Unset, Free, "time finished commands are remembered, ms"),
    key("tools.exec.host", Kind::Word(ExecHost::NAMES), Preset::Text("auto"), Free, "where commands run"),
    key("tools.exec.node", Text, Unset, Free, "default node"),
    key("tools.exec.notifyOnExit", Flag, Unset, Free, "report finished background commands"),
    key("tools.exec.notifyOnExitEmptySuccess", Flag, Unset, Free, "also when they printed nothing"),
    key("tools.exec.pathPrepend", TextList, NoItems, Free, "directories before PATH"),
    key("tools.exec.safeBinProfiles", Object, Unset, Free, "argument rules of safe programs"),
    key("tools.exec.safeBinTrustedDirs", TextList, NoItems, Free, "directories safe programs may live in"),
    key("tools.exec.safeBins", TextList, Unset, Free, "programs that may filter standard input"),
    key("tools.exec.security", Kind::Word(ExecSecurity::NAMES), Unset, Free, "what may run; the stricter of this and exec-approvals.json, allowlist where neither says so"),
    key("tools.exec.strictInlineEval", Flag, OFF, Free, "inline programs always need approval"),
    key("tools.exec.timeoutSec", Kind::POSITIVE, Unset, Free, "longest run of a command, s"),
    ignored("acp"),
    ignored("agents"),
    ignored("approvals"),
    ignored("audio"),
    ignored("auth"),
    ignored("bindings"),
    ignored("broadcast"),
    key("canvasHost", Any, Unset, Restart, UNUSED),
    ignored("channels"),
    ignored("cli"),
    ignored("crestodian"),
    ignored("cron"),
    ignored("diagnostics"),
    ignored("hooks"),
    ignored("mcp"),
    ignored("media"),
    ignored("memory"),
    ignored("messages"),
    ignored("models"),
    ignored("proxy"),
    ignored("session"),
    ignored("skills"),
    ignored("surfaces"),
    ignored("talk"),
    ignored("ui"),
    ignored("update"),
    ignored("web"),
    ignored("wizard"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_keeps_its_own_rules() {
        for (at, row) in KEYS.iter().enumerate() {
            assert!(
                !row.help.is_empty() && !row.help.ends_with('.'),
                "{}",
                row.path
            );
            assert!(
                KEYS[..at].iter().all(|other| other.path != row.path),
                "{} twice",
                row.path
            );
            let preset_fits = match (row.preset, row.kind) {
                (Preset::Unset, _) => true,
                (Preset::Flag(_), Kind::Flag) => true,
                (Preset::NoItems, Kind::Networks | Kind::TextList) => true,
                (Preset::Number(number), Kind::Integer { min, max }) => {
                    (min..=max).contains(&number)
                }
                (Preset::Text(word), Kind::Word(allowed)) => allowed.contains(&word),
                _ => false,
            };
            assert!(preset_fits, "{}", row.path);
        }
    }

    #[test]
    fn what_runs_without_settings_is_what_the_exec_policy_takes() {
        let unset = crate::exec::Effective::default();
        for (path, word) in [
            ("tools.exec.ask", unset.ask.as_str()),
            ("tools.exec.security", unset.security.as_str()),
        ] {
            let row = KEYS.iter().find(|row| row.path == path).unwrap();
            // A default here would be one that exec-approvals.json cannot exceed.
            assert_eq!(row.preset, Preset::Unset, "{path}");
            assert!(
                row.help.contains(&format!(", {word} where neither")),
                "{path}"
            );
        }
    }

    #[test]
    fn effects_follow_the_reload_table() {
        let cases = [
            ("gateway.remote.url", Effect::None),
            ("gateway.remote", Effect::None),
            ("gateway.reload.mode", Effect::None),
            ("logging.level", Effect::None),
            ("agents.list.0.id", Effect::None),
            ("gateway.nodes.pairing.autoApproveCidrs", Effect::Hot),
            ("gateway.nodes.allowCommands.0", Effect::Hot),
            ("gateway.nodes", Effect::Hot),
            ("gateway.trustedProxies", Effect::Hot),
            ("gateway.auth.token", Effect::Hot),
            ("gateway.auth.token.id", Effect::Hot),
            ("gateway.auth.rateLimit", Effect::Hot),
            ("gateway.auth", Effect::Restart),
            ("gateway.port", Effect::Restart),
            ("gateway.tls", Effect::Restart),
            ("gateway", Effect::Restart),
            ("discovery.mdns.mode", Effect::Hot),
            ("plugins.entries.x.y", Effect::Restart),
            ("canvasHost.port", Effect::Restart),
            ("nobody", Effect::None),
        ];
        for (path, expected) in cases {
            let segments: Vec<&str> = path.split('.').collect();
            assert_eq!(effect(&segments), expected, "{path}");
        }
    }
}
