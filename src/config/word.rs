//! The enumerations of the configuration file, each with its words in the order messages list them.

/// Declares an enumeration whose variants are words of the configuration file.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_meta])* $variant),+
        }

        impl Word for $name {
            const NAMES: &'static [&'static str] = &[$($word),+];

            fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// An enumeration of the configuration file.
pub trait Word: Sized + Copy {
    /// All words, in the order messages list them.
    const NAMES: &'static [&'static str];

    /// The variant of a word; `None` for any other text.
    fn parse(word: &str) -> Option<Self>;

    /// The word of a variant.
    fn as_str(self) -> &'static str;
}

words! {
    /// `gateway.mode`: where the gateway is.
    GatewayMode {
        /// This machine runs it.
        Local = "local",
        /// Another machine runs it; `gateway.remote` says where.
        Remote = "remote",
    }
}

words! {
    /// `gateway.bind`: which addresses the gateway listens on.
    Bind {
        /// Loopback unless told otherwise.
        Auto = "auto",
        /// Every IPv4 address.
        Lan = "lan",
        /// 127.0.0.1 and ::1.
        Loopback = "loopback",
        /// `gateway.customBindHost`.
        Custom = "custom",
        /// The first tailnet address, else loopback.
        Tailnet = "tailnet",
    }
}

words! {
    /// `gateway.auth.mode`: what a connecting client has to prove.
    AuthMode {
        /// Nothing beyond its own key.
        None = "none",
        /// The shared token.
        Token = "token",
        /// The shared password.
        Password = "password",
        /// The identity header of a trusted proxy.
        TrustedProxy = "trusted-proxy",
    }
}

words! {
    /// `gateway.remote.transport`.
    RemoteTransport {
        /// Through an SSH tunnel.
        Ssh = "ssh",
        /// Straight to the URL.
        Direct = "direct",
    }
}

words! {
    /// `gateway.nodes.browser.mode`.
    NodeBrowserMode {
        /// Any capable node.
        Auto = "auto",
        /// Only the named node.
        Manual = "manual",
        /// None.
        Off = "off",
    }
}

words! {
    /// `gateway.reload.mode`: what a changed file does to a running gateway.
    ReloadMode {
        /// The file is not watched.
        Off = "off",
        /// Every change restarts.
        Restart = "restart",
        /// Changes that need a restart wait.
        Hot = "hot",
        /// Hot where possible, restart otherwise.
        Hybrid = "hybrid",
    }
}

words! {
    /// `gateway.tailscale.mode`.
    TailscaleMode {
        /// Not used.
        Off = "off",
        /// Published inside the tailnet.
        Serve = "serve",
        /// Published to the internet.
        Funnel = "funnel",
    }
}

words! {
    /// `discovery.mdns.mode`: how much the beacon says.
    MdnsMode {
        /// No beacon.
        Off = "off",
        /// What is needed to connect.
        Minimal = "minimal",
        /// Also the SSH port and the program's path.
        Full = "full",
    }
}

words! {
    /// `tools.exec.host`: where commands run.
    ExecHost {
        /// Decided by the caller.
        Auto = "auto",
        /// In the sandbox.
        Sandbox = "sandbox",
        /// On the gateway's own host.
        Gateway = "gateway",
        /// On a node.
        Node = "node",
    }
}

words! {
    /// `tools.exec.security`: what may run at all.
    ExecSecurity {
        /// Nothing.
        Deny = "deny",
        /// What a list allows.
        Allowlist = "allowlist",
        /// Everything.
        Full = "full",
    }
}

words! {
    /// `tools.exec.ask`: when a person is asked.
    ExecAsk {
        /// Never.
        Off = "off",
        /// When no rule allows the command.
        OnMiss = "on-miss",
        /// Every time.
        Always = "always",
    }
}

words! {
    /// `nodeHost.execApprovals.remoteEdits`: what edits of a node's exec policy from elsewhere may do.
    #[derive(Default)]
    RemoteEdits {
        /// Allow less.
        #[default]
        Narrow = "narrow",
        /// Anything.
        Widen = "widen",
    }
}

words! {
    /// `logging.level` and `logging.consoleLevel`.
    LogLevel {
        /// Nothing.
        Silent = "silent",
        /// Errors that end the program.
        Fatal = "fatal",
        /// Errors.
        Error = "error",
        /// And warnings.
        Warn = "warn",
        /// And what happens.
        Info = "info",
        /// And why.
        Debug = "debug",
        /// And every frame.
        Trace = "trace",
    }
}

impl LogLevel {
    /// The level of the logging facade; `fatal` lines are written as errors.
    pub fn filter(self) -> log::LevelFilter {
        match self {
            Self::Silent => log::LevelFilter::Off,
            Self::Fatal | Self::Error => log::LevelFilter::Error,
            Self::Warn => log::LevelFilter::Warn,
            Self::Info => log::LevelFilter::Info,
            Self::Debug => log::LevelFilter::Debug,
            Self::Trace => log::LevelFilter::Trace,
        }
    }
}

words! {
    /// `logging.consoleStyle`.
    ConsoleStyle {
        /// For people.
        Pretty = "pretty",
        /// Shorter.
        Compact = "compact",
        /// One JSON document per line.
        Json = "json",
    }
}

words! {
    /// `logging.redactSensitive`.
    Redaction {
        /// Nothing beyond this program's own rules.
        Off = "off",
        /// Tool output too.
        Tools = "tools",
    }
}
