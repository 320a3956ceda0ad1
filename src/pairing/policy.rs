//! Which commands a node may expose at all, by platform and by the operator's two lists.
//!
//! The allowlist caps what a node declares; an approval caps what of it may run; neither adds
//! anything that was not declared (protocol §6.4, §6.5).

use std::{collections::BTreeSet, fmt};

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::protocol::scope::{Scope, Scopes};

/// The operator's own lists: `gateway.nodes.allowCommands` and `denyCommands`. Deny wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandPolicy {
    /// Commands added to every platform's default list.
    pub allow: Vec<String>,
    /// Commands taken from it.
    pub deny: Vec<String>,
}

/// The platforms that have a default list of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlatformId {
    /// Android.
    Android,
    /// iOS and iPadOS.
    Ios,
    /// Linux.
    Linux,
    /// macOS.
    Macos,
    /// Windows.
    Windows,
    /// None of them.
    Unknown,
}

/// The commands that one node may expose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowlist(BTreeSet<String>);

const CANVAS: &[&str] = &[
    "canvas.present",
    "canvas.hide",
    "canvas.navigate",
    "canvas.eval",
    "canvas.snapshot",
    "canvas.a2ui.push",
    "canvas.a2ui.pushJSONL",
    "canvas.a2ui.reset",
];
const CAMERA: &[&str] = &["camera.list"];
const LOCATION: &[&str] = &["location.get"];
const DEVICE: &[&str] = &["device.info", "device.status"];
const PERSONAL: &[&str] = &[
    "contacts.search",
    "calendar.events",
    "reminders.list",
    "photos.latest",
    "motion.activity",
    "motion.pedometer",
];
const ANDROID: &[&str] = &[
    "notifications.list",
    "notifications.actions",
    "device.permissions",
    "device.health",
    "callLog.search",
];
const NOTIFY: &[&str] = &["system.notify"];
const SYSTEM: &[&str] = &[
    "system.run.prepare",
    "system.run",
    "system.which",
    "system.notify",
    "browser.proxy",
];
const SCREEN: &[&str] = &["screen.snapshot"];

/// Commands that run a program on the node; approving them takes an administrator.
const EXEC: &[&str] = &["system.run", "system.run.prepare", "system.which"];

/// Commands with methods of their own, whatever a node declares or an operator allows.
const NEVER: &[&str] = &["system.execApprovals.get", "system.execApprovals.set"];

impl PlatformId {
    /// Reads the platform from what a node says: the beginning of `platform`, else a word inside
    /// `device_family`.
    pub fn of(platform: Option<&str>, device_family: Option<&str>) -> PlatformId {
        const PREFIXES: &[(&str, PlatformId)] = &[
            ("ios", PlatformId::Ios),
            ("android", PlatformId::Android),
            ("mac", PlatformId::Macos),
            ("darwin", PlatformId::Macos),
            ("win", PlatformId::Windows),
            ("linux", PlatformId::Linux),
        ];
        const WORDS: &[(&str, PlatformId)] = &[
            ("iphone", PlatformId::Ios),
            ("ipad", PlatformId::Ios),
            ("ios", PlatformId::Ios),
            ("android", PlatformId::Android),
            ("mac", PlatformId::Macos),
            ("windows", PlatformId::Windows),
            ("linux", PlatformId::Linux),
        ];
        let platform = normalize(platform.unwrap_or_default());
        let family = normalize(device_family.unwrap_or_default());
        let by_prefix = PREFIXES
            .iter()
            .find(|(prefix, _)| platform.starts_with(prefix));
        let found = by_prefix.or_else(|| WORDS.iter().find(|(word, _)| family.contains(word)));
        found.map_or(PlatformId::Unknown, |(_, id)| *id)
    }

    fn groups(self) -> &'static [&'static [&'static str]] {
        match self {
            PlatformId::Android => &[CANVAS, CAMERA, LOCATION, ANDROID, NOTIFY, DEVICE, PERSONAL],
            PlatformId::Ios => &[CANVAS, CAMERA, LOCATION, DEVICE, PERSONAL, NOTIFY],
            PlatformId::Linux => &[SYSTEM],
            PlatformId::Macos => &[CANVAS, CAMERA, LOCATION, DEVICE, PERSONAL, SYSTEM, SCREEN],
            PlatformId::Windows => &[CANVAS, CAMERA, LOCATION, DEVICE, SYSTEM, SCREEN],
            PlatformId::Unknown => &[CANVAS, CAMERA, LOCATION, NOTIFY],
        }
    }
}

impl fmt::Display for PlatformId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            PlatformId::Android => "android",
            PlatformId::Ios => "ios",
            PlatformId::Linux => "linux",
            PlatformId::Macos => "macos",
            PlatformId::Windows => "windows",
            PlatformId::Unknown => "unknown",
        })
    }
}

impl Allowlist {
    /// Whether a node may expose this command.
    pub fn allows(&self, command: &str) -> bool {
        self.0.contains(command)
    }

    /// The allowed ones of these commands, trimmed, without repetition, in their order.
    pub fn filter(&self, commands: &[String]) -> Vec<String> {
        let mut kept = words(commands);
        kept.retain(|command| self.allows(command));
        kept
    }
}

/// The commands that a node of this platform may expose under this policy.
pub fn allowlist(
    platform: Option<&str>,
    device_family: Option<&str>,
    policy: &CommandPolicy,
) -> Allowlist {
    let defaults = PlatformId::of(platform, device_family)
        .groups()
        .iter()
        .copied()
        .flatten();
    let mut allowed: BTreeSet<String> = defaults.map(|command| (*command).to_owned()).collect();
    allowed.extend(words(&policy.allow));
    for denied in words(&policy.deny) {
        allowed.remove(&denied);
    }
    for never in NEVER {
        allowed.remove(*never);
    }
    Allowlist(allowed)
}

/// The commands that may be invoked: declared, approved and allowed, in declared order [D6b].
pub fn effective(declared: &[String], approved: &[String], allowlist: &Allowlist) -> Vec<String> {
    let approved = words(approved);
    let mut commands = allowlist.filter(declared);
    commands.retain(|command| approved.contains(command));
    commands
}

/// The scopes an approver of these commands must hold (protocol §6.3).
pub fn required_approve_scopes(commands: &[String]) -> Scopes {
    let commands = words(commands);
    let extra = if commands.is_empty() {
        None
    } else if commands
        .iter()
        .any(|command| EXEC.contains(&command.as_str()))
    {
        Some(Scope::ADMIN)
    } else {
        Some(Scope::WRITE)
    };
    [Scope::PAIRING].into_iter().chain(extra).collect()
}

/// Names trimmed and without repetition, in their order; empty ones dropped.
pub(super) fn words(list: &[String]) -> Vec<String> {
    let mut words: Vec<String> = Vec::with_capacity(list.len());
    let mut seen = BTreeSet::new();
    for word in list.iter().map(|word| word.trim()) {
        if !word.is_empty() && seen.insert(word) {
            words.push(word.to_owned());
        }
    }
    words
}

/// The form in which platform names are compared: without accents, lower case (protocol §3.3).
fn normalize(text: &str) -> String {
    text.trim()
        .nfkd()
        .filter(|letter| !is_combining_mark(*letter))
        .flat_map(char::to_lowercase)
        .collect()
}
