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

    /// Every platform.
    const ALL: [PlatformId; 6] = [
        PlatformId::Android,
        PlatformId::Ios,
        PlatformId::Linux,
        PlatformId::Macos,
        PlatformId::Unknown,
        PlatformId::Windows,
    ];

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

/// The commands that nodes of some platform may expose without `gateway.nodes.allowCommands`.
pub fn usual_commands() -> impl Iterator<Item = &'static str> {
    let groups = PlatformId::ALL
        .iter()
        .flat_map(|platform| platform.groups());
    groups.flat_map(|group| group.iter().copied())
}

/// The commands that may be invoked: declared, approved and allowed, in declared order (D6b).
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
pub fn words(list: &[String]) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairing::testing::words as owned;

    #[test]
    fn platforms_are_read_from_prefix_then_family() {
        let table = [
            (Some("iOS 18.1"), None, PlatformId::Ios),
            (Some("  Android 14"), None, PlatformId::Android),
            (Some("macOS 15.1"), None, PlatformId::Macos),
            (Some("Darwin"), None, PlatformId::Macos),
            (Some("win32"), None, PlatformId::Windows),
            (Some("LINUX"), Some("iPhone"), PlatformId::Linux),
            (Some("Lînüx"), None, PlatformId::Linux),
            (Some("freebsd"), Some("Linux"), PlatformId::Linux),
            (Some(""), Some("My iPad"), PlatformId::Ios),
            (None, Some("MacBookPro"), PlatformId::Macos),
            (None, Some("Windows PC"), PlatformId::Windows),
            (None, Some("android phone"), PlatformId::Android),
            (Some("my linux"), None, PlatformId::Unknown),
            (None, Some("toaster"), PlatformId::Unknown),
            (None, None, PlatformId::Unknown),
        ];
        for (platform, family, expected) in table {
            assert_eq!(
                PlatformId::of(platform, family),
                expected,
                "{platform:?} {family:?}"
            );
        }
    }

    #[test]
    fn each_platform_has_its_default_list() {
        let count = |platform| {
            allowlist(Some(platform), None, &CommandPolicy::default())
                .0
                .len()
        };
        let table = [
            ("ios", 19),
            ("android", 24),
            ("macos", 24),
            ("linux", 5),
            ("windows", 18),
            ("?", 11),
        ];
        for (platform, commands) in table {
            assert_eq!(count(platform), commands, "{platform}");
        }
        let samples = [
            ("linux", "system.run", true),
            ("linux", "system.which", true),
            ("linux", "browser.proxy", true),
            ("linux", "canvas.eval", false),
            ("linux", "screen.snapshot", false),
            ("ios", "system.notify", true),
            ("ios", "system.run", false),
            ("ios", "photos.latest", true),
            ("android", "callLog.search", true),
            ("android", "device.health", true),
            ("android", "system.run", false),
            ("macos", "motion.pedometer", true),
            ("macos", "system.run.prepare", true),
            ("windows", "contacts.search", false),
            ("windows", "screen.snapshot", true),
            ("unknown", "device.info", false),
            ("unknown", "camera.list", true),
        ];
        for (platform, command, expected) in samples {
            let list = allowlist(Some(platform), None, &CommandPolicy::default());
            assert_eq!(list.allows(command), expected, "{platform} {command}");
        }
    }

    #[test]
    fn dangerous_commands_are_nowhere_by_default() {
        for platform in ["ios", "android", "macos", "linux", "windows", "unknown"] {
            let list = allowlist(Some(platform), None, &CommandPolicy::default());
            for command in [
                "camera.snap",
                "camera.clip",
                "screen.record",
                "contacts.add",
                "calendar.add",
                "reminders.add",
                "sms.send",
                "sms.search",
            ] {
                assert!(!list.allows(command), "{platform} {command}");
            }
        }
    }

    #[test]
    fn the_operator_adds_and_takes_away_and_deny_wins() {
        let policy = CommandPolicy {
            allow: owned(&[" camera.snap ", "sms.send", "system.execApprovals.set", ""]),
            deny: owned(&["sms.send", " system.run "]),
        };
        let list = allowlist(Some("linux"), None, &policy);
        let table = [
            ("camera.snap", true),
            ("sms.send", false),
            ("system.run", false),
            ("system.which", true),
            ("system.execApprovals.set", false),
            ("", false),
        ];
        for (command, expected) in table {
            assert_eq!(list.allows(command), expected, "{command}");
        }
    }

    #[test]
    fn what_may_run_is_declared_and_approved_and_allowed() {
        let linux = allowlist(Some("linux"), None, &CommandPolicy::default());
        let table: &[(&[&str], &[&str], &[&str])] = &[
            (
                &["system.run", "system.which"],
                &["system.which"],
                &["system.which"],
            ),
            (
                &["system.which"],
                &["system.run", "system.which"],
                &["system.which"],
            ),
            (&["system.which"], &[], &[]),
            (&[], &["system.which"], &[]),
            (&["canvas.eval"], &["canvas.eval"], &[]),
            (
                &[" system.which", "system.which", ""],
                &["system.which "],
                &["system.which"],
            ),
            (
                &["system.which", "system.run"],
                &["system.run", "system.which"],
                &["system.which", "system.run"],
            ),
        ];
        for (declared, approved, expected) in table {
            let commands = effective(&owned(declared), &owned(approved), &linux);
            assert_eq!(commands, owned(expected), "{declared:?} {approved:?}");
        }
    }

    #[test]
    fn what_an_approver_must_hold() {
        let table: &[(&[&str], &[&str])] = &[
            (&[], &["operator.pairing"]),
            (&[" "], &["operator.pairing"]),
            (&["canvas.eval"], &["operator.pairing", "operator.write"]),
            (&["system.notify"], &["operator.pairing", "operator.write"]),
            (
                &["canvas.eval", "system.run"],
                &["operator.pairing", "operator.admin"],
            ),
            (
                &["system.run.prepare"],
                &["operator.pairing", "operator.admin"],
            ),
            (&[" system.which "], &["operator.pairing", "operator.admin"]),
        ];
        for (commands, expected) in table {
            let expected: Scopes = expected.iter().copied().collect();
            assert_eq!(
                required_approve_scopes(&owned(commands)),
                expected,
                "{commands:?}"
            );
        }
    }
}
