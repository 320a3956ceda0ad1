//! What a service is called: one name per kind and profile, for every service manager (cli.md §5.7).

use std::path::{Path, PathBuf};

/// What runs as a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `openclaw gateway`.
    Gateway,
    /// `openclaw node run`.
    Node,
}

impl Kind {
    /// The word of commands, variables and file names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Node => "node",
        }
    }

    /// The word that begins a sentence for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Gateway => "Gateway",
            Self::Node => "Node",
        }
    }

    /// The words inside a sentence for people.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Node => "node host",
        }
    }

    /// The command that runs it in the foreground.
    pub fn foreground(self) -> &'static str {
        match self {
            Self::Gateway => "openclaw gateway run",
            Self::Node => "openclaw node run",
        }
    }

    /// `<state>/<kind>.systemd.env`: the secrets of the service, mode 0600.
    pub fn environment_file(self, state_dir: &Path) -> PathBuf {
        state_dir.join(format!("{}.systemd.env", self.word()))
    }
}

/// The name of one service. Two profiles never share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// What it runs.
    pub kind: Kind,
    /// The profile; `None` for the default one.
    pub profile: Option<String>,
}

impl Name {
    /// `openclaw-gateway[-<profile>]`, without `.service`.
    pub fn stem(&self) -> String {
        let word = self.kind.word();
        match &self.profile {
            Some(profile) => format!("openclaw-{word}-{profile}"),
            None => format!("openclaw-{word}"),
        }
    }

    /// `openclaw-gateway[-<profile>].service`.
    pub fn unit(&self) -> String {
        format!("{}.service", self.stem())
    }

    /// `openclaw-node@<user>.service`, as packages name the machine's node host of one user; they know no profiles.
    pub fn instance(&self, user: &str) -> Option<String> {
        let named = self.kind == Kind::Node && self.profile.is_none();
        named.then(|| format!("{}@{user}.service", self.stem()))
    }

    /// The launchd label. A profile has no dots, so that no two of them are the same.
    pub fn label(&self) -> String {
        match (self.kind, &self.profile) {
            (Kind::Gateway, Some(profile)) => format!("ai.openclaw.{profile}"),
            (Kind::Node, Some(profile)) => format!("ai.openclaw.node.{profile}"),
            (kind, None) => format!("ai.openclaw.{}", kind.word()),
        }
    }

    /// One line for people.
    pub fn description(&self) -> String {
        let what = match self.kind {
            Kind::Gateway => "OpenClaw Gateway",
            Kind::Node => "OpenClaw Node Host",
        };
        let version = env!("CARGO_PKG_VERSION");
        match &self.profile {
            Some(profile) => format!("{what} (profile: {profile}, v{version})"),
            None => format!("{what} (v{version})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_kinds_and_profiles_apart() {
        let name = |kind, profile: Option<&str>| Name {
            kind,
            profile: profile.map(str::to_owned),
        };
        let version = env!("CARGO_PKG_VERSION");
        for (name, unit, label, description) in [
            (
                name(Kind::Gateway, None),
                "openclaw-gateway.service",
                "ai.openclaw.gateway",
                format!("OpenClaw Gateway (v{version})"),
            ),
            (
                name(Kind::Gateway, Some("lab")),
                "openclaw-gateway-lab.service",
                "ai.openclaw.lab",
                format!("OpenClaw Gateway (profile: lab, v{version})"),
            ),
            (
                name(Kind::Node, None),
                "openclaw-node.service",
                "ai.openclaw.node",
                format!("OpenClaw Node Host (v{version})"),
            ),
            (
                name(Kind::Node, Some("lab")),
                "openclaw-node-lab.service",
                "ai.openclaw.node.lab",
                format!("OpenClaw Node Host (profile: lab, v{version})"),
            ),
        ] {
            assert_eq!(name.unit(), unit);
            assert_eq!(name.label(), label);
            assert_eq!(name.description(), description);
        }
    }
}
