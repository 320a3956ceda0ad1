//! From a validated document to the typed configuration.

use serde_json::Value;

use crate::config::environment::Environment;
use crate::config::model::{
    Auth, Browser, Config, ControlUi, Discovery, Exec, Gateway, Logging, NodeHost, Nodes,
    RateLimit, Reload, Remote, Tailscale, Tls, Tools, TrustedProxy,
};
use crate::config::paths::Paths;
use crate::config::secret::{self, Secret};
use crate::config::view::View;
use crate::config::word::{
    Bind, ConsoleStyle, ExecHost, LogLevel, MdnsMode, NodeBrowserMode, Redaction, ReloadMode,
    RemoteEdits, TailscaleMode,
};
use crate::identity::Fingerprint;

/// Everything the typed configuration is made of.
pub struct Builder<'a> {
    /// The validated document.
    pub view: View<'a>,
    /// Places; the home directory expands `~/`.
    pub paths: &'a Paths,
    /// The environment after every `.env` source.
    pub environment: &'a Environment,
    /// Warnings of ignored overrides are appended here.
    pub warnings: &'a mut Vec<String>,
}

impl Builder<'_> {
    /// Reads every key.
    pub fn config(&mut self) -> Config {
        let view = self.view;
        Config {
            gateway: self.gateway(),
            discovery: Discovery {
                mdns_mode: view.word("discovery.mdns.mode", MdnsMode::Minimal),
                wide_area_enabled: view.flag("discovery.wideArea.enabled"),
                wide_area_domain: view.text("discovery.wideArea.domain").or_else(|| {
                    self.environment
                        .setting("OPENCLAW_WIDE_AREA_DOMAIN")
                        .map(str::to_owned)
                }),
            },
            node_host: NodeHost {
                browser_proxy_enabled: view.flag("nodeHost.browserProxy.enabled"),
                allow_profiles: view.optional_list("nodeHost.browserProxy.allowProfiles"),
                remote_edits: view.word("nodeHost.execApprovals.remoteEdits", RemoteEdits::Narrow),
            },
            browser: Browser {
                enabled: view.flag("browser.enabled"),
                section: view.value("browser").cloned().unwrap_or(Value::Null),
            },
            tools: Tools { exec: self.exec() },
            logging: self.logging(),
            restart_allowed: view.flag("commands.restart"),
            public_url: view.text("plugins.entries.device-pair.config.publicUrl"),
        }
    }

    fn gateway(&mut self) -> Gateway {
        let view = self.view;
        Gateway {
            mode: view.optional_word("gateway.mode"),
            port: self.port(),
            bind: view.word("gateway.bind", Bind::Loopback),
            custom_bind_host: view.text("gateway.customBindHost"),
            auth: self.auth(),
            trusted_proxies: view.list("gateway.trustedProxies"),
            allow_real_ip_fallback: view.flag("gateway.allowRealIpFallback"),
            tls: Tls {
                enabled: view.flag("gateway.tls.enabled"),
                auto_generate: view.flag("gateway.tls.autoGenerate"),
                cert_path: view.file("gateway.tls.certPath", &self.paths.home),
                key_path: view.file("gateway.tls.keyPath", &self.paths.home),
                ca_path: view.file("gateway.tls.caPath", &self.paths.home),
            },
            remote: self.remote(),
            nodes: Nodes {
                allow_commands: view.list("gateway.nodes.allowCommands"),
                deny_commands: view.list("gateway.nodes.denyCommands"),
                auto_approve_cidrs: view.list("gateway.nodes.pairing.autoApproveCidrs"),
                pairing_enabled: view.flag("gateway.nodes.pairing.enabled"),
                browser_mode: view.word("gateway.nodes.browser.mode", NodeBrowserMode::Auto),
                browser_node: view.text("gateway.nodes.browser.node"),
            },
            control_ui: ControlUi {
                allowed_origins: view.list("gateway.controlUi.allowedOrigins"),
                device_auth_disabled: view.flag("gateway.controlUi.dangerouslyDisableDeviceAuth"),
                host_header_origin_fallback: view
                    .flag("gateway.controlUi.dangerouslyAllowHostHeaderOriginFallback"),
                insecure_auth_allowed: view.flag("gateway.controlUi.allowInsecureAuth"),
            },
            reload: Reload {
                mode: view.word("gateway.reload.mode", ReloadMode::Hybrid),
                debounce_ms: view.number("gateway.reload.debounceMs"),
                deferral_timeout_ms: view.number("gateway.reload.deferralTimeoutMs"),
            },
            metrics_enabled: view.flag("gateway.metrics.enabled"),
            handshake_timeout_ms: self
                .environment
                .handshake_timeout_ms()
                .unwrap_or_else(|| view.number("gateway.handshakeTimeoutMs")),
            tailscale: Tailscale {
                mode: view.word("gateway.tailscale.mode", TailscaleMode::Off),
                reset_on_exit: view.flag("gateway.tailscale.resetOnExit"),
            },
        }
    }

    fn port(&mut self) -> u16 {
        let from_environment = self.environment.gateway_port().unwrap_or_else(|warning| {
            self.warnings.push(warning);
            None
        });
        let configured = || self.view.optional_number("gateway.port");
        from_environment
            .or_else(|| configured().and_then(|port| u16::try_from(port).ok()))
            .unwrap_or(self.paths.default_port)
    }

    fn auth(&self) -> Auth {
        let view = self.view;
        Auth {
            mode: view.optional_word("gateway.auth.mode"),
            token: self.secret("gateway.auth.token"),
            password: self.secret("gateway.auth.password"),
            allow_tailscale: view.optional_flag("gateway.auth.allowTailscale"),
            rate_limit: RateLimit {
                max_attempts: view.number("gateway.auth.rateLimit.maxAttempts"),
                window_ms: view.number("gateway.auth.rateLimit.windowMs"),
                lockout_ms: view.number("gateway.auth.rateLimit.lockoutMs"),
                exempt_loopback: view.flag("gateway.auth.rateLimit.exemptLoopback"),
            },
            trusted_proxy: view
                .text("gateway.auth.trustedProxy.userHeader")
                .map(|user_header| TrustedProxy {
                    user_header,
                    required_headers: view.list("gateway.auth.trustedProxy.requiredHeaders"),
                    allow_users: view.list("gateway.auth.trustedProxy.allowUsers"),
                    allow_loopback: view.flag("gateway.auth.trustedProxy.allowLoopback"),
                }),
        }
    }

    fn remote(&self) -> Remote {
        let view = self.view;
        Remote {
            url: view.text("gateway.remote.url"),
            transport: view.optional_word("gateway.remote.transport"),
            token: self.secret("gateway.remote.token"),
            password: self.secret("gateway.remote.password"),
            tls_fingerprint: view
                .text("gateway.remote.tlsFingerprint")
                .and_then(|text| Fingerprint::parse(&text)),
            ssh_target: view.text("gateway.remote.sshTarget"),
            ssh_identity: view.file("gateway.remote.sshIdentity", &self.paths.home),
        }
    }

    fn secret(&self, path: &'static str) -> Secret {
        let view = self.view;
        secret::resolve(
            path,
            view.value(path),
            view.missing,
            view.value("secrets.providers"),
            self.environment,
        )
    }

    fn exec(&self) -> Exec {
        let view = self.view;
        Exec {
            host: view.word("tools.exec.host", ExecHost::Auto),
            security: view.optional_word("tools.exec.security"),
            ask: view.optional_word("tools.exec.ask"),
            node: view.text("tools.exec.node"),
            path_prepend: view.list("tools.exec.pathPrepend"),
            safe_bins: view.optional_list("tools.exec.safeBins"),
            safe_bin_trusted_dirs: view.list("tools.exec.safeBinTrustedDirs"),
            safe_bin_profiles: view
                .value("tools.exec.safeBinProfiles")
                .cloned()
                .unwrap_or(Value::Null),
            background_ms: view.optional_number("tools.exec.backgroundMs"),
            timeout_sec: view.optional_number("tools.exec.timeoutSec"),
            cleanup_ms: view.optional_number("tools.exec.cleanupMs"),
            strict_inline_eval: view.flag("tools.exec.strictInlineEval"),
            notify_on_exit: view.optional_flag("tools.exec.notifyOnExit"),
            notify_on_exit_empty_success: view.optional_flag("tools.exec.notifyOnExitEmptySuccess"),
        }
    }

    fn logging(&mut self) -> Logging {
        let view = self.view;
        let forced = self.environment.log_level().unwrap_or_else(|warning| {
            self.warnings.push(warning);
            None
        });
        let level = forced.unwrap_or_else(|| view.word("logging.level", LogLevel::Info));
        let console = || view.optional_word("logging.consoleLevel");
        Logging {
            level,
            console_level: forced.or_else(console).unwrap_or(level),
            console_style: view.word("logging.consoleStyle", ConsoleStyle::Pretty),
            file: view.file("logging.file", &self.paths.home),
            max_file_bytes: view.number("logging.maxFileBytes"),
            redact_sensitive: view.word("logging.redactSensitive", Redaction::Tools),
            redact_patterns: view.list("logging.redactPatterns"),
        }
    }
}
